"""In which way a server is spoken to next, also after a restart of the bot."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bot.domain.errors import StoreError
from bot.tools.config import Endpoint, HttpEndpoint, StdioEndpoint
from bot.tools.servers.ways import Ways

OLD = StdioEndpoint(program="npx", args=("old-server",), label="npx old-server")
SHOP = HttpEndpoint(url="https://shop.example/mcp", label="shop", transport="any")


class Notes:
    """Notes as the store keeps them."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.is_broken = False

    async def notes(self, prefix: str) -> Mapping[str, str]:
        if self.is_broken:
            raise StoreError("the disk is full")
        return {name: text for name, text in self.kept.items() if name.startswith(prefix)}

    async def put_note(self, name: str, text: str | None) -> None:
        if self.is_broken:
            raise StoreError("the disk is full")
        if text is None:
            self.kept.pop(name, None)
        else:
            self.kept[name] = text


async def recalled(endpoint: Endpoint, notes: Notes, *, server: str = "s") -> Ways:
    ways = Ways(endpoint, server=server, notes=notes)
    await ways.recall()
    return ways


@pytest.mark.parametrize(("endpoint", "older"), [(OLD, "handshake"), (SHOP, "sse")])
async def test_the_older_way_is_the_first_after_a_restart_until_it_fails(endpoint: Endpoint, older: str) -> None:
    notes = Notes()
    ways = await recalled(endpoint, notes)
    assert ways.best == "auto"
    way = ways.other(None, has_ended=True)
    assert way is not None and way == older
    await ways.remember(way, protocol_version="2025-06-18", took_s=0.1)
    again = await recalled(endpoint, notes)
    assert again.best == older
    assert again.other(TimeoutError(), has_ended=False) == "auto"  # it may be a newer version by now
    await again.remember("auto", protocol_version="2026-07-28", took_s=0.1)
    assert (await recalled(endpoint, notes)).best == "auto" and notes.kept == {}


async def test_a_note_is_only_for_the_same_server_with_the_same_command() -> None:
    notes = Notes()
    await (await recalled(OLD, notes)).remember("handshake", protocol_version="2025-06-18", took_s=0.1)
    newer = StdioEndpoint(program="npx", args=("old-server@2",), label="npx old-server@2")
    assert (await recalled(newer, notes)).best == "auto"
    assert (await recalled(OLD, notes, server="other")).best == "auto"
    assert (await recalled(OLD, notes)).best == "handshake"


@pytest.mark.parametrize("said", ["", "sse", "a way of a later version"])
async def test_a_note_that_means_nothing_here_changes_nothing(said: str) -> None:
    notes = Notes()
    await (await recalled(OLD, notes)).remember("handshake", protocol_version="2025-06-18", took_s=0.1)
    notes.kept = dict.fromkeys(notes.kept, said)
    assert (await recalled(OLD, notes)).best == "auto"


async def test_a_store_that_fails_costs_only_the_note() -> None:
    notes = Notes()
    notes.is_broken = True
    ways = await recalled(OLD, notes)
    await ways.remember("handshake", protocol_version="2025-06-18", took_s=0.1)
    assert ways.best == "handshake"
