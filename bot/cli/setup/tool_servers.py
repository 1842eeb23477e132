"""The step to tool servers: those that other MCP clients on this machine have, asked for one by one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bot.cli.setup.asking import Person, say
from bot.cli.setup.client_formats import ClientServers, read_client
from bot.cli.setup.clients import client_files
from bot.cli.setup.env_file import values_of
from bot.cli.setup.plan import Plan
from bot.cli.setup.taking_over import Answer, Taken, take_over
from bot.domain.errors import SettingsError, settings_error
from bot.text.cleaning import clean_name
from bot.text.counting import count
from bot.tools.config import command_label, url_label
from bot.tools.entries import Entry, read_entry
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

    for client in client_files(home=Path.home(), folder=Path.cwd(), platform=sys.platform, environ=os.environ):
        if (file := _read(client.path)) is None:
            continue
        for name in _new_servers(plan, file, client.client):
            try:
                raw = file.entry(name)
                say(f"{client.client} has {clean_name(name)}, which {_described(read_entry(raw))}.")
                if await person.agrees(f"Take {clean_name(name)} over?"):
                    _plan(plan, await _taken(plan, name, raw, client.path, file, answer))
            except EntryError as error:
                say(f"{client.client}: {_left_out(name, error)}")
            except SettingsError as error:
                say(f"{clean_name(name)} is left out: {error}")


def _read(path: Path) -> ClientServers | None:
    """Return the file's servers; None where it has none, or cannot be read, which is said."""
    try:
        return read_client(path, folder=Path.cwd())
    except SettingsError as error:
        say(f"{error} It is left out.")
        return None


def _new_servers(plan: Plan, file: ClientServers, client: str) -> Sequence[str]:
    """Return those that are switched on there and not here yet; of the others it is said."""
    here = {**plan.existing_servers(), **plan.servers}
    for name in file.entries:
        if file.is_off(name):
            say(f"{clean_name(name)} is switched off in {client}, so it is left out.")
        elif name in here:
            say(f"{clean_name(name)} is left out: a server of that name is there already.")
    return [name for name in file.entries if name not in here and not file.is_off(name)]


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


async def _taken(plan: Plan, name: str, raw: object, path: Path, file: ClientServers, answer: Answer) -> Taken:
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


def _given(written: str) -> tuple[Path, ClientServers]:
    path = Path(written).expanduser()
    if not path.is_file():
        raise SettingsError(f"--mcp-from {written}: there is no such file.")
    file = read_client(path, folder=Path.cwd())
    if file is None:
        raise SettingsError(f"{path}: it has no tool servers. Name the file of another MCP client.")
    return path, file


async def plan_servers(plan: Plan) -> None:
    """Plan all servers of the files that flags name.

    Raises:
        SettingsError: Some of them cannot be taken over; it names all of those.
    """

    async def answer(asked: Input) -> str:
        return plan.given.get(asked.variable, "")

    problems: list[str] = []
    for written in plan.arguments.mcp_from:
        try:
            path, file = _given(written)
        except SettingsError as error:
            problems.append(str(error))
            continue
        for name in _new_servers(plan, file, str(path)):
            try:
                raw = file.entry(name)
                _plan(plan, await _taken(plan, name, raw, path, file, answer))
            except EntryError as error:
                problems.append(f"{path}: {_left_out(name, error)} Or switch it off there.")
            except SettingsError as error:
                problems.append(str(error))
            else:
                say(f"{clean_name(name)} {_described(read_entry(raw))}.")
    if problems:
        raise settings_error(problems)
