"""The failure tables of several processes: what happens, what the user sees, and how it is played."""

from __future__ import annotations

from collections.abc import Iterator

from tests.failures.discord.kills import OWN_STEPS as DISCORD_STEPS
from tests.failures.discord.stage import DiscordStage
from tests.failures.processes import postgres
from tests.failures.processes.rows import cases, rows
from tests.failures.slack.kills import OWN_STEPS as SLACK_STEPS
from tests.failures.slack.stage import SlackStage
from tests.failures.table import Case

# Before a question is stored, nobody outside knows which process has it; and what keeps an acknowledgement from Slack
# here keeps it from doing so for all processes.
_OF_ONE_PROCESS = 2


def slack_cases() -> Iterator[Case]:
    yield from cases("slack", rows("slack", steps=SLACK_STEPS[_OF_ONE_PROCESS:], open_stage=SlackStage))
    yield from cases("slack", postgres.rows())


def discord_cases() -> Iterator[Case]:
    yield from cases("discord", rows("discord", steps=DISCORD_STEPS, open_stage=DiscordStage))
    yield from cases("discord", postgres.rows())
