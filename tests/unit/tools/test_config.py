"""Tool servers from MCP_SERVER_URL and mcp.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import SettingsError
from bot.settings import Settings, load_settings
from bot.tools.config import HttpEndpoint, ServerConfig, StdioEndpoint
from bot.tools.configured import load_servers, open_inputs
from bot.tools.jsonc import plain_json


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


def test_only_the_bundled_server_gets_the_database_and_only_where_that_is_postgresql() -> None:
    url = "postgresql://bot:hunter2@db/toolbridge"
    environ = {"PGSSLROOTCERT": "ca.pem", "HOME": "x"}
    servers = load(
        {"own": {"bundled": True}, "like": {"command": "python", "args": ["-m", "mcp_server"]}},
        environ=environ,
        database_url=url,
        database_schema="bots",
    )
    own, like = [server.endpoints[0] for server in servers]
    assert isinstance(own, StdioEndpoint) and isinstance(like, StdioEndpoint)
    assert own.env == {
        "TOOLBRIDGE_HOME": "home",
        "PGSSLROOTCERT": "ca.pem",
        "TOOLBRIDGE_FILES_URL": url,
        "TOOLBRIDGE_FILES_SCHEMA": "bots",
        "TOOLBRIDGE_FILES_AUTH": "password",
    }
    assert like.env == {}
    assert "hunter2" not in repr(servers) and "hunter2" in own.known_values and url in own.secrets
    local, _ = load_servers(settings(database_url="sqlite:///a.db"), environ=environ)
    assert isinstance(local.endpoints[0], StdioEndpoint) and local.endpoints[0].env == {"TOOLBRIDGE_HOME": "home"}


def test_where_tokens_are_the_passwords_of_the_database_the_bundled_server_can_get_them() -> None:
    identity = {"AZURE_CLIENT_ID": "c", "IDENTITY_ENDPOINT": "http://i"}
    given = settings(database_url="postgresql://bot@db/toolbridge", database_auth="entra")
    (server,) = load_servers(given, environ={**identity, "AZURE_OPENAI_API_KEY": "sk", "OTHER": "x"}, uses_folder=False)
    (endpoint,) = server.endpoints
    assert isinstance(endpoint, StdioEndpoint)
    assert identity.items() <= endpoint.env.items() and endpoint.env["TOOLBRIDGE_FILES_AUTH"] == "entra"
    assert not {"AZURE_OPENAI_API_KEY", "OTHER"} & endpoint.env.keys()


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
        HttpEndpoint(
            url="https://h/mcp",
            headers={"Authorization": "Bearer secret-token"},
            label="https://h/mcp",
            transport="http",
        ),
    )
    assert not web.trusted and web.timeout_s == 60
    assert len(replicas.endpoints) == 2 and replicas.offers("two") and not replicas.offers("three")
    assert bundled.trusted and bundled.endpoints[0].label == "python -m mcp_server"
    assert [server.is_bundled for server in servers] == [False, False, False, True]


def test_servers_of_the_environment_and_of_the_file_stand_side_by_side() -> None:
    servers = load({"b": {"command": "x"}, "a": {"command": "y"}}, mcp_server_url="http://h/mcp")
    assert [server.name for server in servers] == ["tools", "b", "a"]


@pytest.mark.parametrize("names", [("a", "a__b"), ("a__b", "a"), ("my server", "my_server"), ("a", "a_")])
def test_servers_whose_tools_could_take_each_others_names_are_not_used_together(names: tuple[str, str]) -> None:
    first, second = load({name: {"command": "x"} for name in names})
    assert first.endpoints != () and first.problem == ""
    assert second.endpoints == ()
    assert second.problem == (f"its tools could be confused with those of server {names[0]!r}. Rename one of the two")


def test_servers_whose_names_only_begin_alike_are_used_together() -> None:
    servers = load({name: {"command": "x"} for name in ("git", "github", "git-hub", "天気", "天気予報")})
    assert [server.problem for server in servers] == [""] * 5


def test_a_file_without_servers_means_none() -> None:
    assert load({}) == ()


@pytest.mark.parametrize(
    ("entry", "key", "part"),
    [
        ({"command": "x", "args": ["${UNSET_NAME}"]}, "args.0", "the variable UNSET_NAME is not set. Set it"),
        ({"command": "x", "args": ["${env:UNSET_NAME}"]}, "args.0", "UNSET_NAME is not set"),
        ({"command": "x", "env": {"A": "${input:unknown}"}}, "env.A", "the input 'unknown' is not described"),
        ({"command": "x", "env": {"A": "${command:pick}"}}, "env.A", "${command:pick} is not understood. Write"),
        ({"command": "x", "env": {"A": "${config:a.b}"}}, "env.A", "${config:a.b} is not understood"),
        ({"command": "${}"}, "command", "${} is not understood"),
        ({"command": "x", "cwd": "${HOME"}, "cwd", "has no end"),
        ({"url": "http://h", "headers": {"A": "Bearer ${input:t}"}}, "headers.A", "not described"),
        ({"command": "x", "envFile": "absent.env"}, "envFile", "cannot be read"),
        ({"command": "x", "url": "http://h"}, "command url", "command and url"),
        ({}, "", "neither a command nor a url"),
        ({"command": "x", "comand": "y"}, "comand", "not known. Did you mean command?"),
        ({"command": "x", "tool": ["a"]}, "tool", "Did you mean tools?"),
        ({"command": "x", "args": "one two"}, "args", "a list is expected"),
        ({"command": "x", "args": [["y"]]}, "args.0", "a text is expected"),
        ({"command": "x", "env": {"A": ["y"]}}, "env.A", "a text is expected"),
        ({"command": "x", "headers": {}}, "headers", "headers cannot go with command"),
        ({"url": "http://h/mcp", "cwd": "/"}, "cwd", "cwd cannot go with url"),
        ({"url": "http://h/mcp", "envFile": ".env"}, "envFile", "envFile cannot go with url"),
        ({"bundled": True, "args": []}, "args", "args cannot go with bundled"),
        ({"url": "h:8000/mcp"}, "url", "not a complete http"),
        ({"url": "http://h:port/mcp"}, "url", "not a complete http"),
        ({"urls": ["http://h/mcp", "h"]}, "urls.1", "not a complete http"),
        ({"url": "http://h", "serverUrl": "http://i"}, "serverUrl", "the same as another key"),
        ({"url": "ws://h/mcp", "type": "ws"}, "type", "'ws'"),
        ({"command": "x", "type": "http"}, "type", "'http'"),
        ({"url": "http://h/mcp", "type": "stdio"}, "type", "'stdio'"),
        ({"command": "x", "trusted": "yes"}, "trusted", "true or false"),
        ({"command": "x", "timeout_s": 0}, "timeout_s", "above 0"),
        ({"command": "x", "connect_timeout_s": -1}, "connect_timeout_s", "above 0"),
        ({"command": "x", "tools": {"permit": []}}, "tools.permit", "not known"),
        ({"command": "x", "excludeTools": "a"}, "excludeTools", "a list is expected"),
        ({"command": "x 'y"}, "command", "quotes"),
        ({"command": "x", "disabled": "true"}, "disabled", "true or false"),
        ({"command": "x", "cwd": "~nobody-of-that-name/x"}, "cwd", "home folder"),
        ({"command": "x", "timeout_s": 10**400}, "timeout_s", ""),
        ("x", "", "an object is expected"),
        (["x"], "", "an object is expected"),
    ],
)
def test_a_wrong_entry_costs_only_its_server_and_is_said_with_file_server_key_and_cure(
    entry: object, key: str, part: str
) -> None:
    good, bad = load({"good": {"command": "x"}, "bad one": entry})
    assert good.problem == ""
    assert bad.endpoints == ()
    assert bad.problem.startswith("mcp.json, server 'bad one'" + (f", key {key!r}: " if key else ": "))
    assert part in bad.problem
    assert "input_value" not in bad.problem and "Input should" not in bad.problem
    assert ". " in bad.problem  # the cure


def test_half_characters_in_a_file_can_be_shown() -> None:
    Path("mcp.json").write_text('{"mcpServers": {"a\\ud83d": {"comm\\ud83d": "x \\ud83d"}}}', encoding="utf-8")
    (server,) = load_servers(settings(), environ={})
    assert server.problem.encode() and server.name.encode()


def test_a_command_of_any_length_is_no_fault_of_the_reader() -> None:
    (server,) = load({"a": {"command": "x " * 50_000}})
    assert server.problem == ""


def test_a_server_without_a_name_is_left_out() -> None:
    good, bad = load({"good": {"command": "x"}, "": {"command": "x"}})
    assert good.problem == "" and "empty name" in bad.problem


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "line 1"),
        ("[]", "mcp.json"),
        ('{"mcpServers": []}', "mcpServers"),
        ('{"server": {}}', "mcpServers"),
        ('{"servers": {}, "mcpServers": {}}', "mcpServers and servers"),
        ("[" * 100_000, "JSON"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "'a' is there twice"),
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


# --- files of other clients ------------------------------------------------------------------------------------


def test_a_file_of_vs_code_is_understood(tmp_path: Path) -> None:
    folder = tmp_path / ".vscode"
    folder.mkdir()
    (tmp_path / "server.env").write_text("FROM_FILE=1\nBOTH=file\n", encoding="utf-8")
    (folder / "mcp.json").write_text(
        """{
            // what VS Code asks for
            "inputs": [
                {"type": "promptString", "id": "perplexity-key", "description": "API key", "password": true},
                {"type": "pickString", "id": "mode", "options": ["fast", {"value": "slow"}], "default": "fast"},
            ],
            "servers": {
                "perplexity": {
                    "type": "stdio", "command": "npx", /* the package */ "args": ["-y", "server-perplexity-ask"],
                    "env": {"KEY": "${input:perplexity-key}", "MODE": "${input:mode}", "BOTH": "own",
                            "N": 5, "B": true},
                    "envFile": "${workspaceFolder}/server.env",
                    "dev": {"watch": "**/*.ts"},
                },
                "remote": {"type": "http", "url": "https://h/mcp//x", "headers": {"A": "Bearer ${env:TOKEN}"}},
            },
        }""",
        encoding="utf-8",
    )  # fmt: skip
    found = load_servers(
        settings(mcp_config=folder / "mcp.json"), environ={"PERPLEXITY_KEY": "pplx-secret", "TOKEN": "t-secret"}
    )
    perplexity, remote = (server.endpoints[0] for server in found)
    assert isinstance(perplexity, StdioEndpoint)
    assert perplexity.args == ("-y", "server-perplexity-ask")
    assert perplexity.env == {
        "FROM_FILE": "1", "BOTH": "own", "KEY": "pplx-secret", "MODE": "fast", "N": "5", "B": "true",
    }  # fmt: skip
    assert found[0].warnings == ("the key dev has no effect here",)
    assert remote == HttpEndpoint(
        url="https://h/mcp//x", headers={"A": "Bearer t-secret"}, label="https://h/mcp//x", transport="http"
    )


def test_inputs_are_asked_for_where_the_environment_does_not_answer_them() -> None:
    document = {
        "inputs": [{"id": "key", "type": "promptString"}, {"id": "unused"}, {"id": "off"}, "odd", {"id": 7}],
        "servers": {
            "a": {"command": "x", "env": {"KEY": "${input:key}"}},
            "b": {"command": "x", "env": {"KEY": "${input:off}"}, "disabled": True},
        },
    }
    Path("mcp.json").write_text(json.dumps(document), encoding="utf-8")
    assert [asked.id for asked in open_inputs(settings(), environ={})] == ["key"]
    assert open_inputs(settings(), environ={"KEY": "k"}) == []
    (unanswered,) = load_servers(settings(), environ={})
    assert "the input 'key' has no value. Set KEY in the environment" in unanswered.problem
    (answered,) = load_servers(settings(), environ={}, answers={"key": "said"})
    assert isinstance(answered.endpoints[0], StdioEndpoint)
    assert answered.endpoints[0].env == {"KEY": "said"}


@pytest.mark.parametrize(
    ("entry", "transport"),
    [
        ({"url": "http://h/x"}, "any"),
        ({"serverUrl": "http://h/x"}, "any"),
        ({"httpUrl": "http://h/x"}, "http"),
        ({"type": "streamable_http", "url": "http://h/x"}, "http"),
        ({"type": "streamable-http", "url": "http://h/x"}, "http"),
        ({"transport": "streamableHttp", "url": "http://h/x"}, "http"),
        ({"type": "remote", "url": "http://h/x", "enabled": True}, "any"),
        ({"type": "sse", "url": "http://h/x"}, "sse"),
        ({"type": "SSE", "url": "http://h/x", "description": "old", "autoApprove": []}, "sse"),
    ],
)
def test_an_address_is_read_under_the_names_of_other_clients(entry: dict[str, Any], transport: str) -> None:
    (server,) = load({"a": entry})
    assert server.problem == ""
    assert server.endpoints == (HttpEndpoint(url="http://h/x", label="http://h/x", transport=transport),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "args"),
    [
        ({"command": "npx", "args": ["-y", "pkg", 8080]}, ("-y", "pkg", "8080")),
        ({"command": "npx -y 'a pkg'"}, ("-y", "a pkg")),
        ({"type": "local", "command": ["npx", "-y", "pkg"], "environment": {}}, ("-y", "pkg")),
        ({"command": "npx", "args": None, "cwd": None, "env": None}, ()),
    ],
)
def test_a_command_is_read_as_other_clients_write_it(entry: dict[str, Any], args: tuple[str, ...]) -> None:
    ((endpoint,),) = (server.endpoints for server in load({"a": entry}))
    assert isinstance(endpoint, StdioEndpoint)
    assert (endpoint.program, endpoint.args) == ("npx", args)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(30, 30.0), (0.5, 0.5), (600_000, 600.0), (3600, None), (1000, None), (0, None), ("9", None), (10**400, 1e6)],
)
def test_the_unit_of_a_timeout_is_read_where_it_is_plain(timeout: object, seconds: float | None) -> None:
    (server,) = load({"a": {"command": "x", "timeout": timeout}})
    assert server.timeout_s == (60.0 if seconds is None else seconds)
    assert bool(server.warnings) == (seconds is None)
    assert all("timeout_s" in warning for warning in server.warnings)


def test_patterns_of_other_clients_choose_the_tools() -> None:
    (server,) = load({"a": {"command": "x", "includeTools": ["read_*"], "disabledTools": ["read_secret"]}})
    assert [server.offers(tool) for tool in ("read_file", "read_secret", "write")] == [True, False, False]


def test_what_has_no_effect_here_is_said_and_the_server_is_kept() -> None:
    (server,) = load({"a": {"command": "x", "autoApprove": ["read"], "trust": True, "description": "files"}})
    assert server.problem == "" and not server.trusted
    assert server.warnings == ("the key autoApprove has no effect here", "the key trust has no effect here")


@given(st.text(alphabet='"\\/*,]}[{ \n:a1'))
def test_comments_and_commas_are_taken_out_of_json_and_of_nothing_else(text: str) -> None:
    assert plain_json(text).count("\n") == text.count("\n")
    try:
        document = json.loads(text)
    except ValueError:
        return
    assert json.loads(plain_json(text)) == document


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["command", "args", "env", "url", "urls", "headers", "type", "tools", "timeout", "timeout_s", "cwd", "envFile",
     "serverUrl", "includeTools", "disabledTools", "bundled", "enabled", "x"]
)  # fmt: skip


@given(st.dictionaries(KEYS, JSON, max_size=5) | JSON)
def test_no_entry_however_odd_takes_the_others_down(entry: object) -> None:
    servers = load({"good": {"command": "x"}, "odd": entry})
    assert servers[0].problem == "" and len(servers) <= 2
