"""Opens the store that a database URL names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Literal

from bot.domain.errors import SettingsError
from bot.ports.store import Store
from bot.stores.postgres.options import PostgresOptions
from bot.stores.sqlite.store import open_sqlite
from bot.text.database_urls import is_postgres, read_database_url, sqlite_path

Auth = Literal["password", "entra"]


def open_store(
    url: str, options: PostgresOptions | None = None, *, auth: Auth = "password"
) -> AbstractAsyncContextManager[Store]:
    """Open the database at `sqlite:///path/to/file.db`, making it and its folder where they are missing, or at
    `postgresql://user@host:5432/database`, making its schema there.

    The path follows the third slash: an absolute one has four in all. `options` and `auth` are for PostgreSQL.

    Raises:
        SettingsError: There is no engine for such a URL.
        StoreError: The database cannot be used (raised when the context is entered, as is a missing package).
    """
    if (path := sqlite_path(url)) is not None:
        return open_sqlite(path)
    if is_postgres(url):
        return _open_postgres(url, options or PostgresOptions(), auth)
    raise SettingsError(
        "DATABASE_URL must look like sqlite:///path/to/file.db or postgresql://user@host:5432/database. Correct it or "
        "leave it unset."
    )


@asynccontextmanager
async def _open_postgres(url: str, options: PostgresOptions, auth: Auth) -> AsyncGenerator[Store]:
    try:
        from bot.stores.postgres.store import open_postgres
    except ImportError:
        raise SettingsError(
            "DATABASE_URL names a PostgreSQL database, which needs another package. Run "
            "pip install 'toolbridge[postgres]', or unset DATABASE_URL."
        ) from None
    with signed_in(url, options, auth) as (with_tls, with_password):
        async with open_postgres(with_tls, with_password) as store:
            yield store


@contextmanager
def signed_in(url: str, options: PostgresOptions, auth: Auth) -> Generator[tuple[str, PostgresOptions]]:
    """Yield the URL and the options with which connections are signed in as `auth` says; a token goes out encrypted.

    Raises:
        SettingsError: The URL is malformed or has a password where tokens are wanted, or a package is missing.
    """
    try:
        read = read_database_url(url)
    except ValueError as error:
        raise SettingsError(f"The URL of the database is not valid: {error}.") from None
    if auth == "password":
        yield url, options
        return
    if read.password:
        raise SettingsError("DATABASE_AUTH=entra takes tokens, and DATABASE_URL has a password. Remove one of them.")
    from bot.stores.postgres.credentials import entra_passwords

    if not read.is_local and "sslmode" not in read.parameters:
        url = f"{url}{'&' if '?' in url else '?'}sslmode=require"
    with entra_passwords(read.hosts[0][0] if read.hosts else "") as password:
        yield url, replace(options, password=password)


def describe_store(url: str, *, schema: str = "") -> str:
    """Return where the data is, for an operator: nothing of the URL that may be a password.

    `schema` is that of PostgreSQL's tables.
    """
    path = sqlite_path(url)
    if path is not None:
        return str(path)
    if not is_postgres(url):
        return "no database that is known here"
    return f"{read_database_url(url).label} (schema {schema})" if schema else read_database_url(url).label
