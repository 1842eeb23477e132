"""What the doctor says of a PostgreSQL server: rights, encryption, connections, durability; nothing of SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bot.cli.checks import Check
from bot.database import postgres_options
from bot.settings import Settings
from bot.stores.factory import signed_in
from bot.text.cleaning import clean
from bot.text.database_urls import is_postgres

if TYPE_CHECKING:
    from bot.stores.postgres.inspection import Inspection

PART = "database"


async def check_server(settings: Settings) -> Sequence[Check]:
    """Return what should be known of the server.

    Raises:
        SettingsError: A setting is wrong, or a package is missing.
        StoreError: The server cannot be reached; that is known within seconds.
    """
    if not is_postgres(settings.store_url):
        return []
    with signed_in(settings.store_url, postgres_options(settings), settings.database_auth) as (url, options):
        try:
            from bot.stores.postgres.inspection import inspect
        except ImportError:  # which opening the store says
            return []
        found = await asyncio.to_thread(inspect, url, options)
    return [_check(found, settings), *_ways(found)]


def _check(found: Inspection, settings: Settings) -> Check:
    if found.grants:
        detail = f"the role {clean(found.role)} lacks rights."
        cure = f"As the owner of the database, run: {' '.join(found.grants)}"
        return Check(part=PART, state="failed", detail=detail, cure=cure)
    detail = f"PostgreSQL {found.version}, {_schema(found)}, {_connections(found, settings)}, {_way(found)}"
    advice = " ".join(_advice(found, settings))
    return Check(part=PART, state="ok", detail=clean(f"{detail}." if advice else detail), cure=advice)


def _ways(found: Inspection) -> Iterator[Check]:
    """Yield a failure for each URL that leads where a process cannot work, or hear the others."""
    for setting in found.poolers:
        detail = f"{setting} leads to a pooler, such as PgBouncer."
        cure = "Set DATABASE_LISTEN_URL to the address of PostgreSQL itself."
        yield Check(part=PART, state="failed", detail=detail, cure=cure)
    if not found.hears:
        detail = "what is sent over DATABASE_URL does not arrive over DATABASE_LISTEN_URL."
        yield Check(part=PART, state="failed", detail=detail, cure="Have both lead to the same database.")


def _schema(found: Inspection) -> str:
    if found.schema == found.newest_schema:
        return f"schema {found.schema}"
    if found.schema > found.newest_schema:
        return f"schema {found.schema} of a newer version"
    of = f"schema {found.schema}, which" if found.schema else "no schema yet, which"
    return f"{of} this version brings to {found.newest_schema}"


def _connections(found: Inspection, settings: Settings) -> str:
    each = settings.database_pool_max
    return f"{found.open_connections} of {found.connections} connections open, up to {each} for a process"


def _way(found: Inspection) -> str:
    return "encrypted" if found.is_encrypted else "not encrypted"


def _advice(found: Inspection, settings: Settings) -> Iterator[str]:
    if not found.must_be_encrypted:
        yield (
            f"The way to {found.host} need not be encrypted: add sslmode=require to DATABASE_URL, or "
            f"sslmode=verify-full with sslrootcert."
        )
    if found.connections < 2 * settings.database_pool_max:
        yield "Two processes would not fit: raise max_connections, or lower DATABASE_POOL_MAX."
    elif found.connections - found.open_connections < settings.database_pool_max:
        yield "One more process would not fit: raise max_connections, lower DATABASE_POOL_MAX, or use PgBouncer."
    if found.commits_are_lowered:
        yield f"synchronous_commit is {found.synchronous_commit}: the bot sets it to on for its own commits."
    if not found.flushes:
        yield "fsync is off: a crash of the machine may damage the database. Set it to on."
