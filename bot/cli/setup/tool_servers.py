"""The step to tool servers: those that other MCP clients on this machine have, asked for one by one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from bot.cli.setup.asking import Person, say
from bot.cli.setup.clients import client_files
from bot.cli.setup.env_file import values_of
from bot.cli.setup.plan import Plan
from bot.cli.setup.taking_over import Answer, Taken, take_over
from bot.domain.errors import SettingsError
from bot.text.cleaning import clean_name
from bot.text.counting import count
from bot.tools.config import command_label, url_label
from bot.tools.entries import Entry, is_disabled, read_entry
from bot.tools.jsonc import plain_json
from bot.tools.mcp_json import ROOTS, McpJson
from bot.tools.placeholders import EntryError, Input


async def ask_for_servers(plan: Plan, person: Person) -> None:
    """Show each server that another client has, and plan those that the person wants."""

    async def answer(asked: Input) -> str:
        if value := plan.given.get(asked.variable):
            return value
        choices = f" ({', '.join(asked.options)})" if asked.options else ""
        question = f"{asked.description or asked.id}{choices}:"
        return await (
            person.secret(question) if asked.is_password else person.text(question, default=asked.default or "")
        )

    found = client_files(home=Path.home(), folder=Path.cwd(), platform=sys.platform, environ=os.environ)
    for client in found:
        if (file := _read(client.path)) is None:
            continue
        for name, raw in _new_servers(plan, file).items():
            try:
                say(f"{client.client} has {clean_name(name)}, which {_described(read_entry(raw))}.")
                if await person.agrees(f"Take {clean_name(name)} over?"):
                    _plan(plan, await _taken(plan, name, raw, client.path, file, answer))
            except EntryError as error:
                say(_left_out(name, error))
            except SettingsError as error:
                say(f"{clean_name(name)} is left out: {error}")


def _read(path: Path) -> McpJson | None:
    """Return the file; None where it has no servers, or cannot be read, which is said."""
    try:
        return McpJson(path)
    except SettingsError as error:
        if _names_servers(path):
            say(f"{error} It is left out.")
        return None


def _names_servers(path: Path) -> bool:
    """Return whether it is to have servers: many of these files are for other settings too."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return False
    try:
        document: object = json.loads(plain_json(text))
    except (ValueError, RecursionError):
        return any(f'"{root}"' in text for root in ROOTS)
    return isinstance(document, dict) and any(root in document for root in ROOTS)


def _new_servers(plan: Plan, file: McpJson) -> Mapping[str, object]:
    """Return those that are switched on there and not here yet; of one whose name is taken it is said."""
    here = {**plan.existing_servers(), **plan.servers}
    for name in [name for name in file.entries if name in here]:
        say(f"{clean_name(name)} is left out: a server of that name is there already.")
    return {name: raw for name, raw in file.entries.items() if name not in here and not is_disabled(raw)}


def _described(entry: Entry) -> str:
    """Return what it does, with the names of what it gets and without any value."""
    return ", ".join(_parts(entry))


def _parts(entry: Entry) -> Iterator[str]:
    if entry.command is not None:
        label = command_label(entry.command, entry.args or [])
        hidden = len(entry.args or []) - len(label.split()) + 1
        yield f"starts {label}" + (f" with {count(hidden, 'more argument')}" if hidden > 0 else "")
    else:
        yield f"connects to {' and '.join(map(url_label, entry.urls or [entry.url or '']))}"
    if names := [*(entry.env or {}), *(entry.headers or {})]:
        yield f"and gets {', '.join(map(clean_name, names))}"


async def _taken(plan: Plan, name: str, raw: object, path: Path, file: McpJson, answer: Answer) -> Taken:
    known = {**values_of(plan.before.env), **{name: value for name, value in plan.env.items() if value}}
    return await take_over(name, raw, file=path, inputs=file.inputs, answer=answer, known=known)


def _plan(plan: Plan, taken: Taken) -> None:
    """Plan the server. Raises SettingsError where the files would not be valid with it; then it is not planned."""
    env = dict(plan.env)
    plan.servers[taken.name] = taken.entry
    plan.env.update(taken.variables)
    try:
        plan.after()
    except SettingsError:
        del plan.servers[taken.name]
        plan.env = env
        raise


def _left_out(name: str, error: EntryError) -> str:
    key = f", key {error.key!r}" if error.key else ""
    return f"{clean_name(name)} is left out{key}: {error.what}. {error.cure}."


# --- by flags --------------------------------------------------------------------------------------------------


def _given(written: str) -> tuple[Path, McpJson]:
    path = Path(written).expanduser()
    if not path.is_file():
        raise SettingsError(f"--mcp-from {written}: there is no such file.")
    return path, McpJson(path)


async def plan_servers(plan: Plan) -> None:
    """Plan all servers of the files that flags name.

    Raises:
        SettingsError: One of them cannot be taken over.
    """

    async def answer(asked: Input) -> str:
        return plan.given.get(asked.variable, "")

    for written in plan.arguments.mcp_from:
        path, file = _given(written)
        for name, raw in _new_servers(plan, file).items():
            try:
                _plan(plan, await _taken(plan, name, raw, path, file, answer))
            except EntryError as error:
                raise SettingsError(f"{path}: {_left_out(name, error)} Or switch it off there.") from None
            say(f"{clean_name(name)} {_described(read_entry(raw))}.")
