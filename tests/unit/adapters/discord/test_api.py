"""Calls of Discord's API: what is waited out, what is told, and what stops all others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.discord.api import DiscordApi
from adapters.discord.errors import DiscordRefusedError, DiscordUnreachableError
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment
from bot.ports.giving_up import until
from tests.fakes.discord import Channel, FakeDiscord

WAIT_S = 20.0
MESSAGES = "/channels/{channel_id}/messages"


@asynccontextmanager
async def open_api(**details: Any) -> AsyncGenerator[tuple[FakeDiscord, DiscordApi, Channel]]:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=discord.api_url, **details) as api:
        channel = discord.add_channel(discord.add_guild("Team"))
        await api.log_in()
        async with asyncio.timeout(WAIT_S):
            yield discord, api, channel


async def post(api: DiscordApi, channel: Channel, text: str = "hello", **details: Any) -> Any:
    return await api.call("POST", MESSAGES, json={"content": text}, channel_id=str(channel.id), **details)


async def test_the_login_says_who_the_bot_is() -> None:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=f"{discord.api_url}/") as api:
        me = await api.log_in()
        assert (me.user, me.name) == (str(discord.bot.id), "toolbridge")
        assert me.application == str(discord.application_id)


@pytest.mark.parametrize("route", ["get_me", "get_application"])
async def test_a_login_that_fails_can_be_repeated(route: str) -> None:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=discord.api_url) as api:
        discord.fail_next(route, status=503)
        with pytest.raises(DiscordUnreachableError, match="Try again"):
            await api.log_in()
        assert (await api.log_in()).name == "toolbridge"


async def test_nothing_can_be_called_before_the_login_or_after_the_end() -> None:
    async with FakeDiscord() as discord:
        async with DiscordApi(discord.token, api_url=discord.api_url) as api:
            with pytest.raises(DiscordUnreachableError):
                await api.call("GET", "/gateway/bot")
            await api.log_in()
        with pytest.raises(DiscordUnreachableError):
            await api.call("GET", "/gateway/bot")
        assert discord.calls_of("get_gateway_bot") == []


async def test_a_short_pause_is_waited_out() -> None:
    async with open_api() as (discord, api, channel):
        discord.limit_next("create_message", retry_after=0.3)
        assert (await post(api, channel))["content"] == "hello"
        first, second = discord.calls_of("create_message")
        assert second.at - first.at >= 0.3
        assert len(discord.own(channel)) == 1


async def test_a_pause_is_not_waited_out_where_waiting_is_given_up_and_nothing_was_done() -> None:
    given_up = asyncio.Event()
    async with open_api() as (discord, api, channel):
        discord.limit_next("create_message", retry_after=15.0)
        with until(given_up):
            posting = asyncio.ensure_future(post(api, channel))
        await discord.until(lambda: discord.calls_of("create_message"))
        given_up.set()
        began_at = time.monotonic()
        with pytest.raises(RateLimitError):
            await posting
        assert time.monotonic() - began_at < 10
        assert (len(discord.calls_of("create_message")), discord.own(channel)) == (1, [])


async def test_a_long_pause_is_told_and_nothing_was_done() -> None:
    async with open_api() as (discord, api, channel):
        discord.limit_next("create_message", retry_after=90)
        with pytest.raises(RateLimitError) as caught:
            await post(api, channel)
        assert 89 < caught.value.retry_after_s <= 90
        assert discord.own(channel) == []
        assert api.blocked_for_s == 0


async def test_all_calls_together_keep_within_fifty_a_second_but_those_for_interactions() -> None:
    async with open_api() as (discord, api, channel):
        began_at, before = time.monotonic(), len(discord.calls)
        path = "/channels/{channel_id}"
        calls = [asyncio.create_task(api.call("GET", path, channel_id=str(channel.id))) for _ in range(100)]
        await discord.until(lambda: len(discord.calls) > before)
        with pytest.raises(DiscordRefusedError):  # there is none of that id, which Discord says at once
            await api.call("POST", "/interactions/{number}/{code}/callback", json={"type": 5}, number="1", code="t")
        assert not all(call.done() for call in calls)
        await asyncio.gather(*calls)
        assert time.monotonic() - began_at > 0.9


async def test_a_limit_that_does_not_end_is_told_and_holds_up_no_other_call() -> None:
    async with open_api() as (discord, api, channel):
        discord.limit_next("create_message", retry_after=0.05, times=5)
        with pytest.raises(RateLimitError) as caught:
            await post(api, channel)
        assert caught.value.retry_after_s <= 1
        assert await api.call("GET", "/gateway/bot")
        assert len(discord.calls_of("create_message")) == 5


async def test_after_a_ban_by_cloudflare_nothing_is_sent_for_a_while() -> None:
    async with open_api(breaker_s=0.5) as (discord, api, channel):
        discord.cloudflare_next()
        began_at = time.monotonic()
        for _ in range(3):
            with pytest.raises(RateLimitError) as caught:
                await post(api, channel)
            assert 0 < caught.value.retry_after_s <= 0.5
        assert len(discord.calls_of("create_message")) == 1
        assert 0 < api.blocked_for_s <= 0.5
        await asyncio.sleep(api.blocked_for_s)
        await post(api, channel)
        assert time.monotonic() - began_at >= 0.5
        assert len(discord.own(channel)) == 1


async def test_a_call_that_is_cancelled_in_a_pause_for_all_leaves_none_waiting_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_api() as (discord, api, channel):
        discord.limit_next("create_message", retry_after=20, scope="global")
        waiting = asyncio.create_task(post(api, channel))
        await discord.until(lambda: "Global rate limit" in caplog.text)  # the library has heard of it
        other = asyncio.create_task(api.call("GET", "/gateway/bot"))
        await asyncio.wait([other], timeout=0.1)
        assert not other.done()
        waiting.cancel()
        assert await other
        await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize(("drop", "posts"), [("before", 0), ("after", 1)])
async def test_a_connection_that_is_cut_leaves_open_whether_it_was_done(drop: Any, posts: int) -> None:
    async with open_api() as (discord, api, channel):
        discord.fail_next("create_message", drop=drop)
        with pytest.raises(DiscordUnreachableError) as caught:
            await post(api, channel)
        assert not caught.value.is_permanent
        assert len(discord.own(channel)) == posts
        assert len(discord.calls_of("create_message")) == 1  # not repeated: it may be there twice then


async def test_a_refusal_carries_discords_code_and_a_sentence() -> None:
    async with open_api() as (discord, api, channel):
        discord.allow_bot(channel, "VIEW_CHANNEL")
        with pytest.raises(DiscordRefusedError, match="permission") as caught:
            await post(api, channel)
        assert (caught.value.status, caught.value.code, caught.value.is_permanent) == (403, 50013, True)


async def test_a_token_that_is_not_known_is_not_repeated_to_anybody() -> None:
    async with FakeDiscord() as discord, DiscordApi("secret-test", api_url=discord.api_url) as api:
        with pytest.raises(AdapterError, match="DISCORD_BOT_TOKEN") as caught:
            await api.log_in()
    assert caught.value.is_permanent
    assert "secret-test" not in str(caught.value)


@pytest.mark.parametrize("retry_after", [0.05, 60.0])
async def test_no_token_of_an_interaction_stands_in_a_line_of_the_library(
    caplog: pytest.LogCaptureFixture, retry_after: float
) -> None:
    async with open_api() as (discord, api, _):
        discord.limit_next("edit_followup", retry_after=retry_after)
        with pytest.raises(AdapterError):
            await api.call(
                "PATCH",
                "/webhooks/{webhook_id}/{webhook_token}/messages/@original",
                json={"content": "hello"},
                webhook_id=str(discord.application_id),
                webhook_token="aW50ZXJhY3Rpb24-test",
            )
    assert f"/webhooks/{discord.application_id}/[hidden]/messages" in caplog.text
    assert "aW50ZXJhY3Rpb24" not in caplog.text


async def test_files_go_with_a_message_and_keep_their_names_and_types() -> None:
    async with open_api() as (discord, api, channel):
        files = [
            Attachment(name="übersicht [1].txt", data=b"one", mime_type="text/plain"),
            Attachment(name="b.bin", data=b"\0", mime_type=""),
        ]
        await post(api, channel, files=files)
        (message,) = discord.own(channel)
        sent = [(each.filename, each.content, each.content_type) for each in message.attachments]
        assert sent == [
            ("übersicht [1].txt", b"one", "text/plain"),
            ("b.bin", b"\0", "application/octet-stream"),
        ]
        assert message.content == "hello"


# --- refusals, and what is none ---


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413])
@pytest.mark.parametrize(
    "answer",
    [None, {}, {"code": ["x"]}, {"code": "404"}, {"errors": []}, {"errors": {"a": "b"}}, ["no"], 404, "no"],
    ids=repr,
)
async def test_a_refusal_in_a_foreign_form_is_a_refusal_all_the_same(status: int, answer: Any) -> None:
    async with open_api() as (discord, api, channel):
        discord.fail_next("create_message", status=status, answer=answer)
        with pytest.raises(DiscordRefusedError) as caught:
            await post(api, channel)
        assert (caught.value.status, caught.value.code, caught.value.is_permanent) == (status, 0, True)
        assert len(discord.calls_of("create_message")) == 1


@pytest.mark.parametrize("status", [408, 425])
async def test_a_status_that_passes_is_not_permanent(status: int) -> None:
    async with open_api() as (discord, api, channel):
        discord.fail_next("create_message", status=status)
        with pytest.raises(DiscordRefusedError) as caught:
            await post(api, channel)
        assert not caught.value.is_permanent


async def test_a_page_in_place_of_an_answer_is_an_outage() -> None:
    async with open_api() as (discord, api, channel):
        discord.fail_next("create_message", status=200)
        with pytest.raises(DiscordUnreachableError, match=r"127\.0\.0\.1 does not answer as Discord does"):
            await post(api, channel)


async def test_a_form_that_discord_does_not_accept_is_reported_by_field_and_reason_without_what_it_said() -> None:
    async with open_api() as (_, api, channel):
        with capture_logs() as logs, pytest.raises(DiscordRefusedError) as caught:
            await post(api, channel, "secret" * 1_000)
        assert str(caught.value) == "Discord does not accept the form of the message (content: BASE_TYPE_MAX_LENGTH)."
        assert [line["fields"] for line in logs] == [["content: BASE_TYPE_MAX_LENGTH"]]
        assert "secret" not in str(logs)


@pytest.mark.parametrize(("code", "status"), [(20028, 429), (20016, 429), (40062, 429)])
async def test_a_rate_limit_with_a_code_of_its_own_asks_for_a_pause_and_blocks_nothing(code: int, status: int) -> None:
    async with open_api() as (discord, api, channel):
        discord.fail_next("create_message", status=status, answer={"message": "later", "code": code})
        with pytest.raises(RateLimitError):
            await post(api, channel)
        assert (api.blocked_for_s, api.rate_limits) == (0, 1)
        await post(api, channel)


async def test_what_has_a_patience_of_its_own_is_not_repeated_by_the_library() -> None:
    async with open_api() as (discord, api, channel):
        discord.fail_next("create_message", status=500, times=2)
        with pytest.raises(DiscordUnreachableError, match=r"127\.0\.0\.1 answers 500"):
            await post(api, channel, is_repeatable=False)
        assert len(discord.calls_of("create_message")) == 1
        await post(api, channel)
        assert [call.status for call in discord.calls_of("create_message")] == [500, 500, 200]


NOWHERE = {"closed port": "http://127.0.0.1:9/api/v10", "no such host": "http://discord.invalid/api/v10"}


@pytest.mark.parametrize("url", NOWHERE.values(), ids=NOWHERE)
async def test_an_address_that_cannot_be_reached_is_named_with_the_reason(url: str) -> None:
    async with DiscordApi("bot-test", api_url=url) as api:
        with pytest.raises(DiscordUnreachableError, match=r"(127\.0\.0\.1:9: Conn|discord\.invalid:80: its name)"):
            await api.log_in()


@pytest.mark.parametrize("answer", [{}, [], {"id": "1"}])
async def test_a_login_that_is_answered_in_a_foreign_form_can_be_repeated(answer: Any) -> None:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=discord.api_url) as api:
        discord.fail_next("get_me", status=200, answer=answer)
        with pytest.raises(DiscordUnreachableError, match="does not answer as Discord does"):
            await api.log_in()
        assert (await api.log_in()).name == "toolbridge"


async def test_a_refusal_of_status_429_that_names_no_pause_keeps_its_code() -> None:
    async with open_api() as (discord, api, channel):
        discord.fail_next("create_message", status=429, answer={"message": "old", "code": 30046})
        with pytest.raises(DiscordRefusedError) as caught:
            await post(api, channel)
        assert caught.value.code == 30046 and api.blocked_for_s == 0
