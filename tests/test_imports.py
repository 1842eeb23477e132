"""Imports point inwards. A rule is one line in `RULES`: a module, and what it may import of ours."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Set
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from adapters.registry import PLATFORMS

ROOT = Path(__file__).parents[1]
PACKAGES = ("bot", "adapters", "mcp_server")
CHAT_SDKS = {"slack_bolt", "slack_sdk", "discord", "aiohttp"}
SLOW = {"pydantic", "structlog", "mcp", "openai", "rich", "prompt_toolkit", "sqlite3", "starlette", "uvicorn"}
SLOW |= {"psycopg", *CHAT_SDKS}
# The only files that use private parts of a library, one for each; such a library has a narrow range in pyproject.toml.
USES_PRIVATE_PARTS = {"adapters.discord.private_parts": "discord.py", "adapters.slack.private_parts": "slack-bolt"}
# No private parts, but behaviour that no document promises.
NARROW = {"mcp", "aiosqlite", "slack-bolt", "uvicorn", *USES_PRIVATE_PARTS.values()}

# The first rule whose package holds the module decides. A module may always import its own package.
RULES: tuple[tuple[str, Set[str]], ...] = (
    ("mcp_server", set()),
    ("adapters.registry", {"adapters", "bot"}),
    ("adapters.shared", {"bot.domain", "bot.ports", "bot.text", "bot.forms"}),
    ("adapters.console", {"bot.domain", "bot.ports", "bot.text", "bot.forms", "adapters.shared"}),
    ("adapters.discord", {"bot.domain", "bot.ports", "bot.text", "bot.forms", "adapters.shared"}),
    ("adapters.slack", {"bot.domain", "bot.ports", "bot.text", "bot.forms", "adapters.shared"}),
    ("bot.__main__", {"bot.cli"}),
    ("bot.cli", {"bot", "adapters.registry"}),
    ("bot.app", {"bot"}),
    ("bot.composition", {"bot"}),
    ("bot.settings", {"bot.domain", "bot.text"}),
    ("bot.database", {"bot.domain", "bot.ports", "bot.settings", "bot.stores", "bot.text", "bot.keeping"}),
    ("bot.settings_digest", {"bot.settings"}),
    ("bot.domain", set()),
    ("bot.text", {"bot.domain"}),
    ("bot.forms", {"bot.domain", "bot.text"}),
    ("bot.ports", {"bot.domain"}),
    ("bot.http", {"bot.domain", "bot.ports"}),
    ("bot.keeping", {"bot.domain", "bot.ports", "bot.text"}),
    ("bot.observe", {"bot.domain", "bot.ports", "bot.text", "bot.keeping"}),
    ("bot.stores", {"bot.domain", "bot.ports", "bot.text", "bot.keeping"}),
    ("bot.models", {"bot.domain", "bot.ports", "bot.text", "bot.settings"}),
    ("bot.tools", {"bot.domain", "bot.ports", "bot.text", "bot.forms", "bot.settings", "bot.keeping"}),
    ("bot.rights", {"bot.domain", "bot.ports", "bot.text", "bot.settings"}),
    ("bot.turns", {"bot.domain", "bot.ports", "bot.text"}),
    ("bot.intake", {"bot.domain", "bot.ports", "bot.text", "bot.forms", "bot.turns", "bot.rights", "bot.keeping"}),
)


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
    """Yield what is executed when the module is imported: no function bodies, nothing only for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _run_at_import(node)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_there_is_something_to_look_at() -> None:
    assert {"bot.turns.loop", "bot.__main__", "adapters.console.adapter", "mcp_server.__main__"} <= modules().keys()
    assert "bot.ports.model" in imported("bot.turns.loop")
    assert "bot.stores.codec" in imported("bot.stores.units.intake")


