"""The turn loop: the model and its tools work in rounds until the model answers in words."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.errors import ModelContentFilterError, ModelContextError
from bot.domain.messages import ModelAnswer
from bot.domain.turns import ModelAnswered, ModelAsked
from bot.ports.model import Model
from bot.ports.rights import Guard
from bot.ports.tools import Tools
from bot.text.counting import count
from bot.turns.calls import Calls
from bot.turns.context import (
    LEAST_RESULT_CHARS,
    SHRUNK_RESULT_CHARS,
    after_turn,
    count_tokens,
    last_turn_that_leaves,
    middle_turn,
    shrink,
)
from bot.turns.journal import Journal
from bot.turns.turn import Parked, Turn, add_round

FILTERED_HISTORY = (
    "The model's content filter refused the conversation before this question, so the question was asked without it. "
    "The messages right before it stay readable here, and are not given to the model again."
)
SHORTENED = "The conversation was too long for the model, so its older part was left out of this answer."


async def run_turn(
    turn: Turn, *, model: Model, tools: Tools, guard: Guard, journal: Journal, deadline: float
) -> str | Parked:
    """Return what the model said last; the messages that led to it are in `turn.added`.

    Whatever the journal holds is not done again. The last answer is held by the journal for the commit of the reply.
    `deadline` is in seconds of the running loop's clock.

    Raises:
        ModelError: The model failed; `turn.added` holds what was done until then.
        LeaseLostError: Another worker has the turn now.
        TurnHandedOver: The process ends, and the turn is left as the journal has it.
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
        calls = Calls(turn=turn, number=number, answer=answer, tools=tools, guard=guard, journal=journal)
        outcome = await calls.run(is_new=is_new)
        if isinstance(outcome, Parked):
            return outcome
        add_round(turn, answer.message, outcome)
    raise AssertionError("unreachable: the last round cannot call tools")


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
    journal.tell(ModelAsked(round=number, history=len(turn.history)))
    request = turn.request(may_call_tools=may_call_tools)
    async with turn.hand_over.leavable(turn.is_heard):  # what has been heard of an answer is worth waiting for
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


def _final_words(turn: Turn, answer: ModelAnswer, *, reached_limit: bool) -> str:
    if answer.is_cut:
        turn.notes.append("The model reached its output limit here; ask it to continue for the rest.")
    if reached_limit:
        turn.notes.append(f"The limit of {count(turn.max_rounds, 'tool round')} (MAX_TOOL_ROUNDS) was reached.")
    return answer.message.text or "The model gave no answer in words. Please ask again, or in another way."
