"""The port to a language model endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from bot.domain.messages import Message, ModelAnswer, ToolSpec
from bot.domain.turns import Paused, TextArrived, TextTakenBack, TokensSpent


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One request to the model. The same conversation sends the same leading bytes again, so prompt caches hit."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    may_call_tools: bool = True  # False: the tools stay listed (stable prefix), but the answer must be text
    cache_key: str = ""  # opaque, the same for all requests of one conversation
    asker: str = ""  # who asks; where the endpoint's limits make requests wait, askers take turns
    model: str = ""  # another model of the same endpoint; empty: the one that is set up
    purpose: Literal["answer", "summary"] = "answer"  # what the rehearsal model goes by; endpoints read `system`


ModelProgress = TextArrived | TextTakenBack | Paused | TokensSpent
ModelProgressSink = Callable[[ModelProgress], None]


class Model(Protocol):
    """A language model endpoint."""

    @property
    def name(self) -> str:
        """What people call it: a model or deployment name."""
        ...

    @property
    def refused_tools(self) -> Mapping[str, str]:
        """The names of the tools that it was offered and does not take, each with the reason in a few words."""
        ...

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the whole answer, and report each piece of its text to `progress` as it arrives.

        Pauses that the endpoint asks for, and retries after faults, happen inside and end before `deadline` (seconds of
        the running loop's clock). Text of an answer that broke off is reported as taken back before the answer is asked
        for again. What a call cost that ends without an answer, also by a cancellation, is reported as `TokensSpent`;
        otherwise it is in the answer's usage.

        Raises:
            ModelStreamError: Every try failed, at least one of them after some text; it has the longest of these texts.
            ModelContentFilterError: The endpoint's filter stopped it; text reported before is not to be kept.
            ModelError: Any other failure; no text was reported.
        """
        ...


@runtime_checkable
class CountsRateLimits(Protocol):
    """A model whose endpoint may refuse requests because there are too many."""

    @property
    def rate_limits(self) -> int:
        """How many requests it has refused so (HTTP 429) since the start."""
        ...
