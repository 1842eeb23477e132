"""`toolbridge policy` and the rules of a running bot, as an operator meets them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from tests.fakes.terminal import run_in_terminal
from tests.scenarios.conftest import NOWHERE, WAIT_S, Toolbridge

GOOD = """
[[rule]]
name = "no sums"
tools = ["toolbridge/calculate"]
arguments = { "/operation" = { in = ["add", "multiply"] } }
then = "deny"
"""


def write(toolbridge: Toolbridge, text: str, name: str = "toolbridge.toml") -> Path:
    file = toolbridge.folder / name
    file.write_text(text, encoding="utf-8")
    return file


async def test_check_ends_with_1_and_names_each_error_and_explain_says_the_verdict_first(
    toolbridge: Toolbridge,
) -> None:
    write(toolbridge, '[[rule]]\nname = "r"\ntools = ["x/y"]\npeople = ["@team"]\nthen = "alow"\n', "bad.toml")
    ran = await toolbridge.run("policy", "check", "bad.toml")
    assert ran.code == 1
    assert ran.out == "bad.toml:5: rule 'r': then: input should be 'allow', 'ask' or 'deny'. Correct it.\n"
    write(toolbridge, GOOD)
    call = (
        "--as",
        "slack:T1:U1",
        "--in",
        "slack:T1:C042",
        "toolbridge/calculate",
        '{"operation": "add", "a": 1, "b": 2}',
    )
    ran = await toolbridge.run("policy", "explain", *call)
    assert (ran.code, ran.out.split()[0]) == (0, "deny")
    assert ran.out.splitlines()[0] == "deny by 'no sums' (toolbridge.toml:2)"


async def test_replay_lists_the_real_calls_that_other_rules_would_decide_otherwise(toolbridge: Toolbridge) -> None:
    assert "42" in (await toolbridge.ask("What is 6 * 7?")).out
    new = write(toolbridge, GOOD, "new.toml")
    ran = await toolbridge.run("policy", "replay", str(new), "--since", "1h", "--fail-on-change")
    assert ran.code == 1
    assert ran.out.startswith("1 call since ")
    assert ran.out.splitlines()[-1].split() == ["1", "toolbridge/calculate", "allow", "deny", "no", "sums"]
    write(toolbridge, GOOD)  # the file of today says the same now
    ran = await toolbridge.run("policy", "replay", str(new), "--since", "1h", "--fail-on-change")
    assert (ran.code, "0 would be decided otherwise" in ran.out) == (0, True)


async def test_a_terminal_that_was_closed_still_ends_a_running_bot(toolbridge: Toolbridge) -> None:
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": "not.a.token", "DISCORD_API_URL": NOWHERE, "LOG_FORMAT": "json"}
    command = (sys.executable, "-m", "bot", "run", "--model", "rehearsal")
    async with run_in_terminal(command, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("discord_unreachable")
        terminal.hang_up()
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 128 + signal.SIGTERM


async def test_a_hangup_reads_the_rules_again_and_a_broken_file_keeps_the_old_ones(toolbridge: Toolbridge) -> None:
    file = write(toolbridge, GOOD)
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": "not.a.token", "DISCORD_API_URL": NOWHERE, "LOG_FORMAT": "json"}
    async with toolbridge.serving("--model", "rehearsal") as process:

        async def logged(event: str) -> dict[str, str]:
            assert process.stderr is not None
            async with asyncio.timeout(WAIT_S):
                while True:
                    line = await process.stderr.readline()
                    assert line, f"it ended without {event}"
                    if line.startswith(b"{") and (found := json.loads(line))["event"] == event:
                        return found

        await logged("discord_unreachable")  # it serves, as well as it can
        write(toolbridge, GOOD * 2)
        process.send_signal(signal.SIGHUP)
        kept = await logged("policy_kept")
        assert "another rule has this name" in kept["problem"] and f"{file.name}:9: " in kept["problem"]
        write(toolbridge, GOOD)
        process.send_signal(signal.SIGHUP)
        assert (await logged("policy_reloaded"))["file"] == file.name
        process.terminate()
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 128 + signal.SIGTERM
    acts = [
        line.split("outcome: ")[1] for line in (await toolbridge.run("audit")).out.splitlines() if "  act  " in line
    ]
    assert acts == ["policy kept: the new file is not usable", "policy reloaded: toolbridge.toml, 1 rule"]
