"""`toolbridge health`: asks the process that runs here whether it is ready."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from typing import Any, cast

import h11

from bot.cli.output import report
from bot.cli.start import start
from bot.domain.errors import BotError, SettingsError
from bot.http.reasons import bare_reason
from bot.settings import Settings
from bot.text.terminal import flat

TIMEOUT_S = 3.5  # in all; with the start of Python less than five seconds
MAX_BYTES = 64 * 1024
PATH = "/readyz"
ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (how they are reached from here)


async def health(arguments: Namespace) -> int:
    """Print whether it is ready, and why not; return 0 where it takes messages, else 1. Raises nothing."""
    try:
        settings = start(arguments, needs_model=False)
        answer = await ask(settings)
    except BotError as error:
        answer = {"status": "not_ready", "reason": str(error)}
    reason = f": {answer['reason']}" if answer.get("reason") else ""
    line = flat(f"{str(answer['status']).replace('_', ' ')}{reason}")
    report(arguments, answer, [line])
    if answer["status"] in ("ready", "degraded"):
        return 0
    if arguments.quiet:
        print(f"toolbridge: {line}", file=sys.stderr)
    return 1


async def ask(settings: Settings) -> dict[str, Any]:
    """Return what the process at HTTP_HOST and HTTP_PORT says of itself.

    Raises:
        SettingsError: The settings do not say where it listens.
        BotError: Nothing of ours answers there in time; the sentence says what to do.
    """
    host, port = ANY.get(settings.http_host, settings.http_host), settings.http_port
    if not port:
        way = (
            "off switches the listener off"
            if port is None
            else "0 has the system choose a port, which nobody else knows"
        )
        raise SettingsError(f"The health of the bot cannot be asked: HTTP_PORT={way}. Set HTTP_PORT to a port.")
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            body = await _get(host, port)
    except TimeoutError:
        raise BotError(
            f"What listens on {where} did not answer within {TIMEOUT_S:g} s. If it is the bot, it hangs: restart it."
        ) from None
    except (OSError, UnicodeError, h11.RemoteProtocolError) as error:
        raise BotError(
            f"Nothing answers on {where} ({bare_reason(error)}). Start `toolbridge run`, or give this command the "
            f"HTTP_HOST and HTTP_PORT that it has."
        ) from None
    return _read(body, where=where)


def _read(body: bytes, *, where: str) -> dict[str, Any]:
    try:
        answer: object = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and "status" in answer:
        return cast("dict[str, Any]", answer)
    raise BotError(f"What answers on {where} is not toolbridge. Set HTTP_HOST and HTTP_PORT as for `toolbridge run`.")


async def _get(host: str, port: int) -> bytes:
    """Return the body of the answer, of whatever status. Raises OSError, h11.RemoteProtocolError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        wire, body = h11.Connection(h11.CLIENT), b""
        asked = h11.Request(method="GET", target=PATH, headers=[("host", "localhost"), ("connection", "close")])
        writer.write((wire.send(asked) or b"") + (wire.send(h11.EndOfMessage()) or b""))
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await reader.read(MAX_BYTES))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) or len(body) > MAX_BYTES:
                return body
    finally:
        writer.close()
