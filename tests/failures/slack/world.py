"""The loopback Slack that a failure is played at."""

from __future__ import annotations

from tests.failures.world import World
from tests.fakes.slack import FakeSlack
from tests.scenarios.drivers.slack import SlackDriver


def slack_of(world: World) -> FakeSlack:
    assert isinstance(world.driver, SlackDriver)
    return world.driver.slack
