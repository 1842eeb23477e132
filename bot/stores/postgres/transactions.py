"""Units as transactions: run again for a while where others were in the way or the connection was lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from bot.domain.errors import BotError, SettingsError, StoreError
from bot.stores.db import Db, Unit
from bot.stores.postgres.errors import is_crossed, is_doubled, is_lost, store_error
from bot.stores.postgres.outcome import was_committed
from bot.stores.postgres.session import Begun, Session

T = TypeVar("T")

PATIENCE_S = 10.0  # how long a unit is tried again
# A unit that stores what is there finds it when it looks again; one that never does is wrong.
MOST_DOUBLES = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class Transactions:
    """Runs units on sessions; used by several threads. `source` names this process in what it tells others."""

    channel: str
    source: str
    patience_s: float = PATIENCE_S

    def write(self, session: Session, unit: Unit[T], asked_at: float) -> T:
        """Return the unit's result once it is committed; it waits since `asked_at` (monotonic). Raises BotError."""
        return self._patiently(session, lambda until: self._write_once(session, unit, until), asked_at)

    def write_together(
        self, session: Session, units: Sequence[Unit[Any]]
    ) -> Sequence[tuple[Any, BaseException | None]] | None:
        """Return what became of each unit once all are committed, as the result or the error in its place.

        Return None where nothing of them was kept, and each is to be run by itself: one of them failed, or was in the
        way of another process's, which wait for each other in no order.
        """
        try:
            until = time.monotonic() + self.patience_s
            return self._write_once(session, lambda db: [_said(unit, db) for unit in units], until, briefly=True)
        except StoreError as error:  # nobody can say whether they were committed
            return [(None, error) for _ in units]
        except Exception as error:  # noqa: BLE001  (each meets it again, by itself)
            if isinstance(error, psycopg.Error) and is_lost(error):
                session.close()
            return None

    def read(self, session: Session, unit: Unit[T], asked_at: float) -> T:
        """Return what the unit reads. Raises BotError."""
        return self._patiently(session, lambda _: _read_once(session, unit), asked_at)

    def _patiently(self, session: Session, attempt: Callable[[float], T], asked_at: float) -> T:
        until = time.monotonic() + self.patience_s
        reached_until = asked_at + self.patience_s  # all that waits for a database that is away gives up at once
        pause_s, doubles = FIRST_PAUSE_S, 0
        while True:
            try:
                return attempt(until)
            except psycopg.Error as error:
                doubles += is_doubled(error)
                if is_lost(error):
                    session.close()
                elif not is_crossed(error) and not (is_doubled(error) and doubles <= MOST_DOUBLES):
                    raise store_error(error) from error
                failure, is_over = store_error(error), time.monotonic() + pause_s > until
            except Unreachable as error:
                failure, is_over = error.failure, time.monotonic() + pause_s > reached_until
            if is_over:
                raise failure
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  (only spreads those that wait)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _write_once(self, session: Session, unit: Unit[T], until: float, *, briefly: bool = False) -> T:
        begun = _begun(session, briefly=briefly)
        db = session.open()
        try:
            result = unit(db)
            db.finish()
        except BaseException as error:
            session.roll_back()
            if isinstance(error, psycopg.Error) and is_lost(error):
                with suppress(StoreError):
                    was_committed(session, begun, error, until=until)  # it was not: this frees what it has locked
            raise
        return self._commit(session, begun, result, until)

    def _commit(self, session: Session, begun: Begun, result: T, until: float) -> T:
        told = [f"SELECT pg_notify('{self.channel}', '{self.source} {topic}');" for topic in session.open().topics]
        try:
            session.commit("".join(told))
        except psycopg.Error as error:
            if session.is_open and not is_lost(error):
                session.roll_back()
                raise
            session.close()
            if not was_committed(session, begun, error, until=until):
                raise psycopg.OperationalError("the connection was lost before COMMIT") from error
        return result


class Unreachable(Exception):  # noqa: N818  (it never leaves this package)
    """No connection could be made."""

    def __init__(self, failure: StoreError) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _said(unit: Unit[Any], db: Db) -> tuple[Any, BaseException | None]:
    try:
        return unit(db), None
    except BotError as error:  # nothing was written: the others go on without it
        return None, error


def _begun(session: Session, *, briefly: bool) -> Begun:
    try:
        return session.begin(briefly=briefly)
    except SettingsError:
        raise
    except BotError as error:
        raise Unreachable(error if isinstance(error, StoreError) else StoreError(str(error))) from error


def _read_once(session: Session, unit: Unit[T]) -> T:
    try:
        session.begin_reading()
    except StoreError as error:
        raise Unreachable(error) from error
    try:
        result = unit(session.open())
        session.commit()
    except BaseException:
        session.roll_back()
        raise
    return result
