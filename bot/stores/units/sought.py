"""A person whose words are looked for: how the store knows them, and the turns that they asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bot.domain.events import ConversationKey, MessageReceived, Quoted
from bot.domain.people import Actor
from bot.ports.retention_store import Forgotten
from bot.ports.store import author_key, author_keys
from bot.stores import codec
from bot.stores.db import Db, Row, key_range, places
from bot.stores.units import asks
from bot.stores.units.locks import lock_turn
from bot.stores.units.order import end_turn

PAGE_ROWS = 500
MANY = 1_000_000  # turns of one person that are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A person, with the keys under which the store files them and the names by which others saw them."""

    person: Actor
    authors: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    def is_in(self, conversation: ConversationKey) -> bool:
        """Return whether an id of that conversation can be the person's."""
        person = self.person
        return conversation.platform == person.platform and (
            person.platform == "console" or person.space in ("", conversation.space)
        )

    def asked(self, event: MessageReceived) -> bool:
        """Return whether the question is the person's."""
        return self.is_in(event.conversation) and (
            event.author_id == self.person.id or author_key(event.actor) in self.authors
        )

    def wrote(self, quoted: Quoted) -> bool:
        """Return whether the quotation is of the person; of one without an id, the name decides."""
        if self.person.id in (quoted.author_id, *quoted.nested_ids):
            return True
        if quoted.author_id:
            return False
        return quoted.author_kind == "person" and quoted.author in self.names

    def decided(self, author: str) -> bool:
        """Return whether the notation of rules names the person, with or without a Discord server."""
        person = self.person
        if person.platform == "discord":
            *server, user = author.removeprefix("discord:").split(":")
            is_there = not person.space or not server or server == [person.space]
            return author.startswith("discord:") and user == person.id and is_there
        return author == str(person)


def find(db: Db, person: Actor) -> Sought:
    """Return how the person is to be found."""
    authors = tuple(_authors(db, person))
    found = Sought(person=person, authors=authors)
    names = {event.author_name for _, event in _own_events(db, found)}
    names |= {row["asker_name"] for row in db.execute("SELECT asker_name FROM ask WHERE asker = ?", (str(person),))}
    return replace(found, names=frozenset(name for name in names if name))


def _authors(db: Db, person: Actor) -> Iterator[str]:
    if person.platform != "discord" or person.space:
        space = "local" if person.platform == "console" else person.space
        yield from author_keys(replace(person, space=space))
        return
    # A key after another along the index: authors are few beside turns.
    at, end = key_range("discord/")
    while rows := db.execute(
        "SELECT author FROM turn WHERE author > ? AND author < ? ORDER BY author LIMIT 1", (at, end)
    ):
        at = rows[0]["author"]
        if ConversationKey.parse(at).channel == person.id:
            yield at


# --- the turns that they asked for ---


def own_turns(db: Db, who: Sought, *, limit: int) -> Sequence[Row]:
    """Return ended turns of the person whose texts are kept."""
    rows = db.execute(
        f"SELECT id, conversation_id, event_key FROM turn WHERE author IN {places(who.authors)}"  # noqa: S608  (no outside text)
        " AND ended_at IS NOT NULL AND event <> '' LIMIT ?",
        (*who.authors, limit),
    )
    if len(rows) == limit:
        return rows
    unnamed = [row for row, event in _unnamed_events(db) if row["ended_at"] is not None and who.asked(event)]
    return [*rows, *unnamed][:limit]


def count_own(db: Db, who: Sought) -> Forgotten:
    """Return what would go with the person's turns; the person's own lines of the audit are counted elsewhere."""
    turns = own_turns(db, who, limit=MANY)
    ids = [turn["id"] for turn in turns]
    messages = 0
    for key, of_it in _by_conversation(turns):
        messages += len(
            db.execute(
                f"SELECT id FROM message WHERE conversation_id = ? AND turn_id IN {places(of_it)}",  # noqa: S608  (no outside text)
                (key, *of_it),
            )
        )
    lines_of_others = "SELECT 1 FROM audit WHERE turn_id = ? AND arguments <> '' AND person <> ?"
    arguments = sum(len(db.execute(lines_of_others, (one, str(who.person)))) for one in ids)
    return Forgotten(
        turns=len(ids), messages=messages, arguments=arguments, event_keys=tuple(turn["event_key"] for turn in turns)
    )


def _by_conversation(turns: Sequence[Row]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the turns of each conversation, so many at a time that a statement takes them."""
    for key in dict.fromkeys(turn["conversation_id"] for turn in turns):
        of_it = [turn["id"] for turn in turns if turn["conversation_id"] == key]
        yield from ((key, of_it[start : start + PAGE_ROWS]) for start in range(0, len(of_it), PAGE_ROWS))


def open_turns(db: Db, who: Sought) -> Sequence[Row]:
    """Return the person's turns that have not ended."""
    return db.execute(
        "SELECT turn.id, turn.conversation_id, turn.state, turn.worker, conversation.key FROM turn"  # noqa: S608  (no outside text)
        " JOIN conversation ON conversation.id = turn.conversation_id"
        f" WHERE author IN {places(who.authors)} AND ended_at IS NULL ORDER BY turn.id",
        who.authors,
    )


def end_abandoned(db: Db, turn: Row, *, now: float) -> None:
    """End a turn that no living worker holds; one that held it once can write nothing more.

    One that has ended, or was taken up, since it was looked at is left as it is.
    """
    lock_turn(db, turn["id"])
    if not db.execute(
        "SELECT 1 FROM turn WHERE id = ? AND worker = ? AND ended_at IS NULL", (turn["id"], turn["worker"])
    ):
        return
    asks.void_all(db, turn["id"])
    db.execute(
        "UPDATE turn SET outcome = 'stopped', fence = fence + 1, worker = '', wakes_at = NULL WHERE id = ?",
        (turn["id"],),
    )
    end_turn(db, turn["id"], turn["conversation_id"], now=now)


def direct(db: Db, who: Sought) -> tuple[ConversationKey, ...]:
    """Return the direct conversations in which only this person asked."""
    rows = db.execute(
        "SELECT DISTINCT conversation.key FROM turn JOIN conversation ON conversation.id = turn.conversation_id"  # noqa: S608  (no outside text)
        f" WHERE author IN {places(who.authors)} AND NOT EXISTS (SELECT 1 FROM turn AS other"
        f"  WHERE other.conversation_id = conversation.id AND other.author NOT IN {places(who.authors)})",
        (*who.authors, *who.authors),
    )
    return tuple(key for row in rows if (key := ConversationKey.parse(row["key"])).is_direct)


def _own_events(db: Db, who: Sought) -> Iterator[tuple[Row, MessageReceived]]:
    rows = db.execute(
        f"SELECT id, event FROM turn WHERE author IN {places(who.authors)} AND event <> ''",  # noqa: S608  (no outside text)
        who.authors,
    )
    yield from ((row, codec.events.validate_json(row["event"])) for row in rows)
    yield from ((row, event) for row, event in _unnamed_events(db) if who.asked(event))


def _unnamed_events(db: Db) -> Iterator[tuple[Row, MessageReceived]]:
    """Yield the turns of versions that did not keep who asked."""
    for row in db.execute(
        "SELECT id, conversation_id, event_key, ended_at, event FROM turn WHERE author = '' AND event <> ''"
    ):
        yield row, codec.events.validate_json(row["event"])
