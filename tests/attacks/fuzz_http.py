"""Requests of any shape for every address of the bot: none of them is an error of the bot's own."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from adapters.slack.opening import open_slack
from adapters.slack.options import SlackOptions
from bot.domain.answers import Done, Ignored, Refused
from bot.domain.events import CommandInvoked, DetailsAsked, FormAsked, MessageDeleted, MessageEdited, MessageReceived
from bot.http.listener import open_listener
from tests.attacks.faults import Faults, watching
from tests.fakes.hosts import Event, Outcome, ScriptedHost
from tests.fakes.slack import FakeSlack
from tests.payloads.reading import samples

WAIT_S = 30.0
SECRET = "signing-test"
PATHS = ("/slack/events", "/slack/install", "/slack/oauth_redirect", "/healthz", "/", "/slack/events/", "*", "//")
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "get")
EVENTS = "/slack/events"
JSON_TYPE, FORM_TYPE = "application/json", "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Sent:
    """One request; `headers` are beside those that frame it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    chunked: bool = False

    @property
    def bytes(self) -> bytes:
        framed = [("Host", "bot"), ("Connection", "close"), *self.headers]
        framed.append(("Transfer-Encoding", "chunked") if self.chunked else ("Content-Length", str(len(self.body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in framed)
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(self.body), self.body) if self.chunked and self.body else self.body
        return f"{self.method} {self.target} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogatepass") + (
            body or (b"0\r\n\r\n" if self.chunked else b"")
        )


# --- what is sent ---

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**300),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["T1", "U1", "C1", "\ud800", "\x00", "9" * 5_000, "view_submission", "event_callback", "message"]),
)
ODD = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PAYLOADS = [sample.payload for sample in samples("slack")]
TEXTS = ("[" * 100_000, '{"a":' * 100_000, '{"type":' + "1" * 100_000 + "}", "[]", '"x"', "null", "{", "", "\ufeff{}")


@st.composite
def odd_payloads(draw: st.DrawFn) -> Any:
    """A payload as Slack sends it, some parts of which are something else, or gone."""
    payload = deepcopy(draw(st.sampled_from(PAYLOADS)))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = payload
        while True:
            keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if isinstance(place, dict) and draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(ODD)
            break
    return payload


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """A type and a body."""
    kind = draw(st.sampled_from(["payload", "payload", "interaction", "form", "text", "bytes"]))
    match kind:
        case "payload":
            return JSON_TYPE, json.dumps(draw(odd_payloads())).encode()
        case "interaction":
            return FORM_TYPE, urlencode({"payload": json.dumps(draw(odd_payloads()))}).encode()
        case "form":
            fields = draw(st.dictionaries(st.sampled_from(COMMAND_FIELDS), st.text(max_size=20), max_size=8))
            return FORM_TYPE, urlencode(fields, errors="surrogatepass").encode()
        case "text":
            return draw(st.sampled_from([JSON_TYPE, FORM_TYPE, ""])), draw(st.sampled_from(TEXTS)).encode()
        case _:
            return draw(st.sampled_from([JSON_TYPE, FORM_TYPE, "text/plain; charset=x-none"])), draw(st.binary())


