"""The files of other clients, in the formats that their documentation states."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.cli.setup.client_formats import (
    ClientServers,
    _of_codex,  # pyright: ignore[reportPrivateUsage]
    _of_opencode_entry,  # pyright: ignore[reportPrivateUsage]
    _of_zed,  # pyright: ignore[reportPrivateUsage]
    read_client,
)
from bot.cli.setup.clients import client_files
from bot.domain.errors import SettingsError
from bot.tools.entries import read_entry
from bot.tools.placeholders import EntryError

FOLDER = Path("/src/app")


def read(tmp_path: Path, name: str, content: object) -> ClientServers | None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_client(file, folder=FOLDER)


def entries(tmp_path: Path, name: str, content: object) -> dict[str, Any]:
    found = read(tmp_path, name, content)
    assert found is not None
    converted = {one: found.entry(one) for one in found.entries if not found.is_off(one)}
    for entry in converted.values():
        read_entry(entry)  # we understand it
    return converted


CODEX = """
model = "gpt-5"

[mcp_servers.wiki]
command = "npx"
args = ["-y", "wiki-mcp"]
cwd = "/srv/wiki"
env_vars = ["WIKI_TOKEN", { name = "WIKI_USER", source = "local" }]
startup_timeout_sec = 20
tool_timeout_sec = 90
enabled_tools = ["search"]
default_tools_approval_mode = "prompt"
required = true

[mcp_servers.wiki.env]
MODE = "fast"

[mcp_servers.wiki.tools.search]
approval_mode = "approve"

[mcp_servers.docs]
url = "https://docs.example/mcp"
bearer_token_env_var = "DOCS_TOKEN"
http_headers = { "X-Region" = "eu" }
env_http_headers = { "X-Team" = "TEAM" }

