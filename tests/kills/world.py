"""What outlives the process: the database, and what the platform and the tool server saw, in files."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bot.domain.messages import Message
from bot.domain.turns import Step
from bot.ports.work_store import OutboxPost
from bot.stores import codec
from bot.stores.db import Row
from tests.kills.database import Database, PostgresDatabase, Rows, SqliteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """One message of the bot that the platform shows."""

    question: str
    part: int
    text: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleAsk:
    """The message of one ask as the platform shows it; `mark` is of the call, `is_new` where it was not a change."""

    key: str
    ask_id: int
    mark: str
    state: str
    digest: str
    place: str
    is_new: bool
    shown_by: int  # which life


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """All that the database has of one turn."""

    id: int
    state: str
    outcome: str | None
    attempts: int
    steps: tuple[Step, ...]
    messages: tuple[Message, ...]
    outbox: tuple[OutboxPost, ...]

    @property
    def is_ended(self) -> bool:
        return self.state not in ("queued", "running", "delivering")


Turns = Mapping[str, StoredTurn]  # by the key of the question


@dataclass(frozen=True, slots=True)
class World:
    """A folder of files; a line is appended by one write, so a kill leaves it whole or out."""

    folder: Path
    life: int = field(default=0)
    url: str = ""  # of a PostgreSQL database; SQLite without it
    is_shared: bool = False  # by processes that are at work while others look at it

    @property
    def database(self) -> Database:
        if self.url:
            return PostgresDatabase(self.url)
        return SqliteFile(self.folder / "toolbridge.db", is_shared=self.is_shared)

    @property
    def calls_file(self) -> Path:
        """Where the tool server of this life writes each call."""
        return self.folder / f"calls.{self.life}.txt"

    @property
    def log_file(self) -> Path:
        return self.folder / f"log.{self.life}.txt"

    @property
    def census_file(self) -> Path:
        """How often this life reached each point, if it came to its end."""
        return self.folder / f"census.{self.life}.json"

    def note(self, name: str, line: str) -> None:
        """Append a line to one of the files of this life."""
        _append(self.folder / f"{name}.{self.life}.txt", line)

    def noted(self, name: str) -> Sequence[str]:
        """Return the lines of that file of this life."""
        return _lines(self.folder / f"{name}.{self.life}.txt")

    def noted_by_all(self, name: str) -> Sequence[str]:
        """Return the lines of that file of this life and all before it."""
        return [line for life in range(1, self.life + 1) for line in replace(self, life=life).noted(name)]

    def acknowledge(self, question: str, seat: int = 0) -> None:
        """Keep that the platform was told that the message arrived, by the process at this seat."""
        _append(self.folder / f"acknowledged-{seat}.txt", question)

    def acknowledged(self, seat: int | None = None) -> Sequence[str]:
        """Return the messages that the platform will not deliver again, there or anywhere."""
        files = sorted(self.folder.glob("acknowledged-*.txt" if seat is None else f"acknowledged-{seat}.txt"))
        return [line for file in files for line in _lines(file)]

    def show(self, visible: Visible) -> None:
        """Make a message visible."""
        fields = {"question": visible.question, "part": visible.part, "text": visible.text, "key": visible.key}
        _append(self.folder / "visible.jsonl", json.dumps(fields))

    def visible(self) -> Sequence[Visible]:
        """Return what the platform shows, oldest first."""
        return [Visible(**json.loads(line)) for line in _lines(self.folder / "visible.jsonl")]

    def show_ask(self, ask: VisibleAsk) -> None:
        """Make the message of an ask visible, or change it."""
        _append(self.folder / "asks.jsonl", json.dumps(asdict(ask)))

    def asks(self) -> Sequence[VisibleAsk]:
        """Return all that the messages of asks have shown, oldest first."""
        return [VisibleAsk(**json.loads(line)) for line in _lines(self.folder / "asks.jsonl")]

    def tokens(self) -> tuple[int, int]:
        """Return the tokens that were charged to all, and those of the stored answers and summaries."""
        with self.database.reading() as rows:
            (charged,) = rows(
                "SELECT COALESCE(sum(input_tokens + output_tokens), 0) AS tokens FROM spending"
                " WHERE ledger = 'all' AND length(period) = 10"
            )
            # A turn's own sum has its summaries; it lacks its answers where its journal was not read any more.
            used = {
                row["id"]: row["tokens"] for row in rows("SELECT id, input_tokens + output_tokens AS tokens FROM turn")
            }
            stored = Counter[int]()
            for row in rows("SELECT turn_id, body FROM journal"):
                usage = json.loads(row["body"]).get("answer", {}).get("usage", {})
                stored[row["turn_id"]] += usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
            return int(charged["tokens"]), sum(max(tokens, stored[turn_id]) for turn_id, tokens in used.items())

    def summary(self, conversation: str) -> tuple[str, frozenset[int]]:
        """Return the conversation's summary and the turns before its end."""
        with self.database.reading() as rows:
            (found,) = rows("SELECT summary FROM conversation WHERE key = ?", conversation)
            turns = rows(
                "SELECT turn_id FROM message JOIN conversation ON conversation.id = message.conversation_id"
                " WHERE key = ? AND message.id <= summary_message_id",
                conversation,
            )
            return found["summary"], frozenset(row["turn_id"] for row in turns)

    def turns(self) -> Turns:
        """Return what is stored."""
        try:
            with self.database.reading() as rows:
                return _read_turns(rows)
        except LookupError:
            return {}


def _append(path: Path, line: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def _lines(path: Path) -> list[str]:
    """Return the lines of the file but for one that another process is writing."""
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def _read_turns(rows: Rows) -> Turns:
    steps = _bodies(rows("SELECT turn_id, body FROM journal ORDER BY turn_id, step"))
    messages = _bodies(rows("SELECT turn_id, body FROM message ORDER BY turn_id, id"))
    posts: dict[int, list[OutboxPost]] = {}
    for row in rows("SELECT turn_id, body, state FROM outbox ORDER BY turn_id, part"):
        post = OutboxPost(post=codec.posts.validate_json(row["body"]), state=row["state"])
        posts.setdefault(row["turn_id"], []).append(post)
    return {
        row["event_key"]: StoredTurn(
            id=row["id"],
            state=row["state"],
            outcome=row["outcome"],
            attempts=row["attempts"],
            steps=tuple(map(codec.steps.validate_json, steps.get(row["id"], ()))),
            messages=tuple(map(codec.messages.validate_json, messages.get(row["id"], ()))),
            outbox=tuple(posts.get(row["id"], ())),
        )
        for row in rows("SELECT id, event_key, state, outcome, attempts FROM turn ORDER BY id")
    }


def _bodies(rows: Sequence[Row]) -> dict[int, list[str]]:
    bodies: dict[int, list[str]] = {}
    for row in rows:
        bodies.setdefault(row["turn_id"], []).append(row["body"])
    return bodies
