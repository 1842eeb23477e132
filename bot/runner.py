"""The runner: takes turns up, works on one per conversation at a time, and has what they leave delivered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from bot.context import TOKENS_A_MESSAGE, Window, count_tokens, load_history, opaque_id
from bot.delivery import deliver
from bot.errors import AdapterError, BotError, LeaseLostError, ModelError, ModelStreamError, StoreError
from bot.events import ConversationKey
from bot.journal import Journal
from bot.messages import UserMessage
from bot.ports import Adapter, ClaimedTurn, Lease, Model, Offer, Store, Tools
from bot.reply import Reply, make_broken_off_reply, make_posts, make_reply
from bot.trace import Trace
from bot.turn import Turn, run_turn
from bot.worker import bury_dead

log = structlog.stdlib.get_logger(__name__)

LEASE_S = 15.0
HEARTBEAT_S = 4.0
SWEEP_S = 1.0  # how often turns that other processes left, or held up, are looked for
RETRY_S = 1.0  # before a failed attempt is repeated; doubled each time
MAX_RETRY_S = 60.0
MAX_DELIVERIES = 50  # attempts to post an answer: about 45 minutes
OUTPUT_SHARE = 0.2  # of the model's window, kept free for its answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a turn and a process may take."""

    max_tool_rounds: int = 10
    turn_timeout_s: float = 300.0
    max_running: int = 200  # turns at once
    max_attempts: int = 3  # a turn that took its process down so often is not tried again
    drain_s: float = 10.0  # what running turns are given when the process ends


@dataclass(slots=True)
class _Running:
    """A turn at work, and the means to end it early."""

    is_stopped: bool = False
    scope: asyncio.Timeout | None = None

    def stop(self) -> None:
        self.is_stopped = True
        if self.scope is not None:
            self.scope.reschedule(asyncio.get_running_loop().time())


