"""Presses, forms, commands and events full of nonsense, sent to the whole product by a loopback Slack and Discord."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence, Set
from pathlib import Path
from random import Random
from typing import Any, cast

from adapters.discord.shards import TAKEN
from adapters.shared.payloads import dict_of
from tests.attacks.faults import watching
from tests.attacks.hostile import DIGITS, VALUES, changed, paths
from tests.fakes.slack import FakeSlack
from tests.payloads.reading import samples
from tests.scenarios.discord import serving as discord_serving
from tests.scenarios.slack import serving as slack_serving

BATCH = 100  # sent before it is waited for
SETTLE_S = 3.0
BATCH_S = 120.0  # until all of a batch are acknowledged or given up, on a busy machine


# What buttons of the bot carry: https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
SLACK_ACTIONS: Sequence[tuple[str, Any]] = (
    ("tb:ask:run", {"ask": 1, "digest": "abc"}),
    ("tb:asked", {"ask": 1, "digest": "abc"}),
    ("tb:link", {"ask": 1}),
    ("tb:form", {"form": "answer:1"}),
    ("tb:decline", {"form": "answer:1"}),
    ("tb:details", "1"),
    ("tb:feedback", "good:1"),
    ("tb:example:0", {"text": "", "thread": "1.2"}),
    ("tb:pick", {"c": "history", "t": "1.2"}),
    ("tb:page:1", {"command": "help", "argument": "", "thread": "1.2", "page": 1}),
    ("tb:confirm", {"command": "help", "argument": "", "thread": ""}),
    ("tb:run:help", ""),
    ("tb:whole:0", {"turn": 1, "call": 1}),
    ("ask_about", ""),
)
DISCORD_ACTIONS: Sequence[str] = (
    "tb:details:1:0",
    "tb:good:1:0",
    "tb:stop:1:0",
    "tb:page:1:help:",
    "tb:confirm:help:",
    "tb:example:0",
    "tb:decide:1:run:abc",
    "tb:about:1:",
    "tb:fill:open:answer:1",
    "tb:fill:open:run:toolbridge/greet",
    "tb:form:answer:1",
)
_SENDABLE = [10**400 if value == 10**DIGITS else value for value in VALUES]  # Python writes no longer ones as JSON
NUMBERS = ("x", "many", "9" * 5_000, "-1", "1e9", "", "٣", "0x1", "9" * 19)


async def faults_in_slack(folder: Path, *, count: int, seed: int) -> Sequence[str]:
    """Send so many deliveries; return a line for each exception that nothing handled."""
    random = Random(seed)
    async with slack_serving.open_bot(folder) as bot:
        bot.slack.retry_gaps_s = ()  # what is not valid does not become so
        with watching() as faults:
            bases = [each.payload for each in samples("slack")]
            for start in range(0, count, BATCH):
                before = asyncio.all_tasks()
                sent = [
                    bot.slack.deliver(*_slack_delivery(bot.slack, random, bases), team="T1")
                    for _ in range(min(BATCH, count - start))
                ]
                async with asyncio.timeout(BATCH_S):
                    await asyncio.gather(*(delivery.ended.wait() for delivery in sent))
                await _settle(before)
            return faults.lines


async def faults_in_discord(folder: Path, *, count: int, seed: int) -> Sequence[str]:
    """Dispatch so many events; return a line for each exception that nothing handled."""
    random = Random(seed)
    async with discord_serving.open_world() as world, discord_serving.serving(world, folder):
        with watching() as faults:
            bases = [step for each in samples("discord") for step in _steps(each.payload) if step.get("t") in TAKEN]
            for start in range(0, count, BATCH):
                before = asyncio.all_tasks()
                for _ in range(min(BATCH, count - start)):
                    world.discord.dispatch(*_discord_event(world, random, bases))
                await _taken(world)
                await _settle(before)
            assert any(session.is_connected for session in world.discord.sessions), "the gateway was lost"
            return faults.lines


async def _taken(world: discord_serving.World) -> None:
    """Wait until the bot has taken all that was dispatched: a gateway keeps its order."""
    last = await world.discord.slash(world.channel, world.ben, "help")
    assert last.is_acked, world.discord.describe()


def _steps(payload: Any) -> list[Any]:
    return cast("list[Any]", payload) if isinstance(payload, list) else [payload]


def _slack_delivery(slack: FakeSlack, random: Random, bases: Sequence[Any]) -> tuple[Any, Any]:
    if random.random() < 0.3:
        body = random.choice(bases)
        kind = "events_api" if body.get("type") == "event_callback" else "interactive"
        return "slash_commands" if "command" in body else kind, _spoilt(body, random)
    action, value = random.choice(SLACK_ACTIONS)
    text = value if isinstance(value, str) else json.dumps(_spoilt(value, random))
    if random.random() < 0.3:
        text = _nonsense(text, random)
    body: dict[str, Any] = {
        "type": "message_action" if action == "ask_about" else "block_actions",
        "callback_id": action,
        "user": {"id": "U1", "team_id": "T1"},
        "team": {"id": "T1"},
        "channel": {"id": "C1"},
        "trigger_id": f"{random.random()}",
        "message": {"ts": "1790000000.000100", "thread_ts": "1790000000.000100", "text": "x"},
        "container": {"message_ts": "1790000000.000100", "channel_id": "C1"},
        "actions": [{"action_id": action, "value": text, "action_ts": f"{random.random()}"}],
        "view": {"id": "V1", "private_metadata": json.dumps({"form": "answer:1", "channel": "C1"})},
    }
    if random.random() < 0.2:
        held = {"field:a": {"value": {"value": "x", "selected_options": [{"value": "=x"}]}}}
        view = body["view"] | {"callback_id": "tb:form", "state": {"values": held}, "blocks": [{"type": "input"}]}
        body |= {"type": "view_submission", "view": view}
    return "interactive", _spoilt(body, random) if random.random() < 0.5 else body


def _discord_event(world: discord_serving.World, random: Random, bases: Sequence[Any]) -> tuple[str, Any]:
    if random.random() < 0.3:
        frame = random.choice(bases)
        data = _spoilt(frame.get("d"), random)
        return frame["t"], _moved(data, world)
    action = _nonsense(random.choice(DISCORD_ACTIONS), random)
    number = str(world.discord.next_id())
    data: dict[str, Any] = {
        "id": number,
        "application_id": str(world.discord.application_id),
        "type": random.choice((2, 3, 3, 3, 4, 5)),
        "token": f"token-{number}",
        "version": 1,
        "channel_id": str(world.channel.id),
        "guild_id": str(world.guild.id),
        "channel": {"id": str(world.channel.id), "type": 0},
        "member": {"user": {"id": str(world.ada.id), "username": "ada"}, "permissions": "8", "roles": []},
        "message": {"id": number, "channel_id": str(world.channel.id), "content": "x", "flags": 64},
        "data": {
            "custom_id": action,
            "component_type": 2,
            "values": ["0:x"],
            "name": random.choice(("help", "history", "run", "usage", "tools", "Ask about this")),
            "type": random.choice((1, 1, 3)),
            "target_id": number,
            "options": [{"name": "tool", "value": "x", "focused": True}],
            "components": [{"type": 1, "components": [{"custom_id": "a", "value": "x"}]}],
        },
    }
    return "INTERACTION_CREATE", _spoilt(data, random) if random.random() < 0.7 else data


def _moved(data: Any, world: discord_serving.World) -> Any:
    """Return the event as of the channel that there is, most of the time: elsewhere the bot has nothing to do."""
    event = dict_of(data)
    if not isinstance(event.get("channel_id"), str):
        return data
    return {**event, "channel_id": str(world.channel.id), "guild_id": str(world.guild.id)}


def _spoilt(payload: Any, random: Random) -> Any:
    ways = [path for path in paths(payload) if path] or [()]
    return changed(payload, [(random.choice(ways), random.choice(_SENDABLE)) for _ in range(random.randint(1, 3))])


def _nonsense(text: str, random: Random) -> str:
    """Return the text with another number, another end, or something in between."""
    at = random.randint(0, len(text))
    match random.randint(0, 3):
        case 0:
            return "".join(random.choice(NUMBERS) if char.isdigit() else char for char in text)
        case 1:
            return text[:at]
        case 2:
            return text[:at] + random.choice(NUMBERS) + text[at:]
        case _:
            return text


async def _settle(before: Set[asyncio.Task[Any]]) -> None:
    """Wait until what the batch began has ended; what goes on for longer is looked at later."""
    began = asyncio.all_tasks() - before
    if began:
        await asyncio.wait(began, timeout=SETTLE_S)
