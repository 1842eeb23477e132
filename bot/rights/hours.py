"""The hours of a rule: `Mon-Thu 08:00-17:00 Europe/Berlin, Fri 08:00-12:00 Europe/Berlin`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(?:([A-Za-z]{3})(?:-([A-Za-z]{3}))?\s+)?(\d\d):(\d\d)-(\d\d):(\d\d)\s+(\S+)")
_MINUTES_A_DAY = 24 * 60
_MAX_SPANS = 50
HOURS_CURE = 'Write "Mon-Thu 08:00-17:00 Europe/Berlin", several with a comma between.'


@dataclass(frozen=True, slots=True)
class Span:
    """Hours of some weekdays; those that end on the next day belong to the day on which they begin."""

    days: frozenset[int]  # 0 is Monday
    start: int  # minutes since midnight
    end: int  # not among them; at most `start` where it is on the next day
    zone: ZoneInfo

    def holds(self, at: datetime) -> bool:
        """Return whether the time is among them, by the clocks of the zone."""
        local = at.astimezone(self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        yesterday = (today - 1) % 7
        return (today in self.days and minute >= self.start) or (yesterday in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class Hours:
    """When a rule holds."""

    text: str
    spans: tuple[Span, ...]

    def hold(self, at: datetime) -> bool:
        """Return whether the time, which is aware, is among them."""
        return any(span.holds(at) for span in self.spans)

    def clocks(self, at: datetime) -> str:
        """Return what the clocks of the zones say, for people."""
        zones = dict.fromkeys(span.zone for span in self.spans)
        return ", ".join(f"{at.astimezone(zone):%a %H:%M} in {zone.key}" for zone in zones)


def parse_hours(text: str) -> Hours:
    """Return the hours. Raises ValueError with a phrase on what is wrong."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > _MAX_SPANS:
        raise ValueError(f"there are more than {_MAX_SPANS} spans")
    return Hours(text, tuple(map(_span, parts)))


def _span(text: str) -> Span:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no span of hours in a time zone")
    first, last, *times, zone = found.groups()
    start, end = _minutes(times[0], times[1]), _minutes(times[2], times[3])
    if start in (end, _MINUTES_A_DAY):
        raise ValueError(f"{text!r} begins when it ends" if start == end else f"{text!r} begins at 24:00")
    return Span(_days(first, last), start, end, _zone(zone))


def _minutes(hours: str, minutes: str) -> int:
    total = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or total > _MINUTES_A_DAY:
        raise ValueError(f"{hours}:{minutes} is no time of a day")
    return total


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    start = _day(first)
    return frozenset((start + step) % 7 for step in range((_day(last or first) - start) % 7 + 1))


def _day(name: str) -> int:
    if name.lower() not in _DAYS:
        raise ValueError(f"{name!r} is no day: they are Mon, Tue, Wed, Thu, Fri, Sat, Sun")
    return _DAYS.index(name.lower())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a path, a folder of zones, no such zone
        raise ValueError(f"{name!r} is no time zone: write Europe/Berlin, America/New_York or UTC") from None
