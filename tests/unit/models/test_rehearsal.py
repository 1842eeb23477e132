"""The rehearsal model's answers, with the results of the real bundled server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mcp import Client, types

from bot.domain.messages import AssistantMessage, Message, ToolCall, ToolMessage, ToolSpec, UserMessage
from bot.models.rehearsal.rules import Answer, answer
from mcp_server.folder import FolderWorkspace
from mcp_server.server import build_server

UNREACHABLE = "http://127.0.0.1:9/"  # the discard port: nothing listens there
Calls = list[tuple[str, dict[str, Any]]]


@dataclass(kw_only=True)
class Conversation:
    """A conversation of the model with the bundled server's tools; `rounds` are the calls of the last turn."""

    client: Client
    tools: list[ToolSpec]
    messages: list[Message] = field(default_factory=list[Message])
    rounds: list[Calls] = field(default_factory=list[Calls])

    async def ask(self, text: str) -> str:
        self.messages.append(UserMessage(text=text))
        self.rounds = []
        while (said := answer(self.messages, self.tools)).calls:
            assert not said.text
            await self._run(said)
        self.messages.append(AssistantMessage(text=said.text))
        assert said.text
        return said.text

    async def _run(self, said: Answer) -> None:
        assert len(self.rounds) < 10
        self.rounds.append([(call.name.removeprefix("toolbridge__"), dict(call.arguments)) for call in said.calls])
        made = asked(said, first_id=len(self.messages))
        self.messages.append(AssistantMessage(text="", tool_calls=made))
        for call in made:
            result = await self.client.call_tool(call.name.removeprefix("toolbridge__"), json.loads(call.arguments))
            block = result.content[0]
            assert isinstance(block, types.TextContent)
            self.messages.append(ToolMessage(call_id=call.id, text=block.text))


def asked(said: Answer, *, first_id: int = 0) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=f"call_{first_id}_{at}", name=call.name, arguments=json.dumps(call.arguments))
        for at, call in enumerate(said.calls)
    )


@asynccontextmanager
async def converse(workspace: Path) -> AsyncGenerator[Conversation]:
    server = build_server(
        workspace=FolderWorkspace(workspace), weather_api_url=UNREACHABLE, geocoding_api_url=UNREACHABLE
    )
    async with Client(server) as client:
        tools = [spec(tool.name, tool.input_schema) for tool in (await client.list_tools()).tools]
        yield Conversation(client=client, tools=tools)


def spec(name: str, schema: Mapping[str, Any], *, server: str = "toolbridge") -> ToolSpec:
    return ToolSpec(name=f"{server}__{name}", server=server, tool=name, description="", parameters=schema)


def schema(**properties: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }


CALCULATE = spec("calculate", schema(operation="string", a="number", b="number"))
GREET = spec("greet", schema(name="string"))
TIME = spec("get_current_time", schema(timezone="string"))
WEATHER = spec("get_weather", schema(city="string"))
DELETE = spec("delete_text_file", schema(filename="string"))
READ = spec("read_text_file", schema(filename="string"))
LIST = spec("list_text_files", schema())
SAVE = spec("save_text_file", schema(filename="string", content="string"))
SYSTEM = spec("get_system_info", schema())
ECHO = spec("echo", schema(message="string"), server="everything")
TOOLS = (CALCULATE, GREET, TIME, WEATHER, DELETE, READ, LIST, SAVE, SYSTEM, ECHO)


def first_calls(text: str, tools: Sequence[ToolSpec] = TOOLS) -> Calls:
    said = answer([UserMessage(text=text)], tools)
    return [(call.name.rpartition("__")[2], dict(call.arguments)) for call in said.calls]


# --- arithmetic --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("25 * 8", "200"),
        ("what is twelve times 4", "48"),
        ("What's 15% of 80?", "12"),
        ("2 to the power of 10", "1024"),
        ("2 ** 3 ** 2", "512"),
        ("7 mod 3", "1"),
        ("7 % 3", "1"),
        ("Calculate 1.5 + .5", "2"),
        ("what is -3 - -4?", "1"),
        ("-(2 + 3) * 2", "-10"),
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("20 - 5 - 5", "10"),
        ("1,000 + 2.5", "1002.5"),
        ("3 x 4", "12"),
        ("ten divided by four", "2.5"),
        ("one hundred and five plus twenty-one thousand", "21105"),
        ("add 2 and 3", "5"),
        ("subtract 3 from 10", "7"),
        ("multiply the sum of 2 and 3 by four", "20"),
        ("the square root of 16", "4"),
        ("how much is 3 squared?", "9"),
        ("half of 9", "4.5"),
        ("please could you work out 6 ÷ 4", "1.5"),
    ],
)
async def test_arithmetic_in_words_and_symbols_is_carried_out_by_the_tool(
    tmp_path: Path, text: str, result: str
) -> None:
    async with converse(tmp_path) as chat:
        said = await chat.ask(text)
    assert said.endswith(f"= **{result}**")
    assert {tool for calls in chat.rounds for tool, _ in calls} == {"calculate"}


