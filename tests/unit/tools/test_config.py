"""Tool servers from MCP_SERVER_URL and mcp.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import SettingsError
from bot.settings import Settings, load_settings
from bot.tools.config import HttpEndpoint, ServerConfig, StdioEndpoint, load_servers


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(**overrides: Any) -> Settings:
    return load_settings(env_file=None, toolbridge_home=Path("home"), **overrides)


def load(servers: object, *, environ: dict[str, str] | None = None, **overrides: Any) -> tuple[ServerConfig, ...]:
    Path("mcp.json").write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return load_servers(settings(**overrides), environ=environ or {})


def test_without_any_configuration_the_bundled_server_is_there() -> None:
    environ = {"HTTPS_PROXY": "http://proxy:3128", "OPENAI_API_KEY": "sk-secret"}
    (server,) = load_servers(settings(weather_api_url="http://weather"), environ=environ)
    (endpoint,) = server.endpoints
    assert server.name == "toolbridge" and server.trusted
    assert isinstance(endpoint, StdioEndpoint)
    assert (endpoint.program, endpoint.args) == (sys.executable, ("-m", "mcp_server"))
    assert endpoint.env == {
        "TOOLBRIDGE_HOME": "home",
        "WEATHER_API_URL": "http://weather",
        "HTTPS_PROXY": "http://proxy:3128",
    }


def test_the_urls_of_the_environment_are_replicas_of_one_server() -> None:
    (server,) = load_servers(settings(mcp_server_url="http://one:1/mcp, http://two:2/mcp,http://one:1/mcp"), environ={})
    assert server.name == "tools"
    assert [endpoint.label for endpoint in server.endpoints] == ["http://one:1/mcp", "http://two:2/mcp"]


def test_a_file_with_all_keys_is_understood() -> None:
    environ = {"TOKEN": "secret-token", "EMPTY": ""}
    servers = load(
        {
            "files": {
                "command": "npx",
                "args": ["-y", "@scope/files", "--key", "${TOKEN}"],
                "env": {"MODE": "${MODE:-fast}", "EMPTY": "${EMPTY}"},
                "cwd": "~",
                "tools": {"allow": ["read_*"], "deny": ["*_secret"]},
                "trusted": True,
                "repeatable": ["read_file"],
                "timeout_s": 5,
            },
            "web": {"type": "http", "url": "https://h/${EMPTY:-mcp}", "headers": {"Authorization": "Bearer ${TOKEN}"}},
            "replicas": {"urls": ["http://a/mcp", "http://b/mcp"], "tools": ["one", "two"]},
            "off": {"command": "x", "args": ["${UNSET}"], "disabled": True},
            "toolbridge": {"bundled": True},
        },
        environ=environ,
    )
    files, web, replicas, bundled = servers
    assert files.endpoints == (
        StdioEndpoint(
            program="npx",
            args=("-y", "@scope/files", "--key", "secret-token"),
            env={"MODE": "fast", "EMPTY": ""},
            cwd=Path.home(),
            label="npx -y @scope/files",
        ),
    )
    assert (files.trusted, files.timeout_s) == (True, 5.0)
    assert [files.offers(tool) for tool in ("read_file", "read_secret", "write")] == [True, False, False]
    assert files.repeats("read_file") and not files.repeats("read_files")
    assert web.endpoints == (
        HttpEndpoint(url="https://h/mcp", headers={"Authorization": "Bearer secret-token"}, label="https://h/mcp"),
    )
    assert not web.trusted and web.timeout_s == 60
    assert len(replicas.endpoints) == 2 and replicas.offers("two") and not replicas.offers("three")
    assert bundled.trusted and bundled.endpoints[0].label == "python -m mcp_server"


def test_servers_of_the_environment_and_of_the_file_stand_side_by_side() -> None:
    servers = load({"b": {"command": "x"}, "a": {"command": "y"}}, mcp_server_url="http://h/mcp")
    assert [server.name for server in servers] == ["tools", "b", "a"]


def test_a_file_without_servers_means_none() -> None:
    assert load({}) == ()


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ({"command": "x", "args": ["${UNSET_NAME}"]}, "UNSET_NAME is not set"),
        ({"command": "x", "url": "http://h"}, "command and url"),
        ({}, "neither a command nor a url"),
        ({"command": "x", "comand": "y"}, "comand"),
        ({"command": "x", "args": "one two"}, "args"),
        ({"command": "x", "args": [1]}, "args.0"),
        ({"command": "x", "env": {"A": 1}}, "env.A"),
        ({"command": "x", "headers": {}}, "headers cannot go with command"),
        ({"url": "http://h/mcp", "cwd": "/"}, "cwd cannot go with url"),
        ({"bundled": True, "args": []}, "args cannot go with bundled"),
        ({"url": "h:8000/mcp"}, "not a complete http"),
        ({"url": "http://h:port/mcp"}, "not a complete http"),
        ({"url": "http://h/sse", "type": "sse"}, "'sse'"),
        ({"command": "x", "type": "http"}, "'http'"),
        ({"command": "x", "trusted": "yes"}, "trusted"),
        ({"command": "x", "timeout_s": 0}, "timeout_s"),
        ({"command": "x", "tools": {"permit": []}}, "permit"),
        ("x", "valid"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_file_the_server_and_the_reason(entry: object, part: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"good": {"command": "x"}, "bad one": entry})
    message = str(caught.value)
    assert "mcp.json" in message and "'bad one'" in message and part in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "line 1"),
        ("[]", "mcp.json"),
        ('{"mcpServers": []}', "mcpServers"),
        ('{"servers": {}}', "servers"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "'a' is there twice"),
        ('{"mcpServers": {"": {"command": "x"}}}', "empty name"),
    ],
)
def test_a_malformed_file_is_refused(text: str, part: str) -> None:
    Path("mcp.json").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"mcp\.json") as caught:
        load_servers(settings(), environ={})
    assert part in str(caught.value)


def test_a_file_that_is_named_but_missing_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"other\.json: the file does not exist"):
        load_servers(settings(mcp_config=Path("other.json")), environ={})


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("mcp.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="UTF-8"):
        load_servers(settings(), environ={})


def test_a_name_cannot_stand_for_two_servers() -> None:
    with pytest.raises(SettingsError, match="'tools'"):
        load({"tools": {"command": "x"}}, mcp_server_url="http://h/mcp")


@pytest.mark.parametrize("urls", ["localhost:8000", "http://h/mcp,ftp://u:p@h", " , ", "http://[h"])
def test_a_wrong_url_in_the_environment_is_refused_without_repeating_it(urls: str) -> None:
    with pytest.raises(SettingsError, match="MCP_SERVER_URL") as caught:
        load_servers(settings(mcp_server_url=urls), environ={})
    assert urls not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "label"),
    [
        ({"command": "/usr/bin/python3.12", "args": ["-m", "pkg.server", "--key=k"]}, "python3.12 -m pkg.server"),
        ({"command": "node", "args": ["/opt/x/index.js", "secret"]}, "node index.js"),
        ({"command": "uvx", "args": ["--from", "secret"]}, "uvx"),
        ({"command": "my-server", "args": ["secret"]}, "my-server"),
        ({"url": "https://u:secret@h:1/mcp?key=secret#secret"}, "https://h:1/mcp"),
        ({"url": "https://h/s/" + "secret" * 8 + "/mcp"}, "https://h/s/…/mcp"),
    ],
)
def test_what_is_shown_of_a_server_holds_no_secret(entry: object, label: str) -> None:
    ((endpoint,),) = (server.endpoints for server in load({"a": entry}))
    assert endpoint.label == label
    assert "secret" not in repr(endpoint).replace(label, "")
