"""The runner: takes turns up, works on one per conversation at a time, and has what they leave delivered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from bot.domain.errors import AdapterError, BotError, LeaseLostError, ModelError, ModelStreamError
from bot.domain.events import ConversationKey
from bot.domain.messages import UserMessage
from bot.domain.turns import TurnView
from bot.ports.model import Model
from bot.ports.platform import Adapter, FetchesFiles
from bot.ports.store import ClaimedTurn, Lease, Store
from bot.ports.tools import Offer, Tools
from bot.turns.attachments import read_files
from bot.turns.context import TOKENS_A_MESSAGE, Window, count_tokens, load_history, opaque_id
from bot.turns.delivery import deliver
from bot.turns.details import lines_of
from bot.turns.journal import Journal
from bot.turns.loop import Turn, run_turn
from bot.turns.reply import Reply, make_broken_off_reply, make_posts, make_reply
from bot.turns.view import Trace
from bot.turns.worker import bury_dead

log = structlog.stdlib.get_logger(__name__)

LEASE_S = 15.0
BEATS_A_LEASE = 4  # so often it is renewed: three renewals may fail
SWEEP_S = 1.0  # how often turns that other processes left, or held up, are looked for
RETRY_S = 1.0  # before a failed attempt is repeated; doubled each time
MAX_RETRY_S = 60.0
MAX_DOUBLINGS = 10
MAX_DELIVERIES = 50  # attempts to post an answer: about 45 minutes
OUTPUT_SHARE = 0.2  # of the model's window, kept free for its answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a turn and a process may take."""

    max_tool_rounds: int = 10
    turn_timeout_s: float = 300.0
    max_running: int = 200  # turns at once on each platform: one that is slow takes no room from the others
    max_attempts: int = 3  # a turn that took its process down so often is not tried again
    drain_s: float = 10.0  # what running turns are given when the process ends
    lease_s: float = LEASE_S  # a process that is silent for so long is taken for dead; at most 60
    retry_s: float = RETRY_S
    max_file_bytes: int = 10_000_000  # of each file that comes with a question

    def may_read_journal(self, attempt: int) -> bool:
        """Tell whether this attempt reads what the ones before did: it may be what breaks the bot."""
        return attempt <= self.max_attempts + 1

    def wait_after(self, attempt: int) -> float:
        """Return the seconds before a turn is tried again whose attempt of this number failed."""
        return min(self.retry_s * 2 ** min(attempt - 1, MAX_DOUBLINGS), MAX_RETRY_S)


