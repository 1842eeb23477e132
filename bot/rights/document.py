"""The tables of a `toolbridge.toml`, as they are written: which keys there are, and of which type."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bot.domain.rights import Verdict
from bot.rights.findings import Findings, Path

TABLES = ("groups", "people", "access", "rule", "places", "budgets")
MAX_RULES = 1_000  # each is compared with all before it
_MAX_NAME_CHARS = 100
_MAX_AMOUNT = 10**15  # above any use; sums stay within what stores can count
_MAX_USD = 10**9
_MAX_REASON_CHARS = 500  # it is shown to people in one line


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class AccessTable(_Table):
    """`[access]`"""

    people: list[str] = ["*"]
    places: list[str] = ["*"]
    outsiders: bool = False
    operators: list[str] = []
    apps: list[str] = []
    blocked_patterns: list[str] = Field(default=[], max_length=100)


class ConditionTable(_Table):
    """What is said of one argument. All of it has to hold."""

    equals: Any = None
    one_of: list[Any] | None = Field(default=None, alias="in")
    glob: str | None = Field(default=None, max_length=500)
    at_least: float | int | None = Field(default=None, allow_inf_nan=False)
    at_most: float | int | None = Field(default=None, allow_inf_nan=False)
    exists: bool | None = None
    ignore_case: bool = False


class RuleTable(_Table):
    """`[[rule]]`"""

    name: str = Field(default="", max_length=_MAX_NAME_CHARS)
    tools: list[str]
    people: list[str] = ["*"]
    places: list[str] = ["*"]
    arguments: dict[str, ConditionTable] = {}
    hours: str | None = None
    then: Verdict
    approvers: list[str] = []
    approvals: int = Field(default=1, ge=1, le=10)
    asker_may_approve: bool = True
    expires: str = "1h"
    ask_in: str = "thread"
    reason: str = Field(default="", max_length=_MAX_REASON_CHARS)


class PlaceTable(_Table):
    """`[places."..."]`"""

    prompt: str = Field(default="", max_length=20_000)
    model: str = ""
    tools: list[str] | None = None
    trace: Literal["summary", "full"] | None = None
    dry_run: bool = False


class BudgetTable(_Table):
    """The bounds of a budget; what is left out has none."""

    turns_per_day: int | None = Field(default=None, gt=0, le=_MAX_AMOUNT)
    turns_per_month: int | None = Field(default=None, gt=0, le=_MAX_AMOUNT)
    tokens_per_day: int | None = Field(default=None, gt=0, le=_MAX_AMOUNT)
    tokens_per_month: int | None = Field(default=None, gt=0, le=_MAX_AMOUNT)
    usd_per_day: float | int | None = Field(default=None, gt=0, le=_MAX_USD, allow_inf_nan=False)
    usd_per_month: float | int | None = Field(default=None, gt=0, le=_MAX_USD, allow_inf_nan=False)


class OverrideTable(BudgetTable):
    """`[[budgets.override]]`: what holds for some people or some places in place of the table for all of them."""

    people: list[str] = []
    places: list[str] = []


class BudgetsTable(_Table):
    """`[budgets]`"""

    person: BudgetTable = BudgetTable()
    place: BudgetTable = BudgetTable()
    all: BudgetTable = BudgetTable()
    override: list[OverrideTable] = Field(default=[], max_length=100)
    timezone: str = "UTC"
    warn_in: str = ""
    operators_exempt: bool = False


_NAMES = TypeAdapter(dict[str, list[str]], config=ConfigDict(strict=True, hide_input_in_errors=True))
_T = TypeVar("_T", bound=_Table)


class Document:
    """A file, table by table; one that is malformed is left out, and `findings` say so."""

    def __init__(self, raw: dict[str, Any], findings: Findings) -> None:
        self._findings = findings
        for name in raw.keys() - set(TABLES):
            findings.wrong((name,), f"{name} is not a table of this file", _near(name, TABLES))
        self.groups = self._names(raw, "groups")
        self.people = self._names(raw, "people")
        self.access = self._read(AccessTable, raw.get("access", {}), ("access",)) or AccessTable()
        self.budgets = self._read(BudgetsTable, raw.get("budgets", {}), ("budgets",)) or BudgetsTable()
        self.rules = self._rules(raw.get("rule", []))
        self.places = self._places(raw.get("places", {}))

    def _names(self, raw: dict[str, Any], table: str) -> dict[str, list[str]]:
        try:
            return _NAMES.validate_python(raw.get(table, {}))
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                what = f"{_dotted(item['loc']) or table}: {_lower(item['msg'])}"
                cure = f'Write lists: [{table}], and below it name = ["slack:TEAM:USER"].'
                self._findings.wrong((table, *item["loc"]), what, cure)
            return {}

    def _rules(self, raw: Any) -> list[RuleTable | None]:
        if not isinstance(raw, list):
            self._findings.wrong(("rule",), "it is not a list of rules", "Write [[rule]] in double brackets.")
            return []
        items = cast("list[Any]", raw)
        if len(items) > MAX_RULES:
            what, cure = f"there are more than {MAX_RULES:,} rules", "Name several tools, people or places in one rule."
            self._findings.wrong(("rule", MAX_RULES), what, cure)
            return []
        return [self._read(RuleTable, item, ("rule", index)) for index, item in enumerate(items)]

    def _places(self, raw: Any) -> dict[str, PlaceTable]:
        if not isinstance(raw, dict):
            self._findings.wrong(("places",), "it is not a table", 'Write [places."slack:TEAM:CHANNEL"].')
            return {}
        items = cast("dict[str, Any]", raw)
        read = {name: self._read(PlaceTable, item, ("places", name)) for name, item in items.items()}
        return {name: table for name, table in read.items() if table is not None}

    def _read(self, table: type[_T], raw: Any, path: Path) -> _T | None:
        try:
            return table.model_validate(raw)
        except ValidationError as error:
            items = error.errors(include_url=False, include_input=False)
            for inner, item in {_inner(item): item for item in reversed(items)}.items():  # the first of each value
                self._report(table, path, inner, item)
        unknown = {item["loc"][0] for item in items if item["type"] == "extra_forbidden" and len(item["loc"]) == 1}
        if len(unknown) < len(items):
            return None
        return self._read(table, {key: raw[key] for key in raw if key not in unknown}, path)  # the rest is checked too

    def _report(self, table: type[_Table], path: Path, inner: Path, item: Mapping[str, Any]) -> None:
        key = str(inner[-1]) if inner else ""
        match item["type"]:
            case "extra_forbidden":
                what, cure = f"there is no key {key!r}", _near(key, _keys_of(table, inner))
            case "missing":
                what, cure = f"the key {key!r} is missing", "Add it."
            case "model_type" | "dict_type":
                what, cure = f"{key or 'it'} is not a table", "Write it as a table: key = { ... }, or [table]."
            case _:
                what, cure = f"{_dotted(inner)}: {_lower(item['msg'])}", "Correct it."
        self._findings.wrong((*path, *inner), what, cure)


def _inner(item: Mapping[str, Any]) -> Path:
    """Return where a value is in its table: pydantic names each branch of a number."""
    return tuple(part for part in item["loc"] if part not in ("int", "float"))


def _keys_of(table: type[_Table], inner: Path) -> list[str]:
    if table is RuleTable and inner[0] == "arguments":
        table = ConditionTable
    if table is BudgetsTable and len(inner) > 1:
        table = OverrideTable if inner[0] == "override" else BudgetTable
    return [field.alias or name for name, field in table.model_fields.items()]


def _near(name: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Remove it, or write one of: {', '.join(known)}."


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