[mcp_servers.off]
command = "x"
enabled = false
"""


def test_codex_servers_get_the_variables_that_their_table_names(tmp_path: Path) -> None:
    assert entries(tmp_path, ".codex/config.toml", CODEX) == {
        "wiki": {
            "command": "npx",
            "args": ["-y", "wiki-mcp"],
            "cwd": "/srv/wiki",
            "env": {"MODE": "fast", "WIKI_TOKEN": "${WIKI_TOKEN}", "WIKI_USER": "${WIKI_USER}"},
            "connect_timeout_s": 20.0,
            "timeout_s": 90.0,
            "includeTools": ["search"],
        },
        "docs": {
            "url": "https://docs.example/mcp",
            "headers": {"X-Region": "eu", "X-Team": "${TEAM}", "Authorization": "Bearer ${DOCS_TOKEN}"},
        },
    }


@pytest.mark.parametrize("name", ["opencode.json", "opencode.jsonc"])
@pytest.mark.parametrize("is_second", [False, True])
def test_opencode_servers_of_both_its_versions(tmp_path: Path, name: str, is_second: bool) -> None:
    off = {"type": "local", "command": ["x"], **({"disabled": True} if is_second else {"enabled": False})}
    servers = {
        "wiki": {
            "type": "local",
            "command": ["npx", "-y", "wiki-mcp"],
            "environment": {"WIKI_TOKEN": "{env:WIKI_TOKEN}"},
            "timeout": 10_000,
        },
        "docs": {"type": "remote", "url": "https://docs.example/mcp", "headers": {"A": "Bearer {env:T}"}},
        "off": off,
    }
    text = "// mine\n" + json.dumps({"mcp": {"servers": servers} if is_second else servers})
    assert entries(tmp_path, name, text) == {
        "wiki": {
            "type": "local",
            "command": ["npx", "-y", "wiki-mcp"],
            "environment": {"WIKI_TOKEN": "${WIKI_TOKEN}"},
            "connect_timeout_s": 10.0,
        },
        "docs": {"type": "remote", "url": "https://docs.example/mcp", "headers": {"A": "Bearer ${T}"}},
    }


def test_claude_code_servers_of_all_projects_and_of_this_folder(tmp_path: Path) -> None:
    document = {
        "mcpServers": {"mine": {"type": "stdio", "command": "x", "args": [], "env": {}}},
        "projects": {
            str(FOLDER): {"mcpServers": {"here": {"type": "http", "url": "https://h/mcp"}}},
            "/other": {"mcpServers": {"there": {"command": "y"}}},
        },
    }
    assert list(entries(tmp_path, ".claude.json", document)) == ["mine", "here"]


def test_gemini_servers_with_its_own_switches_and_variables(tmp_path: Path) -> None:
    document = {
        "mcp": {"excluded": ["off"]},
        "mcpServers": {
            "wiki": {"command": "x", "env": {"A": "$A_TOKEN", "B": "${B_TOKEN}"}, "trust": False},
            "off": {"command": "y"},
        },
    }
    found = entries(tmp_path, ".gemini/settings.json", document)
    assert found == {"wiki": {"command": "x", "env": {"A": "${A_TOKEN}", "B": "${B_TOKEN}"}, "trust": False}}
    only = {**document, "mcp": {"allowed": ["off"]}}
    assert list(entries(tmp_path, ".gemini/settings.json", only)) == ["off"]


def test_zed_servers_of_its_old_shape_and_its_new_one(tmp_path: Path) -> None:
    document = {
        "context_servers": {
            "new": {"source": "custom", "enabled": True, "command": "x", "args": ["a"], "env": {}},
            "old": {"source": "custom", "command": {"path": "x", "args": ["a"], "env": None}},
        }
    }
    found = entries(tmp_path, "zed/settings.json", document)
    assert found["old"] == {"source": "custom", "command": "x", "args": ["a"], "env": None}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "zed/settings.json",
            {"context_servers": {"a": {"source": "extension", "settings": {}}}},
            "an extension of Zed",
        ),
        ("config.toml", "mcp_servers.a = 1", "it is no table of settings"),
        ("config.toml", '[mcp_servers.a]\ncommand = "x"\nbearer_token = "s3cr3t"', "this key is not known"),
        ("config.toml", '[mcp_servers.a]\nargs = ["x"]', "neither a command nor a url"),
        (
            "config.toml",
            '[mcp_servers.a]\ncommand = "x"\nenv_vars = [{name = "A", source = "remote"}]',
            "from another machine",
        ),
        ("opencode.json", {"mcp": {"a": True}}, "it is no table of settings"),
        ("opencode.json", {"mcp": {"a": {"type": "local", "command": ["{file:~/x}"]}}}, "{file:~/x} reads a file"),
        ("opencode.json", {"mcp": {"a": {"type": "remote", "command": ["x"]}}}, "the type 'remote' does not fit"),
        (
            "mcp.json",
            {"mcpServers": {"a": {"type": "websocket", "url": "wss://h"}}},
            "the type 'websocket' does not fit",
        ),
        ("mcp.json", {"mcpServers": {"a": ["npx", "a"]}}, "it is no table of settings"),
    ],
)
def test_an_entry_that_cannot_be_used_says_why_without_its_values(
    tmp_path: Path, name: str, content: object, said: str
) -> None:
    found = read(tmp_path, name, content)
    assert found is not None
    with pytest.raises(EntryError) as caught:
        read_entry(found.entry("a"))
    assert said in str(caught.value) and "s3cr3t" not in f"{caught.value} {caught.value.cure}"


KEYS = ["command", "args", "env", "env_vars", "url", "http_headers", "env_http_headers", "environment", "timeout"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["x", "{env:A}", "$A", "${"]),
    lambda value: st.lists(value, max_size=2) | st.dictionaries(st.sampled_from(["name", "path", "a"]), value),
    max_leaves=3,
)


@given(
    entry=st.dictionaries(st.sampled_from([*KEYS, "startup_timeout_ms", "tool_timeout_sec", "source"]), VALUES),
    convert=st.sampled_from([_of_codex, _of_opencode_entry, _of_zed]),
)
@settings(max_examples=150)
def test_whatever_an_entry_holds_it_is_understood_or_refused(entry: dict[str, Any], convert: Any) -> None:
    with suppress(EntryError):
        read_entry(convert(entry))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.toml", '[mcp_servers.a]\ncommand = "x', "it is not valid TOML"),
        ("config.toml", "mcp_servers = 3", "mcp_servers: an object is expected"),
        ("opencode.json", '{"mcp": {"a": ', "it is not valid JSON"),
        ("mcp.json", '{"mcpServers": []}', "mcpServers: an object is expected"),
        ("config.yaml", "mcpServers:\n  - name: a\n    command: x\n", "it is YAML, which is not read here"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read(tmp_path, name, content)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.toml", 'model = "gpt-5"\n'),
        ("config.toml", "model = "),
        ("opencode.json", '{"theme": "x"}'),
        ("settings.json", '{"theme": '),
        ("settings.json", '{"mcp": {"enabled": true}}'),
        (".claude.json", '{"projects": {"/other": {"mcpServers": {}}}}'),
        ("config.yaml", "models: []\n"),
    ],
)
def test_a_file_that_is_for_other_settings_has_no_servers(tmp_path: Path, name: str, content: str) -> None:
    assert read(tmp_path, name, content) is None


@pytest.mark.parametrize(
    ("path", "client"),
    [
        (".codex/config.toml", "Codex"),
        (".config/opencode/opencode.jsonc", "opencode"),
        (".copilot/mcp-config.json", "GitHub Copilot CLI"),
        (".kiro/settings/mcp.json", "Kiro"),
        (".cline/data/settings/cline_mcp_settings.json", "Cline"),
        (".continue/mcpServers/wiki.json", "Continue"),
        ("own/config.toml", "Codex"),
    ],
)
def test_the_files_below_the_home_folder_are_found(tmp_path: Path, path: str, client: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).touch()
    environ = {"CODEX_HOME": str(tmp_path / "own")} if path.startswith("own") else {}
    found = client_files(home=tmp_path, folder=tmp_path / "folder", platform="linux", environ=environ)
    assert [(each.client, each.path) for each in found] == [(client, tmp_path / path)]
