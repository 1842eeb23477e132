"""A model behind an HTTP endpoint: asked, listened to, and asked again while that helps and nothing was told yet."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import structlog
from openai import AsyncAPIResponse

from bot.domain.errors import (
    ModelContentFilterError,
    ModelError,
    ModelRateLimitError,
    ModelStreamError,
    ModelUnavailableError,
)
from bot.domain.messages import AssistantMessage, ModelAnswer, UserMessage
from bot.models.errors import FAULTS, BrokenStreamError, Fault, Labels, Refusal, fault_of, image_refusal, refusal_of
from bot.models.sse import SseDecoder
from bot.ports.model import ModelProgressSink, ModelRequest, ModelWaiting, TextArrived
from bot.text.cleaning import clean_name
from bot.text.images import leave_images_out

_END_S = 1.0  # after the last event the connection may take so long to close before it is dropped
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long an endpoint is waited for, and how often it is asked again."""

    stall_s: float = 60.0  # between two events of an answer
    # Before the answer's first word: reasoning models think, local servers load the model and read a long prompt.
    first_word_s: float = 180.0
    backoff_s: float = 1.0  # before the first repeat; doubles each time
    rate_limit_repeats: int = 5
    fault_repeats: int = 2


class Fold(Protocol):
    """What the events of one answer add up to."""

    @property
    def has_begun(self) -> bool:
        """Whether a part of the answer has arrived."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether the endpoint said that the answer is whole."""
        ...

    def add(self, event: dict[str, Any]) -> str:
        """Take an event in; return the text that it adds to the answer.

        Raises:
            RefusedError: The event is a refusal.
            ModelContentFilterError: The endpoint's filter ended the answer.
        """
        ...

    def answer(self) -> ModelAnswer:
        """Return the whole answer."""
        ...