async def test_the_steps_of_an_expression_follow_precedence_and_wait_for_each_other(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        await chat.ask("2 * 3 + 4 * 5")
    assert chat.rounds == [
        [
            ("calculate", {"operation": "multiply", "a": 2, "b": 3}),
            ("calculate", {"operation": "multiply", "a": 4, "b": 5}),
        ],
        [("calculate", {"operation": "add", "a": 6.0, "b": 20.0})],
    ]


async def test_a_chain_goes_on_from_the_last_number_of_the_turn_or_of_the_conversation(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        assert "**16**" in await chat.ask("add 5 and 3, then multiply the result by 2")
        await chat.ask("hello")
        assert "**48**" in await chat.ask("then multiply that by 3")
        assert "**12**" in await chat.ask("divide it by 4")
        assert "**24**" in await chat.ask("double it")
        assert "**25**" in await chat.ask("plus 1")


async def test_a_chain_with_nothing_before_it_says_so(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        assert "no earlier result" in await chat.ask("multiply that by 3")
    assert chat.rounds == []


async def test_a_failed_step_is_said_and_what_needs_it_is_not_done(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        said = await chat.ask("what is 10 / 0, then add 5 to it and save it to bad.txt")
        assert len(chat.rounds) == 1
    assert "“what is 10 / 0” did not work: cannot divide by zero" in said
    assert "“add 5 to it” was not done" in said
    assert "“save it to bad.txt” was not done" in said


@pytest.mark.parametrize("text", ["2024-01-02", "12", "it", "2 +", "(2 + 3", "2 $ 3", "1e999999 + 1", "9" * 400 + "+1"])
def test_what_is_no_calculation_is_not_calculated(text: str) -> None:
    assert first_calls(text) == []


# --- files and references ----------------------------------------------------------------------------------------


async def test_the_learning_session_works(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        greeting = await chat.ask("Greet Ada and tell me the time in London")
        assert [tool for tool, _ in chat.rounds[0]] == ["greet", "get_current_time"]
        assert "Hello, Ada!" in greeting and "Europe/London" in greeting
        assert "**200**" in await chat.ask("25 * 8")
        assert "Saved math.txt" in await chat.ask("save that result to math.txt")
        assert "25 \u00d7 8 = 200" in await chat.ask("what's in math.txt?")


async def test_a_result_is_calculated_first_and_saved_then(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        said = await chat.ask("Calculate 15 * 8 and save the result to a file called calculation.txt")
        assert [[tool for tool, _ in calls] for calls in chat.rounds] == [["calculate"], ["save_text_file"]]
        assert "**120**" in said and "Saved calculation.txt" in said
        assert "15 \u00d7 8 = 120" in await chat.ask("read it back")


async def test_when_one_of_several_results_fails_the_others_are_saved_with_a_note(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        said = await chat.ask("Calculate 50 / 2, tell me the weather in NYC, and save both results to summary.txt")
        assert [[tool for tool, _ in calls] for calls in chat.rounds] == [
            ["calculate", "get_weather"],
            ["save_text_file"],
        ]
        assert "50 / 2 = **25**" in said and "Saved summary.txt" in said
        assert "“tell me the weather in NYC” did not work" in said and "cannot be reached" in said
        _, save = chat.rounds[1][0]
        first, second = save["content"].splitlines()
        assert first == "50 / 2 = 25"
        assert second.startswith("tell me the weather in NYC: not available (") and "cannot be reached" in second


async def test_files_are_listed_and_each_is_read(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        await chat.ask('save "one, two and three. four" to b.txt and write hello, world! to my notes.txt')
        await chat.ask("save hello, world! to a.md")
        said = await chat.ask("What files do I have, and what is in them?")
        reads = [("read_text_file", {"filename": name}) for name in ("a.md", "b.txt", "notes.txt")]
        assert chat.rounds == [[("list_text_files", {})], reads]
    assert "one, two and three. four" in said and "hello, world!" in said


async def test_a_file_is_read_only_after_it_was_saved(tmp_path: Path) -> None:
    async with converse(tmp_path) as chat:
        said = await chat.ask("write 'it is 5 o'clock' to a.txt, read it and delete it")
    assert [[tool for tool, _ in calls] for calls in chat.rounds] == [
        ["save_text_file"],
        ["read_text_file"],
        ["delete_text_file"],
    ]
    assert "Deleted a.txt" in said


@pytest.mark.parametrize(
    ("text", "filename", "content"),
    [
        ("save 'The answer is 42' to notes.txt", "notes.txt", "The answer is 42"),
        ("write how to cook, and eat to a.txt", "a.txt", "how to cook, and eat"),
        ('create a file called notes.txt with the text "hey, you"', "notes.txt", "hey, you"),
        ("save to z.txt: some words here", "z.txt", "some words here"),
        ("save hello to ../../secret", "../../secret", "hello"),
        ('put the words "a\tb" in “my file.txt”', "my file.txt", "a\tb"),
        ("write delete all files to todo.txt", "todo.txt", "delete all files"),
    ],
)
def test_words_are_saved_as_they_stand(text: str, filename: str, content: str) -> None:
    assert first_calls(text) == [("save_text_file", {"filename": filename, "content": content})]


def test_what_is_to_be_saved_is_got_first() -> None:
    assert first_calls("save the weather in Oslo to w.txt") == [("get_weather", {"city": "Oslo"})]
    assert first_calls("save 3 * 3 to nine.txt") == [("calculate", {"operation": "multiply", "a": 3, "b": 3})]


def test_nothing_is_deleted_when_part_of_the_request_was_not_understood() -> None:
    said = answer([UserMessage(text="whatever you do not do, delete a.txt")], TOOLS)
    assert said.calls == ()
    assert "“delete a.txt” was not done" in said.text


# --- the other tools ---------------------------------------------------------------------------------------------


REQUESTED: list[tuple[str, Calls]] = [
    ("weather in NYC", [("get_weather", {"city": "New York"})]),
    ("how's the weather in Paris, Texas?", [("get_weather", {"city": "Paris, Texas"})]),
    ("what is the weather like in St. Louis today?", [("get_weather", {"city": "St. Louis"})]),
    ("weather in Oslo and Rome", [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]),
    ("what time is it", [("get_current_time", {"timezone": "UTC"})]),
    ("what time is it in Tokyo?", [("get_current_time", {"timezone": "Asia/Tokyo"})]),
    ("time in buenos aires", [("get_current_time", {"timezone": "America/Argentina/Buenos_Aires"})]),
    ("current time in san francisco", [("get_current_time", {"timezone": "America/Los_Angeles"})]),
    ("what's the date in Europe/Vienna", [("get_current_time", {"timezone": "Europe/Vienna"})]),
    ("How is this machine doing?", [("get_system_info", {})]),
    ("show me the system information", [("get_system_info", {})]),
    ("greet Ada", [("greet", {"name": "Ada"})]),
    ("greet me, I am Bob", [("greet", {"name": "Bob"})]),
    ("My name is Zoe. Greet me.", [("greet", {"name": "Zoe"})]),
    ("⟦from U1: Ana Lopez⟧\ngreet me", [("greet", {"name": "Ana Lopez"})]),
    ("⟦from U1: Ana Lopez⟧\n2 + 2", [("calculate", {"operation": "add", "a": 2, "b": 2})]),
    ("say hello to Ada and Bob", [("greet", {"name": "Ada"}), ("greet", {"name": "Bob"})]),
    ("which files do I have?", [("list_text_files", {})]),
]


@pytest.mark.parametrize(("text", "calls"), REQUESTED)
def test_a_request_becomes_calls(text: str, calls: Calls) -> None:
    assert first_calls(text) == calls


def test_an_unknown_place_goes_to_the_clock_as_it_is() -> None:
    assert first_calls("time in Springfield") == [("get_current_time", {"timezone": "Springfield"})]


def test_a_tool_may_be_called_by_its_name() -> None:
    calls = first_calls('call everything__echo with {"message": "a, b and then c"} and call greet with {"name": "X"}')
    assert calls == [("echo", {"message": "a, b and then c"}), ("greet", {"name": "X"})]
    assert first_calls("call list_text_files\ncall get_system_info") == [
        ("list_text_files", {}),
        ("get_system_info", {}),
    ]
    assert "not a JSON object" in answer([UserMessage(text="call echo with [1]")], TOOLS).text
    assert "no fitting `nothing` tool" in answer([UserMessage(text="call nothing with {}")], TOOLS).text


def test_calls_by_name_joined_by_then_wait_for_each_other() -> None:
    question = UserMessage(text='call echo with {"message": "1"} then call echo with {"message": "2"}')
    first = answer([question], TOOLS)
    assert [call.arguments for call in first.calls] == [{"message": "1"}]
    made = asked(first)
    second = answer([question, AssistantMessage(text="", tool_calls=made), result(made[0], "one")], TOOLS)
    assert [call.arguments for call in second.calls] == [{"message": "2"}]


def result(call: ToolCall, text: str) -> ToolMessage:
    return ToolMessage(call_id=call.id, text=text)


def test_only_offered_tools_are_called_and_the_first_that_fits() -> None:
    other = spec("calculate", schema(expression="string"), server="math")
    clocks = [spec("get_current_time", schema(timezone="string"), server=name) for name in ("time", "toolbridge")]
    said = answer([UserMessage(text="time in Tokyo")], clocks)
    assert [call.name for call in said.calls] == ["time__get_current_time"]
    assert "no fitting `calculate` tool is offered" in answer([UserMessage(text="2 + 2")], [other]).text
    assert answer([UserMessage(text="2 + 2")], [other, CALCULATE]).calls[0].name == CALCULATE.name


# --- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["what can you do?", "help", "are you an AI?", "What tools do you have?"])
def test_it_says_that_it_is_no_ai_and_what_the_offered_tools_allow(text: str) -> None:
    said = answer([UserMessage(text=text)], [CALCULATE, ECHO]).text
    assert "not an AI" in said and "do arithmetic" in said and "`everything__echo`" in said
    assert "weather" not in said


def test_what_it_does_not_understand_it_says() -> None:
    said = answer([UserMessage(text="tell me a joke")], TOOLS).text
    assert "I did not understand “tell me a joke”" in said and "do arithmetic" in said


def test_what_it_understands_is_done_beside_what_it_does_not() -> None:
    assert first_calls("Write a poem, then 25 * 8") == [("calculate", {"operation": "multiply", "a": 25, "b": 8})]


def test_small_talk_needs_no_tool() -> None:
    assert answer([UserMessage(text="hi there")], TOOLS).text.startswith("Hello!")
    assert answer([UserMessage(text="thanks a lot!")], TOOLS) == Answer(text="You are welcome.")


@pytest.mark.parametrize(
    "outcome",
    ["Denied: Ana refused it.", "Interrupted: the bot was restarted.", "The tool 'greet' gave no answer within 2 s."],
)
def test_a_call_that_was_denied_or_interrupted_is_said_to_have_failed(outcome: str) -> None:
    question = UserMessage(text="greet Ada")
    made = asked(answer([question], TOOLS))
    said = answer([question, AssistantMessage(text="", tool_calls=made), result(made[0], outcome)], TOOLS)
    assert said.text == f"“greet Ada” did not work: {outcome}"


def test_a_call_whose_arguments_were_broken_is_made_again() -> None:
    question = UserMessage(text="greet Ada")
    broken = ToolCall(id="1", name=GREET.name, arguments='{"name": ')
    messages = [question, AssistantMessage(text="", tool_calls=(broken,)), result(broken, "Error: not JSON")]
    assert [call.arguments for call in answer(messages, TOOLS).calls] == [{"name": "Ada"}]


def test_without_tools_it_finishes_with_what_it_has() -> None:
    question = UserMessage(text="2 + 3 * 4")
    made = asked(answer([question], TOOLS))
    note = "Result: 3.0 multiply 4.0 = 12.0\n[The limit of 1 tool round is reached. Answer now.]"
    said = answer([question, AssistantMessage(text="", tool_calls=made), result(made[0], note)], []).text
    assert "3 \u00d7 4 = **12**" in said
    assert "“2 + 3 * 4” was not done: no fitting `calculate` tool is offered" in said
    assert "14" not in said and "limit" not in said


def test_a_file_with_fences_in_it_stays_in_its_fence() -> None:
    question = UserMessage(text="read a.md")
    made = asked(answer([question], TOOLS))
    text = "a.md (20 bytes):\n```\ncode\n```"
    said = answer([question, AssistantMessage(text="", tool_calls=made), result(made[0], text)], TOOLS).text
    assert said == "a.md (20 bytes):\n````\n```\ncode\n```\n````"


# --- any text ----------------------------------------------------------------------------------------------------

FRAGMENTS = """
save|it|both results|to a.txt|what's in|weather in|Paris, Texas|then|and|,|. |multiply|that|by|3|-4.5|(|)|+|*|/|% of|^
twelve|hundred|greet|me|delete|file called|files|them|“|"|'|`|{|}|[Ana] |time|call echo with {"message": "x"}|read|all
"""
REQUESTS = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(FRAGMENTS.replace("\n", "|\n|").split("|")), max_size=25).map(" ".join),
)


@given(REQUESTS, st.lists(st.sampled_from(TOOLS), unique_by=lambda tool: tool.name))
@example("call echo with " + '{"a":' * 5000, list(TOOLS))
@example("(" * 299, list(TOOLS))
@example("-" * 299 + "1", list(TOOLS))
@example("a, " * 3000, list(TOOLS))
@example("save " + "to " * 3000, list(TOOLS))
def test_any_text_gets_words_or_valid_calls_of_offered_tools(text: str, tools: list[ToolSpec]) -> None:
    said = answer([UserMessage(text=text)], tools)
    assert bool(said.text) != bool(said.calls)
    offered = {tool.name: tool for tool in tools}
    for call in said.calls:
        json.dumps(call.arguments, allow_nan=False)
        if "call" not in text:  # called by name, the arguments are the user's own
            jsonschema.validate(dict(call.arguments), offered[call.name].parameters)
        assert call.name in offered


@given(st.lists(REQUESTS, max_size=4), st.lists(st.text(max_size=50), min_size=1, max_size=5))
def test_any_conversation_with_any_results_comes_to_an_end(requests: list[str], results: list[str]) -> None:
    messages: list[Message] = []
    for request in requests:
        messages.append(UserMessage(text=request))
        for _ in range(30):
            said = answer(messages, TOOLS)
            assert said == answer(messages, TOOLS)
            made = asked(said, first_id=len(messages))
            messages.append(AssistantMessage(text=said.text, tool_calls=made))
            if not made:
                break
            messages += [result(call, results[at % len(results)]) for at, call in enumerate(made)]
        else:
            pytest.fail("no end after 30 rounds")


# --- tools that are only described, or not offered yet ---

FINDER = ToolSpec(
    name="find_tools", server="", tool="find_tools", description="Find.", parameters=schema(query="string")
)
SIGN_OFF = "use a tool to sign off seasonal invoices"
APPROVE = replace(spec("approve_seasonal_invoice", schema()), description="Signs off a seasonal invoice.")


def test_a_described_tool_is_the_one_that_has_the_words() -> None:
    assert first_calls("use a tool to approve seasonal invoices", (*TOOLS, FINDER, APPROVE)) == [
        ("approve_seasonal_invoice", {})
    ]
    assert first_calls("use a tool to echo a message", TOOLS) == [("echo", {})]
    assert first_calls("use a tool to dance", TOOLS) == []


def test_what_is_not_offered_is_searched_once_and_then_called() -> None:
    assert first_calls("use a tool to approve seasonal invoices", (*TOOLS, FINDER)) == [
        ("find_tools", {"query": "approve seasonal invoices"})
    ]
    assert first_calls("call invoices__approve with {}", (*TOOLS, FINDER)) == [
        ("find_tools", {"query": "invoices__approve"})
    ]
    search = ToolCall(id="1", name="find_tools", arguments='{"query": "sign off seasonal invoices"}')
    asked = [UserMessage(text=SIGN_OFF), AssistantMessage(text="", tool_calls=(search,))]
    found = ToolMessage(call_id="1", text=f"These match:\n- {APPROVE.name}: () Approves.")
    assert [call.name for call in answer([*asked, found], (*TOOLS, FINDER, APPROVE)).calls] == [APPROVE.name]
    nothing = answer([*asked, ToolMessage(call_id="1", text="None of the tools matches.")], (*TOOLS, FINDER))
    assert nothing.calls == () and "no fitting tool" in nothing.text
