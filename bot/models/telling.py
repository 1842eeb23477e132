"""What observers see of one answer while the model writes it."""

from __future__ import annotations

from bot.domain.turns import Paused, TextArrived, TextTakenBack
from bot.models.thoughts import Said
from bot.ports.model import ModelProgressSink


class Telling:
    """What observers saw of one answer, which the model may have begun several times."""

    def __init__(self, progress: ModelProgressSink) -> None:
        self._progress = progress
        self._pieces: list[str] = []
        self._longest = ""

    @property
    def has_told(self) -> bool:
        """Whether observers saw text of the running try."""
        return bool(self._pieces)

    @property
    def longest(self) -> str:
        """The longest text that observers saw in one try."""
        return max(self._longest, "".join(self._pieces), key=len)

    def say(self, said: Said) -> None:
        """Tell a piece, and first that the text so far is void where it says so."""
        if said.takes_back and self._pieces:
            self._void()
        if said.text:
            self._pieces.append(said.text)
            self._progress(TextArrived(text=said.text))

    def begin_again(self) -> None:
        """The running try failed: its text is void."""
        self._longest = self.longest
        if self._pieces:
            self._void()

    def pause(self, reason: str, wait_s: float) -> None:
        """Say what the question waits for; `wait_s` is 0 where that takes no known time."""
        self._progress(Paused(reason=reason, wait_s=wait_s))

    def _void(self) -> None:
        self._pieces.clear()
        self._progress(TextTakenBack())
