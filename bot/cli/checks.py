"""What the doctor checks on this machine: the home folder, where `run` listens, what is hidden, what is encrypted."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from bot.composition.storage import open_secret_keys
from bot.composition.tracing import check_traces as traces_to
from bot.domain.errors import SettingsError
from bot.http.listener import open_sockets
from bot.http.reasons import bare_reason
from bot.keeping.private import tighten
from bot.ports.store import Store
from bot.rights.policy import FilePolicy
from bot.settings import Settings
from bot.stores.secret_notes import look_at_secrets, lost_sentence
from bot.stores.shared_secret import UNREADABLE, can_read
from bot.text.cleaning import clean
from bot.text.counting import count
from bot.tools.conversation_ids import FILE_NAME as KEY_FILE
from bot.tools.conversation_ids import open_conversation_ids

COLLECTOR_S = 2.0
_HIDDEN = {
    "on": "what looks like a secret is hidden in answers, files and all that is seen of tools",
    "trace": "what looks like a secret is hidden only in what is seen of tools; answers and files show it",
    "off": "only the bot's own secrets are hidden",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the doctor: a part, its state, and what to do about it."""

    part: str
    state: Literal["ok", "off", "failed"]
    detail: str
    cure: str = ""
    output: tuple[str, ...] = ()  # the last lines of a server's standard error

    @property
    def text(self) -> str:
        """The detail and, as a sentence of its own, the cure."""
        if not self.cure:
            return self.detail
        return f"{self.detail}{'' if self.detail.endswith(('.', '?', '!', ':')) else '.'} {self.cure}"


def check_home(settings: Settings) -> Check:
    """Return whether the home folder can be used and only the owner reads it, after an attempt to make that so."""
    home = settings.toolbridge_home
    if problem := tighten(home):
        return Check(part="home", state="failed", detail=problem)
    if (home / KEY_FILE).exists():
        try:
            open_conversation_ids(home)
        except SettingsError as error:
            return Check(part="home", state="failed", detail=str(error))
    kept = f"texts are kept for {count(settings.kept_days, 'day')}" if settings.kept_days else "texts are kept for ever"
    return Check(part="home", state="ok", detail=f"{home}, {kept}")


def check_redaction(settings: Settings) -> Check:
    """Return what is hidden of secrets."""
    state = "off" if settings.redact == "off" else "ok"
    return Check(part="redaction", state=state, detail=f"REDACT={settings.redact}: {_HIDDEN[settings.redact]}")


def check_logs(settings: Settings) -> Sequence[Check]:
    """Return a warning where the log has people's words; there is nothing to say where it has none."""
    if not settings.log_content:
        return []
    detail = (
        "LOG_CONTENT=true: the log has questions, answers and the arguments of calls. /clear and `toolbridge purge` do "
        "not reach it."
    )
    cure = "Unset LOG_CONTENT once you need them no more, and delete the log."
    return [Check(part="logs", state="ok", detail=detail, cure=cure)]


async def check_http(settings: Settings) -> Check:
    """Return whether `run` can listen where the settings say; the port is taken for a moment to find out."""
    try:
        settings.check_metrics()
    except SettingsError as error:
        return Check(part="http", state="failed", detail=str(error))
    if settings.http_port is None:
        return Check(part="http", state="off", detail="HTTP_PORT=off")
    where = f"{settings.http_host}:{settings.http_port or 'any free port'}"
    try:
        for each in await open_sockets(settings.http_host, settings.http_port):
            each.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            cure = "By the bot, if it runs. If it does not, set HTTP_PORT to a port that is free, or to off."
            return Check(part="http", state="ok", detail=f"{where} is taken.", cure=cure)
        detail = f"`toolbridge run` cannot listen on {where} ({bare_reason(error)})."
        return Check(part="http", state="failed", detail=detail, cure="Correct HTTP_HOST and HTTP_PORT.")
    proxies = f", behind {', '.join(map(str, settings.proxies))}" if settings.proxies else ""
    return Check(part="http", state="ok", detail=f"`toolbridge run` listens on {where}{proxies}")


async def check_traces(settings: Settings) -> Sequence[Check]:
    """Return whether traces can be sent; nothing where they are off. Raises SettingsError where they never can."""
    if not (url := traces_to(settings)):
        return []
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    said = ", with what was said" if settings.captures_messages else ""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        async with asyncio.timeout(COLLECTOR_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, ValueError) as error:  # a timeout is an OSError; a ValueError is of a wrong port or name
        detail = f"{where} cannot be reached ({bare_reason(error) or 'no answer'}): traces are lost, nothing else is."
        return [Check(part="traces", state="failed", detail=detail, cure="Correct OTEL_EXPORTER_OTLP_ENDPOINT.")]
    writer.close()
    return [Check(part="traces", state="ok", detail=f"they go to {where}{said}")]


async def check_secrets(settings: Settings, store: Store) -> Sequence[Check]:
    """Return whether the secrets that are kept are encrypted and can be read; nothing where there are none.

    Raises SettingsError where TOOLBRIDGE_SECRET_KEY is missing.
    """
    keys = open_secret_keys(settings)
    if settings.is_shared and not await can_read(store, keys):
        return [Check(part="secrets", state="failed", detail=UNREADABLE)]
    kept = await look_at_secrets(store, keys)
    if kept.lost:
        return [Check(part="secrets", state="failed", detail=clean(lost_sentence(kept.lost)))]
    if kept.clear:
        detail = f"{kept.count} kept, {kept.clear} not encrypted yet: the next start of `toolbridge run` does that"
        return [Check(part="secrets", state="ok", detail=detail)]
    return [Check(part="secrets", state="ok", detail=f"{kept.count} kept, encrypted")] if kept.count else []


def warning_place_problem(policy: FilePolicy, served: Collection[str]) -> str:
    """Return why warnings of budgets reach no one, as a line; empty where nothing is known against it."""
    platform = policy.budgets.warn_in.partition(":")[0]
    if not platform or platform in served:
        return ""
    return f"[budgets]: warn_in is on {platform}, which is not set up: no one sees the warnings. Name another place."
