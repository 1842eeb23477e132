"""What other rules would have decided on the calls of the past."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from bot.domain.rights import Facts, Tool, Verdict
from bot.ports.rights import Memberships
from bot.ports.rights_store import PastCall, RightsStore
from bot.ports.tools import READ_RESOURCE
from bot.rights.arguments import with_defaults
from bot.rights.facts import read_arguments
from bot.rights.guard import ACCESS
from bot.rights.policy import FilePolicy

PAGE_CALLS = 1_000
HANG_ON_GROUPS = "hang on Slack's user groups, which are not stored: people count as not in them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Calls of one tool that would be decided otherwise; `rule` is the one that would decide."""

    tool: str
    today: Verdict
    then: Verdict
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of all calls. `open_calls`: a group that only a platform knows would decide on so many of them."""

    calls: int
    changes: Mapping[Change, int]
    today: Mapping[Verdict, int]
    then: Mapping[Verdict, int]
    open_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTool:
    """What is known of a tool without asking its server."""

    is_bundled: bool = False
    is_read_only: bool = False
    parameters: Mapping[str, Any] | None = None  # its schema


class KnownTools:
    """The tools as they were accepted, with what is configured of their servers."""

    def __init__(self, definitions: Mapping[tuple[str, str], str], *, bundled: frozenset[str], trusted: frozenset[str]):
        self._definitions = definitions
        self._bundled = bundled
        self._trusted = trusted

    def find(self, server: str, tool: str) -> KnownTool:
        """Return what is known of the tool."""
        if server in self._bundled:
            return KnownTool(is_bundled=True)
        said = _object(self._definitions.get((server, tool), ""))
        hints, parameters = said.get("hints"), said.get("parameters")
        return KnownTool(
            is_read_only=server in self._trusted and (tool == READ_RESOURCE or _is_read_only(hints)),
            parameters=cast("Mapping[str, Any]", parameters) if isinstance(parameters, Mapping) else None,
        )


def _is_read_only(hints: object) -> bool:
    return isinstance(hints, Mapping) and cast("Mapping[str, object]", hints).get("readOnlyHint") is True


def _object(text: str) -> Mapping[str, object]:
    try:
        parsed: object = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        parsed = {}
    return cast("Mapping[str, object]", parsed) if isinstance(parsed, dict) else {}


async def replay(
    store: RightsStore, tools: KnownTools, *, today: FilePolicy, then: FilePolicy, since: float
) -> Replayed:
    """Return what both policies say of the calls since that time (seconds since the epoch). Raises StoreError.

    Who is in a group of Slack's is not stored: people count as not in it.
    """
    changes: Counter[Change] = Counter()
    verdicts: tuple[Counter[Verdict], Counter[Verdict]] = (Counter(), Counter())
    calls = open_calls = 0
    async for call in _calls(store, since=since):
        known = tools.find(call.server, call.tool)
        (old, _), (new, rule) = (_decided(policy, call, known) for policy in (today, then))
        calls += 1
        verdicts[0][old] += 1
        verdicts[1][new] += 1
        open_calls += any(_is_open(policy, call, known) for policy in (today, then))
        if old != new:
            changes[Change(tool=f"{call.server}/{call.tool}", today=old, then=new, rule=rule)] += 1
    return Replayed(calls=calls, changes=changes, today=verdicts[0], then=verdicts[1], open_calls=open_calls)


async def _calls(store: RightsStore, *, since: float) -> AsyncIterator[PastCall]:
    after = 0
    while page := await store.past_calls(since=since, after=after, limit=PAGE_CALLS):
        for call in page:
            yield call
        after = page[-1].turn_id


def _decided(
    policy: FilePolicy, call: PastCall, known: KnownTool, groups: frozenset[str] = frozenset()
) -> tuple[Verdict, str]:
    """Return the verdict on the call and the rule; what nobody may write would have led to no call."""
    event = call.event
    person = policy.person(event.actor, event.standing, Memberships(groups=groups))
    if policy.may_write(person, event.conversation.place) or policy.blocked(event.text):
        return "deny", ACCESS
    arguments = read_arguments(call.arguments)
    # The reading of a resource is a tool of the server whose resource it is.
    server = str((arguments or {}).get("server", "")) if call.tool == READ_RESOURCE else call.server
    ruling = policy.decide(
        Facts(
            person=person,
            place=event.conversation.place,
            tool=Tool(server=server, tool=call.tool, is_bundled=known.is_bundled, is_read_only=known.is_read_only),
            arguments=None if arguments is None else with_defaults(arguments, known.parameters),
            at=datetime.fromtimestamp(call.at, UTC),
        )
    )
    return ruling.verdict, ruling.rule


def _is_open(policy: FilePolicy, call: PastCall, known: KnownTool) -> bool:
    """Return whether a group that may or may not hold the asker changes the verdict."""
    groups = frozenset(group for group in policy.groups_of_interest(call.event.actor) if ":usergroup:" in group)
    return bool(groups) and _decided(policy, call, known, groups)[0] != _decided(policy, call, known)[0]


def table(replayed: Replayed) -> Sequence[str]:
    """Return the calls that would be decided otherwise, as lines: the most frequent first."""
    rows = [("calls", "tool", "today", "then", "by")]
    most = sorted(replayed.changes.items(), key=lambda item: (-item[1], item[0].tool, item[0].rule))
    rows += [(f"{number:,}", change.tool, change.today, change.then, change.rule) for change, number in most]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join([row[0].rjust(widths[0]), *(row[at].ljust(widths[at]) for at in (1, 2, 3)), row[4]]) for row in rows
    ]
