"""What can be set for PostgreSQL's engine besides the URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MIN_CONNECTIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Settings of the engine."""

    schema: str = "toolbridge"
    pool_max: int = 6  # connections of this process in all, `MIN_CONNECTIONS` at least
    # Goes to PostgreSQL itself where the URL goes to PgBouncer in transaction mode, which cannot listen.
    listen_url: str = ""
    # Gives the password for each new connection, in place of the URL's: tokens run out.
    password: Callable[[], str] | None = None
    setting: str = "DATABASE_URL"  # where an operator gave the URL
    name: str = "toolbridge"  # what PostgreSQL lists the connections under
