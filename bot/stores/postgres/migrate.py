"""Brings the schema of a PostgreSQL database up to date.

Processes of two versions may run at once while a deployment is rolled out: a migration only adds what the version
before does not need to know, and says in its first line from which schema on code may use the database
(`-- usable from: NNNN`; without it, from the migration's own).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import psycopg

from bot.domain.errors import StoreError
from bot.stores.db import first
from bot.stores.postgres.db import PgDb
from bot.stores.postgres.session import Session

_USABLE = re.compile(r"-- usable from: (\d+)")
_DENIED = "42501"  # insufficient_privilege
_UNSEEN = "42P01"  # undefined_table: of a schema that the role may not use, it sees no table
_FOREIGN = ("42P07", "42703", "42804")  # duplicate_table, undefined_column, datatype_mismatch


@dataclass(frozen=True, slots=True)
class Migration:
    """A script, its number, and the oldest schema that code must know to run next to it."""

    number: int
    usable_from: int
    script: str


def migrations() -> Sequence[Migration]:
    """Return the migrations in order."""
    folder = resources.files("bot.stores.postgres") / "migrations"
    scripts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name[-4:] == ".sql"}
    return sorted((_migration(name, script) for name, script in scripts.items()), key=lambda one: one.number)


def _migration(name: str, script: str) -> Migration:
    number = int(name.partition("_")[0])
    usable = _USABLE.match(script)
    return Migration(number, int(usable[1]) if usable else number, script)


def migrate(session: Session, schema: str, known: Sequence[Migration] | None = None) -> None:
    """Run the migrations that the schema has not seen, all or none, one process at a time.

    Raises:
        StoreError: The schema needs a newer version of Toolbridge, or the role lacks a right.
        psycopg.Error: The database failed.
    """
    known = migrations() if known is None else known
    session.begin()
    try:
        db = session.open()
        if _version(db, schema) < known[-1].number:
            # Transactions of a schema's migration follow each other; a second one finds it done.
            db.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"migrate/{schema}",))
            _run_new(session, db, schema, known)
        session.commit()
    except psycopg.Error as error:
        session.roll_back()
        if error.sqlstate in (_DENIED, _UNSEEN):
            raise _denied(session, error, schema) from error
        if error.sqlstate in _FOREIGN:
            raise StoreError(
                f"The schema {schema} has tables that are not the bot's ({error.diag.message_primary}). Set "
                f"DATABASE_SCHEMA to one of its own."
            ) from error
        raise
    except BaseException:
        session.roll_back()
        raise


def refuse_half_moved(session: Session) -> None:
    """Raise StoreError where a move into the database has not ended: see `bot/stores/postgres/target.py`."""
    if session.open().execute("SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'moving'"):
        raise StoreError(
            "A move to this database has not ended. Run the same `toolbridge migrate --to ...` again, which goes on "
            "with it, or drop the schema."
        )


def _run_new(session: Session, db: PgDb, schema: str, known: Sequence[Migration]) -> None:
    if not db.execute("SELECT 1 FROM pg_namespace WHERE nspname = ?", (schema,)):
        db.execute(f'CREATE SCHEMA "{schema}"')
    db.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, usable_from BIGINT NOT NULL,"
        " at TIMESTAMPTZ NOT NULL DEFAULT now())"
    )
    version = _version(db, schema)
    for migration in known:
        if migration.number > version:
            session.script(migration.script)
            db.execute(
                "INSERT INTO schema_version (version, usable_from) VALUES (?, ?)",
                (migration.number, migration.usable_from),
            )


def _version(db: PgDb, schema: str) -> int:
    """Return the schema's version, 0 where there is none. Raises StoreError for one that this code must not use."""
    if not db.execute("SELECT 1 FROM pg_tables WHERE schemaname = ? AND tablename = 'schema_version'", (schema,)):
        return 0
    newest = first(db.execute("SELECT max(version) AS version, max(usable_from) AS usable_from FROM schema_version"))
    if newest is None or newest["version"] is None:
        return 0
    last = migrations()[-1].number
    if newest["usable_from"] > last:
        raise StoreError(
            f"The database was changed by a newer version of Toolbridge (schema {newest['version']}, this one knows "
            f"{last}). Upgrade Toolbridge, or set DATABASE_SCHEMA to another schema."
        )
    return newest["version"]


def _denied(session: Session, error: psycopg.Error, schema: str) -> StoreError:
    said = error.diag.message_primary or "permission denied"
    (at,) = session.open().execute("SELECT current_database() AS database, current_user AS role")
    of_schema = "schema" in said or error.sqlstate == _UNSEEN
    right = f'USAGE, CREATE ON SCHEMA "{schema}"' if of_schema else f'CREATE ON DATABASE "{at["database"]}"'
    return StoreError(
        f"The database's role may not make or use its tables ({said}). As the owner of the database, run: "
        f'GRANT {right} TO "{at["role"]}"; `toolbridge doctor` names every right that it lacks.'
    )
