"""Where turns are seen, and what becomes of what is typed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from bot.domain.answers import CommandAnswer
from bot.domain.turns import TraceLine, TurnState, TurnView

TraceLevel = Literal["summary", "full", "off"]
Style = Literal["plain", "quiet", "json"]  # of what one question writes
Outcome = Literal["answered", "stopped", "failed", "taken_over", "waiting", "left", "nothing", "misused"]

OUTCOMES: dict[TurnState, Outcome] = {
    "answered": "answered",
    "stopped": "stopped",
    "failed": "failed",
    "undelivered": "failed",
    "withdrawn": "stopped",
    "taken_over": "taken_over",
    "waiting": "waiting",
}
ENDINGS: dict[Outcome, str] = {  # said where no answer was shown
    "stopped": "Stopped.",
    "failed": "The question could not be answered.",
    "taken_over": "Another process went on with this question while this one was halted, and shows the answer.",
    "waiting": "The question waits for a decision. The answer is shown once that is made.",
}


class Screen(Protocol):
    """Where turns are seen: a terminal with a prompt, or plain output."""

    def following(self) -> AbstractContextManager[None]:
        """Show that a turn is being worked on while the block runs."""
        ...

    def progress(self, view: TurnView) -> None:
        """Show the newest view of the turn."""
        ...

    def call_ended(self, line: TraceLine) -> None:
        """Show a tool call that has ended, once."""
        ...

    def say(self, sentence: str) -> None:
        """Show a sentence of the program itself."""
        ...

    def saved(self, path: Path) -> None:
        """Show where a file that came with the answer is."""
        ...

    async def answer(self, text: str, *, is_late: bool) -> None:
        """Show the Markdown of an answer; `is_late`: its question is not the one that is followed now."""
        ...

    def command_answer(self, answer: CommandAnswer, *, is_refusal: bool = False) -> None:
        """Show the answer of a command; `is_refusal`: it says why nothing was done."""
        ...


class Output(Screen, Protocol):
    """Where one question is seen, and nothing after it."""

    def end(self, outcome: Outcome) -> None:
        """Write what is still to be written."""
        ...
