"""Calls to the model as their observers see them, and whether it answered last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from bot.domain.errors import ModelContentFilterError, ModelError, ModelUnavailableError
from bot.domain.messages import ModelAnswer, Usage
from bot.domain.turns import TextArrived, TokensSpent
from bot.observe.model_watch import ModelHealth, WatchedModel
from bot.ports.model import ModelProgress, ModelProgressSink, ModelRequest
from bot.ports.observer import ModelCall
from tests.fakes.ports import ScriptedModel, says

REQUEST = ModelRequest(system="", messages=())


class Seen(list[ModelCall]):
    def called(self, call: ModelCall) -> None:
        self.append(call)


async def ask(model: WatchedModel, request: ModelRequest = REQUEST) -> tuple[ModelAnswer, list[ModelProgress]]:
    progress: list[ModelProgress] = []
    return await model.complete(request, deadline=1e9, progress=progress.append), progress


async def test_a_call_is_seen_with_its_model_its_usage_and_the_time_of_its_first_text() -> None:
    seen = Seen()
    answer, progress = await ask(WatchedModel(ScriptedModel([says("hi")], name="gpt"), [seen]))
    (call,) = seen
    assert (call.model, call.purpose, call.usage, call.error) == ("gpt", "answer", answer.usage, "")
    assert call.first_chunk_s is not None and 0 <= call.first_chunk_s <= call.seconds
    assert progress == [TextArrived(text="hi")]


async def test_a_call_of_another_model_of_the_endpoint_is_seen_under_that_name() -> None:
    seen = Seen()
    await ask(
        WatchedModel(ScriptedModel([says("hi")], name="gpt"), [seen]),
        ModelRequest(system="", messages=(), model="small"),
    )
    assert [call.model for call in seen] == ["small"]


class Wasteful(ScriptedModel):
    """Spends tokens on a request that gives no answer."""

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        progress(TokensSpent(usage=Usage(input_tokens=5)))
        return await super().complete(request, deadline=deadline, progress=progress)


async def test_a_call_that_fails_is_seen_with_its_error_and_what_it_cost() -> None:
    seen = Seen()
    with pytest.raises(ModelUnavailableError):
        await ask(WatchedModel(Wasteful([ModelUnavailableError("gone")]), [seen]))
    assert [(call.error, call.usage.input_tokens) for call in seen] == [("ModelUnavailableError", 5)]


class Broken:
    def called(self, call: ModelCall) -> None:
        raise ValueError("a fault of ours")


async def test_an_observer_that_fails_is_logged_and_reaches_neither_the_call_nor_the_other_observers() -> None:
    seen = Seen()
    with capture_logs() as logged:
        answer, _ = await ask(WatchedModel(ScriptedModel([says("hi")]), [Broken(), seen]))
        with pytest.raises(ModelUnavailableError):
            await ask(WatchedModel(ScriptedModel([ModelUnavailableError("gone")]), [Broken(), seen]))
    assert answer.message.text == "hi"
    assert [call.error for call in seen] == ["", "ModelUnavailableError"]
    assert [(line["event"], line["observer"]) for line in logged] == [("observer_failed", "Broken")] * 2


async def test_a_call_that_is_cancelled_is_seen_as_such() -> None:
    async def never(_: ModelRequest) -> ModelAnswer:
        return await asyncio.Event().wait() and says("")

    seen = Seen()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await ask(WatchedModel(ScriptedModel([never]), [seen]))
    assert [call.error for call in seen] == ["CancelledError"]


@pytest.mark.parametrize(
    ("answers", "is_down"),
    [
        ([ModelUnavailableError("10.0.0.1 is gone")], True),
        ([ModelUnavailableError("gone"), says("hi")], False),
        ([ModelUnavailableError("gone"), ModelContentFilterError("no")], True),
        ([ModelContentFilterError("no")], False),
    ],
    ids=["down", "back", "down whatever is filtered", "filtered"],
)
async def test_the_model_is_down_from_a_failure_to_the_next_answer(
    answers: Sequence[ModelAnswer | ModelError], is_down: bool
) -> None:
    health = ModelHealth()
    model = WatchedModel(ScriptedModel(answers), [health])
    for answer in answers:
        if isinstance(answer, ModelAnswer):
            await ask(model)
        else:
            with pytest.raises(ModelError):
                await ask(model)
    assert bool(health.reason) == is_down
    assert "10.0.0.1" not in health.reason
