"""A person's words, found and removed wherever they are kept but in their own turns (`sought`, `forgetting`).

Turns that have not ended are left as they are. What others asked is recognised by the ids of those whom it quotes; what
was stored before ids were kept, by the names under which the person was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bot.domain.events import ConversationKey
from bot.domain.messages import Message, UserMessage
from bot.domain.turns import CallDecided
from bot.stores import codec
from bot.stores.db import Db, Row, key_range, places
from bot.stores.units import asks, forgetting, journal
from bot.stores.units.sought import Sought, direct
from bot.text.marks import CLOSE, plain_name

PAGE_ROWS = 500
REMOVED = "[What this message pointed at was removed.]"

# --- the questions of others ---


def quotations(db: Db, who: Sought, *, after: int, remove: bool) -> tuple[int, int]:
    """Remove the person's words from the questions of one page; return how many there were, and where it ended."""

    def without(row: Row) -> str | None:
        event = codec.events.validate_json(row["body"])
        kept = tuple(one for one in event.quoted if not who.wrote(one))
        if len(kept) == len(event.quoted) or not who.is_in(event.conversation):
            return None
        return codec.events.dump_json(replace(event, quoted=kept)).decode()

    lock = db.for_update("turn") if remove else ""
    rows = db.execute(
        "SELECT id, event AS body FROM turn WHERE id > ? AND ended_at IS NOT NULL AND event <> ''"  # noqa: S608  (no outside text)
        f" ORDER BY id LIMIT ?{lock}",
        (after, PAGE_ROWS),
    )
    return _change(db, rows, without, "UPDATE turn SET event = ? WHERE id = ?", after=after, remove=remove)


def contexts(db: Db, who: Sought, *, after: int, remove: bool) -> tuple[int, int]:
    """Remove what the questions of one page pointed at, where that was the person's; return as `quotations` does."""

    def without(row: Row) -> str | None:
        message: Message = codec.messages.validate_json(row["body"])
        if not isinstance(message, UserMessage) or not _quotes(message, who):
            return None
        if not who.is_in(ConversationKey.parse(row["key"])):
            return None
        if remove:
            forgetting.forget_summary(db, row["conversation_id"])
        return codec.messages.dump_json(replace(message, context=REMOVED, quotes=())).decode()

    lock = db.for_update("conversation, message") if remove else ""
    rows = db.execute(
        "SELECT message.id, message.conversation_id, body, key FROM message"  # noqa: S608  (no outside text)
        " JOIN conversation ON conversation.id = message.conversation_id WHERE message.id > ?"
        f" ORDER BY message.id LIMIT ?{lock}",
        (after, PAGE_ROWS),
    )
    return _change(db, rows, without, "UPDATE message SET body = ? WHERE id = ?", after=after, remove=remove)


def _quotes(message: UserMessage, who: Sought) -> bool:
    if message.quotes:
        return who.person.id in message.quotes
    written = ((f"> {name}", f": {plain_name(name)}{CLOSE}") for name in who.names)  # before, and since names have ids
    return any(words in message.context for forms in written for words in forms)


def _change(
    db: Db, rows: Sequence[Row], without: Callable[[Row], str | None], update: str, *, after: int, remove: bool
) -> tuple[int, int]:
    changed = [(text, row["id"]) for row in rows if (text := without(row)) is not None]
    if remove:
        db.executemany(update, changed)
    return len(changed), rows[-1]["id"] if rows else after


# --- summaries, and what they said to asks of others ---


def summaries(db: Db, who: Sought, *, remove: bool) -> int:
    """Drop the summaries of conversations in which the person asked something."""
    rows = db.execute(
        "SELECT id FROM conversation WHERE summary <> '' AND id IN"  # noqa: S608  (no outside text)
        f" (SELECT conversation_id FROM turn WHERE author IN {places(who.authors)})",
        who.authors,
    )
    if remove:
        for row in rows:
            forgetting.forget_summary(db, row["id"])
    return len(rows)


