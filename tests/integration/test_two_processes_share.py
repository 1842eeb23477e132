"""Two processes on one database: what people may do, what they are told and what platforms take is counted once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.discord.api import DiscordApi
from adapters.shared.arrivals import Notices, WaitingSign, Written
from adapters.shared.common import CommonRates
from adapters.shared.tasks import Background
from adapters.slack.api import SlackApi
from adapters.slack.installs import OneToken
from adapters.slack.limits import Limits as SlackLimits
from bot.cli.history import delete
from bot.cli.purge import remove
from bot.domain.answers import CommandAnswer, Done, Ignored, Known, Queued, Refused
from bot.domain.errors import RateLimitError
from bot.domain.events import CommandInvoked, ConversationKey, DecisionMade, MessageReceived
from bot.domain.turns import Paused, TurnView
from bot.intake.admission import ACTS_PER_MINUTE
from bot.intake.apps import MAX_IN_A_ROW, AppGate
from bot.intake.inbox import Inbox
from bot.keeping.files import KeptFiles
from bot.models.common_pace import LOOK_S
from bot.models.factory import open_model
from bot.models.pacing import Pacer
from bot.ports.model import Model, ModelProgress, ModelProgressSink
from bot.ports.once import Once
from bot.ports.store import Store
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.stores.sqlite.store import open_sqlite
from bot.turns.cluster import ProcessCluster
from tests.fakes import postgres
from tests.fakes.bots import Bot, notice_of, open_bot
from tests.fakes.discord import FakeDiscord
from tests.fakes.openai.raw import serve_answers
from tests.fakes.ports import (
    CONVERSATION,
    RecordingAdapter,
    ScriptedModel,
    ScriptedTools,
    calls,
    echoes,
    message,
    says,
)
from tests.fakes.rights import Rights, ScriptedPolicy, asks
from tests.fakes.slack import FakeSlack
from tests.integration.test_handover import HaltingTool
from tests.integration.test_model_faults import FINE, QUESTION, refusal, settings
from tests.unit.rights.parts import policy_of

WAIT_S = 60.0
OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "toolbridge.db"


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, sqlite_file: Path) -> OpenStore:
    """Opens the one database of this test, once for each process."""
    if request.param == "sqlite":
        return lambda: open_sqlite(sqlite_file)
    options = PostgresOptions(schema=postgres.new_schema())
    return lambda: open_postgres(postgres.server().url, options)


on_sqlite = pytest.mark.parametrize("opened", ["sqlite"], indirect=True)


@asynccontextmanager
async def two_bots(
    opened: OpenStore,
    *,
    model: ScriptedModel | None = None,
    adapters: Sequence[RecordingAdapter | None] = (None, None),
    **options: Any,
) -> AsyncGenerator[tuple[Bot, Bot]]:
    """Two processes of the bot, each with its own connections."""
    model = model or ScriptedModel([says("Yes.")])
    async with AsyncExitStack() as stack, asyncio.timeout(WAIT_S):
        stores = [await stack.enter_async_context(opened()) for _ in adapters]
        bots = [
            await stack.enter_async_context(open_bot(store, model, adapter, worker=worker, **options))
            for store, adapter, worker in zip(stores, adapters, "ab", strict=True)
        ]
        yield bots[0], bots[1]


@asynccontextmanager
async def clusters(opened: OpenStore, *, count: int = 2) -> AsyncGenerator[Sequence[ProcessCluster]]:
    """So many processes without a bot; they live as long as the test."""
    async with AsyncExitStack() as stack, asyncio.timeout(WAIT_S):
        stores = [await stack.enter_async_context(opened()) for _ in range(count)]
        made = [ProcessCluster(store=store, worker=f"worker-{number}") for number, store in enumerate(stores)]
        for number, store in enumerate(stores):
            await store.heartbeat(f"worker-{number}", lease_s=600)
        yield made


def room(name: str) -> ConversationKey:
    return replace(CONVERSATION, channel=name)


def asked(number: int, *, by: str = "U1") -> MessageReceived:
    return replace(
        message(f"question {number}", key=f"{by} {number}", conversation=room(f"{by}{number}")), author_id=by
    )


def told(outcomes: Sequence[object]) -> list[str]:
    """Return what people hear of these outcomes."""
    return [one.notice for one in outcomes if isinstance(one, Refused) and one.notice]


# --- what people may do ------------------------------------------------------------------------------------------


async def test_messages_of_a_minute_are_counted_once_and_the_refusal_is_said_by_one_of_them(opened: OpenStore) -> None:
    async with two_bots(opened, requests_per_minute=5) as bots:
        outcomes = [await bots[number % 2].inbox.accept(asked(number)) for number in range(14)]
        assert [isinstance(one, Queued) for one in outcomes] == [True] * 5 + [False] * 9
        assert [bool(notice_of(one)) for one in outcomes[5:]] == [True] + [False] * 8
        assert "5 messages in a minute" in notice_of(outcomes[5])
        assert isinstance(await bots[1].inbox.accept(asked(1, by="U2")), Queued)


async def test_all_that_arrives_at_the_same_moment_is_bounded_as_well(opened: OpenStore) -> None:
    async with two_bots(opened, requests_per_minute=5) as bots:
        arriving = [bots[number % 2].inbox.accept(asked(number)) for number in range(40)]
        outcomes = await asyncio.gather(*arriving)
        assert sum(isinstance(one, Queued) for one in outcomes) == 5
        assert len(told(outcomes)) == 1


async def test_a_message_that_is_delivered_to_both_counts_once(opened: OpenStore) -> None:
    async with two_bots(opened, requests_per_minute=2) as (here, there):
        first = await here.inbox.accept(asked(1))
        assert isinstance(first, Queued)
        assert [await there.inbox.accept(asked(1)) for _ in range(3)] == [Known(turn_id=first.turn_id)] * 3
        assert isinstance(await there.inbox.accept(asked(2)), Queued)
        assert "2 messages in a minute" in notice_of(await here.inbox.accept(asked(3)))


async def test_commands_of_a_minute_are_counted_once(opened: OpenStore) -> None:
    def command(number: int) -> CommandInvoked:
        return CommandInvoked(conversation=CONVERSATION, event_key=f"c{number}", author_id="U1", name="help")

    async with two_bots(opened) as bots:
        answers = [await bots[number % 2].inbox.command(command(number)) for number in range(ACTS_PER_MINUTE + 8)]
    assert all(isinstance(one, CommandAnswer) for one in answers[: ACTS_PER_MINUTE + 1])
    refused = answers[ACTS_PER_MINUTE]
    assert isinstance(refused, CommandAnswer) and "commands and buttons in a minute" in refused.text
    assert answers[ACTS_PER_MINUTE + 1 :] == [Ignored()] * 7


async def test_a_budget_of_turns_holds_for_both(opened: OpenStore) -> None:
    policy = policy_of("[budgets]\nperson = { turns_per_day = 4 }\n")
    async with two_bots(opened, rights=lambda: policy) as bots:
        arriving = [bots[number % 2].inbox.accept(asked(number)) for number in range(12)]
        outcomes = await asyncio.gather(*arriving)
        assert sum(isinstance(one, Queued) for one in outcomes) == 4
        assert all("4 turns of 4" in one.notice for one in outcomes if isinstance(one, Refused) and one.notice)


async def test_two_bots_that_are_answered_by_two_processes_end_until_a_person_speaks(opened: OpenStore) -> None:
    def by_app(number: int) -> MessageReceived:
        return replace(message(f"ping {number}", key=f"app {number}"), author_id="A1", author_kind="app")

    def open_to_apps(bot: Bot) -> Inbox:
        return replace(bot.inbox, apps=AppGate({"fake:A1"}))

    async with two_bots(opened) as bots:
        inboxes = [open_to_apps(bot) for bot in bots]
        outcomes = [await inboxes[number % 2].accept(by_app(number)) for number in range(MAX_IN_A_ROW + 3)]
        assert [isinstance(one, Queued) for one in outcomes] == [True] * MAX_IN_A_ROW + [False] * 3
        assert isinstance(await inboxes[0].accept(by_app(0)), Known)  # delivered again
        assert isinstance(await inboxes[0].accept(message("and I?")), Queued)
        assert isinstance(await inboxes[1].accept(by_app(99)), Queued)


# --- what people are told ----------------------------------------------------------------------------------------


async def test_who_was_away_and_is_shut_out_hears_why_once(opened: OpenStore) -> None:
    policy = policy_of('[access]\npeople = ["slack:T1:U7"]\n')
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    async with two_bots(opened, rights=lambda: policy) as bots:
        missed = [replace(message(f"missed {number}"), sent_at=long_ago) for number in range(6)]
        outcomes = [await bots[number % 2].inbox.accept(one) for number, one in enumerate(missed)]
        assert len(told(outcomes)) == 1
        again = await asyncio.gather(*(bot.inbox.accept(missed[0]) for bot in bots))
        assert told(again) == []
        audited = await bots[1].store.audit_lines(person="fake:U1", limit=100)
        assert len(audited) == len(missed)


@on_sqlite
async def test_what_the_author_of_a_message_hears_is_sent_by_one_process(opened: OpenStore) -> None:
    sent: list[tuple[str, str]] = []

    async def tell(event: Written, text: str) -> None:
        sent.append((event.event_key, text))

    background = Background("test")
    async with clusters(opened) as both:
        notices = [Notices(tell, background, cluster) for cluster in both]
        for each in (*notices, *notices):
            each.send(message("", key="m1"), "The message is empty.")
        await background.drain(timeout_s=WAIT_S)
        notices[1].send(message("", key="m2"), "The message is empty.")
        await background.drain(timeout_s=WAIT_S)
    assert sent == [("m1", "The message is empty."), ("m2", "The message is empty.")]


@on_sqlite
async def test_a_press_that_is_delivered_to_both_is_done_once(opened: OpenStore) -> None:
    async with clusters(opened) as both:
        done = [Once("press", cluster, max_keys=10) for cluster in both]
        assert [await one.add("k") for one in (*done, *done)] == [True, False, False, False]
        assert [await one.add("another") for one in reversed(done)] == [True, False]


@on_sqlite
async def test_a_waiting_sign_that_comes_late_is_removed_by_who_added_it(opened: OpenStore) -> None:
    signs: set[str] = set()
    may_add = asyncio.Event()

    async def react(_: ConversationKey, event_key: str, *, is_waiting: bool) -> None:
        if is_waiting:
            await may_add.wait()
            signs.add(event_key)
        else:
            signs.discard(event_key)

    background = Background("test")
    view = TurnView(turn_id=1, conversation=CONVERSATION, in_reply_to="m1", state="running", has_waited=True)
    async with clusters(opened) as (here, there):
        WaitingSign(react, background, here).add(message("", key="m1"))
        await WaitingSign(react, background, there).remove(view)
        may_add.set()
        await background.drain(timeout_s=WAIT_S)
    assert signs == set()


async def test_an_answer_to_a_person_is_talk_whichever_process_heard_the_question(opened: OpenStore) -> None:
    to_ben = replace(message("@Ben when?", key="q"), is_addressed=False, is_talk=True, talks_to=("U2",))
    answer = replace(message("on Friday", key="answer"), author_id="U2", is_addressed=False)
    async with two_bots(opened) as (here, there):
        await here.say(message("Hello"))  # from now on it takes part
        await here.inbox.accept(to_ben)
        assert isinstance(await there.inbox.accept(answer), Ignored)
        assert isinstance(await here.inbox.accept(answer), Ignored)  # delivered again
        assert isinstance(await here.inbox.accept(replace(answer, event_key="next", text="and?")), Queued)
        await there.inbox.accept(replace(to_ben, event_key="q2"))
        assert isinstance(await here.inbox.accept(replace(answer, event_key="to the bot", is_addressed=True)), Queued)
        assert isinstance(await there.inbox.accept(replace(answer, event_key="a follow-up")), Queued)


# --- what is asked -----------------------------------------------------------------------------------------------


async def test_what_one_process_asked_is_decided_at_the_other(opened: OpenStore) -> None:
    adapter, servers = RecordingAdapter(), ScriptedTools({"deploy": echoes()})
    model = ScriptedModel([calls("deploy", arguments='{"env": "prod"}'), says("Done.")])
    rights = Rights(ScriptedPolicy(rules=asks(only="deploy")))
    other = RecordingAdapter()
    other.serves = "other/"  # it takes presses, and works on no turn
    async with two_bots(opened, model=model, tools=servers, rights=rights, adapters=(adapter, other)) as (
        here,
        there,
    ):
        await here.say(message("deploy it"))
        view = await adapter.wait_for_ask(lambda view: view.state == "pending")
        pressed = DecisionMade(
            conversation=CONVERSATION,
            event_key="press",
            author_id="U1",
            author_name="Ada",
            ask_id=view.ask_id,
            choice="run_for_an_hour",
            digest=view.digest,
        )
        assert await there.inbox.decide(pressed) == Done()
        assert await adapter.wait_for_posts(1) == ["Done."]
        assert len(servers.ran) == 1


# --- what an operator removes ------------------------------------------------------------------------------------


async def test_a_conversation_is_deleted_and_a_person_purged_beside_a_process_that_answers(
    opened: OpenStore, tmp_path: Path
) -> None:
    tool, adapter, files = HaltingTool(), RecordingAdapter(), KeptFiles(tmp_path)
    model = ScriptedModel([says("Yes."), calls("act")])
    async with (
        asyncio.timeout(WAIT_S),
        opened() as store,
        opened() as beside,
        open_bot(store, model, adapter, ScriptedTools({"act": tool}), worker="serving") as bot,
    ):
        await bot.say(message("earlier"))
        await adapter.wait_for_posts(1)
        question = message("act")
        await bot.say(question)
        await tool.begun.wait()
        said = (await delete(beside, files, str(CONVERSATION), with_saved=True)).sentence
        assert said.startswith("2 messages of ") and said.endswith("What is not answered yet was kept.")
        assert not (await remove(beside, files, question.actor)).left
        assert (await adapter.wait_for_posts(2))[1] == "Stopped."
        assert not (await beside.transcript(CONVERSATION, limit=10))


# --- what platforms and models take ------------------------------------------------------------------------------


@asynccontextmanager
async def slack_apis(opened: OpenStore) -> AsyncGenerator[tuple[FakeSlack, Sequence[SlackApi]]]:
    async with clusters(opened) as both, FakeSlack() as slack, aiohttp.ClientSession() as session:
        slack.add_user("U1", display_name="Ada")
        for channel in ("C1", "C2"):
            slack.add_channel(channel, members=["U1"])
        yield (
            slack,
            [
                SlackApi(
                    OneToken("xoxb-test"),
                    session,
                    base_url=slack.api_url,
                    limits=SlackLimits(common=CommonRates(cluster, platform="slack")),
                )
                for cluster in both
            ],
        )


def post(api: SlackApi, text: str, *, channel: str = "C1", **options: Any) -> Coroutine[Any, Any, dict[str, Any]]:
    return api.call("chat.postMessage", team="T1", channel=channel, text=text, **options)


@on_sqlite
async def test_a_channel_in_slack_takes_the_posts_of_both_at_its_own_rate(opened: OpenStore) -> None:
    async with slack_apis(opened) as (slack, apis):
        slack.rates.are_enforced = True  # 25 at once, then one a second; the rest is answered with 429
        await asyncio.gather(*(post(apis[number % 2], str(number)) for number in range(28)))
        posts = slack.calls_of("chat.postMessage")
        assert sum(call.ok for call in posts) == 28
        assert sum(not call.ok for call in posts) <= 1  # where a busy machine delays the first of all
        with pytest.raises(RateLimitError) as caught:
            await post(apis[0], "one more", wait_s=0.1)
        assert 0.1 < caught.value.retry_after_s <= 1.1
        await post(apis[1], "elsewhere", channel="C2", wait_s=0.1)


async def test_a_pause_that_slack_asks_of_one_holds_for_the_other(opened: OpenStore) -> None:
    async with slack_apis(opened) as (slack, (here, there)):
        slack.limit_next("chat.postMessage", retry_after_s=40)
        with pytest.raises(RateLimitError):
            await post(here, "hi", wait_s=5)
        with pytest.raises(RateLimitError) as caught:
            await post(there, "hi", wait_s=5)
        assert 35 < caught.value.retry_after_s <= 40
        await post(there, "elsewhere", channel="C2", wait_s=5)
        assert len(slack.calls_of("chat.postMessage")) == 2


@on_sqlite
async def test_discord_gets_no_more_requests_from_both_than_from_one(opened: OpenStore) -> None:
    async with clusters(opened) as both, FakeDiscord() as discord, AsyncExitStack() as stack:
        channel = str(discord.add_channel(discord.add_guild("Team")).id)
        apis = [
            await stack.enter_async_context(
                DiscordApi(
                    discord.token,
                    api_url=discord.api_url,
                    requests_per_s=10,
                    common=CommonRates(cluster, platform="discord"),
                )
            )
            for cluster in both
        ]
        for api in apis:
            await api.log_in()
        now = asyncio.get_running_loop().time
        started = now()

        async def ask(number: int) -> None:
            await apis[number % 2].call("GET", "/channels/{channel_id}", channel_id=channel)

        await asyncio.gather(*(ask(number) for number in range(20)))
        assert now() - started >= 0.95  # 10 at once, then 10 a second
        discord.cloudflare_next()
        with pytest.raises(RateLimitError):
            await ask(0)

        async def ask_until_refused() -> None:
            while True:  # the other may not know yet
                await ask(1)

        with pytest.raises(RateLimitError) as caught:
            await ask_until_refused()
        assert caught.value.retry_after_s > 200


@on_sqlite
async def test_a_models_limit_and_its_pauses_hold_for_both(opened: OpenStore) -> None:
    def pacer(cluster: ProcessCluster, name: str = "one", *, requests: int | None = 600) -> Pacer:
        return Pacer(requests_per_minute=requests, tokens_per_minute=None, cluster=cluster, name=name)

    async def admit(pacer: Pacer) -> list[float]:
        waits: list[float] = []
        await pacer.admit("U1", tokens=0, on_wait=waits.append)
        return waits

    async with clusters(opened) as both:
        now = asyncio.get_running_loop().time
        started, pacers = now(), [pacer(cluster) for cluster in both]
        await asyncio.gather(*(admit(pacers[number % 2]) for number in range(105)))  # a burst of 100, then ten a second
        assert now() - started >= 0.45
        here, there = (pacer(cluster, "two", requests=None) for cluster in both)
        assert await admit(there) == []
        started = now()
        await here.pause(2.0)
        await asyncio.sleep(LOOK_S)
        (wait_s,) = await admit(there)
        assert 0.2 < wait_s <= 2.0 - LOOK_S and now() - started >= 1.9


@on_sqlite
async def test_tokens_of_a_minute_hold_for_both(opened: OpenStore) -> None:
    async with clusters(opened) as both:
        here, there = (
            Pacer(requests_per_minute=None, tokens_per_minute=60_000, cluster=cluster, name="one") for cluster in both
        )
        waits: list[float] = []
        await here.admit("U1", tokens=60_000, on_wait=waits.append)
        here.settle(estimated=60_000, used=60_200)
        assert waits == []
        await there.admit("U2", tokens=500, on_wait=waits.append)
        assert waits == [pytest.approx(0.5, abs=0.2)]
        await here.admit("U1", tokens=100, on_wait=waits.append)
        assert waits[1] > 0.2  # with the 200 that it used above what it had reserved


@on_sqlite
async def test_a_pause_that_a_models_endpoint_asks_of_one_holds_for_the_other(opened: OpenStore) -> None:
    is_refused = asyncio.Event()

    def note(progress: ModelProgress) -> None:
        if isinstance(progress, Paused):
            is_refused.set()

    async def ask(model: Model, sink: ModelProgressSink) -> None:
        await model.complete(QUESTION, deadline=asyncio.get_running_loop().time() + WAIT_S, progress=sink)

    async with clusters(opened) as both, serve_answers(refusal(429, {"retry-after": "2"}), FINE) as endpoint:
        named = settings(openai_base_url=f"{endpoint.url}/v1", openai_model="m", openai_api_key="secret-test")
        async with open_model(named, cluster=both[0]) as here, open_model(named, cluster=both[1]) as there:
            asking = asyncio.create_task(ask(here, note))
            await is_refused.wait()
            waits: list[ModelProgress] = []
            await ask(there, waits.append)
            await asking
    assert len(endpoint.bodies) == 3
    assert any(isinstance(one, Paused) and 1.0 < one.wait_s <= 2.2 for one in waits)


# --- alone, and without the store --------------------------------------------------------------------------------


@on_sqlite
async def test_a_process_that_is_alone_counts_by_itself_and_stores_nothing_of_it(
    opened: OpenStore, sqlite_file: Path
) -> None:
    async with (
        opened() as store,
        open_bot(store, ScriptedModel([says("Yes.")]), worker="a", requests_per_minute=2) as bot,
    ):
        outcomes = [await bot.inbox.accept(asked(number)) for number in range(4)]
        assert [bool(notice_of(one)) for one in outcomes] == [False, False, True, False]
        await CommonRates(ProcessCluster(store=store, worker="a"), platform="fake").refuse(
            "x", SlackLimits()._rate("chat.update"), retry_after_s=1
        )  # pyright: ignore[reportPrivateUsage]
    with sqlite3.connect(sqlite_file) as connection:
        assert connection.execute("SELECT count(*) FROM rate").fetchall() == [(0,)]


@on_sqlite
async def test_where_the_store_fails_posts_go_on_at_the_rate_of_each_process(
    opened: OpenStore, sqlite_file: Path
) -> None:
    async with clusters(opened) as (here, _), FakeSlack() as slack, aiohttp.ClientSession() as session:
        slack.add_channel("C1")
        limits = SlackLimits(common=CommonRates(here, platform="slack"))
        api = SlackApi(OneToken("xoxb-test"), session, base_url=slack.api_url, limits=limits)
        await post(api, "before")
        with sqlite3.connect(sqlite_file) as connection:
            connection.execute("DROP TABLE rate")
        for number in range(3):
            await post(api, f"after {number}", wait_s=20)
        assert len(slack.calls_of("chat.postMessage")) == 4
        assert await Once("press", here, max_keys=10).add("k")
