"""Draws the README's picture of a Slack thread from a real conversation with a loopback Slack: docs/slack.svg.

Run it from the repository's folder: `python -m docs.thread_picture`.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import textwrap
from html import escape
from pathlib import Path

from tests.fakes.slack import FakeSlack, Message
from tests.scenarios.slack.serving import open_world, serving

QUESTIONS = (
    ("U1", "Calculate 15 * 8 and save the result to a file called calculation.txt"),
    ("U2", "and what time is it in Tokyo?"),
)
WIDTH, LEFT, LINE, GAP = 900, 84, 24, 22
COLOURS = {"U1": "#2b7a78", "U2": "#8e5572", "UBOT": "#4a4e8c"}
STYLE = """
text { font-family: Lato, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 16px; fill: #1d1c1d }
.name { font-weight: 700 } .small { font-size: 14px; fill: #616061 } .bold { font-weight: 700 }
.code { font-family: Menlo, Consolas, monospace; font-size: 14px; fill: #a3134f }
"""


async def converse(folder: Path) -> list[tuple[str, Message]]:
    """Return the messages of the thread, each with its author's name."""
    async with open_world() as (slack, model), serving(slack, model, folder):
        root = ""
        for number, (user, text) in enumerate(QUESTIONS, start=1):
            ts = await slack.say("C1", user, text, thread_ts=root or None, mention=not root)
            root = root or ts
            await _answered(slack, root, answers=number)
        return [(_name(slack, message), message) for message in slack.visible("C1", root)]


async def _answered(slack: FakeSlack, root: str, *, answers: int) -> None:
    def is_answered() -> bool:
        marks = [(message.metadata or {}).get("event_type") for message in slack.visible("C1", root)]
        return marks.count("toolbridge_post") == answers and marks.count("toolbridge_trace") == answers

    await slack.until(is_answered)


def _name(slack: FakeSlack, message: Message) -> str:
    return "Toolbridge" if message.user == "UBOT" else slack.users[message.user].display_name


def draw(messages: list[tuple[str, Message]]) -> str:
    """Return the thread as SVG."""
    shapes: list[str] = []
    y = 64
    for name, message in messages:
        shapes.append(f'<rect x="28" y="{y - 16}" width="40" height="40" rx="8" fill="{COLOURS[message.user]}"/>')
        shapes.append(f'<text x="48" y="{y + 10}" text-anchor="middle" style="fill:#fff">{escape(name[0])}</text>')
        badge = '<tspan class="small" dx="8">APP</tspan>' if message.user == "UBOT" else ""
        shapes.append(f'<text class="name" x="{LEFT}" y="{y}">{escape(name)}{badge}</text>')
        is_trace = (message.metadata or {}).get("event_type") == "toolbridge_trace"
        for line in _lines(message.shown):
            y += LINE
            shapes.append(f'<text class="{"small" if is_trace else ""}" x="{LEFT}" y="{y}">{_spans(line)}</text>')
        y = _buttons(shapes, y, ["Details"] if is_trace else ["👍", "👎"] if message.user == "UBOT" else [])
        y += LINE + GAP
    height = y - GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="12" fill="#fff" stroke="#ddd"/>\n'
        f'<text class="bold" x="28" y="34">Thread</text><text class="small" x="104" y="34"># general</text>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def _lines(text: str) -> list[str]:
    """Return a message's lines as they are read: the mention as a name, list signs as dots."""
    text = text.replace("<@UBOT>", "@Toolbridge").replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
    lines = [re.sub(r"^- ", "• ", line) for line in text.splitlines()]
    return [part for line in lines for part in textwrap.wrap(line, 96) or [""]]


def _spans(line: str) -> str:
    line = escape(line)
    line = re.sub(r"\*\*(.+?)\*\*", r'<tspan class="bold">\1</tspan>', line)
    return re.sub(r"`(.+?)`", r'<tspan class="code">\1</tspan>', line)


def _buttons(shapes: list[str], y: int, labels: list[str]) -> int:
    x = LEFT
    for label in labels:
        width = 76 if len(label) > 2 else 40
        shapes.append(f'<rect x="{x}" y="{y + 10}" width="{width}" height="28" rx="6" fill="none" stroke="#bbb"/>')
        shapes.append(f'<text class="small" x="{x + width / 2}" y="{y + 29}" text-anchor="middle">{label}</text>')
        x += width + 10
    return y + 34 if labels else y


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        messages = asyncio.run(converse(Path(folder)))
    Path(__file__).with_name("slack.svg").write_text(draw(messages), encoding="utf-8")


if __name__ == "__main__":
    main()
