"""A model behind an HTTP endpoint: ask, read the stream, and ask again while that can help."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import structlog
from openai import APIStatusError, AsyncAPIResponse

from bot.domain.backoff import Backoff
from bot.domain.errors import (
    ModelContentFilterError,
    ModelError,
    ModelRateLimitError,
    ModelStreamError,
    ModelUnavailableError,
)
from bot.domain.messages import ModelAnswer, ToolSpec, Usage, UserMessage
from bot.domain.turns import TokensSpent
from bot.models.billing import Bill
from bot.models.concessions import Fitting, Learnt
from bot.models.errors import FAULTS, BrokenStreamError, Fault, Labels, fault_of, refusal_of
from bot.models.narrowing import may_be_about_tools
from bot.models.pacing import Pacer
from bot.models.prices import Prices
from bot.models.refusals import Refusal
from bot.models.stream import Fold, receive
from bot.models.telling import Telling
from bot.models.thoughts import Said
from bot.ports.model import ModelProgressSink, ModelRequest
from bot.text.apart import apart

_CHARS_A_TOKEN = 4  # roughly
_PACED = "The model's own limit is reached, so questions take turns."
_NARROWING = "The model's endpoint refuses some tool without naming it, so the bot tries which one."
_CLOSE_S = 1.0  # how long the connection may take to close after the last event
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for an endpoint, and how often to ask again."""

    stall_s: float = 60.0  # between two events of an answer
    # Before the first word: reasoning models think, local servers load the model and read a long prompt.
    first_word_s: float = 180.0
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=1.0, jitter=0.2))
    rate_limit_retries: int = 7  # without a named pause these take two minutes: Azure counts by the minute
    fault_retries: int = 2


