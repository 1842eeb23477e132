"""Logs: one line per event, through structlog, to standard error or a file; never message text, never a secret."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal, cast

import structlog

from bot.keeping.private import make_folder, open_private
from bot.text.redaction import redact_always
from bot.text.terminal import flat, visible

MAX_FILE_BYTES = 5 * 1024 * 1024
KEPT_FILES = 3
# Others log from WARNING on, whatever the level: below it, some have each message in their lines (discord.gateway) or a
# dozen lines for each answer that is drawn (markdown_it).
OURS = ("adapters", "bot", "mcp_server")
# Made here, of nothing that anybody wrote: no secret is looked for in them.
OWN_FIELDS = frozenset({"level", "logger", "span_id", "timestamp", "trace_id"})


def configure_logs(*, log_format: Literal["json", "console"], level: str, file: Path | None = None) -> None:
    """Send the process's logs to `file` (kept small by rotation), or to standard error where it is None."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderers: Sequence[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [_make_visible, structlog.dev.ConsoleRenderer(colors=file is None and sys.stderr.isatty())]
    )
    handler = _handler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.raiseExceptions = False  # a full disk loses lines; it must not write over the chat on the terminal
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    logging.getLogger("azure").setLevel(logging.ERROR)  # a missing token is reported by our own error


def _handler(file: Path | None) -> logging.Handler:
    if file is None:
        return logging.StreamHandler()
    try:
        make_folder(file.parent)
        return _PrivateFile(
            file, maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8", errors="backslashreplace"
        )
    except OSError:
        return logging.NullHandler()  # a folder that cannot be written is reported where the database is opened


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """Makes its files for their owner only."""

    def _open(self) -> TextIOWrapper:
        file = os.fdopen(open_private(self.baseFilename, os.O_CREAT | os.O_APPEND | os.O_WRONLY), "ab")
        return TextIOWrapper(file, encoding=self.encoding, errors=self.errors, write_through=True)


def _hide_secrets(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: value if name in OWN_FIELDS else _redacted(value) for name, value in event.items()}


def _make_visible(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Take out of every text what a terminal would obey, and keep it on its line; tracebacks keep their lines."""
    return {name: _shown(name, value) for name, value in event.items()}


def _shown(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return visible(value) if name in ("exception", "stack") else flat(value)


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redact_always(value)
        case None | bool() | int() | float():
            return value
        case list() | tuple():
            return [_redacted(item) for item in cast("Iterable[Any]", value)]
        case dict():
            return {_redacted(key): _redacted(item) for key, item in cast("dict[Any, Any]", value).items()}
        case _:
            return redact_always(repr(value))
