"""Several processes share the shards of one bot: the adapter of each, on one database, with the loopback Discord."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.discord.adapter import DiscordAdapter, DiscordOptions, open_discord
from adapters.discord.assignments import Note
from adapters.discord.parse import event_key
from adapters.discord.session import Watch
from bot.domain.answers import CommandAnswer, Known, Queued
from bot.domain.events import CommandInvoked, MessageReceived
from bot.ports.cluster import Slot
from bot.ports.store import Store
from bot.stores.factory import open_store
from bot.turns.cluster import ProcessCluster
from bot.turns.lease import WorkerLease
from tests.fakes.discord import Channel, FakeDiscord, User
from tests.fakes.hosts import Event, MemoryNotes, Outcome, ScriptedHost
from tests.scenarios.discord.serving import WAIT_S

LEASE_S = 3.0
GAP_S = 0.1
WATCH = Watch(back_off_s=0.1, identify_pause_s=0.6, guild_ready_s=0.05, look_s=0.4, look_alone_s=0.4)


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = WAIT_S) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110  (other processes' slots set no event)
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mortal(ProcessCluster):
    """A process that says nothing any more once it is dead."""

    dead: asyncio.Event = field(default_factory=asyncio.Event)

    def is_held(self) -> bool:
        return not self.dead.is_set() and ProcessCluster.is_held(self)

    async def note(self, slot: Slot, note: str) -> bool:
        return not self.dead.is_set() and await ProcessCluster.note(self, slot, note)

    async def give(self, slot: Slot) -> None:
        if not self.dead.is_set():
            await ProcessCluster.give(self, slot)


@dataclass
class Process:
    """One process of the bot."""

    adapter: DiscordAdapter
    cluster: Mortal
    lease: WorkerLease
    keeping: asyncio.Task[None]
    running: asyncio.Task[None]

    @property
    def worker(self) -> str:
        return self.cluster.worker

    async def leave(self) -> None:
        """End as by SIGTERM."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.keeping.cancel()


@dataclass
class Site:
    """The processes, what they share, and a server with a channel for each shard."""

    discord: FakeDiscord
    store: Store
    channels: list[Channel]
    stack: AsyncExitStack
    commands: list[str] = field(default_factory=list[str])
    notes: MemoryNotes = field(default_factory=MemoryNotes)
    accepted: Counter[str] = field(default_factory=Counter[str])
    handed_over: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # worker, event key

    async def start(self, worker: str) -> Process:
        """Start a process."""
        lease = WorkerLease(self.store, worker, lease_s=LEASE_S)
        cluster = Mortal(store=self.store, worker=worker, lease=lease)

        async def receive(event: Event) -> Outcome:
            if isinstance(event, CommandInvoked):
                self.commands.append(event.name)
                return CommandAnswer(text="Done.")
            assert isinstance(event, MessageReceived)
            self.handed_over.append((worker, event.event_key))
            self.accepted[event.event_key] += 1
            return Queued(turn_id=1) if self.accepted[event.event_key] == 1 else Known(turn_id=1)

        host = ScriptedHost(receive, cluster=cluster)
        host.notes = self.notes
        options = DiscordOptions(
            bot_token=self.discord.token,
            api_url=self.discord.api_url,
            gateway_url=self.discord.gateway_url,
            watch=WATCH,
        )
        adapter = await self.stack.enter_async_context(open_discord(options, host))
        await lease.renew()
        keeping = asyncio.create_task(lease.keep())
        process = Process(adapter, cluster, lease, keeping, asyncio.create_task(adapter.run()))
        self.stack.push_async_callback(process.leave)
        return process

    async def held(self) -> dict[int, str]:
        """Return who holds which shard."""
        slots = await self.store.slots(f"discord/{self.discord.application_id}/shard/")
        return {int(slot.name.split("/")[3]): slot.worker for slot in slots if slot.is_held}

    async def shares(self) -> list[int]:
        """Return how many shards each process holds, the most first."""
        return sorted(Counter((await self.held()).values()).values(), reverse=True)

    async def until_shared(self, *shares: int) -> None:
        """Wait until the processes hold so many shards each, and all are connected by one connection."""

        async def are_shared() -> bool:
            return await self.shares() == list(shares) and self.is_connected()

        await until(are_shared)

    def is_connected(self) -> bool:
        shards = [session.shard for session in self.discord.connected()]
        return sorted(shards) == list(range(len(self.channels)))

    async def until_held_by(self, worker: str) -> None:
        """Wait until that process holds all shards."""

        async def is_held() -> bool:
            return set((await self.held()).values()) == {worker}

        await until(is_held)

    async def until_noted(self) -> None:
        """Wait until each holder has noted that all which was written so far is dealt with."""
        await until(self._are_noted)

    async def _are_noted(self) -> bool:
        slots = await self.store.slots(f"discord/{self.discord.application_id}/shard/")
        seqs = {session.id: session.seq for session in self.discord.connected()}
        positions = [Note.of(slot.note).position for slot in slots]
        return all(position is not None and seqs.get(position.session) == position.seq for position in positions)

    async def kill(self, process: Process) -> list[int]:
        """End the process as by kill -9; return the shards that it held."""
        held = [shard for shard, worker in (await self.held()).items() if worker == process.worker]
        process.cluster.dead.set()
        process.keeping.cancel()
        for shard in held:
            await self.discord.cut(shard=shard)
        process.running.cancel()
        await asyncio.gather(process.running, return_exceptions=True)
        return held

    async def ask_everywhere(self, text: str) -> list[str]:
        """Ask in each channel; return the keys of the questions."""
        said = [await self.discord.say(channel, self.ada, text, mention=True) for channel in self.channels]
        return [event_key(str(message.channel), str(message.id)) for message in said]

    async def until_accepted(self, keys: list[str]) -> None:
        await self.discord.until(lambda: all(key in self.accepted for key in keys))

    @property
    def ada(self) -> User:
        return next(user for user in self.discord.users.values() if user.name == "Ada")

    @property
    def identifies(self) -> int:
        return sum(frame["op"] == 2 for frame in self.discord.frames)

    @property
    def resumes(self) -> int:
        return sum(frame["op"] == 6 for frame in self.discord.frames)


