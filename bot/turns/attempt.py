"""One attempt to bring a turn to its end: prepare it, answer it, store the reply, have it delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import structlog

from bot.domain.budgets import Charge
from bot.domain.errors import (
    AdapterError,
    BudgetError,
    LeaseLostError,
    ModelError,
    ModelStreamError,
)
from bot.domain.messages import Message, Usage, UserMessage
from bot.domain.turns import Paused, StateChanged, Step, TurnState, TurnView
from bot.ports import giving_up
from bot.ports.platform import Adapter
from bot.ports.tools import Offer
from bot.ports.work_store import ClaimedTurn
from bot.text.apart import apart
from bot.turns.calls import end_call
from bot.turns.delivery import deliver
from bot.turns.endings import ended_with, spent, timed_out
from bot.turns.handing_over import HandOver, TurnHandedOver
from bot.turns.journal import Journal
from bot.turns.leaving import Leaving
from bot.turns.loop import run_turn
from bot.turns.question import Preparation
from bot.turns.reply import Reply, make_broken_off_reply, make_posts, make_reply
from bot.turns.resources import Resources
from bot.turns.selection import Selection
from bot.turns.turn import Parked, Turn
from bot.turns.view import ViewObserver

log = structlog.stdlib.get_logger(__name__)


class Attempt:
    """Works on one claimed turn. `is_alive`: whether the process holds its lease.

    `stop` and `abort` end it early; `hand_over` leaves it for another process.
    """

    def __init__(
        self, turn: ClaimedTurn, *, adapter: Adapter, resources: Resources, is_alive: Callable[[], bool]
    ) -> None:
        self.turn = turn
        self.adapter = adapter
        self._resources = resources
        self._store = resources.store
        self._limits = resources.limits
        self._is_alive = is_alive
        self._settings = resources.policy().place(turn.event.conversation.place)
        self._view = ViewObserver(turn, self._show, trace_style=self._settings.trace)
        self._journal = self._open_journal(())
        self._preparation = Preparation(
            store=resources.store,
            tools=resources.tools,
            adapter=adapter,
            window=resources.window,
            limits=resources.limits,
            began_at=resources.began_at,
        )
        self._is_stopped = turn.stop_requested
        self._is_lost = False
        self._is_replied = turn.state == "delivering"
        self._hand_over = HandOver()
        self._scope: asyncio.Timeout | None = None  # while the model and its tools work
        # The turn with the messages that it added to the history, once its answer was delivered by this process.
        self.answered: tuple[Turn, Sequence[Message]] | None = None

    # --- from outside ---

    @property
    def has_asked(self) -> bool:
        """Whether people were asked for something, as far as this attempt knows."""
        return self._journal.has_asked

    def stop(self) -> None:
        """End the turn as stopped; without effect once its reply is being stored."""
        self._is_stopped = True
        self._end_early()

    def abort(self) -> None:
        """Leave the turn to the process that has taken it over, and show no more of it."""
        if not self._is_lost:
            self._enter("taken_over")
            self._is_lost = True
            self._end_early()

    @property
    def is_acting(self) -> bool:
        """Whether a call is under way that must not be cut: it may not be made again."""
        return self._hand_over.is_acting

    def hand_over(self, *, is_due: bool) -> None:
        """Give the turn back to the store, for another process to go on with it where this one stopped.

        A call that acts comes to its end before, and so does an answer of which something is seen, unless `is_due`.
        """
        self._hand_over.ask(is_due=is_due)

    def _end_early(self) -> None:
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Bring the turn to its end, to a wait, or back to the store; whatever goes wrong stays with this turn."""
        try:
            with giving_up.until(self._hand_over.asked):  # also what is shown of it on the way
                await self._bring_to_end()
        except LeaseLostError:
            log.warning("turn_taken_over")
            self.abort()
        except TurnHandedOver:
            log.info("turn_handed_over")
            self._enter("taken_over")
            await self._leaving.for_another()
        except AdapterError as error:  # the platform's fault: no stack of ours says more than its sentence
            log.error("answer_not_delivered", attempt=self.turn.lease.attempt, error=str(error))  # noqa: TRY400
            await self._leave(error)
        except Exception as error:  # one turn is isolated from the next
            log.exception("turn_failed", attempt=self.turn.lease.attempt)
            await self._leave(error)

    # --- the walk ---

    async def _bring_to_end(self) -> None:
        attempt = self.turn.lease.attempt
        is_readable = self._limits.may_read_journal(attempt)
        steps = await self._store.steps(self.turn.lease.turn_id) if is_readable else ()
        self._view.recall(steps, is_over=self._is_replied)
        if self._is_replied:
            self._enter("delivering")
            await self._deliver()
            self._enter("answered")
            return
        self._journal = self._open_journal(steps)
        draft = self._draft()
        if attempt > self._limits.max_attempts:
            text = spent(attempts=attempt - 1, is_journal_read=is_readable)
            reply = make_broken_off_reply(draft, self._journal, text, state="failed")
        else:
            outcome = await self._answer(draft)
            if isinstance(outcome, Parked):
                await self._journal.park(wakes_at=outcome.wakes_at)
                return
            reply = outcome
        if reply.state != "answered":
            self._journal.give_up()
        await self._store_reply(draft, reply)
        if reply.state != "answered":
            await self._end_calls(draft)
        await self._deliver()
        self._enter(reply.state)
        if reply.state == "answered" and self.turn.event.run is None:  # no model is asked for it in any way
            self.answered = draft, reply.messages

    async def _answer(self, draft: Turn) -> Reply | Parked:
        deadline = asyncio.get_running_loop().time() + self._limits.turn_timeout_s
        self._enter("running")
        state: Literal["stopped", "failed"] = "failed"
        outcome: str | Parked | None = None
        text = ""  # of a turn that was broken off, so without an outcome
        try:
            async with asyncio.timeout_at(deadline) as self._scope:
                if self._is_stopped:
                    self.stop()
                async with self._hand_over.leavable():
                    await self._preparation.prepare(draft, self.turn.event, has_waited=self.turn.wakes > 0)
                outcome = await run_turn(
                    draft,
                    model=self._resources.model_for(self.turn.event),
                    tools=self._resources.tools,
                    guard=self._resources.guard,
                    journal=self._journal,
                    deadline=deadline,
                )
        except TimeoutError:
            if self._is_lost:
                raise LeaseLostError(f"Turn {draft.turn_id} was taken over while this process was paused.") from None
            state = "stopped" if self._is_stopped else "failed"
            reason = "Stopped." if self._is_stopped else timed_out(self._limits.turn_timeout_s)
            text = ended_with(reason, partial=self._view.unkept_text)
        except ModelError as error:
            text = self._failed(error)
        finally:
            self._scope = None  # what is stored from here on cannot be stopped any more
        if outcome is None:
            return await self._broken_off(draft, text, state=state)
        return outcome if isinstance(outcome, Parked) else await self._answered(draft, outcome)

    def _failed(self, error: ModelError) -> str:
        """Return the answer that people get where the model failed."""
        if isinstance(error, ModelStreamError):
            return ended_with(str(error), partial=error.partial)
        if isinstance(error, BudgetError):
            log.info("budget_used_up")
        else:
            log.warning("model_failed", error=type(error).__name__)
        return str(error)

    async def _answered(self, draft: Turn, text: str) -> Reply:
        draft.notes.extend(await self._budget_notes())
        return make_reply(draft, text, state="answered")

    async def _broken_off(self, draft: Turn, text: str, *, state: Literal["stopped", "failed"]) -> Reply:
        draft.notes.extend(note for note in await self._budget_notes() if note != text)
        return make_broken_off_reply(draft, self._journal, text, state=state)

    # --- budgets ---

    async def _budget_notes(self) -> Sequence[str]:
        event = self.turn.event
        return await self._resources.budgets.warn(
            event.asker, event.conversation, turn_id=self.turn.lease.turn_id, held=self._journal.held_usage
        )

    def _charge(self, usage: Usage) -> Charge | None:
        return self._resources.budgets.charge(self.turn.event.asker, self.turn.event.conversation, usage)

    # --- what the model gets ---

    def _draft(self) -> Turn:
        event = self.turn.event
        return Turn(
            turn_id=self.turn.lease.turn_id,
            asker=event.asker,
            conversation=event.conversation,
            system="\n\n".join(filter(None, [self._resources.system_prompt, self._settings.prompt])),
            history=(),
            question=UserMessage(
                text=event.text,
                speaker=event.author_name if event.is_shared else None,
                speaker_id=event.author_id if event.is_shared else "",
            ),
            selection=Selection(Offer(tools=()), window=self._resources.window),
            max_rounds=self._limits.max_tool_rounds,
            window=self._resources.window,
            model=self._settings.model,
            hand_over=self._hand_over,
            is_heard=lambda: bool(self._view.unkept_text),
        )

    # --- what is left behind ---

    async def _store_reply(self, draft: Turn, reply: Reply) -> None:
        if draft.window_past is not None:
            await self._store.move_window(draft.conversation, past_turn_id=draft.window_past)
        posts = await apart(
            lambda: make_posts(reply, self.turn.event, turn_id=draft.turn_id, split=self.adapter.split),
            size=len(reply.text),
        )
        await self._journal.reply(
            reply.state,
            messages=reply.messages,
            posts=posts,
            tool_use=draft.selection.use(draft.added),
            read_until=draft.read_until,
        )
        self._is_replied = True

    async def _end_calls(self, draft: Turn) -> None:
        """End the calls whose servers asked something and go on meanwhile: nobody will answer them."""
        for call, wait in self._journal.unfinished():
            await end_call(call, wait, turn=draft, tools=self._resources.tools)

    async def _deliver(self) -> None:
        is_fresh = self.turn.state != "delivering"
        await deliver(
            self.turn.lease,
            store=self._store,
            adapter=self.adapter,
            is_fresh=is_fresh,
            is_alive=self._is_ours,
            patience=self._limits.patience,
            pulse=self._resources.pulse,
            hand_over=self._hand_over,
            tell=lambda error, wait_s: self._journal.tell(Paused(reason=str(error), wait_s=wait_s)),
        )

    @property
    def _leaving(self) -> Leaving:
        return Leaving(
            lease=self.turn.lease,
            store=self._store,
            adapter=self.adapter,
            limits=self._limits,
            hand_over=self._hand_over,
            tell=self._journal.tell,
        )

    async def _leave(self, error: Exception) -> None:
        if await self._leaving.after(error, is_replied=self._is_replied) == "for good":
            self._enter("undelivered")

    # --- what is seen ---

    def _open_journal(self, steps: Sequence[Step]) -> Journal:
        observers = (self._view, *self._resources.observers)
        return Journal(self._store, self.turn, steps, observers=observers, charge=self._charge)

    def _enter(self, state: TurnState) -> None:
        self._journal.tell(StateChanged(state=state))

    def _show(self, view: TurnView) -> None:
        # The process that took the turn over shows it too. All later states are stored, so the turn was held then.
        if not self._is_lost and (view.state != "running" or self._is_alive()):
            self.adapter.show(view)

    def _is_ours(self) -> bool:
        return not self._is_lost and self._is_alive()
