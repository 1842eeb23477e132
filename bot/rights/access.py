"""Who may use the bot at all, and where: `[access]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain.rights import Person
from bot.rights.notation import Crowd, Places, channel_of
from bot.text.cleaning import strip_surrogates

MAX_PATTERN_CHARS = 1_000
_MAX_PATTERN_BYTES = 1 << 20  # of memory for one pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTable:
    """`[access]`; without it everyone but outsiders may write wherever the bot was invited."""

    people: Crowd
    places: Places
    takes_outsiders: bool = False
    operators: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    blocked: Sequence[Callable[[str], object]] = ()

    def may_write(self, person: Person, place: str) -> str:
        """Return why the person may not use the bot in the place, as a sentence for them; empty where they may."""
        if person.outsider and not self.takes_outsiders:
            return f"I answer only people of this team, and you are {person.outsider}. An operator of the bot can help."
        if not self.places.hold(channel_of(place)):
            return "I do not answer in this place. An operator of the bot decides where I do."
        if self.people.is_everybody:
            return ""
        if doubt := person.problem or ("" if self.people.holds(person) else self.people.doubt(person)):
            return f"I cannot find out whether you may use me: {doubt}. Please ask again in a minute."
        if not self.people.holds(person):
            return "You are not among the people who may use me. An operator of the bot can change that."
        return ""

    def refuses(self, text: str) -> str:
        """Return why the text is refused, as a sentence for its author; empty where it is not."""
        if self.blocked and any(matches(strip_surrogates(text)) for matches in self.blocked):
            return "Your message contains something that must not be sent to me, so I have not read it."
        return ""


def linear_pattern(pattern: str) -> Callable[[str], object]:
    """Return the search for a pattern, in a time that grows only with the text.

    Raises:
        ValueError: It is no such pattern; the phrase says why.
    """
    import re2  # pyright: ignore[reportMissingTypeStubs]  (only where a file has patterns: most have none)

    library: Any = re2
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"it has more than {MAX_PATTERN_CHARS} characters")
    options = library.Options()
    options.log_errors = False
    options.max_mem = _MAX_PATTERN_BYTES
    try:
        return library.compile(strip_surrogates(pattern), options).search
    except library.error as error:
        raise ValueError(_reason(error)) from None


def _reason(error: Exception) -> str:
    what = error.args[0] if error.args else ""
    return what.decode(errors="replace") if isinstance(what, bytes) else str(what)
