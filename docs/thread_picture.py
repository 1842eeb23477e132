"""Draws the picture of a Slack thread from a real conversation with a loopback Slack: docs/slack.svg.

Run it from the repository's folder: `python -m docs.thread_picture`.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from docs.drawing import SMALL, Button, Entry, draw
from tests.fakes.slack import FakeSlack, Message
from tests.scenarios.slack.serving import open_world, serving

QUESTIONS = (
    ("U1", "Calculate 15 * 8 and save the result to a file called calculation.txt"),
    ("U2", "and what time is it in Tokyo?"),
)
COLOURS = {"U1": "#2b7a78", "U2": "#8e5572", "U3": "#b8702a", "UBOT": "#4a4e8c"}
FEEDBACK = (Button(label="👍"), Button(label="👎"))


async def converse(folder: Path) -> list[Entry]:
    """Return the messages of the thread."""
    async with open_world() as (slack, model), serving(slack, model, folder):
        root = ""
        for number, (user, text) in enumerate(QUESTIONS, start=1):
            ts = await slack.say("C1", user, text, thread_ts=root or None, mention=not root)
            root = root or ts
            await answered(slack, root, answers=number)
        return [slack_entry(slack, message) for message in slack.visible("C1", root)]


async def answered(slack: FakeSlack, root: str, *, answers: int) -> None:
    """Wait until so many questions of the thread have their answer, and the trace of its tools."""

    def is_answered() -> bool:
        kinds = [kind_of(message) for message in slack.visible("C1", root)]
        return kinds.count("toolbridge_post") == answers and kinds.count("toolbridge_trace") == answers

    await slack.until(is_answered)


def kind_of(message: Message) -> str:
    """Return what the bot says that its message is; empty for those of people."""
    return str((message.metadata or {}).get("event_type", ""))


def slack_entry(slack: FakeSlack, message: Message) -> Entry:
    """Return a message of a person, a trace, or an answer."""
    is_app = message.user == "UBOT"
    is_trace = kind_of(message) == "toolbridge_trace"
    return Entry(
        name="Toolbridge" if is_app else slack.users[message.user].display_name,
        colour=COLOURS[message.user],
        lines=[f"{SMALL if is_trace else ''}{line}" for line in _lines(message.shown if is_app else message.text)],
        is_app=is_app,
        rows=[[Button(label="Details")]] if is_trace else [FEEDBACK] if is_app else [],
    )


def _lines(text: str) -> list[str]:
    """Return a message's lines as they are read: the mention as a name, list signs as dots."""
    text = text.replace("<@UBOT>", "@Toolbridge").replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
    return [re.sub(r"^- ", "• ", line) for line in text.splitlines()]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        entries = asyncio.run(converse(Path(folder)))
    picture = draw(entries, heading=("Thread", "# general"))
    Path(__file__).with_name("slack.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
