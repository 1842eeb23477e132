"""Thoughts that a model writes into its answer (`<think>...</think>`), told apart from what it says."""

from __future__ import annotations

import re
from typing import NamedTuple

# DeepSeek, Qwen and most others write `<think>`; Gemini's compatible endpoint writes `<thought>`.
_NAMES = ("think", "thinking", "thought")
_TAG = re.compile(rf"</?(?:{'|'.join(_NAMES)})>", re.IGNORECASE)
_CLOSING = re.compile(rf"</(?:{'|'.join(_NAMES)})>", re.IGNORECASE)
_TAGS = tuple(f"{bracket}{name}>" for name in _NAMES for bracket in ("<", "</"))
_FENCE = "```"


class Said(NamedTuple):
    """What a piece of the answer adds; `takes_back`: all that was said before was a thought after all."""

    text: str = ""
    takes_back: bool = False


class ThoughtFilter:
    """Splits one answer, piece by piece. A tag counts only where a line begins, outside of a code block."""

    def __init__(self) -> None:
        self._held = ""  # may be the beginning of a tag
        self._said: list[str] = []
        self._line = ""  # the first characters of the line that is being written, without white space before them
        self._is_in_code = False
        self._is_thinking = False
        self._has_thought = False
        self._thoughts: list[str] = []

    @property
    def thoughts(self) -> str:
        """All thoughts so far."""
        return "".join(self._thoughts)

    def add(self, piece: str) -> Said:
        """Add the next piece and return what it says."""
        if "<" not in piece and not self._held and not self._is_thinking:  # nearly all pieces: there are thousands
            return Said(self._say(piece))
        text, self._held = self._held + piece, ""
        said, takes_back = "", False
        while text:
            if self._is_thinking:
                text = self._think(text)
                continue
            tag = self._next_tag(text)
            if tag is None:
                said += self._say(text[: len(text) - self._hold(text)])
                break
            said += self._say(text[: tag.start()])
            text = text[tag.end() :]
            if tag[0].startswith("</"):  # the opening tag was in the prompt: all before was a thought
                said, takes_back = "", True
                self._take_back()
            else:
                self._is_thinking = True
        return Said(text=said, takes_back=takes_back)

    def end(self) -> str:
        """Return what was held back at the end of the answer."""
        held, self._held = self._held, ""
        if not self._is_thinking:
            return self._say(held)
        self._thoughts.append(held)
        return ""

    def _say(self, text: str) -> str:
        if self._has_thought and not self._said:
            text = text.lstrip()  # the empty lines after the thought
        if text:
            self._said.append(text)
            self._read_lines(text)
        return text

    def _read_lines(self, text: str) -> None:
        if len(self._line) == len(_FENCE) and "\n" not in text:
            return
        *ended, last = text.split("\n")
        for line in ended:
            self._is_in_code ^= (self._line + line).lstrip().startswith(_FENCE)
            self._line = ""
        self._line = (self._line + last).lstrip()[: len(_FENCE)]

    def _think(self, text: str) -> str:
        """Take the thought out of the text and return what follows it."""
        closing = _CLOSING.search(text)
        if closing is None:
            kept = self._hold(text)
            self._thoughts.append(text[: len(text) - kept])
            return ""
        self._thoughts.append(text[: closing.start()])
        self._is_thinking, self._has_thought = False, True
        return text[closing.end() :]

    def _take_back(self) -> None:
        self._thoughts.extend(self._said)
        self._said.clear()
        self._line, self._has_thought = "", True

    def _next_tag(self, text: str) -> re.Match[str] | None:
        if "<" not in text:
            return None
        for tag in _TAG.finditer(text):
            is_stray = tag[0].startswith("</") and self._has_thought
            if not is_stray and self._begins_line(text[: tag.start()]):
                return tag
        return None

    def _begins_line(self, before: str) -> bool:
        """Return whether a line begins after the text, outside of a code block."""
        line, is_in_code = self._line, self._is_in_code
        *ended, last = before.split("\n")
        for one in ended:
            is_in_code ^= (line + one).lstrip().startswith(_FENCE)
            line = ""
        return not is_in_code and not (line + last).strip()

    def _hold(self, text: str) -> int:
        """Hold back the end of the text where it may be the beginning of a tag; return how many characters that are."""
        start = text.rfind("<")
        tail = text[start:].lower() if start >= 0 else ""
        if not tail or not any(tag.startswith(tail) for tag in _TAGS):
            return 0
        if not self._is_thinking and not self._begins_line(text[:start]):
            return 0
        self._held = text[start:]
        return len(tail)
