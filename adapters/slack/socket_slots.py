"""Which of the app's ten connections this process keeps: slots that the processes of one bot divide among themselves.

Slack gives an app ten: https://docs.slack.dev/apis/events-api/using-socket-mode. Up to five processes keep two each, so
that one stays open while Slack renews the other; from six on each keeps one, and from eleven on some have none.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import structlog

from adapters.slack.parse import PLATFORM
from bot.domain.errors import BotError
from bot.ports.cluster import Cluster, Member, Slot

log = structlog.stdlib.get_logger(__name__)

CONNECTIONS = 10  # of an app, over all its processes
LINES = 2  # of a process, at most
PATIENCE_S = 20.0  # for a process to get a free slot, before one of two is given up anyway
NO_SLOT_S = 60.0  # in which others are to give one up
TAKEN = (
    "Slack opens ten connections for an app, and other processes of the bot have them all. This process takes no "
    "messages until one of them ends; it still works on answers. To have more processes take messages, have "
    "Slack deliver over HTTP (SLACK_SIGNING_SECRET without SLACK_APP_TOKEN), or run ten at most."
)


class SocketSlots:
    """The slots of this process: one for each of its lines, 0 and 1, for which it has got one."""

    def __init__(self, cluster: Cluster, *, app: str) -> None:
        self._cluster = cluster
        self._prefix = f"{PLATFORM}/{app}/socket/"
        self._slots: dict[int, Slot] = {}  # by line
        self._giving: set[int] = set()  # lines whose connection is to be closed
        self._changed = asyncio.Event()
        self._others = 0  # living processes other than this one
        self._over_since = self._none_since = 0.0  # in seconds of the loop's clock; 0: there are not too many, or some
        self._has_explained = False
        cluster.on_gap(self._lose)

    @property
    def count(self) -> int:
        """How many it has."""
        return len(self._slots)

    @property
    def is_spare(self) -> bool:
        """Whether it has looked for one, and others have them all."""
        return bool(self._none_since and self._others)

    def may_take(self) -> bool:
        """Return whether this process may handle what is delivered: one that was asleep for long may have lost all."""
        return self._lives() and (not self._others or self._giving <= self._slots.keys())

    def keeps(self, line: int) -> bool:
        """Return whether the line may have a connection."""
        return line in self._slots and line not in self._giving and self._lives()

    def _lives(self) -> bool:
        """Return whether no other process may have got the slots."""
        return not self._others or self._cluster.is_held()

    async def wait_for(self, line: int) -> None:
        """Return once the line may have a connection."""
        while not self.keeps(line):
            self._changed.clear()
            await self._changed.wait()

    async def leave(self, line: int) -> None:
        """Give the line's slot up, now that it has no connection; where the database is away, its lease ends it."""
        self._giving.discard(line)
        if (slot := self._slots.pop(line, None)) is None:
            return
        try:
            await self._cluster.give(slot)
        except BotError as error:
            log.info("slack_slot_not_given", error=str(error))

    async def look(self, connected: Set[int]) -> None:
        """Take a slot or have one given up, as there are more processes or fewer; `connected` are lines.

        Raises:
            StoreError: The database cannot be asked.
        """
        members = await self._cluster.members(PLATFORM)
        self._others = sum(member.worker != self._cluster.worker for member in members)
        if not self._lives():
            return
        share = share_of(self._others + 1)
        slots = {slot.name: slot for slot in await self._cluster.slots(self._prefix)}
        self._note_lost(slots)
        await self._take(share, slots)
        self._note_over(is_over=self.count - len(self._giving) > share)
        if self._over_since and self._may_give(connected, slots.values(), members):
            self._giving.add(0 if connected == {1} else 1)
        self._explain(members)
        self._changed.set()

    def _note_lost(self, slots: Mapping[str, Slot]) -> None:
        """Have the connections closed whose slots another process has taken."""
        for line, slot in [*self._slots.items()]:
            if (now := slots.get(slot.name)) is None or now.fence != slot.fence:
                del self._slots[line]
                self._giving.add(line)

    async def _take(self, share: int, slots: Mapping[str, Slot]) -> None:
        """Take free slots for the lines without one."""
        own = {slot.name for slot in self._slots.values()}
        names = [f"{self._prefix}{number}" for number in range(CONNECTIONS)]
        free = iter([name for name in names if name not in own and self._is_free(slots.get(name))])
        for line in range(LINES):
            if self.count >= share:
                return
            if line not in self._slots and line not in self._giving:
                await self._take_one(line, free)

    async def _take_one(self, line: int, free: Iterator[str]) -> None:
        for name in free:
            if (slot := await self._cluster.take(name)) is not None:
                self._slots[line] = slot
                return

    def _is_free(self, slot: Slot | None) -> bool:
        return slot is None or not slot.is_held or slot.worker == self._cluster.worker

    def _may_give(self, connected: Set[int], slots: Iterable[Slot], members: Sequence[Member]) -> bool:
        """Return whether one of two may go: one is open, and no process without one can get a free one."""
        if _now() - self._over_since >= PATIENCE_S:
            return True
        held = [slot.worker for slot in slots if slot.is_held]
        return bool(connected) and (len(held) >= CONNECTIONS or all(one.worker in held for one in members))

    def _note_over(self, *, is_over: bool) -> None:
        self._over_since = (self._over_since or _now()) if is_over else 0.0

    def _explain(self, members: Sequence[Member]) -> None:
        """Say once that there is no slot; six to ten processes give each other one within a moment."""
        if self._slots:
            self._has_explained, self._none_since = False, 0.0
            return
        self._none_since = self._none_since or _now()
        is_wall = len(members) > CONNECTIONS or _now() - self._none_since >= NO_SLOT_S
        if is_wall and not self._has_explained:
            self._has_explained = True
            log.warning("slack_connections_taken", connections=CONNECTIONS, processes=len(members), error=TAKEN)

    async def _lose(self) -> None:
        """Have all closed after a time in which other processes may have taken the slots."""
        if self._others:
            self._giving |= self._slots.keys()
            self._slots.clear()


def share_of(processes: int) -> int:
    """Return how many connections each process keeps where there are that many."""
    return LINES if processes * LINES <= CONNECTIONS else 1


def app_of(app_token: str) -> str:
    """Return the app's id, the third part of its token (`xapp-1-A0123-...`), otherwise a name for the token."""
    match app_token.split("-"):
        case ["xapp", _, app, _, *_] if app:
            return app
        case _:
            return hashlib.sha256(app_token.encode()).hexdigest()[:12]


def _now() -> float:
    return asyncio.get_running_loop().time()
