"""The public MCP conformance suite, and the table that says what it found."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.domain.messages import ToolSpec
from tests.conformance.__main__ import TABLE, main
from tests.conformance.client import planned_calls
from tests.conformance.notes import note_of
from tests.conformance.suite import INSTALL, Check, Scenario, SuiteError, open_suites, parse_list
from tests.conformance.table import COLUMNS, Row, judge, parse, render

FOLDER = os.environ.get("CONFORMANCE_SUITE")
MODERN = COLUMNS[-1]


@pytest.mark.timeout(600)
@pytest.mark.skipif(FOLDER is None, reason=f"CONFORMANCE_SUITE does not name the FOLDER of: {INSTALL}")
def test_the_suite_finds_what_the_table_says(tmp_path: Path) -> None:
    output = tmp_path / "CONFORMANCE.md"
    assert main(["--suite", str(FOLDER), "--output", str(output)]) == 0
    assert output.read_text(encoding="utf-8") == TABLE.read_text(encoding="utf-8")


def test_the_table_has_its_format_and_no_failure_without_a_reason() -> None:
    text = TABLE.read_text(encoding="utf-8")
    tables = parse(text)
    assert render(tables) == text
    assert all(len(rows) > 20 for rows in tables.values())
    assert [row for rows in tables.values() for row in rows if not row.is_explained] == []


def test_the_reasons_in_the_table_are_those_of_the_notes() -> None:
    for side, rows in parse(TABLE.read_text(encoding="utf-8")).items():
        notes = [note_of(Scenario(name=row.scenario, side=side, specs=())) for row in rows]
        assert [row.reason for row in rows] == [note.reason if note else "" for note in notes]


@pytest.mark.parametrize(
    ("name", "statuses", "result"),
    [
        ("tools-list", {"a": "SUCCESS", "b": "INFO", "c": "SKIPPED"}, "passes 1/1"),
        ("tools-list", {"a": "SUCCESS", "b": "FAILURE"}, "FAILS: b"),
        ("tools-list", {"a": "SUCCESS", "b": "WARNING"}, "FAILS: b"),
        ("tools-list", {}, "FAILS: it gave no result"),
        ("tools-call-image", {"tools-call-image": "FAILURE", "wire-schema-valid": "SUCCESS"}, "needs a fixture"),
        (
            "tools-call-image",
            {"tools-call-image": "FAILURE", "wire-schema-valid": "FAILURE"},
            "FAILS: wire-schema-valid",
        ),
        ("tools-call-image", {"tools-call-image": "SUCCESS"}, "passes 1/1"),
        ("tools-call-image", {}, "FAILS: it gave no result"),
        ("tools-call-error", {"tools-call-error": "SUCCESS"}, "needs a fixture"),
        ("logging-set-level", {"logging-set-level": "FAILURE"}, "does not apply"),
        ("server-stateless", {"a": "SUCCESS", "sep-2575-missing-capability-http-400": "FAILURE"}, "passes 1/2"),
        ("tasks-lifecycle", {}, "does not apply"),
    ],
)
def test_only_checks_that_a_note_names_may_fail(name: str, statuses: dict[str, str], result: str) -> None:
    scenario = Scenario(name=name, side="server", specs=(MODERN.spec,))
    checks = [Check(id=check, status=status) for check, status in statuses.items()]
    assert judge(scenario, MODERN, checks) == result


@pytest.mark.parametrize(
    ("results", "reason", "is_explained"),
    [
        (("passes 3/3", "-"), "", True),
        (("passes 2/3", "-"), "", False),
        (("passes 2/3", "-"), "the third wants a fixture", True),
        (("passes 0/0", "-"), "", False),
        (("needs a fixture", "-"), "", False),
        (("passes 3/3", "FAILS: a"), "a reason", False),
    ],
)
def test_what_is_not_a_pass_needs_a_reason(results: tuple[str, ...], reason: str, is_explained: bool) -> None:
    assert Row(scenario="one", results=results, reason=reason).is_explained == is_explained


def test_the_suites_list_is_read_without_what_is_neither_server_nor_client() -> None:
    text = """Server scenarios (test against a server):
  - ping [2025-06-18,2025-11-25]

Client scenarios (test against a client):
  - auth/dpop [extension]

Authorization server scenarios (test against an authorization server):
  - authorization-code-grant [2025-11-25]
"""
    assert parse_list(text) == [
        Scenario(name="ping", side="server", specs=("2025-06-18", "2025-11-25")),
        Scenario(name="auth/dpop", side="client", specs=("extension",)),
    ]


def test_a_folder_without_the_suite_is_answered_with_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="conformance-stable is not in node_modules") as caught:
        open_suites(tmp_path)
    assert INSTALL in str(caught.value)
    assert main(["--suite", str(tmp_path)]) == 2


def test_the_client_makes_the_calls_it_is_given_or_one_of_each_tool_as_its_schema_wants() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "string"}}, "required": ["a"]}
    specs = [_spec("add", schema), _spec("json_schema_echo", {"type": "object"})]
    calls = {call.name: json.loads(call.arguments) for call in planned_calls(specs, {})}
    assert calls == {"suite__add": {"a": 1.5}, "suite__json_schema_echo": {"schema": schema}}
    given = {"toolCalls": [{"name": "add", "arguments": {"a": None}}]}
    assert [(call.name, call.arguments) for call in planned_calls(specs, given)] == [("suite__add", '{"a": null}')]


def _spec(tool: str, parameters: Mapping[str, object]) -> ToolSpec:
    return ToolSpec(name=f"suite__{tool}", server="suite", tool=tool, description="", parameters=parameters)
