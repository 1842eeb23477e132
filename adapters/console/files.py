"""Files that tools return, saved where the user of a terminal can open them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from bot.domain.messages import Attachment

MAX_NAME_CHARS = 80


def save_attachments(folder: Path, post_key: str, attachments: Sequence[Attachment]) -> list[Path]:
    """Write each attachment into `folder` and return the paths; the same post writes the same paths again.

    Raises:
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = [folder / f"{post_key}-{number}-{_safe(item.name)}" for number, item in enumerate(attachments, start=1)]
    for path, attachment in zip(paths, attachments, strict=True):
        with open(path, "wb", opener=_private) as file:
            file.write(attachment.data)
    return paths


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _safe(name: str) -> str:
    # The server chose the name: unsafe characters go, and a long name keeps its end, with the extension.
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[-MAX_NAME_CHARS:] or "file"
