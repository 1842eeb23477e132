"""Opens the store that a database URL names."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bot.domain.errors import SettingsError
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from bot.text.database_urls import is_postgres, read_database_url

if TYPE_CHECKING:
    from bot.stores.postgres.options import PostgresOptions

_POSTGRES = ("postgres", "postgresql")


def open_store(url: str, postgres: PostgresOptions | None = None) -> AbstractAsyncContextManager[Store]:
    """Open the database at `sqlite:///path/to/file.db`, making it and its folder where they are missing, or the one at
    `postgresql://...`, in any form that libpq takes.

    The path of an SQLite file follows the third slash: an absolute one has four in all.

    Raises:
        SettingsError: There is no engine for such a URL, or it is not installed.
        StoreError: The database cannot be used (raised when the context is entered).
    """
    if (path := _sqlite_path(url)) is not None:
        return open_sqlite(path)
    if url.partition("://")[0] in _POSTGRES:
        return _open_postgres(url, postgres)
    raise SettingsError(
        "DATABASE_URL must look like sqlite:///path/to/file.db or postgresql://user@host:5432/database. "
        "Correct it or leave it unset."
    )


def _open_postgres(url: str, options: PostgresOptions | None) -> AbstractAsyncContextManager[Store]:
    try:
        from bot.stores.postgres.store import open_postgres
    except ImportError as error:  # psycopg, or the libpq that it needs
        raise SettingsError(
            "DATABASE_URL names a PostgreSQL database, and its driver is not installed. Run: pip install '.[postgres]'"
        ) from error
    return open_postgres(url, options)


def describe_store(url: str, *, schema: str = "") -> str:
    """Return where the data is, for an operator: nothing of the URL that may be a password.

    `schema` is that of PostgreSQL's tables.
    """
    path = _sqlite_path(url)
    if path is not None:
        return str(path)
    if not is_postgres(url):
        return f"{url.partition('://')[0]}://..."
    return f"{read_database_url(url).label} (schema {schema})" if schema else read_database_url(url).label


def _sqlite_path(url: str) -> Path | None:
    scheme, _, rest = url.partition("://")
    return Path(rest[1:]).expanduser() if scheme == "sqlite" and rest.startswith("/") and rest[1:] else None
