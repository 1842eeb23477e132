"""What tool servers ask of people while a turn waits: forms and links, only for the asker."""

from __future__ import annotations

import json

import pytest

from bot.domain.answers import Decided, Details, Done, Refused, Submitted
from bot.domain.asks import ApprovalAsk, AskView, FormAsk, LinkAsk
from bot.domain.events import Choice, DecisionMade, DetailsAsked, FormAsked, FormSubmitted
from bot.domain.forms import Form, Invalid
from bot.domain.messages import ToolCall, ToolMessage, ToolResult
from bot.domain.turns import CallStarted
from bot.ports.model import ModelRequest
from bot.ports.store import Store
from bot.ports.tools import Wait
from tests.fakes.bots import Bot, open_bot
from tests.fakes.ports import CONVERSATION, RecordingAdapter, ScriptedModel, ScriptedTools, calls, message, says
from tests.fakes.rights import Rights, ScriptedPolicy, allows, asks, denies

ADA, BEN = "U1", "U2"
SCHEMA = {
    "type": "object",
    "properties": {"region": {"type": "string"}, "replicas": {"type": "integer", "maximum": 5}},
    "required": ["region", "replicas"],
}


class Asking(ScriptedTools):
    """A tool that asks before it deploys: `form` or `link`; what came with each call is in `decisions`."""

    def __init__(self, ask: FormAsk | LinkAsk) -> None:
        super().__init__({"deploy": self._deploy})
        self._ask = ask

    async def _deploy(self, call: ToolCall) -> ToolResult | Wait:
        decision = self.decisions[-1]
        if decision is None:
            return Wait(reason="The server needs more.", expires_in_s=3600, ask=self._ask, state="opaque")
        return ToolResult(call_id=call.id, text=f"{decision.outcome} {decision.content}".strip())


def form() -> Asking:
    return Asking(FormAsk(server="fake", tool="deploy", message="Where to?", schema=SCHEMA))


def link() -> Asking:
    return Asking(LinkAsk(server="fake", tool="deploy", message="Sign in.", url="https://example.test/in?secret=1"))


def model() -> ScriptedModel:
    return ScriptedModel([calls("deploy"), says("Done.")])


async def asked(bot: Bot, adapter: RecordingAdapter) -> AskView:
    await bot.say(message("deploy it"))
    return await adapter.wait_for_ask(lambda view: view.state == "pending")


async def opened(bot: Bot, view: AskView, by: str = ADA) -> Form | Refused:
    return await bot.inbox.form(
        FormAsked(conversation=CONVERSATION, event_key="form", author_id=by, target=view.form_target)
    )


async def filled(
    bot: Bot, view: AskView, values: dict[str, str], *, by: str = ADA, action: str = "accept"
) -> Submitted:
    return await bot.inbox.submit(
        FormSubmitted(
            conversation=CONVERSATION,
            event_key="sent",
            author_id=by,
            author_name=by,
            target=view.form_target,
            values=values,
            action=action,  # type: ignore[arg-type]
        )
    )


async def press(bot: Bot, view: AskView, by: str, choice: Choice) -> Decided:
    return await bot.inbox.decide(
        DecisionMade(
            conversation=CONVERSATION,
            event_key="press",
            author_id=by,
            ask_id=view.ask_id,
            choice=choice,
            digest=view.digest,
        )
    )


def told(request: ModelRequest) -> list[str]:
    return [one.text for one in request.messages if isinstance(one, ToolMessage)]


async def test_a_form_is_filled_in_by_the_asker_and_its_server_gets_what_was_written(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), form(), model()
    async with open_bot(store, answers, adapter, servers, worker="a") as bot:
        view = await asked(bot, adapter)
        shown = await opened(bot, view)
        assert isinstance(shown, Form) and shown.message == "Where to?" and shown.may_decline
        assert [field.name for field in shown.fields][:2] == ["region", "replicas"]
        assert await filled(bot, view, {"region": "eu", "replicas": "2"}) == Done()
        await adapter.wait_for_posts(1)
        record = await adapter.wait_for_ask(lambda now: now.state == "answered")
    assert json.loads(told(answers.requests[-1])[0].removeprefix("accept ")) == {"region": "eu", "replicas": 2}
    assert record.record.startswith("**Answered** by U1 on ")
    assert servers.ran == ["deploy", "deploy"]


async def test_a_form_survives_the_death_of_its_process(store: Store) -> None:
    first, second, servers, answers = RecordingAdapter(), RecordingAdapter(), form(), model()
    second.asks = first.asks
    async with open_bot(store, answers, first, servers, worker="a") as bot:
        view = await asked(bot, first)
        bot.crash()
    async with open_bot(store, answers, second, servers, worker="b") as bot:
        await filled(bot, view, {"region": "eu", "replicas": "2"})
        await second.wait_for_posts(1)
    assert servers.decisions[-1] is not None and servers.decisions[-1].outcome == "accept"


