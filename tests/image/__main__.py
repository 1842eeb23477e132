"""`python -m tests.image` builds deploy/Dockerfile, as root, and tries what was built.

With `--engine podman` or `--engine docker` that engine builds and runs it. Without one, `--base FOLDER` has the steps
carried out in folders, by chroot, which does not show the engine's own work: layers, HEALTHCHECK, limits.

A base is a root of the same Debian as the Dockerfile's image, with its own Python of the same minor version. An engine
that reaches the registry of python's own image needs none:

    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates trixie FOLDER
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.fakes.slack.server import FakeSlack
from tests.image.dockerfile import read
from tests.image.engine import Engine
from tests.image.folders import Folder, lay, take

QUESTION = "Calculate 15 * 8 and save the result to a file called calculation.txt"
COMPILERS = ("cc", "gcc", "c++", "g++", "clang", "ld", "as", "make", "rustc")
LEFTOVERS = ("/src", "/wheels", "/opt/toolbridge/bin/pip", "/root/.cache", "/data/.cache", "/var/cache/apt/*.bin")
MODULES = ("psycopg", "azure.identity", "slack_bolt", "discord", "re2", "prometheus_client", "bot.observe.trace_export")
WRITES = "! touch /x && ! touch /opt/toolbridge/x && ! touch /etc/toolbridge/x && touch /data/x /tmp/x"
READY_S = 60.0


class Serving(Protocol):
    """The image while its own command runs."""

    def ask_health(self) -> tuple[int, str]:
        """Return the exit code of the health check, and what it says."""
        ...

    def stop(self) -> tuple[int, str]:
        """Return the exit code after SIGTERM, and all that was printed."""
        ...


class Image(Protocol):
    """The image, on a read-only root."""

    def run(self, words: Sequence[str] = (), *, extra: Mapping[str, str] | None = None) -> tuple[int, str]: ...
    def start(self, extra: Mapping[str, str]) -> Serving: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, then try; return 0 where all of it holds, 1 where something does not."""
    parser = ArgumentParser(prog="python -m tests.image", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--engine", choices=("podman", "docker"), help="what builds and runs it; none: chroot")
    parser.add_argument("--base", type=Path, metavar="FOLDER", help="the root made by debootstrap")
    options = parser.parse_args(arguments)
    if not options.engine and not options.base:
        parser.error("--base FOLDER is needed where no engine builds")
    if options.engine:
        checks = by_engine(Engine(options.engine), options.base)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            checks = tried(in_folders(options.base, Path(scratch)))
    for what, holds in checks.items():
        print(f"{'ok' if holds else 'FAILED':8}{what}")
    return 0 if all(checks.values()) else 1


def by_engine(engine: Engine, base: Path | None) -> dict[str, bool]:
    """Return what holds of the image that the engine builds."""
    began = time.monotonic()
    engine.build(base)
    print(f"{time.monotonic() - began:6.1f} s for the build, {engine.size_mb:.0f} MB with its base", flush=True)
    named = engine.config
    return {
        "the image names its user, its signal and its health check": (
            (named["User"], named["StopSignal"], engine.health)
            == ("10001:10001", "SIGTERM", ["CMD", "toolbridge", "health"])
        ),
        **tried(engine),
    }


def in_folders(base: Path, scratch: Path) -> Folder:
    """Carry the Dockerfile out; return the last stage."""
    folders: dict[str, Folder] = {}
    for number, stage in enumerate(read()):
        folder = lay(base, scratch / str(number))
        began = time.monotonic()
        for step in take(folder, stage, folders):
            print(f"{time.monotonic() - began:6.1f} s  {step.name} {' '.join(step.text.split())[:100]}", flush=True)
            began = time.monotonic()
        folders[stage.name] = folder
    return folders[""]


def tried(image: Image) -> dict[str, bool]:
    """Return what the image comes to, at rest and while it serves."""
    return {**at_rest(image), **asyncio.run(serving(image))}


def at_rest(image: Image) -> dict[str, bool]:
    """Return what commands come to that need nothing but the image."""

    def shell(line: str) -> tuple[int, str]:
        return image.run(["sh", "-c", line])

    asked = image.run(["toolbridge", "chat", "-m", QUESTION])
    print(asked[1])
    empty = image.run()
    print(empty[1])
    size = shell("du -sh /opt/toolbridge")[1].split()[0]
    return {
        "the user is 10001, in group 10001": shell("id -u; id -g")[1].split() == ["10001", "10001"],
        "nothing can be written but /data and /tmp": shell(WRITES)[0] == 0,
        "no compiler is in it": shell(f"command -v {' '.join(COMPILERS)}; true")[1] == "",
        f"the build left nothing in it; the environment takes {size}": shell(
            f"ls -d {' '.join(LEFTOVERS)} 2> /dev/null; true"
        )[1]
        == "",
        "it says its version": image.run(["toolbridge", "--version"])[0] == 0,
        "the first question is answered by the bundled server's tools": asked[0] == 0 and "120" in asked[1],
        "`run` without settings says what is missing, and ends with 2": empty[0] == 2,
        "all modules import": image.run(["python", "-c", f"import {', '.join(MODULES)}"])[0] == 0,
        "the health check fails where nothing runs": image.run(["toolbridge", "health"])[0] == 1,
    }


async def serving(image: Image) -> dict[str, bool]:
    """Return what `run` comes to with a loopback Slack: the health check, and SIGTERM to process 1."""
    async with FakeSlack() as slack:
        settings = {
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_APP_TOKEN": "xapp-test",
            "SLACK_API_URL": slack.api_url,
            "MODEL_PROVIDER": "rehearsal",
            "HTTP_PORT": "18080",
        }
        began = time.monotonic()
        started = image.start(settings)
        is_healthy = await asyncio.to_thread(_wait_for_health, started)
        ready_s = time.monotonic() - began
        began = time.monotonic()
        code, printed = await asyncio.to_thread(started.stop)
        print(printed)
        return {
            f"the health check passes while it serves, after {ready_s:.1f} s": is_healthy,
            f"SIGTERM ends it with {code} after {time.monotonic() - began:.1f} s": code == 128 + signal.SIGTERM,
        }


def _wait_for_health(started: Serving) -> bool:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        code, printed = started.ask_health()
        if code == 0:
            return True
        time.sleep(0.5)
    print(printed)
    return False


if __name__ == "__main__":
    sys.exit(main())