@asynccontextmanager
async def open_site(home: Path, *, shards: int) -> AsyncGenerator[Site]:
    async with (
        FakeDiscord() as discord,
        open_store(f"sqlite:///{home / 'bot.db'}") as store,
        AsyncExitStack() as stack,
    ):
        discord.recommended_shards, discord.max_concurrency, discord.identify_gap_s = shards, 4, GAP_S
        ada = discord.add_user("Ada")
        channels: list[Channel] = []
        for number in range(shards):
            guild = discord.add_guild(f"Team {number}")
            discord.add_member(guild, ada)
            channels.append(discord.add_channel(guild, "general"))
        yield Site(discord, store, channels, stack)
    await until(_no_heart_beats)


async def _no_heart_beats() -> bool:
    return not any(thread.name.startswith("keep-alive-handler") for thread in threading.enumerate())


async def test_three_processes_share_sixteen_shards_and_no_identify_is_refused(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=16) as site:
        for worker in ("a", "b", "c"):
            await site.start(worker)
        await site.until_shared(6, 5, 5)
        assert site.discord.refused_identifies == 0
        await site.until_accepted(await site.ask_everywhere("hello"))
        assert len(site.accepted) == 16
        assert set(site.accepted.values()) == {1}


async def test_when_a_process_dies_its_shards_are_resumed_and_each_question_is_taken_once(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=4) as site:
        await site.start("a")
        dying = await site.start("b")
        await site.until_shared(2, 2)
        await site.until_accepted(await site.ask_everywhere("before"))
        await site.until_noted()
        begun, moved = site.identifies, site.resumes
        noted = await site.ask_everywhere("at the last moment")
        await site.until_accepted(noted)
        held = await site.kill(dying)
        missed = await site.ask_everywhere("while nobody listens")
        await site.until_shared(4)
        await site.until_accepted(missed)
        assert (len(held), site.identifies, site.resumes) == (2, begun, 2 + moved)
        assert len(site.accepted) == 12


async def test_a_command_that_a_process_answered_before_it_died_is_not_answered_again_when_it_is_replayed(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, shards=1) as site:
        dying, _ = await site.start("a"), await site.start("b")
        await site.until_shared(1)
        await site.until_noted()
        (channel,) = site.channels
        await site.discord.say(channel, site.ada, "history", mention=True)
        await site.discord.until(lambda: site.discord.own(channel))
        await site.kill(dying)
        await site.until_held_by("b")
        await site.discord.until(site.is_connected)
        assert site.resumes == 1
        await site.until_accepted(await site.ask_everywhere("after"))
        assert len(site.discord.own(channel)) == len(site.commands) == 1


async def test_a_process_that_joins_gets_its_share_by_resume_and_nothing_is_missed(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=4) as site:
        await site.start("a")
        await site.until_shared(4)
        begun = site.identifies
        await site.start("b")
        asked: list[str] = []
        while await site.shares() != [2, 2]:
            asked += await site.ask_everywhere("meanwhile")
            await asyncio.sleep(0.05)
        await site.until_shared(2, 2)
        await site.until_accepted(asked)
        assert (site.identifies, site.resumes) == (begun, 2)
        assert len(site.accepted) == len(asked)


async def test_a_process_that_ends_gives_its_shards_up_within_a_second(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=4) as site:
        await site.start("a")
        leaving = await site.start("b")
        await site.until_shared(2, 2)
        await site.until_noted()
        begun = site.identifies

        async def is_given_up() -> bool:
            return "b" not in (await site.held()).values()

        leaving.running.cancel()
        await until(is_given_up, within_s=1.0)
        asked = await site.ask_everywhere("while nobody listens")
        await site.until_shared(4)
        await site.until_accepted(asked)
        assert site.identifies == begun
        assert set(site.accepted.values()) == {1}


