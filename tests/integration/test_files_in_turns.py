"""A question with files from its acceptance to its post: what the model gets, what the user is told, what is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from bot.domain.errors import AdapterError, ModelUnavailableError
from bot.domain.events import ConversationKey, SharedFile
from bot.domain.messages import AssistantMessage, Attachment, Message, UserMessage
from bot.models.factory import open_model
from bot.ports.model import Model
from bot.ports.store import Store
from bot.ports.work_store import ClaimedTurn
from bot.settings import Settings
from bot.turns.limits import Limits
from tests.fakes.bots import Bot, notice_of, open_bot, turn_of
from tests.fakes.openai import serve_openai
from tests.fakes.ports import (
    CONVERSATION,
    RecordingAdapter,
    ScriptedModel,
    ScriptedTools,
    calls,
    message,
    returns,
    says,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2337)
NOTES = SharedFile(name="notes.txt", mime_type="text/plain", size=6, reference="F1")
CAT = SharedFile(name="cat.png", mime_type="image/png", size=len(PNG), reference="F2")
REPORT = SharedFile(name="report.pdf", mime_type="application/pdf", size=10, reference="F3")
GONE = SharedFile(name="gone.txt", mime_type="text/plain", size=10, reference="F4")
SEEN = Attachment(name="cat.png", mime_type="image/png", data=PNG)
NOT_READ = "The file `report.pdf` was not read: only text files and images (PNG, JPEG, GIF, WebP) can be taken."


class FilesPlatform(RecordingAdapter):
    """A platform that lets people send files along."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[tuple[str, ConversationKey, int]] = []
        self.hangs = asyncio.Event()  # set by a fetch of a file that never arrives

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        self.fetched.append((file.reference, conversation, max_bytes))
        if file.reference == "endless":
            self.hangs.set()
            await asyncio.Event().wait()
        content = {"F1": b"thanks", "F2": PNG}.get(file.reference)
        if content is None:
            raise AdapterError("The file is not on the platform any more.")
        return content


class Core:
    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.store = bot.store

    async def send(self, text: str, *files: SharedFile) -> None:
        outcome = await self.bot.receive(replace(message(text), files=files))
        assert turn_of(outcome) is not None, notice_of(outcome)

    async def kept(self) -> list[Message]:
        return [entry.message for entry in await self.store.transcript(CONVERSATION, limit=100)]


@asynccontextmanager
async def core(
    store: Store, model: Model, adapter: RecordingAdapter, *, limits: Limits | None = None, max_tokens: int = 100_000
) -> AsyncGenerator[Core]:
    async with open_bot(
        store,
        model,
        adapter,
        ScriptedTools({"look": returns("seen")}),
        worker="worker",
        limits=limits or Limits(drain_s=0.2, retry_s=0.01),
        max_messages=50,
        max_tokens=max_tokens,
    ) as bot:
        yield Core(bot)


def asked(model: ScriptedModel, number: int = 0) -> UserMessage:
    question = [one for one in model.requests[number].messages if isinstance(one, UserMessage)][-1]
    assert isinstance(question, UserMessage)
    return question


# --- what the model gets and what is kept ------------------------------------------------------------------------


async def test_text_files_and_images_are_in_the_question_in_every_round(store: Store) -> None:
    adapter, model = FilesPlatform(), ScriptedModel([calls("look"), says("A cat.")])
    async with core(store, model, adapter, limits=Limits(max_file_bytes=5000)) as bot:
        await bot.send("What is this?", NOTES, CAT)
        assert await adapter.wait_for_posts(1) == ["A cat."]
    file = "⟦The file `notes.txt` was sent with this message:⟧\n```txt\nthanks\n```"
    question = UserMessage(text="What is this?", attached=file, images=(SEEN,))
    assert asked(model, 0) == asked(model, 1) == question
    assert sorted(adapter.fetched) == [("F1", CONVERSATION, 5000), ("F2", CONVERSATION, 5000)]


async def test_the_history_keeps_the_text_and_for_each_image_a_sentence(store: Store) -> None:
    adapter, model = FilesPlatform(), ScriptedModel([says("A cat."), says("As I said.")])
    async with core(store, model, adapter) as bot:
        await bot.send("What is this?", NOTES, CAT)
        await adapter.wait_for_posts(1)
        await bot.send("And now?")
        await adapter.wait_for_posts(2)
        question = (await bot.kept())[0]
    assert isinstance(question, UserMessage) and question.images == ()
    assert question.text == "What is this?" and "thanks" in question.attached
    assert question.attached.endswith("⟦The image `cat.png` was sent with this message; it is not kept.⟧")
    assert model.requests[1].messages[0] == question


async def test_what_was_not_read_is_told_to_the_model_and_to_the_user(store: Store) -> None:
    adapter, model = FilesPlatform(), ScriptedModel([says("I have no report.")])
    async with core(store, model, adapter) as bot:
        await bot.send("Sum it up", REPORT, GONE)
        [post] = await adapter.wait_for_posts(1)
        kept = await bot.kept()
    gone = "The file `gone.txt` was not read: The file is not on the platform any more."
    assert post == f"I have no report.\n\n_{NOT_READ}_\n\n_{gone}_"
    assert (asked(model).text, asked(model).attached) == ("Sum it up", f"⟦{NOT_READ}⟧\n\n⟦{gone}⟧")
    assert kept == [asked(model), AssistantMessage(text=post)]


