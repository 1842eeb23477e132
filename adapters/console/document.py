"""One question without a conversation on the screen, as one JSON object: for scripts."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from adapters.console.plain import write
from adapters.console.screen import Outcome
from bot.domain.answers import CommandAnswer
from bot.domain.turns import TraceLine, TurnView
from bot.text.terminal import visible_json

SHOWN_OF_CALLS = ("server", "tool", "state", "arguments", "result", "seconds", "attachments", "note")


class JsonDocument:
    """Gathers what is shown, and writes it at the end."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self._answer = ""
        self._calls: list[dict[str, Any]] = []
        self._files: list[str] = []
        self._notices: list[str] = []
        self._examples: list[str] = []
        self._earlier: list[str] = []

    @contextmanager
    def following(self) -> Generator[None]:
        """Do nothing: all is written at the end."""
        yield

    def say(self, sentence: str) -> None:
        """Keep a sentence about the turn."""
        self._notices.append(sentence)

    def progress(self, view: TurnView) -> None:
        """Keep nothing: at the end nothing is waited for."""

    def call_ended(self, line: TraceLine) -> None:
        """Keep the call, with its arguments and its result as people see them."""
        call = asdict(line)
        self._calls.append({name: call[name] for name in SHOWN_OF_CALLS})

    def saved(self, path: Path) -> None:
        """Keep the path of a file."""
        self._files.append(str(path))

    async def answer(self, text: str, *, is_late: bool) -> None:
        """Keep the answer; one to an earlier question by itself."""
        if is_late:
            self._earlier.append(text)
        else:
            self._answer = text

    def command_answer(self, answer: CommandAnswer, *, is_refusal: bool = False) -> None:
        """Keep the answer of a command."""
        self._answer = answer.text
        self._examples += [choice.text for choice in answer.choices]

    def end(self, outcome: Outcome) -> None:
        """Write all of it."""
        document: dict[str, Any] = {
            "outcome": outcome,
            "answer": self._answer,
            "calls": self._calls,
            "files": self._files,
            "notices": self._notices,
        }
        document |= {"examples": self._examples} if self._examples else {}
        document |= {"earlier_answers": self._earlier} if self._earlier else {}
        write(self._stdout, visible_json(json.dumps(document, indent=2, ensure_ascii=False)))
