"""The notation of people and places, and sets of them.

People: `slack:TEAM:USER`, `discord:USER`, `discord:SERVER:USER`, `console:USER`, `slack:TEAM:usergroup:ID`,
`discord:SERVER:role:ID`, `@group`, `*`. Places: `slack:TEAM:CHANNEL`, `slack:TEAM:dm`, `discord:SERVER:CHANNEL`,
`discord:dm`, `console`, `*`. A last part `*` names all of a workspace, a server or a platform: `discord:SERVER:*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bot.domain.people import Actor
from bot.domain.rights import Person

_ID = r"[A-Za-z0-9]+"
ACCOUNT = re.compile(rf"slack:{_ID}:{_ID}|discord:{_ID}|console:[^:\s@*][^:*]*")
PERSON = re.compile(rf"{ACCOUNT.pattern}|discord:{_ID}:{_ID}")
PLATFORM_GROUP = re.compile(rf"slack:{_ID}:usergroup:{_ID}|discord:{_ID}:role:{_ID}")
PLACE = re.compile(rf"slack:{_ID}:{_ID}|discord:{_ID}:{_ID}|discord:dm|console")
_MANY_PEOPLE = re.compile(rf"\*|slack:({_ID}:)?\*|discord:({_ID}:)?\*|console:\*")
_MANY_PLACES = re.compile(rf"\*|slack:({_ID}:)?\*|discord:({_ID}:)?\*")
_DIRECT = re.compile(rf"slack:{_ID}:D[A-Z0-9]{{2,}}")
APP = re.compile(r"slack:[A-Z][A-Z0-9]*:[A-Z][A-Z0-9]*|discord:\d+")

ACCOUNT_CURE = "Write slack:TEAM:USER, discord:USER or console:USER."
PEOPLE_CURE = (
    "Write slack:TEAM:USER, discord:USER, console:USER, slack:TEAM:usergroup:ID, discord:SERVER:role:ID or @group."
)
PLACES_CURE = 'Write slack:TEAM:CHANNEL, slack:TEAM:dm, discord:SERVER:CHANNEL, discord:dm, console or "*".'


def is_people(text: str) -> bool:
    """Return whether the text names people, other than by a group of the file."""
    return any(kind.fullmatch(text) for kind in (PERSON, PLATFORM_GROUP, _MANY_PEOPLE))


def is_places(text: str) -> bool:
    """Return whether the text names a place, or all of a workspace, a server or a platform."""
    return bool(PLACE.fullmatch(text) or _MANY_PLACES.fullmatch(text)) and not is_direct_message(text)


def is_direct_message(text: str) -> bool:
    """Return whether the text names one person's direct messages in Slack, which are `slack:TEAM:dm` to rules."""
    return _DIRECT.fullmatch(text) is not None


def is_channel(text: str) -> bool:
    """Return whether the text names one channel, in which something can be posted for several people."""
    return PLACE.fullmatch(text) is not None and ":" in text and not text.endswith(":dm") and is_places(text)


def account(name: str) -> Actor | None:
    """Return the account of a person's name; None for names of several people."""
    if not PERSON.fullmatch(name):
        return None
    platform, _, rest = name.partition(":")
    space, _, user = rest.rpartition(":") if platform != "console" else ("", "", rest)
    return Actor(platform=platform, space=space, id=user)


def names_of(actor: Actor) -> frozenset[str]:
    """Return the notations by which an actor is known where they act."""
    names = {str(actor)}
    if actor.platform == "discord" and actor.space not in ("", "@me"):
        names.add(f"discord:{actor.space}:{actor.id}")
    return frozenset(names)


def acting_in(actor: Actor, place: str) -> Actor:
    """Return the actor with the Discord server in which they act, where only the place says it."""
    platform, _, rest = place.partition(":")
    if actor.platform == platform == "discord" and not actor.space and ":" in rest:
        return replace(actor, space=rest.partition(":")[0])
    return actor


