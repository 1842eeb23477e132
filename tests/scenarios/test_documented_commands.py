"""The commands of the documents as they stand there, in a home with a conversation and a folder with their rules.

tests/documented/table.py says which of them run here; a new one that fits its patterns runs without a change here.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import stat
import sys
from pathlib import Path

from tests.documented.commands import ROOT, Command
from tests.documented.table import OPERATORS, SHELL, run_by
from tests.fakes.mcp_servers.processes import FOLDER
from tests.scenarios.conftest import WAIT_S, Toolbridge

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4OQ.test.test"
# Folders of a machine: in a test they are below a folder of its own.
MACHINE = re.compile(r"(?<![\w.:/])/(?=(?:etc|var|opt|tmp)/)")


def policy() -> str:
    """Return the file with all of it, from the page of rights."""
    page = (ROOT / "docs" / "rights.md").read_text(encoding="utf-8")
    return re.findall(r"^<!-- policy -->\n```toml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)[0]


async def prepare(toolbridge: Toolbridge) -> None:
    """Have the rules and a tool server of the documents, a conversation, and what commands name."""
    deployer = {"command": sys.executable, "args": [str(FOLDER / "deployer.py")]}
    toolbridge.write_mcp_json({"toolbridge": {"bundled": True}, "deploys": deployer})
    for name in ("toolbridge.toml", "new.toml"):
        (toolbridge.folder / name).write_text(policy(), encoding="utf-8")
    (toolbridge.folder / "notes.txt").write_text("25 * 8 = 200", encoding="utf-8")
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": TOKEN, "DISCORD_API_URL": "http://127.0.0.1:9", "HTTP_PORT": "off"}
    assert (await toolbridge.ask("What is 6 * 7?")).code == 0
    ran = await toolbridge.ask('/run deploys/deploy {"env": "test"}')
    assert "declined" in ran.out  # it asks, and nobody is there to approve it


async def test_commands_of_operators_run_as_they_are_shown(toolbridge: Toolbridge) -> None:
    await prepare(toolbridge)
    head = (await toolbridge.run("audit", "verify")).out.split()[-1]
    stand_ins = {"KEY": "main", "HASH": head, "FILE": "a.zip", "SHELL": "bash"}
    toolbridge.trusts = False  # from here on they run as they stand; the folder is trusted by now
    shown = run_by(OPERATORS)
    assert len(shown) > 24
    for command in sorted(shown, key=deletes):
        words = [stand_ins.get(word, word) for word in shlex.split(re.sub(r"[\[\]](?=-|$|\s)", "", command.text))[1:]]
        ran = await toolbridge.run(*words, stdin="hello")
        assert ran.code == (1 if "doctor" in words else 0), (command, ran)  # Discord cannot be reached
        assert "Traceback" not in ran.err, (command, ran)
        assert "deploys" in ran.out or "--tool" not in words, (command, ran)


def deletes(command: Command) -> bool:
    return any(word in command.text for word in ("--delete", "purge"))


async def test_lines_for_a_shell_run_as_they_are_shown(toolbridge: Toolbridge, tmp_path: Path) -> None:
    toolbridge.write_mcp_json({})  # a tool server would only take time
    assert (await toolbridge.ask("hello")).code == 0
    machine = tmp_path / "machine"
    for folder in ("etc/toolbridge", "opt/toolbridge/.venv/bin", "var/lib", "tmp"):
        (machine / folder).mkdir(parents=True)
    shutil.copy(toolbridge.folder / "mcp.json", machine / "etc/toolbridge")
    toolbridge.home.rename(machine / "var/lib/toolbridge")
    toolbridge.home = machine / "var/lib/toolbridge"
    programs = machine / "opt/toolbridge/.venv/bin"
    write_program(programs / "toolbridge", f'cd "$PWD" && exec {shlex.quote(sys.executable)} -m bot "$@"')
    write_program(programs / "sudo", 'shift 2; exec "$@"')  # -u USER
    path = f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shown = run_by(SHELL)
    assert len(shown) > 12
    for command in shown:
        line = MACHINE.sub(f"{machine}/", as_cron_has_it(command.text))
        if " restore --trust " in line:
            (toolbridge.home / "toolbridge.db").unlink()
            (toolbridge.home / "conversation.key").unlink(missing_ok=True)
        code, printed = await run(line, toolbridge, path=path)
        assert code == 0, (command, printed)
    assert not (machine / "tmp/trial").exists()
    assert list(toolbridge.home.glob("backup-???.zip"))
    for name in ("tools.token", ".env"):
        assert stat.S_IMODE((toolbridge.folder / name).stat().st_mode) == 0o600


def write_program(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    file.chmod(0o755)


def as_cron_has_it(text: str) -> str:
    r"""Return what cron gives to `sh` of a line of /etc/cron.d: without the times and the user, and `\%` as `%`.

    https://manpages.debian.org/bookworm/cron/crontab.5.en.html
    """
    line = re.fullmatch(r"(?:[\d*]+ ){5}\w+ (.*)", text)
    return text if line is None else line[1].replace(r"\%", "%")


async def run(line: str, toolbridge: Toolbridge, *, path: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", line),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=toolbridge.folder,
        env={**toolbridge.environment, "PATH": path},
    )
    async with asyncio.timeout(WAIT_S):
        printed, _ = await process.communicate()
    return process.returncode, printed.decode()
