"""Reads a `toolbridge.toml`: a policy, or everything that is wrong with it at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from bot.domain.rights import PlaceSettings
from bot.rights.access import AccessTable, linear_pattern
from bot.rights.checks import check_document
from bot.rights.compiling import Compiler
from bot.rights.document import Document, PlaceTable
from bot.rights.findings import Finding, Findings, Path, PolicyFileError
from bot.rights.lines import Lines
from bot.rights.notation import ACCOUNT, ACCOUNT_CURE, APP, PLACE, PLATFORM_GROUP, Groups
from bot.rights.policy import FilePolicy, PlaceRights
from bot.rights.rules import Rule, digest

MAX_FILE_BYTES = 1_000_000


def read_policy(content: bytes, *, file: str, servers: Collection[str] | None = None) -> FilePolicy:
    """Return the policy of a file's content; its `warnings` name servers that are not among those configured.

    Raises:
        PolicyFileError: It is not valid; all that was found is reported, with lines.
    """
    text = _decoded(content, file)
    raw = _parsed(text, file)
    lines = _LazyLines(text)
    findings = Findings(file=file, line_of=lines.line_of, describe=lambda path: _described(path, raw))
    document = Document(raw, findings)
    policy = _Reader(document, findings, lines).policy(file)
    check_document(document, policy, findings, servers=servers)
    if findings.errors:
        raise PolicyFileError(_in_order(findings.errors))
    return replace(policy, digest=digest(raw)[:12], warnings=tuple(_in_order(findings.warnings)))


def _in_order(findings: list[Finding]) -> list[Finding]:
    return sorted(dict.fromkeys(findings), key=lambda finding: finding.line)


def _decoded(content: bytes, file: str) -> str:
    if len(content) > MAX_FILE_BYTES:
        raise _whole(file, 1, f"it has more than {MAX_FILE_BYTES:,} bytes", "Remove what is not needed.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _whole(file, line, "it is not UTF-8 text", "Save it as UTF-8.") from None


def _parsed(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        found = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
        what = str(error)[: found.start()].strip() if found else "a value is too large or too deep"
        raise _whole(file, line, f"it is not TOML: {what}", "Correct that line: see https://toml.io.") from None


def _whole(file: str, line: int, what: str, cure: str) -> PolicyFileError:
    return PolicyFileError([Finding(file=file, line=line, where="", what=what, cure=cure)])


class _LazyLines:
    """The lines of the file, which are looked for when something is wrong or a rule's line is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: Lines | None = None

    def line_of(self, path: Path, text: str = "") -> int:
        self._lines = self._lines or Lines(self._text)
        return self._lines.line_of(path, text)


def _described(path: Path, raw: Mapping[str, Any]) -> str:
    match path:
        case ("rule", int(index), *_):
            rules: object = raw.get("rule")
            rule = cast("list[object]", rules)[index] if isinstance(rules, list) else None
            name = cast("dict[str, object]", rule).get("name") if isinstance(rule, dict) else None
            return f"rule {name!r}" if isinstance(name, str) and name else f"rule {index + 1}"
        case ("places", str(place), *_):
            return f'[places."{place}"]'
        case (str(table), *_) if table in raw:
            return f"[{table}]"
        case _:
            return ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Puts the policy together; what is wrong is left out, and in the findings."""

    document: Document
    findings: Findings
    lines: _LazyLines

    def policy(self, file: str) -> FilePolicy:
        groups = Groups(self.document.groups)
        compiler = Compiler(groups, self.findings)
        self._check_groups(groups, compiler)
        return FilePolicy(
            file=file,
            groups=groups,
            accounts=self._accounts(),
            access=self._access(compiler),
            rules=tuple(self._rules(compiler)),
            places={name: self._place(name, table, compiler) for name, table in self.document.places.items()},
            budgets=compiler.budgets(self.document.budgets, ("budgets",)),
            interesting=self._interesting(groups),
        )

    def _rules(self, compiler: Compiler) -> list[Rule]:
        return [
            compiler.rule(table, ("rule", index), number=index + 1, line=self.lines.line_of(("rule", index)))
            for index, table in enumerate(self.document.rules)
            if table is not None
        ]

    def _check_groups(self, groups: Groups, compiler: Compiler) -> None:
        for name, members in self.document.groups.items():
            path: Path = ("groups", name)
            self._check_name(name, path)
            compiler.check_people(members, path)
            if way := groups.cycle(f"@{name}"):
                self.findings.wrong(path, f"the group holds itself: {' > '.join(way)}", "Remove one of these.")

    def _check_name(self, name: str, path: Path) -> None:
        if not re.fullmatch(r"[\w.-]+", name):  # one that looked like an account would be taken for it
            self.findings.wrong(path, f"{name!r} is no name of the file's own", "Write letters, digits, - and _.")

    def _accounts(self) -> Mapping[str, str]:
        owners: dict[str, str] = {}
        for person, names in self.document.people.items():
            path: Path = ("people", person)
            self._check_name(person, path)
            for name in names:
                if not ACCOUNT.fullmatch(name):
                    self.findings.wrong(path, f"{name!r} is no account", ACCOUNT_CURE, text=name)
                elif owners.setdefault(name, person) != person:
                    cure = "An account belongs to one person: remove it here or there."
                    self.findings.wrong(path, f"{name} is an account of {owners[name]} too", cure, text=name)
        return owners

    def _access(self, compiler: Compiler) -> AccessTable:
        table = self.document.access
        compiler.check_people(table.operators, ("access", "operators"))
        for app in table.apps:
            if not APP.fullmatch(app):
                cure = "Write slack:TEAM:ID or discord:ID."
                self.findings.wrong(("access", "apps"), f"{app!r} is no app", cure, text=app)
        return AccessTable(
            people=compiler.crowd(table.people, ("access", "people")),
            places=compiler.places(table.places, ("access", "places")),
            takes_outsiders=table.outsiders,
            operators=tuple(table.operators),
            apps=tuple(table.apps),
            blocked=[search for pattern in table.blocked_patterns if (search := self._pattern(pattern))],
        )

    def _pattern(self, pattern: str) -> Any:
        try:
            return linear_pattern(pattern)
        except ValueError as error:
            cure = "Correct it: https://github.com/google/re2/wiki/Syntax says what a pattern may have."
            self.findings.wrong(("access", "blocked_patterns"), f"{pattern!r} is no pattern: {error}", cure)
            return None

    def _place(self, name: str, table: PlaceTable, compiler: Compiler) -> PlaceRights:
        path: Path = ("places", name)
        if not PLACE.fullmatch(name):
            compiler.places([name], path)
            if name.endswith("*"):
                self.findings.wrong(path, "settings are for one place", "Write one table for each place.")
        tools = compiler.tools(table.tools, (*path, "tools")) if table.tools is not None else ()
        settings = PlaceSettings(
            prompt=table.prompt.strip(),
            model=table.model.strip(),
            tools=tuple(table.tools or ()),
            trace=table.trace or "",
            dry_run=table.dry_run,
        )
        return PlaceRights(settings=settings, tools=tools)

    def _interesting(self, groups: Groups) -> frozenset[str]:
        """Return the platforms' groups that anything in the file hangs on."""
        document = self.document
        lists = [document.access.people, document.access.operators]
        lists += [override.people for override in document.budgets.override]
        lists += [names for rule in document.rules if rule is not None for names in (rule.people, rule.approvers)]
        return frozenset(name for names in lists for name in groups.resolve(names) if PLATFORM_GROUP.fullmatch(name))
