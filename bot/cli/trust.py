"""Which files of the working folder a command may use: those that a person has trusted, byte by byte.

A folder can come from anyone. Its `mcp.json` starts programs, its `.env` says which endpoint gets the key, and its
`toolbridge.toml` says who may run what: `toolbridge chat` asks before it uses them for the first time, and again when
they have changed. Files that the environment names are trusted. What was trusted is kept in the home, which only the
real environment can set here: a `.env` must not choose where its own trust is looked up.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import platformdirs
from dotenv import dotenv_values

from bot.domain.errors import SettingsError
from bot.keeping.private import make_folder, replace_file

ENV_FILE = Path(".env")
MEMORY = "trusted-folders.json"
# What is read from the working folder where no setting names another file.
_DEFAULTS = {"MCP_CONFIG": "mcp.json", "TOOLBRIDGE_CONFIG": "toolbridge.toml"}
_KEPT = 20  # versions of one file: going back to an earlier one asks nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The working folder with those of its files that count, and whether a command may use them."""

    path: Path
    memory: Path  # where trust is kept
    digests: Mapping[str, str] = field(default_factory=dict[str, str])  # SHA-256 of each file's bytes, by its name
    untrusted: tuple[str, ...] = ()  # names of files that were never trusted as they are
    was_trusted: tuple[str, ...] = ()  # those among them that were trusted as they were before
    shown: tuple[str, ...] = ()  # what was shown of the files when they were trusted last

    @property
    def is_used(self) -> bool:
        """Whether all of its files may be used; if one may not, none may."""
        return not self.untrusted

    @property
    def env_file(self) -> Path | None:
        """The file of settings that may be read."""
        return ENV_FILE if self.is_used else None

    @property
    def reason(self) -> str:
        """Why the files may not be used, as a sentence."""
        new = [name for name in self.untrusted if name not in self.was_trusted]
        parts = [
            f"{_listed(new)} of this folder {_were(new)} not used before" if new else "",
            f"{_listed(self.was_trusted)} {'has' if len(self.was_trusted) == 1 else 'have'} changed since "
            f"{'it was' if len(self.was_trusted) == 1 else 'they were'} trusted"
            if self.was_trusted
            else "",
        ]
        return f"{', and '.join(filter(None, parts))}."


def folder_of(arguments: Namespace) -> Folder:
    """Return what the command may use of the working folder, looked at once; `--trust` and `run` trust it all.

    Raises:
        SettingsError: A file cannot be read.
    """
    known: object = getattr(arguments, "folder", None)
    if isinstance(known, Folder):
        return known
    folder = look(Path.cwd(), environ=os.environ)
    if folder.untrusted and getattr(arguments, "trust", False):
        folder = trusted(folder)
    arguments.folder = folder
    return folder


def look(path: Path, *, environ: Mapping[str, str]) -> Folder:
    """Return the folder as it is now, compared with what was trusted of it. Raises SettingsError."""
    digests = {name: _digest(file) for name, file in _counting(path, environ).items()}
    memory = _home(path, environ) / MEMORY
    folder = Folder(path=path.resolve(), memory=memory, digests=digests)
    if not digests:
        return folder
    known, shown = _recall(memory, folder.path)
    untrusted = tuple(name for name, digest in digests.items() if digest not in known.get(name, ()))
    was_trusted = tuple(name for name in untrusted if known.get(name))
    return replace(folder, untrusted=untrusted, was_trusted=was_trusted, shown=shown)


def trusted(folder: Folder) -> Folder:
    """Return the folder with all of its files trusted as they are, and remember that where the home can be written."""
    with suppress(OSError):
        _remember(folder, folder.shown)
    return replace(folder, untrusted=(), was_trusted=())


def left_out(folder: Folder) -> str:
    """Return what a command that does not ask leaves out and why, with the cure; empty where it leaves nothing out."""
    names = [name for name in folder.digests if name != _DEFAULTS["TOOLBRIDGE_CONFIG"]]  # rules only restrict
    if folder.is_used or not names:
        return ""
    return (
        f"{folder.reason} {_listed(names)} {_were(names)} left out here. Look at "
        f"{'it' if len(names) == 1 else 'them'}, then add --trust, or say yes in `toolbridge chat`."
    )


