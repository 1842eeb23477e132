"""Draws a Grafana dashboard from its JSON and from what its queries found.

Titles, units, places, thresholds and mappings are those of the JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import cycle, pairwise
from typing import Any

from docs.drawing import Theme
from docs.prometheus import Series

COLUMN_PX, ROW_PX, GAP_PX, EDGE_PX, TOP_PX = 46, 25, 6, 10, 46  # Grafana has 24 columns
CHAR_PX, LEGEND_PX = 6.2, 16
MIB = 1024.0**2
LOW_PX = 40  # of a value
TICKS = 4
# Those of Grafana's palette that can be told apart on the paper.
LOOKS = {
    "light": (
        Theme(paper="#f4f5f5", ink="#24292e", faint="#5a6067", line="#d5d7da", edge="#e4e7e7", code="#fff"),
        ("#37872d", "#b88600", "#1f60c4", "#e0641a", "#c4162a", "#7c2ea3", "#13827e", "#8a5a3c"),
    ),
    "dark": (
        Theme(paper="#111217", ink="#ccccdc", faint="#9fa1ac", line="#33363d", edge="#25272e", code="#181b1f"),
        ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff9830", "#f2495c", "#ca95e5", "#4fd1c5", "#d3a686"),
    ),
}
NAMED = {"green": 0, "orange": 3, "red": 4}  # in the palettes


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series of a panel, by the name that its legend gives it."""

    name: str
    points: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The colours of a picture."""

    theme: Theme
    palette: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A place in the picture, in pixels."""

    x: float
    y: float
    width: float
    height: float


def line_of(series: Series, legend: str) -> Line:
    """Return the series with the name that the legend's format makes of its labels."""
    name = re.sub(r"\{\{(\w+)\}\}", lambda label: series.labels.get(label[1], ""), legend)
    return Line(name=name.strip(), points=series.points)