@dataclass(slots=True, kw_only=True)
class _Running:
    """A turn at work, and the means to end it early."""

    lease: Lease
    adapter: Adapter
    is_stopped: bool = False
    is_lost: bool = False  # another process works on it now
    is_replied: bool = False
    scope: asyncio.Timeout | None = None  # while the model and its tools work

    def stop(self) -> None:
        self.is_stopped = True
        self._end()

    def lose(self) -> None:
        self.is_lost = True
        self._end()

    def _end(self) -> None:
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
    _lease_until: float = field(default=0.0, init=False)  # in seconds of the running loop's clock

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Take turns up while the context is open; at its end running ones get `drain_s`, the rest stays stored.

        A cancellation in that time cuts it short.
        """
        await self._renew()
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
            try:
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=self.limits.drain_s)
            finally:
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

    # --- the lease ---

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.limits.lease_s / BEATS_A_LEASE)
            try:
                await self._renew()
            except Exception as error:  # noqa: BLE001  (a loop that ends would leave a process that takes no turns)
                _log_failure("renewal_failed", error)

    async def _renew(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        await self.store.heartbeat(self.worker, lease_s=self.limits.lease_s)
        if asked_at >= self._lease_until:
            await self._leave_lost_turns()
        self._lease_until = asked_at + self.limits.lease_s

    @property
    def _is_alive(self) -> bool:
        """Whether others must think so: a process that was paused for too long may have lost its turns."""
        return asyncio.get_running_loop().time() < self._lease_until

    async def _leave_lost_turns(self) -> None:
        """End the work on turns that others have taken over, without waiting for its next step to be refused."""
        for running in [running for running in self._running.values() if running.scope is not None]:
            try:
                await self.store.record(running.lease, ())
            except LeaseLostError:
                running.lose()  # without effect where the turn was replied meanwhile

    def _show_on(self, adapter: Adapter) -> Callable[[TurnView], None]:
        is_broken = False

        def show(view: TurnView) -> None:
            nonlocal is_broken
            # Whoever took the turn over shows it too. All later states have been stored, so the turn was held then.
            if view.state == "running" and not self._is_alive:
                return
            try:
                adapter.show(view)
            except Exception:  # the answer is worth more than the sight of its progress
                if not is_broken:  # there may be thousands of views
                    log.exception("show_failed", adapter=adapter.name)
                is_broken = True

        return show

    # --- taking turns up ---

    async def _take(self) -> None:
        while True:
            self._woken.clear()
            try:
                if not self._is_alive:  # what is claimed without a lease is taken over at once
                    await self._renew()
                for adapter in self.adapters:
                    await self._claim(adapter)
            except Exception as error:  # noqa: BLE001  (as above)
                _log_failure("claim_failed", error)
                await asyncio.sleep(RETRY_S)
                continue
            await self._wait_for_work()

    async def _claim(self, adapter: Adapter) -> None:
        running = sum(running.adapter is adapter for running in self._running.values())
        free = self.limits.max_running - running
        for turn in await self.store.claim(self.worker, serves=[adapter.serves], limit=free):
            self._running[turn.lease.turn_id] = _Running(
                lease=turn.lease,
                adapter=adapter,
                is_stopped=turn.stop_requested,
                is_replied=turn.state == "delivering",
            )
            task = asyncio.create_task(self._work(turn, adapter), name=f"turn:{turn.lease.turn_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(SWEEP_S):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _work(self, turn: ClaimedTurn, adapter: Adapter) -> None:
        """Bring one turn to its end; whatever goes wrong stays with this turn."""
        lease = turn.lease
        started = time.monotonic()
        trace = Trace(self._show_on(adapter), turn)
        with structlog.contextvars.bound_contextvars(turn=lease.turn_id, conversation=str(turn.event.conversation)):
            try:
                outcome = await self._bring_to_end(turn, adapter, trace)
                log.info(
                    "turn_ended", outcome=outcome, attempt=lease.attempt, seconds=round(time.monotonic() - started, 3)
                )
            except LeaseLostError:
                log.warning("turn_taken_over")
                trace.enter("taken_over")
            except Exception as error:
                log.exception("turn_failed", attempt=lease.attempt)
                await self._let_go(lease, error, trace)
            finally:
                del self._running[lease.turn_id]
                self.wake()

    async def _bring_to_end(self, turn: ClaimedTurn, adapter: Adapter, trace: Trace) -> str:
        lease = turn.lease
        if turn.state == "delivering":
            await self._recall_calls(lease, trace)
            trace.enter("delivering")
            await deliver(lease, store=self.store, adapter=adapter)
            trace.enter("answered")
            return "delivered"
        is_readable = self.limits.may_read_journal(lease.attempt)
        journal = Journal(self.store, lease, await self.store.steps(lease.turn_id) if is_readable else ())
        draft = self._draft(turn)
        if lease.attempt > self.limits.max_attempts:
            text = _SPENT.format(attempts=lease.attempt - 1) + ("" if is_readable else _UNREAD)
            reply = make_broken_off_reply(draft, journal, text, state="failed")
        else:
            reply = await self._answer(turn, draft, journal, trace)
        await self._store_reply(turn, draft, journal, reply, adapter)
        self._running[lease.turn_id].is_replied = True
        trace.enter("delivering")
        await deliver(lease, store=self.store, adapter=adapter)
        trace.enter(reply.state)
        return reply.state

    async def _recall_calls(self, lease: Lease, trace: Trace) -> None:
        """Let the calls of a turn be seen as they ended, which the process that answered it may not have shown."""
        if self.limits.may_read_journal(lease.attempt):
            trace.recall_calls(lines_of(await self.store.steps(lease.turn_id), Offer(tools=()), is_over=True))

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
            if running.is_lost:
                raise LeaseLostError(f"Turn {draft.turn_id} was taken over while this process was paused.") from None
            if running.is_stopped:
                return make_broken_off_reply(draft, journal, _after(trace.unkept_text, "Stopped."), state="stopped")
            text = _after(trace.unkept_text, _TIMED_OUT.format(seconds=self.limits.turn_timeout_s))
        except ModelStreamError as error:
            text = _after(error.partial, str(error))
        except ModelError as error:
            log.warning("model_failed", error=type(error).__name__)
            text = str(error)
        finally:
            running.scope = None  # what is stored from here on cannot be stopped any more
        return make_broken_off_reply(draft, journal, text, state="failed")

    async def _prepare(self, turn: ClaimedTurn, draft: Turn) -> None:
        if turn.event.files:
            await self._add_files(turn, draft)
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

    async def _add_files(self, turn: ClaimedTurn, draft: Turn) -> None:
        adapter = self._running[draft.turn_id].adapter
        content = await read_files(
            turn.event.files,
            source=adapter if isinstance(adapter, FetchesFiles) else None,
            conversation=turn.event.conversation,
            max_bytes=self.limits.max_file_bytes,
            max_chars=self.window.max_file_chars,
        )
        draft.question = content.added_to(draft.question)
        draft.notes.extend(content.notes)

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

    # --- when something fails ---

    async def _let_go(self, lease: Lease, error: Exception, trace: Trace) -> None:
        """Leave the turn for a later attempt, or end it where its answer will never be posted."""
        is_given_up = self._running[lease.turn_id].is_replied and self._is_hopeless(lease, error)
        let_go = self.store.abandon if is_given_up else self.store.give_back
        wait_s = self.limits.wait_after(lease.attempt)
        if not is_given_up:
            trace.wait(str(error) if isinstance(error, BotError) else "The bot itself failed at this.", wait_s=wait_s)
            await asyncio.sleep(wait_s)
        while not await self._try_to("let the turn go", let_go(lease)):  # noqa: ASYNC110  (a store sets no event)
            await asyncio.sleep(wait_s)
        if is_given_up:
            trace.enter("undelivered")

    def _is_hopeless(self, lease: Lease, error: Exception) -> bool:
        if isinstance(error, AdapterError):
            return error.is_permanent or lease.attempt >= MAX_DELIVERIES
        return not isinstance(error, BotError) and lease.attempt > self.limits.max_attempts

    async def _try_to(self, purpose: str, work: Awaitable[None]) -> bool:
        try:
            await work
        except LeaseLostError:
            log.warning("turn_taken_over")
        except BotError as error:
            log.warning("store_failed", purpose=purpose, error=str(error))
            return False
        return True


def _after(partial: str, sentence: str) -> str:
    """Return how an answer ends that was broken off: what was seen of it stays, and the sentence says what happened."""
    return f"{partial.rstrip()}\n\n_{sentence}_" if partial.strip() else sentence


def _log_failure(event: str, error: Exception) -> None:
    if isinstance(error, BotError):
        log.warning(event, error=str(error))
    else:
        log.error(event, exc_info=error)


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
_UNREAD = " Tools that it asked for may have run; what they said is not kept."
_TIMED_OUT = (
    "This took longer than the {seconds:.0f} s that one question may take (TURN_TIMEOUT_S), so it was ended. "
    "Please ask again, perhaps for less at once."
)
