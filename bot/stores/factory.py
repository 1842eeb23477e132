"""Opens the store that a database URL names."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from bot.domain.errors import SettingsError
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite


def open_store(url: str) -> AbstractAsyncContextManager[Store]:
    """Open the database at `sqlite:///path/to/file.db`, making it and its folder where they are missing.

    The path follows the third slash: an absolute one has four in all.

    Raises:
        SettingsError: This version has no engine for such a URL.
        StoreError: The database cannot be used (raised when the context is entered).
    """
    if (path := _sqlite_path(url)) is not None:
        return open_sqlite(path)
    match url.partition("://")[0]:
        case "postgres" | "postgresql":
            raise SettingsError(
                "DATABASE_URL names a PostgreSQL database, which this version cannot use. "
                "Set it to sqlite:///path/to/file.db, or leave it unset."
            )
        case _:
            raise SettingsError("DATABASE_URL must look like sqlite:///path/to/file.db. Correct it or leave it unset.")


def describe_store(url: str) -> str:
    """Return where the data is, for an operator: never more of the URL than its scheme where it may hold a password."""
    path = _sqlite_path(url)
    if path is not None:
        return str(path)
    scheme, mark, _ = url.partition("://")
    return f"{scheme}://..." if mark and scheme.isalnum() else "..."


def _sqlite_path(url: str) -> Path | None:
    scheme, _, rest = url.partition("://")
    return Path(rest[1:]).expanduser() if scheme == "sqlite" and rest.startswith("/") and rest[1:] else None
