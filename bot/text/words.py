"""The words of a text, for searches."""

from __future__ import annotations

import re

from bot.text.cleaning import strip_surrogates

# Thai, Lao, Burmese, Khmer, Japanese and Chinese have no spaces between words: each character counts as one.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")
_INNER = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\D)(?=\d)|(?<=\d)(?=\D)")  # where words meet


def words(text: str) -> list[str]:
    """Return the words of a text or name in lower case: `getUserInfo2` has four, and so has `get_user_info_2`."""
    return _WORD.findall(_INNER.sub(" ", strip_surrogates(text)).casefold())
