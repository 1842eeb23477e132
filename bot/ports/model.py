"""The port to a language model endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bot.domain.messages import Message, ModelAnswer, ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One request to the model. The same conversation sends the same leading bytes again, so prompt caches hit."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    may_call_tools: bool = True  # False: the tools stay listed (stable prefix), but the answer must be text
    cache_key: str = ""  # opaque, the same for all requests of one conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class TextArrived:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWaiting:
    """The model cannot answer yet and is asked again after `wait_s` seconds; `reason` is a phrase for the chat."""

    reason: str
    wait_s: float


ModelProgress = TextArrived | ModelWaiting


ModelProgressSink = Callable[[ModelProgress], None]


class Model(Protocol):
    """A language model endpoint."""

    @property
    def name(self) -> str:
        """What people call it: a model or deployment name."""
        ...

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the whole answer, telling `progress` each piece of text as it arrives.

        Waits that the endpoint asks for, and repeats after faults while no text has been told yet, happen inside and
        end before `deadline` (seconds of the running loop's clock).

        Raises:
            ModelStreamError: The answer broke off after some text had been told.
            ModelContentFilterError: The endpoint's filter stopped it; text told before is not to be kept.
            ModelError: Any other failure; no text was told.
        """
        ...
