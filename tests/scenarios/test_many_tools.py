"""More tools than a model takes: each can be used, and the trace shows how it was found."""

from __future__ import annotations

import sys

import pytest

from tests.scenarios.conftest import Toolbridge
from tests.scenarios.tools import WAREHOUSE

FOUND_LATE = 'use a tool to hand over seasonal invoices with {"id": "7"}'


@pytest.fixture
def shop(toolbridge: Toolbridge) -> Toolbridge:
    """300 tools on two servers."""
    servers = {"north": ("invoice", 250), "south": ("ticket", 50)}
    toolbridge.write_mcp_json(
        {
            name: {"command": sys.executable, "args": [str(WAREHOUSE), thing, str(count)]}
            for name, (thing, count) in servers.items()
        }
    )
    return toolbridge


async def test_a_tool_among_300_is_found_by_what_it_does_and_stays_known_after_a_restart(shop: Toolbridge) -> None:
    ran = await shop.ask(FOUND_LATE, "--conversation", "one")
    assert ran.code == 0
    assert 'did assign_seasonal_invoice {"id": "7"}' in ran.out
    assert ran.err.index("find_tools") < ran.err.index("north.assign_seasonal_invoice")

    again = await shop.ask(FOUND_LATE.replace("7", "8"), "--conversation", "one")
    assert 'did assign_seasonal_invoice {"id": "8"}' in again.out
    assert "find_tools" not in again.err


async def test_a_tool_that_the_question_names_needs_no_search(shop: Toolbridge) -> None:
    named = await shop.ask('call south__delete_weekly_ticket with {"id": "1"}')
    assert "did delete_weekly_ticket" in named.out
    assert "find_tools" not in named.err


async def test_all_tools_are_listed(shop: Toolbridge) -> None:
    listed = await shop.ask("/tools")
    assert listed.out.count("_invoice`") == 250
    assert listed.out.count("_ticket`") == 50
