"""What the pictures of chats have in common: messages of people and of the bot, drawn as SVG."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, LEFT, LINE, GAP = 900, 84, 24, 22
LINE_CHARS = 96
SMALL = "-# "  # what a small line begins with
CHAR_PX, BUTTON_PX, BUTTON_GAP_PX = 7.2, 28, 10  # of a label; high; apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """The colours of one platform; `strong` are those of its filled buttons."""

    paper: str = "#fff"
    ink: str = "#1d1c1d"
    faint: str = "#616061"
    code: str = "#a3134f"
    line: str = "#bbb"
    edge: str = "#ddd"
    strong: dict[str, str] = field(default_factory=lambda: {"primary": "#007a5a", "danger": "#e01e5a"})


SLACK = {
    "light": Theme(),
    "dark": Theme(
        paper="#1a1d21",
        ink="#d1d2d3",
        faint="#9a9b9d",
        code="#e8912d",
        line="#565856",
        edge="#35373b",
        strong={"primary": "#007a5a", "danger": "#e01e5a"},
    ),
}
DISCORD = {
    "light": Theme(
        ink="#313338",
        faint="#5c5e66",
        code="#a3134f",
        line="#b5b7bd",
        edge="#e3e5e8",
        strong={"primary": "#5865f2", "danger": "#da373c"},
    ),
    "dark": Theme(
        paper="#313338",
        ink="#dbdee1",
        faint="#a5a8b0",
        code="#e3a9c4",
        line="#6d6f78",
        edge="#1e1f22",
        strong={"primary": "#5865f2", "danger": "#da373c"},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    label: str
    style: str = ""  # "primary", "danger" or none


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message. Its lines may have `**bold**` and `` `code` ``; a line that begins with `SMALL` is small."""

    name: str
    colour: str
    lines: Sequence[str]
    is_app: bool = False
    note: str = ""  # beside the name
    rows: Sequence[Sequence[Button]] = ()


@dataclass(frozen=True, slots=True)
class Caption:
    """What happens between two messages, in the picture's own words."""

    text: str


def draw(entries: Sequence[Entry | Caption], *, heading: tuple[str, str], theme: Theme | None = None) -> str:
    """Return the messages as SVG, one below the other, below the heading: what it is, and where."""
    theme = theme or Theme()
    shapes: list[str] = []
    y = 64
    for entry in entries:
        y = _caption(shapes, y, entry.text) if isinstance(entry, Caption) else _message(shapes, y, entry, theme)
    height = y - GAP
    what, where = (escape(text) for text in heading)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">\n'
        f"<style>{_style(theme)}</style>\n"
        f'<rect x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="12" fill="{theme.paper}" '
        f'stroke="{theme.edge}"/>\n'
        f'<text class="bold" x="28" y="34">{what}</text><text class="small" x="104" y="34">{where}</text>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def _style(theme: Theme) -> str:
    return f"""
text {{ font-family: Lato, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 16px; fill: {theme.ink} }}
.name {{ font-weight: 700 }} .small {{ font-size: 14px; fill: {theme.faint} }} .bold {{ font-weight: 700 }}
.code {{ font-family: Menlo, Consolas, monospace; font-size: 14px; fill: {theme.code} }}
"""


def _message(shapes: list[str], y: int, entry: Entry, theme: Theme) -> int:
    shapes.append(f'<rect x="28" y="{y - 16}" width="40" height="40" rx="8" fill="{entry.colour}"/>')
    shapes.append(f'<text x="48" y="{y + 10}" text-anchor="middle" style="fill:#fff">{escape(entry.name[0])}</text>')
    badges = '<tspan class="small" dx="8">APP</tspan>' * entry.is_app
    badges += f'<tspan class="small" dx="8" font-weight="400">{escape(entry.note)}</tspan>' * bool(entry.note)
    shapes.append(f'<text class="name" x="{LEFT}" y="{y}">{escape(entry.name)}{badges}</text>')
    for line in entry.lines:
        for part, style in _wrapped(line):
            y += LINE
            shapes.append(f'<text class="{style}" x="{LEFT}" y="{y}">{_spans(part)}</text>')
    for row in entry.rows:
        y = _buttons(shapes, y, row, theme)
    return y + LINE + GAP


def _caption(shapes: list[str], y: int, text: str) -> int:
    shapes.append(f'<text class="small" x="{LEFT}" y="{y - 4}" font-style="italic">{escape(text)}</text>')
    return y + LINE + GAP // 2


def _wrapped(line: str) -> Iterator[tuple[str, str]]:
    style = "small" if line.startswith(SMALL) else ""
    for part in textwrap.wrap(line.removeprefix(SMALL), LINE_CHARS) or [""]:
        yield part, style


def _spans(line: str) -> str:
    line = escape(line)
    line = re.sub(r"\*\*(.+?)\*\*", r'<tspan class="bold">\1</tspan>', line)
    return re.sub(r"`(.+?)`", r'<tspan class="code">\1</tspan>', line)


def _buttons(shapes: list[str], y: int, row: Sequence[Button], theme: Theme) -> int:
    x = LEFT
    for each in row:
        width = max(40, round(len(each.label) * CHAR_PX) + 26)
        fill = theme.strong.get(each.style)
        look = f'fill="{fill}"' if fill else f'fill="none" stroke="{theme.line}"'
        shapes.append(f'<rect x="{x}" y="{y + 10}" width="{width}" height="{BUTTON_PX}" rx="6" {look}/>')
        ink = ' style="fill:#fff"' if fill else ""
        middle = x + width / 2
        shapes.append(
            f'<text class="small" x="{middle}" y="{y + 29}" text-anchor="middle"{ink}>{escape(each.label)}</text>'
        )
        x += width + BUTTON_GAP_PX
    return y + BUTTON_PX + 6
