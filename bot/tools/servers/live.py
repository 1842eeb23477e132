"""A call on its way, with what its server asks of a person meanwhile."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from mcp.client.session import ClientRequestContext
from mcp.types import (
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputResponses,
    RequestId,
)

from bot.ports.tools import Progress
from bot.tools.config import url_problem
from bot.tools.servers.sensitive import asks_for_secret

MAX_FORM_CHARS = 50_000  # of a form's schema, and of its message
MAX_QUESTIONS = 10  # of one call; the SDK's own clients stop there too
_REFUSED_NOTE = (
    "[The server {server!r} asked for something that looks like a password or key in a form. That was declined without "
    "asking anyone: secrets do not belong in a chat.]"
)
_LARGE_NOTE = "[The server {server!r} asked with a form that is too large to be shown. That was declined.]"
_LINK_NOTE = (
    "[The server {server!r} wanted a page to be opened whose address is no plain http or https URL. That was declined.]"
)
_UNCLEAR_NOTE = (
    "[The server {server!r} asked something while several of its calls ran, without saying which of them it was about, "
    "so no one was asked. Calling the tool again on its own may help.]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What a server asks: a form (`schema`), or a page to open (`url`). All of it is the server's own: untrusted."""

    key: str
    message: str
    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    url: str = ""
    elicitation_id: str = ""

    def refusal(self, *, server: str) -> str:
        """Return why nobody is asked this, for the model and people to read; empty where it may be asked."""
        if self.url:
            return "" if _is_web_page(self.url) else _LINK_NOTE.format(server=server)
        if len(self.message) > MAX_FORM_CHARS or len(str(self.schema)) > MAX_FORM_CHARS:
            return _LARGE_NOTE.format(server=server)
        return _REFUSED_NOTE.format(server=server) if asks_for_secret(self.message, self.schema) else ""


def _is_web_page(url: str) -> bool:
    # "https://bank.example@evil.example" only looks like a page of the bank.
    return url.isprintable() and " " not in url and not url_problem(url) and "@" not in urlsplit(url).netloc


def inquiry_of(key: str, params: ElicitRequestParams) -> Inquiry:
    """Return a server's request in our terms."""
    match params:
        case ElicitRequestFormParams():
            return Inquiry(key=key, message=params.message, schema=params.requested_schema)
        case ElicitRequestURLParams():
            known = params.elicitation_id or ""
            return Inquiry(key=key, message=params.message, url=params.url, elicitation_id=known)


class Clock(Protocol):
    """The time that a call may take."""

    def stop(self) -> None:
        """Let no time pass while a person is asked."""
        ...

    def go_on(self) -> None:
        """Grant the call its time again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What is sent along with a call that its server answered with questions."""

    responses: InputResponses | None = None
    request_state: str | None = None


class LiveCall:
    """One call. Its server's questions wait here, the oldest first, until each has its answer.

    `asker` is whose call it is and where: two calls of the same asker may see each other's questions.
    """

    def __init__(
        self,
        *,
        asker: object,
        conversation_id: str,
        former_id: str = "",
        progress: Progress,
        replica: str = "",
        may_repeat: bool = True,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.asker = asker
        self.conversation_id = conversation_id
        self.former_id = former_id  # under which the conversation's files were kept before ids had a key
        self.progress = progress
        self.may_repeat = may_repeat  # after its connection broke off, where its tool allows that
        self.server = ""  # its own names, as soon as they are known
        self.tool = ""
        self.replica = replica  # which one has the call, or is to get it: only that one may understand its own state
        self.process = ""  # the child process that has the call; empty for servers that other processes reach too
        self.answers = Answers()
        self.notes: list[str] = []
        self.clock: Clock | None = None
        self.news = asyncio.Event()  # a question came or went, or the call has ended
        self.question_count = 0
        self._open: dict[str, tuple[Inquiry, asyncio.Future[ElicitResult]]] = {}

    @property
    def question(self) -> Inquiry | None:
        """The oldest question without an answer."""
        return next((inquiry for inquiry, _ in self._open.values()), None)

    async def ask(self, params: ElicitRequestParams, *, server: str) -> ElicitResult:
        """Return what the person answers; secrets and too many questions are declined at once."""
        self.question_count += 1
        inquiry = inquiry_of(f"{self.question_count}", params)
        if refusal := inquiry.refusal(server=server):
            self.notes.append(refusal)
            return ElicitResult(action="decline")
        if self.question_count > MAX_QUESTIONS:
            return ElicitResult(action="cancel")
        answer = asyncio.get_running_loop().create_future()
        self._open[inquiry.key] = inquiry, answer
        self._noticed()
        try:
            return await answer
        finally:
            self._open.pop(inquiry.key, None)
            self._noticed()

    def answer(self, key: str, result: ElicitResult) -> None:
        """Give the server its answer; without effect where it does not wait for it any more."""
        _, answer = self._open.pop(key, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(result)
        self._noticed()

    def _noticed(self) -> None:
        self.news.set()
        if self.clock is not None:
            if self._open:
                self.clock.stop()
            else:
                self.clock.go_on()


CURRENT: ContextVar[LiveCall | None] = ContextVar("live_call", default=None)  # of the task that sends a request


class CallsOnLink:
    """The calls that run on one connection, and the one to which a question of the server belongs."""

    def __init__(self, *, server: str) -> None:
        self._server = server
        self._calls: dict[RequestId, LiveCall] = {}
        self._completed = deque[str](maxlen=100)
        self._origins: dict[RequestId, RequestId] = {}  # questions, with the request in whose answer they came

    def sent(self, request_id: RequestId) -> None:
        """Take note of a request that the current call has sent."""
        if (live := CURRENT.get()) is not None:
            self._calls[request_id] = live

    def ended(self, live: LiveCall) -> None:
        """Forget the call's requests."""
        gone = {request_id for request_id, call in self._calls.items() if call is live}
        self._calls = {request_id: call for request_id, call in self._calls.items() if request_id not in gone}
        self._origins = {question: origin for question, origin in self._origins.items() if origin not in gone}

    def came_with(self, question_id: RequestId, request_id: RequestId) -> None:
        """Take note that the server asked in its answer to that request (over HTTP)."""
        if request_id in self._calls:
            self._origins[question_id] = request_id

    async def ask(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """Ask the one whose call it is, while it runs; where that cannot be known, cancel."""
        if (live := self.owner(context.request_id)) is not None:
            return await live.ask(params, server=self._server)
        for running in set(self._calls.values()):
            running.notes.append(_UNCLEAR_NOTE.format(server=self._server))
        return ElicitResult(action="cancel")

    def owner(self, question_id: RequestId) -> LiveCall | None:
        """Return the call that a question is about; None where that cannot be known.

        A process and a shared stream do not say it. There it is the only call that runs; of several, the newest, but
        only where all are of one asker: no one may see what a server asks someone else.
        """
        if (origin := self._origins.pop(question_id, None)) is not None:
            return self._calls.get(origin)
        running = list(self._calls.values())
        if not running or any(live.asker != running[0].asker for live in running):
            return None
        return next((live for live in reversed(running) if live.question is None), running[-1])

    def complete(self, elicitation_id: str) -> None:
        """Take note that what a page was opened for is done."""
        self._completed.append(elicitation_id)

    def is_complete(self, elicitation_id: str) -> bool:
        """Return whether the server said so."""
        return elicitation_id in self._completed
