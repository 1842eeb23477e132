"""Traces of a bot that serves Slack, as a collector gets them: the bot and its tool server are processes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncGenerator, Sequence

import pytest

from tests.fakes.mcp_servers.processes import FOLDER
from tests.fakes.otlp import Collector, Received, collecting
from tests.fakes.slack import FakeSlack
from tests.scenarios.conftest import WAIT_S, Endpoint, Toolbridge

QUESTION = 'call traced__greet with {"name": "Bob"} and call traced__fail with {"why": "Eve was here"}'
SOCKET = {"SLACK_BOT_TOKEN": "xoxb-test", "SLACK_APP_TOKEN": "xapp-test", "LOG_FORMAT": "json"}
HUNG_S = 25.0  # with two seconds for the last spans; the SDK's own bound is 30, after a request of 10


@pytest.fixture
async def slack(toolbridge: Toolbridge) -> AsyncGenerator[FakeSlack]:
    async with FakeSlack() as slack:
        slack.add_user("U1", display_name="Ada")
        slack.add_channel("C1", members=["U1"])
        toolbridge.settings |= SOCKET | {"SLACK_API_URL": slack.api_url}
        yield slack


def use(toolbridge: Toolbridge, collector: Collector) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "team-server"}
    server = {"command": sys.executable, "args": [str(FOLDER / "traced.py")], "env": environment}
    toolbridge.write_mcp_json({"traced": server})
    toolbridge.settings |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=key%20of%20the%20collector",
    }


async def end(process: asyncio.subprocess.Process) -> list[dict[str, object]]:
    """End it as an operator does; return the lines of its log."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WAIT_S):
        _, log = await process.communicate()
    return [json.loads(line) for line in log.decode().splitlines() if line.startswith("{")]


def below(spans: Sequence[Received], parent: Received) -> list[Received]:
    return [span for span in spans if span.parent == parent.id]


async def test_a_turn_is_one_trace_from_the_question_into_the_tool_server(
    toolbridge: Toolbridge, slack: FakeSlack
) -> None:
    async with collecting() as collector:
        use(toolbridge, collector)
        async with toolbridge.serving("--model", "rehearsal") as process:
            ts = await slack.say("C1", "U1", QUESTION, mention=True)
            await slack.until(lambda: slack.bot_messages("C1", ts), WAIT_S)
            await collector.until(lambda spans: sum(span.name.startswith("tools/call ") for span in spans) == 2)
            lines = await end(process)  # the bot sends what is left before it ends
        spans = [span for span in collector.spans if span.service == "toolbridge"]
        theirs = [span for span in collector.spans if span.service == "team-server"]

    (turn,) = [span for span in spans if not span.parent]
    assert (turn.name, turn.kind, turn.is_error) == ("invoke_agent toolbridge", "INTERNAL", False)
    assert {span.trace for span in spans} == {turn.trace}
    conversation = turn.attributes["gen_ai.conversation.id"]
    assert len(conversation) == 32 and "C1" not in conversation
    assert turn.attributes["toolbridge.turn.state"] == "answered"

    steps = below(spans, turn)
    chats = [span for span in steps if span.name == "chat rehearsal"]
    tools = {span.name: span for span in steps if span not in chats}
    assert len(chats) == 2 and all(span.kind == "CLIENT" for span in chats)
    assert {span.attributes["gen_ai.provider.name"] for span in chats} == {"toolbridge"}
    assert tools.keys() == {"execute_tool traced__greet", "execute_tool traced__fail"}
    greet, fail = tools["execute_tool traced__greet"], tools["execute_tool traced__fail"]
    assert "error.type" not in greet.attributes
    assert (fail.is_error, fail.attributes["error.type"]) == (True, "tool_error")
    assert {span.attributes["gen_ai.conversation.id"] for span in (*chats, greet, fail)} == {conversation}

    for tool, name in ((greet, "greet"), (fail, "fail")):
        (client,) = below(spans, tool)
        assert (client.name, client.kind, client.scope) == (f"MCP send tools/call {name}", "CLIENT", "mcp-python-sdk")
        (served,) = below(theirs, client)
        assert (served.trace, served.name, served.kind) == (turn.trace, f"tools/call {name}", "SERVER")
    # What belongs to no turn, such as the connection, is not sampled, at the server neither; notices have no context.
    assert not [span.name for span in theirs if span.trace != turn.trace and "notifications/" not in span.name]

    said = repr(spans)
    assert not [word for word in ("Ada", "U1", "Bob", "Eve", "Hello") if word in said]
    assert all(headers["api-key"] == "key of the collector" for headers in collector.headers if "api-key" in headers)
    assert any("api-key" in headers for headers in collector.headers)
    ended = [line for line in lines if line["event"] in ("tool_call_ended", "turn_ended")]
    assert {line["trace_id"] for line in ended} == {turn.trace} and len(ended) == 3


