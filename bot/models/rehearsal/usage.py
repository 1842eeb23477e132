"""Token counts as a real endpoint would report them, estimated from characters."""

from __future__ import annotations

from collections import deque

from bot.domain.messages import Usage

_CHARS_PER_TOKEN = 4


class PromptCache:
    """Counts tokens, and how many of a prompt's tokens one of the last prompts began with too."""

    def __init__(self, *, max_prompts: int = 64) -> None:
        self._prompts: deque[str] = deque(maxlen=max_prompts)

    def usage(self, prompt: str, *, output_tokens: int) -> Usage:
        """Return the usage of one request, and remember its prompt."""
        shared = max((_shared_chars(prompt, earlier) for earlier in self._prompts), default=0)
        self._prompts.append(prompt)
        return Usage(
            input_tokens=count_tokens(prompt), cached_tokens=shared // _CHARS_PER_TOKEN, output_tokens=output_tokens
        )


def count_tokens(text: str) -> int:
    """Return about how many tokens the text has."""
    return -(-len(text) // _CHARS_PER_TOKEN)


def _shared_chars(one: str, other: str) -> int:
    """Return the length of the common beginning, by bisection: comparing slices is far faster than a loop."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
