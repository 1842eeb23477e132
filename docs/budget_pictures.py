"""Draws the picture of budgets from a real conversation with a loopback Slack: docs/budgets-slack.svg.

Times would differ each day, so the picture has a fixed one. Run it from the repository's folder:
`python -m docs.budget_pictures`.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from docs.drawing import SMALL, Caption, Entry, draw
from docs.thread_picture import slack_entry
from tests.fakes.slack import FakeSlack, Message
from tests.scenarios.slack.serving import open_world, serving

BUDGET = '[budgets]\ntimezone = "Europe/Berlin"\nperson = { turns_per_day = 4 }\n'
ANSWERS = ("144", "169", "196", "225")
Story = list[Entry | Caption]


async def converse(home: Path) -> Story:
    """Return what a person with four questions a day sees: the warning, the refusal of the fifth, and `/usage`."""
    (home / "toolbridge.toml").write_text(BUDGET, encoding="utf-8")
    async with open_world() as (slack, model), serving(slack, model, home):
        await model.script(*({"text": f"That is **{answer}**."} for answer in ANSWERS))
        threads = [await _ask(slack, f"What is {number} * {number}?") for number in (12, 13, 14, 15)]
        refused = await slack.say("C1", "U1", "What is 16 * 16?", mention=True)
        notice = await _private(slack, count=1)
        await slack.slash("C1", "U1", "/usage")
        usage = await _private(slack, count=2)
        return [
            *(_still(slack_entry(slack, message)) for message in slack.visible("C1", threads[2])),
            Caption("The fourth question uses the budget up. The fifth:"),
            _still(slack_entry(slack, slack.message("C1", refused))),
            replace(_still(slack_entry(slack, notice)), note="Only visible to you", rows=()),
            Caption("/usage:"),
            replace(_still(slack_entry(slack, usage)), note="Only visible to you", rows=()),
        ]


async def _ask(slack: FakeSlack, question: str) -> str:
    """Return the thread of the question, once it is answered."""
    thread = await slack.say("C1", "U1", question, mention=True)
    await slack.until(lambda: slack.bot_messages("C1", thread))
    return thread


async def _private(slack: FakeSlack, *, count: int) -> Message:
    await slack.until(lambda: len(slack.ephemeral_messages) >= count)
    return slack.ephemeral_messages[count - 1]


def _still(entry: Entry) -> Entry:
    """Return it with a fixed time, as a person in the zone of the budget reads it, and notes below answers as small."""
    lines = [re.sub(r"<!date\^[^>]*>", "10 March 2027 at 00:00", line) for line in entry.lines]
    lines = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d Europe/Berlin", "10 March 2027 at 00:00", line) for line in lines]
    return replace(entry, lines=[re.sub(r"^_(.+)_$", rf"{SMALL}\1", line) for line in lines])


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        story = asyncio.run(converse(Path(home)))
    picture = draw(story, heading=("Slack", "# general"))
    Path(__file__).with_name("budgets-slack.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
