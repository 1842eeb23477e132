"""Names, order and limits of the tools that are offered."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import Tool, ToolAnnotations

from bot.tools.catalog import Catalog, Listing, tool_name
from bot.tools.config import ServerConfig

VALID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def listing(server: str, *tools: str | Tool, trusted: bool = False) -> Listing:
    made = tuple(Tool(name=tool, input_schema={"type": "object"}) if isinstance(tool, str) else tool for tool in tools)
    return Listing(server=ServerConfig(name=server, endpoints=(), trusted=trusted), tools=made)


words = st.text(min_size=1, max_size=90)
mcp_names = st.from_regex(r"[A-Za-z0-9_.-]{1,128}", fullmatch=True)
worlds = st.dictionaries(words, st.sets(st.one_of(words, mcp_names), max_size=8), max_size=4)


@given(worlds)
def test_names_are_valid_unique_and_lead_back_to_their_tool(world: dict[str, set[str]]) -> None:
    catalog = Catalog([listing(server, *tools) for server, tools in world.items()])
    offer = catalog.offer(world)
    names = [spec.name for spec in offer.tools]
    assert all(VALID.fullmatch(name) for name in names)
    assert len(names) == len(set(names))
    for spec in offer.tools:
        assert catalog.find(spec.name) is spec
        assert spec.tool in world[spec.server] and tool_name(spec.server, spec.tool) == spec.name
    refused = sum(len(tools) for tools in world.values()) - len(names)
    assert len(offer.notes) == refused


@given(worlds, words, st.sets(words, max_size=3))
def test_the_tools_of_one_server_keep_names_and_order_whatever_comes_after_it(
    world: dict[str, set[str]], server: str, tools: set[str]
) -> None:
    listings = [listing(name, *own) for name, own in world.items() if name != server]
    before = Catalog(listings).offer(world).tools
    after = Catalog([*listings, listing(server, *tools)]).offer(world).tools
    assert after[: len(before)] == before


@given(st.text(min_size=65, max_size=128), st.text(max_size=40), st.text(max_size=40))
def test_long_names_that_differ_only_at_the_end_stay_apart(start: str, one: str, other: str) -> None:
    assert (tool_name("s", start + one) == tool_name("s", start + other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("天気", "時刻"), ("погода", "время_"), ("größe", "grüße"), ("طقس", "وقت"), ("café", "cafè"), ("天気", "天候")],
)
def test_names_in_other_scripts_stay_apart_and_are_accepted_by_models(one: str, other: str) -> None:
    offer = Catalog([listing("s", one, other), listing("サーバー", "x"), listing("メール", "x")]).offer(
        {"s", "サーバー", "メール"}
    )
    assert offer.notes == ()
    assert {(spec.server, spec.tool) for spec in offer.tools} >= {("s", one), ("s", other), ("メール", "x")}
    assert all(VALID.fullmatch(spec.name) for spec in offer.tools)
    assert tool_name("s", one) == tool_name("s", one)


def test_the_order_is_that_of_the_configuration_then_the_name() -> None:
    catalog = Catalog([listing("zebra", "b", "a"), listing("ape", "c")])
    assert [spec.name for spec in catalog.offer({"zebra", "ape"}).tools] == ["zebra__a", "zebra__b", "ape__c"]


def test_the_second_tool_of_a_name_is_refused_and_named_even_while_the_first_is_down() -> None:
    catalog = Catalog([listing("my.server", "x"), listing("my_server", "x", "y")])
    for servers in ({"my.server", "my_server"}, {"my_server"}):
        offer = catalog.offer(servers)
        assert ("my_server", "x") not in [(spec.server, spec.tool) for spec in offer.tools]
        (note,) = offer.notes
        assert "'my_server'" in note and "'my.server'" in note


def test_all_tools_are_offered_however_many_there_are() -> None:
    offer = Catalog([listing("s", *(f"t{number:04}" for number in range(5_000)))]).offer({"s"})
    assert len(offer.tools) == 5_000 and offer.notes == ()


def test_only_a_trusted_servers_hints_make_a_tool_repeatable() -> None:
    tools = (
        Tool(name="reads", input_schema={}, annotations=ToolAnnotations(read_only_hint=True)),
        Tool(name="sets", input_schema={}, annotations=ToolAnnotations(idempotent_hint=True)),
        Tool(name="sends", input_schema={}, annotations=ToolAnnotations(destructive_hint=False)),
        Tool(name="silent", input_schema={}),
    )
    trusted = Catalog([listing("s", *tools, trusted=True)]).offer({"s"}).tools
    assert [spec.tool for spec in trusted if spec.is_repeatable] == ["reads", "sets"]
    assert not any(spec.is_repeatable for spec in Catalog([listing("s", *tools)]).offer({"s"}).tools)


def test_a_wrong_name_finds_its_near_ones() -> None:
    catalog = Catalog([listing("s", "calculate", "get_weather")])
    assert catalog.nearest("calculate") == ["s__calculate"]
    assert catalog.nearest("other__get_wether") == ["s__get_weather"]
    assert catalog.nearest("s__zzz") == []


def test_only_hints_of_trusted_servers_count_and_all_are_kept_for_comparison() -> None:
    hints = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    tool = Tool(name="look", input_schema={"type": "object"}, annotations=hints)
    (trusted,) = Catalog([listing("s", tool, trusted=True)]).offer({"s"}).tools
    (other,) = Catalog([listing("s", tool)]).offer({"s"}).tools
    assert (trusted.is_read_only, other.is_read_only) == (True, False)
    assert trusted.hints == other.hints == '{"openWorldHint": false, "readOnlyHint": true}'
    idempotent = Tool(name="put", input_schema={}, annotations=ToolAnnotations(idempotent_hint=True))
    (put,) = Catalog([listing("s", idempotent, trusted=True)]).offer({"s"}).tools
    assert (put.is_repeatable, put.is_read_only) == (True, False)


def test_a_server_is_the_bundled_one_by_its_configuration_and_not_by_its_name() -> None:
    tool = Tool(name="calculate", input_schema={})
    impostor = Listing(server=ServerConfig(name="toolbridge", endpoints=(), trusted=True), tools=(tool,))
    ours = Listing(server=ServerConfig(name="anything", endpoints=(), is_bundled=True), tools=(tool,))
    offer = Catalog([impostor, ours]).offer({"toolbridge", "anything"})
    assert [(spec.server, spec.is_bundled) for spec in offer.tools] == [("toolbridge", False), ("anything", True)]
