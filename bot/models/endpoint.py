"""A model behind an HTTP endpoint: ask, read the stream, and ask again while that can help and no text was reported."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import httpx2
import structlog
from openai import AsyncAPIResponse

from bot.domain.backoff import Backoff
from bot.domain.errors import (
    ModelContentFilterError,
    ModelError,
    ModelRateLimitError,
    ModelStreamError,
    ModelUnavailableError,
)
from bot.domain.messages import AssistantMessage, ModelAnswer, UserMessage
from bot.domain.turns import Paused, TextArrived
from bot.models.errors import FAULTS, BrokenStreamError, Fault, Labels, fault_of, refusal_of
from bot.models.refusals import Refusal, image_refusal
from bot.ports.model import ModelProgressSink, ModelRequest
from bot.text.cleaning import clean_name
from bot.text.images import leave_images_out

_CLOSE_S = 1.0  # how long the connection may take to close after the last event
_MAX_EVENT_BYTES = 32 * 1024 * 1024  # the last event of a Responses stream repeats the whole answer
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for an endpoint, and how often to ask again."""

    stall_s: float = 60.0  # between two events of an answer
    # Before the first word: reasoning models think, local servers load the model and read a long prompt.
    first_word_s: float = 180.0
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=1.0, jitter=0.2))
    rate_limit_retries: int = 5
    fault_retries: int = 2


class Fold(Protocol):
    """One answer, put together from its events."""

    @property
    def has_begun(self) -> bool:
        """Whether a part of the answer has arrived."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether the endpoint reported the answer as complete."""
        ...

    def add(self, event: dict[str, Any]) -> str:
        """Add an event and return the text that it adds to the answer.

        Raises:
            StreamRefusalError: The event is a refusal.
            ModelContentFilterError: The endpoint's filter ended the answer.
        """
        ...

    def answer(self) -> ModelAnswer:
        """Return the complete answer."""
        ...


class Dialect(Protocol):
    """Requests and answers of one API."""

    @property
    def concessions(self) -> Mapping[str, Any]:
        """Parameters that some endpoints refuse, with the value to send to those instead (None: leave it out)."""
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


