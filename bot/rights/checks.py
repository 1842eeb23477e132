"""What is wrong with a file as a whole: rules that contradict themselves, or that others leave nothing to."""

from __future__ import annotations

from collections.abc import Collection

from bot.rights.document import Document, RuleTable
from bot.rights.findings import Findings, Path
from bot.rights.globs import glob_matches
from bot.rights.notation import Crowd, is_people
from bot.rights.policy import FilePolicy
from bot.rights.rules import Rule


def check_document(
    document: Document, policy: FilePolicy, findings: Findings, *, servers: Collection[str] | None
) -> None:
    """Add what is wrong to the findings. `servers` are the names of those configured; None: they are not known."""
    _check_names(document, findings)
    for index, table in enumerate(document.rules):
        if table is not None:
            _check_approvals(table, ("rule", index), policy, findings)
            _warn_of_any(table, ("rule", index), findings)
    _check_order(document, policy.rules, findings)
    _warn(document, findings)
    if servers is not None:
        _check_servers(document, findings, servers)


def _check_names(document: Document, findings: Findings) -> None:
    seen: set[str] = set()
    for index, table in enumerate(document.rules):
        if table is not None and table.name:
            if table.name in seen:
                findings.wrong(("rule", index, "name"), "another rule has this name", "Give each its own.")
            seen.add(table.name)


def _check_approvals(table: RuleTable, path: Path, policy: FilePolicy, findings: Findings) -> None:
    if table.then != "ask":
        if said := sorted(table.model_fields_set & _TERMS):
            what = f"{', '.join(said)} has no effect, because the rule does not ask"
            findings.warn((*path, said[0]), what, 'Write then = "ask", or remove it.')
        return
    cure = 'Add approvers = ["@group"].'
    if table.approvers:
        _check_number(table, path, policy, findings)
    elif table.approvals > 1:
        what = f"approvals = {table.approvals}, and only the one who asked may approve"
        findings.wrong((*path, "approvals"), what, cure)
    elif not table.asker_may_approve:
        what = "asker_may_approve = false, and nobody else may approve"
        findings.wrong((*path, "asker_may_approve"), what, cure)
    if not table.approvers and "approvers" in table.model_fields_set:
        findings.wrong((*path, "approvers"), "it names nobody", "Name people, or remove it: the asker approves then.")


_TERMS = {"approvers", "approvals", "asker_may_approve", "expires", "ask_in"}


def _check_number(table: RuleTable, path: Path, policy: FilePolicy, findings: Findings) -> None:
    if not all(name[1:] in policy.groups if name.startswith("@") else is_people(name) for name in table.approvers):
        return  # that is reported already
    crowd = Crowd.of(policy.groups.resolve(table.approvers))
    people = {policy.accounts.get(name, name) for name in crowd.names}
    if not (crowd.groups or crowd.prefixes) and len(people) < table.approvals:
        what = f"approvals = {table.approvals}, and the approvers are {len(people)}"
        findings.wrong((*path, "approvers"), what, "Name more people, or a group.")


def _check_order(document: Document, rules: tuple[Rule, ...], findings: Findings) -> None:
    """Compare the rules that are sound: what is wrong in one may be what makes it seem wider or narrower."""
    wrong = {finding.where for finding in findings.errors}
    read = [("rule", index) for index, table in enumerate(document.rules) if table is not None]
    sound = [(path, rule) for path, rule in zip(read, rules, strict=True) if findings.describe(path) not in wrong]
    for index, (path, rule) in enumerate(sound):
        wider = next((earlier for _, earlier in sound[:index] if earlier.covers(rule)), None)
        if wider is not None:
            what = f"it can never match: the rule {wider.name!r} before it decides every such call"
            findings.wrong(path, what, "Move it before that rule, or remove it.")


def _warn_of_any(table: RuleTable, path: Path, findings: Findings) -> None:
    for pointer in table.arguments:
        if table.then == "allow" and "*" in pointer.split("/"):
            findings.warn(
                (*path, "arguments", pointer),
                f"{pointer} holds as soon as one element does, whatever the others are",
                'Write a rule with then = "ask" or "deny" for the others before this one.',
            )


def _warn(document: Document, findings: Findings) -> None:
    for key in ("people", "places"):
        if not getattr(document.access, key):
            findings.warn(("access", key), f"{key} is empty, so nobody can use the bot", f'Name {key}, or "*".')


def _check_servers(document: Document, findings: Findings, servers: Collection[str]) -> None:
    lists: list[tuple[Path, list[str]]] = [
        (("rule", index, "tools"), table.tools) for index, table in enumerate(document.rules) if table is not None
    ]
    lists += [(("places", name, "tools"), table.tools or []) for name, table in document.places.items()]
    for path, names in lists:
        for name in names:
            server, slash, _ = name.partition("/")
            if (
                slash
                and not any(glob_matches(name.rpartition("/")[0], known) for known in servers)
                and not any(glob_matches(server, known) for known in servers)
            ):
                what = f"no server {server!r} is configured"
                there = f"There are: {', '.join(sorted(servers))}." if servers else "There are none."
                findings.warn(path, what, there, text=name)
