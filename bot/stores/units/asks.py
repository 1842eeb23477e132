"""What people are asked while a turn waits, and what they said to it.

An ask begins and ends with steps of its turn's journal, in their commit. The functions that read do what the methods of
their names do in `bot.ports.rights_store.AskStore`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.domain.asks import ApprovalAsk, Ask, AskRecord, AskState, FormAsk, LinkAsk, Vote
from bot.domain.events import ConversationKey
from bot.domain.people import UNKNOWN
from bot.domain.turns import CallDecided, CallFinished, CallWaiting, Step
from bot.stores import codec
from bot.stores.db import Db, Row, first, ids_served
from bot.stores.units import ask_posts

MOST = 1_000  # asks that are read at once
_ENDS: Mapping[str, AskState] = {
    "approved": "approved",
    "declined": "declined",
    "withdrawn": "withdrawn",
    "expired": "expired",
    "accept": "answered",
    "decline": "declined",
    "cancel": "declined",
}
_PENDING_OF_CALL = "turn_id = ? AND round = ? AND call_id = ?"


# --- with the turn ---


def follow(db: Db, turn_id: int, step: Step, *, now: float) -> None:
    """Begin or end the ask of the call that the step is about."""
    match step:
        case CallWaiting():
            _end(db, "void", _PENDING_OF_CALL, (turn_id, step.round, step.call_id))
            if step.ask is not None:
                _begin(db, turn_id, step, step.ask, now=now)
        case CallDecided():
            _end(db, _ENDS.get(step.outcome, "void"), _PENDING_OF_CALL, (turn_id, step.round, step.call_id))
        case CallFinished():
            _end(db, "void", _PENDING_OF_CALL, (turn_id, step.round, step.result.call_id))
        case _:
            pass


def void_all(db: Db, turn_id: int) -> None:
    """End the pending asks of a turn that will not go on with their calls."""
    _end(db, "void", "turn_id = ?", (turn_id,))


def _begin(db: Db, turn_id: int, wait: CallWaiting, ask: Ask, *, now: float) -> None:
    (turn,) = db.execute(
        "SELECT event, key FROM turn JOIN conversation ON conversation.id = turn.conversation_id WHERE turn.id = ?",
        (turn_id,),
    )
    asker = codec.events.validate_json(turn["event"]).actor
    db.notify("asks")
    db.execute(
        "INSERT INTO ask (turn_id, round, call_id, conversation, asker, asker_id, asker_name, body, created_at,"
        " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            turn_id,
            wait.round,
            wait.call_id,
            turn["key"],
            str(asker),
            asker.id,
            asker.name,
            codec.asks.dump_json(ask).decode(),
            now,
            wait.expires_at,
        ),
    )


def _end(db: Db, state: AskState, condition: str, values: Sequence[object]) -> None:
    ended = db.execute(
        f"UPDATE ask SET state = ?, version = version + 1 WHERE {condition} AND state = 'pending' RETURNING id",  # noqa: S608  (no outside text)
        (state, *values),
    )
    for row in ended:
        ask_posts.ask_changed(db, row["id"], is_ended=True)


# --- votes ---


def find(db: Db, ask_id: int) -> Row | None:
    """Return the ask's row."""
    return first(
        db.execute(
            "SELECT id, turn_id, round, call_id, body, original, state, version, expires_at FROM ask WHERE id = ?",
            (ask_id,),
        )
    )


def add_vote(db: Db, found: Row, vote: Vote, *, state: AskState, edited: Ask | None) -> None:
    """Store the vote, with the ask's next version."""
    db.execute(
        "INSERT INTO ask_vote (ask_id, number, person, author, name, choice, at, digest, content)"
        " SELECT ?, COALESCE(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ? FROM ask_vote WHERE ask_id = ?",
        (found["id"], vote.person, vote.by, vote.name, vote.choice, vote.at, vote.digest, vote.content, found["id"]),
    )
    body, original = found["body"], found["original"]
    if edited is not None:
        original = original or _arguments(codec.asks.validate_json(body))
        body = codec.asks.dump_json(edited).decode()
    db.execute(
        "UPDATE ask SET body = ?, original = ?, state = ?, version = version + 1 WHERE id = ?",
        (body, original, state, found["id"]),
    )
    ask_posts.ask_changed(db, found["id"], is_ended=state != "pending")


