"""How long a start takes, over what its imports and parts take anyway, and how much memory stays taken."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from tests.bench.measure import Row, compare
from tests.bench.servers import HOUSE, serve_model, serve_tools
from tests.fakes.terminal import run_in_terminal

WAIT_S = 60.0
PROMPT = "\n>"


async def start_times(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare the command's starts with a bare interpreter, and an answer with importing the two SDKs."""
    environment = _environment(folder)
    rounds = 1 if quick else 7

    def run(*arguments: str) -> Callable[[], Awaitable[None]]:
        return lambda: _run(arguments, environment, folder)

    works = {
        "python": run("-c", "pass"),
        "help": run("-m", "bot", "--help"),
        "sdks": run("-c", "import openai, mcp"),
        "answer": run("-m", "bot", "chat", "-m", "What is 6 times 7?"),
        "prompt": lambda: _until_prompt(environment, folder),
    }
    costs = await compare(works, rounds=rounds, units=1)
    starts = (
        ("`toolbridge --help`", "help", "python", "a bare interpreter"),
        ("`toolbridge chat` to its prompt", "prompt", "python", "a bare interpreter"),
        ("`toolbridge chat -m` to the answer of a tool", "answer", "sdks", "importing openai and mcp"),
    )
    return [
        Row(
            figure=f"{what}, over {than}",
            value=costs.wall_ratio(name, over=over),
            beside=f"{costs.wall_s(name):.2f} s over {costs.wall_s(over):.2f} s",
        )
        for what, name, over, than in starts
    ]


async def memory(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Measure the resident memory of a process of its own: idle, and after many turns."""
    warm, turns = (5, 10) if quick else (100, 1_000)
    async with serve_model() as endpoint, serve_tools(folder / "workspaces") as tools_url:
        arguments = ("-m", "tests.bench.resident", str(folder), endpoint.url, tools_url, str(warm), str(turns))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=HOUSE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    idle, warmed, last = (int(line) / 1024**2 for line in out.split())
    return [
        Row(figure="resident memory, idle with its tools connected", value=idle, unit="MiB"),
        Row(
            figure=f"resident memory after {turns:,} turns over that after {warm}",
            value=last / warmed,
            beside=f"{last:.0f} MiB over {warmed:.0f} MiB",
        ),
    ]


def _environment(folder: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    # The command runs in a folder of its own, without anybody's settings.
    return {**kept, "TOOLBRIDGE_HOME": str(folder / "home"), "PYTHONPATH": str(HOUSE), "PYTHONUTF8": "1"}


async def _run(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def _until_prompt(environment: Mapping[str, str], folder: Path) -> None:
    command = (sys.executable, "-m", "bot", "chat")
    async with run_in_terminal(command, environment=environment, folder=folder) as (terminal, _):
        await terminal.shows(PROMPT)
