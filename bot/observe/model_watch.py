"""A model whose calls are seen by others, and whether it answered last."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from bot.domain.messages import ModelAnswer, Usage
from bot.domain.turns import TextArrived, TokensSpent
from bot.ports.model import CountsRateLimits, Model, ModelProgress, ModelProgressSink, ModelRequest
from bot.ports.observer import ModelCall, ModelObserver

log = structlog.stdlib.get_logger(__name__)

# Why the model does not answer, by the error of its last call. Other errors are about one question, and say nothing of
# the next one. The sentences are served to anyone who may ask for the state: they name no address.
DOWN: Mapping[str, str] = {
    "ModelAccessError": "its endpoint does not accept the key, the deployment or the model's name",
    "ModelQuotaError": "the account behind it has no quota left",
    "ModelRateLimitError": "its endpoint refuses requests because there are too many",
    "ModelStreamError": "its last answer broke off",
    "ModelUnavailableError": "its endpoint cannot be reached or fails",
}


@dataclass(frozen=True, slots=True)
class WatchedModel:
    """Satisfies `Model`: another one, each call of which the observers see once it has ended."""

    model: Model
    observers: Sequence[ModelObserver]

    @property
    def name(self) -> str:
        """See `Model`."""
        return self.model.name

    @property
    def refused_tools(self) -> Mapping[str, str]:
        """See `Model`."""
        return self.model.refused_tools

    @property
    def rate_limits(self) -> int:
        """See `CountsRateLimits`; 0 where the model does not count."""
        return self.model.rate_limits if isinstance(self.model, CountsRateLimits) else 0

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """See `Model`."""
        watch = _Watch(progress)
        try:
            answer = await self.model.complete(request, deadline=deadline, progress=watch.saw)
        except BaseException as error:
            self._tell(request, watch, watch.lost, error=type(error).__name__)
            raise
        self._tell(request, watch, answer.usage + watch.lost, answer=answer)
        return answer

    def _tell(
        self, request: ModelRequest, watch: _Watch, usage: Usage, *, answer: ModelAnswer | None = None, error: str = ""
    ) -> None:
        call = ModelCall(
            model=request.model or self.name,
            purpose=request.purpose,
            seconds=time.monotonic() - watch.began_at,
            first_chunk_s=watch.first_chunk_s,
            usage=usage,
            error=error,
            request=request,
            answer=answer,
        )
        for observer in self.observers:
            try:
                observer.called(call)
            except Exception:  # what only watches costs nobody an answer
                log.exception("observer_failed", observer=type(observer).__name__)


@dataclass(slots=True)
class _Watch:
    """What is seen of one call on its way."""

    progress: ModelProgressSink
    began_at: float = field(default_factory=time.monotonic)
    first_chunk_s: float | None = None
    lost: Usage = field(default_factory=Usage)

    def saw(self, event: ModelProgress) -> None:
        if isinstance(event, TextArrived) and self.first_chunk_s is None:
            self.first_chunk_s = time.monotonic() - self.began_at
        elif isinstance(event, TokensSpent):
            self.lost += event.usage
        self.progress(event)


@dataclass(slots=True)
class ModelHealth:
    """A `ModelObserver`: knows whether the last call was answered."""

    reason: str = ""  # why not, as a phrase; empty where it was, or nothing was asked yet

    def called(self, call: ModelCall) -> None:
        """Take note of how the call ended."""
        if not call.error:
            self.reason = ""
        elif call.error in DOWN:
            self.reason = DOWN[call.error]