@pytest.mark.parametrize("name", [name for name in modules() if name not in PACKAGES])
def test_a_module_imports_only_what_its_rule_allows(name: str) -> None:
    package, allowed = next(rule for rule in RULES if within(name, rule[0]))
    ours = {used for used in imported(name) if used.partition(".")[0] in PACKAGES}
    assert not {used for used in ours if not any(within(used, part) for part in {package, *allowed})}


@pytest.mark.parametrize("name", [name for name in modules() if within(name, "bot") or within(name, "mcp_server")])
def test_only_adapters_import_chat_sdks(name: str) -> None:
    assert not {used.partition(".")[0] for used in imported(name)} & CHAT_SDKS


def test_a_running_tool_server_has_loaded_nothing_of_the_bot() -> None:
    code = "import sys, mcp_server.__main__, mcp_server.server; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "mcp_server.server" in loaded
    assert not [name for name in loaded if within(name, "bot") or within(name, "adapters")]


def test_the_command_line_shows_its_help_without_loading_anything_slow() -> None:
    code = "import sys, contextlib, bot.cli.main as cli\nwith contextlib.suppress(SystemExit): cli.main(['--help'])\n"
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "usage: toolbridge" in shown
    assert not SLOW & {name.partition(".")[0] for name in shown.splitlines()[-1].split()}


def test_a_platform_is_a_folder_and_a_row_and_the_command_line_names_none() -> None:
    for platform in PLATFORMS:
        assert (ROOT / "adapters" / platform.name).is_dir()
        for path in (ROOT / "bot" / "cli").glob("*.py"):
            assert platform.name not in path.read_text(encoding="utf-8").lower(), path.name


@cache
def requirements() -> Mapping[str, str]:
    """The libraries that the product declares, by their canonical names, with their version ranges."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    required = [*project["dependencies"], *optional["azure"], *optional["otel"], *optional["postgres"]]
    return {
        _canonical(name): rest.partition("]")[2] or rest
        for name, rest in (re.split(r"(?=[<>=\[])", item, maxsplit=1) for item in required)
    }


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_every_library_that_is_imported_is_declared() -> None:
    distributions = packages_distributions()
    for name in modules():
        for library in {used.partition(".")[0] for used in imported(name)} - sys.stdlib_module_names - {*PACKAGES}:
            assert requirements().keys() & set(map(_canonical, distributions[library])), f"{name} imports {library}"


def test_every_library_that_is_declared_is_imported() -> None:
    used = {library.partition(".")[0] for name in modules() for library in imported(name)}
    distributions = packages_distributions()
    imports = {_canonical(name) for library in used for name in distributions.get(library, ())}
    assert requirements().keys() - imports == {"tzdata"}  # data, which zoneinfo reads


def test_private_parts_of_libraries_are_used_in_one_file_each() -> None:
    found = {
        name
        for name, path in modules().items()
        if any(re.search(r"(^|\.)_(?!_future__)|_internals(\.|$)", used) for used in _everything_imported(name))
        or "reportPrivateUsage" in path.read_text(encoding="utf-8")
    }
    assert found == USES_PRIVATE_PARTS.keys()


@pytest.mark.parametrize("library", sorted(NARROW))
def test_a_library_whose_inner_behaviour_counts_has_a_narrow_range(library: str) -> None:
    found = re.fullmatch(r">=([\d.]+),<([\d.]+)", requirements()[_canonical(library)])
    assert found is not None
    lowest, highest = found.groups()
    major, minor = map(int, lowest.split(".")[:2])
    assert highest == f"{major}.{minor + 1}"


def _everything_imported(name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_needs_itself_while_it_is_imported() -> None:
    graph = {name: imported(name, only_at_import_time=True) & modules().keys() for name in modules()}
    assert any(graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError with the cycle


@pytest.mark.parametrize(
    "name", ["bot.ports.platform", "bot.turns.loop", "bot.turns.runner", "bot.stores.sqlite.store", "bot.app"]
)
def test_a_module_can_be_the_first_that_is_imported(name: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, check=True, timeout=60)
