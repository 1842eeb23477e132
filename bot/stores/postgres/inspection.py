"""What an operator should know of a PostgreSQL server and of the bot's rights on it; nothing is changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from bot.stores.postgres.database import Database, leads_to_pooler
from bot.stores.postgres.errors import store_error
from bot.stores.postgres.migrate import migrations
from bot.stores.postgres.options import PostgresOptions
from bot.text.database_urls import is_loopback

# Below `require`, a connection may be made in the clear:
# https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
_STRICT = ("require", "verify-ca", "verify-full")
_CHANNEL, _HEARD_WITHIN_S = "toolbridge_doctor", 5.0
_LOWER = ("off", "local", "remote_write")  # a crash may lose what was committed
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
# Of the audit it is enough to read and append; arguments are purged, which needs UPDATE of that column.
_FEWER = {"audit": ("SELECT", "INSERT"), "schema_version": ("SELECT",), "moving": ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found."""

    version: str  # of the server
    role: str
    grants: tuple[str, ...]  # statements that give the role what it lacks
    schema: int  # the schema's version; 0 where there is none yet
    newest_schema: int  # that this code knows
    connections: int  # that roles such as this one may have open in all
    open_connections: int
    host: str
    is_encrypted: bool
    must_be_encrypted: bool  # by sslmode, or because it never leaves the machine
    synchronous_commit: str
    flushes: bool  # what is committed is on the disk
    poolers: tuple[str, ...]  # the settings that lead to a pooler and must not
    hears: bool  # what is sent over the one URL arrives over the other

    @property
    def commits_are_lowered(self) -> bool:
        """Whether commits of roles such as this one may be lost in a crash, unless they ask for more."""
        return self.synchronous_commit in _LOWER


def inspect(url: str, options: PostgresOptions) -> Inspection:
    """Look at the server, by one connection. Blocks. Raises StoreError where it cannot be reached."""
    database = Database(url, options)
    try:
        with database.connect() as connection:
            poolers, hears = _listening(database, connection)
            return _Inspector(connection, database.schema).look(poolers=poolers, hears=hears)
    except psycopg.Error as error:
        raise store_error(error) from error


def _listening(database: Database, connection: psycopg.Connection) -> tuple[tuple[str, ...], bool]:
    """Return which settings lead to a pooler and must not, and whether a process hears what others tell."""
    if not database.is_pooled:
        return ("DATABASE_URL",) if leads_to_pooler(connection) else (), True
    with database.connect(listens=True) as hearing:
        if leads_to_pooler(hearing):
            return ("DATABASE_LISTEN_URL",), True
        hearing.execute(f'LISTEN "{_CHANNEL}"')
        connection.execute("SELECT pg_notify(%s, '')", (_CHANNEL,))
        return (), any(hearing.notifies(timeout=_HEARD_WITHIN_S, stop_after=1))


class _Inspector:
    def __init__(self, connection: psycopg.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    def look(self, *, poolers: tuple[str, ...], hears: bool) -> Inspection:
        given = {option.keyword: option.val or b"" for option in self._connection.pgconn.info}
        host = self._connection.info.host
        (role,) = self._row("SELECT current_user")
        grants, newest = tuple(self._grants(role)), migrations()[-1].number
        version = 0 if grants else self._version()
        if 0 < version < newest:
            grants = tuple(f'GRANT "{owner}" TO "{role}";' for (owner,) in self._owners())
        return Inspection(
            version=self._setting("server_version"),
            role=role,
            grants=grants,
            schema=version,
            newest_schema=newest,
            connections=self._connections(),
            open_connections=self._row("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")[
                0
            ],
            host=host,
            is_encrypted=bool(self._connection.pgconn.ssl_in_use),
            must_be_encrypted=is_loopback(host) or given.get(b"sslmode", b"").decode() in _STRICT,
            synchronous_commit=self._setting("synchronous_commit"),
            flushes=self._setting("fsync") == "on",
            poolers=poolers,
            hears=hears,
        )

    def _version(self) -> int:
        there_is = "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename = 'schema_version'"
        if not self._row(there_is, self._schema)[0]:
            return 0
        statement = f'SELECT coalesce(max(version), 0) FROM "{self._schema}".schema_version'  # noqa: S608  (its name is checked)
        return self._connection.execute(statement.encode()).fetchall()[0][0]

    def _connections(self) -> int:
        reserved = sum(
            int(self._row("SELECT coalesce(current_setting(%s, true), '0')", name)[0])
            for name in ("superuser_reserved_connections", "reserved_connections")
        )
        limits = self._row(
            "SELECT rolconnlimit, datconnlimit FROM pg_roles, pg_database"
            " WHERE rolname = current_user AND datname = current_database()"
        )
        return min([int(self._setting("max_connections")) - reserved, *(limit for limit in limits if limit >= 0)])

    # --- rights ------------------------------------------------------------------------------------------------

    def _grants(self, role: str) -> Iterator[str]:
        to, schema = f'TO "{role}"', f'"{self._schema}"'
        found = self._rows(
            "SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE')"
            " FROM pg_namespace WHERE nspname = %s",
            self._schema,
        )
        if not found:
            database, may_create = self._row(
                "SELECT current_database(), has_database_privilege(current_database(), 'CREATE')"
            )
            if not may_create:
                yield f'GRANT CREATE ON DATABASE "{database}" {to};'
            return
        if not found[0][0]:
            yield f"GRANT USAGE, CREATE ON SCHEMA {schema} {to};"
        for rights, tables in self._missing().items():
            named = ", ".join(f'{schema}."{table}"' for table in tables)
            yield f"GRANT {rights} ON {named} {to};"

    def _missing(self) -> dict[str, list[str]]:
        """Return tables by the rights that are missing on them."""
        missing: dict[str, list[str]] = defaultdict(list)
        for table, *has in self._rows(
            "SELECT relname, has_table_privilege(pg_class.oid, 'SELECT'), has_table_privilege(pg_class.oid, 'INSERT'),"
            " has_table_privilege(pg_class.oid, 'UPDATE'), has_table_privilege(pg_class.oid, 'DELETE')"
            " FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE nspname = %s AND relkind IN ('r', 'p') ORDER BY relname",
            self._schema,
        ):
            lacking = [right for right, given in zip(_RIGHTS, has, strict=True) if not given]
            if wanted := [right for right in lacking if right in _FEWER.get(table, _RIGHTS)]:
                missing[", ".join(wanted)].append(table)
        return missing

    def _owners(self) -> Sequence[tuple[Any, ...]]:
        """Return whose tables the role could not change, where its schema is to be brought up to date."""
        return self._rows(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace ON pg_namespace.oid ="
            " relnamespace WHERE nspname = %s AND relkind IN ('r', 'p') AND NOT pg_has_role(relowner, 'USAGE')",
            self._schema,
        )

    # --- one statement -----------------------------------------------------------------------------------------

    def _setting(self, name: str) -> str:
        return self._row("SELECT current_setting(%s)", name)[0]

    def _row(self, statement: LiteralString, *parameters: object) -> tuple[Any, ...]:
        return self._rows(statement, *parameters)[0]

    def _rows(self, statement: LiteralString, *parameters: object) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(statement, parameters or None).fetchall()
