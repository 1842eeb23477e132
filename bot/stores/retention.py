"""What is kept and forgotten, on any engine: units of work (`bot/stores/units`), a few rows in each commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from bot.domain.events import ConversationKey
from bot.domain.people import Actor
from bot.ports.retention_store import Forgotten, PersonTraces, TurnRecord
from bot.ports.store import author_key
from bot.stores.base import Units
from bot.stores.db import Db, Unit
from bot.stores.units import forgetting, intake, notes, purging, sought, timeline, work
from bot.stores.units.locks import lock_conversations
from bot.stores.units.sought import Sought

BATCH_TURNS = 50
PAUSE_S = 0.01  # between batches: turns come first

_Page = Callable[..., tuple[int, int]]


class RetentionUnits(Units):
    """See `bot.ports.retention_store.RetentionStore`."""

    async def timeline(self, conversation: ConversationKey) -> Sequence[TurnRecord]:
        return await self.engine.read(lambda db: timeline.timeline(db, conversation))

    async def kept_events(self, conversation: ConversationKey) -> Sequence[str]:
        return await self.engine.read(lambda db: forgetting.kept_events(db, conversation))

    async def forget_older(self, before: float, *, limit: int) -> Forgotten:
        if not await self.engine.read(lambda db: forgetting.has_older(db, before)):
            return Forgotten()
        return await self.engine.write(lambda db: forgetting.forget_older(db, before, limit=limit))

    async def stop_person(self, person: Actor, *, by: str) -> int:
        who = await self._sought(person)
        return await self.engine.write(lambda db: self._stop(db, who, by=by))

    def _stop(self, db: Db, who: Sought, *, by: str) -> int:
        living = set(work.workers(db, cutoff=self._leases.cutoff()))
        lock_conversations(db, (turn["conversation_id"] for turn in sought.open_turns(db, who)))
        for turn in sought.open_turns(db, who):
            # Any living worker takes up a turn that waits or that belongs to no worker.
            if turn["worker"] in living or (not turn["worker"] and living):
                key = ConversationKey.parse(turn["key"])
                intake.request_stop(db, key, by=by, author=_author(who, key), turn_id=turn["id"])
            else:
                sought.end_abandoned(db, turn, now=self._now())
        return len(sought.open_turns(db, who))

    async def traces(self, person: Actor) -> PersonTraces:
        return await self._go_through(person, remove=False)

    async def forget_person(self, person: Actor) -> PersonTraces:
        return await self._go_through(person, remove=True)

    async def _go_through(self, person: Actor, *, remove: bool) -> PersonTraces:
        who = await self._sought(person)
        run = self.engine.write if remove else self.engine.read
        direct = await self.engine.read(lambda db: sought.direct(db, who))
        summaries = await run(partial(purging.summaries, who=who, remove=remove))
        contexts = await self._all(purging.contexts, who, remove=remove)
        forgotten = await self._own(who, remove=remove)
        quotations = await self._all(purging.quotations, who, remove=remove)
        arguments = await run(partial(purging.arguments, who=who, remove=remove))
        found = PersonTraces(
            forgotten=forgotten + Forgotten(arguments=arguments),
            quotations=quotations,
            contexts=contexts,
            summaries=summaries,
            answers=await run(partial(purging.answers, who=who, remove=remove)),
            ratings=await run(partial(purging.ratings, who=who, remove=remove)),
            grants=await run(partial(purging.grants, who=who, remove=remove)),
            notes=await run(partial(purging.notes, who=who, remove=remove)),
            open_turns=len(await self.engine.read(lambda db: sought.open_turns(db, who))),
            direct=direct,
            names=tuple(sorted(who.names)),
        )
        if remove:
            await self.engine.write(lambda db: purging.forget_names(db, who))
        return found

    async def _sought(self, person: Actor) -> Sought:
        return await self.engine.read(lambda db: sought.find(db, person))

    async def _own(self, who: Sought, *, remove: bool) -> Forgotten:
        if not remove:
            return await self.engine.read(lambda db: sought.count_own(db, who))
        forgotten = Forgotten()
        while (part := await self.engine.write(lambda db: _forget_some(db, who))).turns:
            forgotten += part
            await asyncio.sleep(PAUSE_S)
        return forgotten

    async def _all(self, page: _Page, who: Sought, *, remove: bool) -> int:
        """Go through all pages; only one that has something to change takes a commit."""
        total, after = 0, 0
        while True:
            look = partial(page, who=who, after=after, remove=False)
            found, end = await self.engine.read(look)
            if found and remove:
                change: Unit[tuple[int, int]] = partial(page, who=who, after=after, remove=True)
                found, end = await self.engine.write(change)
            if end == after:
                return total
            total, after = total + found, end
            await asyncio.sleep(PAUSE_S if found else 0)

    async def first_note(self, name: str, text: str) -> str:
        return await self.engine.write(lambda db: notes.first_note(db, name, text))

    async def replace_note(self, name: str, *, old: str, new: str) -> bool:
        return await self.engine.write(lambda db: notes.replace_note(db, name, old=old, new=new))

    async def scrub(self) -> bool:
        return await self.engine.scrub()

    async def scrub_at_start(self) -> bool:
        return await self.engine.scrub_at_start()


def _forget_some(db: Db, who: Sought) -> Forgotten:
    return forgetting.forget_turns(db, sought.own_turns(db, who, limit=BATCH_TURNS))


def _author(who: Sought, conversation: ConversationKey) -> str:
    return author_key(conversation.person(who.person.id))
