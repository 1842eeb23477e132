"""The loopback Discord, driven by the real library: it must behave as Discord documents."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.fakes.discord import ALL_BOT_PERMISSIONS, Channel, FakeDiscord, Guild, Upload, User

INTENTS = discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=True)
NONE = discord.AllowedMentions.none()
POLL: dict[str, Any] = {"question": {"text": "Tea?"}, "answers": [{"answer_id": 1, "poll_media": {"text": "yes"}}]}


class Bot(discord.Client):
    """A client that keeps what it gets, in order."""

    def __init__(self, intents: discord.Intents = INTENTS, **options: Any) -> None:
        super().__init__(
            intents=intents,
            guild_ready_timeout=0.05,
            member_cache_flags=discord.MemberCacheFlags.none(),
            **options,
        )
        self.tree = app_commands.CommandTree(self)
        self.got: list[discord.Message] = []
        self.happened: list[str] = []
        self.commands: list[Any] = []
        self.sync_to: discord.Object | None = None
        self.answer: Callable[[discord.Interaction[Any]], Awaitable[Any]] | None = None

    async def setup_hook(self) -> None:
        for command in self.commands:
            self.tree.add_command(command, guild=self.sync_to)
        if self.commands:
            await self.tree.sync(guild=self.sync_to)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait five seconds before a repeated IDENTIFY."""

    async def on_message(self, message: discord.Message) -> None:
        self.got.append(message)

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        self.happened.append(f"edited {payload.message.content}")

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        self.happened.append(f"deleted {payload.message_id}")

    async def on_resumed(self) -> None:
        self.happened.append("resumed")

    async def on_thread_create(self, thread: discord.Thread) -> None:
        self.happened.append(f"thread {thread.name}")

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        if (
            interaction.type in {discord.InteractionType.component, discord.InteractionType.modal_submit}
            and self.answer
        ):
            await self.answer(interaction)

    @property
    def texts(self) -> list[str]:
        return [message.content for message in self.got if message.author != self.user]


class World:
    """One guild with a channel and two people."""

    def __init__(self, fake: FakeDiscord) -> None:
        self.guild: Guild = fake.add_guild("Team")
        self.ada: User = fake.add_user("ada", global_name="Ada")
        self.bob: User = fake.add_user("bob")
        self.general: Channel = fake.add_channel(self.guild, "general")


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[FakeDiscord]:
    async with FakeDiscord() as fake:
        monkeypatch.setattr(Route, "BASE", fake.api_url)
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(fake.gateway_url))
        yield fake


@pytest.fixture
def world(fake: FakeDiscord) -> World:
    return World(fake)


@asynccontextmanager
async def running(bot: Bot | None = None) -> AsyncGenerator[Bot]:
    """Run the library's own client until the block ends."""
    bot = bot or Bot()
    async with bot:
        task = asyncio.create_task(bot.start("bot-test"))
        try:
            async with asyncio.timeout(30):
                await bot.wait_until_ready()
            yield bot
        finally:
            await bot.close()
            await asyncio.gather(task, return_exceptions=True)


async def code_of(call: Awaitable[Any]) -> int:
    """Return the error code of a call that must be refused."""
    with pytest.raises(discord.HTTPException) as caught:
        await call
    return caught.value.code


def room(bot: discord.Client, channel: Channel) -> Any:
    found = bot.get_channel(channel.id)
    assert found is not None
    return found


