"""Slack while the bot's database is away: what is not stored is not acknowledged, and Slack gives up at some time."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.wire import Wire
from tests.scenarios.databases import behind
from tests.scenarios.slack.serving import open_world, serving
from tests.scenarios.slack.threads import start
from tests.scenarios.tools import without_tools

LEASE_S = 1.0


async def test_what_slack_has_given_up_while_the_database_was_away_is_answered_once_all_the_same(
    tmp_path: Path, wire: Wire
) -> None:
    settings = {**without_tools(tmp_path), **behind(wire)}
    async with (
        open_world() as (slack, model),
        serving(slack, model, tmp_path, settings=settings, lease_s=LEASE_S) as bot,
    ):
        slack.ack_timeout_s, slack.retry_gaps_s = 0.2, (0.0, 0.1, 0.1)
        thread = await start(bot, "U1", "the first")
        await thread.answered()
        await slack.settled()
        wire.refuse()
        await thread.say("U1", "the second")
        await slack.until(lambda: any(delivery.gave_up for delivery in slack.acks))
        await slack.until(lambda: not bot.app.host.cluster.is_held())
        wire.flow()
        _, answer = await thread.answered(2)
        assert "the second" in answer
        await thread.say("U2", "the third")
        assert "the third" in (await thread.answered(3))[2]
        assert len(thread.answers) == 3
