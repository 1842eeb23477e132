"""The store on PostgreSQL, for many processes: one transaction for each unit, a few connections, LISTEN and NOTIFY."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import psycopg

from bot.stores.leases import LeaseClock
from bot.stores.postgres.clock import DatabaseClock
from bot.stores.postgres.database import Database
from bot.stores.postgres.engine import PostgresEngine
from bot.stores.postgres.errors import store_error
from bot.stores.postgres.listening import Listener
from bot.stores.postgres.migrate import migrate, refuse_half_moved
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.session import Session
from bot.stores.postgres.transactions import PATIENCE_S, Transactions
from bot.stores.store import EngineStore


@asynccontextmanager
async def open_postgres(
    url: str,
    options: PostgresOptions | None = None,
    *,
    now: Callable[[], float] | None = None,
    steady: Callable[[], float] | None = None,
    patience_s: float = PATIENCE_S,
) -> AsyncGenerator[EngineStore]:
    """Open the database, and bring its schema up to date, making it where it is missing.

    `now` gives seconds since the epoch, by default the database's clock; `steady` seconds of a clock that is never set.
    `patience_s` is how long a unit is tried again while the database is away.

    Raises:
        SettingsError: The URL or an option is malformed.
        StoreError: The database cannot be reached or used; see `migrate`.
    """
    database = Database(url, options or PostgresOptions())
    clock = DatabaseClock()
    await asyncio.to_thread(_migrate, database, clock)
    channel, source = database.schema, uuid.uuid4().hex
    engine = PostgresEngine(
        Transactions(channel, source, patience_s),
        Listener(database, channel, source),
        lambda: Session(database, clock),
        connections=database.options.pool_max,
    )
    try:
        leases = LeaseClock(now or clock, steady or (time.monotonic if now is None else now))
        yield EngineStore(engine, now or clock, leases=leases)
    finally:
        await engine.close()


def _migrate(database: Database, clock: DatabaseClock) -> None:
    session = Session(database, clock)
    try:
        migrate(session, database.schema)
        refuse_half_moved(session)
    except psycopg.Error as error:
        raise store_error(error) from error
    finally:
        session.close()
