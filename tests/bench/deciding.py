"""What it costs to decide on one call with 200 rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bot.domain.rights import Facts, Person, Tool
from bot.rights.policy import FilePolicy
from bot.rights.reading import read_policy
from tests.bench.measure import Row

RULES = 200
CALLS = 2_000
ROUNDS = 9
GOAL_MS = 0.1
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


async def decide_cost(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Decide on calls that no rule matches, so that every rule is looked at; in time of the processor."""
    calls, rounds = (20, 2) if quick else (CALLS, ROUNDS)
    rows: list[Row] = []
    for about, policy in (("of many tools", _spread()), ("all of one tool, each with a condition", _crowded())):
        taken = [_time_ms(policy, calls) for _ in range(rounds)]
        rows.append(
            Row(
                figure=f"one decision by {RULES} rules, {about}",
                value=median(taken),
                unit="ms",
                goal=GOAL_MS,
                beside=f"best {min(taken):.4f}, worst {max(taken):.4f} of {rounds} rounds",
            )
        )
        await asyncio.sleep(0)
    return rows


def _time_ms(policy: FilePolicy, calls: int) -> float:
    facts = [_facts(number) for number in range(calls)]
    assert policy.decide(facts[0]).rule == "default: everything else asks"
    started = time.process_time()
    for one in facts:
        policy.decide(one)
    return 1_000 * (time.process_time() - started) / calls


def _facts(number: int) -> Facts:
    person = Person(id="slack:T1:U1", names=frozenset({"slack:T1:U1"}), groups=frozenset({"slack:T1:usergroup:S9"}))
    arguments = {"env": f"stage-{number}", "replicas": number % 7, "targets": [{"region": "eu"}, {"region": "us"}]}
    place = f"slack:T1:C{number % 50}"
    return Facts(person=person, place=place, tool=Tool(server="s7", tool="deploy"), arguments=arguments, at=NOW)


def _spread() -> FilePolicy:
    """Return rules as a team may have them: ten for each of twenty servers, by people, places, hours and arguments."""
    return _policy(
        f"""
[[rule]]
name = "rule {number}"
tools = ["s{number % 20}/deploy*", "s{number % 20}/undo"]
people = ["slack:T1:U{number + 1000}", "@team"]
hours = "Mon-Fri 08:00-17:00 Europe/Berlin"
arguments = {{ "/targets/*/region" = {{ equals = "r{number}" }}, "/replicas" = {{ at_least = 100 }} }}
then = "ask"
"""
        for number in range(RULES)
    )


def _crowded() -> FilePolicy:
    return _policy(
        f"""
[[rule]]
name = "rule {number}"
tools = ["*/*"]
arguments = {{ "/env" = {{ equals = "prod-{number}" }} }}
then = "deny"
"""
        for number in range(RULES)
    )


def _policy(rules: Iterable[str]) -> FilePolicy:
    text = "\n".join(['[groups]\nteam = ["slack:T1:usergroup:S1"]', *rules])
    return read_policy(text.encode(), file="toolbridge.toml")
