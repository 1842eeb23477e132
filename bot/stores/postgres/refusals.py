"""Why no connection to PostgreSQL could be made, and what an operator can do.

libpq gives no code for a connection that failed, only words: its own, or the server's.
"""

from __future__ import annotations

from bot.domain.errors import BotError, SettingsError, StoreError, StoreUnreachableError

_NOT_TRIED = "connection is bad: "  # psycopg's words, before it tries to connect, for what libpq does not take
_OF_SOCKETS = "for connection option"  # libpq's words for a number that it reads late
# https://github.com/postgres/postgres/blob/master/src/backend/utils/init/postinit.c
_NO_ROOM = ("too many clients", "too many connections", "connection slots are reserved")
# https://github.com/postgres/postgres/blob/master/src/backend/tcop/backend_startup.c
_PASSING = ("starting up", "shutting down", "in recovery mode", "not yet accepting", "not accepting")
_OF_TLS = ("certificate", "does not support SSL")
_WAYS_IN = (
    ("password", "Correct its user or password, in {setting}, PGPASSWORD or ~/.pgpass."),
    ("permission denied for database", "Have its owner run GRANT CONNECT, CREATE ON DATABASE, as docs/scale.md shows."),
    ("pg_hba.conf", "Have pg_hba.conf of PostgreSQL let it in from here; where it says 'no encryption', use TLS."),
    ("does not match host name", "Name the server in {setting} by the name in its certificate."),
    ("certificate", "See whether sslrootcert in {setting} is the certificate that signed the server's."),
    ("does not support SSL", "Switch TLS on in PostgreSQL, or take sslmode out of {setting}."),
    ("does not exist", "Make it, as docs/scale.md shows, or correct {setting}."),
    ("", "Correct {setting}, or what PostgreSQL allows it."),
)


def unreachable(error: Exception, *, secrets: str = "", setting: str = "DATABASE_URL") -> BotError:
    """Return the sentence for a database that no connection can be made to, by the URL of that setting.

    It is a SettingsError where libpq takes no such URL, StoreUnreachableError where it may work later without a change,
    otherwise a StoreError.
    """
    translated = _sentence(str(error), _reason(error, secrets), setting)
    translated.__cause__ = error
    return translated


def _reason(error: Exception, secrets: str) -> str:
    # libpq's lines: where it failed and why, then hints; for several addresses, one line each behind a first one.
    said = [line.strip().removeprefix("- ") for line in str(error).splitlines() if line.strip()]
    telling = [line for words in ("FATAL:", "failed: ") for line in said if words in line]
    reason = [*telling, *reversed(said), type(error).__name__][0]
    for prefix in ("connection failed: ", _NOT_TRIED):
        reason = reason.removeprefix(prefix)
    return (reason.replace(secrets, "...") if secrets else reason).rstrip(".")


def _sentence(said: str, reason: str, setting: str) -> BotError:
    if _is_of_settings(said):
        return SettingsError(f"{setting} cannot be used ({reason}). Correct it.")
    if any(words in said for words in _NO_ROOM):
        return StoreUnreachableError(
            f"The database has no connection left ({reason}). Close others, raise max_connections, or lower "
            f"DATABASE_POOL_MAX; then try again."
        )
    if _is_answered(said):
        way_in = next(cure for words, cure in _WAYS_IN if words in said)
        return StoreError(f"The database does not let the bot in ({reason}). {way_in.format(setting=setting)}")
    return StoreUnreachableError(
        f"The database cannot be reached ({reason}). Start PostgreSQL, or correct {setting}; then try again."
    )


def _is_of_settings(said: str) -> bool:
    return _OF_SOCKETS in said or (said.startswith(_NOT_TRIED) and "connection to server" not in said)


def _is_answered(said: str) -> bool:
    """Return whether a server is there that does not let the role in, which waiting does not change."""
    if any(words in said for words in (*_OF_TLS, "no password supplied")):
        return True
    return "FATAL:" in said and not any(words in said for words in _PASSING)
