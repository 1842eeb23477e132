"""The way to Slack breaks: connections that go, stay silent or cannot be had, deliveries that cannot be stored."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from adapters.slack.opening import open_slack
from adapters.slack.options import SlackOptions
from adapters.slack.sockets import Watch
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError
from bot.ports.platform import Connection
from tests.fakes.hosts import ScriptedHost
from tests.fakes.mcp_servers.processes import until
from tests.fakes.slack import FakeSlack
from tests.fakes.slack.delivery import MAX_SOCKETS, DisconnectReason
from tests.scenarios.model import Model
from tests.scenarios.slack.seen import answers, until_answered
from tests.scenarios.slack.serving import WAIT_S, WATCH, Bot, Mode, open_world, serving
from tests.scenarios.tools import without_tools


@asynccontextmanager
async def one_bot(
    home: Path, *, mode: Mode = "socket", options: Mapping[str, Any] | None = None
) -> AsyncGenerator[Bot]:
    async with open_world() as (slack, model), _bot(slack, model, home, mode=mode, options=options) as bot:
        yield bot


def _bot(slack: FakeSlack, model: Model, home: Path, **details: Any) -> Any:
    return serving(slack, model, home, settings=without_tools(home), **details)


async def ask(slack: FakeSlack, text: str = "What is 6 * 7?", *, user: str = "U1") -> str:
    return await slack.say("C1", user, text, mention=True)


async def until_connected(slack: FakeSlack, sockets: int = 2) -> None:
    await slack.until(lambda: len([one for one in slack.open_sockets() if not one.is_retired]) >= sockets)


async def until_answered_once(slack: FakeSlack, root: str, text: str = "6 * 7") -> None:
    """Wait for the answer, until all deliveries are over as well, and see that it is the only one."""
    await until_answered(slack, "C1", root)
    await slack.settled()
    (answer,) = answers(slack, "C1", root)
    assert text in answer.shown


# --- connections that go ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["warning", "refresh_requested", "link_disabled"])
async def test_connections_that_slack_renews_are_followed_by_new_ones_and_nothing_is_lost(
    tmp_path: Path, reason: DisconnectReason
) -> None:
    async with one_bot(tmp_path) as bot:
        slack = bot.slack
        await until_connected(slack)
        before = slack.open_sockets()
        await slack.disconnect(reason)
        root = await ask(slack)
        await until_answered_once(slack, root)
        await slack.until(lambda: len([one for one in slack.open_sockets() if one not in before]) == 2)
        await until_answered_once(slack, await ask(slack))


@pytest.mark.parametrize("sockets", [1, 2])
async def test_connections_that_are_cut_while_a_question_is_answered_do_not_show_in_its_thread(
    tmp_path: Path, sockets: int
) -> None:
    async with one_bot(tmp_path) as bot:
        slack = bot.slack
        await until_connected(slack)
        await bot.model.pace(first_token_s=0.5)
        root = await ask(slack)
        await slack.until(lambda: slack.status("C1", root) == "processing")
        await slack.cut_sockets(sockets)
        await until_answered_once(slack, root)
        await until_connected(slack)
        await until_answered_once(slack, await ask(slack))


async def test_a_delivery_whose_acknowledgement_is_lost_comes_again_and_is_found(tmp_path: Path) -> None:
    async with one_bot(tmp_path) as bot:
        slack = bot.slack
        await until_connected(slack)
        slack.ack_timeout_s = 1.0
        slack.freeze_sockets()  # what the bot sends on them is read by nobody
        root = await ask(slack)
        await until_answered_once(slack, root)
        assert [len(delivery.sent_at) > 1 for delivery in slack.deliveries_of("message")] == [True]
        assert len(await bot.model.requests()) == 1


async def test_silent_connections_are_given_up_for_new_ones(tmp_path: Path) -> None:
    async with one_bot(tmp_path) as bot:
        slack = bot.slack
        await until_connected(slack)
        silent = slack.open_sockets()
        slack.freeze_sockets()
        await slack.until(lambda: len([one for one in slack.open_sockets() if one not in silent]) == 2)
        await until_answered_once(slack, await ask(slack))


async def test_addresses_whose_handshake_fails_are_not_tried_forever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_world() as (slack, model):
        slack.refuse_sockets(3)
        async with _bot(slack, model, tmp_path):
            await until_connected(slack)
            assert slack.refused_handshakes == 3
            slack.refuse_sockets(3)
            await slack.cut_sockets()
            await until_connected(slack)
            assert slack.refused_handshakes == 6
            await until_answered_once(slack, await ask(slack))
    assert "ticket" not in caplog.text  # which opens a connection in the bot's name


async def test_slack_that_gives_no_address_is_asked_again_at_the_start_and_later(tmp_path: Path) -> None:
    async with open_world() as (slack, model):
        slack.fail_next("apps.connections.open", status=503, times=2)
        slack.fail_next("apps.connections.open", error="internal_error")
        async with _bot(slack, model, tmp_path):
            await until_connected(slack)
            slack.fail_next("apps.connections.open", status=503, times=2)
            slack.fail_next("apps.connections.open", drop="before", times=2)
            await slack.cut_sockets()
            await until_connected(slack)
            await until_answered_once(slack, await ask(slack))


async def test_a_pause_that_slack_asks_for_before_it_gives_an_address_is_kept(tmp_path: Path) -> None:
    async with open_world() as (slack, model):
        slack.limit_next("apps.connections.open", retry_after_s=1, times=2)
        async with _bot(slack, model, tmp_path):
            await until_connected(slack)
        calls = slack.calls_of("apps.connections.open")
        refused = [call for call in calls if not call.ok]
        assert all(call.at - refused[0].at >= 0.95 for call in calls if call.ok)
        assert len(calls) == 4


# --- how often it is connected again ---------------------------------------------------------------------------


MOMENT_S = 2.0  # the SDK's client opened hundreds of connections in it


async def test_where_slack_opens_no_further_connection_it_is_left_alone_for_minutes_and_the_log_says_what_to_do(
    tmp_path: Path,
) -> None:
    watch = replace(WATCH, closed_backoff=Watch().closed_backoff)
    with structlog.testing.capture_logs() as logs:
        async with one_bot(tmp_path, options={"watch": watch}) as bot:
            slack = bot.slack
            await until_connected(slack)
            slack.foreign_sockets = MAX_SOCKETS - 1
            await slack.cut_sockets(1)
            await slack.until(lambda: slack.handshakes == 3)
            await until_answered_once(slack, await ask(slack))  # the other connection holds
            await asyncio.sleep(MOMENT_S)
            assert slack.handshakes == len(slack.calls_of("apps.connections.open")) == 3
            assert len(slack.open_sockets()) == 1
            await slack.cut_sockets()
            await slack.until(lambda: slack.handshakes == 4)
    [refused] = [entry for entry in logs if entry["event"] == "slack_connection_refused"]
    assert refused["log_level"] == "warning"
    assert "ten" in refused["error"] and "fewer processes" in refused["error"] and "HTTP" in refused["error"]
    pauses_s = [
        entry["pause_s"] for entry in logs if entry.get("reason") == "too_many_websockets" and "pause_s" in entry
    ]
    assert pauses_s and all(60 <= pause_s <= 120 for pause_s in pauses_s)


async def test_connections_are_opened_again_once_slack_has_room_for_them(tmp_path: Path) -> None:
    async with one_bot(tmp_path) as bot:
        slack = bot.slack
        await until_connected(slack)
        slack.foreign_sockets = MAX_SOCKETS
        await slack.cut_sockets()
        await slack.until(lambda: slack.handshakes >= 4)
        root = await ask(slack)
        slack.foreign_sockets = 0
        await until_connected(slack)
        await until_answered_once(slack, root)


@pytest.mark.parametrize("reason", ["warning", "refresh_requested", "link_disabled"])
async def test_connections_that_slack_sends_away_at_once_are_not_opened_again_at_once(
    tmp_path: Path, reason: DisconnectReason
) -> None:
    watch = replace(WATCH, steady_s=60.0, backoff=Backoff(first_s=0.4), closed_backoff=Backoff(first_s=0.4))
    with structlog.testing.capture_logs() as logs:
        async with one_bot(tmp_path, options={"watch": watch}) as bot:
            slack = bot.slack
            await until_connected(slack)
            slack.retired_life_s = 0.0
            slack.sends_away = reason
            before = slack.handshakes
            await slack.disconnect(reason)
            await slack.until(lambda: slack.handshakes >= before + 2)
            await asyncio.sleep(MOMENT_S)
            assert slack.handshakes <= before + 2 * 3  # 0.4, 0.8 and 1.6 s
            slack.sends_away = None
            await until_connected(slack)
            await until_answered_once(slack, await ask(slack))
    told = [entry["error"] for entry in logs if entry["event"] == "slack_connection_refused"]
    assert len(told) == (1 if reason == "link_disabled" else 0)
    assert all("Socket Mode is switched off" in error and "HTTP" in error for error in told)


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_two_connections_that_slack_renews_together_are_renewed_one_after_the_other(
    tmp_path: Path, reason: DisconnectReason
) -> None:
    async with one_bot(tmp_path) as bot:
        slack = bot.slack
        await until_connected(slack)
        before = slack.open_sockets()
        await slack.disconnect(reason)
        await slack.until(lambda: len([one for one in slack.open_sockets() if one not in before]) == 2)
        assert bot.adapter.session.gaps == 0
        assert slack.handshakes == 4
        await until(lambda: bot.adapter.connection.reconnects == 2)  # seen only in the bot
        assert bot.adapter.connection == Connection(is_open=True, detail="as @toolbridge in 1 workspace", reconnects=2)


# --- who the bot is --------------------------------------------------------------------------------------------


async def test_slack_that_does_not_say_who_the_bot_is_is_asked_until_it_does(tmp_path: Path) -> None:
    async with open_world() as (slack, model):
        slack.fail_next("auth.test", status=503, times=4)
        async with _bot(slack, model, tmp_path):
            await until_answered_once(slack, await ask(slack))


@pytest.mark.parametrize(
    ("options", "name"),
    [({"bot_token": "xoxb-wrong"}, "SLACK_BOT_TOKEN"), ({"app_token": "xapp-wrong"}, "SLACK_APP_TOKEN")],
)
async def test_a_token_that_slack_does_not_know_ends_the_start_with_a_sentence(
    options: Mapping[str, str], name: str
) -> None:
    async with FakeSlack() as slack:
        given: dict[str, Any] = {"bot_token": "xoxb-test", "app_token": "xapp-test", **options}
        async with open_slack(SlackOptions(**given, api_url=slack.api_url, watch=WATCH), ScriptedHost()) as adapter:
            with pytest.raises(AdapterError, match=name) as caught:
                async with asyncio.timeout(WAIT_S):
                    await adapter.run()
    assert caught.value.is_permanent
    assert "invalid_auth" in str(caught.value)
    assert "wrong" not in str(caught.value)


# --- nothing is acknowledged that is not stored ----------------------------------------------------------------


def break_store(home: Path) -> None:
    """Make the database refuse new turns, as when its disk is full."""
    with sqlite3.connect(home / "toolbridge.db") as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON turn BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    db.close()


def mend_store(home: Path) -> None:
    with sqlite3.connect(home / "toolbridge.db") as db:
        db.execute("DROP TRIGGER full")
    db.close()


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_question_that_cannot_be_stored_is_not_acknowledged_gets_one_notice_and_its_answer_later(
    tmp_path: Path, mode: Mode
) -> None:
    async with one_bot(tmp_path, mode=mode) as bot:
        slack = bot.slack
        slack.ack_timeout_s, slack.retry_gaps_s = 0.5, (0.0, 0.2, 1.0)
        break_store(tmp_path)
        root = await ask(slack)
        mention, message = await slack.until(lambda: len(slack.acks) == 2 and slack.acks)
        await slack.until(lambda: len(mention.sent_at) >= 2 and len(message.sent_at) >= 2)
        await slack.until(lambda: slack.ephemerals("U1"))
        assert mention.acked_at is None
        assert message.acked_at is None
        mend_store(tmp_path)
        await until_answered_once(slack, root)
        assert mention.acked_at is not None
        assert message.acked_at is not None
        (told,) = slack.ephemerals("U1")
        assert "database" in told.shown
        assert "disk full" not in told.shown


# --- HTTP ------------------------------------------------------------------------------------------------------


def _event(slack: FakeSlack, ts: str) -> dict[str, Any]:
    """Return the delivery of a message, as it went out or would have."""
    return next(delivery.payload for delivery in (*slack.held, *slack.acks) if delivery.event.get("ts") == ts)


async def test_over_http_only_what_slack_has_signed_a_moment_ago_is_taken(tmp_path: Path) -> None:
    async with one_bot(tmp_path, mode="http") as bot:
        slack = bot.slack
        slack.hold()
        root = await ask(slack)
        payload, url = _event(slack, root), slack.events_url
        forged = await slack.deliver_http(url, payload, signing_secret="another")
        stale = await slack.deliver_http(url, payload, timestamp=int(time.time()) - 400)
        assert (forged[0], stale[0]) == (401, 401)
        assert await bot.model.requests() == []
        fresh = await slack.deliver_http(url, payload, timestamp=int(time.time()) - 200)
        assert fresh[0] == 200
        await until_answered_once(slack, root)


async def test_over_http_a_repeat_finds_the_first_delivery_and_may_be_the_only_one(tmp_path: Path) -> None:
    async with one_bot(tmp_path, mode="http") as bot:
        slack = bot.slack
        slack.hold()
        first, second = await ask(slack), await ask(slack, "What is 2 * 4?")
        retry = {"num": 1, "reason": "http_timeout"}
        for root, header in ((first, None), (first, retry), (second, retry)):
            assert (await slack.deliver_http(slack.events_url, _event(slack, root), retry=header))[0] == 200
        await slack.release([])
        await until_answered_once(slack, first)
        await until_answered_once(slack, second, "2 * 4")
        assert len(await bot.model.requests()) == 2


async def test_slacks_question_whether_the_address_is_ours_is_answered(tmp_path: Path) -> None:
    async with one_bot(tmp_path, mode="http") as bot:
        question = {"type": "url_verification", "token": "verification-test", "challenge": "say this"}
        status, answer = await bot.slack.deliver_http(bot.slack.events_url, question)
        assert (status, answer) == (200, {"challenge": "say this"})


# --- the end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_what_is_being_taken_when_the_bot_ends_is_acknowledged_and_answered_by_the_next(
    tmp_path: Path, mode: Mode
) -> None:
    async with open_world() as (slack, model):
        async with _bot(slack, model, tmp_path, mode=mode):
            asking = slack.hang_next("users.info")  # the name of the one who asks comes before the question is stored
            root = await ask(slack)
            async with asyncio.timeout(WAIT_S):
                await asking.reached.wait()
            asyncio.get_running_loop().call_later(0.2, asking.released.set)
        deliveries = [*slack.deliveries_of("message"), *slack.deliveries_of("app_mention")]
        await slack.until(lambda: all(delivery.acked_at is not None for delivery in deliveries))
        assert [len(delivery.sent_at) for delivery in deliveries] == [1, 1]
        async with _bot(slack, model, tmp_path, mode=mode):
            await until_answered(slack, "C1", root)
            assert len(answers(slack, "C1", root)) == 1