def draw_dashboard(
    dashboard: Mapping[str, Any], found: Mapping[int, Sequence[Line]], *, start_at: int, end_at: int, look: str
) -> str:
    """Return the dashboard as SVG; `found` has the lines of each panel by its id."""
    theme, palette = LOOKS[look]
    colours = Look(theme=theme, palette=palette)
    boxes = {panel["id"]: _box(panel["gridPos"]) for panel in dashboard["panels"]}
    width = 24 * COLUMN_PX + 2 * EDGE_PX
    height = max(box.y + box.height for box in boxes.values()) + EDGE_PX
    shapes = [
        shape
        for panel in dashboard["panels"]
        for shape in _panel(panel, boxes[panel["id"]], found.get(panel["id"], ()), (start_at, end_at), colours)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" width="{width}" '
        f'height="{height:g}">\n<style>{_style(theme)}</style>\n'
        f'<rect width="{width}" height="{height:g}" rx="8" fill="{theme.paper}"/>\n'
        f'<text class="title" x="{EDGE_PX + 4}" y="29" style="font-size:18px">{escape(dashboard["title"])}</text>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def _style(theme: Theme) -> str:
    return f"""
text {{ font-family: Inter, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 12px; fill: {theme.ink} }}
.title {{ font-weight: 600; font-size: 13px }} .small {{ font-size: 11px; fill: {theme.faint} }}
path {{ fill: none; stroke-width: 1.4; stroke-linejoin: round; stroke-linecap: round }}
"""


def _box(grid: Mapping[str, int]) -> Box:
    return Box(
        x=EDGE_PX + grid["x"] * COLUMN_PX + GAP_PX / 2,
        y=TOP_PX + grid["y"] * ROW_PX,
        width=grid["w"] * COLUMN_PX - GAP_PX,
        height=grid["h"] * ROW_PX - GAP_PX,
    )


def _panel(
    panel: Mapping[str, Any], box: Box, lines: Sequence[Line], span: tuple[int, int], look: Look
) -> Iterator[str]:
    title = escape(panel["title"])
    if panel["type"] == "row":
        yield f'<text class="title" x="{box.x + 4:g}" y="{box.y + 15:g}">{title}</text>'
        return
    yield (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="3" '
        f'fill="{look.theme.code}" stroke="{look.theme.edge}"/>'
    )
    yield f'<text class="title" x="{box.x + 8:g}" y="{box.y + 17:g}">{title}</text>'
    inner = Box(x=box.x + 8, y=box.y + 26, width=box.width - 16, height=box.height - 32)
    if panel["type"] == "stat":
        yield from _stat(panel, inner, lines, look)
    elif any(line.points for line in lines):
        yield from _chart(panel, inner, [line for line in lines if line.points], span, look)
    else:
        yield _text(inner.x + inner.width / 2, inner.y + inner.height / 2, "No data", anchor="middle")


# --- one value, or a few ------------------------------------------------------------------------------------------


def _stat(panel: Mapping[str, Any], box: Box, lines: Sequence[Line], look: Look) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    if not lines:
        yield _text(box.x + box.width / 2, box.y + box.height / 2, "No data", anchor="middle")
        return
    beside = box.height < 100  # low panels have their values side by side
    width = box.width / (len(lines) if beside else 1)
    height = box.height / (1 if beside else len(lines))
    is_named = len(lines) > 1 or "{{" in panel["targets"][0]["legendFormat"]
    for number, line in enumerate(lines):
        cell = Box(
            x=box.x + width * number * beside, y=box.y + height * number * (not beside), width=width, height=height
        )
        text, colour = _mapped(line.points[max(line.points)], defaults)
        yield from _value(text, look.palette[NAMED[colour]], line.name * is_named, cell)


def _value(text: str, colour: str, name: str, cell: Box) -> Iterator[str]:
    """Yield a value below its name, or beside it where there is little room."""
    if cell.height < LOW_PX:
        yield _text(cell.x, cell.y + cell.height / 2 + 4, name)
        yield _big(text, colour, cell.x + cell.width, cell.y + cell.height / 2 + 5, 15, anchor="end")
        return
    x, y = cell.x + cell.width / 2, cell.y + cell.height / 2
    size = min(30.0, cell.height * 0.5, cell.width / max(1, len(text)) * 1.6)
    yield _big(text, colour, x, y + size / 2 - 4 * (not name) + 4 * bool(name), size, anchor="middle")
    if name:
        yield _text(x, y - size / 2 - 1, name, anchor="middle")


def _big(text: str, colour: str, x: float, y: float, size: float, *, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'style="font-size:{size:.3g}px;font-weight:600;fill:{colour}">{escape(text)}</text>'
    )


def _mapped(value: float, defaults: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text and the colour of a value, by the panel's mappings, unit and thresholds."""
    for mapping in defaults.get("mappings", ()):
        if (option := mapping["options"].get(f"{value:g}")) is not None:
            return option["text"], option["color"]
    steps = defaults.get("thresholds", {}).get("steps", ())
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    whole = round(value) if defaults.get("decimals") == 0 else value
    return shown(whole, defaults["unit"]), reached[-1] if reached else "green"


def shown(value: float, unit: str) -> str:
    """Return the value in its unit, as Grafana writes it."""
    match unit:
        case "s" if value == 0 or value >= 1:
            return f"{value:.3g} s"
        case "s":
            return f"{value * 1000:.3g} ms"
        case "ops":
            return f"{value:.3g} ops/s"
        case "currencyUSD":
            return f"${value:.3g}"
        case "bytes":
            return f"{value / MIB:.3g} MiB"
        case "percentunit":
            return f"{value * 100:.3g}%"
        case _:
            return f"{value:.3g}" if value < 1000 else f"{value / 1000:.3g} K"


# --- lines over time ----------------------------------------------------------------------------------------------


def _chart(
    panel: Mapping[str, Any], box: Box, lines: Sequence[Line], span: tuple[int, int], look: Look
) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    is_stacked = custom.get("stacking", {}).get("mode") == "normal"
    rows = list(_legend_rows(lines, box.width))
    drawn = _stacked(lines) if is_stacked else lines
    scale = MIB if defaults["unit"] == "bytes" else 1.0  # so that ticks are round numbers as they are written
    step = scale * _step(max(max(line.points.values()) for line in drawn) / scale)
    top = step * max(1, math.ceil(max(max(line.points.values()) for line in drawn) / step - 1e-9))
    left = 12 + CHAR_PX * max(len(shown(number * step, defaults["unit"])) for number in range(round(top / step) + 1))
    plot = Box(x=box.x + left, y=box.y + 4, width=box.width - left - 4, height=box.height - 20 - LEGEND_PX * len(rows))
    yield from _axes(plot, top, step, span, defaults["unit"], look)
    colours = dict(zip((line.name for line in lines), cycle(look.palette), strict=False))
    floor: Mapping[int, float] = {}
    for line in drawn:
        yield from _curve(line, floor, plot, (span, top), (colours[line.name], custom.get("fillOpacity", 0)))
        floor = line.points if is_stacked else {}
    yield from _legend(rows, box, colours)


def _stacked(lines: Sequence[Line]) -> Sequence[Line]:
    """Return each line on top of those before it, without those that are always 0: they would hide what they lie on."""
    times = sorted({at for line in lines for at in line.points})
    total = dict.fromkeys(times, 0.0)
    stacked: list[Line] = []
    for line in filter(lambda line: any(line.points.values()), lines):
        total = {at: total[at] + line.points.get(at, 0.0) for at in times}
        stacked.append(replace(line, points=total))
    return stacked or lines


def _step(most: float) -> float:
    """Return a round distance of the axis' ticks."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most / TICKS))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * TICKS >= most * 0.999)


def _axes(plot: Box, top: float, step: float, span: tuple[int, int], unit: str, look: Look) -> Iterator[str]:
    for number in range(round(top / step) + 1):
        y = plot.y + plot.height * (1 - number * step / top)
        yield (
            f'<path d="M{plot.x:.1f} {y:.1f}H{plot.x + plot.width:.1f}" stroke="{look.theme.line}" '
            'style="stroke-width:0.6"/>'
        )
        yield _text(plot.x - 5, y + 4, shown(number * step, unit), anchor="end")
    start_at, end_at = span
    for seconds in range(0, end_at - start_at + 1, 30):
        x = plot.x + plot.width * seconds / (end_at - start_at)
        yield _text(x, plot.y + plot.height + 14, f"{seconds // 60}:{seconds % 60:02}", anchor="middle")


def _curve(
    line: Line,
    floor: Mapping[int, float],
    plot: Box,
    scale: tuple[tuple[int, int], float],
    ink: tuple[str, int],
) -> Iterator[str]:
    (start_at, end_at), top = scale
    colour, opacity = ink

    def point(at: int, value: float) -> str:
        x = plot.x + plot.width * (at - start_at) / (end_at - start_at)
        return f"{x:.1f} {plot.y + plot.height * (1 - value / top):.1f}"

    for run in _runs(sorted(line.points)):
        above = "L".join(point(at, line.points[at]) for at in run)
        if opacity:
            below = "L".join(point(at, floor.get(at, 0.0)) for at in reversed(run))
            yield f'<path d="M{above}L{below}Z" style="fill:{colour};fill-opacity:{opacity / 100:g}"/>'
        yield f'<path d="M{above}{"h0.1" * (len(run) == 1)}" stroke="{colour}"/>'


def _runs(times: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the times without a gap between them: where there is no number, Grafana draws no line."""
    breaks = [0, *(number for number, (one, other) in enumerate(pairwise(times), start=1) if other - one > 1)]
    for first, last in pairwise([*breaks, len(times)]):
        yield times[first:last]


def _legend_rows(lines: Sequence[Line], width: float) -> Iterator[Sequence[str]]:
    row: list[str] = []
    used = 0.0
    for line in lines:
        needed = _legend_width(line.name)
        if row and used + needed > width:
            yield row
            row, used = [], 0.0
        row.append(line.name)
        used += needed
    yield row


def _legend_width(name: str) -> float:
    return 26 + CHAR_PX * len(name)


def _legend(rows: Sequence[Sequence[str]], box: Box, colours: Mapping[str, str]) -> Iterator[str]:
    for number, row in enumerate(rows):
        x = box.x
        y = box.y + box.height - LEGEND_PX * (len(rows) - 1 - number)
        for name in row:
            yield f'<path d="M{x:.1f} {y - 4:.1f}h12" stroke="{colours[name]}" style="stroke-width:3"/>'
            yield _text(x + 17, y, name)
            x += _legend_width(name)


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text class="small" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
