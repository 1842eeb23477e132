"""The loopback Slack, driven by the real SDK: what the adapter's tests build on must behave as Slack documents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import FakeSlack

KEY = {"event_type": "toolbridge_post", "event_payload": {"key": "k1"}}
BUTTONS: list[dict[str, Any]] = [
    {"type": "markdown", "text": "**42**"},
    {
        "type": "actions",
        "elements": [
            {"type": "button", "action_id": "go", "value": "1", "text": {"type": "plain_text", "text": "One"}},
            {
                "type": "static_select",
                "action_id": "pick",
                "options": [{"text": {"type": "plain_text", "text": name}, "value": name} for name in ("a", "b")],
            },
        ],
    },
    {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "rate",
                "positive_button": {"text": {"type": "plain_text", "text": "Good"}, "value": "good:1"},
                "negative_button": {"text": {"type": "plain_text", "text": "Bad"}, "value": "bad:1"},
            }
        ],
    },
]
MODAL: dict[str, Any] = {
    "type": "modal",
    "title": {"type": "plain_text", "text": "Details"},
    "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "all of it"}}],
}


@pytest.fixture
async def slack() -> AsyncGenerator[FakeSlack]:
    async with FakeSlack() as slack:
        slack.add_user("U1", name="ada", display_name="Ada")
        slack.add_user("U2", name="bob")
        slack.add_channel("C1", members=["U1", "U2"])
        slack.ack_timeout_s = 0.3
        slack.retry_gaps_s = (0.0, 0.05, 0.05)
        yield slack


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-test", base_url=slack.api_url, retry_handlers=[])


@asynccontextmanager
async def connected(slack: FakeSlack, app: AsyncApp) -> AsyncGenerator[AsyncSocketModeHandler]:
    """Connect bolt's own handler by Socket Mode."""
    count = len(slack.open_sockets())
    handler = AsyncSocketModeHandler(app, app_token="xapp-test", ping_interval=1)
    await handler.connect_async()
    await slack.until(lambda: len(slack.open_sockets()) > count)
    try:
        yield handler
    finally:
        await handler.close_async()


def bolt(client: AsyncWebClient) -> tuple[AsyncApp, list[dict[str, Any]]]:
    """Return an app that acknowledges everything and the event bodies it got."""
    app, got = AsyncApp(client=client, signing_secret="signing-test"), list[dict[str, Any]]()

    async def take(body: dict[str, Any]) -> None:
        got.append(body)

    app.event("message")(take)
    app.event("app_mention")(take)
    app.event("agent_session_stopped")(take)
    return app, got


async def refused(call: Awaitable[Any]) -> str:
    """Return the error code of a call that must be refused."""
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


# --- the Web API


