"""What one endpoint does not take: learnt from its refusals, left out of the request, and said to people."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from bot.domain.messages import AssistantMessage, ToolSpec, UserMessage
from bot.models.errors import Labels, names_parameter, quote
from bot.models.narrowing import MAX_NARROWINGS, Takes, find_refused, may_be_about_tools
from bot.models.offering import Offering
from bot.models.refusals import Refusal, image_refusal
from bot.ports.model import ModelRequest
from bot.text.cleaning import clean_name
from bot.text.images import leave_images_out

_NOT_SHOWN = "The image {name} was sent with this message, but it could not be shown to you. Say so."
_PROBE = "Please answer with the word OK."
_MAX_INNOCENT = 100
_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Learnt:
    """What an endpoint refused; it is remembered as long as the process lives.

    `concessions` are parameters that some endpoints refuse, with what to send to those instead (None: leave it out).
    """

    labels: Labels
    concessions: Mapping[str, Mapping[str, Any]]
    offering: Offering = field(default_factory=Offering)
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    takes_no_images: bool = False
    takes_no_tools: bool = False
    narrowing: asyncio.Lock = field(default_factory=asyncio.Lock)  # one question finds a tool for all
    innocent: set[frozenset[str]] = field(default_factory=set[frozenset[str]])  # names of tools that it takes together

    def concede(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body with the parameters that the endpoint takes."""
        return {name: value for name, value in {**body, **self.parameters}.items() if value is not None}


