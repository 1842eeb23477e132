"""What setup is going to write: settings and servers, compared with what is there, and written as a whole."""

from __future__ import annotations

import os
import re
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bot.cli.setup.env_file import merge, values_of
from bot.cli.setup.mcp_file import add_servers
from bot.cli.trust import ENV_FILE
from bot.domain.errors import SettingsError
from bot.keeping.private import FILE_MODE, replace_file
from bot.settings import Settings, load_settings
from bot.text.known_values import HIDDEN, known
from bot.text.redaction import redact, redact_prose
from bot.text.secret_values import is_secret_name, of_url
from bot.tools.configured import BUNDLED_NAME, DEFAULT_FILE, apart
from bot.tools.mcp_json import McpJson

_PLACEHOLDER = re.compile(r"(?:(?:Bearer|Basic|Token|Bot) )?\$\{[^{}]*\}", re.IGNORECASE)  # with nothing beside it
_OF_MODELS = ("AZURE_OPENAI_", "OPENAI_", "MODEL_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The texts of the two files; a file that is missing has none."""

    env: str
    mcp: str


@dataclass(slots=True, kw_only=True)
class Plan:
    """The situation that setup found, and what is to change."""

    arguments: Namespace
    settings: Settings  # as they are
    given: Mapping[str, str]  # the environment, with what --secrets has
    env_file: Path
    mcp_file: Path
    before: Files
    env: dict[str, str | None] = field(default_factory=dict[str, str | None])
    servers: dict[str, Any] = field(default_factory=dict[str, Any])

    def value(self, setting: str) -> str:
        """Return what was given for a setting, or what it is now; empty where neither is."""
        if given := self.given.get(setting):
            return given
        now: object = getattr(self.settings, setting.lower())
        return now.get_secret_value() if isinstance(now, SecretStr) else "" if now is None else str(now)

    def settings_with(self, values: Mapping[str, str | None]) -> Settings:
        """Return the settings as they would be with these and with what is planned. Raises SettingsError."""
        wanted = {name.lower(): value for name, value in {**self.env, **values}.items()}
        settings = load_settings(env_file=self._read_file, **{name: value for name, value in wanted.items() if value})
        known.keep(Plan, settings.secrets, mode=settings.redact)  # what was typed shows in no log either
        return settings.model_copy(update={name: None for name, value in wanted.items() if value is None})

    @property
    def _read_file(self) -> Path | None:
        return self.env_file if self.before.env else None

    def existing_servers(self) -> Mapping[str, object]:
        """Return the servers of mcp.json, as they are written. Raises SettingsError."""
        return McpJson(self.mcp_file).entries if self.before.mcp.strip() else {}

    def after(self) -> Files:
        """Return the texts as they would be. Raises SettingsError where they would not be valid."""
        env, _ = merge(self.before.env, self.env)
        entries = self._entries()
        files = Files(env=env, mcp=add_servers(self.before.mcp, entries) if entries else self.before.mcp)
        self._check(files)
        return files

    def difference(self) -> Iterator[str]:
        """Yield what would change, without secrets."""
        _, changes = merge(self.before.env, self.env)
        if changes:
            yield f"{self.env_file} ({'changed' if self.before.env else 'new'}, for you alone to read):"
        for change in changes:
            if change.before is not None:
                yield f"  - {change.name}={shown(change.name, change.before)}"
            if change.after is not None:
                yield f"  + {change.name}={shown(change.name, change.after)}"
        if entries := self._entries():
            yield f"{self.mcp_file} ({'changed' if self.before.mcp else 'new'}):"
            seen = {name: _without_values(entry) for name, entry in entries.items()}
            yield from (f"  + {redact_prose(line[4:])}" for line in add_servers("", seen).splitlines()[2:-2])

    def _entries(self) -> Mapping[str, Any]:
        """Return what is new in mcp.json: a first file has the bundled server too, which runs where there is none."""
        is_first = not self.before.mcp.strip() and self.settings.mcp_server_url is None
        return {BUNDLED_NAME: {"bundled": True}, **self.servers} if self.servers and is_first else self.servers

    def overridden(self) -> list[str]:
        """Return the settings that the environment sets to something else, which wins."""
        return [name for name, value in self.env.items() if os.environ.get(name) and os.environ[name] != (value or "")]

    def write(self, files: Files) -> None:
        """Write both files, or none of them.

        Raises:
            SettingsError: They have changed meanwhile, or cannot be written.
        """
        if read_files(self.env_file, self.mcp_file) != self.before:
            raise SettingsError("The files have changed meanwhile. Run it again.")
        try:
            if files.env != self.before.env:
                replace_file(self.env_file.resolve(), files.env)
            if files.mcp != self.before.mcp:
                self._write_servers(files.mcp)
        except OSError as error:
            raise SettingsError(f"{error.filename} cannot be written ({error.strerror}).") from error

    def _write_servers(self, text: str) -> None:
        try:
            replace_file(self.mcp_file.resolve(), text)
        except OSError:
            if self.before.env:
                replace_file(self.env_file.resolve(), self.before.env)
            else:
                self.env_file.unlink(missing_ok=True)
            raise

    def _check(self, files: Files) -> None:
        """Read both files as the bot will."""
        with tempfile.TemporaryDirectory() as folder:
            env, mcp = Path(folder, ENV_FILE), Path(folder, DEFAULT_FILE)
            env.touch(mode=FILE_MODE)
            env.write_bytes(files.env.encode())
            settings = load_settings(env_file=env)
            if any(name.startswith(_OF_MODELS) for name in self.env):
                _ = settings.provider
            if not self.servers:
                return
            mcp.write_bytes(files.mcp.encode())
            variables = {**values_of(files.env), **os.environ}
            read = McpJson(mcp).servers(taken=set(), variables=variables, answers={}, bundled=())
            for server in apart(read):
                if server.problem and server.name in self.servers:
                    raise SettingsError(server.problem.replace(str(mcp), str(self.mcp_file)))


def read_files(env: Path, mcp: Path) -> Files:
    """Return both texts. Raises SettingsError."""
    return Files(env=_text(env), mcp=_text(mcp))


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read ({type(error).__name__}). Save it as UTF-8 text.") from error


def _without_values(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a server with the values of its variables and headers hidden: what is secret shows in no name for sure."""
    hidden = {
        key: {name: value if _PLACEHOLDER.fullmatch(str(value)) else HIDDEN for name, value in entry[key].items()}
        for key in ("env", "environment", "headers")
        if isinstance(entry.get(key), dict)
    }
    return {**entry, **hidden}


def shown(name: str, value: str) -> str:
    """Return a value as it may be seen."""
    field = Settings.model_fields.get(name.lower())
    if name.startswith("TOOL_") or is_secret_name(name) or (field is not None and "SecretStr" in str(field.annotation)):
        return HIDDEN
    for secret in of_url(value):
        value = value.replace(secret, HIDDEN)
    return redact(value)
