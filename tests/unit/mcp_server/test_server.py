import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS, CallToolResult, RequestParamsMeta, TextContent

from mcp_server.examples import EXAMPLES
from mcp_server.folder import FolderWorkspace
from mcp_server.server import CONVERSATION_KEY, build_server
from mcp_server.workspace import folder_name

LOCAL = {"greet", "get_current_time", "calculate", "read_text_file", "list_text_files", "get_system_info"}
READ_ONLY = LOCAL | {"get_weather"}
REPLACING = {"save_text_file", "delete_text_file"}


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A URL where nothing listens: the port is taken, so nothing else will either."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{silent.getsockname()[1]}/"


@pytest.fixture(params=["auto", "legacy"])
async def client(tmp_path: Path, nowhere: str, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client in this process, in both protocol eras."""
    server = build_server(workspace=FolderWorkspace(tmp_path), weather_api_url=nowhere, geocoding_api_url=nowhere)
    ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
    finished = asyncio.Event()

    async def own() -> None:  # a client must be left by the task that entered it, and a fixture ends in another one
        async with Client(server, mode=request.param) as client:
            ready.set_result(client)
            await finished.wait()

    owner = asyncio.create_task(own())
    try:
        yield await asyncio.wait_for(ready, 30)
    finally:
        finished.set()
        await asyncio.wait_for(owner, 30)


def of(conversation: object) -> RequestParamsMeta:
    return cast(RequestParamsMeta, {CONVERSATION_KEY: conversation})


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


def folders(workspace: Path) -> set[str]:
    return {path.name for path in workspace.iterdir()}


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return text(result)


async def test_every_tool_says_what_it_does_and_what_it_takes_and_gives(client: Client) -> None:
    tools = (await client.list_tools()).tools
    assert {tool.name for tool in tools} == READ_ONLY | REPLACING
    for tool in tools:
        assert tool.title
        assert tool.description
        assert "\n  " not in tool.description
        assert all(argument.get("description") for argument in tool.input_schema.get("properties", {}).values())
        assert tool.output_schema is not None


async def test_annotations_say_what_a_tool_does_to_its_surroundings(client: Client) -> None:
    for tool in (await client.list_tools()).tools:
        hints = tool.annotations
        assert hints is not None
        assert hints.read_only_hint == (tool.name in READ_ONLY)
        assert hints.destructive_hint == (tool.name in REPLACING)
        assert hints.open_world_hint == (tool.name == "get_weather")
        assert hints.idempotent_hint


async def test_the_operations_are_in_the_schema(client: Client) -> None:
    calculate = next(tool for tool in (await client.list_tools()).tools if tool.name == "calculate")
    operations = ["add", "subtract", "multiply", "divide", "power", "modulo", "percent"]
    assert calculate.input_schema["properties"]["operation"]["enum"] == operations


async def test_a_calculation_comes_as_text_and_as_data(client: Client) -> None:
    result = await client.call_tool("calculate", {"operation": "multiply", "a": 15, "b": 8})
    assert not result.is_error
    assert text(result) == "Result: 15.0 multiply 8.0 = 120.0"
    assert result.structured_content == {"operation": "multiply", "a": 15.0, "b": 8.0, "result": 120.0}


async def test_a_tool_error_reaches_the_model_in_words(client: Client) -> None:
    assert "cannot divide by zero" in await refused(client, "calculate", operation="divide", a=1, b=0)
    assert "unknown operation 'plus'" in await refused(client, "calculate", operation="plus", a=1, b=0)
    assert "valid number" in await refused(client, "calculate", operation="add", a=10**400, b=1)
    assert "Asia/Tokyo" in await refused(client, "get_current_time", timezone="Tokyo")
    assert "the weather service cannot be reached" in await refused(client, "get_weather", city="Paris")
    assert "cannot be a file name" in await refused(client, "save_text_file", filename="../x", content="x")


async def test_a_greeting_names_the_person(client: Client) -> None:
    assert text(await client.call_tool("greet", {"name": "  Ada \n Lovelace "})).startswith("Hello, Ada Lovelace!")
    for nobody in ("", " \t", "x" * 101, "A\x1b[31mda"):
        assert "give a name" in await refused(client, "greet", name=nobody)


async def test_the_time_is_now_and_in_utc_unless_asked_otherwise(client: Client) -> None:
    result = await client.call_tool("get_current_time", {})
    assert result.structured_content is not None
    assert result.structured_content["timezone"] == "UTC"
    told = datetime.fromisoformat(result.structured_content["local_time"])
    assert abs(datetime.now(UTC) - told) < timedelta(seconds=30)


async def test_files_live_from_saving_to_deleting(client: Client) -> None:
    name = {"filename": "calculation.txt"}
    saved = await client.call_tool("save_text_file", name | {"content": '{"result": 120}'})
    assert text(saved) == "Saved calculation.txt (15 bytes)."
    read = await client.call_tool("read_text_file", name)
    assert read.structured_content == name | {"size_bytes": 15, "content": '{"result": 120}'}
    assert text(await client.call_tool("list_text_files", {})) == "1 file:\ncalculation.txt (15 bytes)"
    assert text(await client.call_tool("delete_text_file", name)) == "Deleted calculation.txt."
    assert (await client.call_tool("list_text_files", {})).structured_content == {"files": []}


async def test_each_conversation_has_files_of_its_own(client: Client, tmp_path: Path) -> None:
    for conversation in ("one", "two"):
        arguments = {"filename": "a.txt", "content": conversation}
        await client.call_tool("save_text_file", arguments, meta=of(conversation))
    await client.call_tool("save_text_file", {"filename": "a.txt", "content": "everybody's"})
    read = await client.call_tool("read_text_file", {"filename": "a.txt"}, meta=of("one"))
    assert text(read) == "a.txt (3 bytes):\none"
    assert folders(tmp_path) == {folder_name("one"), folder_name("two"), "shared"}


@pytest.mark.parametrize("conversation", ["", 7, ["one"], {"id": "one"}])
async def test_a_conversation_that_is_no_id_is_refused_rather_than_shared(
    client: Client, tmp_path: Path, conversation: object
) -> None:
    result = await client.call_tool("save_text_file", {"filename": "a", "content": "x"}, meta=of(conversation))
    assert result.is_error
    assert "non-empty string as toolbridge/conversation" in text(result)
    assert folders(tmp_path) == set()


async def test_calls_made_at_once_are_all_answered(client: Client) -> None:
    async with asyncio.TaskGroup() as calls:
        saved = [
            calls.create_task(client.call_tool("save_text_file", {"filename": f"{number}.txt", "content": "x"}))
            for number in range(20)
        ]
    assert not any(call.result().is_error for call in saved)
    listed = await client.call_tool("list_text_files", {})
    assert listed.structured_content is not None
    assert len(listed.structured_content["files"]) == 20


async def test_the_system_information_is_one_line_and_data(client: Client) -> None:
    result = await client.call_tool("get_system_info", {})
    assert "\n" not in text(result)
    assert result.structured_content is not None
    assert result.structured_content["memory_total_bytes"] > 0


async def test_the_examples_are_prompts_with_the_request_as_their_one_message(client: Client) -> None:
    prompts = (await client.list_prompts()).prompts
    assert [(prompt.name, prompt.title, prompt.description) for prompt in prompts] == [
        (example.name, example.title, example.description) for example in EXAMPLES
    ]
    for example in EXAMPLES:
        (message,) = (await client.get_prompt(example.name)).messages
        assert message.role == "user"
        assert isinstance(message.content, TextContent)
        assert message.content.text == example.request


async def test_an_unknown_prompt_is_refused_as_the_clients_fault(client: Client) -> None:
    with pytest.raises(MCPError) as caught:
        await client.get_prompt("juggle")
    assert (caught.value.code, caught.value.message) == (INVALID_PARAMS, "Unknown prompt: juggle")
