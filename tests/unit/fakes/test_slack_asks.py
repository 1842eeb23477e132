"""The loopback Slack is as strict as Slack with windows, user groups and people of elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import FakeSlack
from tests.fakes.slack.blocks import BlockError, check_view

Json = dict[str, Any]


@pytest.fixture
async def slack() -> AsyncGenerator[FakeSlack]:
    async with FakeSlack() as slack:
        slack.add_user("U1", display_name="Ada")
        slack.add_channel("C1", members=["U1"])
        yield slack


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-test", base_url=slack.api_url)


async def refused(call: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def modal(*elements: Json, **details: Any) -> Json:
    blocks = [
        {"type": "input", "block_id": f"b{at}", "label": plain("L"), "element": {"action_id": "a", **element}}
        for at, element in enumerate(elements)
    ]
    return {"type": "modal", "title": plain("T"), "submit": plain("Send"), "blocks": blocks, **details}


OPTION = {"text": plain("A"), "value": "a"}
TEXT, NUMBER = {"type": "plain_text_input"}, {"type": "number_input", "is_decimal_allowed": False}


@pytest.mark.parametrize(
    "element",
    [
        {**TEXT, "initial_value": "x" * 3_001},
        {**TEXT, "max_length": 3_001},
        {**TEXT, "placeholder": plain("x" * 151)},
        {**NUMBER, "initial_value": "1.5"},
        {"type": "number_input"},
        {"type": "datepicker", "initial_date": "tomorrow"},
        {"type": "static_select", "options": []},
        {"type": "static_select", "options": [OPTION, OPTION]},
        {"type": "static_select", "options": [OPTION], "initial_option": {**OPTION, "value": "b"}},
        {"type": "static_select", "option_groups": [{"label": plain("x" * 76), "options": [OPTION]}]},
        {"type": "checkboxes", "options": [OPTION], "initial_options": []},
        {"type": "checkboxes", "options": [{"text": plain(str(at)), "value": str(at)} for at in range(11)]},
        {"type": "multi_static_select", "options": [OPTION], "max_selected_items": 0},
    ],
)
def test_inputs_beyond_their_limits_are_refused(element: Json) -> None:
    with pytest.raises(BlockError):
        check_view(modal(element))


async def test_a_window_opens_once_within_three_seconds_and_has_a_size(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    ada = slack.users["U1"]
    old = slack.new_trigger(ada)
    slack.advance(3.5)
    assert await refused(client.views_open(trigger_id=old, view=modal(TEXT))) == "expired_trigger_id"
    trigger = slack.new_trigger(ada)
    much = [{"type": "section", "text": plain("x" * 3_000)}] * 90
    assert await refused(client.views_open(trigger_id=trigger, view=modal() | {"blocks": much})) == "view_too_large"
    long_note = modal(TEXT, private_metadata="x" * 3_001)
    assert await refused(client.views_open(trigger_id=trigger, view=long_note)) == "invalid_arguments"
    await client.views_open(trigger_id=trigger, view=modal(TEXT))
    assert await refused(client.views_open(trigger_id=trigger, view=modal(TEXT))) == "exchanged_trigger_id"


async def test_user_groups_need_their_scope_and_belong_to_a_workspace(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.add_user_group("S1", "U1")
    slack.add_team("T2", token="xoxb-two", bot_user="UBOT2", bot_id="B2")
    slack.add_user_group("S2", "U1", team="T2")
    assert (await client.usergroups_users_list(usergroup="S1"))["users"] == ["U1"]
    assert await refused(client.usergroups_users_list(usergroup="S2")) == "no_such_subteam"
    slack.tokens["xoxb-test"].scopes = ("users:read",)
    assert await refused(client.usergroups_users_list(usergroup="S1")) == "missing_scope"


async def test_people_of_the_same_organization_are_shown_and_others_are_not(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    slack.add_team("T2", token="xoxb-two", bot_user="UBOT2", bot_id="B2", enterprise="E1")
    slack.add_user("U2", team="T2", is_restricted=True)
    assert await refused(client.users_info(user="U2")) == "user_not_found"
    slack.teams["T1"].enterprise = "E1"
    user = (await client.users_info(user="U2"))["user"]
    assert (user["team_id"], user["enterprise_user"]["enterprise_id"], user["is_restricted"]) == ("T2", "E1", True)
