"""An mcp.json, of ours or of another client. One entry that cannot be used costs that server and no other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import structlog
from dotenv import dotenv_values

from bot.domain.errors import SettingsError
from bot.text.cleaning import strip_surrogates
from bot.tools.config import Endpoint, HttpEndpoint, ServerConfig, StdioEndpoint, command_label, url_label, url_problem
from bot.tools.entries import Entry, is_disabled, read_entry
from bot.tools.jsonc import plain_json
from bot.tools.placeholders import EntryError, Input, Placeholders, inputs_of

log = structlog.get_logger(__name__)

ROOTS = ("mcpServers", "servers", "context_servers")  # ours and most clients', VS Code's, Zed's
_SHAPE = 'Write {"mcpServers": {"NAME": {"command": ...}}}'


class McpJson:
    """One file, read; what is wrong with the file as a whole raises SettingsError with its name and the cure."""

    def __init__(self, file: Path) -> None:
        self._file = file
        document = read_document(file)
        self._entries = self._servers(document)
        self.inputs: Mapping[str, Input] = inputs_of(document.get("inputs"))

    @property
    def entries(self) -> Mapping[str, object]:
        """The servers as they are written, by their names, also those that are switched off."""
        return self._entries

    def wanted_inputs(self) -> list[Input]:
        """Return the inputs that a server that is switched on makes use of."""
        used = json.dumps([entry for entry in self._entries.values() if not is_disabled(entry)], ensure_ascii=False)
        return [asked for name, asked in self.inputs.items() if f"${{input:{name}}}" in used]

    def servers(
        self,
        *,
        taken: set[str],
        variables: Mapping[str, str],
        answers: Mapping[str, str],
        bundled: tuple[Endpoint, ...],
    ) -> list[ServerConfig]:
        """Return the servers that are switched on, those that cannot be used with their problem."""
        values = Placeholders(variables=variables, inputs=self.inputs, answers=answers, file=self._file)
        found: list[ServerConfig] = []
        for name, raw in self._entries.items():
            if is_disabled(raw):
                continue
            if name in taken:
                raise file_error(
                    self._file,
                    f"the name {name!r} is taken by the servers of MCP_SERVER_URL",
                    "Rename it or unset the other",
                )
            found.append(self._server(name, raw, _Reader(values, bundled=bundled)))
        return found

    def _server(self, name: str, raw: object, reader: _Reader) -> ServerConfig:
        try:
            if not name.strip():
                raise EntryError("it has an empty name", "Give it a name")
            server = reader.server(name, read_entry(raw))
        except EntryError as error:
            key = f", key {error.key!r}" if error.key else ""
            problem = f"{self._file}, server {name!r}{key}: {error.what}. {error.cure}"
            log.warning("tool_server_left_out", server=name, problem=problem)
            return ServerConfig(name=name, endpoints=(), problem=problem)
        for warning in server.warnings:
            log.warning("tool_server_setting", server=name, file=str(self._file), warning=warning)
        return server

    def _servers(self, document: Mapping[str, Any]) -> Mapping[str, object]:
        # settings.json of VS Code; Gemini CLI has a `mcp` of another kind
        if isinstance(nested := document.get("mcp"), dict) and not any(root in document for root in ROOTS):
            document = cast("Mapping[str, Any]", nested)
        roots = [key for key in ROOTS if key in document]
        if len(roots) != 1:
            what = f"it has {' and '.join(roots)}" if roots else "it has no mcpServers"
            raise file_error(self._file, what, _SHAPE)
        entries: object = document[roots[0]]
        if not isinstance(entries, dict):
            raise file_error(
                self._file, f"{roots[0]}: an object is expected", f'Write {{"{roots[0]}": {{"NAME": {{...}}}}}}'
            )
        return cast("Mapping[str, object]", entries)


def read_document(file: Path) -> Mapping[str, Any]:
    """Return the JSON object of a file, which may have comments. Raises SettingsError with its name and the cure."""
    try:
        text = plain_json(file.read_text(encoding="utf-8-sig"))
        parsed: object = json.loads(text, object_pairs_hook=lambda pairs: _unique(file, pairs))
        # Half characters, which JSON can hold, cannot be shown.
        document: object = json.loads(strip_surrogates(json.dumps(parsed, ensure_ascii=False)))
    except FileNotFoundError:
        raise file_error(file, "the file does not exist", "Correct MCP_CONFIG or unset it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise file_error(file, f"it cannot be read ({type(error).__name__})", "Save it as readable UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise file_error(file, f"it is not valid JSON ({error.msg}, {where})", "Correct that place") from None
    except (ValueError, RecursionError):
        raise file_error(file, "it is not valid JSON", "Correct it") from None
    if not isinstance(document, dict):
        raise file_error(file, "an object is expected", _SHAPE)
    return cast("Mapping[str, Any]", document)


def _unique(file: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise file_error(file, f"the key {key!r} is there twice", "Remove or rename one")
        found[key] = value
    return found


def file_error(file: Path, what: str, cure: str) -> SettingsError:
    """Return what is wrong with a file as a whole."""
    return SettingsError(f"{file}: {what}. {cure}.")


class _Reader:
    """Makes servers of entries; problems are EntryErrors that name the key."""

    def __init__(self, values: Placeholders, *, bundled: tuple[Endpoint, ...]) -> None:
        self._values = values
        self._bundled = bundled

    def server(self, name: str, entry: Entry) -> ServerConfig:
        return ServerConfig(
            name=name,
            endpoints=self._endpoints(entry),
            allow=tuple(entry.filter.allow),
            deny=tuple(entry.filter.deny),
            is_bundled=entry.bundled,
            trusted=entry.bundled if entry.trusted is None else entry.trusted,
            repeatable=tuple(entry.repeatable),
            timeout_s=entry.timeout_s,
            max_timeout_s=max(entry.max_timeout_s, entry.timeout_s),
            connect_timeout_s=entry.connect_timeout_s,
            warnings=tuple(entry.warnings),
        )

    def _endpoints(self, entry: Entry) -> tuple[Endpoint, ...]:
        if entry.bundled:
            return self._bundled
        if entry.command is not None:
            return (self._command(entry, entry.command),)
        urls = (
            {"url": entry.url or ""} if entry.urls is None else {f"urls.{n}": url for n, url in enumerate(entry.urls)}
        )
        headers = self._map("headers", entry.headers)
        return tuple(self._url(key, url, headers=headers, entry=entry) for key, url in urls.items())

    def _command(self, entry: Entry, command: str) -> StdioEndpoint:
        return StdioEndpoint(
            program=self._expand("command", command),
            args=tuple(self._expand(f"args.{number}", arg) for number, arg in enumerate(entry.args or ())),
            env={**self._env_file(entry.env_file), **self._map("env", entry.env)},
            cwd=self._path("cwd", entry.cwd) if entry.cwd is not None else None,
            label=command_label(command, entry.args or []),
        )

    def _url(self, key: str, text: str, *, headers: Mapping[str, str], entry: Entry) -> HttpEndpoint:
        url = self._expand(key, text)
        if problem := url_problem(url):
            raise EntryError(problem, "Write http(s)://host:port/mcp", key=key)
        return HttpEndpoint(url=url, headers=headers, label=url_label(url), transport=entry.transport)

    def _env_file(self, written: str | None) -> Mapping[str, str]:
        if written is None:
            return {}
        path = self._values.folder / self._path("envFile", written)
        try:
            found = dotenv_values(path, encoding="utf-8-sig") if path.is_file() else None
        except (OSError, UnicodeDecodeError):
            found = None
        if found is None:
            raise EntryError("the file cannot be read", "Correct the path, or save it as UTF-8", key="envFile")
        return {name: value for name, value in found.items() if value is not None}

    def _path(self, key: str, written: str) -> Path:
        try:
            return Path(self._expand(key, written)).expanduser()
        except RuntimeError:
            raise EntryError("its home folder is not known", "Write the whole path", key=key) from None

    def _map(self, key: str, values: Mapping[str, str] | None) -> dict[str, str]:
        return {name: self._expand(f"{key}.{name}", value) for name, value in (values or {}).items()}

    def _expand(self, key: str, text: str) -> str:
        try:
            return self._values.expand(text)
        except EntryError as error:
            raise EntryError(error.what, error.cure, key=key) from None
