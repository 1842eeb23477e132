"""The bot's commands, answered from a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.domain.answers import CommandAnswer, Example, Queued
from bot.domain.asks import ApprovalAsk, AskRecord
from bot.domain.commands import COMMANDS, Command, nearest_command
from bot.domain.events import CommandInvoked, ConversationKey, MessageReceived, RunRequest
from bot.domain.messages import (
    AssistantMessage,
    Message,
    ToolCall,
    ToolMessage,
    ToolSpec,
    Usage,
    UserMessage,
)
from bot.domain.people import Asker, Standing
from bot.domain.rights import Person, Terms
from bot.domain.turns import Post
from bot.intake.commands.approvals import may_decide
from bot.intake.commands.table import Commands
from bot.intake.commands.tools import Prospect, describe_tools
from bot.keeping.files import KeptFiles
from bot.ports.conversation_store import ConversationSummary
from bot.ports.store import Store
from bot.ports.tools import Offer, ServerStatus
from bot.stores.sqlite.store import open_sqlite
from bot.turns.bell import Bell
from mcp_server.folder import FolderWorkspace
from tests.fakes.folders import unchangeable
from tests.fakes.rights import Rights, ScriptedPolicy, open_access, open_budgets

HERE = ConversationKey(platform="console", space="local", channel="here")
ELSEWHERE = ConversationKey(platform="console", space="local", channel="elsewhere")
WORKER = "worker-1"


@dataclass
class ScriptedTools:
    """A tool directory with what it is given."""

    specs: tuple[ToolSpec, ...] = ()
    servers: tuple[ServerStatus, ...] = ()
    notes: tuple[str, ...] = ()
    prompts: tuple[Example, ...] = ()

    async def offer(self, asker: Asker | None) -> Offer:
        return Offer(tools=self.specs, notes=self.notes)

    async def examples(self) -> Sequence[Example]:
        return self.prompts

    def status(self) -> Sequence[ServerStatus]:
        return self.servers


@dataclass
class Bench:
    """Commands with the parts they were given."""

    commands: Commands
    store: Store
    bell: Bell

    async def asked_to_stop(self) -> list[tuple[ConversationKey, str]]:
        """Return the conversations in which a turn that is about to run will be stopped, and who asked for it."""
        await self.store.heartbeat(WORKER, lease_s=60)
        turns = await self.store.claim(WORKER, serves=[""], limit=10)
        return [(turn.event.conversation, str(turn.actor)) for turn in turns if turn.stop_requested]

    async def run(self, name: str, argument: str = "", *, conversation: ConversationKey = HERE) -> str:
        return (await self.answer(name, argument, conversation=conversation)).text

    async def answer(
        self, name: str, argument: str = "", *, conversation: ConversationKey = HERE, author_id: str = "u1"
    ) -> CommandAnswer:
        return await self.commands.answer(
            CommandInvoked(
                conversation=conversation, event_key="command", author_id=author_id, name=name, argument=argument
            )
        )

    async def answer_in_channel(self, name: str, *, channel: str = "general") -> CommandAnswer:
        return await self.commands.answer(
            CommandInvoked(
                conversation=ConversationKey(platform="chat", space="team", channel=channel),
                event_key="command",
                author_id="u1",
                name=name,
                is_channel_wide=True,
            )
        )


@asynccontextmanager
async def bench(
    tmp_path: Path, tools: ScriptedTools | None = None, rights: Rights | None = None, files: KeptFiles | None = None
) -> AsyncGenerator[Bench]:
    bell = Bell()
    async with open_sqlite(tmp_path / "bot.db") as store:
        made = Commands(
            store=store,
            tools=tools or ScriptedTools(),
            bell=bell,
            access=open_access(store, rights),
            files=files,
            budgets=open_budgets(store, rights),
            model_name="rehearsal",
            about="The rehearsal model is not an AI.",
            limits=["A message holds at most 10,000 characters."],
        )
        yield Bench(commands=made, store=store, bell=bell)


async def test_tools_names_those_that_the_models_endpoint_does_not_take() -> None:
    spec = ToolSpec(name="shop__buy", server="shop", tool="buy", description="Buy it.", parameters={})
    other = replace(spec, name="shop__look", tool="look", description="Look at it.")
    tools = ScriptedTools(specs=(spec, other))
    text = await describe_tools(tools, asker=None, refused={"shop__buy": "array schema missing items"})
    assert "- `buy`: left out, because the model's endpoint does not take it (array schema missing items)" in text
    assert "- `look`: Look at it." in text


def thread(name: str, channel: str = "general") -> ConversationKey:
    return ConversationKey(platform="chat", space="team", channel=channel, thread=name)


async def ask(store: Store, text: str, *, conversation: ConversationKey, author_id: str = "u1") -> int | None:
    """Store a question and return its turn."""
    outcome = await store.accept(
        MessageReceived(
            conversation=conversation,
            event_key=f"{conversation}:{datetime.now(UTC).timestamp()}",
            author_id=author_id,
            author_name="Ann",
            text=text,
            sent_at=datetime.now(UTC),
        ),
        worker=WORKER,
        max_waiting=20,
    )
    return outcome.turn_id if isinstance(outcome, Queued) else None


async def converse(
    store: Store,
    messages: Sequence[Message],
    *,
    conversation: ConversationKey = HERE,
    usage: Usage | None = None,
    author_id: str = "u1",
) -> None:
    """Store one answered turn with these messages."""
    question = next(message for message in messages if isinstance(message, UserMessage))
    turn_id = await ask(store, question.text, conversation=conversation, author_id=author_id)
    await store.heartbeat(WORKER, lease_s=60)
    (turn,) = await store.claim(WORKER, serves=[str(conversation)], limit=1)
    assert turn.lease.turn_id == turn_id
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


async def test_history_tells_people_of_one_name_apart(tmp_path: Path) -> None:
    said = [("Ann", "U1"), ("Ann", "U2"), ("Cleo", "U3"), ("bot", "U4")]
    async with bench(tmp_path) as at:
        for name, speaker_id in said:
            await converse(at.store, [UserMessage(text="hi", speaker=name, speaker_id=speaker_id)])
        lines = (await at.run("history")).splitlines()[2:]
    assert [line.split(" ", 3)[3] for line in lines] == [
        "**Ann (U1)**: hi",
        "**Ann (U2)**: hi",
        "**Cleo**: hi",
        "**bot (U4)**: hi",
    ]


async def test_history_shows_the_last_twenty_messages(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        for number in range(15):
            await converse(at.store, [UserMessage(text=f"q{number}"), AssistantMessage(text=f"a{number}")])
        lines = (await at.run("history")).splitlines()[2:]
    assert len(lines) == 20
    assert lines[0].endswith(" **you**: q5")
    assert lines[-1].endswith(" **bot**: a14")


@pytest.mark.parametrize(("summary", "said"), [("- Ann likes tea.", "only by my summary"), ("", "no longer know")])
async def test_history_says_from_where_on_the_model_reads_the_conversation_itself(
    tmp_path: Path, summary: str, said: str
) -> None:
    async with bench(tmp_path) as at:
        for number in range(15):
            await converse(at.store, [UserMessage(text=f"q{number}"), AssistantMessage(text=f"a{number}")])
        turns = [turn_id for turn_id, _ in (await at.store.history(HERE)).turns[::2]]
        for last_before, place in ((4, 0), (8, 8), (14, 20)):  # the last 20 messages begin with q5
            end = (await at.store.history(HERE)).summary_end
            assert await at.store.put_summary(
                HERE, summary, past_turn_id=turns[last_before], summary_end=end, turn_id=turns[0], usage=Usage()
            )
            heading, _, *lines = (await at.run("history")).splitlines()
            assert heading == "**The last 20 messages** (times in UTC)" and len(lines) == 21
            assert [index for index, line in enumerate(lines) if said in line] == [place]
        await at.run("clear")
        await converse(at.store, [UserMessage(text="hi"), AssistantMessage(text="ho")])
        assert said not in await at.run("history")


async def test_clear_forgets_this_conversation_alone_and_says_how_much_and_that_files_stay(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        for conversation in (HERE, ELSEWHERE):
            await converse(at.store, [UserMessage(text="hi"), AssistantMessage(text="ho")], conversation=conversation)
        assert await at.run("clear") == "2 messages of this conversation deleted. Saved files are kept."
        assert await at.run("history") == "This conversation has no messages yet."
        assert await at.run("clear") == "There was nothing to forget. Saved files are kept."
        assert len((await at.run("history", conversation=ELSEWHERE)).splitlines()) == 4


async def test_clear_keeps_saved_files_and_says_how_they_go_and_clear_files_deletes_them(tmp_path: Path) -> None:
    files = KeptFiles(tmp_path / "home")
    async with bench(tmp_path, files=files) as at:
        await converse(at.store, [UserMessage(text="hi"), AssistantMessage(text="ho")])
        FolderWorkspace(files.home / "workspaces").save(HERE.opaque_id, "a.txt", "words")
        assert "Nothing was deleted." in await at.run("clear", "everything")
        assert await at.run("clear") == (
            "2 messages of this conversation deleted. Saved files are kept. `clear files` deletes them as well."
        )
        with unchangeable(files.home):
            assert await at.run("clear", "files") == (
                "There were no messages to forget. 1 file could not be deleted; the bot's log says why. Try it again."
            )
        assert await at.run("clear", "Files") == "There were no messages to forget. 1 saved file deleted."
        assert await at.run("clear", "files") == "There was nothing to forget. No files were saved here."
        assert [line.entry.outcome for line in await at.store.audit_lines()] == ["clear", "clear files"]


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
        assert await at.run("examples") == "No reachable tool server offers examples."


async def test_stop_stops_this_conversation_and_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await ask(at.store, "go on", conversation=HERE)
        assert await at.run("stop") == "Stopping."
        assert await at.asked_to_stop() == [(HERE, "console:u1")]
        assert at.bell.signals.is_set()


async def test_stop_says_when_nothing_is_running(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        assert await at.run("stop") == "Nothing is running in this conversation."


async def test_usage_counts_this_conversation_the_asker_and_all(tmp_path: Path) -> None:
    usage = Usage(input_tokens=1_500, cached_tokens=1_000, output_tokens=40, micro_usd=250_000)
    async with bench(tmp_path, rights=Rights(now=ScriptedPolicy(operators=("chat:u1",)))) as at:
        for conversation, author_id in ((thread("1"), "u2"), (thread("2", "other"), "u1")):
            await converse(
                at.store,
                [UserMessage(text="hi"), AssistantMessage(text="ho")],
                conversation=conversation,
                usage=usage,
                author_id=author_id,
            )
            asker = Asker(actor=conversation.person(author_id), place=conversation.place)
            budgets = open_budgets(at.store)
            charge = budgets.charge(asker, conversation, usage)
            assert charge is not None
            await at.store.charge(charge)
            await at.store.charge((await budgets.toll(asker, conversation)).charge)
        one = "1 turn, 1,500 tokens in (67% from the prompt cache), 40 tokens out"
        two = "2 turns, 3,000 tokens in (67% from the prompt cache), 80 tokens out"
        assert (await at.run("usage", conversation=thread("1"))).splitlines() == [
            f"- **This conversation**: {one}",
            f"- **You**: today {one}, $0.25; this month {one}, $0.25",
            f"- **This place**: today {one}, $0.25; this month {one}, $0.25",
            f"- **All conversations**: today {two}, $0.50; this month {two}, $0.50; since the beginning {two}",
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


# --- asked for in a whole channel ------------------------------------------------------------------------------


async def talk(at: Bench, *questions: tuple[str, ConversationKey]) -> None:
    for text, conversation in questions:
        await converse(
            at.store, [UserMessage(text=text), AssistantMessage(text=f"answer to {text}")], conversation=conversation
        )


async def test_the_history_of_a_channel_is_its_conversations_to_pick_from_the_newest_first(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await talk(at, ("one", thread("1")), ("two *and*", thread("2")), ("other", thread("3", "general2")))
        answer = await at.answer_in_channel("history")
        read = await at.run("history", conversation=answer.picks[1].conversation)
    assert [pick.conversation for pick in answer.picks] == [thread("2"), thread("1")]
    assert [pick.label.endswith(title) for pick, title in zip(answer.picks, ["two *and*", "one"], strict=True)] == [
        True
    ] * 2
    _, _, newest, oldest = answer.text.splitlines()
    assert newest.endswith(r"**two \*and\*** (2 messages)") and oldest.endswith("**one** (2 messages)")
    assert f"{datetime.now(UTC):%Y-%m-%d}" in newest
    assert read.endswith(": answer to one")


async def test_at_most_twenty_conversations_are_there_to_pick_from(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await talk(at, *((f"q{number}", thread(str(number))) for number in range(22)))
        answers = [await at.answer_in_channel(name) for name in ("history", "clear")]
    for answer in answers:
        assert len(answer.picks) == 20
        assert answer.picks[0].conversation == thread("21")


async def test_the_history_of_a_channel_with_one_conversation_is_that_of_the_conversation(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await talk(at, ("one", thread("1")), ("other", thread("1", "random")))
        answer = await at.answer_in_channel("history")
    assert "**one** (2 messages)" in answer.text.splitlines()[0]
    assert answer.text.endswith("**bot**: answer to one")
    assert answer.picks == ()


@pytest.mark.parametrize("name", ["history", "clear", "stop"])
async def test_a_channel_without_conversations_gets_a_sentence(tmp_path: Path, name: str) -> None:
    async with bench(tmp_path) as at:
        await talk(at, ("elsewhere", thread("1", "random")))
        answer = await at.answer_in_channel(name)
        assert await at.asked_to_stop() == []
        assert await at.store.transcript(thread("1", "random"), limit=5) != []
    assert "in this channel" in answer.text and answer.picks == ()


async def test_clear_in_a_channel_with_several_conversations_asks_which_and_forgets_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await talk(at, ("one", thread("1")), ("two", thread("2")))
        answer = await at.answer_in_channel("clear")
        assert [pick.conversation for pick in answer.picks] == [thread("2"), thread("1")]
        assert "Which" in answer.text
        assert len(await at.store.conversations(limit=5)) == 2
        assert await at.run("clear", conversation=thread("2")) == (
            "2 messages of this conversation deleted. Saved files are kept."
        )
        assert [item.title for item in await at.store.conversations(limit=5)] == ["one"]


async def test_clear_in_a_channel_with_one_conversation_forgets_it_and_says_which(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await talk(at, ("one", thread("1")), ("other", thread("1", "random")))
        answer = await at.answer_in_channel("clear")
        assert [item.title for item in await at.store.conversations(limit=5)] == ["other"]
    assert "**one**" in answer.text and "2 messages of this conversation deleted" in answer.text


async def test_stop_in_a_channel_stops_the_only_open_conversation_and_says_which(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await talk(at, ("ended", thread("1")))
        await ask(at.store, "go on", conversation=thread("2"))
        await ask(at.store, "elsewhere", conversation=thread("1", "random"))
        answer = await at.answer_in_channel("stop")
        assert await at.asked_to_stop() == [(thread("2"), "chat:u1")]
    assert "**go on**" in answer.text and answer.text.endswith("Stopping.")


async def test_stop_in_a_channel_with_several_open_conversations_asks_which(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await ask(at.store, "one", conversation=thread("1"))
        await ask(at.store, "two", conversation=thread("2"))
        answer = await at.answer_in_channel("stop")
        assert await at.asked_to_stop() == []
    assert [pick.conversation for pick in answer.picks] == [thread("1"), thread("2")]


async def test_usage_in_a_channel_counts_the_asker_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await talk(at, ("one", thread("1")), ("two", thread("2")))
        await converse(
            at.store, [UserMessage(text="hi"), AssistantMessage(text="ho")], conversation=thread("3"), author_id="u2"
        )
        answer = await at.answer_in_channel("usage")
        nothing = "0 turns, 0 tokens in, 0 tokens out"
        assert answer.text.splitlines()[0] == f"- **You**: today {nothing}; this month {nothing}"
        assert "This conversation" not in answer.text and "All conversations" not in answer.text


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
    made = Commands(
        store=cast("Store", None),
        tools=ScriptedTools(specs=(tool,)),
        bell=Bell(),
        access=open_access(cast("Store", None)),
        budgets=open_budgets(cast("Store", None)),
        model_name="m",
        about="",
    )
    asked = CommandInvoked(conversation=HERE, event_key="e", author_id="u", name="tools")
    return asyncio.run(made.answer(asked)).text


@given(text=untrusted)
def test_a_tool_cannot_break_the_list_it_is_shown_in(text: str) -> None:
    hostile = ToolSpec(name="x", server=f"s{text}", tool=f"t{text}", description=f"d{text}", parameters={})
    harmless = ToolSpec(name="x", server="s", tool="t", description="d", parameters={})
    assert shape(listed(hostile)) == shape(listed(harmless))


def listed_title(title: str) -> str:
    """Return what `history` answers about two conversations of a channel, one of which has this title."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    summaries = [
        ConversationSummary(conversation=thread(name), message_count=2, last_at=at, title=text)
        for name, text in (("1", title), ("2", "harmless"))
    ]

    @dataclass
    class Listing:
        async def conversations(self, *, limit: int, prefix: str = "") -> Sequence[ConversationSummary]:
            return summaries

    made = Commands(
        store=cast("Store", Listing()),
        tools=ScriptedTools(),
        bell=Bell(),
        access=open_access(cast("Store", Listing())),
        budgets=open_budgets(cast("Store", Listing())),
        model_name="m",
        about="",
    )
    asked = CommandInvoked(conversation=HERE, event_key="e", author_id="u", name="history", is_channel_wide=True)
    answer = asyncio.run(made.answer(asked))
    assert all(pick.label.isprintable() and pick.label for pick in answer.picks)
    return answer.text


