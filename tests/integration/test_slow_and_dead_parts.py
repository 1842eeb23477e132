"""One part is slow, dead or broken: its people are told what to do, nobody else waits, and work goes on by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from bot.domain.answers import Known, Queued
from bot.domain.backoff import Backoff
from bot.domain.errors import StoreError
from bot.domain.messages import ModelAnswer, ToolMessage, ToolResult
from bot.domain.turns import TurnView
from bot.models.endpoint import Patience
from bot.models.factory import open_model
from bot.ports.model import Model, ModelRequest
from bot.ports.platform import Adapter
from bot.ports.store import Store
from bot.settings import Settings
from bot.stores.sqlite.migrate import USABLE_FROM
from bot.stores.sqlite.store import open_sqlite
from bot.stores.store import EngineStore
from bot.tools.toolset import Toolset
from bot.turns.context import Window
from bot.turns.limits import Limits
from tests.fakes import mcp_servers
from tests.fakes.bots import open_bot
from tests.fakes.database import locked
from tests.fakes.mcp_servers.processes import QUICK, call, process, until
from tests.fakes.openai import serve_openai
from tests.fakes.platforms import Platform, room
from tests.fakes.ports import ScriptedModel, calls, message, says
from tests.integration.test_runner import Core, core
from tests.scenarios.conftest import Ran, Toolbridge, serving

WAIT_S = 30.0
BUSY_TIMEOUT_S = 0.2
WINDOW = Window(max_messages=50, max_tokens=100_000, count=len)
OLDTIMER = Path(mcp_servers.__file__).parent / "oldtimer.py"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_sqlite(tmp_path / "a.db", busy_timeout_s=BUSY_TIMEOUT_S) as store:
        yield store


@pytest.fixture
def toolbridge(tmp_path: Path) -> Toolbridge:
    folder = tmp_path / "folder"
    folder.mkdir()
    return Toolbridge(home=tmp_path / "home", folder=folder)


async def say(bot: Core, text: str, *, channel: str = "general", platform: str = "fake") -> int:
    """Send a message and return its turn: it was acknowledged, so it has to be answered."""
    outcome = await bot.inbox.accept(
        message(text, key=f"{platform}:{channel}:{text}", conversation=room(channel, platform=platform))
    )
    assert isinstance(outcome, Queued | Known)
    return outcome.turn_id


def answers_of(platform: Platform, channel: str) -> list[str]:
    return [post.text for post in platform.posts if post.conversation.channel == channel]


async def seen(platform: Platform, text: str) -> TurnView:
    """Return the first view with a notice that contains the text, as soon as there is one."""

    def found() -> TurnView | None:
        return next((view for view in platform.views if text in view.notice), None)

    await until(found, timeout_s=WAIT_S)
    view = found()
    assert view is not None
    return view


def echo(*, before: Mapping[str, Callable[[], Awaitable[object]]] | None = None) -> ScriptedModel:
    """A model that answers `re: ` and the question; with some questions something else has to happen before."""

    async def answer(request: ModelRequest) -> ModelAnswer:
        question = request.messages[-1].text
        if before and question in before:
            await before[question]()
        return says(f"re: {question}")

    return ScriptedModel([answer])


# --- the model -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def real_model(url: str) -> AsyncGenerator[Model]:
    settings = Settings(_env_file=None, openai_base_url=url, openai_model="rehearsal")  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
    patience = Patience(backoff=Backoff(first_s=0.01), fault_retries=1)
    async with open_model(settings, patience=patience) as model:
        yield model


async def test_a_model_that_stalls_holds_up_its_own_conversation_alone_and_only_until_the_turns_deadline(
    store: Store,
) -> None:
    platform = Platform()
    async with (
        serving() as endpoint,
        real_model(endpoint.url) as model,
        core(store, model, adapter=platform, limits=Limits(turn_timeout_s=4)) as bot,
    ):
        await endpoint.fail("stall", after_chunks=0)
        stalled = await say(bot, "hello", channel="stalled")
        async with asyncio.timeout(WAIT_S):
            await endpoint.next_request()
        for channel in "abc":
            await say(bot, "What is 6 * 7?", channel=channel)
        await platform.wait_for_posts(3)
        assert answers_of(platform, "stalled") == []
        assert await bot.ended(stalled, platform) == "failed"
        (sentence,) = answers_of(platform, "stalled")
        assert "TURN_TIMEOUT_S" in sentence and "less at once" in sentence
        assert await bot.ended(await say(bot, "What is 2 + 2?", channel="stalled"), platform) == "answered"


async def test_a_model_that_is_down_for_two_turns_says_so_and_answers_the_third(store: Store) -> None:
    platform = Platform()
    async with serve_openai() as url:
        port = urlsplit(url).port or 0
    async with real_model(url) as model, core(store, model, adapter=platform) as bot:
        for question in ("one", "two"):
            assert await bot.ended(await say(bot, question), platform) == "failed"
        async with serve_openai(port=port):
            assert await bot.ended(await say(bot, "hello"), platform) == "answered"
    *failures, _ = answers_of(platform, "general")
    assert all("cannot be reached" in text and "OPENAI_BASE_URL" in text for text in failures)


# --- tool servers ----------------------------------------------------------------------------------------------


def tool_user() -> ScriptedModel:
    """A model that calls the tool which the question names, and answers with its result."""

    async def answer(request: ModelRequest) -> ModelAnswer:
        last = request.messages[-1]
        return says(last.text) if isinstance(last, ToolMessage) else calls(last.text)

    return ScriptedModel([answer])


async def test_a_tool_server_that_never_answers_is_told_as_that_and_holds_up_no_other_conversation(
    store: Store,
) -> None:
    platform = Platform()
    servers = [process("dumb", "oldtimer", timeout_s=2.0), process("old", "oldtimer")]
    async with (
        Toolset(servers, timing=QUICK, offer_wait_s=WAIT_S) as tools,
        core(store, tool_user(), tools, platform) as bot,
    ):
        await tools.offer(None)
        await say(bot, "dumb__hang", channel="hanging")
        for channel in "abc":
            await say(bot, "old__count", channel=channel)
        *others, last = await platform.wait_for_posts(4)
        assert others == ["count"] * 3
        assert "gave no answer within 2 s" in last and "may have run" in last


async def test_a_server_that_never_begins_is_left_out_and_said(store: Store) -> None:
    platform = Platform()
    servers = [process("mute", "oldtimer", "mute"), process("old", "oldtimer")]
    async with (
        Toolset(servers, timing=QUICK, offer_wait_s=1.0) as tools,
        core(store, tool_user(), tools, platform) as bot,
    ):
        await say(bot, "old__count", channel="a")
        await say(bot, "mute__count", channel="b")
        await platform.wait_for_posts(2)
        assert answers_of(platform, "a") == ["count"]
        (sentence,) = answers_of(platform, "b")
        assert "'mute' is not ready" in sentence


async def test_a_tool_server_that_answers_garbage_harms_neither_the_bot_nor_its_other_calls() -> None:
    servers = [process("odd", "babbler", timeout_s=6.0), process("old", "oldtimer")]
    kinds = ["noise", "bytes", "shape", "content", "stranger", "list", "flood", "nothing", "sense"]
    async with asyncio.timeout(WAIT_S), Toolset(servers, timing=QUICK, offer_wait_s=WAIT_S) as tools:
        await tools.offer(None)
        results = dict(zip(kinds, await asyncio.gather(*(call(tools, f"odd__{kind}") for kind in kinds)), strict=True))
        other = await call(tools, "old__count")
        assert (other.outcome, other.text) == ("ok", "count")
        understood = {kind for kind, result in results.items() if result.outcome == "ok"}
        assert understood == {"content", "flood", "list", "sense"}
        # Not "timeout": a reply that cannot be read answers its call at once.
        assert [results[kind].outcome for kind in ("shape", "nothing")] == ["interrupted", "interrupted"]
        assert all(is_told(result) for result in results.values())
        assert (await call(tools, "odd__sense")).text == "a clear answer"


def is_told(result: ToolResult) -> bool:
    return result.outcome == "ok" or "not valid" in result.text or "gave no answer" in result.text


# --- the platform ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving_platforms(store: Store, model: Model, *adapters: Adapter, max_running: int) -> AsyncGenerator[Core]:
    first, *others = adapters
    async with open_bot(
        store,
        model,
        first,
        worker="here",
        more_adapters=others,
        limits=Limits(drain_s=0.2, max_running=max_running),
        max_messages=50,
        max_tokens=100_000,
    ) as bot:
        yield Core(bot)


async def test_a_platform_that_answers_429_for_a_minute_gets_each_post_once_and_holds_up_no_other_platform(
    store: Store,
) -> None:
    slow, quick = Platform("slow"), Platform("quick")
    slow.is_busy = True
    async with serving_platforms(store, echo(), slow, quick, max_running=3) as bot:
        for number in range(6):  # twice as many as may run at once
            await say(bot, "first", channel=f"c{number}", platform="slow")
            await say(bot, "second", channel=f"c{number}", platform="slow")
        await until(lambda: slow.refusals >= 60, timeout_s=WAIT_S)  # a minute of waits of a second each
        await say(bot, "hello", platform="quick")
        assert await quick.wait_for_posts(1) == ["re: hello"]
        assert slow.posts == []
        slow.is_busy = False
        await slow.wait_for_posts(12)
        assert [answers_of(slow, f"c{number}") for number in range(6)] == [["re: first", "re: second"]] * 6
    assert len(slow.posts) == 12


async def test_a_platform_that_is_gone_keeps_its_answers_until_it_is_back_and_holds_up_no_other(
    store: Store,
) -> None:
    gone, quick = Platform("gone"), Platform("quick")
    gone.is_gone = True
    model = echo()
    async with serving_platforms(store, model, gone, quick, max_running=1) as bot:
        await say(bot, "hello", platform="gone")
        await until(lambda: gone.refusals, timeout_s=WAIT_S)
        await say(bot, "hello", platform="quick")
        await quick.wait_for_posts(1)
        gone.is_gone = False
        assert await gone.wait_for_posts(1) == ["re: hello"]
    assert len(model.requests) == 2


async def test_an_adapter_that_cannot_show_progress_posts_the_answer_all_the_same(store: Store) -> None:
    platform, model = Platform(), echo()
    platform.is_blind = True
    async with core(store, model, adapter=platform) as bot:
        await say(bot, "hello")
        await platform.wait_for_posts(1)
        await say(bot, "again")
        assert await platform.wait_for_posts(2) == ["re: hello", "re: again"]
    assert len(model.requests) == 2


# --- the database, while the bot runs --------------------------------------------------------------------------


async def test_a_database_that_another_process_locks_in_the_middle_of_a_turn_is_said_and_waited_for(
    store: Store, tmp_path: Path
) -> None:
    platform, asked, go_on = Platform(), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        asked.set()
        await go_on.wait()

    async with core(store, echo(before={"hello": wait}), adapter=platform) as bot:
        await say(bot, "hello")
        async with asyncio.timeout(WAIT_S):
            await asked.wait()
        with locked(tmp_path / "a.db"):
            go_on.set()
            view = await seen(platform, "another process has locked it; end that process or try again")
            assert "Trying again in 1 s." in view.notice
            with pytest.raises(StoreError, match="another process has locked it"):
                await say(bot, "not acknowledged", channel="other")
        await say(bot, "later", channel="other")
        await platform.wait_for_posts(2)
    assert sorted(post.text for post in platform.posts) == ["re: hello", "re: later"]


async def test_a_full_disk_loses_nothing_that_was_acknowledged_and_work_goes_on_when_there_is_room_again(
    store: Store,
) -> None:
    platform, is_full, long = Platform(), False, "x" * 9_000

    async def answer(request: ModelRequest) -> ModelAnswer:
        nonlocal is_full
        if not is_full:
            await limit_pages(store, 1)
            is_full = True
        return says(long if request.messages[-1].text == "hello" else "short")

    async with core(store, ScriptedModel([answer]), adapter=platform) as bot:
        await say(bot, "hello")
        await seen(platform, "the disk is full; free some space")
        events = [message("y" * 900, key=f"m{number}", conversation=room(number)) for number in range(30)]
        outcomes = await asyncio.gather(*(bot.inbox.accept(event) for event in events), return_exceptions=True)
        refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert {type(refusal) for refusal in refusals} == {StoreError}
        assert all("the disk is full; free some space" in str(refusal) for refusal in refusals)
        assert answers_of(platform, "general") == []
        await limit_pages(store, 1_000_000)
        await say(bot, "and now?", channel="other")
        taken = {str(number) for number, outcome in enumerate(outcomes) if isinstance(outcome, Queued)}
        await platform.wait_for_posts(2 + len(taken))
        assert {post.conversation.channel for post in platform.posts} == {"general", "other", *taken}
    assert len(platform.posts) == 2 + len(taken)
    assert answers_of(platform, "general") == [long]


async def limit_pages(store: Store, count: int) -> None:
    """Limit the file to so many pages, or to those it has; SQLite then answers as on a full disk."""
    assert isinstance(store, EngineStore)
    await store.engine.write(lambda db: db.execute(f"PRAGMA max_page_count = {count}"), is_urgent=True)


async def test_a_damaged_page_ends_the_conversation_it_belongs_to_with_a_sentence_and_no_other(tmp_path: Path) -> None:
    path, platform = tmp_path / "b.db", Platform()
    async with open_sqlite(path) as store, core(store, ScriptedModel([says("A" * 40_000)]), adapter=platform) as bot:
        await bot.ended(await say(bot, "fill some pages", channel="damaged"), platform)
    damage_pages_full_of(b"A", path)
    platform = Platform()
    limits = Limits(retry_s=0.01)
    async with open_sqlite(path) as store, core(store, echo(), adapter=platform, limits=limits) as bot:
        damaged = await say(bot, "hello?", channel="damaged")
        assert await bot.ended(await say(bot, "hello", channel="whole"), platform) == "answered"
        assert await bot.ended(damaged, platform) == "failed"
        await seen(platform, "the file is damaged; restore a backup, or move it away")
        assert "tell your operator" in answers_of(platform, "damaged")[0]
        with pytest.raises(StoreError, match="the file is damaged"):
            await store.check()


def damage_pages_full_of(byte: bytes, path: Path, *, page_size: int = 4096) -> None:
    content = path.read_bytes()
    pages = [content[start : start + page_size] for start in range(0, len(content), page_size)]
    is_full = [page[8:] == byte * (page_size - 8) for page in pages]
    assert any(is_full)
    damaged = [b"\xff" * page_size if full else page for page, full in zip(pages, is_full, strict=True)]
    path.write_bytes(b"".join(damaged))


# --- the database, at the start --------------------------------------------------------------------------------


async def made(toolbridge: Toolbridge) -> Path:
    """Return a database file as an earlier start has left it."""
    path = toolbridge.home / "toolbridge.db"
    async with open_sqlite(path) as store:
        await store.accept(message("hello"), worker="earlier", max_waiting=20)
    return path


async def start_and_examine(toolbridge: Toolbridge) -> tuple[Ran, Ran]:
    toolbridge.write_mcp_json({})
    return await asyncio.gather(toolbridge.ask("hello"), toolbridge.run("doctor"))


def assert_said(chat: Ran, doctor: Ran, sentence: str) -> None:
    assert (chat.code, doctor.code) == (1, 1)
    assert chat.out == ""
    assert sentence in chat.err
    (line,) = [line for line in doctor.out.splitlines() if line.startswith("failed store")]
    assert sentence in line


@pytest.mark.parametrize("damage", ["header", "newer", "locked"])
async def test_a_database_that_cannot_be_used_is_said_at_the_start_with_what_to_do(
    toolbridge: Toolbridge, damage: str
) -> None:
    path = await made(toolbridge)
    match damage:
        case "header":
            path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])
            assert_said(
                *await start_and_examine(toolbridge), f"The database {path} refused to work: the file is damaged"
            )
        case "newer":
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA user_version = 99")
                connection.execute("UPDATE note SET text = '99' WHERE name = ?", (USABLE_FROM,))
            assert_said(*await start_and_examine(toolbridge), "Upgrade Toolbridge, or set TOOLBRIDGE_HOME")
        case _:
            with locked(path):
                ran = await start_and_examine(toolbridge)
            assert_said(*ran, "another process has locked it; end that process or try again")


async def test_the_doctor_finds_a_damaged_page_that_nothing_has_read_yet(toolbridge: Toolbridge) -> None:
    path, platform = toolbridge.home / "toolbridge.db", Platform()
    async with open_sqlite(path) as store, core(store, ScriptedModel([says("A" * 40_000)]), adapter=platform) as bot:
        await bot.ended(await bot.say("fill some pages"), platform)
    damage_pages_full_of(b"A", path)
    toolbridge.write_mcp_json({})
    ran = await toolbridge.run("doctor")
    assert ran.code == 1
    assert "failed store: The database refused to work: the file is damaged" in ran.out
    assert str(path) in ran.out


async def test_a_disk_that_fills_up_under_a_chat_is_said_there_and_the_answer_comes_when_there_is_room(
    toolbridge: Toolbridge,
) -> None:
    """No file of the process may grow for a while; SQLite takes that for a failed disk."""
    ran = toolbridge.folder / "calls.txt"
    old = {"command": sys.executable, "args": [str(OLDTIMER)], "env": {"CALLS_FILE": str(ran)}, "trusted": True}
    toolbridge.write_mcp_json({"old": old})
    process = await toolbridge.start("chat", "-m", 'call old__slow with {"seconds": 1}')
    assert process.stderr is not None
    try:
        await until(ran.exists, timeout_s=WAIT_S)
        bot = psutil.Process(process.pid)
        bot.rlimit(psutil.RLIMIT_FSIZE, (1, psutil.RLIM_INFINITY))
        async with asyncio.timeout(WAIT_S):
            said = await process.stderr.readuntil(b"Trying again in 1 s.")
            bot.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert "the disk is full or fails (SQLITE_IOERR_WRITE); free some space" in said.decode()
    assert process.returncode == 0
    assert "was not run again" in out.decode()
    assert "Traceback" not in (said + err).decode() and "Logging error" not in (said + err).decode()
    assert ran.read_text().split() == ["slow"]
