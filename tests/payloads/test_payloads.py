"""What platforms really send is the event beside it, in every file of `slack/` and `discord/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

import adapters.discord.parse as discord
import adapters.discord.presses as discord_presses
import adapters.slack.parse as slack
from adapters.discord.parse import Thread
from adapters.discord.readable import Reader
from adapters.slack.presses import parse_press
from tests.payloads.reading import Sample, as_json, samples

SLACK_PEOPLE = frozenset({"U3"})  # who posts through an app, and is known to be a person
SLACK_BOT, DISCORD_BOT = "UBOT", "1290000000000000010"
GENERAL = "1290000000000000031"
THREADS: Mapping[str, Thread] = {  # of Discord
    "1533761342668800010": Thread(GENERAL, owner="1290000000000000022"),
    "1533761342668800013": Thread("1290000000000000033", "1290000000000000023", "VPN asks for the code twice"),
    "1533761342668800050": Thread(GENERAL, owner=DISCORD_BOT),  # begun for a trace
}
NAMES = {"1290000000000000032": "alerts", "1290000000000000042": "Helpers"}
READER = Reader(
    bot_user=DISCORD_BOT,
    bot_roles=frozenset({"1290000000000000041"}),
    name_of=lambda number: NAMES.get(number, ""),
)
# What the adapter takes of the gateway's frames; a payload may have others for what comes before.
PARSED = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "INTERACTION_CREATE")
SLACK = [pytest.param(sample, id=sample.name) for sample in samples("slack")]
DISCORD = [pytest.param(sample, id=sample.name) for sample in samples("discord")]


def parse_slack(body: Any) -> Any:
    """Return what the body of a delivery is."""
    match body:
        case {"type": "event_callback"}:
            return slack.parse_event(body, bot_user=SLACK_BOT, people=SLACK_PEOPLE)
        case {"type": "block_actions" | "message_action"}:
            return parse_press(body)
        case {"command": _}:
            return slack.parse_slash(body, prefix="")
        case _:
            raise ValueError(f"no delivery: {body}")


def parse_discord(frame: Any) -> Any:
    """Return what a frame of the gateway is."""
    if isinstance(frame, list):
        return [parse_discord(step) for step in cast("list[Any]", frame) if step.get("t") in PARSED]
    data = frame["d"]
    thread = THREADS.get(data.get("channel_id"))
    match frame["t"]:
        case "MESSAGE_CREATE":
            return discord.parse_message(data, reader=READER, thread=thread, allow_dms=True)
        case "MESSAGE_UPDATE":
            return discord.parse_edit(data, reader=READER, thread=thread, allow_dms=True)
        case "MESSAGE_DELETE" | "MESSAGE_DELETE_BULK":
            return discord.parse_delete(data, reader=READER, thread=thread)
        case "INTERACTION_CREATE":
            taken = [
                discord_presses.parse_slash(data, reader=READER, allow_dms=True),
                discord_presses.parse_component(data, reader=READER, allow_dms=True),
                discord_presses.parse_context_menu(data, reader=READER, allow_dms=True),
            ]
            [event] = [each for each in taken if each is not None]  # only one of the parsers takes it
            return event
        case kind:
            raise ValueError(f"no frame that is parsed: {kind}")


@pytest.mark.parametrize("sample", SLACK)
def test_a_delivery_of_slack_is_the_event_beside_it(sample: Sample) -> None:
    assert as_json(parse_slack(sample.payload)) == sample.expect


@pytest.mark.parametrize("sample", DISCORD)
def test_a_frame_of_discord_is_the_event_beside_it(sample: Sample) -> None:
    assert as_json(parse_discord(sample.payload)) == sample.expect
