"""What a REST handler of the loopback Discord gets and how it is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.discord.errors import form_error
from tests.fakes.discord.gateway import Gateway
from tests.fakes.discord.replies import Body


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request: parameters of the path, query and body."""

    parameters: dict[str, str]
    query: dict[str, str]
    body: Body

    def snowflake(self, name: str) -> int:
        return as_snowflake(name, self.parameters[name])


Handler = Callable[[Gateway, Request], Any]  # returns the JSON of the answer; None is 204


@dataclass(frozen=True)
class Route:
    """A route under its documented name, in snake case; tests use the name for faults and to find calls."""

    name: str
    method: str
    path: str
    handler: Handler
    needs_token: bool = True


def as_snowflake(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 20):
        raise form_error(name, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
    return int(value)
