"""`--json` and `--quiet`: which commands have them, and what a script then reads."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.cli.main import command_parser, main

BOTH, JSON_ONLY, NEITHER = {"--json", "--quiet"}, {"--json"}, set[str]()
# Each command, what it has of the two, and why it lacks what it lacks.
SWITCHES: dict[str, tuple[set[str], str]] = {
    "chat": (BOTH, ""),
    "run": (NEITHER, "it serves: LOG_FORMAT=json is its JSON, and the exit code says how it ended"),
    "setup": (NEITHER, "it shows what it writes, and its files are what comes of it"),
    "doctor": (BOTH, ""),
    "health": (BOTH, ""),
    "slack-manifest": (NEITHER, "it prints one JSON document, and nothing else"),
    "discord-invite": (NEITHER, "it prints one link, and nothing else"),
    "tools": (BOTH, ""),
    "policy check": (BOTH, ""),
    "policy explain": (BOTH, ""),
    "policy replay": (BOTH, ""),
    "history": (BOTH, ""),
    "export": (JSON_ONLY, "it prints the conversation, and nothing else"),
    "purge": (BOTH, ""),
    "audit": (BOTH, ""),
    "usage": (BOTH, ""),
    "migrate": (BOTH, ""),
    "backup": (BOTH, ""),
    "restore": (BOTH, ""),
    "completion": (NEITHER, "it prints a shell's own code, and nothing else"),
}
DOCS = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()


def commands(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the commands that do something, by their names."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for word, sub in action.choices.items():
            yield from commands(sub, f"{name} {word}".strip())
    if not below:
        yield name, parser


def test_each_command_has_the_switches_that_its_row_says_or_a_reason() -> None:
    found = {
        name: {"--json", "--quiet"} & set(parser._option_string_actions) for name, parser in commands(command_parser())
    }
    assert found == {name: has for name, (has, _) in SWITCHES.items()}
    assert [name for name, (has, why) in SWITCHES.items() if (has == BOTH) == bool(why)] == []


@pytest.mark.parametrize("name", SWITCHES)
def test_the_docs_say_of_each_command_what_a_script_reads(name: str) -> None:
    section = DOCS.partition("## In scripts")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    if SWITCHES[name][0]:
        assert any(f"`{name}" in row.split(" | ")[0] for row in rows)
    else:
        assert f"`{name}`" in section.split("\n\n")[-1]


@pytest.mark.parametrize("name", [name for name, (has, _) in SWITCHES.items() if has == BOTH])
def test_a_command_takes_one_of_the_two(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_parser().parse_args([*name.split(), "--json", "--quiet"])
    assert "--quiet: not allowed with argument --json" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--trust", "check"), ("check", "--trust")])
def test_a_policy_is_checked_with_trust_before_or_behind_the_word(words: tuple[str, ...]) -> None:
    assert command_parser().parse_args(["policy", *words]).trust
    assert not command_parser().parse_args(["policy", "check"]).trust


# --- what they print -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HTTP_PORT", "9")  # discard: nothing answers
    (tmp_path / "none.json").write_text('{"mcpServers": {}}')
    monkeypatch.setenv("MCP_CONFIG", str(tmp_path / "none.json"))
    (tmp_path / "good.toml").write_text('[[rule]]\nname = "all"\ntools = ["*/*"]\nthen = "allow"\n')
    (tmp_path / "bad.toml").write_text("[acess]\n")
    return tmp_path


EXPLAIN = ("policy", "explain", "--as", "slack:T1:U1", "--in", "slack:T1:C1", "a/b")
# A command, its exit code, what its JSON has, and what it prints when quiet, on standard output and the other.
PRINTED: list[tuple[tuple[str, ...], int, set[str], str, str]] = [
    (("history",), 0, set(), "", ""),
    (("usage",), 0, set(), "", ""),
    (("tools", "--trust"), 0, {"servers", "tools", "notes"}, "", ""),
    (("tools", "--trust", "--changes"), 0, {"changed"}, "", ""),
    (("health",), 1, {"status", "reason"}, "", "toolbridge: not ready: "),
    (("policy", "check"), 0, {"file", "valid", "errors", "warnings"}, "", ""),
    (("policy", "check", "bad.toml"), 1, {"file", "valid", "errors", "warnings"}, "bad.toml:1: ", ""),
    (("policy", "check", "none.toml"), 1, {"file", "valid", "errors", "warnings"}, "none.toml is not there", ""),
    (EXPLAIN, 0, {"verdict", "rule", "source", "reason", "terms", "before", "not_known"}, "ask\n", ""),
    (
        ("policy", "replay", "good.toml"),
        0,
        {"since", "calls", "today", "then", "changes", "open_calls"},
        "",
        "",
    ),
    (("purge", "--person", "slack:T1:U1"), 0, {"person", "kept", "open_turns", "notes", "removed"}, "", ""),
    (("audit", "verify"), 0, {"lines", "head"}, "", ""),
    (
        ("backup", "--force", "a.backup"),
        0,
        {"file", "made_at", "version", "database", "schema", "turns", "saved_files", "attachments", "left_out"},
        "",
        "",
    ),
]


@pytest.mark.parametrize(("command", "code", "keys", "quiet", "told"), PRINTED)
def test_json_is_all_that_is_on_standard_output_and_quiet_is_nothing_where_all_is_well(
    command: tuple[str, ...], code: int, keys: set[str], quiet: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--json"]) == code
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == keys if isinstance(printed, dict) else printed == []
    assert main([*command, "--quiet"]) == code
    out, err = capsys.readouterr()
    assert out.startswith(quiet) if quiet else out == ""
    assert err.startswith(told) if told else err == ""


def test_what_a_restore_leaves_to_do_is_beside_its_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "a.backup", "--quiet"]) == 0
    assert main(["restore", "a.backup", "--json", "--force"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["home"], told["turns"]) == (str(place / "home"), 0) and len(told["put_away"]) == 1
    assert "toolbridge doctor --trust" in err and "What was there before" in err
    assert main(["restore", "a.backup", "--quiet", "--force"]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_error_is_on_standard_error_alone_whatever_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for switch in ("--json", "--quiet"):
        assert main(["restore", "none.backup", switch]) == 2
        assert main(["audit", "verify", "--head", "ab", switch]) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.count("toolbridge: ") == 2