@given(title=untrusted)
def test_a_question_cannot_break_the_list_its_title_is_shown_in(title: str) -> None:
    assert shape(listed_title(f"t{title}")) == shape(listed_title("t"))


@given(description=st.text(alphabet="ab*_`[]()<>&#|~\\!-+1.", min_size=1, max_size=60))
def test_an_escaped_description_reads_as_it_was_written(description: str) -> None:
    tool = ToolSpec(name="x", server="s", tool="t", description=description, parameters={})
    assert seen(listed(tool)) == f"s: readyt: {description}"


# --- whose act it is -------------------------------------------------------------------------------------------

OPERATOR = Rights(now=ScriptedPolicy(operators=("chat:op",)))


async def say(at: Bench, name: str, argument: str = "", *, by: str, **details: Any) -> CommandAnswer:
    """Return what a command in the thread is answered."""
    return await at.commands.answer(
        CommandInvoked(conversation=thread("1"), event_key="e", author_id=by, name=name, argument=argument, **details)
    )


async def test_an_operator_sees_what_all_used(tmp_path: Path) -> None:
    async with bench(tmp_path, rights=OPERATOR) as at:
        await ask(at.store, "hi", conversation=thread("1"))
        assert "All conversations" in (await say(at, "usage", by="op")).text
        assert "All conversations" not in (await say(at, "usage", by="u1")).text


