"""The reply: how a turn ends, as the text that is stored and the text that is seen, which are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bot.domain.events import MessageReceived
from bot.domain.messages import AssistantMessage, Attachment, Message, ToolResult
from bot.domain.turns import Post, answer_key
from bot.text.images import NOT_KEPT, leave_images_out
from bot.text.redaction import hide_known
from bot.turns.journal import Journal
from bot.turns.turn import Turn, add_round

Outcome = Literal["answered", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a turn leaves behind: its messages for the history and its text for the chat."""

    state: Outcome
    text: str
    messages: tuple[Message, ...]
    attachments: tuple[Attachment, ...] = ()


def make_reply(turn: Turn, text: str, *, state: Outcome) -> Reply:
    """Return the reply that ends with `text` and the turn's notes, after what the model said between its tool calls.

    The assistant's messages in the history, joined, are the text in the chat.
    """
    notes = "\n\n".join(f"_{note}_" for note in dict.fromkeys(turn.notes))
    last = hide_known(f"{text}\n\n{notes}" if notes else text)
    return Reply(
        state=state,
        text="\n\n".join([*turn.texts, last]),
        messages=(leave_images_out(turn.question, NOT_KEPT), *turn.added, AssistantMessage(text=last)),
        attachments=tuple(turn.attachments),
    )


def make_broken_off_reply(turn: Turn, journal: Journal, text: str, *, state: Literal["stopped", "failed"]) -> Reply:
    """Return the reply of a turn that ended early: every call the model asked for still gets exactly one result.

    Who stopped the turn has seen what was running; where it failed, the reply says which calls may have run.
    """
    turn.added.clear()
    turn.attachments.clear()
    for number, answer in enumerate(journal.answers):
        if answer.message.tool_calls and number < turn.max_rounds:
            results = [
                journal.result(number, call.id) or _unfinished(call.id, was_started=journal.is_started(number, call.id))
                for call in answer.message.tool_calls
            ]
            add_round(turn, answer.message, results)
            if state == "failed":
                turn.notes.extend(_notes_of_unfinished(number, answer.message, journal))
    return make_reply(turn, text, state=state)


def _notes_of_unfinished(number: int, message: AssistantMessage, journal: Journal) -> Sequence[str]:
    return [
        f"`{call.name}` was running when this ended. It may have run; it was not run again."
        for call in message.tool_calls
        if journal.is_started(number, call.id) and journal.result(number, call.id) is None
    ]


def _unfinished(call_id: str, *, was_started: bool) -> ToolResult:
    if was_started:
        return ToolResult(
            call_id=call_id,
            text="Stopped: the turn ended while this tool was running. It may have run; its outcome is unknown.",
            outcome="stopped",
        )
    return ToolResult(call_id=call_id, text="Stopped: the turn ended before this tool was run.", outcome="stopped")


def make_posts(
    reply: Reply, event: MessageReceived, *, turn_id: int, split: Callable[[str], Sequence[str]]
) -> Sequence[Post]:
    """Return the posts that show the reply; made again for the same event they have the same keys."""
    parts = split(reply.text) or (reply.text,)
    return [
        Post(
            key=_post_key(event, part),
            conversation=event.conversation,
            turn_id=turn_id,
            part=part,
            text=text,
            in_reply_to=event.event_key,
            attachments=reply.attachments if part == len(parts) - 1 else (),
            author_id=event.author_id,
            is_last=part == len(parts) - 1,
        )
        for part, text in enumerate(parts)
    ]


def _post_key(event: MessageReceived, part: int) -> str:
    return f"{answer_key(event.event_key)}.{part}"
