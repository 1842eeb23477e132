"""Every tool can be found, and the best match comes first."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.messages import ToolSpec
from bot.text.words import words
from bot.tools.catalog import tool_name
from bot.tools.search import ToolIndex, ToolSearch
from tests.fakes.mcp_servers.warehouse import THINGS, TOOLS_A_SERVER, Stock, stock

LIMIT = 8


def tool(server: str, name: str, description: str = "", parameters: Mapping[str, Any] | None = None) -> ToolSpec:
    return ToolSpec(
        name=tool_name(server, name),
        server=server,
        tool=name,
        description=description,
        parameters=parameters if parameters is not None else {"type": "object"},
    )


def of_stock(one: Stock) -> ToolSpec:
    return tool(one.server, one.name, one.description, one.definition()["inputSchema"])


@pytest.fixture(scope="module")
def warehouse() -> tuple[ToolSpec, ...]:
    """5,000 tools on 20 servers."""
    return tuple(of_stock(one) for thing in THINGS for one in stock(thing))


@pytest.fixture(scope="module")
def index(warehouse: tuple[ToolSpec, ...]) -> ToolIndex:
    return ToolIndex(warehouse)


def test_each_of_5000_tools_is_found_by_the_words_of_its_name(
    index: ToolIndex, warehouse: tuple[ToolSpec, ...]
) -> None:
    assert len(warehouse) == len(THINGS) * TOOLS_A_SERVER == 5_000
    for one in warehouse:
        assert index.search(" ".join(reversed(words(one.tool))), limit=1) == [one]


@given(st.data())
@settings(max_examples=40)
def test_words_of_a_description_find_its_tool_among_5000(
    index: ToolIndex, warehouse: tuple[ToolSpec, ...], data: st.DataObject
) -> None:
    one = data.draw(st.sampled_from(warehouse))
    assert one in index.search(one.description, limit=LIMIT)


tool_names = st.one_of(st.text(min_size=1, max_size=30), st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True))


@given(st.dictionaries(tool_names, st.sets(tool_names, min_size=1, max_size=12), min_size=1, max_size=5))
def test_each_tool_is_found_by_its_name_whatever_that_is(world: dict[str, set[str]]) -> None:
    tools = {one.name: one for server, own in world.items() for one in [tool(server, name) for name in sorted(own)]}
    index = ToolIndex(tuple(tools.values()))
    for one in tools.values():
        assert index.search(one.name, limit=LIMIT)[0] is one
        own_words = [*words(one.server), *words(one.tool)]
        alike = [two for two in tools.values() if {*words(two.server), *words(two.tool)} == set(own_words)]
        if own_words and len(alike) <= LIMIT:
            assert one in index.search(" ".join(own_words), limit=LIMIT)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from(["properties", "type", "x"]), json_like), st.text(), st.text())
def test_no_schema_text_or_query_breaks_the_search(schema: dict[str, Any], description: str, query: str) -> None:
    index = ToolIndex((tool("s", "t", description, schema),))
    assert len(index.search(query, limit=LIMIT)) <= 1
    assert len(index.named(query, limit=LIMIT)) <= 1


def test_a_name_weighs_more_than_a_description_and_that_more_than_arguments() -> None:
    by_argument = tool("s", "one", "", {"properties": {"x": {"description": "The invoice."}}})
    by_description = tool("s", "two", "Makes an invoice.")
    by_name = tool("s", "invoice", "Something else.")
    others = [tool("s", f"other_{number}", "Nothing of the kind.") for number in range(9)]
    index = ToolIndex((by_argument, by_description, by_name, *others))
    assert index.search("send invoices now", limit=LIMIT) == [by_name, by_description, by_argument]


def test_other_scripts_are_searched_too() -> None:
    weather, clock = tool("s", "天気", "東京の天気予報"), tool("s", "uhr", "Zeigt die Größe der Schrift.")
    index = ToolIndex((weather, clock, *(tool("s", f"other_{number}") for number in range(9))))
    assert index.search("大阪の天気は?", limit=1) == [weather]
    assert index.search("GRÖSSE", limit=1) == [clock]


def test_a_question_names_tools_and_servers(index: ToolIndex) -> None:
    (first, *_) = index.named("please use create_overdue_invoice for ACME", limit=LIMIT)
    assert first.tool == "create_overdue_invoice"
    (first, *_) = index.named("Create overdue invoice!", limit=LIMIT)
    assert first.tool == "create_overdue_invoice"
    of_server = index.named("What can you approve in the tickets server that is urgent?", limit=LIMIT)
    assert of_server[0].tool == "approve_urgent_ticket"
    assert {one.server for one in of_server} == {"tickets"} and len(of_server) == LIMIT
    assert index.named("hello there", limit=LIMIT) == []


# --- a Python whose SQLite has no FTS5 -------------------------------------------------------------------------


def connect_without_fts5() -> sqlite3.Connection:
    def decide(action: int, _1: str | None, _2: str | None, _3: str | None, _4: str | None) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_CREATE_VTABLE else sqlite3.SQLITE_OK

    db = sqlite3.connect(":memory:")
    db.set_authorizer(decide)
    return db


def plain_index(tools: Sequence[ToolSpec]) -> ToolIndex:
    return ToolIndex(tools, connect=connect_without_fts5)


def test_without_fts5_each_tool_is_still_found_by_its_words_and_the_best_comes_first() -> None:
    some = [of_stock(one) for one in islice(stock("invoice"), 240)]
    index = plain_index(some)
    for one in some:
        assert index.search(" ".join(reversed(words(one.tool))), limit=1) == [one]
        assert one in index.search(one.description, limit=LIMIT)
        assert one in index.named(f"please {one.tool} for ACME", limit=LIMIT)
    assert index.search("zebra crossing", limit=LIMIT) == []


def test_without_fts5_a_name_weighs_more_than_a_description_and_a_server_can_be_named() -> None:
    by_description = tool("notes", "two", "Makes an invoice.")
    by_name = tool("s", "invoice", "Something else.")
    index = plain_index((by_description, by_name, *(tool("s", f"other_{number}") for number in range(9))))
    assert index.search("send the invoice", limit=LIMIT) == [by_name, by_description]
    assert index.named("an invoice in notes", limit=LIMIT) == [by_name, by_description]


async def test_an_index_is_kept_for_the_same_tools_and_made_again_for_others() -> None:
    search = ToolSearch()
    some = tuple(of_stock(one) for one in islice(stock("invoice"), 20))
    others = tuple(of_stock(one) for one in islice(stock("ticket"), 20))
    for among in (some, (*some,), others, some):
        (found,) = await search.search("duplicate draft", among=among, limit=1)
        assert found in among
        assert await search.named(found.tool, among=among, limit=1) == [found]
