"""The platforms that shared scenarios are played on, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from tests.scenarios.drivers import discord, slack
from tests.scenarios.drivers.driver import Alert, Conversation, Driver, File, Message, Person, Place, Question

DRIVERS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Driver]]] = {
    "slack": slack.open_driver,
    "discord": discord.open_driver,
}
# Where what Slack delivers over HTTP might come in otherwise than over sockets.
ALL_DRIVERS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Driver]]] = {
    **DRIVERS,
    "slack over HTTP": partial(slack.open_driver, mode="http"),
}
_CLASSES = {"slack": slack.SlackDriver, "discord": discord.DiscordDriver}
WAYS_TO_STOP = [(platform, way) for platform, each in _CLASSES.items() for way in each.ways_to_stop]
AILMENTS = [(platform, ailment) for platform, each in _CLASSES.items() for ailment in each.ailments]
REFUSALS = [(platform, refusal) for platform, each in _CLASSES.items() for refusal in each.refusals]

__all__ = [
    "AILMENTS",
    "ALL_DRIVERS",
    "DRIVERS",
    "REFUSALS",
    "WAYS_TO_STOP",
    "Alert",
    "Conversation",
    "Driver",
    "File",
    "Message",
    "Person",
    "Place",
    "Question",
]
