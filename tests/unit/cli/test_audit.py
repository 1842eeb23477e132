"""`toolbridge audit`: what an auditor reads, and how a change is found."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.cli.audit import BrokenAuditError, as_json, as_text, lines, verify
from bot.cli.main import main
from bot.cli.since import since
from bot.domain.audit import AuditEntry
from bot.domain.errors import SettingsError
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from bot.text.terminal import visible_json

ROOT = Path(__file__).parents[3]
NOON = 1_793_534_400.0  # 2026-11-01T12:00:00Z
ENTRY = AuditEntry(
    kind="decided",
    at=NOON + 0.25,
    person="slack:T1:U1",
    place="slack:T1:C042",
    server="deploys",
    tool="deploy",
    arguments='{"env": "prod"}',
    verdict="ask",
    rule="production deploys",
    approvers=("slack:T1:U2", "discord:300"),
    outcome="approved",
    turn_id=7,
    call_id="c1",
)
REFUSED = AuditEntry(kind="refused", at=NOON + 60, person="discord:300", place="discord:dm", outcome="an\noutsider")

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toolbridge.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[Store]:
    async with open_sqlite(path) as store:
        await store.audit([ENTRY, REFUSED])
        yield store


def tamper(path: Path, change: str) -> None:
    """Change the file as someone who owns it can."""
    with closing(sqlite3.connect(path)) as db, db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute(change)


async def test_a_line_says_when_who_where_what_and_how_it_was_decided(store: Store) -> None:
    assert [as_text(line) async for line in lines(store)] == [
        '2026-11-01T12:00:00.250Z  decided  slack:T1:U1  slack:T1:C042  deploys/deploy {"env": "prod"}  verdict: ask'
        "  rule: production deploys  approvers: slack:T1:U2, discord:300  outcome: approved",
        "2026-11-01T12:01:00.000Z  refused  discord:300  discord:dm  outcome: an outsider",
    ]


async def test_no_line_steers_a_terminal_or_changes_the_order_of_what_is_read(path: Path) -> None:
    evil = "a\u202eb\x9b2Jc\u2067\x1b[1m"
    async with open_sqlite(path) as store:
        await store.audit([replace(ENTRY, tool=evil, arguments=evil, rule=evil, outcome=evil)])
        [line] = [line async for line in lines(store)]
    assert as_text(line).isprintable() and as_text(line).count("abc") == 4
    assert visible_json(as_json(line)).isprintable() and json.loads(visible_json(as_json(line)))["tool"] == evil


def test_what_is_wrong_with_a_policy_file_is_said_without_its_steering_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path))
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\n"a\u202eb\u2066" = 1\n', encoding="utf-8")
    assert main(["policy", "check", str(file)]) == 1
    said = capsys.readouterr().out
    assert said.replace("\n", "").isprintable()


async def test_a_line_of_json_has_every_fact(store: Store) -> None:
    first, _ = [line async for line in lines(store)]
    assert json.loads(as_json(first)) == {
        "at": "2026-11-01T12:00:00.250Z",
        "kind": "decided",
        "person": "slack:T1:U1",
        "place": "slack:T1:C042",
        "server": "deploys",
        "tool": "deploy",
        "arguments": '{"env": "prod"}',
        "verdict": "ask",
        "rule": "production deploys",
        "approvers": ["slack:T1:U2", "discord:300"],
        "outcome": "approved",
        "turn": 7,
        "call": "c1",
        "number": 1,
        "hash": first.hash,
    }


async def test_purged_arguments_are_said_to_be_purged_and_break_nothing(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE audit SET arguments = NULL WHERE number = 1")
    first, _ = [line async for line in lines(store)]
    assert "deploys/deploy (arguments purged)" in as_text(first)
    assert json.loads(as_json(first))["arguments"] is None
    assert (await verify(store)).number == 2


async def test_more_lines_than_a_page_are_read_in_order(store: Store) -> None:
    await store.audit([REFUSED] * 2_500)
    assert [line.number async for line in lines(store)] == list(range(1, 2_503))
    assert [line.number async for line in lines(store, person="slack:T1:U1")] == [1]
    assert (await verify(store)).number == 2_502


async def test_a_head_that_was_kept_is_found_as_long_as_nothing_was_cut_off(store: Store, path: Path) -> None:
    first, second = [line.hash async for line in lines(store)]
    assert (await verify(store)).head == second
    await store.audit([ENTRY])
    for head in (first, second, second.upper()):
        assert (await verify(store, head=head)).number == 3
    tamper(path, "DELETE FROM audit WHERE number > 1")
    assert (await verify(store)).head == first
    with pytest.raises(BrokenAuditError, match=f"^No line of the audit has the head {second}"):
        await verify(store, head=second)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ("UPDATE audit SET outcome = 'declined' WHERE number = 2", 2),
        ("UPDATE audit SET arguments = '{}' WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 2", 2),
    ],
)
async def test_the_first_line_that_does_not_fit_is_named(store: Store, path: Path, change: str, number: int) -> None:
    await store.audit([ENTRY])
    tamper(path, change)
    with pytest.raises(BrokenAuditError, match=f"^Line {number} of the audit does not fit"):
        await verify(store)


async def test_an_empty_audit_fits(path: Path) -> None:
    async with open_sqlite(path) as store:
        chain = await verify(store)
        assert (chain.number, chain.head) == (0, "")
        with pytest.raises(BrokenAuditError):
            await verify(store, head="ab")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", NOON - 30 * 86_400),
        (" 12h ", NOON - 12 * 3_600),
        ("5m", NOON - 300),
        ("90s", NOON - 90),
        ("2026-11-01", NOON - 12 * 3_600),
        ("2026-11-01T12:00", NOON),
        ("2026-11-01T13:00+01:00", NOON),
    ],
)
def test_a_time_is_so_long_ago_or_a_date_in_utc(text: str, expected: float) -> None:
    assert since(text, now=NOON) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "30", "d", "-3d", "9" * 5_000 + "d", "2026-13-01"])
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(SettingsError, match="is no time"):
        since(text, now=NOON)


async def test_the_command_checks_the_database_of_its_home(store: Store, path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        environment = {
            "PATH": os.environ["PATH"],
            "TOOLBRIDGE_HOME": str(path.parent),
            "DATABASE_URL": f"sqlite:///{path}",
        }
        ran = subprocess.run(
            [sys.executable, "-m", "bot", "audit", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return ran.returncode, ran.stdout, ran.stderr

    code, printed, _ = await asyncio.to_thread(run, "--json", "--tool", "deploys/*")
    assert code == 0 and [json.loads(line)["number"] for line in printed.splitlines()] == [1]
    assert json.loads((await asyncio.to_thread(run, "verify", "--json"))[1])["lines"] == 2
    assert (await asyncio.to_thread(run, "verify", "--quiet"))[:2] == (0, "")
    tamper(path, "UPDATE audit SET person = 'slack:T1:U9' WHERE number = 2")
    code, printed, failure = await asyncio.to_thread(run, "verify")
    assert (code, printed) == (1, "") and failure.startswith("toolbridge: Line 2 of the audit does not fit")


@pytest.mark.parametrize("arguments", [["verify", "--tool", "a/b"], ["--quiet"], ["--head", "ab"], ["--since", "soon"]])
def test_arguments_that_do_not_fit_together_are_bad_usage(arguments: list[str]) -> None:
    assert main(["audit", *arguments]) == 2
