"""Every parser of what platforms send, given the platforms' own payloads with anything in the place of anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings

import adapters.discord.parse as discord
import adapters.discord.presses as discord_presses
import adapters.slack.forms as slack_forms
import adapters.slack.parse as slack
import adapters.slack.presses as slack_presses
from adapters.discord.ask_marks import parse_ask_press, parse_modal
from adapters.discord.parse import Thread, parse_mark
from adapters.discord.readable import Reader
from adapters.discord.render import parse_confirmation, parse_page_request
from adapters.discord.standing import standing_in
from adapters.shared.payloads import dict_of
from adapters.slack.deciding import asked_by
from adapters.slack.windows import noted_conversation
from tests.attacks.hostile import payloads

READER = Reader(bot_user="1290000000000000010", bot_roles=frozenset({"41"}), name_of=lambda _: "")
THREAD = Thread("1290000000000000031", owner="1290000000000000010")
PLATFORMS = ("slack", "discord")


def read_slack(body: Any) -> None:
    """Give the body to each parser of Slack's deliveries."""
    slack.parse_event(body, bot_user="UBOT", people=frozenset({"U3"}))
    slack.team_of(body)
    slack.parse_slash(body, prefix="tb")
    slack_forms.parse_submission(body)
    for kind in ("block_actions", "message_action", body.get("type")):
        pressed = slack_presses.parse_press({**body, "type": kind})
        if pressed is not None:
            asked_by(pressed)
            noted_conversation(pressed)
            slack_forms.noted_form(pressed.view_note)


def read_discord(frame: Any) -> None:
    """Give the data of a gateway's frame to each parser of Discord's dispatches."""
    data = dict_of(dict_of(frame).get("d"))
    for thread in (None, THREAD):
        discord.parse_message(data, reader=READER, thread=thread, allow_dms=True)
        discord.parse_edit(data, reader=READER, thread=thread, allow_dms=True)
        discord.parse_delete(data, reader=READER, thread=thread)
    standing_in(data)
    for kind in (2, 3, data.get("type")):
        interaction = {**data, "type": kind}
        discord_presses.parse_slash(interaction, reader=READER, allow_dms=False)
        discord_presses.parse_context_menu(interaction, reader=READER, allow_dms=True)
        discord_presses.parse_component(interaction, reader=READER, allow_dms=True)
    action = discord_presses.pressed_in(data, READER).action
    for parse in (parse_mark, parse_ask_press, parse_modal, parse_confirmation, parse_page_request):
        parse(action)


READ: Mapping[str, Callable[[Any], None]] = {"slack": read_slack, "discord": read_discord}


def fuzz(platform: str, *, inputs: int) -> None:
    """Give so many payloads to the parsers of the platform. Raises what a parser raised, for the smallest payload."""

    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example),
    )
    @given(body=payloads(platform))
    def read(body: Any) -> None:
        READ[platform](body)

    read()
