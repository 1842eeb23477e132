"""Text that arrives in pieces, without secrets: what may become one is held back until that is decided."""

from __future__ import annotations

import re

from bot.text.redaction import redact_prose, shown_until

_LOOK_CHARS = 80  # that arrived since the last look: one look for each token would cost far more, and show no more
_LONG_CHARS = 480  # a word that is longer can be parted
_BREAK = re.compile(r"[^!-~]")


class HeldText:
    """One answer, piece by piece. What was shown of it is always a beginning of what the whole becomes.

    The last word is held back until white space or another script follows it; of a long word, some hundred characters.
    More is held back only after something like `password:` or the first line of a private key. A look at a long text
    that is held back waits until it has grown by an eighth: all looks together take linear time.
    """

    def __init__(self) -> None:
        self._held: list[str] = []
        self._chars = 0
        self._next_look = _LOOK_CHARS

    def add(self, piece: str) -> str:
        """Add the next piece; return what can be shown now, redacted."""
        self._held.append(piece)
        self._chars += len(piece)
        if self._chars < self._next_look or (self._chars < _LONG_CHARS and not _BREAK.search(piece)):
            return ""
        data = "".join(self._held).encode("utf-8", "surrogatepass")
        end = shown_until(data)
        return self._release(data, end)

    def end(self) -> str:
        """Return what was held back: the text has ended, so nothing in it grows any more."""
        text = "".join(self._held)
        self.clear()
        return redact_prose(text)

    def clear(self) -> None:
        """Forget what is held back: its text is void."""
        self._keep("")

    def _release(self, data: bytes, end: int) -> str:
        self._keep(data[end:].decode("utf-8", "surrogatepass"))
        return redact_prose(data[:end].decode("utf-8", "surrogatepass")) if end else ""

    def _keep(self, text: str) -> None:
        self._held, self._chars = [text], len(text)
        self._next_look = self._chars + max(_LOOK_CHARS, self._chars // 8)
