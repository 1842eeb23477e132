"""The turn loop: the model and its tools work in rounds until the model answers in words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.domain.errors import ModelContentFilterError, ModelContextError
from bot.domain.events import ConversationKey
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
from bot.domain.people import Actor
from bot.domain.turns import (
    CallAsked,
    CallDecided,
    CallFinished,
    CallProgressed,
    CallStarted,
    CallWaiting,
    ModelAnswered,
    ModelAsked,
    Step,
)
from bot.ports.model import Model, ModelRequest
from bot.ports.tools import Tools, Wait
from bot.turns.context import (
    LEAST_RESULT_CHARS,
    SHRUNK_RESULT_CHARS,
    Turns,
    Window,
    after_turn,
    count_tokens,
    cut_result,
    last_turn_that_leaves,
    middle_turn,
    shrink,
    with_summary,
)
from bot.turns.journal import Journal
from bot.turns.selection import FIND_TOOLS, Selection

LAST_ROUND = (
    "[The limit of {rounds} tool rounds is reached. Answer now in words, with what you have, and say what is missing.]"
)
RESTARTED = (
    "Interrupted: the bot was restarted while this tool was running. It may have run, its outcome is unknown, and it "
    "was not run again. Tell the user, and do not call it again without being asked to."
)
FILTERED_HISTORY = (
    "The model's content filter refused the conversation before this question, so the question was asked without it. "
    "The messages right before it stay readable here, and are not given to the model again."
)
SHORTENED = "The conversation was too long for the model, so its older part was left out of this answer."
EXPIRED = "expired"  # the outcome of a wait that nobody ended


@dataclass(slots=True, kw_only=True)
class Turn:
    """One question on its way to an answer: what the model gets, and what has been added so far."""

    turn_id: int
    actor: Actor
    conversation: ConversationKey
    system: str
    history: Turns
    question: UserMessage
    selection: Selection
    max_rounds: int
    window: Window
    added: list[Message] = field(default_factory=list[Message])
    attachments: list[Attachment] = field(default_factory=list[Attachment])
    notes: list[str] = field(default_factory=list[str])  # what the user reads beside the answer
    summary: str = ""  # of what was said before the history
    is_behind: bool = False  # whether something was said before the history of which the summary does not tell
    fixed_tokens: int = 0  # of the system prompt and the tools
    window_past: int | None = None  # the turn after which the history has to begin from now on
    read_until: datetime | None = None  # what was said in the thread before that time is known, once the turn has ended

    @property
    def texts(self) -> list[str]:
        """What the model has said to the user between its tool calls."""
        return [message.text for message in self.added if isinstance(message, AssistantMessage) and message.text]

    def learn(self, call: ToolCall, result: ToolResult) -> None:
        """Carry what the call has brought up in the next requests."""
        before = self.selection.tokens
        self.selection.learn(call, result)
        self.fixed_tokens += self.selection.tokens - before

    def fit_tools(self) -> bool:
        """Carry no more tools than the window has room for; return whether they are fewer now."""
        before = self.selection.tokens
        is_less = self.selection.fit()
        self.fixed_tokens += self.selection.tokens - before
        return is_less

    def request(self, *, may_call_tools: bool) -> ModelRequest:
        """Return the next request to the model."""
        added = list(self.added)
        if not may_call_tools and added and isinstance(last := added[-1], ToolMessage):
            added[-1] = replace(last, text=f"{last.text}\n{LAST_ROUND.format(rounds=self.max_rounds)}")
        return ModelRequest(
            system=self.system,
            messages=with_summary((*(message for _, message in self.history), self.question, *added), self.summary),
            tools=self.selection.tools,
            may_call_tools=may_call_tools,
            cache_key=self.conversation.opaque_id,
            asker=str(self.actor),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The turn cannot go on before something is decided, or before `wakes_at` (seconds since the epoch)."""

    wakes_at: float


