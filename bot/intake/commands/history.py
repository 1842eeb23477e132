"""What `/history` shows: a line for each question and each answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set

from bot.domain.messages import AssistantMessage, ToolMessage, UserMessage
from bot.intake.commands.phrases import code, plain
from bot.ports.conversation_store import HistoryEntry, Recall
from bot.text.counting import count
from bot.text.marks import plain_id

OLDER: Mapping[Recall, str] = {
    "summary": "What came before this, I know only by my summary of it.",
    "none": "What came before this, I no longer know.",
}


def history_text(entries: Sequence[HistoryEntry], *, limit: int) -> str:
    """Return the last questions and answers under a heading, with where the model's summary takes over; empty for none.

    What the bot said and used before an answer goes into the answer's line.
    """
    lines = list(_lines(entries, _shared_names(entries)))
    shown = [text for text, _ in lines[-limit:]]
    if not shown:
        return ""
    heading = f"**The last {count(len(shown), 'message')}** (times in UTC)"
    older = [index for index, (_, recall) in enumerate(lines) if recall != "words"]
    if older:
        place = max(older[-1] + 1 - (len(lines) - len(shown)), 0)
        shown.insert(place, f"- _{OLDER[lines[older[-1]][1]]}_")
    return "\n".join([heading, "", *shown])


def _shared_names(entries: Sequence[HistoryEntry]) -> Set[str]:
    """Return the names that do not say by themselves who spoke: several people have them, or they are taken."""
    speakers = {
        (plain(entry.message.speaker or ""), entry.message.speaker_id)
        for entry in entries
        if isinstance(entry.message, UserMessage) and entry.message.speaker
    }
    names = Counter(name for name, _ in speakers)
    return {"bot", "you", *(name for name, people in names.items() if people > 1)}


def _lines(entries: Sequence[HistoryEntry], shared_names: Set[str]) -> Iterator[tuple[str, Recall]]:
    said: list[str] = []
    used: list[str] = []
    for entry in entries:
        match entry.message:
            case UserMessage(text=text, attached=attached):
                said, used = [], []
                yield _history_line(entry, _who(entry.message, shared_names), text or attached), entry.recall
            case AssistantMessage(text=text, tool_calls=calls):
                said.append(text)
                used += [call.name for call in calls]
                if not calls:
                    yield _history_line(entry, "bot", " ".join(said), used=used), entry.recall
            case ToolMessage():
                pass  # its call is named in the answer's line


def _who(message: UserMessage, shared_names: Set[str]) -> str:
    """Return the speaker's name, with the id where it is not the only one of that name."""
    if not message.speaker:
        return "you"
    name = plain(message.speaker)
    return f"{name} ({plain(plain_id(message.speaker_id))})" if name in shared_names else name


def _history_line(entry: HistoryEntry, speaker: str, text: str, *, used: Sequence[str] = ()) -> str:
    tools = f" (used {', '.join(map(code, dict.fromkeys(used)))})" if used else ""
    return f"- {entry.at:%Y-%m-%d %H:%M} **{speaker}**{tools}: {plain(text)}"