async def test_a_platform_that_has_no_files_to_give_says_so(store: Store) -> None:
    adapter = RecordingAdapter()
    async with core(store, ScriptedModel([says("Hm.")]), adapter) as bot:
        await bot.send("See", NOTES)
        assert await adapter.wait_for_posts(1) == [
            "Hm.\n\n_The file `notes.txt` was not read: the bot cannot take files here._"
        ]


async def test_a_small_model_is_not_given_more_text_than_it_can_read(store: Store) -> None:
    adapter, model = FilesPlatform(), ScriptedModel([says("Short.")])
    async with core(store, model, adapter, max_tokens=4) as bot:
        await bot.send("See", NOTES)
        [post] = await adapter.wait_for_posts(1)
    assert "only the first 4 of 6 characters" in post and "thank" not in asked(model).attached


# --- turns that break off ----------------------------------------------------------------------------------------


async def test_a_turn_that_fails_keeps_its_notes_and_no_image(store: Store) -> None:
    adapter, model = FilesPlatform(), ScriptedModel([calls("look"), ModelUnavailableError("The model is away.")])
    async with core(store, model, adapter) as bot:
        await bot.send("See", REPORT, CAT)
        [post] = await adapter.wait_for_posts(1)
        kept = await bot.kept()
    assert post == f"The model is away.\n\n_{NOT_READ}_"
    assert not [one for one in kept if isinstance(one, UserMessage) and one.images]


async def test_a_turn_can_be_stopped_while_a_file_is_fetched(store: Store) -> None:
    adapter = FilesPlatform()
    async with core(store, ScriptedModel([says("never")]), adapter) as bot:
        await bot.send("See", replace(NOTES, reference="endless"))
        async with asyncio.timeout(10):
            await adapter.hangs.wait()
        assert await bot.bot.stop()
        assert await adapter.wait_for_posts(1) == ["Stopped."]
        assert (await bot.kept())[0] == UserMessage(text="See")


async def test_after_a_crash_the_files_are_fetched_again(store: Store) -> None:
    adapter, model = FilesPlatform(), ScriptedModel([says("A cat.")])
    event = replace(message("What is this?"), files=(CAT,))
    await store.heartbeat("dead", lease_s=15)
    await store.accept(event, worker="dead", max_waiting=20, max_open=100)
    [turn] = await store.claim("dead", serves=["fake/"], limit=1)
    assert isinstance(turn, ClaimedTurn) and turn.event.files == (CAT,)
    await store.give_back(turn.lease)
    async with core(store, model, adapter):
        await adapter.wait_for_posts(1)
    assert asked(model).images == (SEEN,)


# --- with a real endpoint ----------------------------------------------------------------------------------------


@asynccontextmanager
async def endpoint(api: str, *faults: dict[str, Any]) -> AsyncGenerator[tuple[Model, httpx2.AsyncClient]]:
    async with serve_openai(control=True) as url:
        values: dict[str, Any] = {"model_api": api, "openai_base_url": url, "openai_model": "some-model"}
        settings = Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        async with (
            open_model(settings) as model,
            httpx2.AsyncClient(base_url=url.removesuffix("/v1"), trust_env=False) as control,
        ):
            (await control.post("/control/faults", json={"faults": list(faults)})).raise_for_status()
            yield model, control


async def bodies(control: httpx2.AsyncClient) -> Sequence[str]:
    return [json.dumps(body) for body in (await control.get("/control/requests")).json()["requests"]]


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_files_reach_the_endpoint_and_images_only_with_their_own_question(store: Store, api: str) -> None:
    adapter = FilesPlatform()
    async with endpoint(api) as (model, control), core(store, model, adapter) as bot:
        await bot.send("hello", NOTES, CAT)
        [first] = await adapter.wait_for_posts(1)
        await bot.send("thank you")
        await adapter.wait_for_posts(2)
        seen, later = await bodies(control)
    assert "You sent an image: 2,345 bytes of image/png." in first and "You are welcome." in first
    assert seen.count("base64") == 1 and "base64" not in later
    assert "`cat.png` was sent with this message; it is not kept" in later


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_model_that_takes_no_images_answers_and_the_user_is_told_once(store: Store, api: str) -> None:
    adapter = FilesPlatform()
    fault = {"kind": "no_images", "times": 10}
    async with endpoint(api, fault) as (model, control), core(store, model, adapter) as bot:
        await bot.send("call look", CAT)
        [post] = await adapter.wait_for_posts(1)
        sent = await bodies(control)
    note = "_The model `some-model` did not take `cat.png`, so it answered without seeing it._"
    assert "`look`: seen" in post and post.count(note) == 1
    assert ["base64" in body for body in sent] == [True, False, False]