@dataclass(slots=True, kw_only=True)
class Runner:
    """Works on the turns of the conversations that its adapters serve, as the process `worker`."""

    worker: str
    store: Store
    model: Model
    tools: Tools
    adapters: Sequence[Adapter]
    window: Window
    system_prompt: str
    limits: Limits = field(default_factory=Limits)
    _running: dict[int, _Running] = field(default_factory=dict[int, _Running], init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]], init=False)
    _woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Take turns up while the context is open; at its end running ones get `drain_s`, the rest stays stored."""
        await self.store.heartbeat(self.worker, lease_s=LEASE_S)
        for worker in await bury_dead(self.store):
            log.info("dead_worker_buried", worker=worker)
        loops = [
            asyncio.create_task(self._beat(), name="runner:beat"),
            asyncio.create_task(self._take(), name="runner"),
        ]
        try:
            yield
        finally:
            await _end(loops)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self.limits.drain_s)
            await _end(self._tasks)
            await self._try_to("release the worker", self.store.release(self.worker))

    def wake(self) -> None:
        """Look for turns now: one was accepted."""
        self._woken.set()

    async def stop(self, conversation: ConversationKey) -> bool:
        """Stop the conversation's running turn; tell whether there was one."""
        turn_id = await self.store.request_stop(conversation)
        if turn_id is None:
            return False
        if (running := self._running.get(turn_id)) is not None:
            running.stop()
        return True

    # --- taking turns up ---

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._try_to("renew the lease", self.store.heartbeat(self.worker, lease_s=LEASE_S))

    async def _take(self) -> None:
        serves = [adapter.serves for adapter in self.adapters]
        while True:
            self._woken.clear()
            try:
                turns = await self.store.claim(
                    self.worker, serves=serves, limit=self.limits.max_running - len(self._running)
                )
            except StoreError as error:
                log.warning("claim_failed", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            for turn in turns:
                self._running[turn.lease.turn_id] = _Running(is_stopped=turn.stop_requested)
                task = asyncio.create_task(self._work(turn), name=f"turn:{turn.lease.turn_id}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await self._wait_for_work()

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(SWEEP_S):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _work(self, turn: ClaimedTurn) -> None:
        """Bring one turn to its end; whatever goes wrong stays with this turn."""
        lease = turn.lease
        started = time.monotonic()
        adapter = self._adapter(turn.event.conversation)
        trace = Trace(adapter.show, turn_id=lease.turn_id, conversation=turn.event.conversation)
        with structlog.contextvars.bound_contextvars(turn=lease.turn_id, conversation=str(turn.event.conversation)):
            try:
                outcome = await self._bring_to_end(turn, adapter, trace)
                log.info(
                    "turn_ended", outcome=outcome, attempt=lease.attempt, seconds=round(time.monotonic() - started, 3)
                )
            except LeaseLostError:
                log.warning("turn_taken_over")
            except Exception as error:
                log.exception("turn_failed", attempt=lease.attempt)
                await self._let_go(lease, error)
            finally:
                del self._running[lease.turn_id]
                self.wake()

    async def _bring_to_end(self, turn: ClaimedTurn, adapter: Adapter, trace: Trace) -> str:
        lease = turn.lease
        if turn.state == "delivering":
            await deliver(lease, store=self.store, adapter=adapter)
            trace.enter("answered")
            return "delivered"
        journal = Journal(self.store, lease, await self.store.steps(lease.turn_id))
        draft = self._draft(turn)
        if lease.attempt > self.limits.max_attempts:
            reply = make_broken_off_reply(draft, journal, _SPENT.format(attempts=lease.attempt - 1), state="failed")
        else:
            reply = await self._answer(turn, draft, journal, trace)
        await self._store_reply(turn, draft, journal, reply, adapter)
        trace.enter("delivering")
        await deliver(lease, store=self.store, adapter=adapter)
        trace.enter(reply.state)
        return reply.state

    # --- answering ---

    def _draft(self, turn: ClaimedTurn) -> Turn:
        event = turn.event
        return Turn(
            turn_id=turn.lease.turn_id,
            system=self.system_prompt,
            history=(),
            question=UserMessage(text=event.text, speaker=event.author_name if event.is_shared else None),
            offer=Offer(tools=()),
            conversation=opaque_id(event.conversation),
            max_rounds=self.limits.max_tool_rounds,
            max_result_chars=self.window.max_result_chars,
        )

    async def _answer(self, turn: ClaimedTurn, draft: Turn, journal: Journal, trace: Trace) -> Reply:
        running = self._running[draft.turn_id]
        deadline = asyncio.get_running_loop().time() + self.limits.turn_timeout_s
        trace.enter("running")
        try:
            async with asyncio.timeout_at(deadline) as running.scope:
                if running.is_stopped:
                    running.stop()
                await self._prepare(turn, draft)
                text = await run_turn(
                    draft, model=self.model, tools=self.tools, journal=journal, trace=trace, deadline=deadline
                )
            return make_reply(draft, text, state="answered")
        except TimeoutError:
            if running.is_stopped:
                return make_broken_off_reply(draft, journal, "Stopped.", state="stopped")
            text = _TIMED_OUT.format(seconds=self.limits.turn_timeout_s)
        except ModelStreamError as error:
            text = f"{error.partial.rstrip()}\n\n_{error}_"
        except ModelError as error:
            log.warning("model_failed", error=type(error).__name__)
            text = str(error)
        finally:
            running.scope = None  # what is stored from here on cannot be stopped any more
        return make_broken_off_reply(draft, journal, text, state="failed")

    async def _prepare(self, turn: ClaimedTurn, draft: Turn) -> None:
        draft.offer = await self.tools.offer()
        tools = sum(
            TOKENS_A_MESSAGE + self.window.count(f"{tool.name} {tool.description} {json.dumps(tool.parameters)}")
            for tool in draft.offer.tools
        )
        reserved = (
            int(self.window.max_tokens * OUTPUT_SHARE)
            + self.window.count(draft.system)
            + tools
            + count_tokens(draft.question, self.window.count)
        )
        draft.history = await load_history(
            self.store, turn.event.conversation, window=self.window, reserved_tokens=reserved
        )

    async def _store_reply(
        self, turn: ClaimedTurn, draft: Turn, journal: Journal, reply: Reply, adapter: Adapter
    ) -> None:
        if draft.window_start is not None:
            await self.store.move_window(turn.event.conversation, first_turn_id=draft.window_start)
        await self.store.reply(
            turn.lease,
            state=reply.state,
            messages=reply.messages,
            posts=make_posts(reply, turn.event, turn_id=turn.lease.turn_id, split=adapter.split),
            usage=journal.usage,
        )

    def _adapter(self, conversation: ConversationKey) -> Adapter:
        return next(adapter for adapter in self.adapters if adapter.name == conversation.platform)

    # --- when something fails ---

    async def _let_go(self, lease: Lease, error: Exception) -> None:
        """Leave the turn for a later attempt, or end it where its platform will never take the answer."""
        if isinstance(error, AdapterError) and (error.is_permanent or lease.attempt >= MAX_DELIVERIES):
            await self._try_to("abandon the turn", self.store.abandon(lease))
            return
        await asyncio.sleep(min(RETRY_S * 2 ** (lease.attempt - 1), MAX_RETRY_S))
        if not await self._try_to("give the turn back", self.store.give_back(lease)):
            await self._let_go(lease, error)

    async def _try_to(self, purpose: str, work: Awaitable[None]) -> bool:
        try:
            await work
        except BotError as error:
            log.warning("store_failed", purpose=purpose, error=str(error))
            return False
        return True


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait until they have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


_SPENT = (
    "This question was begun {attempts} times and the bot broke down each time, so it is not tried again. "
    "Please ask in another way, and tell your operator."
)
_TIMED_OUT = (
    "This took longer than the {seconds:.0f} s that one question may take (TURN_TIMEOUT_S), so it was ended. "
    "Please ask again, perhaps for less at once."
)
