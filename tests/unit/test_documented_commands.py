"""Every command that the documents show is run by a test, or the table says why none can run it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from bot.cli.main import command_parser
from bot.settings import load_settings
from tests.documented.commands import ROOT, Command, commands
from tests.documented.table import ROWS, row_of

OURS = re.compile(r"(?:.*/)?toolbridge")
# They stand for something in the documents: what the parser gets in their place has to be valid.
STAND_INS = {"SHELL": "bash", "COMMAND": "doctor", "[NAME]": "blue", "URL": "postgresql://u@h/d"}
MADE = {"deploy/kubernetes/secret.yaml"}  # by the line above it
FLAG = re.compile(r"--[a-z][a-z-]+")
IN_REPOSITORY = re.compile(r"(?:\.ci|bot|adapters|deploy|docs|mcp_server|tests)/[\w./*-]+")


def test_every_command_has_a_row() -> None:
    missing = [str(command) for command in commands() if not command.is_setting and row_of(command) is None]
    assert missing == [], (
        "These commands are in no row. Add one to tests/documented/table.py: the test that runs it (best OPERATORS or "
        "SHELL, which then run it as it stands), or the reason why it cannot run here."
    )


def test_every_row_fits_a_command() -> None:
    used = Counter(row for command in commands() if (row := row_of(command)))
    assert [row.pattern for row in ROWS if not used[row]] == []


@pytest.mark.parametrize("by", sorted({row.by for row in ROWS if row.by}))
def test_the_tests_that_rows_name_are_there(by: str) -> None:
    file, _, name = by.partition("::")
    module = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {each.name for each in module.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_a_command_that_no_test_runs_has_a_reason_in_a_sentence() -> None:
    wrong = [row.cannot for row in ROWS if row.cannot and not re.fullmatch(r"[A-Z].{10,}\.", row.cannot)]
    assert wrong == []


def test_what_a_line_ends_with_and_goes_on_with_is_told_apart() -> None:
    line = "A=1 toolbridge run --drain blue > log && python -m tests.bench 'a b' | sh"
    assert Command("x.md", 1, line).calls == [
        ["toolbridge", "run", "--drain", "blue"],
        ["log"],
        ["python", "-m", "tests.bench", "a b"],
        ["sh"],
    ]


def test_our_own_parser_takes_every_command_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    parser = command_parser()
    found = [(command, words) for command in commands() for call in command.calls if (words := ours(call)) is not None]
    assert len(found) > 100
    for command, words in found:
        try:
            parser.parse_args([*words, *completed(words)] if is_only_named(command) else words)
        except SystemExit as ended:
            if ended.code:
                pytest.fail(f"{command}\n{capsys.readouterr().err}")


def is_only_named(command: Command) -> bool:
    row = row_of(command)
    return row is not None and not row.by and not row.cannot


def completed(words: list[str]) -> list[str]:
    """Return what a command that is only named lacks: a flag its value, all others their arguments."""
    return ["x"] if words[-1].startswith("-") else ["--help"]


def ours(call: list[str]) -> list[str] | None:
    """Return the arguments of `toolbridge` in a call, also where sudo, Docker or Kubernetes start it."""
    starts = [at for at, word in enumerate(call) if OURS.fullmatch(word)]
    if not starts or not (starts[0] == 0 or (call[0] in ("docker", "kubectl") and "exec" in call)):
        return None
    at = starts[-1] if starts[0] else 0  # the last one in a container, whose image has the same name
    words = [STAND_INS.get(word, word) for word in call[at + 1 :]]
    return [word.strip("[]") if re.fullmatch(r"\[--[a-z-]+\]", word) else word for word in words]


def test_the_modules_that_the_documents_run_are_there_with_their_flags() -> None:
    checked = 0
    for command in commands():
        for call in command.calls:
            match call:
                case [python, "-m", module, *words] if re.fullmatch(r"(?:.*/)?python3?", python):
                    if module.split(".")[0] in ("tests", "docs", "mcp_server", "bot"):
                        check_module(command, module, words)
                        checked += 1
                case _:
                    pass
    assert checked > 20


def check_module(command: Command, module: str, words: list[str]) -> None:
    path = ROOT.joinpath(*module.split("."))
    files = [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else sorted(path.glob("*.py"))
    assert files and (len(files) == 1 or (path / "__main__.py").is_file()), command
    if module != "bot":  # whose parser was asked above
        source = "".join(file.read_text(encoding="utf-8") for file in files)
        assert [word for word in words if FLAG.fullmatch(word) and f'"{word}"' not in source] == [], command


def test_the_files_of_the_repository_that_commands_name_are_there() -> None:
    missing = [
        (str(command), name)
        for command in commands()
        for name in IN_REPOSITORY.findall(re.sub(r"\S*[:/.](?=\S*/)\S*://\S*", "", command.text))
        if name not in MADE and not command.text.startswith(("LITELLM", "npm")) and not is_there(name, command)
    ]
    assert missing == []


def is_there(name: str, command: Command) -> bool:
    at = command.text.index(name)
    if at and command.text[at - 1] not in " =\"'":  # a part of another path
        return True
    return any(ROOT.glob(name)) if "*" in name else (ROOT / name).exists()


def blocks_of_settings() -> dict[str, dict[str, str]]:
    """Return the settings of each block that has some, by the place of the first one."""
    found: dict[str, dict[str, str]] = {}
    last: Command | None = None
    place = ""
    for command in commands():
        if not command.is_setting:
            continue
        if last is None or last.document != command.document or command.line - last.line > 1:
            place = f"{command.document}:{command.line}"
        name, _, value = command.text.removeprefix("export ").partition("=")
        found.setdefault(place, {})[name] = value
        last = command
    return found


@pytest.mark.parametrize("place", blocks_of_settings())
def test_a_block_of_settings_is_read_without_complaint(place: str, tmp_path: Path) -> None:
    settings = blocks_of_settings()[place]
    assert settings
    file = tmp_path / ".env"
    key = "A" * 43 + "="
    lines = [f"{name}={key if name == 'TOOLBRIDGE_SECRET_KEY' else value}" for name, value in settings.items()]
    file.write_text("\n".join(lines), encoding="utf-8")
    read = load_settings(env_file=file, toolbridge_home=tmp_path)
    assert settings.keys() <= {name.upper() for name in type(read).model_fields if name in read.model_fields_set}