async def run_turn(turn: Turn, *, model: Model, tools: Tools, journal: Journal, deadline: float) -> str | Parked:
    """Return what the model said last; the messages that led to it are in `turn.added`.

    Whatever the journal holds is not done again. The last answer is held by the journal for the commit of the reply.
    `deadline` is in seconds of the running loop's clock.

    Raises:
        ModelError: The model failed; `turn.added` holds what was done until then.
        LeaseLostError: Another worker has the turn now.
    """
    for number in range(turn.max_rounds + 1):
        may_call_tools = number < turn.max_rounds
        answer, is_new = journal.answer(number), False
        if answer is None:
            answer, is_new = await _ask(turn, number, model, journal, deadline=deadline), True
        turn.notes.extend(answer.notes)
        if not answer.message.tool_calls or not may_call_tools:
            if is_new:
                journal.hold(ModelAnswered(round=number, answer=answer))
            return _final_words(turn, answer, reached_limit=not may_call_tools)
        outcome = await _run_calls(turn, number, answer, tools, journal, is_new=is_new)
        if isinstance(outcome, Parked):
            return outcome
        add_round(turn, answer.message, outcome)
    raise AssertionError("unreachable: the last round cannot call tools")


def add_round(turn: Turn, message: AssistantMessage, results: Sequence[ToolResult]) -> None:
    """Add the model's calls and their results, in the order of the calls."""
    turn.added.append(message)
    calls = {call.id: call for call in message.tool_calls}
    for result in results:
        turn.learn(calls[result.call_id], result)
        if result.text == RESTARTED:
            turn.notes.append(
                f"`{calls[result.call_id].name}` was running when the bot was restarted. It may have run; "
                f"it was not run again."
            )
        text = cut_result(_as_read_by_the_model(result), max_chars=turn.window.max_result_chars)
        turn.added.append(ToolMessage(call_id=result.call_id, text=text))
        turn.attachments.extend(result.attachments)


def _as_read_by_the_model(result: ToolResult) -> str:
    """Return the result's text; failures start with "Error:", so the model can tell them from data."""
    is_plain = result.outcome == "ok" or result.text.lower().startswith("error")
    return result.text if is_plain else f"Error: {result.text}"


# --- the model -------------------------------------------------------------------------------------------------


async def _ask(turn: Turn, number: int, model: Model, journal: Journal, *, deadline: float) -> ModelAnswer:
    while True:
        try:
            return await _complete(turn, number, model, journal, deadline=deadline)
        except ModelContextError as error:
            turn.window.learn(error.limit_tokens)
            fits_better = turn.fit_tools()
            if not _shrink(turn) and not fits_better:
                raise
        except ModelContentFilterError as refusal:
            if refusal.is_of_answer:
                raise
            return await _ask_without_history(turn, number, model, journal, refusal, deadline=deadline)


async def _ask_without_history(
    turn: Turn, number: int, model: Model, journal: Journal, refusal: ModelContentFilterError, *, deadline: float
) -> ModelAnswer:
    """Return the answer to the question alone, and forget for good what came before it: a filter refused one of them.

    Raises:
        ModelContentFilterError: It is the question (or a result of its tools): the model gets none of this turn again.
    """
    history, summary, context = turn.history, turn.summary, turn.question.context
    turn.history, turn.summary, turn.question = (), "", replace(turn.question, context="")
    try:
        if not history and not summary and not context:
            raise refusal
        answer = await _complete(turn, number, model, journal, deadline=deadline)
    except ModelContentFilterError as error:
        turn.history, turn.summary = history, summary
        turn.question = replace(turn.question, context=context, is_withheld=not error.is_of_answer)
        raise
    if history:
        turn.window_past = history[-1][0]
    turn.notes.append(FILTERED_HISTORY)
    return answer


async def _complete(turn: Turn, number: int, model: Model, journal: Journal, *, deadline: float) -> ModelAnswer:
    may_call_tools = number < turn.max_rounds
    journal.tell(ModelAsked(round=number))
    request = turn.request(may_call_tools=may_call_tools)
    answer = await model.complete(request, deadline=deadline, progress=journal.tell)
    if may_call_tools or not answer.message.tool_calls:
        return answer
    return replace(answer, message=replace(answer.message, tool_calls=()))  # asked for after the last round


def _shrink(turn: Turn) -> bool:
    """Leave more out of the turn's requests; return False where there is nothing more to leave out.

    First the older part of the history goes, and long tool results are cut; at last the summary goes too.
    """
    past, added = _history_that_leaves(turn), turn.added
    for max_chars in (SHRUNK_RESULT_CHARS, LEAST_RESULT_CHARS):
        added = list(shrink(turn.added, max_chars=max_chars))
        if past is not None or added != turn.added:
            break
    else:
        if not turn.summary:
            return False
        turn.summary = ""
    turn.added = added
    if past is not None:
        turn.history, turn.window_past = after_turn(turn.history, past), past
    turn.notes.append(SHORTENED)
    return True


