"""The bot's commands, answered from a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.commands import COMMANDS, Command, Commands, nearest_command
from bot.events import CommandInvoked, ConversationKey, MessageReceived
from bot.messages import (
    AssistantMessage,
    Message,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    Usage,
    UserMessage,
)
from bot.ports import Example, Offer, Post, ServerStatus, Store
from bot.stores.sqlite import open_store

HERE = ConversationKey(platform="console", space="local", channel="here")
ELSEWHERE = ConversationKey(platform="console", space="local", channel="elsewhere")
WORKER = "worker-1"


@dataclass
class ScriptedTools:
    """A Tools port with what it is told to have."""

    specs: tuple[ToolSpec, ...] = ()
    servers: tuple[ServerStatus, ...] = ()
    notes: tuple[str, ...] = ()
    prompts: tuple[Example, ...] = ()

    async def offer(self) -> Offer:
        return Offer(tools=self.specs, notes=self.notes)

    async def call(self, call: ToolCall, *, conversation: str) -> ToolResult:
        raise AssertionError("a command runs no tool")

    async def examples(self) -> Sequence[Example]:
        return self.prompts

    def status(self) -> Sequence[ServerStatus]:
        return self.servers


@dataclass
class Bench:
    """Commands with the parts they were given."""

    commands: Commands
    store: Store
    stopped: list[ConversationKey]

    async def run(self, name: str, argument: str = "", *, conversation: ConversationKey = HERE) -> str:
        answer = await self.commands.answer(
            CommandInvoked(conversation=conversation, event_key="command", author_id="u1", name=name, argument=argument)
        )
        return answer.text


@asynccontextmanager
async def bench(
    tmp_path: Path, tools: ScriptedTools | None = None, *, is_running: bool = False
) -> AsyncGenerator[Bench]:
    stopped: list[ConversationKey] = []

    async def stop(conversation: ConversationKey) -> bool:
        stopped.append(conversation)
        return is_running

    async with open_store(tmp_path / "bot.db") as store:
        made = Commands(
            store=store,
            tools=tools or ScriptedTools(),
            model_name="rehearsal",
            about="The rehearsal model is not an AI.",
            stop=stop,
            limits=["A message holds at most 10,000 characters."],
        )
        yield Bench(commands=made, store=store, stopped=stopped)


async def converse(
    store: Store, messages: Sequence[Message], *, conversation: ConversationKey = HERE, usage: Usage | None = None
) -> None:
    """Store one answered turn with these messages."""
    question = next(message for message in messages if isinstance(message, UserMessage))
    receipt = await store.accept(
        MessageReceived(
            conversation=conversation,
            event_key=f"{conversation}:{datetime.now(UTC).timestamp()}",
            author_id="u1",
            author_name="Ann",
            text=question.text,
            sent_at=datetime.now(UTC),
        ),
        worker=WORKER,
        max_waiting=20,
    )
    await store.heartbeat(WORKER, lease_s=60)
    (turn,) = await store.claim(WORKER, serves=[str(conversation)], limit=1)
    assert turn.lease.turn_id == receipt.turn_id
    post = Post(key="p", conversation=conversation, turn_id=turn.lease.turn_id, part=0, text="answer")
    await store.reply(turn.lease, state="answered", messages=messages, posts=[post], usage=usage or Usage())
    await store.mark_posting(turn.lease, 0)
    await store.mark_posted(turn.lease, 0, reference="r", ends_turn=True)


def spec(server: str, tool: str, description: str) -> ToolSpec:
    return ToolSpec(name=f"{server}__{tool}", server=server, tool=tool, description=description, parameters={})


def server(name: str, *, replica: str = "one", detail: str = "") -> ServerStatus:
    return ServerStatus(server=name, replica=replica, state="down" if detail else "ready", detail=detail)


TOOLS = ScriptedTools(
    specs=(
        spec("bundled", "calculate", "Does arithmetic. Takes two numbers."),
        spec("bundled", "save_text_file", "Saves a text\nfile in the workspace."),
        spec("clock", "now", "Tells the time."),
    ),
    servers=(server("bundled"), server("clock"), server("search", detail="connection refused, tried again in 5 s")),
)


# --- tools -----------------------------------------------------------------------------------------------------


async def test_tools_lists_servers_with_their_state_and_tools(tmp_path: Path) -> None:
    async with bench(tmp_path, TOOLS) as at:
        assert await at.run("tools") == (
            "**bundled**: ready\n\n"
            "- `calculate`: Does arithmetic.\n"
            "- `save_text_file`: Saves a text file in the workspace.\n\n"
            "**clock**: ready\n\n"
            "- `now`: Tells the time.\n\n"
            "**search**: down (connection refused, tried again in 5 s)"
        )


@pytest.mark.parametrize("word", ["TIME", "clock", "now", "clock__now"])
async def test_tools_with_a_word_lists_what_matches_in_name_server_or_description(tmp_path: Path, word: str) -> None:
    async with bench(tmp_path, TOOLS) as at:
        assert await at.run("tools", word) == "**clock**: ready\n\n- `now`: Tells the time."


async def test_tools_says_when_nothing_matches(tmp_path: Path) -> None:
    async with bench(tmp_path, TOOLS) as at:
        assert (await at.run("tools", "teleport")).startswith("No tool matches `teleport`.")


async def test_tools_says_what_is_not_offered(tmp_path: Path) -> None:
    tools = ScriptedTools(specs=TOOLS.specs, servers=TOOLS.servers, notes=("3 more tools are left out.",))
    async with bench(tmp_path, tools) as at:
        assert (await at.run("tools")).endswith("\n\n3 more tools are left out.")


async def test_tools_shows_the_state_of_each_replica_of_a_server(tmp_path: Path) -> None:
    tools = ScriptedTools(servers=(server("files"), server("files", replica="two", detail="no answer")))
    async with bench(tmp_path, tools) as at:
        assert await at.run("tools") == "**files**: ready; down (no answer)"


async def test_tools_says_when_there_is_no_server(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        assert await at.run("tools") == "No tool server is set up."


# --- history and clear -----------------------------------------------------------------------------------------

SAVE = ToolCall(id="c1", name="bundled__save_text_file", arguments="{}")


async def test_history_of_a_new_conversation_says_that_it_is_empty(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await converse(at.store, [UserMessage(text="hi"), AssistantMessage(text="ho")], conversation=ELSEWHERE)
        assert await at.run("history") == "This conversation has no messages yet."


async def test_history_shows_time_speaker_text_and_the_tools_of_each_answer(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await converse(
            at.store,
            [
                UserMessage(text="save it", speaker="Ann"),
                AssistantMessage(text="I am saving it.", tool_calls=(SAVE,)),
                ToolMessage(call_id="c1", text="a long result"),
                AssistantMessage(text="It is saved."),
            ],
        )
        heading, _, question, answer = (await at.run("history")).splitlines()
    assert heading == "**The last 2 messages** (times in UTC)"
    assert question.endswith(" **Ann**: save it")
    assert answer.endswith(" **bot** (used `bundled__save_text_file`): I am saving it. It is saved.")
    assert f"{datetime.now(UTC):%Y-%m-%d}" in question


async def test_history_shows_the_last_twenty_messages(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        for number in range(15):
            await converse(at.store, [UserMessage(text=f"q{number}"), AssistantMessage(text=f"a{number}")])
        lines = (await at.run("history")).splitlines()[2:]
    assert len(lines) == 20
    assert lines[0].endswith(" **you**: q5")
    assert lines[-1].endswith(" **bot**: a14")


async def test_clear_forgets_this_conversation_alone_and_says_how_much_and_that_files_stay(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        for conversation in (HERE, ELSEWHERE):
            await converse(at.store, [UserMessage(text="hi"), AssistantMessage(text="ho")], conversation=conversation)
        assert await at.run("clear") == "2 messages of this conversation deleted. Saved files are kept."
        assert await at.run("history") == "This conversation has no messages yet."
        assert await at.run("clear") == "There was nothing to forget. Saved files are kept."
        assert len((await at.run("history", conversation=ELSEWHERE)).splitlines()) == 4


# --- the others ------------------------------------------------------------------------------------------------


async def test_examples_are_offered_as_choices(tmp_path: Path) -> None:
    example = Example(title="Sum", text="What is 1 + 1?")
    async with bench(tmp_path, ScriptedTools(prompts=(example,))) as at:
        answer = await at.commands.answer(
            CommandInvoked(conversation=HERE, event_key="command", author_id="u1", name="examples")
        )
    assert answer.choices == (example,)


async def test_examples_says_when_there_are_none(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        assert await at.run("examples") == "No tool server that can be reached offers examples."


async def test_stop_stops_this_conversation_and_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path, is_running=True) as at:
        assert await at.run("stop") == "Stopping."
        assert at.stopped == [HERE]


async def test_stop_says_when_nothing_is_running(tmp_path: Path) -> None:
    async with bench(tmp_path, is_running=False) as at:
        assert await at.run("stop") == "Nothing is running in this conversation."


async def test_usage_counts_this_conversation_and_all(tmp_path: Path) -> None:
    usage = Usage(input_tokens=1_500, cached_tokens=1_000, output_tokens=40)
    async with bench(tmp_path) as at:
        for conversation in (HERE, ELSEWHERE):
            await converse(
                at.store,
                [UserMessage(text="hi"), AssistantMessage(text="ho")],
                conversation=conversation,
                usage=usage,
            )
        assert (await at.run("usage")).splitlines() == [
            "- **This conversation**: 1 turn, 1,500 tokens in (67% from the prompt cache), 40 tokens out",
            "- **All conversations**: 2 turns, 3,000 tokens in (67% from the prompt cache), 80 tokens out",
        ]


async def test_usage_of_nothing_is_zero(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        assert "0 turns, 0 tokens in, 0 tokens out" in await at.run("usage")


async def test_help_names_the_model_the_limits_and_every_command(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        text = await at.run("help")
    assert "`rehearsal`" in text
    assert "The rehearsal model is not an AI." in text
    assert "at most 10,000 characters" in text
    for command in COMMANDS:
        assert f"`{command.name}" in text


async def test_an_unknown_command_gets_the_nearest_and_all(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        text = await at.run("tols")
    assert text.startswith("There is no command `tols`. Did you mean `tools`?")
    for command in COMMANDS:
        assert f"`{command.name}" in text


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
async def test_every_listed_command_is_answered(tmp_path: Path, command: Command) -> None:
    async with bench(tmp_path) as at:
        assert "no command" not in await at.run(command.name)


@pytest.mark.parametrize(
    ("name", "nearest"), [("t", "tools"), ("clera", "clear"), ("HELP", "help"), ("", "tools"), ("zzzz", None)]
)
def test_the_nearest_command_begins_like_it_or_looks_like_it(name: str, nearest: str | None) -> None:
    assert nearest_command(name, among=[command.name for command in COMMANDS]) == nearest


# --- untrusted text --------------------------------------------------------------------------------------------

MARKDOWN = MarkdownIt("commonmark").enable("strikethrough")

untrusted = st.lists(
    st.sampled_from(["**", "`", "\n- x", "\n\n# h", "[a](b)", "<b>", "&amp;", "||", "\\"]) | st.text()
).map("".join)


def shape(markdown: str) -> list[str]:
    """Return the kinds of all blocks and spans, in order."""
    kinds: list[str] = []
    for token in MARKDOWN.parse(markdown):
        kinds += [token.type, *(child.type for child in token.children or () if child.type != "text")]
    return kinds


def seen(markdown: str) -> str:
    """Return the text that a reader sees."""
    return "".join(child.content for token in MARKDOWN.parse(markdown) for child in token.children or ())


def listed(tool: ToolSpec) -> str:
    """Return what `tools` answers about this tool; it needs no store."""

    async def stop(_conversation: ConversationKey) -> bool:
        return False

    made = Commands(store=cast("Store", None), tools=ScriptedTools(specs=(tool,)), model_name="m", about="", stop=stop)
    asked = CommandInvoked(conversation=HERE, event_key="e", author_id="u", name="tools")
    return asyncio.run(made.answer(asked)).text


@given(text=untrusted)
def test_a_tool_cannot_break_the_list_it_is_shown_in(text: str) -> None:
    hostile = ToolSpec(name="x", server=f"s{text}", tool=f"t{text}", description=f"d{text}", parameters={})
    harmless = ToolSpec(name="x", server="s", tool="t", description="d", parameters={})
    assert shape(listed(hostile)) == shape(listed(harmless))


@given(description=st.text(alphabet="ab*_`[]()<>&#|~\\!-+1.", min_size=1, max_size=60))
def test_an_escaped_description_reads_as_it_was_written(description: str) -> None:
    tool = ToolSpec(name="x", server="s", tool="t", description=description, parameters={})
    assert seen(listed(tool)) == f"s: readyt: {description}"
