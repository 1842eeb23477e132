"""A model whose answers have neither secrets nor the chat's own marks: what is stored, what is seen and what the model
reads of them later agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from bot.domain.errors import ModelStreamError
from bot.domain.messages import ModelAnswer
from bot.domain.turns import Paused, TextArrived, TextTakenBack, TokensSpent
from bot.ports.model import Model, ModelProgress, ModelProgressSink, ModelRequest
from bot.text.echoes import Echoes, without_echoes
from bot.text.holding import HeldText
from bot.text.redaction import HIDDEN_NOTE, redact_cut, redact_prose


@dataclass(frozen=True, slots=True)
class RedactingModel:
    """Satisfies `Model`: another one, with secrets hidden in its answers and marks of speakers left out of them.

    Arguments of calls stay as they are.
    """

    model: Model

    @property
    def name(self) -> str:
        """See `Model`."""
        return self.model.name

    @property
    def refused_tools(self) -> Mapping[str, str]:
        """See `Model`."""
        return self.model.refused_tools

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """See `Model`. Text arrives when no secret can begin in it any more; what broke off before that never does."""
        echoes, held = Echoes(), HeldText()

        def tell(event: ModelProgress) -> None:
            match event:
                case TextArrived(text=text):
                    _tell_text(held.add(echoes.add(text)), progress)
                case TextTakenBack():
                    echoes.clear()
                    held.clear()
                    progress(event)
                case Paused() | TokensSpent():
                    progress(event)

        try:
            answer = await self.model.complete(request, deadline=deadline, progress=tell)
        except ModelStreamError as error:
            error.partial = redact_cut(without_echoes(error.partial, is_cut=True))
            raise
        redacted = _redacted(answer)
        if not redacted.is_cut:
            _tell_text(held.add(echoes.end()) + held.end(), progress)
        return redacted


def _tell_text(text: str, progress: ModelProgressSink) -> None:
    if text:
        progress(TextArrived(text=text))


def _redacted(answer: ModelAnswer) -> ModelAnswer:
    message = answer.message
    own = without_echoes(message.text, is_cut=answer.is_cut)
    text = redact_cut(own) if answer.is_cut else redact_prose(own)
    if text == message.text:
        return answer
    notes = answer.notes if text == own else (*answer.notes, HIDDEN_NOTE)
    message = replace(message, text=text, replay=tuple(map(_without_words, message.replay)))
    return replace(answer, message=message, notes=notes)


def _without_words(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item that goes back to the model; where it has the answer's words, these are cleaned as well."""
    content = item.get("content")
    if item.get("type") != "message" or not isinstance(content, list):
        return item
    return {**item, "content": [_without_secret_words(part) for part in cast("list[Any]", content)]}


def _without_secret_words(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    fields = cast("dict[str, Any]", part)
    return {
        name: redact_prose(without_echoes(value)) if isinstance(value, str) else value for name, value in fields.items()
    }
