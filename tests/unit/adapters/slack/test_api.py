"""Calling Slack's Web API through the real SDK over loopback: rates, pauses, repeats, refusals, and secrets kept."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web as server
from hypothesis import given
from hypothesis import strategies as st

from adapters.shared.buckets import Priority, Rate
from adapters.shared.fence import only_while
from adapters.slack.api import SlackApi, Tokens
from adapters.slack.errors import SlackRefusedError, SlackUnreachableError, without_values
from adapters.slack.installs import OneToken
from adapters.slack.limits import Limits
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, RateLimitError
from tests.fakes.slack import FakeSlack

TOKEN = "xoxb-test"
SECRET = "xoxb-test-unseen"
PRIVATE = "a private word"
TEAM = "T1"
OK: Mapping[str, Any] = {"ok": True}


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str  # Slack's: "chat.postMessage", or a path
    verb: str
    authorization: str
    arguments: Mapping[str, Any]
    body: bytes
    is_json: bool


Answer = Mapping[str, Any] | Callable[[server.Request], Awaitable[server.StreamResponse]]


@dataclass
class Loopback:
    """A server that gives scripted answers in order, the last one again and again; {"ok": true} where there is none."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    script: dict[str, list[Answer]] = field(default_factory=dict)

    def calls(self, method: str) -> list[Seen]:
        return [request for request in self.seen if request.method == method]

    async def answer(self, request: server.Request) -> server.StreamResponse:
        method = request.path.removeprefix("/api/")
        body = await request.read()
        is_json = request.content_type == "application/json"
        arguments = json.loads(body) if is_json else dict(request.query)
        authorization = request.headers.get("Authorization", "")
        self.seen.append(Seen(method, request.method, authorization, arguments, body, is_json))
        answers = self.script.get(method, [OK])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return await answer(request) if callable(answer) else server.json_response(answer)


@asynccontextmanager
async def serving() -> AsyncGenerator[Loopback]:
    loopback = Loopback()
    app = server.Application()
    app.router.add_route("*", "/{path:.*}", loopback.answer)
    runner = server.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = server.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    loopback.url = f"http://{host}:{port}/api/"
    try:
        yield loopback
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(
    loopback: Loopback, *, tokens: Tokens | None = None, limits: Limits | None = None, request_timeout_s: float = 10.0
) -> AsyncGenerator[SlackApi]:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        yield SlackApi(
            tokens or OneToken(TOKEN),
            session,
            base_url=loopback.url,
            limits=limits,
            request_timeout_s=request_timeout_s,
            backoff=Backoff(first_s=0.01),
        )


def refusal(code: str, **more: Any) -> Mapping[str, Any]:
    return {"ok": False, "error": code, **more}


def pause(retry_after: str) -> Answer:
    async def answer(_: server.Request) -> server.StreamResponse:
        return server.json_response(refusal("ratelimited"), status=429, headers={"Retry-After": retry_after})

    return answer


def status(code: int, *, text: str = "<html>busy</html>", content_type: str = "text/html") -> Answer:
    async def answer(_: server.Request) -> server.StreamResponse:
        return server.Response(status=code, text=text, content_type=content_type)

    return answer


async def hang_up(request: server.Request) -> server.StreamResponse:
    """Close the connection where the answer should be: what was asked for is done."""
    assert request.transport is not None
    request.transport.abort()
    return server.Response()


