"""How settings are read: the environment over `.env` over the defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from bot.domain.errors import SettingsError, settings_error
from bot.settings.names import COMMON, THEIRS, misspelt
from bot.settings.whole import Settings


def load_settings(*, env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Return the checked settings: overrides win over the environment, that over `.env`, that over the defaults.

    Raises:
        SettingsError: Values are not valid, or names look like ours but are not: all of that in one error.
    """
    known = [name.upper() for name in Settings.model_fields]
    names = [name for name in os.environ if not THEIRS.fullmatch(name)]
    problems = [
        *misspelt(names, known=known, where="the environment", spared=COMMON),
        *misspelt(_names_in(env_file), known=known, where=str(env_file)),
    ]
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(_env_file=env_file, **given)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
    except ValidationError as error:
        raise settings_error([*problems, _describe(error)]) from None  # the original holds the input values
    if problems:
        raise settings_error(problems)
    return settings


def export_env_file(env_file: Path | None = Path(".env")) -> None:
    """Make what `.env` says beside our settings part of the environment: libraries and programs read it there.

    Proxies, certificates and Azure's identity are among it. The environment wins; secrets among our settings stay out
    of it, so that no program that the bot starts gets them.
    """
    if env_file is None or not env_file.is_file():
        return
    ours = {name.upper() for name in Settings.model_fields}
    for name, value in dotenv_values(env_file, encoding="utf-8").items():
        if value and name not in ours:
            os.environ.setdefault(name, value)


def _names_in(env_file: Path | None) -> Iterable[str]:
    if env_file is None or not env_file.is_file():
        return ()
    try:
        return dotenv_values(env_file, encoding="utf-8").keys()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{env_file} cannot be read ({type(error).__name__}). Save it as UTF-8 text.") from error


def _describe(error: ValidationError) -> str:
    lines = [
        f"{'.'.join(str(part) for part in item['loc']).upper()}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    ]
    return "Settings are not valid. " + "; ".join(lines) + ". See .env.example."
