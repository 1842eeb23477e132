"""A PostgreSQL database that is filled from another database.

The table `moving` holds what is moved (the mark of the source) and how far each table has got. It goes in the commit
that ends the move: as long as it is there, no process may work on the database.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from bot.domain.errors import SettingsError
from bot.stores.postgres.clock import DatabaseClock
from bot.stores.postgres.errors import store_error
from bot.stores.postgres.migrate import migrate
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.session import Database, Session

MOVING = "moving"
_SOURCE = ""  # the name under which `moving` holds the source's mark
_OWN_NOTES = "store/%"
_MOVED = "store/moved"  # the note with the mark of what was moved here
_MOVED_BEFORE = (
    "Everything was moved to this database before. Set DATABASE_URL to it for every process, with the same "
    "TOOLBRIDGE_SECRET_KEY, and start them."
)
_WITH_IDS = (
    "SELECT table_name FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES'"
)

Row = tuple[Any, ...]
SavedFile = tuple[str, str, bytes, float]  # workspace, name, content, when it was written


class Target:
    """The tables of the database, by one connection."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def living(self) -> int:
        """Return how many processes work on the database."""
        return self._one("SELECT count(*) FROM worker WHERE expires_at > extract(epoch FROM clock_timestamp())")

    def begin(self, mark: str, tables: Sequence[str]) -> None:
        """Begin to move what has this mark, or go on with it.

        Raises:
            SettingsError: The database has something else.
        """
        if not self._one(
            "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = %s", MOVING
        ):
            if filled := [table for table in tables if self.count(table)]:
                is_same = self._one("SELECT count(*) FROM note WHERE name = %s AND text = %s", _MOVED, mark)
                raise SettingsError(_MOVED_BEFORE if is_same else _not_empty(filled))
            with self._connection.transaction():
                self._run("CREATE TABLE moving (name TEXT PRIMARY KEY, mark TEXT NOT NULL, reached BIGINT NOT NULL)")
                self._run("INSERT INTO moving VALUES (%s, %s, 0)", _SOURCE, mark)
        elif self._connection.execute("SELECT mark FROM moving WHERE name = %s", (_SOURCE,)).fetchone() != (mark,):
            raise SettingsError(
                "The database has part of another database, or the old one has been used since that was moved. Drop "
                "the schema (DROP SCHEMA ... CASCADE), or name another one in DATABASE_SCHEMA, and start again."
            )

    def reached(self, table: str) -> int:
        """Return the number of the row up to which the table has been moved."""
        row = self._connection.execute("SELECT reached FROM moving WHERE name = %s", (table,)).fetchone()
        return row[0] if row else 0

    def put(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows, each with its number in the source in front, and note how far this got."""
        into = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), SQL(", ").join(map(Identifier, columns)))
        with self._connection.transaction():
            with self._connection.cursor().copy(into) as copy:
                for _, *values in rows:
                    copy.write_row([_storable(value) for value in values])
            self._run(
                "INSERT INTO moving VALUES (%s, '', %s) ON CONFLICT (name) DO UPDATE SET reached = excluded.reached",
                table,
                rows[-1][0],
            )

    def put_files(self, files: Sequence[SavedFile]) -> None:
        """Add files, but for those that are there."""
        with self._connection.transaction():
            self._connection.cursor().executemany(
                "INSERT INTO file (workspace, name, body, modified_at) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                files,
            )

    def count(self, table: str) -> int:
        """Return how many rows the table has, without the engine's own notes."""
        wanted = SQL("name NOT LIKE {}").format(_OWN_NOTES) if table == "note" else SQL("true")
        return self._one(SQL("SELECT count(*) FROM {} WHERE {}").format(Identifier(table), wanted))

    def end(self, notes: Mapping[str, str]) -> None:
        """Have new rows get higher ids than those that were moved, add the notes, and let processes work."""
        with self._connection.transaction():
            self._run("SET LOCAL synchronous_commit = on")
            for (table,) in self._connection.execute(_WITH_IDS).fetchall():
                highest = SQL(
                    "SELECT setval(pg_get_serial_sequence(quote_ident({name}), 'id'), max(id)) FROM {table}"
                    " HAVING max(id) > 0"
                )
                self._connection.execute(highest.format(name=table, table=Identifier(table)))
            self._connection.cursor().executemany(
                "INSERT INTO note (name, text) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING", list(notes.items())
            )
            self._run(
                "INSERT INTO note (name, text) SELECT %s, mark FROM moving WHERE name = %s"
                " ON CONFLICT (name) DO UPDATE SET text = excluded.text",
                _MOVED,
                _SOURCE,
            )
            self._run("DROP TABLE moving")

    def _run(self, statement: LiteralString, *parameters: object) -> None:
        self._connection.execute(statement, parameters or None)

    def _one(self, statement: LiteralString | Composed, *parameters: object) -> int:
        row = self._connection.execute(statement, parameters or None).fetchone()
        assert row is not None
        return row[0]


def _storable(value: object) -> object:
    # No text of PostgreSQL holds a NUL: https://www.postgresql.org/docs/current/datatype-character.html
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _not_empty(tables: Sequence[str]) -> str:
    return (
        f"The database is not empty: it has rows in {', '.join(tables)}. Name another database, or another schema in "
        f"DATABASE_SCHEMA; or drop the schema (DROP SCHEMA ... CASCADE) if nobody needs what it has."
    )


@contextmanager
def open_target(url: str, options: PostgresOptions) -> Generator[Target]:
    """Open the database, and bring its schema up to date; only one may fill it at a time.

    Raises:
        SettingsError: Another process fills it.
        StoreError: It cannot be reached or used.
    """
    database = Database(url, options)
    session = Session(database, DatabaseClock())
    try:
        migrate(session, database.schema)
        with database.connect() as connection:
            connection.execute(database.settings(is_local=False).encode())
            # Each batch is safe without its flush: what follows it is not kept either then, and `end` flushes.
            connection.execute("SET synchronous_commit = off; SET statement_timeout = 0")
            locked = connection.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"moving/{database.schema}",)
            ).fetchone()
            if locked != (True,):
                raise SettingsError("Another `toolbridge migrate` fills the database. Wait for its end.")
            yield Target(connection)
    except psycopg.Error as error:
        raise store_error(error) from error
    finally:
        session.close()