@dataclass(frozen=True, slots=True)
class Crowd:
    """A set of people, the file's groups resolved."""

    names: frozenset[str]
    groups: frozenset[str]
    prefixes: tuple[str, ...]  # of names: `discord:G1:`; "" is everybody

    @classmethod
    def of(cls, names: Iterable[str]) -> Crowd:
        """Return the people behind names without `@groups`; names that mean nothing are nobody."""
        names = tuple(names)
        return cls(
            frozenset(name for name in names if PERSON.fullmatch(name)),
            frozenset(name for name in names if PLATFORM_GROUP.fullmatch(name)),
            tuple(sorted({name[:-1] for name in names if _MANY_PEOPLE.fullmatch(name)})),
        )

    @property
    def is_everybody(self) -> bool:
        """Whether it is every person there is."""
        return "" in self.prefixes

    @property
    def is_empty(self) -> bool:
        """Whether it can be nobody."""
        return not (self.names or self.groups or self.prefixes)

    def holds(self, person: Person) -> bool:
        """Return whether the person is known to be among them."""
        if self.is_everybody or not self.names.isdisjoint(person.names) or not self.groups.isdisjoint(person.groups):
            return True
        return any(name.startswith(self.prefixes) for name in person.names) if self.prefixes else False

    def doubt(self, person: Person) -> str:
        """Return why it cannot be known whether the person is among them, as a phrase; empty where it can."""
        return next((person.unknown[group] for group in sorted(self.groups) if group in person.unknown), "")

    def covers(self, other: Crowd) -> bool:
        """Return whether all of the other's are certainly among them."""
        if self.is_everybody:
            return True
        inside = (self._surely_holds(name) for name in other.names)
        return (
            other.groups <= self.groups
            and all(inside)
            and all(prefix.startswith(self.prefixes or "*") for prefix in other.prefixes)
        )

    def _surely_holds(self, name: str) -> bool:
        """Return whether the person is among them under whatever other name."""
        platform, _, rest = name.partition(":")
        everywhere = f"discord:{rest.rpartition(':')[2]}" if platform == "discord" else name
        return not self.names.isdisjoint((name, everywhere)) or (bool(self.prefixes) and name.startswith(self.prefixes))


@dataclass(frozen=True, slots=True)
class Places:
    """A set of places."""

    names: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Places:
        """Return the places of these names; those that mean nothing are none."""
        names = tuple(names)
        return cls(
            frozenset(name for name in names if PLACE.fullmatch(name)),
            tuple(sorted({name[:-1] for name in names if _MANY_PLACES.fullmatch(name)})),
        )

    def __str__(self) -> str:
        """Return the places in the notation of rules."""
        return ", ".join([*sorted(self.names), *(f"{prefix}*" for prefix in self.prefixes)])

    def hold(self, place: str) -> bool:
        """Return whether the place is among them."""
        return place in self.names or (bool(self.prefixes) and place.startswith(self.prefixes))

    def cover(self, other: Places) -> bool:
        """Return whether all of the other's are among them."""
        return all(map(self.hold, other.names)) and all(
            prefix.startswith(self.prefixes or "*") for prefix in other.prefixes
        )


def channel_of(place: str) -> str:
    """Return the place that a thread belongs to, `slack:TEAM:CHANNEL:THREAD` being one; others are their own."""
    return ":".join(place.split(":")[:3])


class Groups:
    """The file's groups. One that does not exist, or holds itself, is resolved as far as that goes."""

    def __init__(self, groups: dict[str, list[str]]) -> None:
        self._groups = groups

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    @property
    def names(self) -> Sequence[str]:
        """The names of all groups."""
        return tuple(self._groups)

    def resolve(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the people and platforms' groups behind the names, in their order, each once."""
        found: dict[str, None] = {}
        open_, seen = list(reversed(list(names))), set[str]()
        while open_:
            name = open_.pop()
            if not name.startswith("@"):
                found[name] = None
            elif name not in seen:
                seen.add(name)
                open_.extend(reversed(self._groups.get(name[1:], [])))
        return tuple(found)

    def cycle(self, start: str) -> list[str]:
        """Return the way on which a group comes to hold itself, as `@a`, `@b`, `@a`; empty where it does not."""
        ways, seen = [[start]], set[str]()
        while ways:
            way = ways.pop()
            for name in self._groups.get(way[-1][1:], []):
                if name == start:
                    return [*way, name]
                if name.startswith("@") and name not in seen:
                    seen.add(name)
                    ways.append([*way, name])
        return []
