"""The adapter between opening and the login, and turns that wait for a decision, against the loopback Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from adapters.discord.adapter import DiscordAdapter, DiscordOptions, open_discord
from adapters.discord.parse import conversation_in, event_key
from adapters.shared.progress import Pace
from bot.domain.errors import AdapterError
from bot.domain.turns import Post, TraceLine, TurnView
from bot.ports.cluster import LoneCluster
from tests.fakes.discord import Channel, FakeDiscord, Message
from tests.fakes.hosts import ScriptedHost

WAIT_S = 20.0
REASON = "Ada or Ben can approve it."


@dataclass
class Place:
    """A question in a channel, and the adapter that is to answer it."""

    discord: FakeDiscord
    adapter: DiscordAdapter
    channel: Channel
    question: Message

    def post(self, text: str = "Hello!") -> Post:
        view = self.view()
        return Post(
            key="a key that is much longer than Discord's nonces may be",
            conversation=view.conversation,
            turn_id=1,
            part=0,
            text=text,
            in_reply_to=view.in_reply_to,
            author_id=view.author_id,
        )

    def view(self) -> TurnView:
        return TurnView(
            turn_id=1,
            conversation=conversation_in(str(self.channel.id), None, guild=str(self.channel.guild), bot_user=""),
            state="running",
            in_reply_to=event_key(str(self.channel.id), str(self.question.id)),
            author_id=str(self.question.author.id),
        )

    def shown(self) -> list[str]:
        return [message.content for message in self.discord.own(self.channel)]

    def trace(self) -> str:
        thread = self.discord.thread_of(self.question)
        return "\n".join(message.content for message in self.discord.own(thread)) if thread else ""


@asynccontextmanager
async def open_place(host: ScriptedHost | None = None) -> AsyncGenerator[Place]:
    async with FakeDiscord() as discord, asyncio.timeout(3 * WAIT_S):
        guild = discord.add_guild("Team")
        channel, ada = discord.add_channel(guild, "general"), discord.add_user("Ada", guilds=[guild])
        question = await discord.say(channel, ada, "Deploy it", mention=True)
        options = DiscordOptions(
            bot_token=discord.token,
            api_url=discord.api_url,
            gateway_url=discord.gateway_url,
            pace=Pace(trace_delay_s=0.0, trace_gap_s=0.0, grow_from_chars=1, status_gap_s=0.0, status_refresh_s=0.1),
            edit_gap_s=0.05,
        )
        async with open_discord(options, host or ScriptedHost()) as adapter:
            yield Place(discord, adapter, channel, question)


@asynccontextmanager
async def running(place: Place) -> AsyncGenerator[None]:
    run = asyncio.create_task(place.adapter.run())
    try:
        await place.adapter.session.opened.wait()
        yield
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


# --- before the login ---


async def test_opening_asks_discord_nothing() -> None:
    async with open_place() as place:
        assert place.discord.calls == []


async def test_posts_that_are_made_before_the_login_wait_for_it() -> None:
    async with open_place() as place:
        looking = asyncio.create_task(place.adapter.find(place.post("never sent")))
        posting = asyncio.create_task(place.adapter.post(place.post()))
        async with running(place):
            assert await looking is None
            (message,) = await place.discord.until(lambda: place.discord.own(place.channel))
            assert await posting == str(message.id)
            assert message.content == "Hello!"


async def test_a_post_that_waits_for_the_login_fails_when_the_adapter_is_closed() -> None:
    async with open_place() as place:
        posting = asyncio.create_task(place.adapter.post(place.post()))
        looking = asyncio.create_task(place.adapter.find(place.post()))
        await asyncio.sleep(0)
    for attempt in (posting, looking):
        with pytest.raises(AdapterError):
            await attempt


async def test_a_key_of_any_length_names_one_post() -> None:
    async with open_place() as place, running(place):
        first = await place.adapter.post(place.post())
        assert await place.adapter.post(place.post()) == first
        assert place.shown() == ["Hello!"]


# --- a process that was paused ---


@dataclass(slots=True)
class Paused(LoneCluster):
    """A process that was paused for longer than its lease, while `is_paused`."""

    is_paused: bool = False

    def is_held(self) -> bool:
        return not self.is_paused


async def test_a_process_that_was_paused_changes_and_posts_nothing_and_does_not_type() -> None:
    cluster = Paused()
    async with open_place(ScriptedHost(cluster=cluster)) as place, running(place):
        place.adapter.show(replace(place.view(), text="It grows"))
        await place.discord.until(lambda: place.shown() == ["It grows"])
        cluster.is_paused = True
        place.adapter.show(replace(place.view(), text="It grows more"))
        await asyncio.sleep(0.05)  # what is on its way arrives
        before = len(place.discord.calls)
        with pytest.raises(AdapterError, match="paused"):
            await place.adapter.post(place.post())
        await asyncio.sleep(0.3)
        assert (place.shown(), len(place.discord.calls)) == (["It grows"], before)
        cluster.is_paused = False
        await place.adapter.post(place.post())
        assert place.shown() == ["Hello!"]


# --- turns that wait ---


async def test_a_waiting_turn_keeps_what_it_shows_says_what_it_waits_for_and_does_not_type() -> None:
    async with open_place() as place, running(place):
        discord, adapter = place.discord, place.adapter
        line = TraceLine(call_id="c1", server="deploys", tool="deploy", state="running", arguments="{}")
        view = replace(place.view(), text="I am deploying it.", trace=(line,))
        adapter.show(view)
        await discord.until(lambda: place.shown() and place.trace())
        waiting = replace(view, trace=(replace(line, state="waiting"),), state="waiting", notice=REASON)
        adapter.show(waiting)
        await discord.until(lambda: REASON in place.trace())
        assert "⏸ deploy · deploys · waiting" in place.trace()
        assert place.shown() == ["I am deploying it."]
        typed = len(discord.calls_of("trigger_typing"))
        await asyncio.sleep(0.3)  # three times as long as it takes the typing to be refreshed
        assert len(discord.calls_of("trigger_typing")) == typed


async def test_the_policy_says_how_a_place_shows_tools_and_what_was_decided_is_part_of_it() -> None:
    async with open_place() as place, running(place):
        lines = (
            TraceLine(
                call_id="c1", server="deploys", tool="deploy", state="ok", arguments="{}", note="approved by Ben"
            ),
            TraceLine(call_id="c2", server="deploys", tool="undo", state="denied", arguments="{}"),
            TraceLine(call_id="c3", server="deploys", tool="ping", state="withheld", arguments="{}"),
        )
        place.adapter.show(replace(place.view(), trace=lines, trace_style="full"))
        await place.discord.until(lambda: "ping" in place.trace())
        headings = [line for line in place.trace().split("\n") if line.startswith("**")]
        assert headings == [
            "**1.** ✓ deploy · deploys · 0.0 s · approved by Ben",
            "**2.** ⊝ undo · deploys · denied",
            r"**3.** ◇ ping · deploys · not sent (dry run)",
        ]


async def test_a_turn_that_goes_on_after_a_wait_adopts_what_was_shown_before() -> None:
    async with open_place() as place, running(place):
        discord, adapter = place.discord, place.adapter
        line = TraceLine(call_id="c1", server="deploys", tool="deploy", state="waiting", arguments="{}")
        view = replace(place.view(), text="I am deploying it.", trace=(line,))
        adapter.show(view)
        await discord.until(lambda: place.shown() and place.trace())
        adapter.show(replace(view, state="waiting", notice=REASON))
        await discord.until(lambda: REASON in place.trace())
        done = replace(view, trace=(replace(line, state="ok"),), attempt=2)
        adapter.show(done)
        await discord.until(lambda: place.trace().startswith("✓ deploy · deploys"))
        assert REASON not in place.trace()
        await adapter.post(place.post("I am deploying it. It is deployed."))
        adapter.show(replace(done, state="answered"))
        assert place.shown() == ["I am deploying it. It is deployed."]
