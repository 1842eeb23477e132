"""What `/history` shows: a line for each question and each answer."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.messages import AssistantMessage, ToolMessage, UserMessage
from bot.intake.commands.phrases import code, plain
from bot.ports.store import HistoryEntry


def history_lines(entries: Sequence[HistoryEntry]) -> list[str]:
    """Return a line for each question and each answer; what the bot said and used before its answer goes into it."""
    lines: list[str] = []
    said: list[str] = []
    used: list[str] = []
    for entry in entries:
        match entry.message:
            case UserMessage(text=text, speaker=speaker):
                said, used = [], []
                lines.append(_history_line(entry, speaker or "you", text))
            case AssistantMessage(text=text, tool_calls=calls):
                said.append(text)
                used += [call.name for call in calls]
                if not calls:
                    lines.append(_history_line(entry, "bot", " ".join(said), used=used))
            case ToolMessage():
                pass  # its call is named in the answer's line
    return lines


def _history_line(entry: HistoryEntry, speaker: str, text: str, *, used: Sequence[str] = ()) -> str:
    tools = f" (used {', '.join(map(code, dict.fromkeys(used)))})" if used else ""
    return f"- {entry.at:%Y-%m-%d %H:%M} **{plain(speaker)}**{tools}: {plain(text)}"
