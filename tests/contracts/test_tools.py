"""What every way to a tool server has to keep: over a child process and HTTP, in both eras of the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.domain.messages import ToolCall
from bot.ports.tools import Offer, Tools, Wait
from bot.tools.config import ServerConfig
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.processes import (
    ACTOR,
    CONVERSATION,
    QUICK,
    Workshop,
    call,
    lines,
    process,
    until,
    until_offered,
    web,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAYS = ["process modern", "process handshake", "http modern", "http handshake", "http sse"]
RICH_WAYS = [way for way in WAYS if way != "process handshake"]  # that program answers only with text


@pytest.fixture(scope="module", params=WAYS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerConfig]:
    way, era = request.param.split()
    env = {"CALLS_FILE": str(tmp_path_factory.mktemp("calls") / "calls.txt")}
    if way == "process":
        yield process("shop", "workshop" if era == "modern" else "oldtimer", env=env)
        return
    with Workshop(era, env=env) as workshop:
        yield web("shop", workshop.url, transport="sse" if era == "sse" else "http")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tools(server: ServerConfig) -> AsyncGenerator[Tools]:
    async with Toolset([server], timing=QUICK, offer_wait_s=20) as toolset:
        await toolset.offer(None)
        yield toolset


async def test_everything_a_turn_needs_works_in_one_session(tools: Tools) -> None:
    offer = await tools.offer(None)
    assert offer.notes == ()
    assert [spec.name for spec in offer.tools] == sorted(spec.name for spec in offer.tools)
    act = offer.find("shop__act")
    assert act is not None and (act.server, act.tool) == ("shop", "act")
    assert await tools.offer(None) == offer

    result = await tools.call(
        ToolCall(id="call-7", name="shop__act", arguments=""), actor=ACTOR, conversation=CONVERSATION
    )
    assert not isinstance(result, Wait)
    assert (result.call_id, result.outcome) == ("call-7", "ok")
    assert result.text.startswith("act") and result.seconds > 0

    assert [(status.server, status.state) for status in tools.status()] == [("shop", "ready")]
    assert tools.status()[0].tool_count == len(offer.tools)


async def test_a_call_that_cannot_be_sent_is_a_result_to_correct_it_by(tools: Tools) -> None:
    unknown = await call(tools, "shop__actt")
    assert unknown.outcome == "error" and "shop__act" in unknown.text
    cut_short = await call(tools, "shop__act", '{"text": ')
    assert cut_short.outcome == "error" and "column" in cut_short.text
    no_object = await call(tools, "shop__act", "[1]")
    assert no_object.outcome == "error" and "object" in no_object.text
    half_character = await call(tools, "shop__act", '{"text": "\\ud800"}')
    assert half_character.outcome == "error"
    assert (await call(tools, "shop__act")).outcome == "ok"


async def test_a_list_of_tools_that_changes_is_read_again(tools: Tools) -> None:
    assert (await tools.offer(None)).find("shop__juggle") is None
    assert (await call(tools, "shop__learn", '{"tool": "juggle"}')).outcome == "ok"
    await until_offered(tools, "shop__juggle")
    assert (await call(tools, "shop__juggle")).outcome == "ok"


@pytest.mark.parametrize("server", RICH_WAYS, indirect=True, scope="module")
async def test_results_of_every_kind_can_be_read_and_shown(tools: Tools) -> None:
    everything = await call(tools, "shop__everything")
    assert everything.outcome == "ok"
    assert everything.text.splitlines() == [
        "first",
        "[image/png, 72 bytes, shown to the user]",
        "[audio/wav: the server sent it in invalid base64, so it cannot be shown]",
        "[resource memo://note]",
        "a note",
        "[application/octet-stream, 72 bytes, shown to the user]",
        "[resource manual at https://example.com/manual]",
    ]
    assert [(file.name, file.data[:4]) for file in everything.attachments] == [
        ("image-2.png", b"\x89PNG"),
        ("data.bin", b"\x89PNG"),
    ]
    structured = await call(tools, "shop__with_dots", '{"city": "Rome"}')
    assert json.loads(structured.text) == {"city": "Rome", "celsius": 21.5}
    assert len((await call(tools, "shop__big", '{"chars": 900000}')).text) == 900_000
    refused = await call(tools, "shop__refuse")
    assert refused.outcome == "error" and "the reason to read" in refused.text


@pytest.mark.parametrize("server", RICH_WAYS, indirect=True, scope="module")
async def test_progress_is_reported_while_a_call_runs(tools: Tools) -> None:
    heard: list[str] = []
    asked = ToolCall(id="1", name="shop__march", arguments='{"steps": 3}')
    result = await tools.call(asked, actor=ACTOR, conversation=CONVERSATION, progress=heard.append)
    assert not isinstance(result, Wait)
    assert (result.outcome, result.text) == ("ok", "arrived")
    assert heard[0] == "1 of 3: step 1"  # later ones may be left out where they come fast
    assert set(heard) <= {"1 of 3: step 1", "2 of 3: step 2", "3 of 3: step 3"}


@pytest.mark.parametrize("server", RICH_WAYS, indirect=True, scope="module")
async def test_the_conversation_goes_with_the_call_and_examples_are_prompts_without_arguments(
    tools: Tools,
) -> None:
    assert [(example.title, example.text) for example in await tools.examples()] == [
        ("Look around", "Please look around")
    ]
    assert (await call(tools, "shop__conversation")).text == CONVERSATION.opaque_id


async def test_a_cancelled_call_is_cancelled_and_the_next_one_works(tmp_path: Path) -> None:
    calls = tmp_path / "calls.txt"
    async with Toolset([process("shop", "oldtimer", env={"CALLS_FILE": str(calls)})], timing=QUICK) as tools:
        await tools.offer(None)
        slow = asyncio.create_task(call(tools, "shop__slow", '{"seconds": 0.2}'))
        await until(lambda: lines(calls) == ["slow"])
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert (await call(tools, "shop__count")).outcome == "ok"


async def test_without_any_server_there_is_nothing_to_offer() -> None:
    async with Toolset([]) as tools:
        assert await tools.offer(None) == Offer(tools=())
        assert (await tools.examples(), tools.status()) == ([], [])
        assert (await call(tools, "shop__act")).outcome == "error"


async def test_tools_are_found_by_their_words_and_by_a_text_that_names_them(tools: Tools) -> None:
    among = (await tools.offer(None)).tools
    for tool in among:
        assert await tools.search(tool.name, among=among, limit=1) == [tool]
    assert await tools.search("act", among=(), limit=3) == []
    assert len(await tools.search("shop", among=among, limit=3)) == 3
    assert [tool.name for tool in await tools.named("please act now", among=among, limit=3)] == ["shop__act"]


async def test_a_wrong_name_among_many_gets_near_ones() -> None:
    servers = {"invoices": "invoice", "tickets": "ticket"}
    configured = [process(name, "warehouse", thing, "250") for name, thing in servers.items()]
    async with Toolset(configured, timing=QUICK, offer_wait_s=20) as tools:
        await until_offered(tools, "tickets__list_draft_ticket")
        await until_offered(tools, "invoices__list_draft_invoice")
        assert len((await tools.offer(None)).tools) == 500
        wrong = await call(tools, "tickets__get_urgent_tickets")
        assert wrong.outcome == "error" and "tickets__get_urgent_ticket" in wrong.text
        bare = await call(tools, "approve_paid_invoice")
        assert bare.outcome == "error" and "invoices__approve_paid_invoice" in bare.text