async def test_the_library_logs_in_hears_and_answers(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        said = await fake.say(world.general, world.ada, "six times seven?", mention=True)
        await fake.until(lambda: bot.got)
        heard = bot.got[0]
        assert (heard.id, heard.author.display_name, heard.clean_content) == (
            said.id,
            "Ada",
            "@toolbridge six times seven?",
        )
        await heard.reply("**42**", allowed_mentions=NONE)
        _, answer = fake.visible(world.general)
        assert (answer.shown, answer.reference, answer.allowed_mentions) == ("**42**", said.id, {"parse": []})
        assert fake.pings[0].target == fake.bot.id and len(fake.pings) == 1


async def test_what_was_said_is_read_back_in_order_and_from_any_point(fake: FakeDiscord, world: World) -> None:
    said = [await fake.say(world.general, world.ada, f"line {number}", deliver=False) for number in range(5)]
    async with running() as bot:
        channel = room(bot, world.general)
        after = [each.content async for each in channel.history(after=discord.Object(said[1].id), limit=2)]
        before = [each.content async for each in channel.history(before=discord.Object(said[3].id), limit=2)]
        assert (after, before) == (["line 2", "line 3"], ["line 2", "line 1"])
        assert (await channel.fetch_message(said[4].id)).content == "line 4"
        assert bot.got == []


async def test_an_edit_and_a_delete_by_people_arrive(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        said = await fake.say(world.general, world.ada, "helo")
        await fake.edit(world.general, said, "hello")
        await fake.delete(world.general, said)
        await fake.until(lambda: len(bot.happened) == 2)
        assert bot.happened == ["edited hello", f"deleted {said.id}"]
        assert fake.visible(world.general) == []


async def test_a_post_with_the_nonce_of_a_recent_post_is_that_post(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        channel = room(bot, world.general)
        first = await channel.send("one", nonce="key-1")
        again = await channel.send("one, again", nonce="key-1")
        assert (first.id, [each.shown for each in fake.visible(world.general)]) == (again.id, ["one"])
        fake.advance(fake.nonce_life_s + 1)
        assert (await channel.send("later", nonce="key-1")).id != first.id
        assert await code_of(channel.send("x", nonce="k" * 26)) == 50035


async def test_posts_that_discord_would_refuse_are_refused_with_its_codes(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        channel = room(bot, world.general)
        foreign = await fake.say(world.general, world.ada, "mine")
        assert await code_of(channel.send("x" * 2001)) == 50035
        assert await code_of(channel.send(" \n ")) == 50006
        assert await code_of(channel.get_partial_message(foreign.id).edit(content="x")) == 50005
        assert await code_of(channel.get_partial_message(foreign.id).delete()) == 50013
        assert await code_of(channel.get_partial_message(12345).edit(content="x")) == 10008
        assert await code_of(bot.get_partial_messageable(12345).send("x")) == 10003
        assert (
            await code_of(channel.send("x", reference=discord.MessageReference(message_id=5, channel_id=channel.id)))
            == 50035
        )
        lost = discord.MessageReference(message_id=5, channel_id=channel.id, fail_if_not_exists=False)
        assert (await channel.send("x", reference=lost)).reference is None
        assert await code_of(channel.send("x", embed=discord.Embed(description="y" * 4097))) == 50035
        assert await code_of(foreign_reaction(channel, foreign.id, "no-emoji")) == 10014


async def foreign_reaction(channel: Any, message: int, emoji: str) -> None:
    await channel.get_partial_message(message).add_reaction(emoji)


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("VIEW_CHANNEL", 50001),
        ("SEND_MESSAGES", 50013),
        ("READ_MESSAGE_HISTORY", 160002),
        ("ATTACH_FILES", 50013),
        ("CREATE_PUBLIC_THREADS", 50013),
        ("ADD_REACTIONS", 50013),
        ("SEND_MESSAGES_IN_THREADS", 50013),
    ],
)
async def test_a_missing_permission_refuses_what_needs_it(
    fake: FakeDiscord, world: World, missing: str, code: int
) -> None:
    said = await fake.say(world.general, world.ada, "question", deliver=False)
    thread = await fake.start_thread(world.general, world.ada, "side")
    async with running() as bot:
        channel = room(bot, world.general)
        question = channel.get_partial_message(said.id)
        attempts: dict[str, Callable[[], Awaitable[Any]]] = {
            "VIEW_CHANNEL": lambda: channel.send("x"),
            "SEND_MESSAGES": lambda: channel.send("x"),
            "READ_MESSAGE_HISTORY": lambda: question.reply("x"),
            "ATTACH_FILES": lambda: channel.send(file=discord.File(io.BytesIO(b"x"), "x.txt")),
            "CREATE_PUBLIC_THREADS": lambda: question.create_thread(name="x"),
            "ADD_REACTIONS": lambda: question.add_reaction("⏳"),
            "SEND_MESSAGES_IN_THREADS": lambda: bot.get_partial_messageable(thread.id).send("x"),
        }
        await attempts["SEND_MESSAGES"]()
        fake.allow_bot(world.general, *(name for name in ALL_BOT_PERMISSIONS if name != missing))
        await asyncio.sleep(0)
        assert await code_of(attempts[missing]()) == code
        fake.allow_bot(world.general, *ALL_BOT_PERMISSIONS)
        await attempts[missing]()


async def test_a_thread_starts_from_a_message_once_and_is_heard_and_written_in(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        said = await fake.say(world.general, world.ada, "question")
        question = room(bot, world.general).get_partial_message(said.id)
        thread = await question.create_thread(name="trace", auto_archive_duration=60)
        await thread.send("working")
        assert thread.id == said.id and [each.shown for each in fake.visible(thread.id)] == ["working"]
        assert await code_of(question.create_thread(name="again")) == 160004
        await fake.until(lambda: "thread trace" in bot.happened)
        await fake.say(thread.id, world.bob, "and now?")
        await fake.until(lambda: "and now?" in bot.texts)
        heard = bot.got[-1].channel
        assert isinstance(heard, discord.Thread) and heard.parent_id == world.general.id


async def test_an_archived_thread_comes_back_by_a_message_but_not_by_an_edit(fake: FakeDiscord, world: World) -> None:
    thread = await fake.start_thread(world.general, world.ada, "side")
    async with running() as bot:
        place = bot.get_partial_messageable(thread.id)
        posted = await place.send("one")
        await fake.archive_thread(thread)
        assert await code_of(posted.edit(content="two")) == 50083
        await place.send("three")
        assert not thread.is_archived
        await fake.archive_thread(thread, locked=True)
        assert await code_of(place.send("four")) == 160005


async def test_a_guild_has_only_so_many_active_threads(fake: FakeDiscord, world: World) -> None:
    world.guild.max_active_threads = 1
    await fake.start_thread(world.general, world.ada, "first")
    said = await fake.say(world.general, world.ada, "question", deliver=False)
    async with running() as bot:
        question = room(bot, world.general).get_partial_message(said.id)
        assert await code_of(question.create_thread(name="second")) == 160006


async def test_old_messages_take_only_a_few_edits(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        posted = await room(bot, world.general).send("0")
        fake.advance(3601)
        for number in range(fake.old_edits):
            await posted.edit(content=str(number))
        with pytest.raises(discord.HTTPException) as caught:
            await posted.edit(content="x")
        assert (caught.value.status, caught.value.code) == (429, 30046)
        await (await room(bot, world.general).send("fresh")).edit(content="fresh, edited")
        assert [each.shown for each in fake.visible(world.general)] == [str(fake.old_edits - 1), "fresh, edited"]


async def test_files_go_both_ways(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        upload = Upload(filename="data.csv", content=b"a,b", content_type="text/csv")
        await fake.say(world.general, world.ada, "look", files=[upload], mention=True)
        await fake.until(lambda: bot.got)
        (attachment,) = bot.got[0].attachments
        assert (await attachment.read(), attachment.content_type, attachment.size) == (b"a,b", "text/csv", 3)
        posted = await room(bot, world.general).send("here", file=discord.File(io.BytesIO(b"42"), "answer.md"))
        stored = fake.visible(world.general)[-1].attachments
        assert [(each.filename, each.content) for each in stored] == [("answer.md", b"42")]
        await posted.edit(attachments=[])
        assert fake.visible(world.general)[-1].attachments == []
        fake.max_file_bytes = 10
        large = discord.File(io.BytesIO(b"x" * 11), "large.bin")
        assert await code_of(room(bot, world.general).send(file=large)) == 40005


async def test_without_allowed_mentions_an_edit_calls_people(fake: FakeDiscord, world: World) -> None:
    async with running(Bot(allowed_mentions=NONE)) as bot:
        plain = await room(bot, world.general).send(f"{world.ada.mention} @everyone")
        await plain.edit(content=f"{world.ada.mention} again")
        first, second = discord.ui.LayoutView(), discord.ui.LayoutView()
        first.add_item(discord.ui.TextDisplay(f"{world.ada.mention} again"))
        second.add_item(discord.ui.TextDisplay(f"{world.ada.mention} once more"))
        posted = await room(bot, world.general).send(view=first)
        assert fake.pings == []
        await posted.edit(view=second)
        assert [(ping.target, ping.kind, ping.is_edit) for ping in fake.pings] == [(world.ada.id, "user", True)]


async def test_typing_shows_until_the_next_message(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        channel = room(bot, world.general)
        await channel.typing()
        assert fake.typing(world.general)
        await channel.send("done")
        assert not fake.typing(world.general)
        await channel.typing()
        fake.advance(11)
        assert not fake.typing(world.general)


async def test_reactions_come_and_go(fake: FakeDiscord, world: World) -> None:
    said = await fake.say(world.general, world.ada, "wait", deliver=False)
    async with running() as bot:
        question = room(bot, world.general).get_partial_message(said.id)
        await question.add_reaction("⏳")
        assert fake.reactions(said) == {"⏳": [fake.bot.id]}
        await question.remove_reaction("⏳", discord.Object(fake.bot.id))
        assert fake.reactions(said) == {}


# --- direct messages and what is hidden


async def test_direct_messages_reach_the_bot_and_people(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        await fake.dm(world.ada, "hello")
        await fake.until(lambda: bot.texts == ["hello"])
        assert bot.got[0].guild is None
        await bot.got[0].channel.send("hi")
        assert [each.shown for each in fake.visible(fake.dm_channel(world.ada))] == ["hello", "hi"]
        opened = await bot.create_dm(discord.Object(world.bob.id))  # pyright: ignore[reportArgumentType]
        await opened.send("first")
        world.bob.has_closed_dms = True
        assert await code_of(opened.send("second")) == 50007


async def test_without_the_intent_only_mentions_and_direct_messages_can_be_read(
    fake: FakeDiscord, world: World
) -> None:
    intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)
    async with running(Bot(intents)) as bot:
        own = await room(bot, world.general).send("mine")
        await fake.say(world.general, world.ada, "hidden")
        await fake.say(world.general, world.ada, "hidden too", reply_to=own.id, ping=False)
        await fake.say(world.general, world.ada, "reply", reply_to=own.id)
        await fake.say(world.general, world.ada, "asked", mention=True)
        await fake.dm(world.ada, "private")
        await fake.until(lambda: len(bot.texts) == 5)
        assert bot.texts == ["", "", "reply", f"{fake.bot.mention} asked", "private"]


async def test_an_intent_that_the_portal_does_not_grant_closes_with_4014(fake: FakeDiscord, world: World) -> None:
    fake.has_message_content = False
    async with Bot() as bot:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await bot.start("bot-test")


async def test_a_wrong_token_is_refused_at_the_login(fake: FakeDiscord) -> None:
    async with Bot() as bot:
        with pytest.raises(discord.LoginFailure):
            await bot.login("another")


# --- interactions


def answering(kind: Callable[[discord.Interaction[Any]], Awaitable[Any]]) -> Bot:
    """Return a bot with a command `tools`, which answers through `kind`, and a message menu entry."""
    bot = Bot()

    @app_commands.command(description="The tools")
    async def tools(interaction: discord.Interaction[Any], word: str = "") -> None:
        await kind(interaction)

    @tools.autocomplete("word")
    async def words(_: discord.Interaction[Any], current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=each, value=each) for each in ("calc", "clock") if current in each]

    @app_commands.context_menu(name="Ask about this")
    async def ask(interaction: discord.Interaction[Any], message: discord.Message) -> None:
        await interaction.response.send_message(f"about {message.content}", ephemeral=True)

    bot.commands = [tools, ask]
    return bot


async def test_a_command_is_found_run_and_answered_where_only_its_user_sees(fake: FakeDiscord, world: World) -> None:
    async def answer(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.edit_original_response(content=f"{interaction.user.name}: {interaction.namespace.word}")
        await interaction.followup.send("more", ephemeral=True)

    async with running(answering(answer)):
        done = await fake.slash(world.general, world.ada, "tools", {"word": "calc"})
        await fake.until(lambda: len(fake.ephemerals(world.ada)) == 2)
        assert (done.text, done.followups[0].shown) == ("ada: calc", "more")
        assert fake.ephemerals(world.bob) == [] and fake.visible(world.general) == []
        assert await fake.autocomplete(world.general, world.ada, "tools", {"word": "cl"}) == [
            {"name": "clock", "value": "clock"}
        ]
        said = await fake.say(world.general, world.bob, "the weather")
        asked = await fake.context_menu(world.general, said, world.ada, "Ask about this")
        assert asked.text == "about the weather"


async def test_the_first_followup_takes_the_place_of_is_thinking(fake: FakeDiscord, world: World) -> None:
    async def answer(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(thinking=True)
        await fake.until(lambda: fake.visible(world.general)[0].is_loading)
        await interaction.followup.send("done")

    async with running(answering(answer)):
        done = await fake.slash(world.general, world.ada, "tools")
        await fake.until(lambda: done.text)
        (shown,) = fake.visible(world.general)
        assert (shown.shown, shown.is_loading, done.followups) == ("done", False, [])


async def test_answers_too_late_or_twice_are_refused(fake: FakeDiscord, world: World) -> None:
    codes: list[int] = []

    async def answer(interaction: discord.Interaction[Any]) -> None:
        if interaction.namespace.word == "late":
            fake.advance(3.5)
            codes.append(await code_of(interaction.response.defer()))
            return
        await interaction.response.send_message("one")
        url = f"{fake.api_url}/interactions/{interaction.id}/{interaction.token}/callback"
        async with aiohttp.ClientSession() as session, session.post(url, json={"type": 4, "data": {}}) as refused:
            codes.append((await refused.json())["code"])
        fake.advance(901)
        codes.append(await code_of(interaction.followup.send("three")))

    async with running(answering(answer)):
        await fake.slash(world.general, world.ada, "tools", {"word": "late"}, wait=False)
        await fake.until(lambda: codes == [10062])
        await fake.slash(world.general, world.ada, "tools", {"word": "twice"})
        await fake.until(lambda: codes == [10062, 40060, 50027])


async def test_an_interaction_that_nobody_answers_fails_for_its_user(fake: FakeDiscord, world: World) -> None:
    fake.ack_timeout_s = 0.05
    async with running(answering(lambda _: asyncio.sleep(0))):
        assert (await fake.slash(world.general, world.ada, "tools")).is_failed


def view_with(*items: discord.ui.Item[Any]) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    return view


async def test_buttons_selects_and_forms_come_back_with_what_was_chosen(fake: FakeDiscord, world: World) -> None:
    form = discord.ui.Modal(title="Why?", custom_id="why")
    form.add_item(discord.ui.Label(text="Reason", component=discord.ui.TextInput(custom_id="reason")))

    async def answer(interaction: discord.Interaction[Any]) -> None:
        data: Any = interaction.data
        if data["custom_id"] == "tb:stop:t1":
            await interaction.response.edit_message(content="stopped", view=None)
        elif data["custom_id"] == "pick":
            await interaction.response.send_message(f"chose {data['values']}", ephemeral=True)
        elif data["custom_id"] == "bad":
            await interaction.response.send_modal(form)
        else:
            await interaction.response.send_message(str(data["components"][0]["component"]["value"]), ephemeral=True)

    bot = Bot()
    bot.answer = answer
    async with running(bot):
        select = discord.ui.Select[Any](custom_id="pick", options=[discord.SelectOption(label=each) for each in "ab"])
        stop = discord.ui.Button[Any](label="Stop", custom_id="tb:stop:t1")
        bad = discord.ui.Button[Any](label="Bad", custom_id="bad")
        posted = await room(bot, world.general).send("live", view=view_with(stop, bad, select))
        assert (await fake.choose(world.general, posted.id, world.bob, "pick", ["b"])).text == "chose ['b']"
        pressed = await fake.press(world.general, posted.id, world.ada, "bad")
        sent = await fake.submit(pressed, {"reason": "too slow"})
        assert sent.text == "too slow"
        await fake.press(world.general, posted.id, world.ada, "tb:stop:")
        (shown,) = fake.visible(world.general)
        assert (shown.shown, shown.custom_ids, shown.edits) == ("stopped", [], 1)
        assert [each.shown for each in fake.ephemerals(world.bob)] == ["chose ['b']"]


async def test_components_and_commands_over_the_limits_are_refused(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        send = bot.http.send_message
        url, app = world.general.id, fake.application_id

        def button(custom_id: str, label: str = "x") -> dict[str, Any]:
            return {"type": 2, "style": 1, "label": label, "custom_id": custom_id}

        def row(*inner: dict[str, Any]) -> dict[str, Any]:
            return {"type": 1, "components": list(inner)}

        def option(value: str) -> dict[str, Any]:
            return {"label": value, "value": value}

        bad: list[list[dict[str, Any]]] = [
            [row(button("x" * 101))],
            [row(button("a", "x" * 81))],
            [row(button("a"), button("a"))],
            [row(*(button(str(number)) for number in range(6)))],
            [row(button(str(number))) for number in range(6)],
            [row({"type": 3, "custom_id": "a", "options": [option(str(number)) for number in range(26)]})],
            [row({"type": 3, "custom_id": "a", "options": [option("x" * 101)]})],
            [row({"type": 3, "custom_id": "a", "options": [option("x")]}, button("b"))],
        ]
        for components in bad:
            params: Any = type("P", (), {"payload": {"content": "x", "components": components}, "files": None})
            assert await code_of(send(url, params=params)) == 50035, components
        for command in (
            {"name": "Tools", "description": "x"},
            {"name": "two words", "description": "x"},
            {"name": "tools", "description": "x" * 101},
            {"name": "tools", "description": ""},
        ):
            assert await code_of(bot.http.bulk_upsert_global_commands(app, [command])) == 50035, command  # pyright: ignore
        many = [{"name": f"c{number}", "description": "x"} for number in range(101)]
        assert await code_of(bot.http.bulk_upsert_global_commands(app, many)) == 30032  # pyright: ignore
        assert fake.visible(world.general) == [] and fake.commands() == []


# --- faults and limits


async def test_a_rate_limit_is_waited_for_and_a_ban_of_cloudflare_raises(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        channel = room(bot, world.general)
        fake.limit_next("create_message", retry_after=0.1)
        await channel.send("after the limit")
        assert [call.status for call in fake.calls_of("create_message")] == [429, 200]
        fake.cloudflare_next()
        with pytest.raises(discord.HTTPException) as caught:
            await channel.send("x")
        assert (caught.value.status, fake.invalid_requests) == (429, 2)


async def test_a_strict_bucket_lets_the_library_wait_before_it_is_refused(fake: FakeDiscord, world: World) -> None:
    fake.rates["create_message"] = (2, 0.3)
    async with running() as bot:
        started = time.monotonic()
        for number in range(4):
            await room(bot, world.general).send(str(number))
        assert time.monotonic() - started >= 0.25
        assert {call.status for call in fake.calls_of("create_message")} == {200}
        async with aiohttp.ClientSession(headers={"Authorization": "Bot bot-test"}) as session:
            url = f"{fake.api_url}/channels/{world.general.id}/messages"
            statuses = [(await session.post(url, json={"content": "x"})).status for _ in range(3)]
        assert statuses[-1] == 429


async def test_a_cut_connection_leaves_open_whether_the_post_was_made(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        channel = room(bot, world.general)
        fake.fail_next("create_message", drop="before")
        with pytest.raises((aiohttp.ClientError, OSError)):
            await channel.send("lost")
        fake.fail_next("create_message", drop="after")
        with pytest.raises((aiohttp.ClientError, OSError)):
            await channel.send("made")
        fake.fail_next("create_message", code=50013)
        assert await code_of(channel.send("refused")) == 50013
        fake.fail_next("create_message", status=503)
        assert await code_of(channel.send("refused")) == 0
        assert [each.shown for each in fake.visible(world.general)] == ["made"]


async def test_a_call_that_hangs_was_done_and_is_answered_when_released(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        fake.hang_next("create_message")
        task = asyncio.create_task(room(bot, world.general).send("made"))
        await fake.until(lambda: fake.hung)
        assert [each.shown for each in fake.visible(world.general)] == ["made"] and not task.done()
        fake.release()
        async with asyncio.timeout(30):
            assert (await task).content == "made"


# --- the gateway


async def test_what_was_missed_is_replayed_after_a_cut(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        await fake.say(world.general, world.ada, "one")
        await fake.until(lambda: len(bot.got) == 1)
        await fake.cut()
        await fake.say(world.general, world.ada, "two")
        await fake.until(lambda: len(bot.got) == 2 and fake.connected())
        assert bot.texts == ["one", "two"] and "resumed" in bot.happened
        assert fake.sessions[0].resumes == 1


async def test_reconnect_requests_are_resumed_and_invalid_sessions_lose_what_was_missed(
    fake: FakeDiscord, world: World
) -> None:
    async with running() as bot:
        await fake.ask_to_reconnect()
        await fake.until(lambda: "resumed" in bot.happened)
        first = fake.connected()[0]
        await fake.close_sockets(4000, is_resumable=False)
        await fake.say(world.general, world.ada, "missed")
        await fake.until(lambda: fake.connected() and fake.connected()[0] is not first)
        await fake.say(world.general, world.ada, "heard")
        await fake.until(lambda: bot.got)
        assert bot.texts == ["heard"]
        second = fake.connected()[0]
        await fake.invalidate()
        await fake.until(lambda: fake.connected() and fake.connected()[0] is not second)


async def test_heartbeats_are_acknowledged(fake: FakeDiscord, world: World) -> None:
    fake.heartbeat_interval_s = 0.02
    async with running() as bot:
        await fake.until(lambda: fake.sockets[0].beats > 2)
        await fake.until(lambda: 0 < bot.latency < 5)


async def test_a_silent_gateway_is_left_and_resumed(fake: FakeDiscord, world: World) -> None:
    async with running(Bot(heartbeat_timeout=0.2)) as bot:
        fake.freeze()
        await fake.say(world.general, world.ada, "said into the void")
        await fake.until(lambda: bot.got)
        assert "resumed" in bot.happened


async def test_a_refused_first_connect_is_the_trap_that_was_measured(fake: FakeDiscord, world: World) -> None:
    fake.refuse_gateway()
    async with Bot() as bot:
        with pytest.raises(AttributeError):
            await bot.start("bot-test")
    assert fake.refused_handshakes == 1


async def test_a_malformed_event_can_be_sent(fake: FakeDiscord, world: World) -> None:
    async with Bot() as bot:
        task = asyncio.create_task(bot.start("bot-test"))
        await fake.until(lambda: bot.is_ready())
        await fake.send_raw({"t": "MESSAGE_CREATE", "d": {"id": "1"}})
        async with asyncio.timeout(30):
            with pytest.raises(KeyError):
                await task


async def test_a_delivery_can_come_twice(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        fake.duplicate_next()
        said = await fake.say(world.general, world.ada, "once")
        await fake.until(lambda: len(bot.got) == 2)
        assert {message.id for message in bot.got} == {said.id}


async def test_shards_get_their_own_guilds(fake: FakeDiscord, world: World) -> None:
    class Sharded(Bot, discord.AutoShardedClient):
        pass

    other = fake.add_guild("Other")
    fake.recommended_shards = 2
    fake.add_member(other, world.ada)
    room_there = fake.add_channel(other)
    async with running(Sharded()) as bot:
        assert sorted(session.shard for session in fake.connected()) == [0, 1]
        await fake.say(world.general, world.ada, "here")
        await fake.until(lambda: len(bot.got) == 1)
        await fake.say(room_there, world.ada, "there")
        await fake.until(lambda: len(bot.got) == 2)
        assert [message.guild.shard_id for message in bot.got if message.guild] == [0, 1]


async def test_an_identify_within_the_pause_is_refused_and_another_place_has_its_own(fake: FakeDiscord) -> None:
    fake.identify_gap_s, fake.max_concurrency, fake.session_starts_left = 5.0, 2, 10
    async with aiohttp.ClientSession() as http:
        assert (await identify(fake, http, shard=0, shards=3))["t"] == "READY"
        assert (await identify(fake, http, shard=1, shards=3))["t"] == "READY"
        assert await identify(fake, http, shard=2, shards=3) == {"op": 9, "d": False}
    assert (fake.refused_identifies, fake.session_starts_left) == (1, 7)


async def test_two_connections_of_one_shard_both_get_its_events(fake: FakeDiscord, world: World) -> None:
    async with running() as one, running() as other:
        await fake.say(world.general, world.ada, "hello")
        await fake.until(lambda: one.got and other.got)


async def test_a_shard_that_there_is_not_is_refused_for_good(fake: FakeDiscord) -> None:
    async with aiohttp.ClientSession() as http:
        assert await identify(fake, http, shard=2, shards=2) == 4010


async def test_a_session_too_many_in_a_day_ends_all_and_voids_the_token(fake: FakeDiscord, world: World) -> None:
    fake.session_starts_left = 1
    async with running(), aiohttp.ClientSession() as http:
        assert await identify(fake, http, shard=0, shards=1) == 4004
        assert not any(session.is_valid for session in fake.sessions)
        assert await identify(fake, http, shard=0, shards=1) == 4004


@pytest.mark.parametrize(("code", "is_kept"), [(1000, False), (1001, False), (4000, True)])
async def test_the_code_of_closing_says_whether_a_session_can_be_resumed(
    fake: FakeDiscord, code: int, is_kept: bool
) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(fake.gateway_url) as ws:
            ready = await identify(fake, http, shard=0, shards=1, ws=ws)
            await ws.close(code=code)
        await fake.until(lambda: not fake.connected())
        resume = {"token": fake.token, "session_id": ready["d"]["session_id"], "seq": ready["s"]}
        async with http.ws_connect(fake.gateway_url) as ws:
            await ws.receive_json()
            await ws.send_json({"op": 6, "d": resume})
            answer = await ws.receive_json()
    assert (answer["op"], answer.get("t")) == ((0, "RESUMED") if is_kept else (9, None))


async def identify(
    fake: FakeDiscord,
    http: aiohttp.ClientSession,
    *,
    shard: int,
    shards: int,
    ws: aiohttp.ClientWebSocketResponse | None = None,
) -> Any:
    """Send IDENTIFY on a connection of its own unless one is given; return the answer, or the code of closing."""
    if ws is None:
        async with http.ws_connect(fake.gateway_url) as ws:
            return await identify(fake, http, shard=shard, shards=shards, ws=ws)
    await ws.receive_json()
    body = {"token": "bot-test", "intents": INTENTS.value, "properties": {}, "shard": [shard, shards]}
    await ws.send_json({"op": 2, "d": body})
    answer = await ws.receive()
    return answer.data if answer.type is aiohttp.WSMsgType.CLOSE else answer.json()


async def test_deleted_channels_and_lost_guilds_are_gone(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        channel = room(bot, world.general)
        fake.delete_channel(world.general)
        await fake.until(lambda: bot.get_channel(channel.id) is None)
        assert await code_of(channel.send("x")) == 10003
        elsewhere = fake.add_channel(world.guild, "elsewhere")
        fake.remove_bot(world.guild)
        assert await code_of(bot.get_partial_messageable(elsewhere.id).send("x")) == 50001


# --- the rest of what people see and do


async def test_names_roles_and_rights_come_with_a_message_and_a_click(fake: FakeDiscord, world: World) -> None:
    staff = fake.add_role(world.guild, "staff")
    fake.add_member(world.guild, world.ada, nick="Ada L.", roles=[staff], permissions=["MANAGE_MESSAGES"])
    seen: list[tuple[str, bool]] = []

    async def answer(interaction: discord.Interaction[Any]) -> None:
        seen.append((interaction.user.display_name, interaction.permissions.manage_messages))
        await interaction.response.defer()

    async with running(answering(answer)) as bot:
        await fake.say(world.general, world.ada, "hello")
        await fake.until(lambda: bot.got)
        author = bot.got[0].author
        assert isinstance(author, discord.Member)
        assert (author.display_name, [role.id for role in author.roles if role.name == "staff"]) == (
            "Ada L.",
            [staff.id],
        )
        await fake.slash(world.general, world.ada, "tools")
        await fake.slash(world.general, world.bob, "tools")
        assert seen == [("Ada L.", True), ("bob", False)]


async def test_a_button_on_an_ephemeral_answer_is_pressed_by_its_reader_and_changes_it(
    fake: FakeDiscord, world: World
) -> None:
    async def open_page(interaction: discord.Interaction[Any]) -> None:
        view = view_with(discord.ui.Button[Any](label="Next", custom_id="next"))
        await interaction.response.send_message("page 1", view=view, ephemeral=True)

    async def turn_page(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer()
        whole = discord.File(io.BytesIO(b"all of it"), "details.txt")
        await interaction.edit_original_response(content="page 2", attachments=[whole])

    bot = answering(open_page)
    bot.answer = turn_page
    async with running(bot):
        opened = await fake.slash(world.general, world.ada, "tools")
        assert opened.original is not None
        with pytest.raises(AssertionError):
            await fake.press(world.general, opened.original, world.bob, "next")
        await fake.press(world.general, opened.original, world.ada, "next")
        await fake.until(lambda: opened.text == "page 2")
        (shown,) = fake.ephemerals(world.ada)
        assert [each.content for each in shown.attachments] == [b"all of it"]
        assert fake.visible(world.general) == []


async def test_commands_are_run_in_direct_messages_where_they_are_offered(fake: FakeDiscord, world: World) -> None:
    async def answer(interaction: discord.Interaction[Any]) -> None:
        assert interaction.guild is None
        await interaction.response.send_message("here you are")

    bot = answering(answer)
    bot.commands = bot.commands[:1]
    async with running(bot):
        place = fake.dm_channel(world.ada)
        assert (await fake.slash(place, world.ada, "tools")).text == "here you are"
        fake.commands()[0]["contexts"] = [0]
        with pytest.raises(AssertionError):
            await fake.slash(place, world.ada, "tools")


async def test_a_link_preview_is_an_update_without_an_edit_unless_previews_are_suppressed(
    fake: FakeDiscord, world: World
) -> None:
    async with running() as bot:
        said = await fake.say(world.general, world.ada, "https://example.com/")
        await fake.unfurl(world.general, said)
        await fake.until(lambda: bot.happened == ["edited https://example.com/"])
        assert said.edited_at is None
        await room(bot, world.general).send("https://example.com/", suppress_embeds=True)
        quiet = fake.own(world.general)[-1]
        await fake.unfurl(world.general, quiet)
        assert quiet.embeds == []


async def test_other_bots_webhooks_and_system_messages_can_be_told_apart(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        await fake.say_as_other_bot(world.general, "beep")
        await fake.say_as_webhook(world.general, "deployed")
        await fake.join(world.general, world.bob)
        await fake.until(lambda: len(bot.got) == 3)
        other, hook, joined = bot.got
        assert (other.author.bot, hook.webhook_id is not None, joined.is_system()) == (True, True, True)


async def test_a_session_that_is_forgotten_meanwhile_is_not_resumed(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        fake.is_gateway_down = True
        await fake.cut()
        fake.forget_sessions()
        await fake.say(world.general, world.ada, "missed")
        fake.is_gateway_down = False
        await fake.until(lambda: [each for each in fake.connected() if each.is_valid])
        await fake.say(world.general, world.ada, "heard")
        await fake.until(lambda: bot.got)
        assert bot.texts == ["heard"]
        missed = [each.content async for each in room(bot, world.general).history(limit=5)]
        assert missed == ["heard", "missed"]


async def test_a_guild_in_an_outage_is_unavailable_until_it_comes_back(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        fake.lose_guild(world.guild)
        await fake.until(lambda: bot.guilds[0].unavailable)
        fake.find_guild(world.guild)
        await fake.until(lambda: not bot.guilds[0].unavailable)
        fake.add_guild("New")
        await fake.until(lambda: [guild.name for guild in bot.guilds] == ["Team", "New"])


async def test_messages_of_components_have_their_own_limits(fake: FakeDiscord, world: World) -> None:
    async with running() as bot:
        url = world.general.id

        async def send(components: list[dict[str, Any]], **more: Any) -> Any:
            payload = {"flags": 1 << 15, "components": components, **more}
            params: Any = type("P", (), {"payload": payload, "files": None})
            return await bot.http.send_message(url, params=params)

        text = {"type": 10, "content": "x" * 2000}
        await send([text, text])
        assert fake.own(world.general)[0].shown == f"{'x' * 2000}\n{'x' * 2000}"
        assert await code_of(send([text, text, {"type": 10, "content": "y"}])) == 50035
        assert await code_of(send([{"type": 14}] * 41)) == 50035
        assert await code_of(send([{"type": 14}], content="not with components")) == 50035


async def test_a_file_that_is_gone_or_unsigned_is_not_found(fake: FakeDiscord, world: World) -> None:
    said = await fake.say(world.general, world.ada, "", files=[Upload(filename="a.txt", content=b"a")])
    async with running() as bot:
        (attachment,) = (await room(bot, world.general).fetch_message(said.id)).attachments
        fake.fail_next("attachment", status=404)
        with pytest.raises(discord.NotFound):
            await attachment.read()
        assert await attachment.read() == b"a"
        attachment.url = attachment.url.partition("?")[0]
        with pytest.raises(discord.NotFound):
            await attachment.read()


async def test_the_bot_has_a_role_of_its_own_that_can_be_mentioned(fake: FakeDiscord, world: World) -> None:
    async with running(Bot()) as bot:
        role = bot.guilds[0].self_role
        assert role is not None and role.managed and role.tags is not None and role.tags.bot_id == fake.bot.id
        await fake.say(world.general, world.ada, f"<@&{role.id}> hello")
        await fake.until(lambda: bot.got)
        assert (bot.got[0].role_mentions, bot.got[0].mentions) == ([role], [])


async def test_a_forward_has_a_snapshot_without_an_author(fake: FakeDiscord, world: World) -> None:
    said = await fake.say(
        world.general, world.ada, "news", stickers=["tea"], files=[Upload(filename="a", content=b"x")]
    )
    async with running(Bot()) as bot:
        await fake.forward(world.general, world.ada, said)
        await fake.until(lambda: bot.got)
        [snapshot] = bot.got[0].message_snapshots
        assert (bot.got[0].content, snapshot.content) == ("", "news")
        assert [each.filename for each in snapshot.attachments] == ["a"]
        shape = fake.message_json(fake.message(bot.got[0].id))
        assert "author" not in shape["message_snapshots"][0]["message"] and "referenced_message" not in shape


async def test_a_reply_may_come_without_the_message_that_it_answers(fake: FakeDiscord, world: World) -> None:
    said = await fake.say(world.general, world.ada, "news")
    async with running(Bot()) as bot:
        for with_reference in (True, False):
            await fake.say(world.general, world.ada, "old", reply_to=said, with_reference=with_reference)
        await fake.until(lambda: len(bot.got) == 2)
        resolved = [message.reference.resolved for message in bot.got if message.reference]
        assert [isinstance(each, discord.Message) for each in resolved] == [True, False]


async def test_without_the_intent_what_is_quoted_is_hidden_by_its_own_rule(fake: FakeDiscord, world: World) -> None:
    said = await fake.say(world.general, world.ada, "secret", poll=POLL)
    fake.has_message_content = False
    reply = await fake.say(world.general, world.ada, "what?", mention=True, reply_to=said)
    forwarded = await fake.forward(world.general, world.ada, said)
    [role] = world.guild.roles.values()
    to_role = await fake.say(world.general, world.ada, f"<@&{role.id}> hello", stickers=["tea"])
    shapes = [fake.message_json(each, has_intent=False) for each in (reply, forwarded, to_role, said)]
    assert [shape["content"] for shape in shapes] == [f"{fake.bot.mention} what?", "", "", ""]
    assert shapes[0]["referenced_message"]["content"] == ""
    assert shapes[1]["message_snapshots"][0]["message"]["content"] == ""
    assert [each["name"] for each in shapes[2]["sticker_items"]] == ["tea"]
    assert "poll" not in shapes[3] and "poll" in fake.message_json(said)


async def test_a_post_in_a_forum_is_a_thread_with_its_first_message(fake: FakeDiscord, world: World) -> None:
    forum = fake.add_forum(world.guild)
    async with running(Bot()) as bot:
        post = await fake.post(forum, world.ada, "VPN", "It asks twice.")
        await fake.until(lambda: bot.got)
        [message] = bot.got
        assert (message.id, message.channel.id, message.content) == (post.id, post.id, "It asks twice.")
        assert isinstance(message.channel, discord.Thread) and message.channel.name == "VPN"
        assert isinstance(message.channel.parent, discord.ForumChannel)


# --- words that are refused ---


async def test_an_automod_rule_blocks_what_the_bot_sends_or_edits_in_its_server(
    fake: FakeDiscord, world: World
) -> None:
    other = fake.add_channel(world.guild, "other")
    fake.add_automod_rule(world.guild, "secret*", exempt=[other])
    async with running(Bot()) as bot:
        general = room(bot, world.general)
        assert await code_of(general.send("these are SECRETS")) == 200000
        said = await general.send("the rest")
        assert await code_of(said.edit(content="a secret")) == 200000
        assert (await general.fetch_message(said.id)).content == "the rest"
        await general.send("nosecret")  # a keyword begins a word
        await room(bot, other).send("a secret")
        opened = await bot.create_dm(discord.Object(world.bob.id))  # pyright: ignore[reportArgumentType]
        await opened.send("a secret")
        assert await code_of(said.create_thread(name="Secrets")) == 200001


async def test_a_harmful_link_is_refused_in_direct_messages_too(fake: FakeDiscord, world: World) -> None:
    fake.harmful_links.add("evil.example")
    async with running(Bot()) as bot:
        opened = await bot.create_dm(discord.Object(world.bob.id))  # pyright: ignore[reportArgumentType]
        for place in (room(bot, world.general), opened):
            assert await code_of(place.send("see https://Evil.example/x")) == 240000


async def test_someone_who_shares_no_server_with_the_bot_gets_no_direct_message(fake: FakeDiscord) -> None:
    stranger = fake.add_user("Stranger")
    async with running(Bot()) as bot:
        opened = await bot.create_dm(discord.Object(stranger.id))  # pyright: ignore[reportArgumentType]
        assert await code_of(opened.send("hello")) == 50278


async def test_a_refusal_lasts_until_it_is_lifted(fake: FakeDiscord, world: World) -> None:
    async with running(Bot()) as bot:
        lift = fake.refuse("create_message", code=400001, where=lambda asked: asked.has_files)
        for _ in range(2):
            assert await code_of(room(bot, world.general).send(file=discord.File(io.BytesIO(b"x"), "x"))) == 400001
        await room(bot, world.general).send("words")
        lift()
        await room(bot, world.general).send(file=discord.File(io.BytesIO(b"x"), "x"))
