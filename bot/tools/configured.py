"""The configured tool servers: those of MCP_SERVER_URL, and those of mcp.json."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dotenv import dotenv_values

from bot.domain.errors import SettingsError
from bot.settings import Settings
from bot.tools.catalog import tool_name
from bot.tools.config import HttpEndpoint, ServerConfig, StdioEndpoint, url_label, url_problem
from bot.tools.mcp_json import McpJson
from bot.tools.placeholders import Input

BUNDLED_NAME = "toolbridge"
URL_SERVER_NAME = "tools"  # all URLs of MCP_SERVER_URL are replicas of one server
DEFAULT_FILE = Path("mcp.json")

# For the bundled server alone: the database in which it keeps files, the schema there, and how it signs in.
FILES_URL, FILES_SCHEMA, FILES_AUTH = "TOOLBRIDGE_FILES_URL", "TOOLBRIDGE_FILES_SCHEMA", "TOOLBRIDGE_FILES_AUTH"
# How azure-identity finds the machine's identity: https://learn.microsoft.com/python/api/overview/azure/identity-readme
_IDENTITY = ("AZURE_", "IDENTITY_", "MSI_", "IMDS_")
_NO_IDENTITY = frozenset({"AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"})

# The bundled server calls public APIs through the same proxies as this process.
_NETWORK_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


def load_servers(
    settings: Settings,
    *,
    environ: Mapping[str, str] | None = None,
    answers: Mapping[str, str] | None = None,
    uses_folder: bool = True,
) -> tuple[ServerConfig, ...]:
    """Return the configured servers: those of MCP_SERVER_URL, then those of mcp.json in its order.

    Without either, it is the bundled server. `${VAR}` is looked up in `environ`: by default the process's environment,
    then `.env`. `answers` are to the file's inputs, by their ids. An entry that cannot be used becomes a server with
    a `problem`. Without `uses_folder`, the working folder's mcp.json and `.env` do not count.

    Raises:
        SettingsError: MCP_SERVER_URL or the file as a whole is not valid; it says where, and the cure.
    """
    variables = _variables(uses_folder=uses_folder) if environ is None else environ
    file = _file(settings, uses_folder=uses_folder)
    servers = [_from_urls(settings.mcp_server_url)] if settings.mcp_server_url is not None else []
    if file is not None:
        servers += McpJson(file).servers(
            taken={server.name for server in servers},
            variables=variables,
            answers=answers or {},
            bundled=bundled_server(settings, variables=variables).endpoints,
        )
    elif not servers:
        servers = [bundled_server(settings, variables=variables)]
    return tuple(apart(servers))


def open_inputs(
    settings: Settings, *, environ: Mapping[str, str] | None = None, uses_folder: bool = True
) -> list[Input]:
    """Return the inputs of mcp.json that neither the environment nor `.env` answers. Raises SettingsError."""
    file = _file(settings, uses_folder=uses_folder)
    if file is None:
        return []
    variables = _variables(uses_folder=uses_folder) if environ is None else environ
    return [asked for asked in McpJson(file).wanted_inputs() if not variables.get(asked.variable)]


def _file(settings: Settings, *, uses_folder: bool) -> Path | None:
    file = settings.mcp_config or (DEFAULT_FILE if uses_folder and DEFAULT_FILE.is_file() else None)
    return None if file is None else file.expanduser()


def _variables(*, uses_folder: bool) -> Mapping[str, str]:
    # load_settings has checked that it can be read
    from_file = dotenv_values(".env", encoding="utf-8") if uses_folder else dict[str, str | None]()
    return {**{name: value for name, value in from_file.items() if value is not None}, **os.environ}


def bundled_server(settings: Settings, *, variables: Mapping[str, str]) -> ServerConfig:
    """Return the configuration of the server that comes with the bot."""
    env = {"TOOLBRIDGE_HOME": str(settings.toolbridge_home)}
    apis = {"WEATHER_API_URL": settings.weather_api_url, "GEOCODING_API_URL": settings.geocoding_api_url}
    env |= {name: value for name, value in apis.items() if value is not None}
    for name in (*_NETWORK_VARIABLES, *(name.lower() for name in _NETWORK_VARIABLES), "TZ"):
        if name in variables:
            env[name] = variables[name]
    if settings.is_shared:
        env |= _database(settings, variables=variables)
    command = StdioEndpoint(program=sys.executable, args=("-m", "mcp_server"), env=env, label="python -m mcp_server")
    return ServerConfig(name=BUNDLED_NAME, endpoints=(command,), trusted=True, is_bundled=True)


def _database(settings: Settings, *, variables: Mapping[str, str]) -> Mapping[str, str]:
    """Return what the bundled server needs to keep files in the bot's database, with what libpq reads by itself."""
    read = ("PG", *(_IDENTITY if settings.database_auth == "entra" else ()))
    own = {name: value for name, value in variables.items() if name.startswith(read) and name not in _NO_IDENTITY}
    named = {FILES_SCHEMA: settings.database_schema, FILES_AUTH: settings.database_auth}
    return {**own, **named, FILES_URL: settings.store_url}


def apart(servers: Sequence[ServerConfig]) -> Sequence[ServerConfig]:
    """Return the servers, with a problem for each whose tools could have the names of an earlier one's tools.

    The names of tools begin with those of their servers: "a" could call a tool of its own "b__act", and so imitate the
    tool "act" of a server "a__b". In rules a slash separates the two: "a" could call a tool of its own "b/act",
    and so be allowed what the tool "act" of a server "a/b" is.
    """
    kept: list[ServerConfig] = []
    for server in servers:
        other = next((one.name for one in kept if _could_imitate(server.name, one.name)), None)
        problem = f"its tools could be confused with those of server {other!r}. Rename one of the two"
        kept.append(server if other is None or server.problem else replace(server, endpoints=(), problem=problem))
    return kept


def _could_imitate(one: str, other: str) -> bool:
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        return True
    first, second = tool_name(one, ""), tool_name(other, "")
    is_hashed = not (one.isascii() and other.isascii())  # then a hash of the whole name keeps them apart
    return not is_hashed and (first.startswith(second) or second.startswith(first))


def _from_urls(text: str) -> ServerConfig:
    urls = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    problem = next((problem for url in urls if (problem := url_problem(url))), "" if urls else "it names no URL")
    if problem:
        raise SettingsError(
            f"MCP_SERVER_URL is not valid: {problem}. Write http(s)://host:port/mcp, several with commas between."
        )
    return ServerConfig(
        name=URL_SERVER_NAME, endpoints=tuple(HttpEndpoint(url=url, label=url_label(url)) for url in urls)
    )
