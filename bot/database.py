"""The database that the settings name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bot.domain.errors import SettingsError
from bot.keeping.replacing import using
from bot.ports.store import Store
from bot.settings import Settings
from bot.stores.factory import describe_store, open_store
from bot.stores.postgres.options import PostgresOptions
from bot.text.database_urls import is_postgres

_MAX_NAME_CHARS = 63  # https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-APPLICATION-NAME


def open_database(settings: Settings) -> AbstractAsyncContextManager[Store]:
    """Open it; see `bot.stores.factory.open_store`. While it is open, no restore replaces files of the home.

    Raises:
        SettingsError: No engine, or a package that it needs is missing, two settings contradict each other, or a
            restore is under way (raised when the context is entered).
        StoreError: The database cannot be used (raised when the context is entered).
    """
    return _in_use(settings, open_within_restore(settings))


@asynccontextmanager
async def _in_use(settings: Settings, opening: AbstractAsyncContextManager[Store]) -> AsyncGenerator[Store]:
    with using(settings.toolbridge_home):
        async with opening as store:
            yield store


def open_within_restore(settings: Settings) -> AbstractAsyncContextManager[Store]:
    """Open it as `open_database` does, for the restore that replaces files of the home itself. Raises the same."""
    if settings.database_auth == "entra" and not is_postgres(settings.store_url):
        raise SettingsError(
            "DATABASE_AUTH=entra is for PostgreSQL, and DATABASE_URL names none. Set DATABASE_URL, or unset "
            "DATABASE_AUTH."
        )
    return open_store(settings.store_url, postgres_options(settings), auth=settings.database_auth)


def postgres_options(settings: Settings) -> PostgresOptions:
    """Return what the settings tell PostgreSQL's engine."""
    return PostgresOptions(
        schema=settings.database_schema,
        pool_max=settings.database_pool_max,
        listen_url=settings.database_listen_url or "",
        name=f"toolbridge {settings.process}"[:_MAX_NAME_CHARS],
    )


def describe_database(settings: Settings) -> str:
    """Return where the data is, for an operator, without any secret."""
    return describe_store(settings.store_url, schema=settings.database_schema)
