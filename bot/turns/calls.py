"""The tool calls of one answer: judged, then run at once where they may; the others wait for people, each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import assert_never

from bot.domain.asks import ApprovalAsk, FormAsk, LinkAsk
from bot.domain.messages import ModelAnswer, ToolCall, ToolResult
from bot.domain.turns import (
    CallAsked,
    CallDecided,
    CallFinished,
    CallJudged,
    CallProgressed,
    CallStarted,
    CallTaken,
    CallWaiting,
    ModelAnswered,
    Step,
)
from bot.ports.rights import Allowed, Asks, Denied, Guard, Judgement, Unknown, Withheld
from bot.ports.tools import Resumed, Tools, Wait
from bot.turns.ask_view import waiting_reason
from bot.turns.handing_over import TurnHandedOver
from bot.turns.journal import Journal
from bot.turns.seen_results import FILE_NOTE, without_secrets
from bot.turns.selection import FIND_TOOLS
from bot.turns.turn import RESTARTED, Parked, Turn

EXPIRED = "expired"  # the outcome of a wait that nobody ended
MAX_CALLS = 64  # of one answer
MAX_ASKS = 10  # of one answer: each is a message to people
END_CALL_S = 0.5  # for a server to learn that its call has ended, before the turn goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What the model asked for in the round of that `number`."""

    turn: Turn
    number: int
    answer: ModelAnswer
    tools: Tools
    guard: Guard
    journal: Journal

    async def run(self, *, is_new: bool) -> Sequence[ToolResult] | Parked:
        """Return one result for each call, in their order, having run at once all that could run.

        `is_new`: the answer is not in the journal yet.

        Raises:
            TurnHandedOver: The process ends; calls that may run again were left.
        """
        calls = self.answer.message.tool_calls
        before = self._new_steps() if is_new else []
        if self.turn.hand_over.is_wanted:  # they are made by the process that takes the turn up
            await self.journal.record(*before)
            raise TurnHandedOver
        self.journal.tell(*(self._taken(call) for call in calls if self.journal.result(self.number, call.id) is None))
        ready: list[ToolCall] = []
        for call in calls:
            if self._is_interrupted(call):
                result = ToolResult(call_id=call.id, text=RESTARTED, outcome="interrupted")
                before.append(CallFinished(round=self.number, result=result))
            elif self.journal.result(self.number, call.id) is None and not await self._waits(call):
                ready.append(call)
        before.extend(self._too_many(call) for call in ready[MAX_CALLS:])
        judged = self._asking_for_few(await self._judge(ready[:MAX_CALLS]))
        for call, judgement in judged:
            before.extend(self._steps_of(call, judgement))
        with self._acting([call for call, judgement in judged if isinstance(judgement, Allowed)]):
            await self.journal.record(*before)
            await self._end_denied(judged)
            await self._run_allowed(judged)
        waits = [wait for call in calls if (wait := self.journal.wait(self.number, call.id)) is not None]
        if waits:
            return Parked(wakes_at=min(wait.expires_at for wait in waits))
        results = [self.journal.result(self.number, call.id) for call in calls]
        if None in results:  # some were left
            raise TurnHandedOver
        return [result for result in results if result is not None]

    # --- what is known of them ---

    def _new_steps(self) -> list[Step]:
        asked = (self._asked(call) for call in self.answer.message.tool_calls)
        return [ModelAnswered(round=self.number, answer=self.answer), *asked]

    def _asked(self, call: ToolCall) -> CallAsked:
        server, tool = self._names(call)
        return CallAsked(round=self.number, call=call, server=server, tool=tool)

    def _taken(self, call: ToolCall) -> CallTaken:
        server, tool = self._names(call)
        return CallTaken(round=self.number, call=call, server=server, tool=tool)

    def _names(self, call: ToolCall) -> tuple[str, str]:
        spec = self.turn.selection.find(call.name)
        return (spec.server, spec.tool) if spec else ("", call.name)

    def _is_interrupted(self, call: ToolCall) -> bool:
        """Return whether the process died while the call ran, and it must not run again; an approval is for one run."""
        if not self.journal.is_started(self.number, call.id) or self.journal.result(self.number, call.id) is not None:
            return False
        return not self._is_repeatable(call)

    def _is_repeatable(self, call: ToolCall) -> bool:
        """Return whether a call that has begun before may run again."""
        spec = self.turn.selection.find(call.name)
        is_repeatable = spec is not None and spec.is_repeatable
        return self._is_own(call) or (is_repeatable and self.journal.approval(self.number, call.id) is None)

    def _acting(self, calls: Sequence[ToolCall]) -> AbstractContextManager[None]:
        """Keep the attempt from being ended while calls run that must not run twice."""
        return nullcontext() if all(map(self._is_repeatable, calls)) else self.turn.hand_over.acting()

    async def _waits(self, call: ToolCall) -> bool:
        """Return whether the call still waits; where its time is over, that is decided now."""
        wait = self.journal.wait(self.number, call.id)
        if wait is None:
            return False
        if wait.expires_at > self.journal.now:
            return True
        await self.journal.learn_decisions()  # from here on the store takes none
        if self.journal.wait(self.number, call.id) is not None:
            self.journal.hold(CallDecided(round=self.number, call_id=call.id, outcome=EXPIRED))
        return False

    # --- whether they may run ---

    async def _judge(self, calls: Sequence[ToolCall]) -> Sequence[tuple[ToolCall, Judgement | None]]:
        """Return what the guard says of each; None for the core's own tool, which reaches no server."""
        judged = await asyncio.gather(*(self._judge_one(call) for call in calls))
        return list(zip(calls, judged, strict=True))

    def _asking_for_few(
        self, judged: Sequence[tuple[ToolCall, Judgement | None]]
    ) -> Sequence[tuple[ToolCall, Judgement | None]]:
        """Return the same, where calls beyond the first few that ask people are not made."""
        asking = [call for call, judgement in judged if isinstance(judgement, Asks)]
        left_out = {call.id for call in asking[MAX_ASKS:]}
        too_many = Unknown(text=_TOO_MANY_ASKS.format(count=len(asking), limit=MAX_ASKS))
        return [(call, too_many if call.id in left_out else judgement) for call, judgement in judged]

    def _too_many(self, call: ToolCall) -> CallFinished:
        count = len(self.answer.message.tool_calls)
        text = f"This call was not made: {count:,} were asked for at once, and only {MAX_CALLS} can be."
        return self._unsent(call, ToolResult(call_id=call.id, text=text, outcome="error"))

    async def _judge_one(self, call: ToolCall) -> Judgement | None:
        if self._is_own(call):
            return None
        return await self.guard.judge(
            call,
            self.turn.selection.find(call.name),
            asker=self.turn.asker,
            conversation=self.turn.conversation,
            resumed=self.journal.approval(self.number, call.id),
        )

    def _is_own(self, call: ToolCall) -> bool:
        return call.name == FIND_TOOLS and self.turn.selection.is_part

    def _steps_of(self, call: ToolCall, judgement: Judgement | None) -> Sequence[Step]:
        if judgement is None:
            return [CallStarted(round=self.number, call_id=call.id)]
        if isinstance(judgement, Unknown):
            return [self._unsent(call, ToolResult(call_id=call.id, text=judgement.text, outcome="error"))]
        judged = self._judged(call, judgement)
        match judgement:
            case Allowed():
                return [judged, CallStarted(round=self.number, call_id=call.id)]
            case Denied():
                return [judged, self._unsent(call, ToolResult(call_id=call.id, text=judgement.text, outcome="denied"))]
            case Withheld():
                return [
                    judged,
                    self._unsent(call, ToolResult(call_id=call.id, text=judgement.text, outcome="withheld")),
                ]
            case Asks():
                return [judged, self._asks(call, judgement.ask)]
            case _:
                assert_never(judgement)

    def _judged(self, call: ToolCall, judgement: Allowed | Denied | Withheld | Asks) -> CallJudged:
        ruling = judgement.ruling
        return CallJudged(
            round=self.number,
            call_id=call.id,
            verdict=ruling.verdict,
            rule=ruling.rule,
            reason=ruling.reason,
            note="" if isinstance(judgement, Asks) else judgement.note,
            approvers=judgement.approvers if isinstance(judgement, Allowed) else (),
        )

    def _unsent(self, call: ToolCall, result: ToolResult) -> CallFinished:
        return CallFinished(round=self.number, result=result)

    def _asks(self, call: ToolCall, ask: ApprovalAsk) -> CallWaiting:
        return CallWaiting(
            round=self.number,
            call_id=call.id,
            reason=waiting_reason(ask, asker=self.turn.actor),
            expires_at=self.journal.now + ask.terms.expires_s,
            ask=ask,
        )

    # --- running them ---

    async def _end_denied(self, judged: Sequence[tuple[ToolCall, Judgement | None]]) -> None:
        """End what goes on at its server, and may not any more."""
        for call, judgement in judged:
            resumed = self.journal.resumed(self.number, call.id)
            if resumed is not None and isinstance(judgement, Denied | Withheld):
                await end_call(call, resumed.wait, turn=self.turn, tools=self.tools)

    async def _run_allowed(self, judged: Sequence[tuple[ToolCall, Judgement | None]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for call, judgement in judged:
                    if judgement is None or isinstance(judgement, Allowed):
                        group.create_task(self._run(call, judgement))
        except ExceptionGroup as failures:  # a tool's failure is a result: only the store can fail here
            raise failures.exceptions[0] from None

    async def _run(self, call: ToolCall, allowed: Allowed | None) -> None:
        try:
            outcome = await self._send_or_leave(call, allowed)
        except TurnHandedOver:  # the others go on to their ends
            return
        if isinstance(outcome, Wait):
            step: Step = CallWaiting(
                round=self.number,
                call_id=call.id,
                reason=outcome.reason,
                expires_at=self.journal.now + outcome.expires_in_s,
                ask=outcome.ask,
                state=outcome.state,
                worker=self.journal.worker if outcome.is_local else "",
            )
        else:
            result = await without_secrets(outcome)
            if result.attachments != outcome.attachments:
                self.turn.notes.append(FILE_NOTE)
            step = CallFinished(round=self.number, result=_with_edit(result, call, allowed))
        await self.journal.record(step)

    async def _send_or_leave(self, call: ToolCall, allowed: Allowed | None) -> ToolResult | Wait:
        if not self._is_repeatable(call):
            return await self._send(call, allowed)
        async with self.turn.hand_over.leavable():
            return await self._send(call, allowed)

    async def _send(self, call: ToolCall, allowed: Allowed | None) -> ToolResult | Wait:
        if allowed is None:
            return await self.turn.selection.search(call, self.tools)

        def progress(text: str) -> None:
            self.journal.tell(CallProgressed(round=self.number, call_id=call.id, text=text))

        sent = replace(call, arguments=allowed.arguments)
        if sent != call:
            self.journal.tell(self._taken(sent))
        return await self.tools.call(
            sent,
            actor=self.turn.actor,
            conversation=self.turn.conversation,
            resumed=self.journal.resumed(self.number, call.id),
            progress=progress,
            may_repeat=not allowed.approvers,  # an approval is for one run
        )


_TOO_MANY_ASKS = (
    "This call was not made: {count:,} calls of this answer need a person's approval, and only {limit} are asked about "
    "at once. Ask for it again once those are decided."
)


async def end_call(call: ToolCall, wait: CallWaiting, *, turn: Turn, tools: Tools) -> None:
    """End a call whose server has asked something: it may go on meanwhile, and nobody will answer it."""
    if not isinstance(wait.ask, FormAsk | LinkAsk):  # nothing goes on: the tools port would take it for a new call
        return
    ended = Resumed(wait=wait, decision=CallDecided(round=wait.round, call_id=call.id, outcome="stopped"))
    with suppress(TimeoutError):
        async with asyncio.timeout(END_CALL_S):
            await tools.call(call, actor=turn.actor, conversation=turn.conversation, resumed=ended)


def _with_edit(result: ToolResult, call: ToolCall, allowed: Allowed | None) -> ToolResult:
    """Return the result with a sentence for the model, where a person changed the arguments."""
    if allowed is None or allowed.arguments == call.arguments:
        return result
    by = allowed.edited_by or "A person"
    text = f"[{by} changed the arguments of this call before it ran, to: {allowed.arguments}]\n{result.text}"
    return replace(result, text=text)
