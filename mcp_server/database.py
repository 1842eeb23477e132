"""The files of conversations in a table of a PostgreSQL database: what one process saves, another reads."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

from psycopg.sql import SQL, Composed, Identifier

from mcp_server.connection import REACH_S, KeptConnection, Transaction
from mcp_server.workspace import (
    MAX_FILES,
    DeletedFile,
    FileEntry,
    FileList,
    FileText,
    SavedFile,
    decoded,
    encoded,
    folder_name,
    full,
    missing,
    plain_name,
)

DEFAULT_SCHEMA = "toolbridge"


class DatabaseWorkspace:
    """Every conversation's files in one table, which the bot's migrations make; satisfies `Workspace`."""

    def __init__(
        self,
        url: str,
        *,
        schema: str = DEFAULT_SCHEMA,
        password: Callable[[], str] | None = None,
        reach_s: float = REACH_S,
    ) -> None:
        """See `KeptConnection` for all but the schema, in which the table is."""
        self._connection = KeptConnection(url, password=password, reach_s=reach_s)
        self._table = Identifier(schema, "file")

    def adopt(self, conversation: str, former: str) -> None:
        """See `Workspace`."""
        new, old = folder_name(conversation), folder_name(former)

        def move(transaction: Transaction) -> None:
            for one in sorted((new, old)):
                _lock(transaction, one)
            transaction.execute(
                self._sql(
                    "UPDATE {table} SET workspace = %s WHERE workspace = %s"
                    " AND NOT EXISTS (SELECT 1 FROM {table} WHERE workspace = %s)"
                ),
                (new, old, new),
            )

        if self._rows("SELECT 1 FROM {table} WHERE workspace = %s LIMIT 1", old):
            self._connection.write(move)

    def save(self, conversation: str | None, filename: str, content: str) -> SavedFile:
        """See `Workspace`."""
        name, data, workspace = plain_name(filename), encoded(content), folder_name(conversation)

        def put(transaction: Transaction) -> bool:
            _lock(transaction, workspace)  # so the count holds
            counted = self._sql("SELECT count(*), count(*) FILTER (WHERE name = %s) FROM {table} WHERE workspace = %s")
            ((files, of_that_name),) = transaction.execute(counted, (name, workspace)).fetchall()
            if files >= MAX_FILES and not of_that_name:
                raise full()
            transaction.execute(
                self._sql(
                    "INSERT INTO {table} (workspace, name, body, modified_at)"
                    " VALUES (%s, %s, %s, extract(epoch FROM clock_timestamp()))"
                    " ON CONFLICT (workspace, name) DO UPDATE SET body = excluded.body,"
                    " modified_at = excluded.modified_at"
                ),
                (workspace, name, data),
            )
            return bool(of_that_name)

        return SavedFile(filename=name, size_bytes=len(data), overwritten=self._connection.write(put))

    def read(self, conversation: str | None, filename: str) -> FileText:
        """See `Workspace`."""
        name = plain_name(filename)
        rows = self._rows(
            "SELECT body FROM {table} WHERE workspace = %s AND name = %s", folder_name(conversation), name
        )
        if not rows:
            raise missing(name)
        ((data,),) = rows
        return FileText(filename=name, size_bytes=len(data), content=decoded(name, data))

    def list(self, conversation: str | None) -> FileList:
        """See `Workspace`."""
        rows = self._rows(
            'SELECT name, octet_length(body), modified_at FROM {table} WHERE workspace = %s ORDER BY name COLLATE "C"',
            folder_name(conversation),
        )
        return FileList(files=[_entry(*row) for row in rows])

    def delete(self, conversation: str | None, filename: str) -> DeletedFile:
        """See `Workspace`."""
        name, workspace = plain_name(filename), folder_name(conversation)

        def remove(transaction: Transaction) -> int:
            statement = self._sql("DELETE FROM {table} WHERE workspace = %s AND name = %s")
            return transaction.execute(statement, (workspace, name)).rowcount

        if not self._connection.write(remove):
            raise missing(name)
        return DeletedFile(filename=name)

    def _rows(self, statement: LiteralString, *values: str) -> Sequence[tuple[Any, ...]]:
        query = self._sql(statement)
        return self._connection.read(lambda transaction: transaction.execute(query, values).fetchall())

    def _sql(self, statement: LiteralString) -> Composed:
        return SQL(statement).format(table=self._table)


def _lock(transaction: Transaction, workspace: str) -> None:
    """Make others wait who save or move files there until the transaction ends."""
    transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"toolbridge/file/{workspace}",))


def _entry(name: str, size_bytes: int, modified_at: float) -> FileEntry:
    modified = datetime.fromtimestamp(modified_at, UTC).isoformat(timespec="seconds")
    return FileEntry(filename=name, size_bytes=size_bytes, modified_at=modified)