async def test_what_was_done_before_kill_9_is_at_the_collector_and_the_next_start_goes_on_in_the_same_trace(
    toolbridge: Toolbridge, slack: FakeSlack, endpoint: Endpoint
) -> None:
    greets = 'call traced__greet with {"name": "Bob"}'
    passes, stalls = {"kind": "no_images"}, {"kind": "stall", "after_chunks": 0}  # the first request has no image
    async with collecting() as collector:
        use(toolbridge, collector)
        toolbridge.settings |= {"OTEL_BSP_SCHEDULE_DELAY": "50"}
        await endpoint.post("/control/faults", {"faults": [passes, stalls]})
        async with toolbridge.serving() as process:
            ts = await slack.say("C1", "U1", greets, mention=True)
            await endpoint.next_request(count=2)
            await collector.until(lambda spans: {"execute_tool traced__greet", "chat rehearsal"} <= names(spans))
            process.kill()
            await process.wait()
        before = [span for span in collector.spans if span.service == "toolbridge"]
        async with toolbridge.serving() as process:
            await slack.until(lambda: slack.bot_messages("C1", ts), WAIT_S)
            await collector.until(lambda spans: "invoke_agent toolbridge" in names(spans))
            await collector.close()
            later = await slack.say("C1", "U1", "hello", mention=True)  # whose spans nobody takes
            await slack.until(lambda: slack.bot_messages("C1", later), WAIT_S)
            began_at = time.monotonic()
            lines = await end(process)
            took_s = time.monotonic() - began_at
    (turn,) = collector.named("invoke_agent")
    first = [span for span in before if span.name in ("execute_tool traced__greet", "chat rehearsal")]
    (lost,) = {span.parent for span in first}  # the span of the attempt itself was never sent
    assert {span.trace for span in before} == {turn.trace} and lost not in {span.id for span in collector.spans}
    assert turn.links == [(turn.trace, lost)]
    assert turn.attributes["toolbridge.turn.attempt"] == 2 and turn.attributes["toolbridge.turn.state"] == "answered"
    after = [span for span in collector.spans if span.service == "toolbridge" and span not in before]
    assert {span.name for span in after} == {"invoke_agent toolbridge", "chat rehearsal"}  # the tool ran once
    assert [line["event"] for line in lines if line["event"] == "last_spans_not_sent"]
    assert took_s < HUNG_S


def names(spans: Sequence[Received]) -> set[str]:
    return {span.name for span in spans}


async def test_a_collector_that_never_answers_holds_up_neither_an_answer_nor_the_end_of_the_process(
    toolbridge: Toolbridge,
) -> None:
    async with collecting(hangs=True) as collector:
        toolbridge.write_mcp_json({})
        toolbridge.settings |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "1"}
        began_at = time.monotonic()
        ran = await toolbridge.ask("hello")
        took_s = time.monotonic() - began_at
        assert ran.code == 0 and "hello" in ran.out.lower()
        assert collector.headers and collector.spans == []
    lines = (toolbridge.home / "logs" / "toolbridge.log").read_text(encoding="utf-8")
    assert "last_spans_not_sent" in lines
    assert took_s < HUNG_S
