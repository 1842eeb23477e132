"""What happens between several processes and PostgreSQL, and what users see of it."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from tests.failures.processes.fleet import Fleet, open_fleet
from tests.failures.processes.rows import Row
from tests.failures.table import ACT
from tests.failures.world import World
from tests.fakes.mcp_servers.processes import until
from tests.fakes.postgres import PostgresServer
from tests.fakes.wire import Cut, Wire
from tests.scenarios.drivers import Conversation
from tests.scenarios.drivers.slack import SlackDriver

CUT_CONVERSATIONS, CUTS = 10, 20
RESTARTS, A_RESTART = 10, 3  # conversations that begin with each
MODEL_S = 0.2  # until its first word
LONGEST_S = 600.0
WAIT_S = 120.0
COMMIT = b" COMMIT\0"  # as the engine sends it, in a message of its own
ANYTHING = b""
# In Slack these are five minutes (https://docs.slack.dev/apis/events-api#retries).
RETRY_GAPS_S = (0.0, 3.0, 15.0)
ONCE = "one answer to each question; each tool that acts ran once"


def rows() -> Iterator[Row]:
    """Yield the rows, which every platform has."""
    cuts: Sequence[tuple[str, bytes, Cut]] = (
        ("during COMMIT, before PostgreSQL has it", COMMIT, "request"),
        ("during COMMIT, after PostgreSQL has it", COMMIT, "answer"),
        ("before PostgreSQL has a statement, whichever comes next", ANYTHING, "request"),
        ("after PostgreSQL has a statement, whichever comes next", ANYTHING, "answer"),
    )
    for moment, words, what in cuts:
        yield Row(
            happens=f"the network is cut {moment}, {CUTS} times",
            seen=ONCE,
            scene=partial(_cut, words, what),
            needs_server=True,
            longest_s=LONGEST_S,
        )
    yield Row(
        happens=f"PostgreSQL restarts {RESTARTS} times under load, every third time by a crash",
        seen=ONCE,
        scene=_restarted,
        needs_server=True,
        longest_s=LONGEST_S,
    )


# --- the network -----------------------------------------------------------------------------------------------


async def _cut(words: bytes, what: Cut, world: World, url: str) -> None:
    with _wired(url) as (wire, through):
        async with open_fleet(world, url, through=through) as fleet:
            conversations = await _acting_crowd(world, CUT_CONVERSATIONS)
            cutting = asyncio.create_task(_cut_again_and_again(wire, words, what))
            async with asyncio.TaskGroup() as asking:
                for conversation in conversations:
                    asking.create_task(_asked(conversation))
            await until(lambda: wire.cuts_made >= CUTS, timeout_s=WAIT_S)
            cutting.cancel()
            await _each_once(fleet, conversations)


@contextmanager
def _wired(url: str) -> Generator[tuple[Wire, str]]:
    parts = urlsplit(url)
    assert parts.port is not None
    wire = Wire(parts.port)
    try:
        host = parts.netloc.rpartition(":")[0]
        yield wire, urlunsplit(parts._replace(netloc=f"{host}:{wire.port}"))
    finally:
        wire.close()


async def _cut_again_and_again(wire: Wire, words: bytes, what: Cut) -> None:
    chance = random.Random(CUTS)
    while True:
        made = wire.cuts_made
        wire.cut(words, what)
        await until(lambda made=made: wire.cuts_made > made, timeout_s=WAIT_S)
        await asyncio.sleep(chance.uniform(0.05, 0.4))  # so that what was cut can be done again


async def _acting_crowd(world: World, count: int) -> Sequence[Conversation]:
    conversations = await world.driver.crowd(count, channels=count)
    if isinstance(world.driver, SlackDriver):
        world.driver.slack.rates.are_enforced = False
        world.driver.slack.retry_gaps_s = RETRY_GAPS_S
    return conversations


async def _asked(conversation: Conversation) -> None:
    await conversation.ask(ACT)


async def _each_once(fleet: Fleet, conversations: Sequence[Conversation]) -> None:
    """Wait until all is quiet; see that each question has one answer, and that its tool ran once."""
    for conversation in conversations:
        await fleet.world.driver.until(lambda conversation=conversation: conversation.answers, WAIT_S)
    await fleet.world.driver.settled()
    await fleet.until_quiet()
    shown = [[message.shown for message in conversation.written] for conversation in conversations]
    assert all(len(one) == 1 and "did act" in one[0] for one in shown), shown
    assert fleet.world.calls == ["act"] * len(conversations), fleet.world.calls


# --- the server ------------------------------------------------------------------------------------------------


async def _restarted(world: World, url: str) -> None:
    async with _own_server() as server, open_fleet(world, server.url) as fleet:
        conversations = await _acting_crowd(world, RESTARTS * A_RESTART)
        await world.model.pace(first_token_s=MODEL_S)
        chance = random.Random(RESTARTS)
        for number in range(RESTARTS):
            begin = number * A_RESTART
            async with asyncio.TaskGroup() as asking:
                for conversation in conversations[begin : begin + A_RESTART]:
                    asking.create_task(_asked(conversation))
            await asyncio.sleep(chance.uniform(0.0, 3 * MODEL_S))  # so that turns are at any step of theirs
            how = signal.SIGQUIT if number % 3 == 2 else signal.SIGINT
            await asyncio.to_thread(server.restart, how)
        await _each_once(fleet, conversations)


@asynccontextmanager
async def _own_server() -> AsyncGenerator[PostgresServer]:
    server = await asyncio.to_thread(PostgresServer)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.close)