COMMAND_FIELDS = ("command", "text", "team_id", "user_id", "channel_id", "trigger_id", "payload", "ssl_check", "token")
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
TIMES = st.one_of(st.sampled_from(["now", "", "-1", "1e9", "9" * 5_000, "1_0", "²"]), HEADER_TEXT)


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A request of any shape, mostly such that Slack would have signed it."""
    content_type, body = draw(bodies())
    headers = {"Content-Type": content_type}
    if draw(st.integers(0, 3)):
        headers |= signed(body)
    else:
        headers |= {"X-Slack-Request-Timestamp": draw(TIMES), "X-Slack-Signature": draw(HEADER_TEXT)}
    extra = draw(st.lists(st.tuples(st.sampled_from(["Cookie", "X-Forwarded-For", "Expect", "Upgrade"]), HEADER_TEXT)))
    is_event = draw(st.integers(0, 3))
    query = urlencode(draw(st.dictionaries(st.sampled_from(["code", "state", "error", "team"]), st.text(max_size=9))))
    return Sent(
        method="POST" if is_event else draw(st.sampled_from(METHODS)),
        target=EVENTS if is_event else f"{draw(st.sampled_from(PATHS))}?{query}",
        headers=(*headers.items(), *extra),
        body=body,
        chunked=draw(st.booleans()),
    )


RAW = st.binary(max_size=200) | st.builds(
    lambda sent, at, inserted: sent.bytes[: at % 400] + inserted + sent.bytes[at % 400 :],
    requests(),
    st.integers(0, 400),
    st.binary(max_size=20),
)


def signed(body: bytes, *, secret: str = SECRET, at: str = "") -> Mapping[str, str]:
    """Return the headers of a body that Slack has signed now; the SDK signs only UTF-8."""
    at = at or str(int(time.time()))
    try:
        signature = SignatureVerifier(secret).generate_signature(timestamp=at, body=body) or ""
    except UnicodeDecodeError:
        signature = "v0=0"
    return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": signature}


# --- the door ---


@dataclass
class Door:
    """A listener with all routes of Slack, and the errors that were logged."""

    port: int
    faults: Faults
    statuses: Counter[int] = field(default_factory=Counter[int])

    async def status(self, sent: Sent | bytes) -> int:
        """Send it and return the status of the answer; 0 where the connection is closed without one."""
        is_raw = isinstance(sent, bytes)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        with suppress(ConnectionError):
            writer.write(sent if isinstance(sent, bytes) else sent.bytes)
            if is_raw:
                writer.write_eof()
            async with asyncio.timeout(WAIT_S):
                answer = await reader.readline()
        writer.close()
        status = int(answer.split()[1]) if answer else 0
        self.statuses[status] += 1
        return status


@asynccontextmanager
async def open_door() -> AsyncGenerator[Door]:
    """Slack's adapter, with events, pages to install and no core behind it, at a listener."""
    async with (
        FakeSlack() as slack,
        open_listener("127.0.0.1", 0) as http,
        open_slack(
            SlackOptions(
                client_id="client-test",
                client_secret="client-secret-test",
                signing_secret=SECRET,
                api_url=slack.api_url,
            ),
            host := ScriptedHost(_outcome, http=http),
        ) as adapter,
    ):
        await host.notes.put_note("slack/install/-/T1", INSTALLED)
        running = asyncio.create_task(adapter.run())
        await adapter.session.opened.wait()
        try:
            with watching() as faults:
                yield Door(http.port, faults)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


INSTALLED = json.dumps(
    {"team_id": "T1", "bot_token": "xoxb-test", "bot_user_id": "UBOT", "bot_id": "B1", "user_id": "U1"}
)


async def _outcome(event: Event) -> Outcome:
    match event:
        case MessageReceived() | MessageEdited() | MessageDeleted() | CommandInvoked():
            return Ignored()
        case DetailsAsked() | FormAsked():
            return Refused(notice="Not here.")
        case _:
            return Done()


def fuzz(inputs: int) -> dict[str, Any]:
    """Send so many requests; return how many, with which statuses (0: closed without an answer).

    Raises:
        AssertionError: One was an error of the bot's own; it is the smallest that could be found.
    """
    with asyncio.Runner() as runner:
        door = open_door()
        at = runner.run(door.__aenter__())
        try:

            @settings(
                max_examples=inputs,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            )
            @given(requests() | RAW)
            def each(sent: Sent | bytes) -> None:
                status = runner.run(at.status(sent))
                errors = at.faults.lines
                at.faults.clear()
                assert status < 500 and not errors, (status, errors)

            each()
        finally:
            runner.run(door.__aexit__(None, None, None))
    return {"inputs": sum(at.statuses.values()), "statuses": dict(at.statuses)}