async def test_a_conversation_of_one_person_is_cleared_at_once_and_one_of_several_after_a_confirmation(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as at:
        words = [UserMessage(text="hi"), AssistantMessage(text="ho")]
        await converse(at.store, words, conversation=thread("1"), author_id="u1")
        assert "2 messages" in (await say(at, "clear", by="u1")).text
        await converse(at.store, words, conversation=thread("1"), author_id="u1")
        await converse(at.store, words, conversation=thread("1"), author_id="u2")
        first = await say(at, "clear", by="u1")
        assert first.confirms and "You are not the only one who spoke here." in first.text
        assert len(await at.store.transcript(thread("1"), limit=9)) == 4
        assert "4 messages" in (await say(at, "clear", by="u1", is_confirmed=True)).text
        assert [line.entry.outcome for line in await at.store.audit_lines()] == ["clear", "clear"]


async def test_what_was_asked_at_the_terminal_before_people_had_names_there_is_the_persons_own(tmp_path: Path) -> None:
    here = ConversationKey(platform="console", space="local", channel="default")
    async with bench(tmp_path) as at:
        for author in ("console", "ann"):
            words = [UserMessage(text="hi"), AssistantMessage(text="ho")]
            await converse(at.store, words, conversation=here, author_id=author)

        async def said(name: str) -> CommandAnswer:
            return await at.commands.answer(
                CommandInvoked(conversation=here, event_key="e", author_id="ann", name=name)
            )

        assert (await said("clear")).text.startswith("4 messages")  # without a confirmation: nobody else took part


async def test_others_are_told_who_may_clear_a_shared_conversation_even_where_they_confirm(tmp_path: Path) -> None:
    async with bench(tmp_path, rights=OPERATOR) as at:
        words = [UserMessage(text="hi"), AssistantMessage(text="ho")]
        for author in ("u1", "u2"):
            await converse(at.store, words, conversation=thread("1"), author_id=author)
        refused = await say(at, "clear", by="u2", is_confirmed=True)
        assert refused.text == (
            "Other people have spoken here as well. The person who began this conversation or an operator can clear it."
        )
        assert not refused.confirms
        assert [line.entry.kind for line in await at.store.audit_lines()] == ["refused"]
        assert (await say(at, "clear", by="u3", standing=Standing(is_moderator=True))).confirms
        assert (await say(at, "clear", by="op")).confirms


async def test_an_answer_is_stopped_by_who_asked_by_a_moderator_and_by_an_operator_alone(tmp_path: Path) -> None:
    async with bench(tmp_path, rights=OPERATOR) as at:
        await ask(at.store, "one", conversation=thread("1"), author_id="u1")
        assert "Someone else asked" in (await say(at, "stop", by="u2")).text
        assert await at.asked_to_stop() == []
    async with bench(tmp_path / "two", rights=OPERATOR) as at:
        await ask(at.store, "one", conversation=thread("1"), author_id="u1")
        await ask(at.store, "two", conversation=thread("1"), author_id="u2")
        assert (await say(at, "stop", by="u2")).text == "Stopping."  # the own one, which is queued behind another
        assert await at.asked_to_stop() == []
        assert (await say(at, "stop", by="u3", standing=Standing(is_moderator=True))).text == "Stopping."
        kinds = [(line.entry.kind, line.entry.person, line.entry.outcome) for line in await at.store.audit_lines()]
        assert kinds == [("act", "chat:u3", "stop")]  # stopping what is one's own is no act of an operator


async def test_a_stop_button_stops_its_own_turn_or_none_with_the_rights_of_the_command(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, rights=OPERATOR) as at:
        first = await ask(at.store, "one", conversation=thread("1"), author_id="u1")
        second = await ask(at.store, "two", conversation=thread("1"), author_id="u2")
        assert "Someone else asked" in (await say(at, "stop", by="u2", turn_id=first)).text
        assert "not being worked on" in (await say(at, "stop", by="op", turn_id=second + 1)).text
        assert (await say(at, "stop", by="op", turn_id=first)).text == "Stopping."
        await at.store.heartbeat(WORKER, lease_s=60)
        [turn] = await at.store.claim(WORKER, serves=[""], limit=5)
        assert (turn.lease.turn_id, turn.stop_requested) == (first, True)


# --- a call without the model ----------------------------------------------------------------------------------

DEPLOY = ToolSpec(
    name="deploys__deploy",
    server="deploys",
    tool="deploy",
    description="Deploy it.",
    parameters={"type": "object", "properties": {"env": {"type": "string"}}, "required": ["env"]},
)
PING = replace(DEPLOY, name="deploys__ping", tool="ping", parameters={"type": "object", "properties": {}})


@pytest.mark.parametrize("name", ["deploys/deploy", "deploys.deploy", "deploys__deploy", "deploy"])
async def test_run_shows_the_form_of_a_tool_however_it_is_named(tmp_path: Path, name: str) -> None:
    async with bench(tmp_path, ScriptedTools(specs=(DEPLOY, PING))) as at:
        form = (await say(at, "run", name, by="u1")).form
        assert form is not None and form.target == "run:deploys__deploy"
        assert [(field.name, field.is_required) for field in form.fields] == [("env", True)]


async def test_run_makes_the_call_where_its_arguments_are_given_or_there_are_none(tmp_path: Path) -> None:
    async with bench(tmp_path, ScriptedTools(specs=(DEPLOY, PING))) as at:
        ready = (await say(at, "run", 'deploys/deploy {"env":  "a  b"}', by="u1")).ready
        assert ready is not None
        assert ready.run == RunRequest(name="deploys__deploy", arguments='{"env": "a  b"}')
        assert ready.text == '/run deploys/deploy {"env": "a  b"}'
        ready = (await say(at, "run", "deploys/ping", by="u1")).ready
        assert ready is not None and ready.text == "/run deploys/ping"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", "Name a tool as `run SERVER/TOOL`"),
        ("deploys/deplou", "Did you mean `deploys/deploy`"),
        ("deploys/deploy [1]", "is not one JSON object"),
        ("deploys/deploy " + "[" * 100_000, "is not one JSON object"),
        ("deploys/deploy {}", "was not run: it needs `env` too. `run deploys/deploy` without arguments shows a form"),
        ('deploys/deploy {"Env": "prod"}', "it needs `env` too"),
    ],
)
async def test_run_says_what_is_wrong_and_how_it_goes(tmp_path: Path, argument: str, said: str) -> None:
    async with bench(tmp_path, ScriptedTools(specs=(DEPLOY, PING))) as at:
        answer = await say(at, "run", argument, by="u1")
        assert said in answer.text and answer.form is None and answer.ready is None


