"""What the calls for one question cost, whether they gave an answer or not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bot.domain.messages import ModelAnswer, Usage
from bot.models.prices import Prices
from bot.models.thoughts import Said

_CHARS_A_TOKEN = 4  # roughly
_DATA_URL = re.compile(r'"data:[^"]*"')  # pictures are counted by their size in pixels, not by their bytes


@dataclass(slots=True)
class Bill:
    """Adds up the calls of one question. A call that breaks off after the endpoint took it is estimated."""

    prices: Prices
    model: str  # where answers do not name it
    _body: Mapping[str, Any] = field(default_factory=dict[str, Any], init=False)
    _is_running: bool = field(default=False, init=False)  # the endpoint has begun to answer
    _heard_chars: int = field(default=0, init=False)
    _wasted: Usage = field(default_factory=Usage, init=False)

    def begin(self, body: Mapping[str, Any]) -> None:
        """A call is about to be sent."""
        self.prices.begin_loading()
        self._wasted = self.usage
        self._body, self._is_running, self._heard_chars = body, False, 0

    def run(self) -> None:
        """The endpoint has taken the call: from here on it costs."""
        self._is_running = True

    def hear(self, said: Said) -> None:
        """A piece of the answer has arrived."""
        self._heard_chars += len(said.text)

    async def take(self, answer: ModelAnswer) -> ModelAnswer:
        """Return the answer with what its call cost; the call has ended."""
        await self.prices.loaded()
        usage = answer.usage
        if not usage.input_tokens and not usage.output_tokens:  # some servers count nothing
            arguments_chars = sum(len(call.arguments) for call in answer.message.tool_calls)
            usage = self._estimate(len(answer.message.text) + arguments_chars)
        self._is_running = False
        return replace(answer, usage=self._priced(usage, answer.model))

    def waste(self, answer: ModelAnswer) -> None:
        """An answer is of no use: what it cost is kept."""
        self._wasted += answer.usage

    def close(self, answer: ModelAnswer) -> ModelAnswer:
        """Return the answer to the question with what all calls for it cost."""
        return replace(answer, usage=answer.usage + self._wasted)

    @property
    def usage(self) -> Usage:
        """What was spent on calls that gave no answer of use."""
        if not self._is_running:
            return self._wasted
        return self._wasted + self._priced(self._estimate(self._heard_chars), "")

    def _estimate(self, answered_chars: int) -> Usage:
        asked = _DATA_URL.sub('""', json.dumps(self._body))
        return Usage(input_tokens=len(asked) // _CHARS_A_TOKEN, output_tokens=-(-answered_chars // _CHARS_A_TOKEN))

    def _priced(self, usage: Usage, model: str) -> Usage:
        return self.prices.priced(usage, model=model or self.model)