def require_trust(arguments: Namespace, *, may_ask: bool) -> None:
    """Return once the files of the working folder may be used; with `may_ask`, ask the person at the terminal.

    Raises:
        SettingsError: They may not be used, with the cure.
    """
    folder = folder_of(arguments)
    if folder.is_used:
        return
    if not may_ask:
        raise SettingsError(
            f"{folder.reason} Nothing was started: such a file can start programs and choose who gets your key. "
            f"`toolbridge chat` shows what it would do and asks; --trust uses it without asking."
        )
    from bot.cli.trust_question import ask  # slow to import, and rarely needed

    lines = ask(folder)
    if lines is None:
        raise SettingsError("Nothing was started, and nothing of this folder was used.")
    if look(folder.path, environ=os.environ).digests != folder.digests:
        raise SettingsError("The files of this folder have changed meanwhile. Nothing was started: start it again.")
    arguments.folder = replace(folder, untrusted=(), was_trusted=())
    try:
        _remember(folder, lines)
    except OSError:
        print(f"toolbridge: {folder.memory} cannot be written: the next start asks again.", file=sys.stderr)


# --- the files -------------------------------------------------------------------------------------------------


def settings_of(file: Path) -> Mapping[str, str]:
    """Return what a file of settings sets, by names in upper case; nothing where it is none."""
    try:
        values = dotenv_values(file, encoding="utf-8") if file.is_file() else {}
    except (OSError, UnicodeDecodeError):  # the settings are read again, and then this is an error with its cure
        return {}
    return {name.upper(): value for name, value in values.items() if value}


def _counting(path: Path, environ: Mapping[str, str]) -> dict[str, Path]:
    """Return the files that have an effect: those in the folder, and those that its `.env` names."""
    said, outside = settings_of(path / ENV_FILE), {name.upper() for name, value in environ.items() if value}
    files = {str(ENV_FILE): path / ENV_FILE} if said else {}
    for setting, default in _DEFAULTS.items():
        name = said.get(setting, default)
        file = path / Path(name).expanduser()
        if setting not in outside and file.is_file():
            files[name] = file
    return files


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({type(error).__name__}). Correct that, or move it.") from error


# --- what was trusted ------------------------------------------------------------------------------------------


def _home(path: Path, environ: Mapping[str, str]) -> Path:
    """Return the home that the environment sets; one that is inside the folder could come with it, and is not asked."""
    default = platformdirs.user_data_path("toolbridge", appauthor=False)
    named = next((value for name, value in environ.items() if name.upper() == "TOOLBRIDGE_HOME" and value), None)
    home = Path(named).expanduser() if named else default
    return default if home.resolve().is_relative_to(path.resolve()) else home


def _recall(memory: Path, path: Path) -> tuple[Mapping[str, Sequence[str]], tuple[str, ...]]:
    """Return the digests of each file that were trusted in the folder, and what was shown of them last."""
    record = _object(_read(memory).get(str(path)))
    files = {name: _texts(digests) for name, digests in _object(record.get("files")).items()}
    return files, tuple(_texts(record.get("shown")))


def _remember(folder: Folder, shown: Sequence[str]) -> None:
    known, _ = _recall(folder.memory, folder.path)
    files = {name: list(digests) for name, digests in known.items()}
    for name, digest in folder.digests.items():
        older = [one for one in files.get(name, []) if one != digest]
        files[name] = [*older, digest][-_KEPT:]
    _write(folder.memory, {**_read(folder.memory), str(folder.path): {"files": files, "shown": list(shown)}})


def _read(memory: Path) -> Mapping[str, object]:
    """Return what is remembered; a file that is damaged vouches for nothing."""
    try:
        return _object(json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def _write(memory: Path, document: object) -> None:
    make_folder(memory.parent)
    replace_file(memory, json.dumps(document, indent=1))


def _object(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _texts(value: object) -> Sequence[str]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str)]


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _were(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"
