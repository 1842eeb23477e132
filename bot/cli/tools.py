"""`toolbridge tools`: lists the tool servers and their tools; shows and accepts tools that have changed."""

from __future__ import annotations

import dataclasses
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence

from adapters.registry import print_markdown, terminal_user
from bot.cli.output import print_json, print_lines, report
from bot.cli.servers import servers_of, wait_for_servers
from bot.cli.start import start
from bot.database import open_database
from bot.domain.audit import AuditEntry
from bot.intake.commands.phrases import short_line
from bot.intake.commands.tools import describe_tools, matches
from bot.ports.rights_store import Pin
from bot.ports.store import Store
from bot.rights.pinning import Pins, describe_change
from bot.settings import Settings
from bot.tools.toolset import Toolset

_SHOWN = ("server", "tool", "name", "description", "parameters", "is_read_only", "is_repeatable")
NO_CHANGES = "Every tool is as it was accepted."


async def tools(arguments: Namespace) -> int:
    """Print the servers and their tools, or only the tools that contain `arguments.word`; or what has changed.

    Returns 1 where `--accept` names nothing that has changed.

    Raises:
        SettingsError: A setting is wrong.
    """
    settings = start(arguments, logs_to_file=True, needs_model=False)
    async with Toolset(servers_of(settings, arguments)) as toolset:
        await wait_for_servers(toolset)
        if arguments.changes or arguments.accept:
            return await _changes(arguments, settings, toolset)
        if arguments.json or arguments.quiet:
            await _list(toolset, word=arguments.word, is_json=arguments.json)
        else:
            print_markdown(await describe_tools(toolset, asker=None, word=arguments.word))
    return 0


async def _list(toolset: Toolset, *, word: str, is_json: bool) -> None:
    """Print the tools for scripts: all that is known of them, or only their names."""
    offer = await toolset.offer(None)
    found = [tool for tool in offer.tools if matches(tool, word)]
    if is_json:
        servers = [dataclasses.asdict(status) for status in toolset.status()]
        listed = [{name: getattr(tool, name) for name in _SHOWN} for tool in found]
        print_json({"servers": servers, "tools": listed, "notes": offer.notes})
    else:
        print_lines(f"{tool.server}/{tool.tool}" for tool in found)


async def _changes(arguments: Namespace, settings: Settings, toolset: Toolset) -> int:
    offer = await toolset.offer(None)
    async with open_database(settings) as store:
        await Pins(store).see(offer.tools)
        changed = [pin for pin in await store.pins() if pin.changed]
        if arguments.accept:
            return await _accept(arguments, store, changed)
    if arguments.quiet:
        print_lines(_name(pin) for pin in changed)
    last = NO_CHANGES if not changed else f"`toolbridge tools --accept {_name(changed[0])}` accepts one."
    lines = [f"{_name(pin)} has changed, so every call of it asks an operator:\n{_difference(pin)}" for pin in changed]
    report(arguments, {"changed": list(map(_as_json, changed))}, [*lines, last])
    return 0


def _as_json(pin: Pin) -> Mapping[str, str]:
    return {"server": pin.server, "tool": pin.tool, "difference": _difference(pin)}


async def _accept(arguments: Namespace, store: Store, changed: Sequence[Pin]) -> int:
    name: str = arguments.accept
    accepted = [pin for pin in changed if name in (pin.server, f"{pin.server}/{pin.tool}")]
    if not accepted:
        print(f"Nothing of {name!r} has changed. `toolbridge tools --changes` lists what has.", file=sys.stderr)
        return 1
    await store.accept_pins(accepted, audit=[_entry(pin) for pin in accepted])
    lines = [  # it may have changed since it was shown
        f"{_name(pin)} is accepted as it is now. What was different:\n{_difference(pin)}" for pin in accepted
    ]
    report(arguments, {"accepted": list(map(_as_json, accepted))}, lines)
    return 0


def _difference(pin: Pin) -> str:
    return describe_change(pin.accepted, pin.changed, max_chars=None)


def _name(pin: Pin) -> str:
    return short_line(f"{pin.server}/{pin.tool}")


def _entry(pin: Pin) -> AuditEntry:
    return AuditEntry(
        kind="act",
        at=time.time(),
        person=f"console:{terminal_user()}",
        place="console",
        server=pin.server,
        tool=pin.tool,
        outcome="accepted",
    )