async def test_a_posted_answer_is_what_people_read_and_is_found_again_by_its_metadata(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    root = await slack.say("C1", "U1", "six times seven?", deliver=False)
    posted = await client.chat_postMessage(
        channel="C1", thread_ts=root, text="42", blocks=BUTTONS, metadata=KEY, unfurl_links=False
    )
    assert [message.shown for message in slack.visible("C1", root)] == ["six times seven?", "**42**"]
    found = await client.conversations_replies(channel="C1", ts=root, include_all_metadata=True)
    own = [message for message in found["messages"] if message.get("bot_id") == "B1"]
    assert [(message["ts"], message["metadata"], message["app_id"]) for message in own] == [(posted["ts"], KEY, "A1")]
    plain = await client.conversations_replies(channel="C1", ts=root)
    assert all("metadata" not in message for message in plain["messages"])


async def test_an_update_replaces_the_content_and_keeps_the_metadata(slack: FakeSlack, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel="C1", text="thinking", metadata=KEY)
    await client.chat_update(
        channel="C1", ts=posted["ts"], text="done", blocks=[{"type": "markdown", "text": "*done*"}]
    )
    (message,) = slack.visible("C1")
    assert (message.shown, message.edits, message.metadata) == ("*done*", 1, KEY)


async def test_posts_that_slack_would_refuse_are_refused_with_its_codes(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    slack.add_channel("C2", members=["U1"], bot_is_member=False)
    slack.add_channel("G1", members=["U1"], bot_is_member=False, is_private=True)
    asked = await slack.say("C1", "U1", "hello", deliver=False)
    post = client.chat_postMessage
    assert await refused(post(channel="C2", text="x")) == "not_in_channel"
    assert await refused(post(channel="G1", text="x")) == "channel_not_found"
    assert await refused(post(channel="C1")) == "no_text"
    assert await refused(post(channel="C1", text="x" * 40_001)) == "msg_too_long"
    assert await refused(post(channel="C1", text="x", thread_ts="1.000001")) == "thread_not_found"
    assert await refused(post(channel="C1", text="x", metadata={"event_type": "a"})) == "invalid_metadata_format"
    assert await refused(client.chat_update(channel="C1", ts=asked, text="x")) == "cant_update_message"
    assert await refused(client.chat_update(channel="C1", ts="1.000001", text="x")) == "message_not_found"
    assert await refused(client.chat_postEphemeral(channel="C1", user="U9", text="x")) == "user_not_in_channel"
    assert slack.bot_messages("C1") == []


def button(text: str = "go", **fields: Any) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": text}, **fields}


def actions(*elements: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements), **fields}


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def select(count: int) -> dict[str, Any]:
    options = [{"text": {"type": "plain_text", "text": "x"}, "value": str(index)} for index in range(count)]
    return {"type": "static_select", "action_id": "s", "options": options}


@pytest.mark.parametrize(
    ("fits", "breaks"),
    [
        pytest.param([section("x")] * 50, [section("x")] * 51, id="blocks"),
        pytest.param([section("x" * 3_000)], [section("x" * 3_001)], id="section text"),
        pytest.param(
            [{"type": "markdown", "text": "x" * 6_000}] * 2,
            [{"type": "markdown", "text": "x" * 6_000}, {"type": "markdown", "text": "x" * 6_001}],
            id="markdown of all blocks",
        ),
        pytest.param(
            [{"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}],
            [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
            id="header",
        ),
        pytest.param([actions(button("x" * 75))], [actions(button("x" * 76))], id="button text"),
        pytest.param([actions(button(value="x" * 2_000))], [actions(button(value="x" * 2_001))], id="button value"),
        pytest.param([actions(button(action_id="x" * 255))], [actions(button(action_id="x" * 256))], id="action_id"),
        pytest.param([actions(*[button()] * 25)], [actions(*[button()] * 26)], id="actions"),
        pytest.param([actions(select(100))], [actions(select(101))], id="options"),
        pytest.param(
            [actions(button(action_id="a")), actions(button(action_id="a"))],
            [actions(button(action_id="a"), button(action_id="a"))],
            id="action_id twice in a block",
        ),
        pytest.param(
            [actions(button(), block_id="a"), actions(button(), block_id="b")],
            [actions(button(), block_id="a"), actions(button(), block_id="a")],
            id="block_id twice",
        ),
        pytest.param(
            [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 10}],
            [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}],
            id="context elements",
        ),
        pytest.param([section("x")], [section("")], id="empty text"),
        pytest.param([section("x")], [{"type": "sections"}], id="unknown type"),
    ],
)
async def test_blocks_are_taken_up_to_their_limit_and_refused_beyond(
    client: AsyncWebClient, fits: list[dict[str, Any]], breaks: list[dict[str, Any]]
) -> None:
    assert (await client.chat_postMessage(channel="C1", text="x", blocks=fits))["ok"]
    assert await refused(client.chat_postMessage(channel="C1", text="x", blocks=breaks)) == "invalid_blocks"


async def test_history_pages_newest_first_and_the_cursor_leads_through_all_of_it(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    said = [await slack.say("C1", "U1", f"m{index}", deliver=False) for index in range(5)]
    await slack.say("C1", "U2", "a reply", thread_ts=said[0], deliver=False)
    pages = [
        [message["ts"] for message in page["messages"]]
        async for page in await client.conversations_history(channel="C1", limit=2)
    ]
    assert pages == [[said[4], said[3]], [said[2], said[1]], [said[0]]]
    after = await client.conversations_history(channel="C1", oldest=said[3])
    assert [message["ts"] for message in after["messages"]] == [said[4]]
    from_there = await client.conversations_history(channel="C1", oldest=said[3], inclusive=True)
    assert [message["ts"] for message in from_there["messages"]] == [said[4], said[3]]


async def test_tokens_are_judged_before_anything_is_done(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.add_token("xoxb-test-narrow", team="T1", scopes=("users:read",))
    slack.add_token("xoxb-test-old", team="T1", expires_at=slack.now() - 1)
    assert await refused(client.auth_test(token="xoxb-test-unknown")) == "invalid_auth"
    assert await refused(client.auth_test(token="xoxb-test-old")) == "token_expired"
    assert await refused(client.apps_connections_open(app_token="xoxb-test")) == "not_allowed_token_type"
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C1", text="x", token="xoxb-test-narrow")
    assert caught.value.response["error"] == "missing_scope"
    assert (caught.value.response["needed"], caught.value.response["provided"]) == ("chat:write", "users:read")
    who = await client.auth_test()
    assert (who["team_id"], who["user_id"], who["bot_id"]) == ("T1", "UBOT", "B1")
    assert "chat:write" in who.headers["x-oauth-scopes"].split(",")
    await slack.revoke_tokens("T1")
    assert await refused(client.auth_test()) == "token_revoked"


async def test_a_limited_call_says_how_long_to_wait_and_does_nothing(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.limit_next("chat.postMessage", retry_after_s=7)
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C1", text="x")
    assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "7")
    assert slack.visible("C1") == []
    await client.chat_postMessage(channel="C1", text="x")
    assert [call.status for call in slack.calls_of("chat.postMessage")] == [429, 200]


async def test_the_documented_rates_hold_when_they_are_enforced(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.rates.are_enforced = True
    root = await slack.say("C1", "U1", "hello", deliver=False)

    async def start() -> Any:
        return await client.chat_startStream(
            channel="C1", thread_ts=root, recipient_team_id="T1", recipient_user_id="U1"
        )

    for _ in range(20):
        await start()
    assert await refused(start()) == "ratelimited"
    slack.advance(60)
    assert (await start())["ok"]


@pytest.mark.parametrize(("at_once", "taken"), [(None, 30), (25, 25), (5, 5), (1, 1)])
async def test_a_channel_takes_as_many_posts_at_once_as_was_asked_for_and_then_one_a_second(
    slack: FakeSlack, client: AsyncWebClient, at_once: int | None, taken: int
) -> None:
    slack.rates.posts_at_once = at_once
    slack.add_channel("C2", members=["U1"])
    for _ in range(30):
        with suppress(SlackApiError):
            await client.chat_postMessage(channel="C1", text="x")
    calls = slack.calls_of("chat.postMessage")
    assert [call.ok for call in calls] == [True] * taken + [False] * (30 - taken)
    assert (await client.chat_postMessage(channel="C2", text="x"))["ok"]  # another channel has its own count
    slack.advance(1)
    assert (await client.chat_postMessage(channel="C1", text="x"))["ok"]
    if at_once == 1:
        with pytest.raises(SlackApiError) as caught:
            await client.chat_postMessage(channel="C1", text="x")
        assert caught.value.response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(("drop", "count"), [("before", 0), ("after", 1)])
async def test_a_cut_connection_leaves_the_caller_without_an_answer_whether_or_not_it_took_effect(
    slack: FakeSlack, client: AsyncWebClient, drop: Any, count: int
) -> None:
    slack.fail_next("chat.postMessage", drop=drop)
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel="C1", text="x")
    assert len(slack.visible("C1")) == count


async def test_an_http_fault_and_a_slack_error_come_once_on_request(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.fail_next("chat.postMessage", status=503)
    slack.fail_next("chat.postMessage", error="internal_error")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C1", text="x")
    assert caught.value.response.status_code == 503
    assert await refused(client.chat_postMessage(channel="C1", text="x")) == "internal_error"
    assert (await client.chat_postMessage(channel="C1", text="x"))["ok"]


# --- streams


async def test_a_stream_grows_and_ends_with_its_blocks_and_metadata(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = await slack.say("C1", "U1", "hello", deliver=False)
    stream = await client.chat_startStream(
        channel="C1", thread_ts=root, recipient_team_id="T1", recipient_user_id="U1", markdown_text="one "
    )
    await client.chat_appendStream(channel="C1", ts=stream["ts"], markdown_text="two")
    (message,) = slack.bot_messages("C1", root)
    assert (message.shown, message.is_streaming) == ("one two", True)
    assert await refused(client.chat_update(channel="C1", ts=stream["ts"], text="x")) == "streaming_state_conflict"
    assert await refused(client.chat_delete(channel="C1", ts=stream["ts"])) == "cant_delete_message"
    await client.chat_stopStream(
        channel="C1", ts=stream["ts"], blocks=BUTTONS[2:], metadata=KEY, session_status="active"
    )
    assert (message.shown, message.is_streaming, message.metadata) == ("one two", False, KEY)
    assert slack.status("C1", root) == "active"
    again = client.chat_appendStream(channel="C1", ts=stream["ts"], markdown_text="three")
    assert await refused(again) == "message_not_in_streaming_state"


async def test_a_stream_in_a_channel_names_its_recipient(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = await slack.say("C1", "U1", "hello", deliver=False)
    start = client.chat_startStream
    assert await refused(start(channel="C1", thread_ts=root, recipient_user_id="U1")) == "missing_recipient_team_id"
    assert await refused(start(channel="C1", thread_ts=root, recipient_team_id="T1")) == "missing_recipient_user_id"
    direct = slack.dm("U1")
    asked = await slack.say(direct, "U1", "hello", deliver=False)
    assert (await start(channel=direct, thread_ts=asked))["ok"]


async def test_a_stream_dies_of_age_and_of_length_and_can_be_updated_then(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    slack.api.max_stream_chars = 100
    direct = slack.dm("U1")
    root = await slack.say(direct, "U1", "hello", deliver=False)
    stream = await client.chat_startStream(channel=direct, thread_ts=root, markdown_text="x" * 60)
    too_long = client.chat_appendStream(channel=direct, ts=stream["ts"], markdown_text="x" * 41)
    assert await refused(too_long) == "msg_too_long"
    slack.advance(299)
    await client.chat_appendStream(channel=direct, ts=stream["ts"], markdown_text="y")
    slack.advance(2)
    too_late = client.chat_stopStream(channel=direct, ts=stream["ts"], markdown_text="z")
    assert await refused(too_late) == "message_not_in_streaming_state"
    await client.chat_update(
        channel=direct, ts=stream["ts"], text="whole", blocks=[{"type": "markdown", "text": "whole"}]
    )
    assert [message.shown for message in slack.bot_messages(direct, root)] == ["whole"]


# --- Socket Mode


async def test_a_mention_arrives_as_message_and_as_app_mention_with_one_ts_and_two_event_ids(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    app, got = bolt(client)
    async with connected(slack, app):
        ts = await slack.say("C1", "U1", "hello", mention=True)
        await slack.until(lambda: len(got) == 2)
        await slack.settled()
    assert sorted(body["event"]["type"] for body in got) == ["app_mention", "message"]
    assert {body["event"]["ts"] for body in got} == {ts} and len({body["event_id"] for body in got}) == 2
    assert all(delivery.latency_s is not None and delivery.latency_s < 0.3 for delivery in slack.acks)


async def test_what_people_type_arrives_escaped_as_slack_stores_it(slack: FakeSlack, client: AsyncWebClient) -> None:
    app, got = bolt(client)
    async with connected(slack, app):
        await slack.say("C1", "U1", "is <@U2> > 1 & <b>? https://example.com/?a=1&b=2")
        await slack.until(lambda: got)
    stored = "is <@U2> &gt; 1 &amp; &lt;b&gt;? <https://example.com/?a=1&amp;b=2>"
    assert got[0]["event"]["text"] == stored
    (found,) = (await client.conversations_history(channel="C1"))["messages"]
    assert found["text"] == stored


async def test_an_event_that_nobody_acknowledges_is_sent_again_three_times_and_no_more(slack: FakeSlack) -> None:
    attempts: list[tuple[int, str]] = []
    async with aiohttp.ClientSession() as session:
        opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token="xapp-test")
        async with session.ws_connect(opened["url"]) as ws:
            assert (await ws.receive_json())["num_connections"] == 1
            await slack.say("C1", "U1", "hello")
            async with asyncio.timeout(30):
                for _ in range(4):
                    envelope = await ws.receive_json()
                    attempts.append((envelope["retry_attempt"], envelope["payload"]["event_id"]))
            await slack.settled()
    assert [attempt for attempt, _ in attempts] == [0, 1, 2, 3] and len({event for _, event in attempts}) == 1
    assert slack.acks[0].gave_up and slack.acks[0].acked_at is None


async def test_a_delivery_that_cannot_be_sent_is_given_up(slack: FakeSlack) -> None:
    slack.mode = "http"
    endless: dict[str, Any] = {"type": "event_callback"}
    endless["event"] = endless
    async with asyncio.timeout(10):
        delivery = await slack.ended(slack.deliver("events_api", endless, team="T1"))
    assert delivery.gave_up


async def test_a_ticket_opens_one_connection_and_a_failed_handshake_uses_it_up(slack: FakeSlack) -> None:
    client = AsyncWebClient(base_url=slack.api_url)
    slack.refuse_sockets(1)
    async with aiohttp.ClientSession() as session:
        first = await client.apps_connections_open(app_token="xapp-test")
        second = await client.apps_connections_open(app_token="xapp-test")
        for url, status in ((first["url"], 503), (first["url"], 403)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(url)
            assert caught.value.status == status
        async with session.ws_connect(second["url"]) as ws:
            assert (await ws.receive_json())["type"] == "hello"
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(second["url"])


@pytest.mark.parametrize("how", ["disconnect", "cut", "freeze"])
async def test_the_real_client_comes_back_after_each_way_of_losing_its_socket(
    slack: FakeSlack, client: AsyncWebClient, how: str
) -> None:
    app, got = bolt(client)
    slack.retry_gaps_s = (0.0, 5.0, 10.0)
    async with connected(slack, app):
        first = slack.open_sockets()
        if how == "disconnect":
            await slack.disconnect(reason="refresh_requested")
        elif how == "cut":
            await slack.cut_sockets()
        else:
            slack.freeze_sockets()
        await slack.until(lambda: any(socket not in first for socket in slack.open_sockets()))
        await slack.say("C1", "U1", "still there?")
        await slack.until(lambda: got)


async def test_deliveries_are_spread_over_the_open_sockets(slack: FakeSlack, client: AsyncWebClient) -> None:
    app, got = bolt(client)
    async with connected(slack, app), connected(slack, app):
        for index in range(6):
            await slack.say("C1", "U1", f"m{index}")
        await slack.until(lambda: len(got) == 6)
        await slack.settled()
        assert [socket.acks for socket in slack.open_sockets()] == [3, 3]


async def test_deliveries_can_be_held_reordered_and_doubled(slack: FakeSlack, client: AsyncWebClient) -> None:
    app, got = bolt(client)
    async with connected(slack, app):
        slack.hold()
        for text in ("first", "second"):
            await slack.say("C1", "U1", text)
        await slack.release(order=[1, 0])
        await slack.until(lambda: len(got) == 2)
        assert [delivery.event["text"] for delivery in slack.acks] == ["second", "first"]
        slack.duplicate_next()
        await slack.say("C1", "U1", "twice")
        await slack.until(lambda: len(got) == 4)
    assert got[2]["event_id"] == got[3]["event_id"]


async def test_the_app_hears_of_edits_deletions_and_its_own_posts(slack: FakeSlack, client: AsyncWebClient) -> None:
    app, _ = bolt(client)
    async with connected(slack, app):
        ts = await slack.say("C1", "U1", "six times sevn")
        await slack.edit("C1", ts, "six times seven")
        await slack.delete("C1", ts)
        await client.chat_postMessage(channel="C1", text="mine")
        await slack.until(lambda: len(slack.acks) == 4)
        await slack.settled()
    by_kind = {
        delivery.event.get("subtype", delivery.event.get("bot_id", "")): delivery.event for delivery in slack.acks
    }
    assert by_kind["message_changed"]["previous_message"]["text"] == "six times sevn"
    assert by_kind["message_changed"]["message"]["text"] == "six times seven"
    assert by_kind["message_deleted"]["deleted_ts"] == ts
    assert by_kind["B1"]["text"] == "mine"


# --- HTTP


@asynccontextmanager
async def http_app(answer: Callable[[web.Request, bytes], web.Response]) -> AsyncGenerator[str]:
    async def handle(request: web.Request) -> web.Response:
        return answer(request, await request.read())

    app = web.Application()
    app.router.add_post("/slack/events", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    finally:
        await runner.cleanup()


async def test_http_deliveries_are_signed_and_say_that_they_are_repeats(slack: FakeSlack) -> None:
    seen: list[tuple[bool, str, str]] = []
    verifier = SignatureVerifier("signing-test")

    def answer(request: web.Request, body: bytes) -> web.Response:
        valid = verifier.is_valid_request(body, dict(request.headers))
        headers = request.headers
        seen.append((valid, headers.get("X-Slack-Retry-Num", ""), headers.get("X-Slack-Retry-Reason", "")))
        return web.Response(status=500 if len(seen) == 1 else 200)

    async with http_app(answer) as url:
        slack.mode, slack.events_url = "http", url
        await slack.say("C1", "U1", "hello")
        await slack.settled()
    assert seen == [(True, "", ""), (True, "1", "http_error")]


async def test_a_command_by_http_is_a_form_and_only_the_asker_sees_its_answer(slack: FakeSlack) -> None:
    bodies: list[bytes] = []

    def answer(request: web.Request, body: bytes) -> web.Response:
        bodies.append(body)
        return web.json_response({"text": "two tools"})

    async with http_app(answer) as url:
        slack.mode, slack.events_url = "http", url
        await slack.slash("C1", "U1", "/tools", "calc & co")
    assert b"command=%2Ftools" in bodies[0] and b"thread_ts" not in bodies[0]
    assert [message.shown for message in slack.ephemerals("U1")] == ["two tools"] and not slack.ephemerals("U2")


# --- what people press


async def test_a_command_is_answered_by_its_response_url_five_times_and_within_half_an_hour(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    app, _ = bolt(client)
    urls: list[str] = []

    async def tools(ack: Any, body: dict[str, Any], respond: Any) -> None:
        await ack()
        urls.append(body["response_url"])
        await respond("here")

    app.command("/tools")(tools)
    async with connected(slack, app), aiohttp.ClientSession() as session:
        assert (await slack.slash("C1", "U1", "/tools")).acked_at is not None
        await slack.until(lambda: slack.ephemerals("U1"))
        statuses = [(await session.post(urls[0], json={"text": "more"})).status for _ in range(5)]
        assert statuses == [200, 200, 200, 200, 404]
        await slack.slash("C1", "U1", "/tools")
        slack.advance(1_801)
        assert (await session.post(urls[1], json={"text": "late"})).status == 404


async def test_what_is_pressed_arrives_in_the_shape_of_its_element(slack: FakeSlack, client: AsyncWebClient) -> None:
    app, _ = bolt(client)
    got: list[dict[str, Any]] = []

    async def pressed(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        got.append(body)

    for action in ("go", "pick", "rate"):
        app.action(action)(pressed)
    posted = await client.chat_postMessage(channel="C1", text="42", blocks=BUTTONS)
    async with connected(slack, app):
        await slack.press("C1", posted["ts"], "U2", "go")
        await slack.press("C1", posted["ts"], "U2", "pick", selected_value="b")
        await slack.press("C1", posted["ts"], "U2", "rate", value="bad:1")
        with pytest.raises(AssertionError):
            await slack.press("C1", posted["ts"], "U2", "rate", value="bad:2")
    chosen = [body["actions"][0] for body in got]
    assert chosen[0]["value"] == "1" and chosen[2]["value"] == "bad:1"
    assert chosen[1]["selected_option"]["value"] == "b"
    assert got[0]["message"]["ts"] == posted["ts"] and got[0]["user"]["id"] == "U2"


async def test_a_trigger_opens_one_modal_and_only_for_three_seconds(slack: FakeSlack, client: AsyncWebClient) -> None:
    ada = slack.user("U1")
    trigger = slack.new_trigger(ada)
    opened = await client.views_open(trigger_id=trigger, view=MODAL)
    assert [slack.text_of(view) for view in slack.views("U1")] == ["all of it"]
    await client.views_update(view_id=opened["view"]["id"], view=MODAL | {"blocks": [section("more")]})
    assert [slack.text_of(view) for view in slack.views("U1")] == ["more"]
    assert await refused(client.views_open(trigger_id=trigger, view=MODAL)) == "exchanged_trigger_id"
    late = slack.new_trigger(ada)
    slack.advance(3.1)
    assert await refused(client.views_open(trigger_id=late, view=MODAL)) == "expired_trigger_id"
    markdown = MODAL | {"blocks": [{"type": "markdown", "text": "x"}]}
    assert await refused(client.views_open(trigger_id=slack.new_trigger(ada), view=markdown)) == "invalid_blocks"
    titled = MODAL | {"title": {"type": "plain_text", "text": "x" * 25}}
    assert await refused(client.views_open(trigger_id=slack.new_trigger(ada), view=titled)) == "invalid_arguments"


async def test_the_home_tab_shows_what_was_published_and_can_be_pressed(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    app, _ = bolt(client)
    home = {"type": "home", "blocks": [section("welcome"), actions(button(action_id="go"))]}
    pressed = asyncio.Event()

    async def opened(event: dict[str, Any]) -> None:
        await client.views_publish(user_id=event["user"], view=home)

    async def go(ack: Any) -> None:
        await ack()
        pressed.set()

    app.event("app_home_opened")(opened)
    app.action("go")(go)
    async with connected(slack, app):
        await slack.open_home("U1")
        await slack.until(lambda: slack.text_of(slack.home("U1")) == "welcome")
        await slack.press_in_home("U1", "go")
        async with asyncio.timeout(30):
            await pressed.wait()


async def test_stop_is_there_while_the_agent_works_and_ends_its_streams(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    app, got = bolt(client)
    slack.api.echo = False
    direct = slack.dm("U1")
    root = await slack.say(direct, "U1", "hello", deliver=False)
    with pytest.raises(AssertionError):
        await slack.press_stop(direct, root, "U1")
    await client.agents_sessions_setStatus(channel_id=direct, thread_ts=root, status="processing")
    stream = await client.chat_startStream(channel=direct, thread_ts=root)
    async with connected(slack, app):
        await slack.press_stop(direct, root, "U1")
        await slack.until(lambda: got)
    assert got[0]["event"]["streaming_message_ts"] == [stream["ts"]]
    append = client.chat_appendStream(channel=direct, ts=stream["ts"], markdown_text="x")
    assert await refused(append) == "message_not_in_streaming_state"
    slack.api.is_agent = False
    status = client.agents_sessions_setStatus(channel_id=direct, thread_ts=root, status="active")
    assert await refused(status) == "not_authorized"


# --- files, reactions, people, installations


async def test_an_uploaded_file_is_a_message_in_its_thread(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = await slack.say("C1", "U1", "hello", deliver=False)
    await client.files_upload_v2(filename="out.txt", content="all of it", channel="C1", thread_ts=root)
    (message,) = slack.bot_messages("C1", root)
    assert [(stored.name, stored.content) for stored in message.files] == [("out.txt", b"all of it")]


async def test_a_file_needs_a_token_of_its_team_or_the_sign_in_page_comes(slack: FakeSlack) -> None:
    slack.add_team("T2", token="xoxb-test-2", bot_user="UBOT2", bot_id="B2")
    stored = slack.add_file("notes.txt", b"hello", user="U1")
    url = slack.file_json(stored)["url_private_download"]
    async with aiohttp.ClientSession() as session:
        for token, content_type in (("xoxb-test", "text/plain"), ("xoxb-test-2", "text/html"), ("", "text/html")):
            async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
                assert (response.status, response.content_type) == (200, content_type)


async def test_reactions_are_added_and_removed_once(slack: FakeSlack, client: AsyncWebClient) -> None:
    ts = await slack.say("C1", "U1", "hello", deliver=False)
    await client.reactions_add(channel="C1", timestamp=ts, name="hourglass")
    assert slack.reactions("C1", ts) == ["hourglass"]
    assert await refused(client.reactions_add(channel="C1", timestamp=ts, name="hourglass")) == "already_reacted"
    await client.reactions_remove(channel="C1", timestamp=ts, name="hourglass")
    assert await refused(client.reactions_remove(channel="C1", timestamp=ts, name="hourglass")) == "no_reaction"
    assert slack.reactions("C1", ts) == []
    person = (await client.users_info(user="U1"))["user"]
    assert person["profile"]["display_name"] == "Ada"


async def test_a_code_is_exchanged_once_and_the_refresh_token_rotates(slack: FakeSlack) -> None:
    slack.add_team("T2", token="xoxb-test-2", bot_user="UBOT2", bot_id="B2", enterprise="E1")
    client = AsyncWebClient(base_url=slack.api_url)
    code = slack.grant_code("T2", "U5")

    async def exchange(**fields: Any) -> Any:
        return await client.oauth_v2_access(client_id="client-test", client_secret="client-secret-test", **fields)

    installed = await exchange(code=code)
    assert (installed["team"]["id"], installed["enterprise"]["id"], installed["expires_in"]) == ("T2", "E1", 43_200)
    assert await refused(exchange(code=code)) == "invalid_code"
    assert (await client.auth_test(token=installed["access_token"]))["team_id"] == "T2"
    fresh = await exchange(grant_type="refresh_token", refresh_token=installed["refresh_token"])
    slack.advance(43_201)
    assert await refused(client.auth_test(token=installed["access_token"])) == "token_expired"
    again = exchange(grant_type="refresh_token", refresh_token=installed["refresh_token"])
    assert await refused(again) == "invalid_refresh_token"
    assert fresh["refresh_token"] != installed["refresh_token"]


async def test_a_wait_that_fails_tells_what_was_called_last(slack: FakeSlack, client: AsyncWebClient) -> None:
    await client.chat_postMessage(channel="C1", text="x")
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"chat\.postMessage:ok"):
        await slack.until(lambda: False, timeout_s=0.05)
    assert time.monotonic() - started < 5


async def test_a_deletion_by_the_app_takes_the_reply_out_of_its_thread(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    root = await slack.say("C1", "U1", "hello", deliver=False)
    posted = await client.chat_postMessage(channel="C1", thread_ts=root, text="wrong")
    await client.chat_delete(channel="C1", ts=str(posted["ts"]))
    assert [message.shown for message in slack.visible("C1", root)] == ["hello"]
    (parent,) = (await client.conversations_replies(channel="C1", ts=root))["messages"]
    assert "reply_count" not in parent


async def test_an_ephemeral_answer_can_be_pressed_and_replaced_by_its_response_url(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    app, _ = bolt(client)
    bodies: list[dict[str, Any]] = []

    async def go(ack: Any, body: dict[str, Any], respond: Any) -> None:
        bodies.append(body)
        await ack()
        await respond(text="done", replace_original=True)

    app.action("go")(go)
    posted = await client.chat_postEphemeral(
        channel="C1", user="U1", text="sure?", blocks=[actions(button(action_id="go"))]
    )
    async with connected(slack, app):
        with pytest.raises(AssertionError):
            await slack.press("C1", str(posted["message_ts"]), "U2", "go")
        await slack.press("C1", str(posted["message_ts"]), "U1", "go")
        await slack.until(lambda: [message.shown for message in slack.ephemerals("U1")] == ["done"])
    assert bodies[0]["container"]["is_ephemeral"] and "message" not in bodies[0]
    assert slack.visible("C1") == []


async def test_a_modal_stays_open_with_errors_and_closes_when_it_is_accepted(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    app, _ = bolt(client)
    modal = MODAL | {
        "callback_id": "form",
        "submit": {"type": "plain_text", "text": "Go"},
        "blocks": [
            {
                "type": "input",
                "block_id": "n",
                "label": {"type": "plain_text", "text": "Number"},
                "element": {"type": "plain_text_input", "action_id": "value"},
            }
        ],
    }

    async def tools(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=modal)

    async def form(ack: Any, view: dict[str, Any]) -> None:
        if view["state"]["values"]["n"]["value"]["value"] == "7":
            await ack()
        else:
            await ack(response_action="errors", errors={"n": "not 7"})

    app.shortcut("tools")(tools)
    app.view("form")(form)
    ts = await slack.say("C1", "U1", "hello", deliver=False)
    async with connected(slack, app):
        await slack.shortcut("C1", ts, "U1", "tools")
        (view,) = await slack.until(lambda: slack.views("U1"))
        wrong = await slack.submit(view.id, "U1", {"n": {"value": {"type": "plain_text_input", "value": "6"}}})
        assert wrong.answer == {"response_action": "errors", "errors": {"n": "not 7"}} and slack.views("U1") == [view]
        await slack.submit(view.id, "U1", {"n": {"value": {"type": "plain_text_input", "value": "7"}}})
        assert slack.views("U1") == []


async def test_a_command_that_nobody_answers_is_not_repeated_and_its_asker_gets_a_notice(slack: FakeSlack) -> None:
    delivery = await slack.slash("C1", "U1", "/tools")
    assert delivery.gave_up and len(delivery.faults) == 1
    assert [user for user, _ in slack.told] == ["U1"]


async def test_what_a_cut_socket_did_not_acknowledge_goes_to_the_next_one(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    app, got = bolt(client)
    async with aiohttp.ClientSession() as session:
        opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token="xapp-test")
        async with session.ws_connect(str(opened["url"])) as silent:
            await silent.receive_json()
            await slack.say("C1", "U1", "hello")
            assert (await silent.receive_json())["type"] == "events_api"
            await slack.cut_sockets()
        async with connected(slack, app):
            await slack.until(lambda: got)
            await slack.settled()
    assert slack.acks[0].acked_at is not None and len(slack.acks[0].sent_at) == 2


async def test_two_hundred_events_at_once_are_acknowledged_in_time(slack: FakeSlack, client: AsyncWebClient) -> None:
    app, got = bolt(client)
    slack.ack_timeout_s = 10
    async with connected(slack, app), connected(slack, app):
        for index in range(200):
            await slack.say("C1", "U1", f"m{index}")
        await slack.until(lambda: len(got) == 200)
        await slack.settled()
    assert {len(delivery.sent_at) for delivery in slack.deliveries_of("message")} == {1}
    assert {body["event"]["text"] for body in got} == {f"m{index}" for index in range(200)}


async def test_each_team_has_its_own_bot_and_an_uninstalled_one_hears_no_more(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    slack.add_team("T2", token="xoxb-test-2", bot_user="UBOT2", bot_id="B2", enterprise="E1")
    slack.add_user("U5", team="T2")
    slack.add_channel("C5", members=["U5"], team="T2")
    slack.hold()
    await slack.say("C5", "U5", "hello", mention=True)
    message, mention = slack.held
    assert (mention.payload["team_id"], mention.payload["enterprise_id"]) == ("T2", "E1")
    assert mention.payload["authorizations"][0]["user_id"] == "UBOT2" and message.event["text"] == "<@UBOT2> hello"
    assert await refused(client.chat_postMessage(channel="C5", text="x")) == "channel_not_found"
    await slack.uninstall("T2")
    assert await refused(client.auth_test(token="xoxb-test-2")) == "token_revoked"
    await slack.say("C5", "U5", "anybody?", mention=True)
    kinds = [delivery.event["type"] for delivery in slack.held[2:]]
    assert kinds == ["tokens_revoked", "app_uninstalled"]


async def test_bolt_takes_events_commands_and_clicks_by_http_as_well(slack: FakeSlack, client: AsyncWebClient) -> None:
    app, got = bolt(client)
    pressed: list[str] = []

    async def tools(ack: Any) -> None:
        await ack("two tools")

    async def go(ack: Any, action: dict[str, Any]) -> None:
        pressed.append(action["value"])
        await ack()

    app.command("/tools")(tools)
    app.action("go")(go)
    posted = await client.chat_postMessage(channel="C1", text="42", blocks=BUTTONS)
    runner = web.AppRunner(app.web_app(path="/slack/events"))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        slack.mode = "http"
        slack.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
        await slack.say("C1", "U1", "hello", mention=True)
        await slack.slash("C1", "U1", "/tools")
        await slack.press("C1", str(posted["ts"]), "U1", "go")
        await slack.settled()
        forged = await slack.deliver_http(slack.events_url, {"type": "event_callback"}, signing_secret="another")
        stale = await slack.deliver_http(slack.events_url, {"type": "event_callback"}, timestamp=int(time.time()) - 600)
    finally:
        await runner.cleanup()
    assert sorted(body["event"]["type"] for body in got) == ["app_mention", "message"] and pressed == ["1"]
    assert [message.shown for message in slack.ephemerals("U1")] == ["two tools"]
    assert (forged[0], stale[0]) == (401, 401)
