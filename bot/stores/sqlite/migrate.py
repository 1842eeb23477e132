"""Brings the schema of an SQLite file up to date; `user_version` says which it has."""

from __future__ import annotations

import sqlite3
from importlib import resources

from bot.domain.errors import StoreError


def migrate(connection: sqlite3.Connection) -> None:
    """Run the migrations that the file has not seen, all or none. Raises StoreError for a newer version's file."""
    scripts = sorted(
        (int(entry.name.partition("_")[0]), entry.read_text(encoding="utf-8"))
        for entry in (resources.files("bot.stores") / "migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    newest = scripts[-1][0]
    connection.execute("BEGIN IMMEDIATE")  # two processes may start at once: the second finds it done
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > newest:
            raise StoreError(
                f"The database was written by a newer version of Toolbridge (schema {version}, this one knows "
                f"{newest}). Upgrade Toolbridge, or set TOOLBRIDGE_HOME to another folder."
            )
        for number, script in scripts:
            if number > version:
                _run_script(connection, script)
                connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    # executescript would commit the transaction that this is part of
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
