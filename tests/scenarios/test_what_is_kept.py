"""What is kept of a chat can be shown, deleted and purged, and is gone then."""

from __future__ import annotations

import getpass
import json
import sys

from tests.attacks.kept import holding
from tests.fakes.terminal import ENTER, run_in_terminal
from tests.scenarios.conftest import Toolbridge

CHAT = (sys.executable, "-m", "bot", "chat", "--model", "rehearsal")
MARKER = b"MARKERWORD"
GREET = 'call toolbridge__greet with {"name": "MARKERWORD"}'
SAVE = 'call toolbridge__save_text_file with {"filename": "a.txt", "content": "MARKERWORD"}'


async def test_nothing_of_a_chat_is_left_after_clear_in_any_file(toolbridge: Toolbridge) -> None:
    environment, folder, home = toolbridge.environment, toolbridge.folder, toolbridge.home
    async with run_in_terminal(CHAT, environment=environment, folder=folder) as (terminal, process):
        await terminal.shows("Conversation main.")
        for question, answer in ((GREET, "Nice to meet you."), (SAVE, "Saved a.txt")):
            terminal.type(question + ENTER)
            await terminal.shows(answer)
        terminal.type("/clear" + ENTER)
        await terminal.shows("messages of this conversation deleted. Saved files are kept.")
        (file,) = holding(home, MARKER)
        assert file.startswith("workspaces/") and file.endswith("a.txt")
        terminal.type("/clear files" + ENTER)
        await terminal.shows("1 saved file deleted.")
        assert holding(home, MARKER) == []
        assert b"clear" not in (home / "console-history").read_bytes()
        terminal.type("/exit" + ENTER)
        await process.wait()
    assert holding(home, MARKER) == []
    assert {path.stat().st_mode & 0o077 for path in (home, *home.rglob("*"))} == {0}


async def test_an_operator_exports_deletes_and_purges(toolbridge: Toolbridge) -> None:
    await toolbridge.ask(GREET)
    await toolbridge.ask(SAVE)
    exported = await toolbridge.run("export", "main", "--format", "json")
    kinds = [one["kind"] for one in json.loads(exported.out)["happened"] if one["turn"] == 1]
    assert kinds == ["question", "call", "judged", "started", "result", "answer", "ended"]
    assert "Hello, MARKERWORD!" in (await toolbridge.run("export", "main")).out
    unknown = await toolbridge.run("export", "nothing")
    assert (unknown.code, unknown.out) == (1, "") and "`toolbridge history` lists the conversations" in unknown.err
    person = f"console:{getpass.getuser()}"
    people = f'[people]\nann = ["{person}", "slack:T1:U1"]\n'
    (toolbridge.home / "toolbridge.toml").write_text(people, encoding="utf-8")
    shown = await toolbridge.run("purge", "--person", person)
    assert "[people] links other accounts, each of which is purged by itself: slack:T1:U1" in shown.out
    assert shown.code == 2 and "turns that they asked for" in shown.out and "Nothing was removed" in shown.out
    told = json.loads((await toolbridge.run("purge", "--person", person, "--json")).out)
    assert told["removed"] is None and told["kept"]["turns"] == 2 and told["kept"]["saved_files"] == 1
    assert holding(toolbridge.home, MARKER)
    purged = await toolbridge.run("purge", "--person", person, "--yes")
    assert purged.code == 0 and "files saved in their direct messages: 1" in purged.out and "What stays" in purged.out
    assert holding(toolbridge.home, MARKER) == []
    assert (await toolbridge.run("audit", "verify")).code == 0
    assert (await toolbridge.run("purge", "--person", "nobody")).code == 2
    await toolbridge.ask(GREET)
    await toolbridge.ask(SAVE)
    deleted = await toolbridge.run("history", "--delete", "main")
    assert deleted.code == 0 and "1 saved file kept: --files deletes them as well." in deleted.out
    deleted = await toolbridge.run("history", "--delete", "main", "--files", "--json")
    assert json.loads(deleted.out)["saved_files"] == 1
    assert holding(toolbridge.home, MARKER) == []
    assert (await toolbridge.run("history", "--delete", "nothing")).code == 1
    await toolbridge.ask(GREET)
    told = json.loads((await toolbridge.run("purge", "--person", person, "--yes", "--json")).out)
    assert told["removed"]["turns"] == 1 and told["open_turns"] == 0
    quiet = await toolbridge.run("purge", "--person", person, "--yes", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