def answers(db: Db, who: Sought, *, remove: bool) -> int:
    """Remove what the person edited and filled in, in turns that have ended; that they decided it stays."""
    rows = db.execute(
        "SELECT ask_vote.ask_id, ask_vote.number, ask_vote.author, ask_vote.choice, ask.body, ask.turn_id FROM ask_vote"
        " JOIN ask ON ask.id = ask_vote.ask_id JOIN turn ON turn.id = ask.turn_id"
        " WHERE ask_vote.content <> '' AND turn.ended_at IS NOT NULL"
    )
    found = [row for row in rows if who.decided(row["author"])]
    if remove:
        for row in found:
            _forget_answer(db, row)
            _forget_decision(db, row["turn_id"], who)
    return len(found)


def _forget_answer(db: Db, row: Row) -> None:
    db.execute(
        "UPDATE ask_vote SET content = '' WHERE ask_id = ? AND number = ?",
        (row["ask_id"], row["number"]),
    )
    if row["choice"] == "edit":
        body = codec.asks.dump_json(asks.without_texts(codec.asks.validate_json(row["body"]))).decode()
        db.execute("UPDATE ask SET body = ? WHERE id = ?", (body, row["ask_id"]))


def _forget_decision(db: Db, turn_id: int, who: Sought) -> None:
    for number, step in enumerate(journal.steps(db, turn_id), start=1):
        if isinstance(step, CallDecided) and (who.decided(step.by) or any(who.decided(vote.by) for vote in step.votes)):
            votes = tuple(replace(vote, content="") if who.decided(vote.by) else vote for vote in step.votes)
            body = codec.steps.dump_json(replace(step, content="", arguments="", votes=votes)).decode()
            db.execute("UPDATE journal SET body = ? WHERE turn_id = ? AND step = ?", (body, turn_id, number))


# --- what is about them ---


def ratings(db: Db, who: Sought, *, remove: bool) -> int:
    """Delete the person's ratings."""
    rows = db.execute(
        "SELECT turn_id, key FROM feedback JOIN turn ON turn.id = feedback.turn_id"
        " JOIN conversation ON conversation.id = turn.conversation_id WHERE author_id = ?",
        (who.person.id,),
    )
    found = [row for row in rows if who.is_in(ConversationKey.parse(row["key"]))]
    if remove:
        db.executemany(
            "DELETE FROM feedback WHERE turn_id = ? AND author_id = ?",
            [(row["turn_id"], who.person.id) for row in found],
        )
    return len(found)


def grants(db: Db, who: Sought, *, remove: bool) -> int:
    """Delete what the person may run without being asked."""
    values = (str(who.person),)
    rows = db.execute("SELECT person FROM run_grant WHERE person = ?", values)
    if remove:
        db.execute("DELETE FROM run_grant WHERE person = ?", values)
    return len(rows)


def notes(db: Db, who: Sought, *, remove: bool) -> int:
    """Delete the notes on the person's direct messages."""
    found: list[str] = []
    for conversation in direct(db, who):
        names = db.execute("SELECT name FROM note WHERE name >= ? AND name < ?", key_range(f"{conversation.platform}/"))
        ends, begins = f"/{conversation.channel}", f"{conversation}#"
        found += [row["name"] for row in names if row["name"].endswith(ends) or row["name"].startswith(begins)]
    if remove:
        db.executemany("DELETE FROM note WHERE name = ?", [(name,) for name in found])
    return len(found)


def arguments(db: Db, who: Sought, *, remove: bool) -> int:
    """Remove the arguments of the lines that the audit has of the person, but for turns that have not ended."""
    still_open = "(SELECT id FROM turn WHERE ended_at IS NULL)"
    condition = f"arguments <> '' AND person = ? AND turn_id NOT IN {still_open}"
    values = (str(who.person),)
    if remove:
        return len(db.execute(f"UPDATE audit SET arguments = NULL WHERE {condition} RETURNING number", values))  # noqa: S608  (no outside text)
    return len(db.execute(f"SELECT number FROM audit WHERE {condition}", values))  # noqa: S608  (no outside text)


def forget_names(db: Db, who: Sought) -> None:
    """Remove the person's name from what they were asked; of what others asked, the record keeps who decided."""
    db.execute(
        "UPDATE ask SET asker_name = ''"
        " WHERE asker = ? AND turn_id IN (SELECT id FROM turn WHERE ended_at IS NOT NULL)",
        (str(who.person),),
    )
