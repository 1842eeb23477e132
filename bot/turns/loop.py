"""The turn loop: the model and its tools work in rounds until the model answers in words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import structlog

from bot.domain.errors import ModelContextError
from bot.domain.messages import (
    AssistantMessage,
    Attachment,
    Message,
    ModelAnswer,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)
from bot.domain.turns import CallFinished, CallStarted, ModelAnswered
from bot.ports.model import Model, ModelRequest
from bot.ports.tools import Offer, Tools
from bot.turns.context import Turns, cut_result, newer_half, shrink
from bot.turns.journal import Journal
from bot.turns.view import Trace

log = structlog.stdlib.get_logger(__name__)

LAST_ROUND = (
    "[The limit of {rounds} tool rounds is reached. Answer now in words, with what you have, and say what is missing.]"
)
RESTARTED = (
    "Interrupted: the bot was restarted while this tool was running. It may have run, its outcome is unknown, and it "
    "was not run again. Tell the user, and do not call it again without being asked to."
)


@dataclass(slots=True, kw_only=True)
class Turn:
    """One question on its way to an answer: what the model is told, and what has been added so far."""

    turn_id: int
    system: str
    history: Turns
    question: UserMessage
    offer: Offer
    conversation: str  # opaque id for tool servers and prompt caches
    max_rounds: int
    max_result_chars: int
    added: list[Message] = field(default_factory=list[Message])
    attachments: list[Attachment] = field(default_factory=list[Attachment])
    notes: list[str] = field(default_factory=list[str])  # what the user is told beside the answer
    window_start: int | None = None  # the turn at which the history has to begin from now on

    @property
    def texts(self) -> list[str]:
        """What the model has said to the user between its tool calls."""
        return [message.text for message in self.added if isinstance(message, AssistantMessage) and message.text]

    def request(self, *, may_call_tools: bool) -> ModelRequest:
        """Return the next request to the model."""
        added = list(self.added)
        if not may_call_tools and added and isinstance(last := added[-1], ToolMessage):
            added[-1] = replace(last, text=f"{last.text}\n{LAST_ROUND.format(rounds=self.max_rounds)}")
        return ModelRequest(
            system=self.system,
            messages=(*(message for _, message in self.history), self.question, *added),
            tools=self.offer.tools,
            may_call_tools=may_call_tools,
            cache_key=self.conversation,
        )


async def run_turn(turn: Turn, *, model: Model, tools: Tools, journal: Journal, trace: Trace, deadline: float) -> str:
    """Return what the model said, its final words last; the messages that led to them are in `turn.added`.

    Whatever the journal holds is not done again. `deadline` is in seconds of the running loop's clock.

    Raises:
        ModelError: The model failed; `turn.added` holds what was done until then.
        LeaseLostError: Another worker has the turn now.
    """
    for number in range(turn.max_rounds + 1):
        may_call_tools = number < turn.max_rounds
        answer = journal.answer(number)
        if answer is None:
            answer = await _ask(turn, model, trace, may_call_tools=may_call_tools, deadline=deadline)
            await journal.record(ModelAnswered(round=number, answer=answer))
            trace.keep_answer()
        else:
            trace.recall_answer(answer.message.text)
        turn.notes.extend(answer.notes)
        if not answer.message.tool_calls or not may_call_tools:
            break
        results = await _run_calls(turn, number, answer.message.tool_calls, tools, journal, trace)
        add_round(turn, answer.message, results)
    else:
        raise AssertionError("unreachable: the last round cannot call tools")
    return _final_words(turn, answer, reached_limit=not may_call_tools)


def add_round(turn: Turn, message: AssistantMessage, results: Sequence[ToolResult]) -> None:
    """Add the model's calls and their results, in the order of the calls."""
    turn.added.append(message)
    names = {call.id: call.name for call in message.tool_calls}
    for result in results:
        if result.text == RESTARTED:
            turn.notes.append(
                f"`{names[result.call_id]}` was running when the bot was restarted. It may have run; "
                f"it was not run again."
            )
        text = cut_result(_told(result), max_chars=turn.max_result_chars)
        turn.added.append(ToolMessage(call_id=result.call_id, text=text))
        turn.attachments.extend(result.attachments)


def _told(result: ToolResult) -> str:
    """Return the result as the model reads it: a failure is told from data by its first word."""
    is_plain = result.outcome == "ok" or result.text.lower().startswith("error")
    return result.text if is_plain else f"Error: {result.text}"


async def _ask(turn: Turn, model: Model, trace: Trace, *, may_call_tools: bool, deadline: float) -> ModelAnswer:
    trace.begin_answer()
    try:
        request = turn.request(may_call_tools=may_call_tools)
        return await model.complete(request, deadline=deadline, progress=trace.hear)
    except ModelContextError:
        if not turn.history and not turn.added:
            raise
        _shrink(turn)
    trace.begin_answer()
    request = turn.request(may_call_tools=may_call_tools)
    return await model.complete(request, deadline=deadline, progress=trace.hear)


def _shrink(turn: Turn) -> None:
    turn.history = newer_half(turn.history)
    turn.added = list(shrink(turn.added))
    turn.window_start = turn.history[0][0] if turn.history else turn.turn_id
    turn.notes.append("The conversation was too long for the model, so its older half was left out from here on.")


async def _run_calls(
    turn: Turn, number: int, calls: Sequence[ToolCall], tools: Tools, journal: Journal, trace: Trace
) -> Sequence[ToolResult]:
    """Return one result for each call, in their order, having run at once all that had none."""
    for call in calls:
        trace.ask(number, call, turn.offer.find(call.name))
    to_run: list[ToolCall] = []
    for call in calls:
        if (known := journal.result(number, call.id)) is not None:
            trace.finish(number, known)
        elif journal.is_started(number, call.id) and not _is_repeatable(turn, call):
            interrupted = ToolResult(call_id=call.id, text=RESTARTED, outcome="interrupted")
            await _finish(number, interrupted, journal, trace)
        else:
            to_run.append(call)
    await journal.record(*(CallStarted(round=number, call_id=call.id) for call in to_run))
    try:
        async with asyncio.TaskGroup() as group:
            for call in to_run:
                group.create_task(_run_call(turn, number, call, tools, journal, trace))
    except ExceptionGroup as failures:  # a tool's failure is a result: only the store can fail here
        raise failures.exceptions[0] from None
    results = [journal.result(number, call.id) for call in calls]
    return [result for result in results if result is not None]


async def _run_call(turn: Turn, number: int, call: ToolCall, tools: Tools, journal: Journal, trace: Trace) -> None:
    trace.start(number, call.id)
    result = await tools.call(call, conversation=turn.conversation)
    await _finish(number, result, journal, trace)
    log.info("tool_call_ended", call=call.id, tool=call.name, outcome=result.outcome, seconds=round(result.seconds, 3))


async def _finish(number: int, result: ToolResult, journal: Journal, trace: Trace) -> None:
    await journal.record(CallFinished(round=number, result=result))
    trace.finish(number, result)


def _is_repeatable(turn: Turn, call: ToolCall) -> bool:
    spec = turn.offer.find(call.name)
    return spec is not None and spec.is_repeatable


def _final_words(turn: Turn, answer: ModelAnswer, *, reached_limit: bool) -> str:
    if answer.is_cut:
        turn.notes.append("The model reached its limit of output here; ask it to go on for the rest.")
    if reached_limit:
        turn.notes.append(f"The limit of {turn.max_rounds} tool rounds (MAX_TOOL_ROUNDS) was reached.")
    return answer.message.text or "The model gave no answer in words. Please ask again, or in another way."