class Dialect(Protocol):
    """How one API is spoken."""

    @property
    def concessions(self) -> Mapping[str, Any]:
        """Parameters that some endpoints refuse, with what is sent to those instead (None: nothing)."""
        ...

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """Return the JSON body of the request; equal requests have equal bodies."""
        ...

    def send(self, body: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Send the body; the answer's bytes are an event stream."""
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
        self._conceded: dict[str, Any] = {}  # what this endpoint refused; learnt once per process
        self._takes_no_images = False  # as above

    @property
    def name(self) -> str:
        """The model or deployment name."""
        return self._labels.model

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the whole answer; see the Model port. A content filter's stop is told as such even after text.

        Images that the endpoint refuses are left out, which the answer's notes say.
        """
        images = _image_names(request)
        if self._takes_no_images:
            request = _without_images(request)
        told: list[str] = []
        faults: Counter[type[ModelError]] = Counter()

        def tell(text: str) -> None:
            told.append(text)
            progress(TextArrived(text=text))

        while True:
            body = self._concede(self._dialect.body(request))
            try:
                answer = await self._read(body, deadline=deadline, tell=tell)
                return answer if _image_names(request) == images else replace(answer, notes=self._notes(images))
            except FAULTS as error:
                adapted = None if told else self._adapt(request, body, refusal_of(error))
                if adapted is not None:
                    request = adapted
                    continue
                fault = self._judge(error, number=faults.total(), deadline=deadline)
                if told and not isinstance(fault.error, ModelContentFilterError):
                    raise ModelStreamError(str(fault.error), partial="".join(told)) from error
                faults[type(fault.error)] += 1
                if not self._is_worth_waiting(fault, faults, deadline=deadline):
                    raise fault.error from error
            _log.info("model_waiting", model=self.name, reason=fault.reason, wait_s=round(fault.wait_s, 3))
            progress(ModelWaiting(reason=fault.reason, wait_s=fault.wait_s))
            await asyncio.sleep(fault.wait_s)

    async def _read(self, body: Mapping[str, Any], *, deadline: float, tell: Callable[[str], None]) -> ModelAnswer:
        loop = asyncio.get_running_loop()
        fold = self._dialect.fold()
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._patience.first_word_s)) as watch:

                def heard(text: str) -> None:
                    watch.reschedule(min(deadline, loop.time() + self._gap_s(fold)))
                    if text:
                        tell(text)

                await self._listen(body, fold, heard)
        except FAULTS:
            if not fold.is_finished:
                raise
        return fold.answer()

    async def _listen(self, body: Mapping[str, Any], fold: Fold, heard: Callable[[str], None]) -> None:
        """Send the body and fill the fold; `heard` gets the text of each event, empty where it adds none."""
        decoder = SseDecoder()
        async with self._dialect.send(body) as response:
            async for chunk in response.iter_bytes():
                for event in _events(decoder, chunk):
                    heard(_add(fold, event))
            if not fold.is_finished:
                raise BrokenStreamError(_unfinished(response.headers.get("content-type", "")))

    def _gap_s(self, fold: Fold) -> float:
        if fold.is_finished:
            return _END_S
        return self._patience.stall_s if fold.has_begun else self._patience.first_word_s

    def _judge(self, error: Exception, *, number: int, deadline: float) -> Fault:
        if asyncio.get_running_loop().time() >= deadline:
            return Fault(
                error=ModelUnavailableError(
                    "The time for this turn is up and the model had not finished its answer. Ask for less at once, or "
                    "the operator raises TURN_TIMEOUT_S."
                )
            )
        backoff_s = self._patience.backoff_s * 2**number
        fault = fault_of(error, self._labels, backoff_s=backoff_s)
        # Everybody who was sent away comes back at the same moment otherwise.
        return replace(fault, wait_s=fault.wait_s * random.uniform(1.0, 1.1))  # noqa: S311  (no secret)

    def _is_worth_waiting(self, fault: Fault, faults: Counter[type[ModelError]], *, deadline: float) -> bool:
        is_rate_limit = isinstance(fault.error, ModelRateLimitError)
        repeats = self._patience.rate_limit_repeats if is_rate_limit else self._patience.fault_repeats
        ends_at = asyncio.get_running_loop().time() + fault.wait_s
        return bool(fault.reason) and faults[type(fault.error)] <= repeats and ends_at < deadline

    def _concede(self, body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in (body | self._conceded).items() if value is not None}

    def _notes(self, images: Sequence[str]) -> tuple[str, ...]:
        names = ", ".join(f"`{name}`" for name in images)
        it = "it" if len(images) == 1 else "them"
        return (f"The model `{self.name}` did not take {names}, so it answered without seeing {it}.",)

    def _adapt(self, request: ModelRequest, body: Mapping[str, Any], refusal: Refusal | None) -> ModelRequest | None:
        """Return the request to send again at once, changed to what the endpoint takes; None: nothing to change."""
        if refusal is None:
            return None
        if _image_names(request) and (refused := image_refusal(refusal)):
            self._takes_no_images |= refused == "all"
            _log.warning("model_images_refused", model=self.name, refused=refused)
            return _without_images(request)
        if refusal.status not in (400, 422):
            return None
        if refusal.code == "invalid_encrypted_content" and _has_replay(request):
            return _without_replay(request)  # another model or account made it: the conversation goes on without it
        for name, instead in self._dialect.concessions.items():
            if _names(refusal, name) and body.get(name) != instead:
                self._conceded[name] = instead
                _log.warning("model_parameter_refused", model=self.name, parameter=name, sent_instead=instead)
                return request
        return None


def _events(decoder: SseDecoder, chunk: bytes) -> Iterator[dict[str, Any]]:
    try:
        for data in decoder.feed(chunk):
            if data == "[DONE]":
                continue
            event = json.loads(data)
            if not isinstance(event, dict):
                raise BrokenStreamError("an event is no JSON object")
            yield cast("dict[str, Any]", event)
    except (ValueError, RecursionError) as error:
        raise BrokenStreamError("an event could not be read") from error


def _add(fold: Fold, event: dict[str, Any]) -> str:
    try:
        return fold.add(event)
    except (AttributeError, KeyError, TypeError) as error:
        raise BrokenStreamError("an event has an unknown shape") from error


def _unfinished(content_type: str) -> str:
    if content_type and "event-stream" not in content_type:
        return f"it is {content_type.partition(';')[0]}, not an event stream; the operator checks the endpoint's URL"
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
