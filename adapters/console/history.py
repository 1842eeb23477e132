"""What was typed in terminals, over all chats; `/clear` can take lines out of it while chats are open."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path

from prompt_toolkit.history import FileHistory

from bot.text.typed_lines import entry_text


class TypedLines(FileHistory):
    """Keeps each line with the conversation that it was typed in; none stays in memory once the file has lost it."""

    def __init__(self, file: Path, conversation: str) -> None:
        super().__init__(str(file))
        self._file = file
        self._conversation = conversation

    async def load(self) -> AsyncGenerator[str, None]:
        """Yield the lines as they are in the file now, the newest first."""
        for line in self.load_history_strings():
            yield line

    def append_string(self, string: str) -> None:
        """Add a line to the file."""
        self.store_string(string)

    def store_string(self, string: str) -> None:
        """Add a line to the file; where that cannot be written, the line is not remembered."""
        entry = entry_text(string, at=datetime.now(), conversation=self._conversation)  # noqa: DTZ005  (local, as its other lines)
        try:
            with self._file.open("ab") as file:
                file.write(entry.encode(errors="replace"))
        except OSError:
            return
