"""What goes wrong at the bot's own address and with the tokens that it keeps, in Slack."""

from __future__ import annotations

import json
from collections.abc import Iterator

import aiohttp
from structlog.testing import capture_logs

from bot.http.bounds import MAX_BODY_BYTES
from tests.failures.slack.world import slack_of
from tests.failures.table import QUESTION, Case
from tests.failures.world import World
from tests.scenarios.slack.seen import answers, until_answered
from tests.scenarios.slack.serving import serving
from tests.scenarios.slack.test_workspaces import Browser, many
from tests.scenarios.tools import without_tools

TIMES = 20  # each kind of nonsense


def rows() -> Iterator[Case]:
    """Yield the rows of the table."""
    yield Case(
        platform="slack",
        happens="over HTTP, strangers send what is not signed, too large, or no event at all",
        seen="one answer to each question; the strangers get 4xx",
        play=_nonsense,
        is_in_suite=False,
    )
    yield Case(
        platform="slack",
        happens="the key of the workspaces' tokens is lost",
        seen="no answer, and in the log what to do; an answer once the app is installed there again",
        play=_lost_key,
        is_in_suite=False,
    )


async def _ask(world: World) -> str:
    return await slack_of(world).say("C1", "U1", QUESTION, mention=True)


async def _nonsense(world: World) -> None:
    slack = slack_of(world)
    async with (
        serving(slack, world.model, world.home, mode="http", settings=without_tools(world.home)),
        aiohttp.ClientSession() as stranger,
    ):
        statuses: set[int] = set()
        for _ in range(TIMES):
            for body in (b"{}", b"[" * 100_000, b"\xff\xfe", json.dumps({"type": "event_callback"}).encode()):
                async with stranger.post(slack.events_url, data=body) as answer:
                    statuses.add(answer.status)
            head = {"Content-Length": str(MAX_BODY_BYTES + 1), "Connection": "close"}
            async with stranger.post(slack.events_url, data=b"{", headers=head) as answer:
                statuses.add(answer.status)
        assert statuses == {401, 413}
        root = await _ask(world)
        await until_answered(slack, "C1", root)
        await slack.settled()
        assert ["Hello!" in message.shown for message in answers(slack, "C1", root)] == [True]
        assert all(delivery.acked_at for delivery in slack.acks)


async def _lost_key(world: World) -> None:
    slack = slack_of(world)
    async with many(slack, world.model, world.home) as bot:
        await Browser(bot).install("T1")
        await until_answered(slack, "C1", await _ask(world))
    (world.home / "secret-key").unlink()
    with capture_logs() as logged:
        async with many(slack, world.model, world.home) as bot:
            unheard = await _ask(world)
            await slack.settled()
            assert answers(slack, "C1", unheard) == []
            assert (await Browser(bot).install("T1")).status == 200
            root = await _ask(world)
            await until_answered(slack, "C1", root)
    told = [line for line in logged if "/slack/install" in str(line)]
    assert told and "TOOLBRIDGE_SECRET_KEY" in str(told[0])
