"""What happened in a conversation, one thing after the other, for `toolbridge export`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.asks import ApprovalAsk, AskRecord, FormAsk, LinkAsk
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.messages import Attachment
from bot.domain.turns import CallAsked, CallDecided, CallFinished, CallJudged, CallStarted, CallWaiting, ModelAnswered
from bot.ports.retention_store import TimedStep, TurnRecord
from bot.text.cleaning import clean
from bot.text.counting import count
from bot.text.redaction import redact


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened; times are in UTC, texts are redacted and may be anyone's words.

    `tool` is `server/tool`; `at` is empty where it was not recorded (before version 12 of the database).
    """

    turn: int
    at: str
    kind: str
    by: str = ""
    name: str = ""
    tool: str = ""
    call: str = ""
    text: str = ""
    outcome: str = ""
    files: tuple[str, ...] = ()


def happenings(turn: TurnRecord) -> Sequence[Happening]:
    """Return what happened in the turn, in order."""
    if turn.event is None:
        kind = "withdrawn" if turn.state == "withdrawn" else "texts deleted"
        return [Happening(turn=turn.turn_id, at=_time(turn.accepted_at), kind=kind, by=_author(turn.author))]
    happened = list(_happenings(turn))
    return sorted(happened, key=lambda one: one.at) if all(one.at for one in happened) else happened


def _happenings(turn: TurnRecord) -> Iterator[Happening]:
    if turn.event is not None:
        yield from _question(turn, turn.event)
    tools: dict[tuple[int, str], str] = {}
    for timed in turn.steps:
        if isinstance(timed.step, CallAsked):
            tools[timed.step.round, timed.step.call.id] = f"{timed.step.server}/{timed.step.tool}"
        yield from _step(turn, timed, tools)
    for record in turn.asks:
        yield from _votes(turn, record)
    for post in turn.posts:
        files = _files(post.attachments)
        yield Happening(turn=turn.turn_id, at=_time(turn.ended_at), kind="answer", text=_words(post.text), files=files)
    yield Happening(turn=turn.turn_id, at=_time(turn.ended_at), kind="ended", outcome=_ending(turn))


def _question(turn: TurnRecord, event: MessageReceived) -> Iterator[Happening]:
    for one in event.quoted:
        yield Happening(
            turn=turn.turn_id,
            at=_time(one.sent_at.timestamp() if one.sent_at else None),
            kind=f"pointed at ({one.relation})",
            by=one.author_id,
            name=_words(one.author),
            text=_words(one.text),
        )
    yield Happening(
        turn=turn.turn_id,
        at=_time(event.sent_at.timestamp()),
        kind="question",
        by=str(event.actor),
        name=_words(event.author_name),
        text=_words(event.text),
        files=tuple(_words(file.name) for file in event.files),
    )


def _step(turn: TurnRecord, timed: TimedStep, tools: dict[tuple[int, str], str]) -> Iterator[Happening]:
    step = timed.step
    call = step.result.call_id if isinstance(step, CallFinished) else getattr(step, "call_id", "")
    said = Happening(turn=turn.turn_id, at=_time(timed.at), kind="", call=call, tool=tools.get((step.round, call), ""))
    match step:
        case ModelAnswered(answer=answer):
            if answer.message.text and answer.message.tool_calls:
                yield replace(said, kind="model", text=_words(answer.message.text))
        case CallAsked(call=asked):
            tool = tools[step.round, asked.id]
            yield replace(said, kind="call", tool=tool, call=asked.id, text=_words(asked.arguments))
        case CallJudged():
            outcome = " by ".join(filter(None, [step.verdict, _words(step.rule)]))
            text = _words(" ".join(filter(None, [step.reason, step.note])))
            yield replace(said, kind="judged", by=", ".join(step.approvers), text=text, outcome=outcome)
        case CallStarted():
            yield replace(said, kind="started")
        case CallWaiting():
            yield replace(said, kind="waits", text=_words(step.reason))
        case CallDecided():
            text = _words("\n".join(filter(None, [step.note, step.arguments, step.content])))
            yield replace(said, kind="decided", by=step.by, text=text, outcome=step.outcome)
        case CallFinished(result=result):
            outcome = f"{result.outcome} after {result.seconds:.1f} s"
            yield replace(
                said, kind="result", text=_words(result.text), outcome=outcome, files=_files(result.attachments)
            )


def _votes(turn: TurnRecord, record: AskRecord) -> Iterator[Happening]:
    tool = f"{record.ask.server}/{record.ask.tool}"
    yield Happening(
        turn=turn.turn_id,
        at=_time(record.created_at),
        kind="asked",
        by=record.asker,
        name=_words(record.asker_name),
        tool=tool,
        call=record.call_id,
        text=_words(_asked(record)),
        outcome=record.state,
    )
    for vote in record.votes:
        yield Happening(
            turn=turn.turn_id,
            at=_time(vote.at),
            kind="vote",
            by=vote.by,
            name=_words(vote.name),
            tool=tool,
            call=record.call_id,
            text=_words(vote.content),
            outcome=vote.choice,
        )


def _asked(record: AskRecord) -> str:
    match record.ask:
        case ApprovalAsk(reason=reason, arguments=arguments):
            return "\n".join(filter(None, [reason, arguments]))
        case FormAsk(message=message):
            return message
        case LinkAsk(message=message):
            return message


def _files(attachments: Sequence[Attachment]) -> tuple[str, ...]:
    return tuple(f"{_words(one.name)} ({count(len(one.data), 'byte')})" for one in attachments)


def _ending(turn: TurnRecord) -> str:
    return turn.state if turn.ended_at is not None else f"not ended: {turn.state}"


def _author(author: str) -> str:
    try:
        key = ConversationKey.parse(author)
    except ValueError:
        return ""
    return str(key.person(key.channel))


def _words(text: str) -> str:
    """Return anyone's words without secrets and without what steers a terminal."""
    return redact(clean(text))


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