class Fitting:
    """One request on its way to the form that its endpoint takes."""

    def __init__(self, request: ModelRequest, learnt: Learnt) -> None:
        self._request = request
        self._learnt = learnt
        self._images = _image_names(request)
        self._without_images = learnt.takes_no_images
        self._without_replay = False
        self._dropped: list[str] = []
        self._sent: Sequence[ToolSpec] = ()
        self._narrowings = 0

    def request(self) -> ModelRequest:
        """Return the request as it is to be sent now."""
        request = self._request
        if self._without_images:
            request = _without_images(request)
        if self._without_replay:
            request = _without_replay(request)
        self._sent = () if self._learnt.takes_no_tools else self._learnt.offering.offer(request.tools)
        return replace(request, tools=tuple(self._sent))

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people on what was left out."""
        return tuple(filter(None, [self._note_of_images(), self._note_of_tools()]))

    def adapt(self, refusal: Refusal, body: Mapping[str, Any]) -> bool:
        """Leave out what the refusal is about; return whether the request can be sent again at once."""
        return (
            self._drop_images(refusal)
            or self._drop_replay(refusal)
            or self._concede_parameter(refusal, body)
            or self._drop_tools(refusal)
        )

    def may_narrow(self, refusal: Refusal) -> bool:
        """Return whether `narrow` may help."""
        is_open = self._narrowings < MAX_NARROWINGS and self._names_sent() not in self._learnt.innocent
        return bool(self._sent) and is_open and may_be_about_tools(refusal)

    def probe(self, tools: Sequence[ToolSpec]) -> ModelRequest:
        """Return a small request with these tools, which were sent before."""
        return replace(self._request, messages=(UserMessage(text=_PROBE),), tools=tuple(tools), cache_key="")

    async def narrow(self, refusal: Refusal, takes: Takes) -> bool:
        """Leave out the tools at fault where the refusal names none; return whether the request can be sent again.

        `takes` sends a `probe` and returns whether it was taken.
        """
        self._narrowings += 1
        before = self._names_sent()
        async with self._learnt.narrowing:
            self.request()
            if self._names_sent() != before:
                return True  # another question has found it meanwhile
            found = await find_refused(self._sent, takes)
            if not found:
                _remember(self._learnt.innocent, before)
            self._leave_out(found, refusal)
        return bool(found)

    def _leave_out(self, found: Sequence[ToolSpec], refusal: Refusal) -> None:
        names = {tool.name for tool in found}
        reason = self._reason(refusal)
        for tool in self._request.tools:
            if tool.name in names:
                self._learnt.offering.leave_out(tool, code=refusal.code, reason=reason)
                self._dropped.append(tool.name)

    def _names_sent(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self._sent)

    def _reason(self, refusal: Refusal) -> str:
        return quote(refusal.message or refusal.code, self._learnt.labels).removeprefix(": ")

    def _drop_images(self, refusal: Refusal) -> bool:
        refused = image_refusal(refusal) if self._images and not self._without_images else None
        if not refused:
            return False
        self._without_images = True
        self._learnt.takes_no_images |= refused == "all"
        _log.warning("model_images_refused", model=self._learnt.labels.model, refused=refused)
        return True

    def _drop_replay(self, refusal: Refusal) -> bool:
        # Another model or account made it, or the endpoint does not know such fields: continue without it.
        if self._without_replay or not refusal.is_about_replay or not _has_replay(self._request):
            return False
        self._without_replay = True
        _log.warning("model_replay_refused", model=self._learnt.labels.model, code=refusal.code)
        return True

    def _concede_parameter(self, refusal: Refusal, body: Mapping[str, Any]) -> bool:
        if refusal.status not in (400, 422):
            return False
        for name, instead in self._learnt.concessions.items():
            is_known = all(body.get(one) == value for one, value in instead.items())
            if not is_known and names_parameter(refusal, name):
                self._learnt.parameters |= instead
                _log.warning("model_parameter_refused", model=self._learnt.labels.model, parameter=name)
                return True
        return False

    def _drop_tools(self, refusal: Refusal) -> bool:
        if not self._sent:
            return False
        if refusal.knows_no_tools:
            self._learnt.takes_no_tools = True
            _log.warning("model_takes_no_tools", model=self._learnt.labels.model)
            return True
        dropped = self._learnt.offering.drop(
            refusal, sent=self._sent, tools=self._request.tools, reason=self._reason(refusal)
        )
        if dropped is not None:
            self._dropped.append(dropped)
        return dropped is not None

    def _note_of_images(self) -> str:
        if not self._images or not self._without_images:
            return ""
        names = ", ".join(f"`{name}`" for name in self._images)
        it = "it" if len(self._images) == 1 else "them"
        return f"The model `{self._learnt.labels.model}` did not take {names}, so it answered without seeing {it}."

    def _note_of_tools(self) -> str:
        if self._learnt.takes_no_tools and self._request.tools:
            return (
                f"The model `{self._learnt.labels.model}` takes no tools, so it answered without any. The operator "
                f"should choose a model that supports tool calling, or start its server with tool calling enabled."
            )
        refused = self._learnt.offering.refused
        lines = [
            f"`{tool_title(name, self._request.tools)}` ({refused.get(name, 'refused')})" for name in self._dropped
        ]
        if not lines:
            return ""
        return f"The model's endpoint does not take these tools, so they are left out from now on: {'; '.join(lines)}."


def _remember(innocent: set[frozenset[str]], names: frozenset[str]) -> None:
    if len(innocent) >= _MAX_INNOCENT:
        innocent.clear()
    innocent.add(names)


def tool_title(name: str, tools: Sequence[ToolSpec]) -> str:
    """Return the server's and the tool's own name, as people know them."""
    found = next((tool for tool in tools if tool.name == name), None)
    return f"{found.server}/{found.tool}" if found else name


def _image_names(request: ModelRequest) -> Sequence[str]:
    questions = (message for message in request.messages if isinstance(message, UserMessage))
    return [clean_name(image.name) for question in questions for image in question.images]


def _without_images(request: ModelRequest) -> ModelRequest:
    messages = tuple(
        leave_images_out(message, _NOT_SHOWN) if isinstance(message, UserMessage) else message
        for message in request.messages
    )
    return replace(request, messages=messages)


def _has_replay(request: ModelRequest) -> bool:
    return any(isinstance(message, AssistantMessage) and message.replay for message in request.messages)


def _without_replay(request: ModelRequest) -> ModelRequest:
    messages = tuple(
        replace(message, replay=()) if isinstance(message, AssistantMessage) else message
        for message in request.messages
    )
    return replace(request, messages=messages)
