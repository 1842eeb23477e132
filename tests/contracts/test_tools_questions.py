"""What tool servers may ask of people while a call runs: forms and links, over every way and in both eras."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.domain.asks import FormAsk, LinkAsk
from bot.domain.messages import ToolCall, ToolResult
from bot.domain.people import Actor
from bot.forms.making import form_of
from bot.forms.reading import read_form
from bot.ports.tools import Tools, Wait
from bot.tools.config import ServerConfig
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers import processes
from tests.fakes.mcp_servers.processes import ACTOR, CONVERSATION, QUICK, Workshop, lines, process, until, web

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAYS = ["process modern", "process handshake", "http modern", "http handshake"]
OLD_WAYS = ["process handshake", "http handshake"]  # a server asks while its call runs
BEN = CONVERSATION.person("U2", "Ben")


@pytest.fixture(scope="module", params=WAYS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerConfig]:
    way, era = request.param.split()
    answers = tmp_path_factory.mktemp("answers") / "answers.txt"
    if way == "process":
        yield process("cafe", "inquirer", "--era", era, env={"ANSWERS_FILE": str(answers)}, timeout_s=20)
        return
    with Workshop(era, env={"ANSWERS_FILE": str(answers)}, program="inquirer") as workshop:
        yield web("cafe", workshop.url, transport="http", timeout_s=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tools(server: ServerConfig) -> AsyncGenerator[Tools]:
    async with Toolset([server], timing=QUICK, offer_wait_s=20) as toolset:
        await toolset.offer(None)
        yield toolset


async def begin(tools: Tools, tool: str, arguments: str = "{}", *, actor: Actor = ACTOR) -> ToolResult | Wait:
    asked = ToolCall(id="call-1", name=f"cafe__{tool}", arguments=arguments)
    return await tools.call(asked, actor=actor, conversation=CONVERSATION)


async def go_on(
    tools: Tools, tool: str, wait: Wait, outcome: str, content: Mapping[str, Any] | None = None
) -> ToolResult | Wait:
    return await processes.go_on(tools, f"cafe__{tool}", wait, outcome, content)


def waiting(outcome: ToolResult | Wait) -> Wait:
    assert isinstance(outcome, Wait), outcome
    return outcome


def is_live(wait: Wait) -> bool:
    return '"kind":"live"' in wait.state


def form(outcome: ToolResult | Wait) -> FormAsk:
    ask = waiting(outcome).ask
    assert isinstance(ask, FormAsk)
    return ask


def done(outcome: ToolResult | Wait) -> ToolResult:
    assert isinstance(outcome, ToolResult), outcome
    return outcome


async def test_a_form_is_filled_in_and_its_server_gets_typed_values(tools: Tools) -> None:
    outcome = await begin(tools, "order")
    ask, is_process = form(outcome), "python" in tools.status()[0].replica
    assert (ask.server, ask.tool, ask.message) == ("cafe", "order", "What may it be?")
    assert waiting(outcome).is_local == (is_process or is_live(waiting(outcome)))
    assert "order" in waiting(outcome).reason
    kinds = {field.name: (field.kind, field.value) for field in form_of(ask.schema, target="answer:1", title="").fields}
    assert kinds == {
        "name": ("text", ""),
        "cups": ("integer", ""),
        "sugar": ("number", "0.5"),
        "to_go": ("checkbox", "false"),
        "size": ("choice", "S"),
        "extras": ("choices", ""),
    }
    content = read_form(
        ask.schema, {"name": "Ada", "cups": "2", "sugar": "1.5", "to_go": "true", "size": "L", "extras": "milk\ncream"}
    )
    assert isinstance(content, dict)
    result = done(await go_on(tools, "order", waiting(outcome), "accept", content))
    assert (result.call_id, result.outcome) == ("call-1", "ok")
    extras = ["milk", "cream"]
    expected = {"name": "Ada", "cups": 2, "sugar": 1.5, "to_go": True, "size": "L", "extras": extras}
    assert json.loads(result.text) == ["accept", expected]


@pytest.mark.parametrize(("outcome", "action"), [("decline", "decline"), ("cancel", "cancel"), ("expired", "cancel")])
async def test_a_server_learns_that_nobody_filled_its_form_in(tools: Tools, outcome: str, action: str) -> None:
    wait = waiting(await begin(tools, "order"))
    result = done(await go_on(tools, "order", wait, outcome))
    assert (result.outcome, json.loads(result.text)) == ("ok", [action, None])


async def test_several_questions_are_asked_one_after_the_other(tools: Tools) -> None:
    first = await begin(tools, "introduce")
    second = await go_on(tools, "introduce", waiting(first), "accept", {"name": "Ada"})
    assert {form(first).message, form(second).message} == {"What is your name?", "Where do you live?"}
    result = done(await go_on(tools, "introduce", waiting(second), "accept", {"city": "Rome"}))
    assert result.text == '["accept", {"name": "Ada"}] ["accept", {"city": "Rome"}]'


async def test_a_form_that_asks_for_a_password_is_declined_without_asking_anyone(tools: Tools) -> None:
    result = done(await begin(tools, "sign_in"))
    assert result.text.startswith('["decline", null]')
    assert "secrets do not belong in a chat" in result.text


async def test_a_stopped_call_leaves_nothing_behind_and_the_next_one_works(tools: Tools) -> None:
    wait = waiting(await begin(tools, "order"))
    assert done(await go_on(tools, "order", wait, "stopped")).outcome == "stopped"
    assert done(await go_on(tools, "order", wait, "accept", {"name": "Ada"})).outcome in ("interrupted", "ok", "error")
    assert form(await begin(tools, "order")).message == "What may it be?"


async def test_calls_of_several_people_get_the_answers_to_their_own_forms(tools: Tools) -> None:
    mine = waiting(await begin(tools, "introduce"))
    theirs = await begin(tools, "introduce", actor=BEN)
    if "python" in tools.status()[0].replica and is_live(mine):
        # A process does not say which call it asks about, and Ben is not to see what it asks of Ada.
        assert "no one was asked" in done(theirs).text
    else:
        second = await go_on(tools, "introduce", waiting(theirs), "accept", {"name": "Ben"})
        result = done(await go_on(tools, "introduce", waiting(second), "accept", {"city": "Oslo"}))
        assert result.text == '["accept", {"name": "Ben"}] ["accept", {"city": "Oslo"}]'
    second = await go_on(tools, "introduce", mine, "accept", {"name": "Ada"})
    result = done(await go_on(tools, "introduce", waiting(second), "accept", {"city": "Rome"}))
    assert '["accept", {"name": "Ada"}] ["accept", {"city": "Rome"}]' in result.text


@pytest.mark.parametrize(
    "server", ["process modern", "process handshake", "http modern"], indirect=True, scope="module"
)
async def test_a_form_survives_a_restart_where_no_process_keeps_its_call(tools: Tools, server: ServerConfig) -> None:
    async with Toolset([server], timing=QUICK, offer_wait_s=20) as before:
        await before.offer(None)
        wait = waiting(await begin(before, "order"))
    result = done(await go_on(tools, "order", wait, "accept", {"name": "Ada", "cups": 1}))
    if wait.is_local:
        assert result.outcome == "interrupted"
        assert "the form is void. The tool may have run" in result.text
    else:
        assert json.loads(result.text)[1]["name"] == "Ada"


@pytest.mark.parametrize("server", OLD_WAYS, indirect=True, scope="module")
async def test_a_page_is_opened_by_the_asker(tools: Tools) -> None:
    outcome = await begin(tools, "pay")
    assert waiting(outcome).ask == LinkAsk(
        server="cafe", tool="pay", message="Please pay", url="https://pay.example/checkout?order=7", key="1"
    )
    assert done(await go_on(tools, "pay", waiting(outcome), "accept")).text == "accept"
    assert done(await go_on(tools, "pay", waiting(await begin(tools, "pay")), "decline")).text == "decline"


@pytest.mark.parametrize("server", OLD_WAYS, indirect=True, scope="module")
async def test_a_page_whose_purpose_is_done_needs_no_word_of_the_asker(tools: Tools) -> None:
    wait = waiting(await begin(tools, "pay_elsewhere"))
    assert done(await go_on(tools, "pay_elsewhere", wait, "expired")).text == "accept"


@pytest.mark.parametrize("server", OLD_WAYS, indirect=True, scope="module")
async def test_a_call_that_needs_a_page_first_is_sent_again_once_it_was_opened(tools: Tools) -> None:
    wait = waiting(await begin(tools, "pay_first"))
    assert isinstance(wait.ask, LinkAsk)
    assert wait.ask.url == "https://pay.example/checkout?order=7"
    unopened = done(await go_on(tools, "pay_first", wait, "decline"))
    assert (unopened.outcome, "was not opened" in unopened.text) == ("denied", True)
    assert done(await go_on(tools, "pay_first", wait, "accept")).text == "paid"


@pytest.mark.parametrize("server", OLD_WAYS, indirect=True, scope="module")
async def test_a_page_that_is_no_web_page_is_declined_without_asking_anyone(tools: Tools) -> None:
    arguments = '{"page": "file:///etc/passwd"}'
    assert done(await begin(tools, "pay", arguments)).text.startswith("decline\n\n[The server 'cafe' wanted a page")
    refused = done(await begin(tools, "pay_first", arguments))
    assert (refused.outcome, "wanted a page" in refused.text) == ("denied", True)


async def test_no_time_of_the_call_passes_while_a_person_fills_the_form_in() -> None:
    slow = process("cafe", "inquirer", "--era", "handshake", timeout_s=0.5, max_timeout_s=0.5)
    async with Toolset([slow], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        first = waiting(await begin(tools, "introduce"))
        await asyncio.sleep(2 * slow.timeout_s)  # as long as the person takes; nothing happens meanwhile
        second = waiting(await go_on(tools, "introduce", first, "accept", {"name": "Ada"}))
        await asyncio.sleep(2 * slow.timeout_s)
        assert done(await go_on(tools, "introduce", second, "accept", {"city": "Rome"})).outcome == "ok"
        assert done(await begin(tools, "linger", '{"seconds": 5}')).outcome == "timeout"


async def test_stopping_and_closing_end_calls_and_leave_no_task(tmp_path: Path) -> None:
    answers = tmp_path / "answers.txt"
    server = process("cafe", "inquirer", "--era", "handshake", env={"ANSWERS_FILE": str(answers)})
    before = asyncio.all_tasks()
    async with Toolset([server], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        running = asyncio.create_task(begin(tools, "linger", '{"seconds": 600}'))
        await until(lambda: lines(answers))
        running.cancel()  # the turn is stopped
        with pytest.raises(asyncio.CancelledError):
            await running
        assert form(await begin(tools, "order")).tool == "order"
    assert asyncio.all_tasks() == before
