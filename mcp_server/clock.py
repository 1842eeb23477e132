"""The time in a named time zone."""

import difflib
from collections import defaultdict
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Annotated
from zoneinfo import ZoneInfo

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from mcp_server.answer import Answer
from mcp_server.phrases import listed, quoted

_MAX_NAME_CHARS = 64  # the longest IANA name has 32
_MIN_SIMILARITY = 0.8  # of 1; below it a suggestion misleads
_MAX_SUGGESTIONS = 3


class LocalTime(Answer):
    """One moment in the local time of a time zone."""

    timezone: Annotated[str, Field(description="IANA name")]
    local_time: Annotated[str, Field(description="ISO 8601 with the offset from UTC")]
    weekday: str
    abbreviation: Annotated[str, Field(description="what the zone is called at this time of the year")]
    utc_offset: Annotated[str, Field(description="+HH:MM")]

    def sentence(self) -> str:
        """`It is 23:05:10 on Sunday, 2026-11-22 in Asia/Tokyo (JST, UTC+09:00).`"""
        day, clock = self.local_time.split("T")
        return (
            f"It is {clock[:8]} on {self.weekday}, {day} in {self.timezone} "
            f"({self.abbreviation}, UTC{self.utc_offset})."
        )


def local_time(timezone: str, *, now: datetime) -> LocalTime:
    """Return the aware moment `now` in `timezone`, an IANA name in any case.

    Raises:
        ToolError: No such time zone; the message names the nearest ones.
    """
    name = _zone_names().get(_folded(timezone))
    if name is None:
        raise ToolError(f"unknown time zone {quoted(timezone)}; {_advice(timezone)}")
    local = now.astimezone(ZoneInfo(name)).replace(microsecond=0)
    stamp = local.isoformat()
    return LocalTime(
        timezone=name,
        local_time=stamp,
        weekday=local.strftime("%A"),
        abbreviation=local.tzname() or name,
        utc_offset=stamp[19:],
    )


@cache
def _zone_names() -> dict[str, str]:
    """Every IANA name by its casefolded form, from the tzdata package: the same on every system."""
    names = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return {name.casefold(): name for name in names}


def _advice(timezone: str) -> str:
    nearest = _nearest(timezone) if len(timezone) <= _MAX_NAME_CHARS else []
    if not nearest:
        return "use an IANA name such as Europe/London, Asia/Tokyo or UTC"
    return f"the nearest names are: {listed(nearest)}"


def _nearest(timezone: str) -> list[str]:
    """Return the names that look most like this one, whether it is a whole name or only that of the city."""
    by_form: dict[str, list[str]] = defaultdict(list)
    for folded, name in _zone_names().items():
        for form in {folded, folded.rpartition("/")[2]}:
            by_form[form].append(name)
    near = difflib.get_close_matches(_folded(timezone), by_form, n=_MAX_SUGGESTIONS, cutoff=_MIN_SIMILARITY)
    return list(dict.fromkeys(name for form in near for name in by_form[form]))[:_MAX_SUGGESTIONS]


def _folded(timezone: str) -> str:
    return timezone.strip().replace(" ", "_").casefold()
