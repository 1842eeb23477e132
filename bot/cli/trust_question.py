"""The question whether the files of a folder may be used: what they would do, without any secret."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from bot.cli.servers import interruptible
from bot.cli.trust import ENV_FILE, Folder, settings_of
from bot.domain.errors import SettingsError
from bot.intake.commands.phrases import short_line
from bot.observe.logs import configure_logs
from bot.settings import Settings, load_settings
from bot.text.counting import count
from bot.text.terminal import visible
from bot.tools.config import HttpEndpoint, ServerConfig, StdioEndpoint
from bot.tools.configured import bundled_server, load_servers

DEFAULT_HOST = "api.openai.com"  # of the openai SDK, where OPENAI_BASE_URL is not set
_ABOUT_THE_MODEL = ("AZURE_OPENAI_", "OPENAI_", "MODEL_")


def ask(folder: Folder) -> Sequence[str] | None:
    """Ask on standard error; return what was shown of the files where the person trusts them, None where not.

    Raises:
        SettingsError: A file is not valid.
    """
    configure_logs(log_format="console", level="ERROR")  # what is wrong with an entry is said below
    lines = list(describe(folder, environ=os.environ))
    print(
        f"{folder.reason} Look at what it would do before you use it: {short_line(str(folder.path))}", file=sys.stderr
    )
    for line in _compared(lines, folder.shown):
        print(f"  {visible(line)}", file=sys.stderr)
    print("Use these files, now and until they change? [y/N] ", end="", file=sys.stderr, flush=True)
    with interruptible():
        answer = sys.stdin.readline()
    return lines if answer.strip().lower() in ("y", "yes") else None


def describe(folder: Folder, *, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each thing that the folder's files would do. Raises SettingsError where one is not valid."""
    said = settings_of(folder.path / ENV_FILE)
    settings = load_settings(env_file=ENV_FILE)
    for name in folder.digests:
        if name == str(ENV_FILE):
            yield from _of_settings(settings, said, environ=environ)
        elif name.endswith(".toml"):
            yield f"{short_line(name)} says who may run what"
        else:
            yield from (f"{short_line(name)} {line}" for line in of_servers(load_servers(settings), settings))


def _of_settings(settings: Settings, said: Mapping[str, str], *, environ: Mapping[str, str]) -> Iterator[str]:
    if any(name.startswith(_ABOUT_THE_MODEL) for name in said) and (host := _model_host(settings)):
        yield f".env has your questions answered by {host}, which gets {_key(settings, said)}"
    if "MCP_SERVER_URL" in said:
        without_file = settings.model_copy(update={"mcp_config": None})
        urls = [server for server in load_servers(without_file, environ=environ) if server.name == "tools"]
        yield from (f".env {line}" for line in of_servers(urls, settings))
    yield f".env sets {short_line(', '.join(sorted(said)))}"


def _model_host(settings: Settings) -> str:
    try:
        if settings.provider == "rehearsal":
            return ""
        address = settings.azure_openai_endpoint if settings.provider == "azure" else settings.openai_base_url
        host = urlsplit(address).hostname if address else DEFAULT_HOST
    except (SettingsError, ValueError):  # is raised again, with the cure, before anything is asked there
        return ""
    return short_line(str(host or "an address that is not valid"))


def _key(settings: Settings, said: Mapping[str, str]) -> str:
    name = "AZURE_OPENAI_API_KEY" if settings.provider == "azure" else "OPENAI_API_KEY"
    if getattr(settings, name.lower()) is None:
        return "a token of your sign-in with Entra ID" if settings.provider == "azure" else "no key"
    return f"the {name} of .env" if name in said else f"the {name} of your environment"


def of_servers(servers: Sequence[ServerConfig], settings: Settings) -> Iterator[str]:
    """Yield what each server would start or connect to, without any secret."""
    own = bundled_server(settings, variables={}).endpoints[0].label
    for server in servers:
        if server.problem:
            yield f"describes the server {short_line(server.name)}, which cannot be used as it is"
        for endpoint in server.endpoints:
            if isinstance(endpoint, HttpEndpoint):
                extras = f", with {count(len(endpoint.headers), 'header')}" if endpoint.headers else ""
                yield short_line(f"connects to {endpoint.label}{extras} (server {server.name})")
            elif endpoint.label != own:
                yield short_line(f"starts {_command(endpoint)} (server {server.name})")


def _command(endpoint: StdioEndpoint) -> str:
    """Return what is started; arguments that may hold secrets are counted."""
    label = endpoint.label
    program = label.partition(" ")[0]
    path = f" ({endpoint.program})" if endpoint.program != program else ""
    hidden = len(endpoint.args) - len(label.split()) + 1
    return f"{label}{path}" + (f" with {count(hidden, 'more argument')}" if hidden > 0 else "")


def _compared(lines: Sequence[str], before: Sequence[str]) -> Iterator[str]:
    """Yield the lines; where the files were shown before, with what is new and what has gone."""
    if not before:
        yield from lines
        return
    yield from (f"{line}" if line in before else f"{line}   <- new" for line in lines)
    yield from (f"no longer: {line}" for line in before if line not in lines)
