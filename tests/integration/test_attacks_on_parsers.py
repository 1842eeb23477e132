"""Attacks by nonsense in what platforms deliver: events, presses, forms and commands; each is a line in SECURITY.md.

`python -m tests.attacks fuzz` sends as many as you like.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.attacks.fuzz import PLATFORMS, fuzz
from tests.attacks.hostile import changed
from tests.attacks.presses import faults_in_discord, faults_in_slack
from tests.fakes.slack import FakeSlack
from tests.scenarios.slack.serving import open_bot

EXAMPLES = 150  # of each platform's payloads
SENT = 100


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_payload_makes_a_parser_fail(platform: str) -> None:
    fuzz(platform, inputs=EXAMPLES)


def test_nonsense_in_one_payload_does_not_change_the_nonsense_for_the_next() -> None:
    empty: dict[str, object] = {}
    assert changed({"a": 1}, [(("a",), empty), (("a", "b"), empty)]) == {"a": {"b": {}}}
    assert not empty


async def test_no_delivery_of_slack_makes_anything_fail(tmp_path: Path) -> None:
    assert not await faults_in_slack(tmp_path, count=SENT, seed=5)


async def test_no_event_of_discord_makes_anything_fail(tmp_path: Path) -> None:
    assert not await faults_in_discord(tmp_path, count=SENT, seed=5)


NONSENSE = (
    ("tb:feedback", f"good:{'9' * 5_000}", "no longer known"),
    ("tb:feedback", "good:-1", "no longer known"),
    ("tb:feedback", "splendid:1", "not valid"),
    ("tb:page:1", '{"command": "help", "page": "x"}', "/tools"),
    ("tb:page:1", '{"command": ["help"], "thread": {}, "page": 1e400}', "no command"),
    ("tb:ask:run", '{"ask": "many", "digest": 1}', "not valid"),
    ("tb:asked", f'{{"ask": {"9" * 400}}}', "not valid"),
    ("tb:pick", '{"c": 1, "t": []}', "no command"),
    ("tb:example:0", '{"text": {"a": 1}}', "empty"),
)


async def press(slack: FakeSlack, ts: str, action: str, value: str, *, number: int) -> None:
    body: dict[str, Any] = {
        "type": "block_actions",
        "user": {"id": "U1", "team_id": "T1"},
        "team": {"id": "T1"},
        "channel": {"id": "C1"},
        "trigger_id": slack.new_trigger(slack.user("U1")),
        "container": {"type": "message", "message_ts": ts, "channel_id": "C1"},
        "message": {"ts": ts, "text": "x"},
        "actions": [{"action_id": action, "value": value, "action_ts": f"{number}"}],
    }
    await slack.ended(slack.deliver("interactive", body, team="T1"))


async def test_a_button_that_carries_nonsense_gets_a_plain_sentence(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        ts = await bot.slack.say("C1", "U1", "Hello.")
        for number, (action, value, sentence) in enumerate(NONSENSE):
            await press(bot.slack, ts, action, value, number=number)
            (said,) = await bot.slack.until(lambda known=number: bot.slack.ephemerals("U1")[known : known + 1])
            assert sentence in str([said.text, said.blocks]), action
        for number, value in enumerate(("9" * 5_000, "²", ""), start=100):
            await press(bot.slack, ts, "tb:details", value, number=number)
            await bot.slack.until(lambda known=number: len(bot.slack.views("U1")) > known - 100)
        assert all("no longer known" in str(view.content) for view in bot.slack.views("U1"))
