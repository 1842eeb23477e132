"""What platforms really send is the event beside it, in every file of `slack/` and `discord/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import adapters.discord.parse as discord
import adapters.slack.parse as slack
from adapters.slack.presses import parse_press
from tests.payloads.reading import Sample, as_json, samples

SLACK_PEOPLE = frozenset({"U3"})  # who posts through an app, and is known to be a person
SLACK_BOT, DISCORD_BOT = "UBOT", "1290000000000000010"
PARENTS: Mapping[str, str] = {"1533761342668800010": "1290000000000000031"}  # of Discord's threads
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
    data = frame["d"]
    parent = PARENTS.get(data.get("channel_id"))
    match frame["t"]:
        case "MESSAGE_CREATE":
            return discord.parse_message(data, bot_user=DISCORD_BOT, parent=parent, allow_dms=True)
        case "MESSAGE_UPDATE":
            return discord.parse_edit(data, bot_user=DISCORD_BOT, parent=parent, allow_dms=True)
        case "MESSAGE_DELETE" | "MESSAGE_DELETE_BULK":
            return discord.parse_delete(data, parent=parent)
        case "INTERACTION_CREATE":
            taken = [
                discord.parse_slash(data, allow_dms=True),
                discord.parse_component(data, allow_dms=True),
                discord.parse_context_menu(data, bot_user=DISCORD_BOT, allow_dms=True),
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
