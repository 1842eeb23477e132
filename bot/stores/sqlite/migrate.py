"""Brings the schema of an SQLite file up to date; `user_version` says which it has.

A migration says in a line `-- usable from: NNNN` which schema a version has to know to use the file anyway: where
the one before is enough, that version and this one can run side by side while the bot is upgraded.
"""

from __future__ import annotations

import re
import sqlite3
from importlib import resources

from bot.domain.errors import StoreError

USABLE_FROM = "store/usable_from"  # the note with the number that the file's newest migration says
_USABLE_FROM = re.compile(r"^-- usable from: (\d+)$", re.MULTILINE)


def migrate(connection: sqlite3.Connection) -> None:
    """Run the migrations that the file has not seen, all or none.

    Raises:
        StoreError: A newer version wrote the file, and this one cannot use it.
    """
    scripts = sorted(
        (int(entry.name.partition("_")[0]), entry.read_text(encoding="utf-8"))
        for entry in (resources.files("bot.stores") / "migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    newest = scripts[-1][0]
    connection.execute("BEGIN IMMEDIATE")  # two processes may start at once: the second finds it done
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > newest and not _is_usable(connection, newest):
            raise StoreError(
                f"The database was written by a newer version of Toolbridge (schema {version}, this one knows "
                f"{newest}). Upgrade Toolbridge, or set TOOLBRIDGE_HOME to another folder."
            )
        for number, script in scripts:
            if number > version:
                _run_script(connection, script)
                connection.execute(f"PRAGMA user_version = {number}")
                _note_usable_from(connection, script)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _note_usable_from(connection: sqlite3.Connection, script: str) -> None:
    if found := _USABLE_FROM.search(script):
        connection.execute("INSERT OR REPLACE INTO note (name, text) VALUES (?, ?)", (USABLE_FROM, found[1]))


def _is_usable(connection: sqlite3.Connection, known: int) -> bool:
    row = connection.execute("SELECT text FROM note WHERE name = ?", (USABLE_FROM,)).fetchone()
    return row is not None and int(row[0]) <= known


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    # executescript would commit the transaction that this is part of
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
