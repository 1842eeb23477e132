"""What servers say on how to use their tools, and what has to be said of tools that cannot be offered."""

from __future__ import annotations

from collections.abc import Sequence

from bot.ports.tools import ServerInstructions
from bot.text.cleaning import clean
from bot.tools.servers.server import Server

MAX_SERVER_INSTRUCTIONS_CHARS = 2_000
MAX_INSTRUCTIONS_CHARS = 8_000  # of all servers together
_CUT = " [cut]"
_NAMED_IN_NOTES = 10


def instructions_of(servers: Sequence[Server]) -> tuple[ServerInstructions, ...]:
    """Return what the servers say on how to use them, each and all together bounded."""
    found: list[ServerInstructions] = []
    left = MAX_INSTRUCTIONS_CHARS
    for server in servers:
        text = clean(server.instructions)
        room = min(left, MAX_SERVER_INSTRUCTIONS_CHARS)
        if text and room > len(_CUT):
            shown = text if len(text) <= room else text[: room - len(_CUT)] + _CUT
            found.append(ServerInstructions(server=server.config.name, text=shown))
            left -= len(shown)
    return tuple(found)


def missing_notes(server: Server) -> list[str]:
    """Return sentences on the tools that a server lists and that cannot be offered."""
    listed = server.listed
    notes = [f"Of server {server.config.name!r}, {listed.gap}."] if listed.gap else []
    left_out = {name: why for name, why in listed.left_out.items() if server.config.offers(name)}
    for name, why in list(left_out.items())[:_NAMED_IN_NOTES]:
        notes.append(f"The tool {name!r} of server {server.config.name!r} is left out: {why}.")
    if (more := len(left_out) - _NAMED_IN_NOTES) > 0:
        tools = "One more tool" if more == 1 else f"{more:,} more tools"
        notes.append(f"{tools} of server {server.config.name!r} {'is' if more == 1 else 'are'} left out.")
    return notes
