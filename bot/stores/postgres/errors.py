"""What PostgreSQL's refusals mean: what may be tried again, and what an operator can do."""

from __future__ import annotations

import psycopg

from bot.domain.errors import StoreError, StoreUnreachableError

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_LOST = {
    "25006",  # read_only_sql_transaction: this server is no longer the primary one
    "25P03",  # idle_in_transaction_session_timeout: this process stood still
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P04",  # database_dropped
    "57P05",  # idle_session_timeout
    "53300",  # too_many_connections
}
_CROSSED = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available: the lock timeout
}
# A statement that this connection prepared is not there, or one of another connection is: each transaction runs on
# another session of the server.
_POOLED = {"26000", "42P05"}  # invalid_sql_statement_name, duplicate_prepared_statement
_FULL = {"53100", "53200"}  # disk_full, out_of_memory
_DENIED = {"42501"}  # insufficient_privilege
_DAMAGED = {"XX001", "XX002"}  # data_corrupted, index_corrupted


def is_lost(error: psycopg.Error) -> bool:
    """Return whether the connection is lost, or no longer of any use."""
    state = error.sqlstate or ""
    if not state:
        # libpq's own words, not the server's
        return type(error) in (psycopg.OperationalError, psycopg.DatabaseError, psycopg.InterfaceError)
    return state in _LOST or state.startswith("08")


def is_crossed(error: psycopg.Error) -> bool:
    """Return whether other transactions were in the way: the unit may succeed when it is run again."""
    return error.sqlstate in _CROSSED


def is_doubled(error: psycopg.Error) -> bool:
    """Return whether the unit stored something under a key that another one has taken in between."""
    return error.sqlstate == "23505"  # unique_violation


def store_error(error: psycopg.Error) -> StoreError:
    """Return the sentence for an error, with what an operator can do. It names no value of a statement."""
    kind = StoreUnreachableError if is_lost(error) else StoreError
    translated = kind(f"The database refused to work: {_cure(error)}.")
    translated.__cause__ = error
    return translated


def unknown_outcome(error: Exception) -> StoreError:
    """Return the sentence for a COMMIT of which nobody can say whether it was made."""
    translated = StoreUnreachableError(
        "The database was lost while it stored something, and cannot say whether it did. It is safe to do it again."
    )
    translated.__cause__ = error
    return translated


def _cure(error: psycopg.Error) -> str:
    state = error.sqlstate or ""
    if is_lost(error):
        return "the connection was lost and could not be made again; see whether PostgreSQL runs, and try again"
    if is_crossed(error):
        return "other transactions were in the way each time; try again, or see what locks its tables"
    if state == "57014":
        return "a statement took too long; see how busy PostgreSQL is, and try again"
    if state in _POOLED:
        return (
            "DATABASE_URL seems to lead to a pooler in transaction mode, such as PgBouncer; "
            "set DATABASE_LISTEN_URL to the address of PostgreSQL itself"
        )
    if state in _FULL:
        return "its disk or memory is full; free some"
    if state in _DENIED:
        primary = error.diag.message_primary or ""
        return f"its role lacks a right ({primary}); grant it, as docs/scale.md shows"
    if state in _DAMAGED:
        return "its data is damaged; restore a backup"
    return f"{f'{type(error).__name__} {state}'.strip()}; see what PostgreSQL's log says of it"
