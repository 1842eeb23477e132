"""`toolbridge policy`: checks a `toolbridge.toml`, explains a verdict, and replays past calls. Contacts nothing."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bot.cli.output import report
from bot.cli.start import start
from bot.database import open_database
from bot.domain.errors import SettingsError
from bot.domain.people import Standing
from bot.domain.rights import Facts, Tool
from bot.ports.rights import Memberships
from bot.rights.current import FILE_NAME, describe_policy, load_policy, policy_file, policy_of
from bot.rights.explain import Explanation, explain
from bot.rights.facts import read_arguments
from bot.rights.findings import PolicyFileError
from bot.rights.notation import ACCOUNT_CURE, PLACE, PLACES_CURE, account, acting_in
from bot.rights.policy import FilePolicy
from bot.rights.replay import HANG_ON_GROUPS, KnownTools, Replayed, replay, table
from bot.settings import Settings
from bot.text.terminal import visible
from bot.tools.config import ServerConfig
from bot.tools.configured import load_servers


async def check(arguments: Namespace) -> int:
    """Print what is wrong with the file, and return 1 where anything is."""
    settings = start(arguments, needs_model=False)
    file = arguments.file or policy_file(settings)
    if file is None:
        _tell_check(arguments, None, lines=[f"There is no {FILE_NAME}: the defaults hold."])
        return 0
    try:
        policy = load_policy(file, servers=_names(_servers(settings)))
    except PolicyFileError as error:
        return _refuse(arguments, file, [asdict(one) for one in error.findings], list(map(str, error.findings)))
    except SettingsError as error:
        return _refuse(arguments, file, [{"file": str(file), "what": str(error)}], [str(error)])
    warnings = [*map(str, policy.warnings), *money_warnings(settings, policy)]
    lines = [*(f"warning: {warning}" for warning in warnings), f"valid: {describe_policy(policy)}"]
    _tell_check(arguments, file, warnings=warnings, lines=lines)
    return 0


def _refuse(arguments: Namespace, file: Path, errors: Sequence[Mapping[str, object]], lines: Sequence[str]) -> int:
    _tell_check(arguments, file, errors=errors, lines=lines)
    if arguments.quiet:
        _say(lines)
    return 1


def _tell_check(
    arguments: Namespace,
    file: Path | None,
    *,
    errors: Sequence[Mapping[str, object]] = (),
    warnings: Sequence[str] = (),
    lines: Sequence[str],
) -> None:
    told = {"file": file and str(file), "valid": not errors, "errors": errors, "warnings": warnings}
    report(arguments, told, lines)


def money_warnings(settings: Settings, policy: FilePolicy) -> Sequence[str]:
    """Return why budgets of money cannot be enforced, as far as the settings say it."""
    if not policy.budgets.has_money:
        return ()
    from bot.models.prices import CURE, price_problem  # the price list takes a moment

    try:
        problem = price_problem(settings)
    except SettingsError:  # of the model, which is no matter of rules
        return ()
    return [f"[budgets]: {problem} {CURE}"] if problem else ()


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(visible(line).rstrip())


def _servers(settings: Settings) -> Sequence[ServerConfig] | None:
    """Return the configured servers; None where their configuration cannot be read, which is no matter of rules."""
    try:
        return load_servers(settings)
    except SettingsError:
        return None


def _names(servers: Sequence[ServerConfig] | None) -> frozenset[str] | None:
    return None if servers is None else frozenset(server.name for server in servers)


def _bundled(servers: Sequence[ServerConfig]) -> frozenset[str]:
    return frozenset(server.name for server in servers if server.is_bundled)


def _read(settings: Settings, file: Path | None = None) -> FilePolicy:
    return policy_of(settings) if file is None else load_policy(file)


# --- explain ---------------------------------------------------------------------------------------------------


async def explain_call(arguments: Namespace) -> int:
    """Print the verdict on one call, and why.

    Raises:
        SettingsError: Person, place, tool or arguments are not written as they should be, or the file is not valid.
    """
    settings = start(arguments, needs_model=False)
    policy = _read(settings, arguments.policy)
    servers = _servers(settings) or ()
    facts, assumed = _facts(arguments, policy, servers)
    explanation = explain(policy, facts, assumed=assumed)
    not_known = [*explanation.not_known, *_not_known(explanation, facts.tool, servers, arguments)]
    if arguments.quiet:
        print(explanation.ruling.verdict)
    report(arguments, _explained(explanation, not_known), _lines(explanation, not_known))
    return 0


def _explained(explanation: Explanation, not_known: Sequence[str]) -> Mapping[str, object]:
    ruling = explanation.ruling
    return {
        "verdict": ruling.verdict,
        "rule": ruling.rule,
        "source": explanation.source,
        "reason": ruling.reason,
        "terms": explanation.terms,
        "before": [{"rule": name, "why": why} for name, why in explanation.before],
        "not_known": not_known,
    }


def _tool(text: str, servers: Sequence[ServerConfig]) -> tuple[str, str]:
    """Return server and tool; a slash may be part of the name of a server that is configured."""
    known = [server.name for server in servers if text.startswith(f"{server.name}/")]
    server = max(known, key=len, default=text.partition("/")[0])
    tool = text[len(server) + 1 :]
    if not (server and tool):
        raise SettingsError(f"{text} is no tool: write SERVER/TOOL.")
    return server, tool


def _facts(arguments: Namespace, policy: FilePolicy, servers: Sequence[ServerConfig]) -> tuple[Facts, frozenset[str]]:
    actor = account(arguments.person)
    if actor is None:
        raise SettingsError(f"--as {arguments.person} is no person. {ACCOUNT_CURE}")
    if not PLACE.fullmatch(arguments.place):
        raise SettingsError(f"--in {arguments.place} is no place. {PLACES_CURE}")
    server, tool = _tool(arguments.tool, servers)
    parsed = read_arguments(arguments.arguments)
    if parsed is None:
        raise SettingsError(f"{arguments.arguments} is not one JSON object: write the call's arguments as one.")
    actor = acting_in(actor, arguments.place)
    interesting = policy.groups_of_interest(actor)
    said = {*arguments.group, *arguments.role}
    groups = frozenset(group for group in interesting if group in said or group.rpartition(":")[2] in said)
    standing = Standing(outsider="an outsider" if arguments.outsider else "")
    person = policy.person(actor, standing, Memberships(groups=groups))
    facts = Facts(
        person=person,
        place=arguments.place,
        tool=Tool(server=server, tool=tool, is_bundled=server in _bundled(servers), is_read_only=arguments.read_only),
        arguments=parsed,
        at=arguments.at or datetime.now(UTC),
    )
    return facts, interesting - person.groups


def _not_known(explained: Explanation, tool: Tool, servers: Sequence[ServerConfig], arguments: Namespace) -> list[str]:
    found: list[str] = []
    server = next((server for server in servers if server.name == tool.server), None)
    if explained.ruling.rule == "default: everything else asks":
        if server is None:
            found.append(f"whether the server {tool.server} says that the tool only reads: it is not configured here")
        elif server.trusted and not arguments.read_only:
            found.append("whether the server says that the tool only reads: taken as no (--read-only says yes)")
    if explained.ruling.verdict == "allow" and not tool.is_bundled:
        found.append("whether the tool's definition has changed since it was accepted: then it asks")
    return found


def _lines(explained: Explanation, not_known: Sequence[str]) -> Sequence[str]:
    ruling = explained.ruling
    lines = [f"{ruling.verdict} by {ruling.rule!r} ({explained.source})", f"  {ruling.reason}"]
    lines += [f"  {explained.terms}"] if explained.terms else []
    lines += ["Rules before it, which did not match:"] if explained.before else []
    lines += [f"  {number}. {name!r}: {why}" for number, (name, why) in enumerate(explained.before, start=1)]
    lines += ["Not known here:"] if not_known else []
    return [*lines, *(f"  - {what}" for what in not_known)]


# --- replay ----------------------------------------------------------------------------------------------------


async def replay_calls(arguments: Namespace) -> int:
    """Print which past calls the new file would decide otherwise; return 1 where `fail_on_change` and there are any.

    Raises:
        SettingsError: One of the files is not valid.
        StoreError: The calls cannot be read.
    """
    settings = start(arguments, needs_model=False)
    today, then = _read(settings), load_policy(arguments.file)
    servers = _servers(settings) or ()
    since = time.time() - arguments.since
    async with open_database(settings) as store:
        tools = KnownTools(
            {(pin.server, pin.tool): pin.accepted for pin in await store.pins()},
            bundled=_bundled(servers),
            trusted=frozenset(server.name for server in servers if server.trusted),
        )
        replayed = await replay(store, tools, today=today, then=then, since=since)
    if arguments.quiet and replayed.changes:
        _say(table(replayed))
    report(arguments, _replayed(replayed, since=since), _report(replayed, since=since))
    return 1 if arguments.fail_on_change and replayed.changes else 0


def _replayed(replayed: Replayed, *, since: float) -> Mapping[str, object]:
    return {
        "since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
        "calls": replayed.calls,
        "today": dict(replayed.today),
        "then": dict(replayed.then),
        "changes": [{**asdict(change), "calls": number} for change, number in replayed.changes.items()],
        "open_calls": replayed.open_calls,
    }


def _report(replayed: Replayed, *, since: float) -> Sequence[str]:
    changed = sum(replayed.changes.values())
    lines = [
        f"{_count(replayed.calls, 'call')} since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC; "
        f"{changed:,} would be decided otherwise."
    ]
    for name, verdicts in (("today", replayed.today), ("then", replayed.then)):
        lines.append(
            f"{name + ':':6} " + ", ".join(f"{verdicts.get(one, 0):,} {one}" for one in ("allow", "ask", "deny"))
        )
    if replayed.changes:
        lines += ["", *table(replayed)]
    if replayed.open_calls:
        lines.append(f"{_count(replayed.open_calls, 'call')} {HANG_ON_GROUPS}")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
