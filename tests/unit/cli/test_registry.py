"""The rows of the platforms: which settings switch one on, and which are not enough."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from adapters.registry import PLATFORMS, Platform
from bot.domain.errors import SettingsError
from bot.settings import Settings

TOKEN = SecretStr("token")


def row(name: str) -> Platform[Any]:
    return next(platform for platform in PLATFORMS if platform.name == name)


@pytest.mark.parametrize("name", [platform.name for platform in PLATFORMS])
async def test_a_platform_without_settings_is_off(name: str) -> None:
    settings = Settings(_env_file=None)
    assert row(name).opener(settings) is None
    assert await row(name).check(settings) is None


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("slack", {"slack_bot_token": TOKEN, "slack_app_token": TOKEN}),
        ("slack", {"slack_bot_token": TOKEN, "slack_signing_secret": TOKEN}),
        ("slack", {"slack_client_id": "1", "slack_client_secret": TOKEN, "slack_signing_secret": TOKEN}),
        ("discord", {"discord_bot_token": TOKEN}),
    ],
)
def test_a_platform_that_is_set_up_can_be_opened(name: str, given: dict[str, Any]) -> None:
    assert row(name).opener(Settings(_env_file=None, **given)) is not None


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ({"slack_bot_token": TOKEN}, "SLACK_APP_TOKEN"),
        ({"slack_app_token": TOKEN}, "SLACK_BOT_TOKEN"),
        ({"slack_client_id": "1", "slack_app_token": TOKEN}, "SLACK_CLIENT_SECRET"),
        ({"slack_client_id": "1", "slack_client_secret": TOKEN, "slack_bot_token": TOKEN}, "one of the two"),
        ({"slack_bot_token": TOKEN, "slack_signing_secret": TOKEN, "http_port": "off"}, "HTTP_PORT=off"),
    ],
)
def test_slack_that_is_half_set_up_is_refused_with_what_is_missing(given: dict[str, Any], cure: str) -> None:
    with pytest.raises(SettingsError, match=cure):
        row("slack").opener(Settings(_env_file=None, **given))


def test_the_names_of_platforms_and_of_their_commands_are_different() -> None:
    names = [platform.name for platform in PLATFORMS]
    commands = [command.name for platform in PLATFORMS for command in platform.commands]
    assert len({*names, *commands}) == len(names) + len(commands)