def _arguments(ask: Ask) -> str:
    return ask.arguments if isinstance(ask, ApprovalAsk) else ""


# --- reading ---

_RECORDS = """
SELECT ask.id, ask.turn_id, round, call_id, conversation, asker, asker_id, asker_name, body, original, ask.state,
    version, created_at, expires_at, turn.event_key, turn.event
FROM ask JOIN turn ON turn.id = ask.turn_id WHERE {condition} ORDER BY ask.id LIMIT ?
"""


def ask(db: Db, ask_id: int) -> AskRecord | None:
    """Return the ask with its votes."""
    found = _records(db, "ask.id = ?", (ask_id,), limit=1)
    return found[0] if found else None


def asks(db: Db, *, turn_id: int | None, is_pending: bool) -> Sequence[AskRecord]:
    """Return the asks that match, by their ids."""
    wanted = [
        *(["ask.state = 'pending'"] if is_pending else []),
        *(["ask.turn_id = ?"] if turn_id is not None else []),
    ]
    values = () if turn_id is None else (turn_id,)
    return _records(db, " AND ".join(wanted) or "TRUE", values, limit=MOST)


def unplanned_asks(db: Db, *, serves: Sequence[str]) -> Sequence[AskRecord]:
    """Return pending asks without planned messages; looking costs no commit."""
    if not serves:
        return []
    ids, values = ids_served("ask WHERE state = 'pending' AND is_planned = 0", "conversation", serves)
    return _records(db, f"ask.id IN ({ids})", values, limit=MOST)


def _records(db: Db, condition: str, values: Sequence[object], *, limit: int) -> Sequence[AskRecord]:
    rows = db.execute(_RECORDS.format(condition=condition), (*values, limit))
    return [_record(row, _votes(db, row["id"])) for row in rows]


def _votes(db: Db, ask_id: int) -> Sequence[Vote]:
    rows = db.execute(
        "SELECT person, author, name, choice, at, digest, content FROM ask_vote WHERE ask_id = ? ORDER BY number",
        (ask_id,),
    )
    return [
        Vote(
            person=row["person"],
            by=row["author"],
            name=row["name"],
            choice=row["choice"],
            at=row["at"],
            digest=row["digest"],
            content=row["content"],
        )
        for row in rows
    ]


def _record(row: Row, votes: Sequence[Vote]) -> AskRecord:
    return AskRecord(
        id=row["id"],
        turn_id=row["turn_id"],
        round=row["round"],
        call_id=row["call_id"],
        conversation=ConversationKey.parse(row["conversation"]),
        event_key=row["event_key"],
        asker=row["asker"],
        asker_id=row["asker_id"],
        asker_name=row["asker_name"],
        ask=codec.asks.validate_json(row["body"]),
        state=row["state"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        votes=tuple(votes),
        original=row["original"],
        version=row["version"],
        standing=codec.events.validate_json(row["event"]).standing if row["event"] else UNKNOWN,
    )


# --- clearing ---


def forget_texts(db: Db, turns: str, values: Sequence[object]) -> None:
    """Remove what was asked and answered in these ended turns; the asks stay, for the messages that show them."""
    for row in db.execute(f"SELECT id, body FROM ask WHERE turn_id IN {turns}", values):  # noqa: S608  (no outside text)
        body = codec.asks.dump_json(without_texts(codec.asks.validate_json(row["body"]))).decode()
        db.execute("UPDATE ask SET body = ?, original = '' WHERE id = ?", (body, row["id"]))
        db.execute("UPDATE ask_vote SET content = '' WHERE ask_id = ?", (row["id"],))


def without_texts(ask: Ask) -> Ask:
    """Return the ask without what people and servers wrote."""
    match ask:
        case ApprovalAsk():
            return replace(ask, arguments="", change="")
        case FormAsk():
            return replace(ask, message="", schema={})
        case LinkAsk():
            return replace(ask, message="", url="")
