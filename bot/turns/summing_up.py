"""Sums up what leaves the model's window, once the answer was delivered; no answer waits for it.

Nothing of it is needed for a turn: where a process dies before a summary is stored, the next answer leads to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from bot.domain.budgets import Charge
from bot.domain.errors import BotError, ModelContentFilterError, ModelContextError, ModelError, ModelUnavailableError
from bot.domain.events import ConversationKey
from bot.domain.messages import Message, ModelAnswer, Usage
from bot.domain.turns import TokensSpent
from bot.ports.conversation_store import History
from bot.ports.model import Model, ModelProgress
from bot.ports.store import Store
from bot.turns.budgets import BudgetedModel, Budgets
from bot.turns.context import Turns, Window, last_turn_that_leaves, middle_turn, up_to_turn
from bot.turns.summary import cut_summary, input_tokens, portion, summary_request
from bot.turns.turn import Turn

log = structlog.stdlib.get_logger(__name__)

MAX_CALLS = 4  # after one answer; what is left then is summed up after the next one
PATIENCE_S = 120.0  # for one call, its pauses and retries included
LEAST_INPUT_TOKENS = 200  # an endpoint that takes no more than that takes no summary


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryWriter:
    """Keeps the summaries of all conversations that this process answers in."""

    store: Store
    model: Model
    window: Window
    budgets: Budgets
    _busy: set[ConversationKey] = field(default_factory=set[ConversationKey])

    async def follow(self, turn: Turn, said: Sequence[Message]) -> None:
        """Sum up what has left the window or soon will, now that the turn has added what was `said`; log failures."""
        if turn.conversation in self._busy or not self._is_due(turn, said):
            return
        self._busy.add(turn.conversation)
        try:
            for _ in range(MAX_CALLS):
                if not await self._go_on(turn):
                    return
        except BotError as error:
            log.warning("not_summed_up", error=type(error).__name__, reason=str(error))
        except Exception:  # the next turn is another try
            log.exception("not_summed_up")
        finally:
            self._busy.discard(turn.conversation)

    def _is_due(self, turn: Turn, said: Sequence[Message]) -> bool:
        if turn.is_behind or turn.window_past is not None:
            return True
        turns = [*turn.history, *((turn.turn_id, message) for message in said)]
        return self._past(turns, turn, summary=turn.summary, is_early=True) is not None

    async def _go_on(self, turn: Turn) -> bool:
        """Sum up the oldest of what leaves; return False where nothing does, or another has done it meanwhile."""
        known = await self.store.unsummarised(turn.conversation)
        leaving = self._leaving(known, turn)
        if not leaving:
            return False
        try:
            return await self._sum_up(turn, known, leaving)
        except ModelError:
            past = self._past(known.turns, turn, summary=known.summary, is_early=False)
            if past is not None:  # the next requests keep their prefix, and what leaves is still to be summed up
                await self.store.move_window(turn.conversation, past_turn_id=past)
            raise

    def _leaving(self, known: History, turn: Turn) -> Turns:
        past = self._past(known.turns, turn, summary=known.summary, is_early=True)
        if past is None:
            return known.left
        return [*known.left, *up_to_turn(known.turns, past)]

    def _past(self, turns: Turns, turn: Turn, *, summary: str, is_early: bool) -> int | None:
        beside = turn.fixed_tokens + self.window.count(summary)
        max_tokens = self.window.history_tokens(beside_tokens=beside)
        return last_turn_that_leaves(turns, window=self.window, max_tokens=max_tokens, is_early=is_early)

    async def _sum_up(self, turn: Turn, known: History, leaving: Turns) -> bool:
        lost: list[Usage] = []  # of calls that gave no summary
        try:
            past, summary, usage = await self._ask(turn, known.summary, leaving, lost)
        except BaseException:
            await self._charge_lost(turn, lost)
            raise
        usage = sum(lost, usage)
        is_kept = await self.store.put_summary(
            turn.conversation,
            summary,
            past_turn_id=past,
            summary_end=known.summary_end,
            turn_id=turn.turn_id,
            usage=usage,
            charge=self._costs(turn, usage),
        )
        log.info("summed_up", chars=len(summary), input_tokens=usage.input_tokens, kept=is_kept)
        return is_kept

    def _costs(self, turn: Turn, usage: Usage) -> Charge | None:
        return self.budgets.charge(turn.asker, turn.conversation, usage)

    async def _charge_lost(self, turn: Turn, lost: Sequence[Usage]) -> None:
        charge = self._costs(turn, sum(lost, Usage()))
        if charge is not None:
            await self.store.charge(charge)

    async def _ask(self, turn: Turn, summary: str, leaving: Turns, lost: list[Usage]) -> tuple[int, str, Usage]:
        """Return the turn up to which the new summary goes, the summary, and what it cost.

        What is too long for the model is summed up in smaller portions, and a turn that a content filter refuses is
        left out: asked for again it would be refused again.
        """
        max_tokens = input_tokens(self.window)
        while True:
            past, transcript = portion(leaving, window=self.window, max_tokens=max_tokens)
            try:
                answer = await self._complete(turn, summary, transcript, lost)
            except ModelContextError as error:
                self.window.learn(error.limit_tokens)
                max_tokens = min(max_tokens // 2, input_tokens(self.window))
                if max_tokens < LEAST_INPUT_TOKENS:
                    raise
            except ModelContentFilterError:
                leaving = up_to_turn(leaving, past)
                half = middle_turn(leaving)
                if half is None or half == past:
                    log.warning("left_out_of_summary", reason="content filter")
                    return past, summary, Usage()
                leaving = up_to_turn(leaving, half)
            else:
                return past, cut_summary(answer.message.text, window=self.window), answer.usage

    async def _complete(self, turn: Turn, summary: str, transcript: str, lost: list[Usage]) -> ModelAnswer:
        def progress(event: ModelProgress) -> None:  # nobody watches a summary being written
            if isinstance(event, TokensSpent):
                lost.append(event.usage)

        model = BudgetedModel(model=self.model, budgets=self.budgets, asker=turn.asker, conversation=turn.conversation)
        request = summary_request(summary, transcript, window=self.window)
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        try:
            async with asyncio.timeout_at(deadline):
                answer = await model.complete(request, deadline=deadline, progress=progress)
        except TimeoutError:
            raise ModelUnavailableError(f"The model did not sum up within {PATIENCE_S:.0f} s.") from None
        if not answer.message.text.strip():
            lost.append(answer.usage)
            raise ModelUnavailableError("The model gave no summary.")
        return answer
