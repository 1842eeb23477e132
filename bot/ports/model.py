"""The port to a language model endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.domain.messages import Message, ModelAnswer, ToolSpec
from bot.domain.turns import Paused, TextArrived


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One request to the model. The same conversation sends the same leading bytes again, so prompt caches hit."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    may_call_tools: bool = True  # False: the tools stay listed (stable prefix), but the answer must be text
    cache_key: str = ""  # opaque, the same for all requests of one conversation
    purpose: Literal["answer", "summary"] = "answer"  # what the rehearsal model goes by; endpoints read `system`


ModelProgress = TextArrived | Paused
ModelProgressSink = Callable[[ModelProgress], None]


class Model(Protocol):
    """A language model endpoint."""

    @property
    def name(self) -> str:
        """What people call it: a model or deployment name."""
        ...

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the whole answer, and report each piece of its text to `progress` as it arrives.

        Pauses that the endpoint asks for, and retries after faults before the first text, happen inside and end before
        `deadline` (seconds of the running loop's clock).

        Raises:
            ModelStreamError: The answer broke off after some of its text was reported.
            ModelContentFilterError: The endpoint's filter stopped it; text reported before is not to be kept.
            ModelError: Any other failure; no text was reported.
        """
        ...
