"""Servers of other clients, made our own: found where their files are, without secrets, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cli.setup.clients import client_files
from bot.cli.setup.mcp_file import add_servers
from bot.cli.setup.taking_over import Taken, take_over
from bot.tools.jsonc import plain_json
from bot.tools.placeholders import EntryError, Input, inputs_of

KEY = "sk-0123456789abcdefghij"


async def taken(raw: object, *, file: str = "/home/me/.cursor/mcp.json", answer: str = "", **more: Any) -> Taken:
    async def answering(_: Input) -> str:
        return answer

    options: dict[str, Any] = {"inputs": {}, "known": {}, **more}
    return await take_over("git hub", raw, file=Path(file), answer=answering, **options)


# --- secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "entry"),
    [
        (
            {"command": "x", "env": {"API_KEY": KEY, "MODE": "fast"}},
            {"command": "x", "env": {"API_KEY": "${TOOL_GIT_HUB_API_KEY}", "MODE": "fast"}},
        ),
        (
            {"url": "https://h/mcp", "headers": {"Authorization": f"Bearer {KEY}"}},
            {"url": "https://h/mcp", "headers": {"Authorization": "Bearer ${TOOL_GIT_HUB_AUTHORIZATION}"}},
        ),
        (
            {"command": "x", "args": ["--api-key", KEY, "--verbose"], "autoApprove": ["a"]},
            {"command": "x", "args": ["--api-key", "${TOOL_GIT_HUB_KEY}", "--verbose"]},
        ),
        (
            {"type": "local", "command": ["x", "--api-key", KEY]},
            {"type": "local", "command": "x", "args": ["--api-key", "${TOOL_GIT_HUB_KEY}"]},
        ),
        ({"url": f"https://h/mcp?api_key={KEY}"}, {"url": "https://h/mcp?api_key=${TOOL_GIT_HUB_URL_KEY}"}),
        (
            {"command": "x", "args": [f"postgresql://me:{KEY}@h/db"]},
            {"command": "x", "args": ["postgresql://me:${TOOL_GIT_HUB_KEY}@h/db"]},
        ),
    ],
)
async def test_secrets_go_to_the_env_file_and_a_placeholder_takes_their_place(raw: object, entry: object) -> None:
    found = await taken(raw)
    assert found.entry == entry
    assert list(found.variables.values()) == [KEY]


async def test_a_name_that_another_value_has_is_not_taken_twice() -> None:
    raw = {"command": "x", "env": {"API_KEY": KEY}}
    assert list((await taken(raw, known={"TOOL_GIT_HUB_API_KEY": "other"})).variables) == ["TOOL_GIT_HUB_API_KEY_2"]
    assert list((await taken(raw, known={"TOOL_GIT_HUB_API_KEY": KEY})).variables) == ["TOOL_GIT_HUB_API_KEY"]


async def test_placeholders_of_the_environment_stay() -> None:
    raw = {"command": "x", "env": {"API_KEY": "${env:API_KEY}", "TOKEN": "${TOKEN}"}}
    found = await taken(raw)
    assert (found.entry, found.variables) == (raw, {})


# --- inputs and folders of editors -----------------------------------------------------------------------------


INPUTS = inputs_of(
    [
        {"id": "key", "type": "promptString", "password": True},
        {"id": "region", "type": "pickString", "default": "eu", "options": ["eu", "us"]},
        {"id": "cmd", "type": "command", "command": "ext.key"},
    ]
)


async def test_what_an_editor_asks_for_becomes_a_variable_with_the_answer_or_its_default() -> None:
    raw = {"command": "x", "args": ["--in=${input:region}"], "env": {"K": "${input:key}"}}
    found = await taken(raw, inputs=INPUTS, answer="an answer")
    assert found.entry["env"] == {"K": "${TOOL_GIT_HUB_KEY}"}
    assert found.variables == {"TOOL_GIT_HUB_REGION": "an answer", "TOOL_GIT_HUB_KEY": "an answer"}
    by_default = await taken({"command": "x", "args": ["${input:region}"]}, inputs=INPUTS)
    assert by_default.variables == {"TOOL_GIT_HUB_REGION": "eu"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${input:key}", "the input 'key' has no value"),
        ("${input:cmd}", "is answered by a command of the editor"),
        ("${input:none}", "the input 'none' is not described"),
    ],
)
async def test_what_nobody_answers_is_refused(text: str, said: str) -> None:
    with pytest.raises(EntryError, match=said):
        await taken({"command": "x", "args": [text]}, inputs=INPUTS)


async def test_the_folder_of_an_editors_window_is_written_out_or_refused() -> None:
    raw = {"command": "x", "cwd": "${workspaceFolder}/a", "envFile": ".env.mcp"}
    found = await taken(raw, file="/src/app/.vscode/mcp.json")
    assert found.entry == {"command": "x", "cwd": "/src/app/a", "envFile": "/src/app/.env.mcp"}
    with pytest.raises(EntryError, match="is no folder of this file"):
        await taken(raw, file="/home/me/.config/Code/User/mcp.json")


# --- the places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "environ", "path"),
    [
        ("darwin", {}, "Library/Application Support/Claude/claude_desktop_config.json"),
        ("linux", {}, ".config/Claude/claude_desktop_config.json"),
        ("linux", {"XDG_CONFIG_HOME": "{}/own"}, "own/Claude/claude_desktop_config.json"),
        ("win32", {"APPDATA": "{}/Roaming"}, "Roaming/Claude/claude_desktop_config.json"),
    ],
)
def test_files_of_other_clients_are_found_on_every_system(
    tmp_path: Path, platform: str, environ: dict[str, str], path: str
) -> None:
    folder = tmp_path / "folder"
    for file in (tmp_path / path, tmp_path / ".cursor" / "mcp.json", folder / ".vscode" / "mcp.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    variables = {name: value.format(tmp_path) for name, value in environ.items()}
    found = client_files(home=tmp_path, folder=folder, platform=platform, environ=variables)
    assert [each.client for each in found] == ["Claude Desktop", "Cursor", "VS Code, this folder"]
    assert found[0].path == tmp_path / path


# --- our file --------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=6)
ENTRIES = st.dictionaries(NAMES, st.fixed_dictionaries({"command": NAMES}), max_size=3)


@given(
    old=ENTRIES,
    new=ENTRIES.filter(bool),
    indent=st.sampled_from([None, 2, "\t"]),
    root=st.sampled_from(["plain", "mcp"]),
)
def test_servers_are_added_to_any_file_and_the_others_stay(
    old: dict[str, object], new: dict[str, object], indent: Any, root: str
) -> None:
    new = {name: entry for name, entry in new.items() if name not in old}
    document: dict[str, Any] = {"inputs": [{"servers": {}}], "servers": old, "other": {"servers": {"a": 1}}}
    text = json.dumps(document if root == "plain" else {"mcp": document}, indent=indent)
    parsed = json.loads(plain_json(add_servers(text, new)))
    document["servers"] = {**old, **new}
    assert (parsed if root == "plain" else parsed["mcp"]) == document


@pytest.mark.parametrize(
    "text",
    [
        '{\n  // mine\n  "mcpServers": {\n    "a": {"command": "x"}, // last\n    /* end, } */\n  }\n}\n',
        '{"mcpServers": {"a": {"command": "x",},},}',
        '{"mcpServers": { // "}"\n}}',
    ],
)
def test_comments_and_commas_at_the_end_stay(text: str) -> None:
    added = add_servers(text, {"b": {"url": "http://h/"}})
    assert json.loads(plain_json(added))["mcpServers"]["b"] == {"url": "http://h/"}
    for comment in ("// mine", "// last", "/* end, } */", '// "}"'):
        assert (comment in added) == (comment in text)