class Dialect(Protocol):
    """Requests and answers of one API."""

    @property
    def concessions(self) -> Mapping[str, Mapping[str, Any]]:
        """Parameters that some endpoints refuse, each with what to send to those instead (None: leave it out)."""
        ...

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """Return the JSON body of the request; equal requests have equal bodies."""
        ...

    def send(self, body: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Send the body; the response is a stream of server-sent events."""
        ...

    def fold(self) -> Fold:
        """Return an empty fold for the events of one answer."""
        ...


class _Tries:
    """Counts the failures of one question, and decides whether it is asked again."""

    def __init__(self, patience: Patience, *, deadline: float) -> None:
        self._patience = patience
        self._deadline = deadline
        self._failures: Counter[type[ModelError]] = Counter()
        self.may_repeat = True  # an answer that is whole and of no use is asked for once more

    @property
    def backoff_s(self) -> float:
        """How long to wait after the next failure, unless the endpoint says so."""
        return self._patience.backoff.wait_s(self._failures.total() + 1)

    def are_left(self, fault: Fault) -> bool:
        """Count the failure and return whether another try is worth the wait."""
        kind = type(fault.error)
        self._failures[kind] += 1
        ends_at = asyncio.get_running_loop().time() + fault.wait_s
        return bool(fault.reason) and self._failures[kind] <= self._limit(kind) and ends_at < self._deadline

    def last_error(self, fault: Fault) -> ModelError:
        """Return the error to raise: one that says what really happened."""
        kind = type(fault.error)
        is_used_up = self._failures[kind] > self._limit(kind) or not fault.is_pause_named
        if kind is ModelRateLimitError and is_used_up:
            return ModelRateLimitError(retry_after_s=fault.wait_s, tries=self._failures[kind])
        return fault.error

    def _limit(self, kind: type[ModelError]) -> int:
        return self._patience.rate_limit_retries if kind is ModelRateLimitError else self._patience.fault_retries


class EndpointModel:
    """The Model port on an endpoint that streams. `extra_body` is sent as it is, whatever else the request says."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        labels: Labels,
        patience: Patience,
        pacer: Pacer,
        prices: Prices | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        self._dialect = dialect
        self._labels = labels
        self._patience = patience
        self._pacer = pacer
        self._prices = prices or Prices({}, own=None)
        self._extra_body = extra_body or {}
        self._learnt = Learnt(labels=labels, concessions=dialect.concessions)
        self.rate_limits = 0  # requests that the endpoint refused because there were too many

    @property
    def name(self) -> str:
        """The model or deployment name."""
        return self._labels.model

    @property
    def refused_tools(self) -> Mapping[str, str]:
        """The names of the tools that the endpoint refused, each with its reason."""
        return self._learnt.offering.refused

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the whole answer; see the Model port. A content filter's stop is reported as one even after text.

        What the endpoint refuses of the request (images, tools, parameters) is left out, and the answer's notes say so.
        An answer that is empty, or was cut within a tool call, is asked for once more.
        """
        bill = Bill(self._prices, request.model or self.name)
        try:
            return bill.close(await self._answer(request, bill, deadline=deadline, progress=progress))
        except BaseException:
            if (spent := bill.usage) != Usage():
                progress(TokensSpent(usage=spent))
            raise

    async def _answer(
        self, request: ModelRequest, bill: Bill, *, deadline: float, progress: ModelProgressSink
    ) -> ModelAnswer:
        fitting, telling = Fitting(request, self._learnt), Telling(progress)
        tries = _Tries(self._patience, deadline=deadline)
        while True:
            body = await self._body(fitting.request())
            tokens = await apart(functools.partial(self._tokens, body), size=_size(request))
            try:
                await self._wait_for_turn(request, telling, tokens=tokens, deadline=deadline)
                answer = await self._read(body, bill, deadline=deadline, telling=telling)
                self._pacer.settle(estimated=tokens, used=answer.usage.input_tokens + answer.usage.output_tokens)
                if (fault := self._fault_of_answer(answer, tries)) is None:
                    return _usable(answer, notes=fitting.notes)
                bill.waste(answer)
            except FAULTS as error:
                refusal = refusal_of(error)
                if isinstance(error, APIStatusError):
                    self._pacer.learn(error.response.headers)
                if (
                    refusal is not None
                    and not telling.has_told
                    and await self._adapt(fitting, refusal, body, telling, bill, deadline=deadline)
                ):
                    continue
                fault = self._judge(error, tries, deadline=deadline)
                self.rate_limits += isinstance(fault.error, ModelRateLimitError)
                if fault.is_pause_named and isinstance(fault.error, ModelRateLimitError):
                    await self._pacer.pause(fault.wait_s)
                if not tries.are_left(fault):
                    raise _with_text(tries.last_error(fault), telling.longest) from error
            telling.begin_again()
            _log.info("model_waiting", model=self.name, reason=fault.reason, wait_s=round(fault.wait_s, 3))
            telling.pause(fault.reason, fault.wait_s)
            await asyncio.sleep(fault.wait_s)

    async def _adapt(
        self,
        fitting: Fitting,
        refusal: Refusal,
        body: Mapping[str, Any],
        telling: Telling,
        bill: Bill,
        *,
        deadline: float,
    ) -> bool:
        """Leave out what the refusal is about; return whether the request can be sent again at once."""
        return fitting.adapt(refusal, body) or await self._narrow(fitting, refusal, telling, bill, deadline=deadline)

    async def _narrow(
        self, fitting: Fitting, refusal: Refusal, telling: Telling, bill: Bill, *, deadline: float
    ) -> bool:
        """Leave out the tools for which a request was refused without naming them; return whether any was found."""
        if not fitting.may_narrow(refusal):
            return False

        async def takes(tools: Sequence[ToolSpec]) -> bool:
            return await self._takes(fitting.probe(tools), bill, deadline=deadline)

        telling.pause(_NARROWING, 0.0)
        try:
            return await fitting.narrow(refusal, takes)
        except (*FAULTS, ModelError) as error:  # something else is wrong as well: people see the refusal
            _log.warning("model_tools_not_narrowed", model=self.name, error=type(error).__name__)
            return False

    async def _takes(self, request: ModelRequest, bill: Bill, *, deadline: float) -> bool:
        telling, body = Telling(_ignore), await self._body(request)
        tokens = await apart(lambda: self._tokens(body), size=_size(request))
        try:
            await self._wait_for_turn(request, telling, tokens=tokens, deadline=deadline)
            bill.waste(await self._read(body, bill, deadline=deadline, telling=telling))
        except FAULTS as error:
            refusal = refusal_of(error)
            if refusal is None or not may_be_about_tools(refusal):
                raise
            return False
        return True

    def _tokens(self, body: Mapping[str, Any]) -> int:
        return len(json.dumps(body)) // _CHARS_A_TOKEN if self._pacer.counts_tokens else 0

    async def _body(self, request: ModelRequest) -> dict[str, Any]:
        whole = await apart(lambda: self._dialect.body(request), size=_size(request))
        body = self._learnt.concede(whole)
        return {name: value for name, value in {**body, **self._extra_body}.items() if value is not None}

    async def _wait_for_turn(self, request: ModelRequest, telling: Telling, *, tokens: int, deadline: float) -> None:
        """Return when the endpoint's own limits allow the request. Raises ModelRateLimitError at the deadline."""
        waits: list[float] = []

        def on_wait(wait_s: float) -> None:
            waits.append(wait_s)
            _log.info("model_paced", model=self.name, wait_s=round(wait_s, 3))
            telling.pause(_PACED, wait_s)

        try:
            async with asyncio.timeout_at(deadline):
                await self._pacer.admit(request.asker, conversation=request.cache_key, tokens=tokens, on_wait=on_wait)
        except TimeoutError:
            error = ModelRateLimitError(retry_after_s=max(waits, default=0.0))
            raise _with_text(error, telling.longest) from None

    async def _read(self, body: Mapping[str, Any], bill: Bill, *, deadline: float, telling: Telling) -> ModelAnswer:
        loop = asyncio.get_running_loop()
        fold = self._dialect.fold()
        bill.begin(body)

        def on_headers(headers: Mapping[str, str]) -> None:
            bill.run()
            self._pacer.learn(headers)

        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._patience.first_word_s)) as watch:

                def on_said(said: Said) -> None:
                    watch.reschedule(min(deadline, loop.time() + self._gap_s(fold)))
                    bill.hear(said)
                    telling.say(said)

                await receive(self._dialect.send(body), fold, on_headers=on_headers, on_said=on_said)
        except FAULTS:
            if not fold.is_finished:
                raise
            telling.say(fold.end(was_announced=False))
        return await bill.take(fold.answer())

    def _gap_s(self, fold: Fold) -> float:
        if fold.is_finished:
            return _CLOSE_S
        return self._patience.stall_s if fold.has_begun else self._patience.first_word_s

    def _judge(self, error: Exception, tries: _Tries, *, deadline: float) -> Fault:
        if asyncio.get_running_loop().time() >= deadline:
            return Fault(
                error=ModelUnavailableError(
                    "The time for this turn is up, and the model had not finished its answer. Ask for less at once, or "
                    "have the operator raise TURN_TIMEOUT_S."
                )
            )
        fault = fault_of(error, self._labels, backoff_s=tries.backoff_s)
        refusal = refusal_of(error)
        if refusal is None or refusal.retry_after_s is None:
            return fault
        # Jitter, so that clients do not all return at once; never sooner than the endpoint asked for.
        return replace(fault, wait_s=fault.wait_s * random.uniform(1.0, 1.1))  # noqa: S311  (spreads load)

    def _fault_of_answer(self, answer: ModelAnswer, tries: _Tries) -> Fault | None:
        """Return why an answer that ended as it should is asked for once more; None if it is not."""
        if not tries.may_repeat:
            return None
        if answer.is_cut and answer.message.tool_calls:
            reason = "The model's answer was cut within a tool call."
        elif not answer.message.text.strip() and not answer.message.tool_calls:
            reason = "The model's answer was empty."
        else:
            return None
        tries.may_repeat = False
        fault = fault_of(BrokenStreamError(reason), self._labels, backoff_s=tries.backoff_s)
        fault = replace(fault, reason=reason)
        return fault if tries.are_left(fault) else None


def _size(request: ModelRequest) -> int:
    """Return the bytes of the images, which each request encodes as base64 again."""
    return sum(len(image.data) for one in request.messages if isinstance(one, UserMessage) for image in one.images)


def _ignore(_said: object) -> None:
    pass


def _usable(answer: ModelAnswer, *, notes: tuple[str, ...]) -> ModelAnswer:
    """Return the answer with the notes; the calls of an answer that was cut are left out, for they may be half."""
    message = answer.message
    if answer.is_cut and message.tool_calls:
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(call.name for call in message.tool_calls))
        notes = (
            *notes,
            f"The model reached its output limit while it asked for {names}, so nothing was run. Please ask for less "
            f"at once; the operator can raise MODEL_MAX_OUTPUT_TOKENS.",
        )
        answer = replace(answer, message=replace(message, tool_calls=(), replay=()), is_cut=False)
    return replace(answer, notes=notes)


def _with_text(error: ModelError, longest: str) -> ModelError:
    """Return the error together with the text that was told, unless a filter stopped it."""
    if not longest or isinstance(error, ModelContentFilterError):
        return error
    return ModelStreamError(str(error), partial=longest)
