"""What became of a transaction whose connection was lost."""

from __future__ import annotations

import time

import psycopg

from bot.domain.errors import StoreError
from bot.stores.postgres.errors import is_lost, unknown_outcome
from bot.stores.postgres.session import Begun, Session

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
_IN_THE_FUTURE = "22023"  # invalid_parameter_value: no transaction has had that id
_STATUS = "SELECT pg_xact_status(CAST(? AS xid8)) AS status"
_CHECKPOINT = "SELECT next_xid, redo_lsn = checkpoint_lsn AS is_of_start FROM pg_control_checkpoint()"
# The server may not know yet that the connection is lost: without this the transaction would keep its locks.
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = CAST(CAST(? AS xid8) AS xid)"


def was_committed(session: Session, begun: Begun, lost: Exception, *, until: float) -> bool:
    """Return whether the transaction was committed, on a new connection; end it where it still goes on.

    Raises:
        StoreError: No connection can be made until then (a time of the monotonic clock), or the server that comes back
            does not know for sure: one that crashed may have given the id to another transaction since.
    """
    pause_s = FIRST_PAUSE_S
    while time.monotonic() < until:
        try:
            now, status = _status(session, begun)
            if status == "committed" and (known := _is_own(session, begun, now)) is not None:
                return known
        except (psycopg.Error, StoreError) as error:
            if isinstance(error, psycopg.Error) and not is_lost(error):
                raise unknown_outcome(lost) from error
            session.close()
        else:
            if status == "aborted":
                return False
            if status != "in progress":
                break
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    raise unknown_outcome(lost)


def _is_own(session: Session, begun: Begun, now: Begun) -> bool | None:
    """Return whether it was this transaction that was committed under its id; None where that is not known.

    A server that crashed gives ids again of which it had written nothing down. Its recovery notes from which one on, in
    a checkpoint of the only kind that begins where it is written.
    """
    if now.incarnation == begun.incarnation:
        return True
    session.begin()
    try:
        (checkpoint,) = session.open().execute(_CHECKPOINT)
    finally:
        session.roll_back()
    epoch, _, number = checkpoint["next_xid"].partition(":")
    return int(begun.xid) < (int(epoch) << 32 | int(number)) if checkpoint["is_of_start"] else None


def _status(session: Session, begun: Begun) -> tuple[Begun, str | None]:
    """Return what the server says of the transaction's id, and an own transaction of the server's present run."""
    now = session.begin()
    try:
        db = session.open()
        try:
            (row,) = db.execute(_STATUS, (begun.xid,))
        except psycopg.DataError as error:
            if error.sqlstate != _IN_THE_FUTURE:
                raise
            return now, "aborted"
        if row["status"] == "in progress":
            db.execute(_END, (begun.xid,))
        return now, row["status"]
    finally:
        session.roll_back()
