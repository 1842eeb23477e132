"""Questions that a content filter refuses: people keep them, the model does not, and the conversation goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bot.domain.events import Earlier, MessageReceived, Quoted
from bot.domain.messages import AssistantMessage, ToolCall, ToolResult, UserMessage
from bot.models.factory import open_model
from bot.ports.store import Store
from bot.settings import Settings
from bot.stores.factory import open_store
from bot.turns.loop import FILTERED_HISTORY
from tests.fakes.bots import Bot, ended, open_bot
from tests.fakes.openai import serve_openai
from tests.fakes.openai.strictness import FLAGGED
from tests.fakes.ports import CONVERSATION, RecordingAdapter, ScriptedTools, message


@dataclass
class Talk:
    """One conversation with the bot, whose model is behind an endpoint with Azure's filter."""

    bot: Bot
    store: Store
    control: httpx2.AsyncClient
    adapter: RecordingAdapter
    said: list[str] = field(default_factory=list[str])

    async def ask(self, text: str, **facts: object) -> str:
        """Ask and return the state in which the turn ended."""
        self.said.append(text)
        event = message(text, key=f"fake:{len(self.said)}")
        turn_id = await self.bot.say(replace(event, **facts))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        [state] = await ended(self.bot, self.adapter, [turn_id])
        return state

    async def last_prompt(self) -> list[str]:
        """Return the texts of the last request, without the system's."""
        told = (await self.control.get("/control/requests")).json()["requests"][-1]
        return [str(one["content"]) for one in told["messages"][1:]]

    @property
    def answers(self) -> list[str]:
        return [post.text for post in self.adapter.posts]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{tmp_path}/toolbridge.db") as store:
        yield store


class Thread(RecordingAdapter):
    """A platform where these messages precede each question."""

    def __init__(self, *messages: Quoted) -> None:
        super().__init__()
        self.messages = messages

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        return Earlier(messages=self.messages)


@asynccontextmanager
async def talk(
    store: Store, tools: ScriptedTools | None = None, adapter: RecordingAdapter | None = None
) -> AsyncGenerator[Talk]:
    adapter = adapter or RecordingAdapter()
    async with asyncio.timeout(60), serve_openai(control=True) as url:
        given: dict[str, Any] = {"openai_base_url": url, "openai_model": "m"}
        settings = Settings(_env_file=None, **given)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        async with (
            open_model(settings) as model,
            httpx2.AsyncClient(base_url=url.removesuffix("/v1"), trust_env=False) as control,
            open_bot(store, model, adapter, tools, worker="w") as bot,
        ):
            yield Talk(bot, store, control, adapter)


async def test_a_refused_question_is_kept_for_people_and_not_for_the_model(store: Store) -> None:
    async with talk(store) as chat:
        assert await chat.ask("hello") == "answered"
        assert await chat.ask(FLAGGED) == "failed"
        assert await chat.ask("are you there?") == "answered"
        prompt = await chat.last_prompt()
    assert "content filter refused this" in chat.answers[1]
    assert prompt[0] == "hello" and prompt[-1] == "are you there?" and FLAGGED not in str(prompt)
    assert not any("content filter" in text for text in prompt)
    kept = [entry.message for entry in await store.transcript(CONVERSATION, limit=10)]
    assert UserMessage(text=FLAGGED, is_withheld=True) in kept


async def test_a_history_that_the_filter_refuses_is_left_behind_with_a_note(store: Store) -> None:
    # Another model, or another filter, took the words when they were said.
    async with talk(store) as chat:
        await chat.control.post("/control/strictness", json={"lenient": True})
        assert await chat.ask(f"remember {FLAGGED}") == "answered"
        await chat.control.post("/control/strictness", json={"lenient": False})
        assert await chat.ask("are you there?") == "answered"
        assert await chat.ask("and now?") == "answered"
        prompt = await chat.last_prompt()
    assert FILTERED_HISTORY in chat.answers[1] and FILTERED_HISTORY not in chat.answers[2]
    assert prompt[0] == "are you there?" and FLAGGED not in str(prompt)


async def test_a_result_that_the_filter_refuses_does_not_spoil_the_conversation(store: Store) -> None:
    async def read(call: ToolCall) -> ToolResult:
        return ToolResult(call_id=call.id, text=f"a page with {FLAGGED}")

    async with talk(store, ScriptedTools({"web__read": read})) as chat:
        await chat.control.post("/control/script", json={"answers": [{"tool_calls": [{"name": "web__read"}]}]})
        assert await chat.ask("read it") == "failed"
        assert await chat.ask("are you there?") == "answered"
        assert await chat.last_prompt() == ["are you there?"]
    assert isinstance((await store.transcript(CONVERSATION, limit=10))[1].message, AssistantMessage)


# --- words that come back as what a question points at ----------------------------------------------------------


@pytest.mark.parametrize(
    "seen",
    [
        Quoted(relation="earlier", text=FLAGGED, author="Ada"),
        Quoted(relation="earlier", text=f"@Toolbridge  {FLAGGED}", author="Ada"),
        Quoted(relation="earlier", text=f"shown with other words: {FLAGGED}", author="Ada", reference="1"),
    ],
    ids=["by its words", "by its words, with a mention", "by its reference"],
)
async def test_a_refused_question_does_not_come_back_with_the_thread_or_a_reply(store: Store, seen: Quoted) -> None:
    said = Quoted(relation="earlier", text="lunch is at noon", author="Ben", reference="0")
    async with talk(store, adapter=Thread(said, seen)) as chat:
        assert await chat.ask(FLAGGED) == "failed"
        assert await chat.ask("when is lunch?", has_earlier=True) == "answered"
        prompt = (await chat.last_prompt())[-1]
        assert await chat.ask("and this?", quoted=(replace(seen, relation="reply"),)) == "answered"
        reply = (await chat.last_prompt())[-1]
    assert "lunch is at noon" in prompt and "the model's content filter refused" in prompt and FLAGGED not in prompt
    assert "content filter had refused what was asked there" in chat.answers[1]
    assert "the model's content filter refused" in reply and FLAGGED not in reply


async def test_what_others_said_in_the_thread_and_the_filter_refuses_is_left_behind_with_a_note(store: Store) -> None:
    seen = Quoted(relation="earlier", text=f"look: {FLAGGED}", author="Ben")
    async with talk(store, adapter=Thread(seen)) as chat:
        assert await chat.ask("what do you think?", has_earlier=True) == "answered"
        prompt = await chat.last_prompt()
    assert prompt == ["what do you think?"]
    assert FILTERED_HISTORY in chat.answers[0]
