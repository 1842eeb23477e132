"""What outlives the process: the database, and what the platform and the tool server saw, in files."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bot.domain.messages import Message
from bot.domain.turns import Step
from bot.ports.store import OutboxPost
from bot.stores import codec


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

    @property
    def database(self) -> Path:
        return self.folder / "toolbridge.db"

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

    def acknowledge(self, question: str) -> None:
        """Keep that the platform was told that the message arrived."""
        _append(self.folder / "acknowledged.txt", question)

    def acknowledged(self) -> Sequence[str]:
        """Return the messages that the platform will not deliver again."""
        return _lines(self.folder / "acknowledged.txt")

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

    def open_turns(self) -> int:
        """Return how many turns have not ended."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM turn WHERE ended_at IS NULL").fetchone()[0]

    def tokens(self) -> tuple[int, int]:
        """Return the tokens that were charged to all, and those of the stored answers and summaries."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            (charged,) = db.execute(
                "SELECT COALESCE(sum(input_tokens + output_tokens), 0) FROM spending"
                " WHERE ledger = 'all' AND length(period) = 10"
            ).fetchone()
            # A turn's own sum has its summaries; it lacks its answers where its journal was not read any more.
            used = {row[0]: row[1] for row in db.execute("SELECT id, input_tokens + output_tokens FROM turn")}
            stored = Counter[int]()
            for turn_id, body in db.execute("SELECT turn_id, body FROM journal"):
                usage = json.loads(body).get("answer", {}).get("usage", {})
                stored[turn_id] += usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
            return charged, sum(max(tokens, stored[turn_id]) for turn_id, tokens in used.items())

    def summary(self, conversation: str) -> tuple[str, frozenset[int]]:
        """Return the conversation's summary and the turns before its end."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            (summary,) = db.execute("SELECT summary FROM conversation WHERE key = ?", (conversation,)).fetchone()
            turns = db.execute(
                "SELECT turn_id FROM message JOIN conversation ON conversation.id = message.conversation_id"
                " WHERE key = ? AND message.id <= summary_message_id",
                (conversation,),
            )
            return summary, frozenset(turn_id for (turn_id,) in turns)

    def holds(self, words: str) -> bool:
        """Return whether the words are in any byte of the database's files."""
        files = (self.database, self.database.with_name(f"{self.database.name}-wal"))
        return any(file.exists() and words.encode() in file.read_bytes() for file in files)

    def turns(self) -> Turns:
        """Return what is stored, read from a copy: reading the files themselves would tidy up what the kill left."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            for name in (self.database.name, f"{self.database.name}-wal"):
                if (self.folder / name).exists():
                    shutil.copy(self.folder / name, folder)
            with closing(sqlite3.connect(Path(folder) / self.database.name)) as db:
                db.row_factory = sqlite3.Row
                is_made = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'message'").fetchone()
                return _read_turns(db) if is_made else {}


def _append(path: Path, line: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _read_turns(db: sqlite3.Connection) -> Turns:
    steps = _bodies(db, "SELECT turn_id, body FROM journal ORDER BY turn_id, step")
    messages = _bodies(db, "SELECT turn_id, body FROM message ORDER BY turn_id, id")
    outbox = _bodies(db, "SELECT turn_id, json_array(body, state) AS body FROM outbox ORDER BY turn_id, part")
    return {
        row["event_key"]: StoredTurn(
            id=row["id"],
            state=row["state"],
            outcome=row["outcome"],
            attempts=row["attempts"],
            steps=tuple(map(codec.steps.validate_json, steps.get(row["id"], ()))),
            messages=tuple(map(codec.messages.validate_json, messages.get(row["id"], ()))),
            outbox=tuple(map(_outbox_post, outbox.get(row["id"], ()))),
        )
        for row in db.execute("SELECT id, event_key, state, outcome, attempts FROM turn ORDER BY id")
    }


def _bodies(db: sqlite3.Connection, statement: str) -> dict[int, list[str]]:
    bodies: dict[int, list[str]] = {}
    for turn_id, body in db.execute(statement):
        bodies.setdefault(turn_id, []).append(body)
    return bodies


def _outbox_post(text: str) -> OutboxPost:
    fields: list[Any] = json.loads(text)
    return OutboxPost(post=codec.posts.validate_json(fields[0]), state=fields[1])
