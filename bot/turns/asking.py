"""The ask desk: has what is asked shown where people can decide it, and kept as it is now, until it is a record."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import structlog

from bot.domain.asks import AskDelivery, AskPost, AskRecord
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.events import ConversationKey
from bot.domain.turns import CallDecided
from bot.ports.platform import Adapter
from bot.ports.rights import Policy
from bot.ports.store import Store
from bot.ports.tasks import end_all
from bot.turns.ask_places import Place, ask_places
from bot.turns.ask_view import ask_view
from bot.turns.bell import Bell, heard
from bot.turns.lease import log_failure
from bot.turns.limits import Patience

log = structlog.stdlib.get_logger(__name__)

SWEEP_S = 2.0  # how often asks are looked for that other processes began or changed
POSTING_S = 15.0  # after that, a message that a process of an earlier version was about to post is looked for
RETRY = Backoff(first_s=1.0, jitter=0.2)


@dataclass(slots=True)
class _Trouble:
    """Of one message that fails."""

    since: float  # seconds of the loop's clock, as below
    failures: int = 0
    next_at: float = 0.0


@dataclass(slots=True, kw_only=True)
class AskDesk:
    """Works for the places that the adapters of this process serve."""

    store: Store
    adapters: Sequence[Adapter]
    policy: Callable[[], Policy]
    bell: Bell
    worker: str = ""  # this process, among those that the store knows
    is_held: Callable[[], bool] = lambda: True  # whether others must think that this process lives
    patience: Patience = field(default_factory=Patience)
    sweep_s: float = SWEEP_S
    _showing: dict[int, asyncio.Task[None]] = field(default_factory=dict[int, asyncio.Task[None]], init=False)
    _planning: dict[int, asyncio.Task[None]] = field(default_factory=dict[int, asyncio.Task[None]], init=False)
    _seen_at: dict[int, float] = field(default_factory=dict[int, float], init=False)  # by message, as below
    _troubles: dict[int, _Trouble] = field(default_factory=dict[int, _Trouble], init=False)  # by message
    # By ask: the places that refused its message for good. After a restart each is tried once more.
    _refused: dict[int, set[Place]] = field(default_factory=dict[int, set[Place]], init=False)

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Show asks while the context is open; what is not shown by then is shown by the next process."""
        loop = asyncio.create_task(self._keep(), name="asks")
        try:
            yield
        finally:
            await end_all([loop, *self._planning.values(), *self._showing.values()])

    async def _keep(self) -> None:
        while True:
            try:
                serves = [adapter.serves for adapter in self.adapters]
                for record in await self.store.unplanned_asks(serves=serves):
                    self._begin_plan(record)
                for delivery in await self.store.due_ask_posts(serves=serves):
                    self._begin(delivery)
            except Exception as error:  # noqa: BLE001  (a loop that ends would leave a process that asks no one)
                log_failure("asks_not_read", error)
                await asyncio.sleep(RETRY.wait_s(1))
            await heard(self.bell.asks, within_s=self._pause_s())

    def _pause_s(self) -> float:
        """Return how long nothing has to be done that nobody rings for, in seconds."""
        now = asyncio.get_running_loop().time()
        tries = (trouble.next_at - now for trouble in self._troubles.values() if trouble.next_at > now)
        return min([self.sweep_s, *tries])

    # --- where ---

    def _begin_plan(self, record: AskRecord) -> None:
        if record.id not in self._planning:
            self._planning[record.id] = asyncio.create_task(self._plan_alone(record), name=f"ask-places:{record.id}")

    async def _plan_alone(self, record: AskRecord) -> None:
        """Plan one ask, for which a platform may have to say who is in a group: no other ask waits for that."""
        try:
            await self._plan(record)
        except Exception as error:  # noqa: BLE001  (one ask is isolated from the others)
            log_failure("ask_not_planned", error)
            await asyncio.sleep(RETRY.wait_s(3))
        finally:
            del self._planning[record.id]
            self.bell.asks.set()

    async def _plan(self, record: AskRecord) -> None:
        """Plan the ask's messages; where every place refuses them, what is asked is void."""
        refused = self._refused.get(record.id, set[Place]())
        thread = (record.conversation, "")
        wanted = await ask_places(record, policy=self.policy(), adapters=self.adapters)
        places = [place for place in wanted if place not in refused]
        if not places and thread not in refused:
            places = [thread]
        if places:
            await self.store.plan_ask(record.id, places)
        else:
            await self._give_up(record)

    async def _give_up(self, record: AskRecord) -> None:
        note = "The platform does not let the bot ask for it anywhere."
        outcome = "void" if record.ask.kind == "approval" else "cancel"
        decision = CallDecided(round=record.round, call_id=record.call_id, outcome=outcome, note=note)
        log.warning("ask_void", ask=record.id, turn=record.turn_id)
        await self.store.decide(record.turn_id, decision)
        self._refused.pop(record.id, None)
        self.bell.ring_for_work()

    # --- showing one message ---

    def _begin(self, delivery: AskDelivery) -> None:
        trouble = self._troubles.get(delivery.post_id)
        is_early = trouble is not None and asyncio.get_running_loop().time() < trouble.next_at
        if delivery.post_id in self._showing or is_early:
            return
        task = asyncio.create_task(self._show(delivery), name=f"ask:{delivery.ask_id}")
        self._showing[delivery.post_id] = task

    async def _show(self, delivery: AskDelivery) -> None:
        try:
            record = await self.store.ask(delivery.ask_id)
            adapter = self._adapter_of(delivery.place)
            if record is None or adapter is None or not await self._put(delivery, record, adapter):
                self._note_trouble(delivery).next_at = asyncio.get_running_loop().time() + self.sweep_s
                return
            self._troubles.pop(delivery.post_id, None)
            self._seen_at.pop(delivery.post_id, None)
        except RateLimitError as error:  # nothing was posted: waiting is all there is to do
            self._note_trouble(delivery).next_at = asyncio.get_running_loop().time() + error.retry_after_s
        except AdapterError as error:
            await self._meet(delivery, error)
        except Exception as error:  # noqa: BLE001  (one message is isolated from the others)
            log_failure("ask_not_shown", error)
            self._wait(delivery)
        finally:
            del self._showing[delivery.post_id]
            self.bell.asks.set()  # it may have changed meanwhile

    async def _put(self, delivery: AskDelivery, record: AskRecord, adapter: Adapter) -> bool:
        """Post or change the message; return False where that is another process's."""
        post = _post(delivery, record)
        if not (delivery.is_posting or delivery.reference):
            is_ours = await self.store.mark_ask_posting(delivery.post_id, self.worker)
        elif await self._is_anothers(delivery):
            return False
        else:
            if delivery.is_posting:
                post = await self._look_for(delivery, post, adapter)
            # Others may have found that its process is gone, too: one of them takes it.
            is_ours = await self.store.take_ask_post(delivery, self.worker)
        if not is_ours or not self.is_held():  # after a pause, another may have taken it and show it by now
            return False
        reference = await adapter.put_ask(post)
        await self.store.mark_ask_posted(delivery.post_id, reference=reference, shown=post.view.version)
        return True

    async def _look_for(self, delivery: AskDelivery, post: AskPost, adapter: Adapter) -> AskPost:
        """Return the message as one to change, where it is visible already."""
        try:
            found = await adapter.find_ask(post)
        except AdapterError as error:  # shown twice it does no harm: it is decided once
            log.warning("ask_not_looked_for", ask=delivery.ask_id, error=str(error))
            return post
        return post if found is None else replace(post, reference=found.reference)

    async def _is_anothers(self, delivery: AskDelivery) -> bool:
        """Return whether another living process posts and changes the message.

        Two that did so at once could leave it as it was before the last vote.
        """
        if delivery.poster == self.worker:
            return False
        others = [worker for worker in await self.store.workers() if worker != self.worker]
        if delivery.poster:
            return delivery.poster in others
        now = asyncio.get_running_loop().time()
        seen_at = self._seen_at.setdefault(delivery.post_id, now)
        return delivery.is_posting and now - seen_at < POSTING_S and bool(others)

    async def _meet(self, delivery: AskDelivery, error: AdapterError) -> None:
        """Try again later, or give the message up: a place that refuses it is left for the thread."""
        trouble = self._wait(delivery)
        log.warning("ask_not_shown", ask=delivery.ask_id, place=delivery.place, error=str(error))
        place = (ConversationKey.parse(delivery.place), delivery.person)
        failing_s = asyncio.get_running_loop().time() - trouble.since
        if not error.is_permanent and (failing_s < self.patience.elsewhere_s or not await self._is_beside(delivery)):
            return
        if not delivery.reference:
            self._refused.setdefault(delivery.ask_id, set()).add(place)
        try:
            await self.store.drop_ask_post(delivery.post_id)
            self._troubles.pop(delivery.post_id, None)
            self._seen_at.pop(delivery.post_id, None)
        except Exception as failure:  # noqa: BLE001  (it is tried and refused again)
            log_failure("ask_not_dropped", failure)

    async def _is_beside(self, delivery: AskDelivery) -> bool:
        """Return whether the message goes elsewhere than into the thread of the question."""
        record = await self.store.ask(delivery.ask_id)
        return record is not None and (str(record.conversation), "") != (delivery.place, delivery.person)

    def _wait(self, delivery: AskDelivery) -> _Trouble:
        trouble = self._note_trouble(delivery)
        trouble.failures += 1
        trouble.next_at = asyncio.get_running_loop().time() + RETRY.wait_s(trouble.failures)
        return trouble

    def _note_trouble(self, delivery: AskDelivery) -> _Trouble:
        return self._troubles.setdefault(delivery.post_id, _Trouble(since=asyncio.get_running_loop().time()))

    def _adapter_of(self, place: str) -> Adapter | None:
        return next((adapter for adapter in self.adapters if place.startswith(adapter.serves)), None)


def _post(delivery: AskDelivery, record: AskRecord) -> AskPost:
    place = ConversationKey.parse(delivery.place)
    is_in_thread = place == record.conversation and not delivery.person
    named = f"{record.event_key} {record.round} {record.call_id} {record.id}"
    return AskPost(
        key=f"{hashlib.sha256(named.encode()).hexdigest()[:20]}.{delivery.number}",
        view=ask_view(record, shown_in=place.place),
        place=place,
        person=delivery.person,
        in_reply_to=record.event_key if is_in_thread else "",
        reference=delivery.reference,
    )