async def test_run_says_that_the_tools_server_is_away_and_why(tmp_path: Path) -> None:
    away = ServerStatus(server="dead", replica="x", state="down", detail="there is no program 'x'.")
    async with bench(tmp_path, ScriptedTools(specs=(PING,), servers=(away,))) as at:
        for argument in ("dead/deploy", "dead.deploy {}"):
            said = (await say(at, "run", argument, by="u1")).text
            assert said.startswith("The tool server `dead` is not ready: there is no program 'x'. Please try again")
        assert "You cannot use" in (await say(at, "run", "deader/deploy", by="u1")).text


# --- what the asker may use ------------------------------------------------------------------------------------


async def test_tools_marks_what_asks_and_names_what_is_not_for_the_asker_here() -> None:
    async def prospects(_asker: Asker, _specs: Sequence[ToolSpec]) -> Mapping[str, Prospect]:
        return {"deploys__deploy": "ask", "deploys__ping": "deny"}

    asker = Asker(actor=thread("1").person("u1"), place="chat:team:general")
    text = await describe_tools(ScriptedTools(specs=(DEPLOY, PING)), asker=asker, prospects=prospects)
    assert "- `deploy` (asks first): Deploy it." in text
    assert "- `ping`" not in text and "**Not for you here**: `deploys/ping`" in text


# --- what waits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("approvers", "place", "is_listed"),
    [
        (("*",), "chat:team:general", True),
        (("*",), "chat:team:private", False),
        (("chat:u2",), "chat:team:private", True),
    ],
)
def test_what_everybody_can_decide_is_listed_only_where_it_is_asked(
    approvers: tuple[str, ...], place: str, is_listed: bool
) -> None:
    channel = place.rpartition(":")[2]
    ask_of_ada = ApprovalAsk(
        server="deploys",
        tool="deploy",
        name="deploys__deploy",
        arguments="{}",
        digest="d",
        rule="r",
        rule_key="k",
        reason="It acts.",
        terms=Terms(approvers=approvers),
    )
    record = AskRecord(
        id=1,
        turn_id=1,
        round=0,
        call_id="c",
        conversation=thread("1", channel),
        event_key="e",
        asker="chat:u1",
        asker_id="u1",
        asker_name="Ada",
        ask=ask_of_ada,
        state="pending",
        created_at=0.0,
        expires_at=1.0,
    )
    person = Person(id="chat:u2", names=frozenset({"chat:u2"}))
    assert may_decide(record, person, ScriptedPolicy(), place="chat:team:general") is is_listed
