"""The shards that this process runs, with what the gateway has said of their servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from itertools import chain
from typing import Any

import discord

from adapters.discord.assignments import Assignment
from adapters.discord.private_parts import Position, event_parsers
from adapters.discord.shards import Keeper, Shard
from adapters.discord.snowflakes import as_number
from adapters.shared.payloads import Payload


class OwnShards:
    """Starts and stops shards for `keeper`; `note_ended` gets the error of one that has ended by itself.

    `count` is the number of all shards, in whichever process they run; 0 where it is not known.
    """

    def __init__(self, keeper: Keeper, *, note_ended: Callable[[BaseException], None]) -> None:
        self.count = 0
        self._keeper = keeper
        self._note_ended = note_ended
        self._shards: dict[int, Shard] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._positions: dict[int, tuple[int, Position]] = {}  # of shards that may be lost, with the slot's fence

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards.values())

    def __len__(self) -> int:
        return len(self._shards)

    @property
    def numbers(self) -> Collection[int]:
        """Which shards these are."""
        return self._shards.keys()

    @property
    def are_connected(self) -> bool:
        """Whether everything that happens in them arrives now."""
        return self.count > 0 and all(shard.is_connected for shard in self)

    # --- what the gateway has said ---

    @property
    def server_count(self) -> int:
        """How many servers are in these shards."""
        return sum(len(shard.client.guilds) for shard in self)

    def channel(self, channel_id: str) -> Any:
        """Return the channel or thread as the gateway described it; None where it did not."""
        number = as_number(channel_id)
        known = (shard.client.get_channel(number) for shard in self)
        return next((channel for channel in known if channel is not None), None)

    def guild(self, guild_id: str) -> discord.Guild | None:
        """Return the server as the gateway described it; None where it did not."""
        shard = self._of_guild(guild_id)
        return shard.client.get_guild(as_number(guild_id)) if shard is not None else None

    def channels(self, shards: Collection[int]) -> list[Any]:
        """Return all channels and open threads of these shards that the gateway named."""
        clients = [self._shards[number].client for number in shards if number in self._shards]
        threads = chain.from_iterable(guild.threads for client in clients for guild in client.guilds)
        return [*chain.from_iterable(client.get_all_channels() for client in clients), *threads]

    def describe(self, guild_id: str, payload: Payload) -> None:
        """Learn of a server that the gateway did not describe, as this process has resumed another's session."""
        shard = self._of_guild(guild_id)
        if shard is not None and shard.is_connected and self.guild(guild_id) is None:
            event_parsers(shard.client)["GUILD_CREATE"](payload)

    def _of_guild(self, guild_id: str) -> Shard | None:
        """https://docs.discord.com/developers/events/gateway#sharding"""
        return self._shards.get((as_number(guild_id) >> 22) % self.count) if self.count else None

    # --- what was missed ---

    def gaps(self) -> dict[int, float]:
        """Return the shards of which something is missing, with the time since when it is; 0 where that is not known.

        In seconds since the epoch.
        """
        return {number: shard.alive_at for number, shard in self._shards.items() if shard.has_gap}

    def were_taken_over(self, shards: Collection[int]) -> bool:
        """Return whether any of these shards was another process's, or this one's before."""
        return any(self._shards[number].assignment.slot.fence > 1 for number in shards if number in self._shards)

    def close_gaps(self, shards: Collection[int]) -> None:
        """Note that what was missed in these shards was found, unless another session began meanwhile."""
        for number in shards:
            if number in self._shards:
                self._shards[number].has_gap = False

    # --- running ---

    def start(self, assignment: Assignment, *, root: str) -> None:
        """Run the shard, from where this process was cut off if no other has held it since."""
        number = assignment.number
        fence, position = self._positions.pop(number, (0, None))
        is_own = assignment.slot.fence == fence + 1
        self._shards[number] = shard = Shard(assignment, self._keeper, root=root, position=position if is_own else None)
        self._tasks[number] = task = asyncio.create_task(shard.run(), name=f"discord:shard {number}")
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._note_ended(error)

    async def stop(self, shard: Shard, *, is_resumable: bool) -> None:
        """Hang up and forget the shard."""
        task = self._tasks.pop(shard.assignment.number, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await shard.close(is_resumable=is_resumable)
        if self._shards.get(shard.assignment.number) is shard:
            del self._shards[shard.assignment.number]

    async def interrupt(self) -> None:
        """Close all connections: other processes may have taken the shards. Where none has, `start` goes on."""
        shards = list(self)
        for shard in shards:
            if shard.position is not None:
                self._positions[shard.assignment.number] = (shard.assignment.slot.fence, shard.position)
        await asyncio.gather(*(self.stop(shard, is_resumable=True) for shard in shards))