@dataclass
class Gate:
    """Answers when it is let go."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, _: server.Request) -> server.StreamResponse:
        self.arrived.set()
        await self.let_go.wait()
        return server.json_response(OK)


async def test_a_message_is_sent_as_json_and_returns_what_slack_answers() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [{"ok": True, "ts": "1.2"}]
        answer = await api.call(
            "chat.postMessage", team=TEAM, channel="C1", text="hi", blocks=[{"type": "x"}], mrkdwn=None
        )
    assert answer == {"ok": True, "ts": "1.2"}
    [sent] = slack.seen
    assert sent.is_json and sent.authorization == f"Bearer {TOKEN}"
    assert sent.arguments == {"channel": "C1", "text": "hi", "blocks": [{"type": "x"}]}


async def test_a_question_is_sent_in_the_address_with_complex_values_as_json() -> None:
    async with serving() as slack, opened(slack) as api:
        await api.call("conversations.replies", team=TEAM, channel="C1", ts="1.2", include_all_metadata=True, limit=15)
        await api.call("files.completeUploadExternal", team=TEAM, files=[{"id": "F1"}], channel_id=None)
    asked, done = slack.seen
    assert asked.verb == "GET" and done.verb == "POST"
    assert asked.arguments == {"channel": "C1", "ts": "1.2", "include_all_metadata": "1", "limit": "15"}
    assert done.arguments == {"files": '[{"id": "F1"}]'}
    assert asked.authorization == done.authorization == f"Bearer {TOKEN}"


async def test_a_rate_limited_post_is_made_again_after_the_pause_because_nothing_was_done() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [pause("1"), {"ok": True, "ts": "1.2"}]
        started = asyncio.get_running_loop().time()
        answer = await api.call("chat.postMessage", team=TEAM, channel="C1", text="hi")
        assert asyncio.get_running_loop().time() - started >= 1
    assert answer["ts"] == "1.2"
    assert (len(slack.seen), api.rate_limits) == (2, 1)


@pytest.mark.parametrize("retry_after", ["0", "-1", "0.001", "nan"])
async def test_a_call_that_is_refused_without_a_pause_is_not_repeated_at_once(retry_after: str) -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [pause(retry_after)]
        with pytest.raises(RateLimitError) as caught:
            await api.call("chat.postMessage", team=TEAM, wait_s=0.9, channel="C1", text="hi")
    assert 0.5 < caught.value.retry_after_s <= 5
    assert len(slack.seen) == 1


async def test_a_rate_limited_post_raises_where_the_pause_is_longer_than_its_caller_waits() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [pause("3"), OK]
        with pytest.raises(RateLimitError) as caught:
            await api.call("chat.postMessage", team=TEAM, wait_s=1, channel="C1", text="hi")
    assert caught.value.retry_after_s == pytest.approx(3, abs=0.5)
    assert len(slack.seen) == 1


async def test_what_may_be_repeated_waits_out_the_pause_and_succeeds() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.update"] = [pause("1"), {"ok": True, "ts": "1.2"}]
        started = asyncio.get_running_loop().time()
        answer = await api.call("chat.update", team=TEAM, may_repeat=True, channel="C1", ts="1.2", text="hi")
        assert asyncio.get_running_loop().time() - started >= 1
    assert answer["ts"] == "1.2"
    assert len(slack.seen) == 2


async def test_a_pause_longer_than_the_caller_waits_is_raised_at_once() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.update"] = [pause("600")]
        with pytest.raises(RateLimitError) as caught:
            await api.call("chat.update", team=TEAM, may_repeat=True, wait_s=5, channel="C1", ts="1.2", text="hi")
    assert 590 < caught.value.retry_after_s <= 600
    assert len(slack.seen) == 1


async def test_a_pause_without_a_length_has_one_all_the_same() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [refusal("ratelimited")]  # HTTP 200, no header
        with pytest.raises(RateLimitError) as caught:
            await api.call("chat.postMessage", team=TEAM, wait_s=1, channel="C1", text="hi")
    assert caught.value.retry_after_s > 1


async def test_a_closed_method_holds_other_callers_until_the_pause_is_over() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["reactions.add"] = [pause("1"), OK]
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(RateLimitError):
            await api.call("reactions.add", team=TEAM, wait_s=0.1, channel="C1", timestamp="1.2", name="eyes")
        await api.call("reactions.add", team=TEAM, channel="C2", timestamp="1.3", name="eyes")
        assert loop.time() - started >= 1
    assert len(slack.seen) == 2


async def test_a_method_closed_for_longer_than_a_post_waits_raises_without_asking_slack() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.startStream"] = [pause("30")]
        for wait_s in (20, 1):
            with pytest.raises(RateLimitError) as caught:
                await api.call("chat.startStream", team=TEAM, wait_s=wait_s, channel="C1", thread_ts="1.2")
    assert 25 < caught.value.retry_after_s <= 30
    assert len(slack.seen) == 1


async def test_a_pause_closes_neither_other_methods_nor_workspaces_nor_for_posts_other_channels() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [pause("600"), OK]
        slack.script["chat.update"] = [pause("600"), OK]
        for method in ("chat.postMessage", "chat.update"):
            with pytest.raises(RateLimitError):
                await api.call(method, team=TEAM, channel="C1", text="hi")
        await api.call("chat.postMessage", team=TEAM, channel="C2", text="hi")
        await api.call("chat.update", team="T2", channel="C1", text="hi")
        await api.call("chat.delete", team=TEAM, channel="C1", ts="1.2")
        with pytest.raises(RateLimitError):  # an edit has no rate of its own in another channel
            await api.call("chat.update", team=TEAM, wait_s=1, channel="C2", text="hi")
    assert len(slack.seen) == 5


async def test_calls_beyond_a_burst_wait_for_their_turn_and_short_waits_are_raised() -> None:
    limits = Limits({"chat.postMessage": Rate(calls=100, period_s=1, per_channel=Rate(calls=2, period_s=0.4))})
    async with serving() as slack, opened(slack, limits=limits) as api:
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(api.call("chat.postMessage", team=TEAM, channel="C1", text="hi"))
        assert loop.time() - started >= 0.35  # two at once, then one each 0.2 s
        with pytest.raises(RateLimitError) as caught:
            await api.call("chat.postMessage", team=TEAM, wait_s=0.01, channel="C1", text="hi")
        assert 0.01 < caught.value.retry_after_s <= 0.2
    assert len(slack.seen) == 4


async def test_posts_of_a_workspace_have_a_rate_together() -> None:
    limits = Limits({"chat.postMessage": Rate(calls=3, period_s=60, per_channel=Rate(calls=2, period_s=2))})
    async with serving() as slack, opened(slack, limits=limits) as api:
        for number in range(3):
            await api.call("chat.postMessage", team=TEAM, channel=f"C{number}", text="hi")
        with pytest.raises(RateLimitError) as caught:
            await api.call("chat.postMessage", team=TEAM, wait_s=1, channel="C9", text="hi")
        assert caught.value.retry_after_s == pytest.approx(20, abs=1)
        await api.call("chat.postMessage", team="T2", channel="C9", text="hi")


async def test_an_answer_goes_before_the_traces_of_its_channel_that_wait_longer() -> None:
    limits = Limits({"chat.postMessage": Rate(calls=100, period_s=1, per_channel=Rate(calls=1, period_s=0.2))})
    async with serving() as slack, opened(slack, limits=limits) as api:

        def post(text: str, priority: Priority) -> Awaitable[object]:
            return api.call("chat.postMessage", team=TEAM, channel="C1", text=text, priority=priority)

        await post("first", Priority.ANSWER)
        traces = [asyncio.ensure_future(post(f"trace {number}", Priority.PROGRESS)) for number in range(2)]
        await asyncio.sleep(0)
        await asyncio.gather(*traces, *(post(f"answer {number}", Priority.ANSWER) for number in range(2)))
    order = [request.arguments["text"] for request in slack.seen]
    assert order == ["first", "answer 0", "answer 1", "trace 0", "trace 1"]


async def test_a_caller_that_is_cancelled_while_it_waits_makes_room_for_the_next() -> None:
    limits = Limits({"chat.postMessage": Rate(calls=100, period_s=1, per_channel=Rate(calls=1, period_s=0.2))})
    async with serving() as slack, opened(slack, limits=limits) as api:
        calls = [
            asyncio.ensure_future(api.call("chat.postMessage", team=TEAM, channel="C1", text=str(number)))
            for number in range(4)
        ]
        await asyncio.sleep(0)
        calls[1].cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(each, dict) for each in ended] == [True, False, True, True]
    assert [request.arguments["text"] for request in slack.seen] == ["0", "2", "3"]


async def test_buckets_of_channels_that_fell_silent_are_dropped() -> None:
    limits = Limits({"chat.postMessage": Rate(calls=10_000, period_s=1, per_channel=Rate(calls=1, period_s=0.001))})
    deadline = asyncio.get_running_loop().time() + 60
    for number in range(3_000):
        await limits.admit(limits.key(TEAM, "chat.postMessage", f"C{number}"), deadline=deadline)
    assert len(limits._gates) <= 1_001


async def test_a_post_whose_connection_breaks_after_it_was_made_raises_and_is_made_once() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [hang_up, OK]
        with pytest.raises(SlackUnreachableError, match="cannot be reached") as caught:
            await api.call("chat.postMessage", team=TEAM, channel="C1", text="hi")
    assert not caught.value.is_permanent
    assert len(slack.seen) == 1


@pytest.mark.parametrize("fault", [hang_up, status(503), status(502, text="bad gateway", content_type="text/plain")])
async def test_faults_on_the_way_are_repeated_where_that_is_harmless(fault: Answer) -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.update"] = [fault, fault, fault, {"ok": True, "ts": "1.2"}]
        answer = await api.call("chat.update", team=TEAM, may_repeat=True, channel="C1", ts="1.2", text="hi")
    assert answer["ts"] == "1.2"
    assert len(slack.seen) == 4


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(200, text="surprise", content_type="text/plain"),
        status(200, text="{broken", content_type="application/json"),
        status(200, text="[1]", content_type="application/json"),
        status(200),
        status(408),
    ],
)
async def test_an_answer_that_is_not_slacks_fails_a_post_with_a_sentence_and_is_not_repeated(fault: Answer) -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [fault]
        with pytest.raises(SlackUnreachableError, match=r"Slack failed to answer chat\.postMessage"):
            await api.call("chat.postMessage", team=TEAM, channel="C1", text="hi")
    assert len(slack.seen) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 407, 413])
@pytest.mark.parametrize("text", ["<html>nginx</html>", '{"message": "Not Found"}', ""])
async def test_a_refusal_in_a_form_that_is_not_slacks_is_a_refusal_and_is_not_repeated(code: int, text: str) -> None:
    kind = "application/json" if text.startswith("{") else "text/html"
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.update"] = [status(code, text=text, content_type=kind)]
        with pytest.raises(SlackRefusedError, match=rf"refused chat\.update \(HTTP {code}\)") as caught:
            await api.call("chat.update", team=TEAM, may_repeat=True, channel="C1", ts="1.2", text="hi")
    assert caught.value.is_permanent
    assert len(slack.seen) == 1


@pytest.mark.parametrize(
    ("more", "reasons"),
    [
        (
            {"response_metadata": {"messages": ["[ERROR] must be a string [json-pointer:/blocks/0/text]"]}},
            ("must be a string at blocks/0/text",),
        ),
        (
            {"errors": ['invalid value "my secret" for https://a.example/t [json-pointer:/blocks/1]', "too long"]},
            ("invalid value … for … at blocks/1", "too long"),
        ),
        (
            {"errors": ["missing required field: elements [json-pointer:/blocks/1]", "not taken: a secret word"]},
            ("missing required field: elements at blocks/1", "not taken: …"),
        ),
        ({"errors": ['unexpected "a secret without an end']}, ("unexpected …",)),
        ({"response_metadata": ["?"], "errors": {"no": "list"}}, ()),
        ({"response_metadata": {"messages": [None, 7, ["x"]]}, "errors": None}, ()),
    ],
)
async def test_what_slack_says_of_fields_is_in_the_log_and_the_sentencewithout_values(
    more: Mapping[str, Any], reasons: tuple[str, ...]
) -> None:
    with structlog.testing.capture_logs() as logged:
        async with serving() as slack, opened(slack) as api:
            slack.script["chat.postMessage"] = [refusal("invalid_arguments", **more)]
            with pytest.raises(SlackRefusedError) as caught:
                await api.call("chat.postMessage", team=TEAM, channel="C1", text="hi")
    assert caught.value.reasons == logged[0]["reasons"] == reasons
    assert all(reason in str(caught.value) for reason in reasons)
    assert "secret" not in str(caught.value) and "example" not in str(caught.value)


@given(message=st.text(max_size=50).map(lambda text: text.replace('"', "")))
def test_what_slack_quotes_is_left_out_whatever_it_is(message: str) -> None:
    secret = f"S{message}S"
    assert "S" not in without_values(f'must be [json-pointer:/blocks/0] other than "{secret}"').replace("…", "")


async def test_repeats_end_after_three() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["users.info"] = [status(503)]
        with pytest.raises(SlackUnreachableError):
            await api.call("users.info", team=TEAM, may_repeat=True, user="U1")
    assert len(slack.seen) == 4


async def test_slacks_own_passing_faults_are_repeated_where_that_is_harmless_and_never_permanent() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.update"] = [refusal("internal_error"), OK]
        await api.call("chat.update", team=TEAM, may_repeat=True, channel="C1", ts="1.2", text="hi")
        slack.script["chat.postMessage"] = [refusal("fatal_error")]
        with pytest.raises(SlackRefusedError) as caught:
            await api.call("chat.postMessage", team=TEAM, channel="C1", text="hi")
    assert not caught.value.is_permanent
    assert len(slack.calls("chat.update")) == 2 and len(slack.calls("chat.postMessage")) == 1


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    gate = Gate()
    async with serving() as slack, opened(slack, request_timeout_s=0.2) as api:
        slack.script["chat.postMessage"] = [gate]
        with pytest.raises(SlackUnreachableError, match="did not answer within"):
            await api.call("chat.postMessage", team=TEAM, channel="C1", text="hi")
        gate.let_go.set()
    assert len(slack.seen) == 1


async def test_a_cancelled_call_is_cancelled_and_leaves_the_next_alone() -> None:
    gate = Gate()
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.update"] = [gate, OK]
        call = asyncio.create_task(api.call("chat.update", team=TEAM, may_repeat=True, channel="C1", ts="1", text="a"))
        await gate.arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.let_go.set()
        assert await api.call("chat.update", team=TEAM, may_repeat=True, channel="C1", ts="1", text="b") == OK


async def test_no_server_at_all_is_a_sentence() -> None:
    nobody = Loopback(url="http://127.0.0.1:9/api/")
    async with opened(nobody) as api:
        with pytest.raises(SlackUnreachableError, match=r"cannot be reached \(127\.0\.0\.1:\d+: "):
            await api.call("chat.postMessage", team=TEAM, channel="C1", text="hi")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("not_in_channel", "/invite"),
        ("channel_not_found", "/invite"),
        ("invalid_auth", "SLACK_BOT_TOKEN"),
        ("token_revoked", "SLACK_BOT_TOKEN"),
        ("account_inactive", "SLACK_BOT_TOKEN"),
        ("token_expired", "SLACK_BOT_TOKEN"),
        ("is_archived", "archived"),
        ("msg_too_long", "longer than Slack takes"),
        ("restricted_action", "administrator"),
        ("no_permission", "administrator"),
        ("user_not_in_channel", "Join it"),
        ("file_upload_size_restricted", "too big"),
        ("something_new", "Slack refused chat.postMessage: something_new."),
    ],
)
async def test_a_refusal_says_what_to_do_and_is_not_repeated(code: str, said: str) -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["chat.postMessage"] = [refusal(code)]
        with structlog.testing.capture_logs() as logged, pytest.raises(SlackRefusedError) as caught:
            await api.call("chat.postMessage", team=TEAM, may_repeat=True, channel="C1", text="hi")
    assert said in str(caught.value) and str(caught.value).endswith(".")
    assert (caught.value.code, caught.value.method, caught.value.is_permanent) == (code, "chat.postMessage", True)
    assert len(slack.seen) == 1
    [line] = logged
    assert (line["event"], line["log_level"], line["code"]) == ("slack_refused", "warning", code)


async def test_a_missing_scope_is_named_in_the_sentence_and_in_the_log() -> None:
    async with serving() as slack, opened(slack) as api:
        slack.script["reactions.add"] = [refusal("missing_scope", needed="reactions:write", provided="chat:write")]
        with structlog.testing.capture_logs() as logged, pytest.raises(SlackRefusedError) as caught:
            await api.call("reactions.add", team=TEAM, may_repeat=True, channel="C1", timestamp="1.2", name="eyes")
    assert caught.value.needed == "reactions:write"
    assert "reactions:write" in str(caught.value) and "reinstalls" in str(caught.value)
    assert logged[0]["needed"] == "reactions:write"


@dataclass
class CountingTokens:
    """Gives the token, or fails as where the bot is not installed."""

    is_installed: bool = True
    forgotten: list[str] = field(default_factory=list)

    async def bot_token(self, team: str) -> str:
        if not self.is_installed:
            raise AdapterError("I am not installed there.", is_permanent=True)
        return f"{TOKEN}-{team}"

    async def forget(self, team: str) -> None:
        self.forgotten.append(team)


async def test_each_workspace_is_called_with_its_token_and_a_refused_one_is_forgotten() -> None:
    tokens = CountingTokens()
    async with serving() as slack, opened(slack, tokens=tokens) as api:
        slack.script["chat.update"] = [OK, refusal("token_revoked")]
        await api.call("chat.update", team="T1", channel="C1", ts="1.2", text="hi")
        with pytest.raises(SlackRefusedError):
            await api.call("chat.update", team="T2", channel="C1", ts="1.2", text="hi")
    assert [request.authorization for request in slack.seen] == ["Bearer xoxb-test-T1", "Bearer xoxb-test-T2"]
    assert tokens.forgotten == ["T2"]


async def test_where_the_bot_is_not_installed_slack_is_not_called() -> None:
    async with serving() as slack, opened(slack, tokens=CountingTokens(is_installed=False)) as api:
        with pytest.raises(AdapterError, match="not installed"):
            await api.call("chat.update", team=TEAM, may_repeat=True, channel="C1", ts="1.2", text="hi")
    assert slack.seen == []


@pytest.mark.parametrize(
    "answer",
    [
        refusal("invalid_auth"),
        refusal("missing_scope", needed="chat:write"),
        pause("600"),
        status(503),
        hang_up,
        status(200, text="{broken", content_type="application/json"),
    ],
)
async def test_neither_token_nor_message_is_in_any_log_line_or_error(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as slack, opened(slack, tokens=OneToken(SECRET)) as api:
        slack.script["chat.postMessage"] = [answer]
        with structlog.testing.capture_logs() as logged, pytest.raises(AdapterError) as caught:
            await api.call("chat.postMessage", team=TEAM, channel="C1", text=PRIVATE)
        assert SECRET in slack.seen[0].authorization
        written = "".join([*traceback.format_exception(caught.value), str(logged), caplog.text, repr(api.tokens)])
    assert logged
    assert SECRET not in written and PRIVATE not in written


@asynccontextmanager
async def opened_fake() -> AsyncGenerator[tuple[FakeSlack, SlackApi]]:
    async with asyncio.timeout(60), FakeSlack() as slack, aiohttp.ClientSession() as session:
        slack.add_user("U1", display_name="Ada")
        slack.add_channel("C1", members=["U1"])
        yield slack, SlackApi(OneToken(TOKEN), session, base_url=slack.api_url, backoff=Backoff(first_s=0.01))


async def test_a_whole_slack_takes_what_is_sent_and_shows_a_post_once_that_broke_off() -> None:
    async with opened_fake() as (slack, api):
        posted = await api.call("chat.postMessage", team=TEAM, channel="C1", text="one", metadata=None)
        await api.call("chat.update", team=TEAM, may_repeat=True, channel="C1", ts=posted["ts"], text="two")
        await api.call("reactions.add", team=TEAM, channel="C1", timestamp=posted["ts"], name="eyes")
        slack.fail_next("chat.postMessage", drop="after")
        with pytest.raises(SlackUnreachableError):
            await api.call("chat.postMessage", team=TEAM, channel="C1", thread_ts=posted["ts"], text="three")
        thread = await api.call(
            "conversations.replies",
            team=TEAM,
            may_repeat=True,
            channel="C1",
            ts=posted["ts"],
            include_all_metadata=True,
        )
        assert (await api.call("auth.test", team=TEAM))["user_id"] == "UBOT"
    assert [message["text"] for message in thread["messages"]] == ["two", "three"]


async def test_a_post_into_a_channel_without_the_bot_says_how_to_invite_it() -> None:
    async with opened_fake() as (slack, api):
        slack.add_channel("C2", members=["U1"], bot_is_member=False)
        with pytest.raises(SlackRefusedError, match="/invite"):
            await api.call("chat.postMessage", team=TEAM, channel="C2", text="hi")


async def test_sixty_edits_at_once_keep_to_the_documented_rate() -> None:
    async with opened_fake() as (slack, api):
        ts = (await api.call("chat.postMessage", team=TEAM, channel="C1", text="0"))["ts"]
        slack.rates.are_enforced = True
        edits = [
            api.call("chat.update", team=TEAM, may_repeat=True, wait_s=0.5, channel="C1", ts=ts, text=str(number))
            for number in range(60)
        ]
        ended = await asyncio.gather(*edits, return_exceptions=True)
    assert all(call.ok for call in slack.calls_of("chat.update"))  # the others were not even sent
    assert sum(isinstance(each, dict) for each in ended) == 50
    assert all(isinstance(each, RateLimitError) for each in ended if not isinstance(each, dict))


async def test_a_call_for_a_turn_that_was_lost_while_it_waited_for_its_rate_is_not_made() -> None:
    async with serving() as loopback, opened(loopback) as api:
        loopback.script["chat.update"] = [pause("1"), OK]
        is_held = [True]
        with only_while(lambda: is_held[0]):
            calling = asyncio.create_task(api.call("chat.update", team=TEAM, channel="C1", ts="1.1", text="more"))
        async with asyncio.timeout(30):
            while not loopback.seen:  # noqa: ASYNC110  (the server sets no event)
                await asyncio.sleep(0.01)
        is_held[0] = False
        with pytest.raises(AdapterError, match="paused"):
            await calling
        assert len(loopback.seen) == 1
        assert await api.call("auth.test", team=TEAM) == OK  # it belongs to no turn