class EndpointModel:
    """The Model port on an endpoint that streams."""

    def __init__(self, dialect: Dialect, *, labels: Labels, patience: Patience) -> None:
        self._dialect = dialect
        self._labels = labels
        self._patience = patience
        self._conceded: dict[str, Any] = {}  # parameters that this endpoint refused; learnt once per process
        self._takes_no_images = False  # likewise

    @property
    def name(self) -> str:
        """The model or deployment name."""
        return self._labels.model

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the whole answer; see the Model port. A content filter's stop is reported as one even after text.

        If the endpoint refuses images, the model answers without them, and the answer's notes say so.
        """
        images = _image_names(request)
        if self._takes_no_images:
            request = _without_images(request)
        reported: list[str] = []
        failures: Counter[type[ModelError]] = Counter()

        def report(text: str) -> None:
            reported.append(text)
            progress(TextArrived(text=text))

        while True:
            body = self._concede(self._dialect.body(request))
            try:
                answer = await self._read(body, deadline=deadline, report=report)
                return answer if _image_names(request) == images else replace(answer, notes=self._notes(images))
            except FAULTS as error:
                adapted = None if reported else self._adapt(request, body, refusal_of(error))
                if adapted is not None:
                    request = adapted
                    continue
                fault = self._judge(error, failures=failures.total() + 1, deadline=deadline)
                if reported and not isinstance(fault.error, ModelContentFilterError):
                    raise ModelStreamError(str(fault.error), partial="".join(reported)) from error
                failures[type(fault.error)] += 1
                if not self._is_worth_waiting(fault, failures, deadline=deadline):
                    raise fault.error from error
            _log.info("model_waiting", model=self.name, reason=fault.reason, wait_s=round(fault.wait_s, 3))
            progress(Paused(reason=fault.reason, wait_s=fault.wait_s))
            await asyncio.sleep(fault.wait_s)

    async def _read(self, body: Mapping[str, Any], *, deadline: float, report: Callable[[str], None]) -> ModelAnswer:
        loop = asyncio.get_running_loop()
        fold = self._dialect.fold()
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._patience.first_word_s)) as watch:

                def on_event(text: str) -> None:
                    watch.reschedule(min(deadline, loop.time() + self._gap_s(fold)))
                    if text:
                        report(text)

                await self._receive(body, fold, on_event)
        except FAULTS:
            if not fold.is_finished:
                raise
        return fold.answer()

    async def _receive(self, body: Mapping[str, Any], fold: Fold, on_event: Callable[[str], None]) -> None:
        """Send the body and fill the fold; `on_event` gets the text of each event, empty if it adds none."""
        async with self._dialect.send(body) as response:
            content_type = response.headers.get("content-type", "")
            try:
                async for event in _events(response.http_response):
                    if event.data not in ("", "[DONE]"):  # empty: a keep-alive, or a retry time
                        on_event(_add(fold, event.data))
            except httpx2.SSEError as error:
                raise BrokenStreamError("an event is too long") from error
            if not fold.is_finished:
                raise BrokenStreamError(_unfinished(content_type))

    def _gap_s(self, fold: Fold) -> float:
        if fold.is_finished:
            return _CLOSE_S
        return self._patience.stall_s if fold.has_begun else self._patience.first_word_s

    def _judge(self, error: Exception, *, failures: int, deadline: float) -> Fault:
        if asyncio.get_running_loop().time() >= deadline:
            return Fault(
                error=ModelUnavailableError(
                    "The time for this turn is up, and the model had not finished its answer. Ask for less at once, or "
                    "have the operator raise TURN_TIMEOUT_S."
                )
            )
        fault = fault_of(error, self._labels, backoff_s=self._patience.backoff.wait_s(failures))
        refusal = refusal_of(error)
        if refusal is None or refusal.retry_after_s is None:
            return fault
        # Jitter, so that clients do not all return at once; never sooner than the endpoint asked for.
        return replace(fault, wait_s=fault.wait_s * random.uniform(1.0, 1.1))  # noqa: S311  (spreads load)

    def _is_worth_waiting(self, fault: Fault, failures: Counter[type[ModelError]], *, deadline: float) -> bool:
        is_rate_limit = isinstance(fault.error, ModelRateLimitError)
        retries = self._patience.rate_limit_retries if is_rate_limit else self._patience.fault_retries
        ends_at = asyncio.get_running_loop().time() + fault.wait_s
        return bool(fault.reason) and failures[type(fault.error)] <= retries and ends_at < deadline

    def _concede(self, body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in (body | self._conceded).items() if value is not None}

    def _notes(self, images: Sequence[str]) -> tuple[str, ...]:
        names = ", ".join(f"`{name}`" for name in images)
        it = "it" if len(images) == 1 else "them"
        return (f"The model `{self.name}` did not take {names}, so it answered without seeing {it}.",)

    def _adapt(self, request: ModelRequest, body: Mapping[str, Any], refusal: Refusal | None) -> ModelRequest | None:
        """Return the request, changed to what the endpoint accepts, to send again at once; None: nothing to change."""
        if refusal is None:
            return None
        if _image_names(request) and (refused := image_refusal(refusal)):
            self._takes_no_images |= refused == "all"
            _log.warning("model_images_refused", model=self.name, refused=refused)
            return _without_images(request)
        if refusal.status not in (400, 422):
            return None
        if refusal.code == "invalid_encrypted_content" and _has_replay(request):
            return _without_replay(request)  # another model or account encrypted it: continue without it
        for name, instead in self._dialect.concessions.items():
            if _names(refusal, name) and body.get(name) != instead:
                self._conceded[name] = instead
                _log.warning("model_parameter_refused", model=self.name, parameter=name, sent_instead=instead)
                return request
        return None


def _events(response: httpx2.Response) -> httpx2.EventSource:
    # Some gateways label the stream as another type, or not at all: what counts is that an answer is in it.
    response.headers["content-type"] = "text/event-stream"
    response.encoding = "utf-8-sig"  # the standard's only encoding; a byte order mark may precede it
    return httpx2.EventSource(response, max_event_size=_MAX_EVENT_BYTES)


def _add(fold: Fold, data: str) -> str:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenStreamError("an event could not be read") from error
    if not isinstance(event, dict):
        raise BrokenStreamError("an event is not a JSON object")
    try:
        return fold.add(cast("dict[str, Any]", event))
    except (AttributeError, KeyError, TypeError) as error:
        raise BrokenStreamError("an event has an unknown shape") from error


def _unfinished(content_type: str) -> str:
    if content_type and "event-stream" not in content_type:
        return (
            f"it is {content_type.partition(';')[0]}, not an event stream; the operator should check the endpoint's URL"
        )
    return "it ended in the middle"


def _names(refusal: Refusal, parameter: str) -> bool:
    if refusal.param:
        return refusal.param.replace("[", ".").partition(".")[0] == parameter
    return re.search(rf"\b(?:argument|parameter|extra).*\b{parameter}\b", refusal.message, re.IGNORECASE) is not None


def _image_names(request: ModelRequest) -> Sequence[str]:
    questions = (message for message in request.messages if isinstance(message, UserMessage))
    return [clean_name(image.name) for question in questions for image in question.images]


def _without_images(request: ModelRequest) -> ModelRequest:
    messages = tuple(
        leave_images_out(message, _NOT_SHOWN) if isinstance(message, UserMessage) else message
        for message in request.messages
    )
    return replace(request, messages=messages)


_NOT_SHOWN = "The image {name} was sent with this message, but it could not be shown to you. Say so."


def _has_replay(request: ModelRequest) -> bool:
    return any(isinstance(message, AssistantMessage) and message.replay for message in request.messages)


def _without_replay(request: ModelRequest) -> ModelRequest:
    messages = tuple(
        replace(message, replay=()) if isinstance(message, AssistantMessage) else message
        for message in request.messages
    )
    return replace(request, messages=messages)
