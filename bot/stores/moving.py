"""Moves everything that an SQLite database has to a PostgreSQL database (`toolbridge migrate --to`).

Rows keep their ids. They go in batches, each committed with how far it got, so that a move that was broken off goes on
there. The source stays as it was, and is locked during the move.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.domain.errors import SettingsError, StoreError
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.target import SavedFile, Target, open_target
from bot.stores.sqlite.source import Source, open_source

# In the order of their references. What is left out tells of processes that are gone.
TABLES = (
    *("conversation", "turn", "journal", "outbox", "message", "feedback", "note", "signal", "tool_use"),
    *("ask", "ask_vote", "ask_post", "run_grant", "pin", "audit", "spending", "budget_warning", "slot", "rate"),
)
LEFT_OUT = frozenset({"worker"})
FILES = "file"
_BATCH_FILES, _BATCH_BYTES = 1_000, 16_000_000

Progress = Callable[[str, int, int], None]  # which table, how many of its rows are moved, how many there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What is moved where. `workspaces` is the folder of the files that conversations saved."""

    source: Path
    url: str
    options: PostgresOptions
    workspaces: Path
    batch_rows: int = 1_000
    notes: Mapping[str, str] = field(default_factory=dict[str, str])  # which the target gets as well
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, progress: Progress) -> Mapping[str, int]:
        """Move what is not moved yet; return how many rows of each table there are now, on both sides.

        Blocks. Once `stop` is set, it ends after the batch that is being moved.

        Raises:
            SettingsError: A process lives on either side, the target has something else, or the move was stopped.
            StoreError: One of the databases failed, or has fewer rows than it should.
        """
        with open_source(self.source) as source, open_target(self.url, self.options) as target:
            _refuse_living(source, target)
            target.begin(source.mark(TABLES), [*TABLES, FILES])
            for table in TABLES:
                self._move(table, source, target, progress)
            self._move_files(target, progress)
            counts = _verified(source, target, files=len(self._files()))
            target.end(self.notes)
            return counts

    def _move(self, table: str, source: Source, target: Target, progress: Progress) -> None:
        columns, there_are, reached = source.columns(table), source.count(table), target.reached(table)
        moved = target.count(table) if reached else 0
        progress(table, moved, there_are)
        while rows := source.batch(table, after=reached, limit=self.batch_rows):
            self._heed_stop()
            target.put(table, columns, rows)
            reached, moved = rows[-1][0], moved + len(rows)
            progress(table, moved, there_are)

    def _move_files(self, target: Target, progress: Progress) -> None:
        files, moved = self._files(), 0
        progress(FILES, 0, len(files))
        for batch in _batches(files):
            self._heed_stop()
            target.put_files([_content(file) for file in batch])
            moved += len(batch)
            progress(FILES, moved, len(files))

    def _files(self) -> Sequence[Path]:
        return sorted(file for file in self.workspaces.glob("c-*/[!.]*") if file.is_file() and not file.is_symlink())

    def _heed_stop(self) -> None:
        if self.stop.is_set():
            raise SettingsError("The move was stopped. The same command goes on with it.")


def _refuse_living(source: Source, target: Target) -> None:
    for which, living in (("old", source.living()), ("new", target.living())):
        if living:
            alive = "a process works" if living == 1 else f"{living} processes work"
            raise SettingsError(
                f"{alive.capitalize()} on the {which} database. Stop `toolbridge run` and `toolbridge chat` first; one "
                f"that was killed counts for 15 s."
            )


def _verified(source: Source, target: Target, *, files: int) -> Mapping[str, int]:
    wanted = {table: source.count(table) for table in TABLES} | {FILES: files}
    found = {table: target.count(table) for table in wanted}
    wrong = [f"{table} ({found[table]:,} of {wanted[table]:,})" for table in wanted if found[table] != wanted[table]]
    if wrong:
        raise StoreError(
            f"Not everything was moved: {', '.join(wrong)}. Nothing is lost: the old database is as it was. Drop the "
            f"new schema and start again."
        )
    return found


def _batches(files: Sequence[Path]) -> Iterator[Sequence[Path]]:
    batch, size = list[Path](), 0
    for file in files:
        batch.append(file)
        size += file.stat().st_size
        if size >= _BATCH_BYTES or len(batch) == _BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _content(file: Path) -> SavedFile:
    return file.parent.name, file.name, file.read_bytes(), file.stat().st_mtime
