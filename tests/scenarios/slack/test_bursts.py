"""Many mentions at once in one channel, whatever Slack takes of their answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.slack.own_messages import POST, TRACE
from tests.fakes.slack.world import Call
from tests.scenarios.model import calls
from tests.scenarios.slack.serving import open_bot
from tests.scenarios.slack.threads import Thread, start
from tests.scenarios.tools import with_workshop

MENTIONS = 6


def _kinds(posts: list[Call]) -> list[str]:
    return [str(call.arguments["metadata"]["event_type"]) for call in posts]


@pytest.mark.parametrize("posts_at_once", [None, 25, 5, 1])
async def test_each_mention_gets_one_answer_and_one_trace_and_answers_go_first_where_slack_is_strict(
    tmp_path: Path, posts_at_once: int | None
) -> None:
    async with open_bot(tmp_path, **with_workshop(tmp_path)) as bot:
        slack = bot.slack
        slack.rates.posts_at_once = posts_at_once
        await bot.model.script(*[step for _ in range(MENTIONS) for step in (calls("shop__look"),)])
        threads: list[Thread] = [await start(bot, "U1", f"look {number}") for number in range(MENTIONS)]
        await slack.until(lambda: all(thread.answers and thread.traces for thread in threads))
        await slack.until(lambda: all("✓" in thread.traces[0].shown for thread in threads))
        posts = slack.calls_of("chat.postMessage")
        refused_at = [number for number, call in enumerate(posts) if call.status == 429]
        assert bool(refused_at) == (posts_at_once in (5, 1))
        after = _kinds([call for call in posts[(refused_at or [len(posts)])[0] :] if call.ok])
        assert after == sorted(after, key=[POST, TRACE].index)
        assert sorted(_kinds([call for call in posts if call.ok])) == [POST] * MENTIONS + [TRACE] * MENTIONS
    assert [(len(thread.answers), len(thread.traces)) for thread in threads] == [(1, 1)] * MENTIONS