async def test_a_process_that_ends_while_its_shards_connect_leaves_no_connection_behind(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=8) as site:
        leaving = await site.start("a")
        await site.discord.until(site.discord.connected)
        await leaving.leave()
        await site.discord.until(lambda: not site.discord.connected())
        assert await site.held() == {}


async def test_a_process_that_wakes_after_its_lease_closes_its_sessions_before_it_handles_anything(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, shards=2) as site:
        await site.start("a")
        paused = await site.start("b")
        await site.until_shared(1, 1)
        await site.until_accepted(await site.ask_everywhere("before"))
        await site.until_noted()
        paused.keeping.cancel()
        paused.cluster.dead.set()  # it does not look either
        await site.until_held_by("a")
        handled = len(site.handed_over)
        asked = await site.ask_everywhere("while two listen")
        await site.until_accepted(asked)
        assert {worker for worker, _ in site.handed_over[handled:]} == {"a"}
        await site.discord.until(lambda: len(site.discord.connected()) == 2)
        paused.cluster.dead.clear()
        await paused.lease.renew()
        paused.keeping = asyncio.create_task(paused.lease.keep())
        await site.until_shared(1, 1)
        await site.until_accepted(await site.ask_everywhere("after"))
        assert site.discord.refused_identifies == 0


async def test_a_process_that_gets_its_lease_back_in_time_goes_on_with_its_own_session(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=1) as site:
        paused = await site.start("a")
        await site.until_shared(1)
        await site.until_accepted(await site.ask_everywhere("before"))
        begun = site.identifies
        paused.cluster.dead.set()
        await site.discord.until(lambda: not site.discord.connected())
        missed = await site.ask_everywhere("meanwhile")
        paused.cluster.dead.clear()
        await site.until_accepted(missed)
        assert (site.identifies, site.resumes) == (begun, 1)


async def test_shares_are_not_evened_out_while_few_sessions_may_be_begun(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=2) as site:
        site.discord.session_starts_left = 99
        await site.start("a")
        await site.until_shared(2)
        await site.start("b")
        before = len(site.discord.calls_of("get_gateway_bot"))
        await site.discord.until(lambda: len(site.discord.calls_of("get_gateway_bot")) > before + 2)
        assert await site.shares() == [2]
        site.discord.session_starts_left = 100
        await site.until_shared(1, 1)


async def test_all_processes_have_the_number_of_shards_of_those_that_hold_some(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=2) as site:
        await site.start("a")
        await site.until_shared(2)
        site.discord.recommended_shards = 3
        await site.start("b")
        await site.until_shared(1, 1)
        assert {session.shards for session in site.discord.sessions} == {2}


async def test_what_is_missed_without_a_session_is_looked_for_in_the_channels_of_the_shard_only(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, shards=2) as site:
        await site.start("a")
        dying = await site.start("b")
        await site.until_shared(1, 1)
        await site.until_accepted(await site.ask_everywhere("before"))
        await site.until_noted()
        (lost,) = await site.kill(dying)
        site.discord.forget_sessions()
        missed = await site.ask_everywhere("while nobody listens")
        await site.until_shared(2)
        await site.until_accepted(missed)
        looked_at = {call.parameters["channel"] for call in site.discord.calls_of("list_messages")}
        assert looked_at == {str(site.channels[lost].id)}
        assert len(site.accepted) == 4


async def test_a_resumed_shard_understands_a_mention_of_the_bots_role(tmp_path: Path) -> None:
    async with open_site(tmp_path, shards=2) as site:
        await site.start("a")
        dying = await site.start("b")
        await site.until_shared(1, 1)
        await site.until_noted()
        (taken,) = await site.kill(dying)
        await site.until_shared(2)
        channel = site.channels[taken]
        (role,) = [role for role in site.discord.guild(channel.guild or 0).roles.values() if role.bot]
        said = await site.discord.say(channel, site.ada, f"<@&{role.id}> hello")
        await site.until_accepted([event_key(str(said.channel), str(said.id))])
        again = await site.discord.say(channel, site.ada, f"<@&{role.id}> hello again")
        await site.until_accepted([event_key(str(again.channel), str(again.id))])
        assert len(site.discord.calls_of("get_guild")) == 1


@pytest.mark.parametrize("code", [4010, 4011])
async def test_a_count_of_shards_that_discord_refuses_is_given_up_for_the_one_that_it_recommends(
    tmp_path: Path, code: int
) -> None:
    async with open_site(tmp_path, shards=2) as site:
        await site.start("a")
        await site.until_shared(2)
        site.discord.recommended_shards = site.discord.required_shards = 4
        with capture_logs() as lines:
            await site.discord.close_sockets(code)

            async def are_taken() -> bool:
                return sorted(session.shard for session in site.discord.connected()) == [0, 1, 2, 3]

            await until(are_taken)
        assert any(f"2 shards (close code {code})" in str(line.get("error")) for line in lines), lines
        await site.until_accepted(await site.ask_everywhere("hello"))
