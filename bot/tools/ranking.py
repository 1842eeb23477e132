"""Which of many rows of words match a query best.

SQLite's FTS5 ranks them by BM25 (https://www.sqlite.org/fts5.html#the_bm25_function): it is part of Python's own
sqlite3, so it costs no dependency, and an index of 5,000 tools takes a fraction of a second to build. Some builds of
SQLite leave it out; there, the words that match are counted.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

_WEIGHTS = (10.0, 4.0, 2.0, 1.0)  # of a match in the name, the server, the description, the arguments
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One tool: the words of its name, server, description and arguments, and the server's exact name."""

    number: int
    parts: tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[str]]
    server: str


class Ranking(Protocol):
    """Rows, ready to be searched."""

    def best(self, asked: Sequence[str], *, limit: int, server: str | None = None) -> Iterable[int]:
        """Return the numbers of the rows that contain any of the words, the best first, of one server if named."""
        ...

    def close(self) -> None:
        """Free its memory."""
        ...


def connect() -> sqlite3.Connection:
    """Return a database in memory, for any thread, but not for two at once."""
    return sqlite3.connect(":memory:", check_same_thread=False)


def open_ranking(rows: Sequence[Row], *, connect: Callable[[], sqlite3.Connection] = connect) -> Ranking:
    """Return the rows, ranked as well as this SQLite can."""
    db = connect()
    try:
        return Bm25(rows, db)
    except sqlite3.Error as error:  # "no such module: fts5"
        db.close()
        _log.warning("tools_ranked_by_plain_words", reason=str(error))
        return PlainWords(rows)


class Bm25:
    """Rows in an index of FTS5. It may be built in one thread and used in another, not in two at once."""

    def __init__(self, rows: Sequence[Row], db: sqlite3.Connection) -> None:
        self._db = db
        self._db.execute(
            "CREATE VIRTUAL TABLE tool USING fts5(name, server, description, arguments, exact_server UNINDEXED,"
            " tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        self._db.executemany(
            "INSERT INTO tool (rowid, name, server, description, arguments, exact_server) VALUES (?, ?, ?, ?, ?, ?)",
            ((row.number, *(" ".join(part) for part in row.parts), row.server) for row in rows),
        )
        self._weights = ", ".join(map(str, _WEIGHTS))

    def best(self, asked: Sequence[str], *, limit: int, server: str | None = None) -> Iterable[int]:
        """Yield the rows by BM25, or by their order where that makes no difference."""
        query = " OR ".join(f'"{word}"' for word in asked)
        if not query:
            return
        only, values = ("", ()) if server is None else (" AND exact_server = ?", (server,))
        for (number,) in self._db.execute(
            f"SELECT rowid FROM tool WHERE tool MATCH ?{only} ORDER BY bm25(tool, {self._weights}), rowid LIMIT ?",  # noqa: S608  (no outside text in it)
            (query, *values, limit),
        ):
            yield number

    def close(self) -> None:
        """Free its memory."""
        self._db.close()


class PlainWords:
    """Rows by the words in them, each word as it is; rarer words count for more."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._servers = {row.number: row.server for row in rows}
        self._weights: defaultdict[str, dict[int, float]] = defaultdict(dict)  # of each word in each row
        for row in rows:
            for part, weight in zip(reversed(row.parts), reversed(_WEIGHTS), strict=True):
                for word in part:
                    self._weights[word][row.number] = weight  # the place that counts most comes last

    def best(self, asked: Sequence[str], *, limit: int, server: str | None = None) -> Iterable[int]:
        """Return the rows by the weight of what matches, or by their order where that makes no difference."""
        scores: defaultdict[int, float] = defaultdict(float)
        for word in asked:
            found = self._weights.get(word, {})
            for number, weight in found.items():
                if server is None or self._servers[number] == server:
                    scores[number] += weight / len(found)
        return heapq.nsmallest(limit, scores, key=lambda number: (-scores[number], number))

    def close(self) -> None:
        """Do nothing: there is no connection to close."""