def _history_that_leaves(turn: Turn) -> int | None:
    """Return the last turn for which the window has no room; where it seems to have room for all, of the older half."""
    count = turn.window.count
    beside = sum(count_tokens(message, count) for message in (turn.question, *turn.added))
    max_tokens = turn.window.history_tokens(beside_tokens=turn.fixed_tokens + beside + count(turn.summary))
    past = last_turn_that_leaves(turn.history, window=turn.window, max_tokens=max_tokens)
    return middle_turn(turn.history) if past is None else past


# --- the tools -------------------------------------------------------------------------------------------------


async def _run_calls(
    turn: Turn, number: int, answer: ModelAnswer, tools: Tools, journal: Journal, *, is_new: bool
) -> Sequence[ToolResult] | Parked:
    """Return one result for each call, in their order, having run at once all that could run."""
    calls = answer.message.tool_calls
    before: list[Step] = []
    if is_new:
        before.append(ModelAnswered(round=number, answer=answer))
        before.extend(_asked(turn, number, call) for call in calls)
    to_run: list[ToolCall] = []
    for call in calls:
        if journal.result(number, call.id) is not None:
            continue
        if journal.is_started(number, call.id) and not _is_repeatable(turn, call):
            interrupted = ToolResult(call_id=call.id, text=RESTARTED, outcome="interrupted")
            before.append(CallFinished(round=number, result=interrupted))
            continue
        if (wait := journal.wait(number, call.id)) is not None:
            if wait.expires_at > time.time():
                continue
            await journal.learn_decisions()  # from here on the store takes none
            if journal.wait(number, call.id) is not None:
                before.append(CallDecided(round=number, call_id=call.id, outcome=EXPIRED))
        to_run.append(call)
    await journal.record(*before, *(CallStarted(round=number, call_id=call.id) for call in to_run))
    try:
        async with asyncio.TaskGroup() as group:
            for call in to_run:
                group.create_task(_run_call(turn, number, call, tools, journal))
    except ExceptionGroup as failures:  # a tool's failure is a result: only the store can fail here
        raise failures.exceptions[0] from None
    waits = [wait for call in calls if (wait := journal.wait(number, call.id)) is not None]
    if waits:
        return Parked(wakes_at=min(wait.expires_at for wait in waits))
    results = [journal.result(number, call.id) for call in calls]
    return [result for result in results if result is not None]


def _asked(turn: Turn, number: int, call: ToolCall) -> CallAsked:
    spec = turn.selection.find(call.name)
    return CallAsked(round=number, call=call, server=spec.server if spec else "", tool=spec.tool if spec else call.name)


async def _run_call(turn: Turn, number: int, call: ToolCall, tools: Tools, journal: Journal) -> None:
    decision = journal.decision(number, call.id)

    def progress(text: str) -> None:
        journal.tell(CallProgressed(round=number, call_id=call.id, text=text))

    if call.name == FIND_TOOLS and turn.selection.is_part:
        outcome = await turn.selection.search(call, tools)
    else:
        outcome = await tools.call(
            call, actor=turn.actor, conversation=turn.conversation, decision=decision, progress=progress
        )
    if isinstance(outcome, Wait):
        expires_at = time.time() + outcome.expires_in_s
        await journal.record(CallWaiting(round=number, call_id=call.id, reason=outcome.reason, expires_at=expires_at))
    else:
        await journal.record(CallFinished(round=number, result=outcome))


def _is_repeatable(turn: Turn, call: ToolCall) -> bool:
    spec = turn.selection.find(call.name)
    return spec is not None and spec.is_repeatable


def _final_words(turn: Turn, answer: ModelAnswer, *, reached_limit: bool) -> str:
    if answer.is_cut:
        turn.notes.append("The model reached its output limit here; ask it to continue for the rest.")
    if reached_limit:
        turn.notes.append(f"The limit of {turn.max_rounds} tool rounds (MAX_TOOL_ROUNDS) was reached.")
    return answer.message.text or "The model gave no answer in words. Please ask again, or in another way."
