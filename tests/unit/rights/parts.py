"""What the tests of rights are about: people, tools, and files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.domain.rights import Facts, Person, Tool
from bot.rights.policy import FilePolicy
from bot.rights.reading import read_policy

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)  # a Wednesday
ANN = Person(id="slack:T1:U1", names=frozenset({"slack:T1:U1"}))
BEN = Person(id="slack:T1:U2", names=frozenset({"slack:T1:U2"}))
DEPLOY = Tool(server="deploys", tool="deploy")
HERE = "slack:T1:C042"


def policy_of(text: str) -> FilePolicy:
    return read_policy(text.encode(), file="toolbridge.toml")


def facts(
    *,
    person: Person = ANN,
    tool: Tool = DEPLOY,
    arguments: Mapping[str, Any] | None = None,
    no_object: bool = False,
    place: str = HERE,
    at: datetime = NOON,
) -> Facts:
    given = None if no_object else (arguments or {})
    return Facts(person=person, place=place, tool=tool, arguments=given, at=at)