async def test_others_neither_see_the_form_nor_answer_it(store: Store) -> None:
    adapter, servers = RecordingAdapter(), form()
    async with open_bot(store, model(), adapter, servers, worker="a") as bot:
        view = await asked(bot, adapter)
        assert isinstance(await opened(bot, view, BEN), Refused)
        assert isinstance(await filled(bot, view, {"region": "eu", "replicas": "2"}, by=BEN), Refused)
        assert isinstance(await press(bot, view, BEN, "decline"), Refused)
        record = await store.ask(view.ask_id)
    assert record is not None and record.state == "pending"
    assert servers.ran == ["deploy"]


async def test_a_turn_that_is_stopped_ends_the_call_whose_server_waits_for_an_answer(store: Store) -> None:
    adapter, servers = RecordingAdapter(), form()
    async with open_bot(store, model(), adapter, servers, worker="a") as bot:
        view = await asked(bot, adapter)
        assert await bot.stop()
        assert await adapter.wait_for_posts(1) == ["Stopped."]
        assert isinstance(await filled(bot, view, {"region": "eu", "replicas": "2"}), Refused)
    lines = [(line.entry.kind, line.entry.outcome) for line in await store.audit_lines()]
    assert lines[1:] == [("asked", "form"), ("decided", "stopped")]
    assert [decision and decision.outcome for decision in servers.decisions] == [None, "stopped"]


async def test_a_call_that_is_denied_while_its_server_waits_is_ended_there(store: Store) -> None:
    adapter, servers, now = RecordingAdapter(), form(), Rights(ScriptedPolicy(rules=allows))
    async with open_bot(store, model(), adapter, servers, worker="a", rights=now) as bot:
        view = await asked(bot, adapter)
        now.change(denies)
        await filled(bot, view, {"region": "eu", "replicas": "2"})
        await adapter.wait_for_posts(1)
    assert [decision and decision.outcome for decision in servers.decisions] == [None, "stopped"]


async def test_what_cannot_be_taken_is_said_in_the_form_and_one_that_is_closed_stays_open(store: Store) -> None:
    adapter = RecordingAdapter()
    async with open_bot(store, model(), adapter, form(), worker="a") as bot:
        view = await asked(bot, adapter)
        wrong = await filled(bot, view, {"region": "eu", "replicas": "9"})
        assert isinstance(wrong, Invalid) and set(wrong.errors) == {"replicas"}
        assert await filled(bot, view, {}, action="cancel") == Done()
        record = await store.ask(view.ask_id)
    assert record is not None and record.state == "pending"


@pytest.mark.parametrize("way", ["form", "button"])
async def test_declining_a_form_is_told_to_its_server(store: Store, way: str) -> None:
    adapter, answers = RecordingAdapter(), model()
    async with open_bot(store, answers, adapter, form(), worker="a") as bot:
        view = await asked(bot, adapter)
        if way == "form":
            await filled(bot, view, {}, action="decline")
        else:
            await press(bot, view, ADA, "decline")
        await adapter.wait_for_posts(1)
        await adapter.wait_for_ask(lambda now: now.state == "declined")
    assert told(answers.requests[-1]) == ["decline"]


async def test_a_link_is_shown_to_the_asker_alone_and_confirmed_by_a_button(store: Store) -> None:
    adapter, answers = RecordingAdapter(), model()
    async with open_bot(store, answers, adapter, link(), worker="a") as bot:
        view = await asked(bot, adapter)
        assert (view.host, view.has_link) == ("example.test", True)
        own, others = [
            await bot.inbox.details(
                DetailsAsked(conversation=CONVERSATION, event_key="d", author_id=by, ask_id=view.ask_id)
            )
            for by in (ADA, BEN)
        ]
        assert isinstance(own, Details) and own.link == "https://example.test/in?secret=1"
        assert "secret" not in repr(others)
        assert isinstance(await press(bot, view, BEN, "run"), Refused)
        assert await press(bot, view, ADA, "run") == Done()
        await adapter.wait_for_posts(1)
    assert told(answers.requests[-1]) == ["accept"]


async def test_an_approved_call_whose_server_asks_is_not_approved_twice(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), form(), model()
    async with open_bot(
        store, answers, adapter, servers, worker="a", rights=Rights(ScriptedPolicy(rules=asks()))
    ) as bot:
        approval = await asked(bot, adapter)
        await press(bot, approval, ADA, "run")
        view = await adapter.wait_for_ask(lambda now: now.kind == "form")
        await filled(bot, view, {"region": "eu", "replicas": "2"})
        assert await adapter.wait_for_posts(1) == ["Done."]
    assert servers.ran == ["deploy", "deploy"]
    assert [isinstance(record.ask, ApprovalAsk) for record in await store.asks(turn_id=1, is_pending=False)] == [
        True,
        False,
    ]
    assert sum(isinstance(step, CallStarted) for step in await store.steps(1)) == 2
