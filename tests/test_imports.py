"""Imports point inwards: adapters know the core, the core knows no adapter, and the MCP server knows neither."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("bot", "adapters", "mcp_server")
CHAT_SDKS = {"slack_bolt", "slack_sdk", "discord", "aiohttp"}

# What an adapter may know of the core: its facts, its port, its errors, the table of commands, how secrets are hidden,
# how texts are cut.
OPEN_TO_ADAPTERS = {
    "bot.events",
    "bot.messages",
    "bot.ports",
    "bot.errors",
    "bot.commands",
    "bot.redaction",
    "bot.split",
    "bot.live",
    "bot.background",
}


@cache
def modules() -> Mapping[str, Path]:
    """Every module of ours by its dotted name."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(name: str, *, only_at_import_time: bool = False) -> Set[str]:
    """Return the dotted names that the module imports; of `from a import b` where `b` is a module, `a.b`."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in _run_at_import(tree) if only_at_import_time else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute here"
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & modules().keys()
            names |= inner or {node.module}
    return names


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what is executed when the module is imported: no function bodies, nothing for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _run_at_import(node)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def of(package: str) -> list[str]:
    return [name for name in modules() if within(name, package)]


def test_there_is_something_to_look_at() -> None:
    assert {"bot.turn", "bot.__main__", "adapters.console.adapter", "mcp_server.__main__"} <= modules().keys()
    assert "bot.ports" in imported("bot.turn")
    assert "bot.stores.codec" in imported("bot.stores.sqlite")


@pytest.mark.parametrize("name", [name for name in of("bot") if name != "bot.__main__"])
def test_the_core_imports_no_adapter_no_chat_sdk_and_no_tool_server(name: str) -> None:
    assert not [used for used in imported(name) if within(used, "adapters") or within(used, "mcp_server")]
    assert not {used.partition(".")[0] for used in imported(name)} & CHAT_SDKS


def test_the_command_line_names_the_adapters_but_no_chat_sdk() -> None:
    assert not {used.partition(".")[0] for used in imported("bot.__main__")} & CHAT_SDKS


@pytest.mark.parametrize("name", of("adapters"))
def test_an_adapter_knows_of_the_core_what_is_open_to_it_and_no_other_adapter(name: str) -> None:
    ours = {used for used in imported(name) if used.partition(".")[0] in PACKAGES}
    platform = ".".join(name.split(".")[:2])
    assert {used for used in ours if not within(used, platform)} <= OPEN_TO_ADAPTERS


@pytest.mark.parametrize("name", of("mcp_server"))
def test_the_tool_server_knows_neither_the_core_nor_the_adapters(name: str) -> None:
    assert not [used for used in imported(name) if within(used, "bot") or within(used, "adapters")]


def test_a_running_tool_server_has_loaded_nothing_of_the_bot() -> None:
    code = "import sys, mcp_server.__main__, mcp_server.server; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "mcp_server.server" in loaded
    assert not [name for name in loaded if within(name, "bot") or within(name, "adapters")]


def test_no_module_needs_itself_while_it_is_imported() -> None:
    graph = {name: imported(name, only_at_import_time=True) & modules().keys() for name in modules()}
    assert any(graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError with the cycle


@pytest.mark.parametrize("name", ["bot.ports", "bot.turn", "bot.runner", "bot.stores.sqlite", "bot.app"])
def test_a_module_can_be_the_first_that_is_imported(name: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, check=True, timeout=60)
