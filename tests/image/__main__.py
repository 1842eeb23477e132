"""`python -m tests.image --base FOLDER` builds deploy/Dockerfile in folders, as root, and tries what was built.

The base is a root of the same Debian as the Dockerfile's image, with its own Python of the same minor version:

    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates trixie FOLDER

What it does not show: the engine's own work (layers, HEALTHCHECK's clock, limits), and python's own image.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.fakes.slack.server import FakeSlack
from tests.image.dockerfile import read
from tests.image.folders import Folder, lay, take

QUESTION = "Calculate 15 * 8 and save the result to a file called calculation.txt"
COMPILERS = ("cc", "gcc", "c++", "g++", "clang", "ld", "as", "make", "rustc")
READY_S, GRACE_S = 60.0, 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, then try; return 0 where all of it holds, 1 where something does not."""
    parser = ArgumentParser(prog="python -m tests.image", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, metavar="FOLDER", help="the root made by debootstrap")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        image = build(options.base, Path(scratch))
        checks = {**tried(image), **asyncio.run(served(image))}
    for what, holds in checks.items():
        print(f"{'ok' if holds else 'FAILED':8}{what}")
    return 0 if all(checks.values()) else 1


def build(base: Path, scratch: Path) -> Folder:
    """Return the last stage."""
    folders: dict[str, Folder] = {}
    for number, stage in enumerate(read()):
        folder = lay(base, scratch / str(number))
        began = time.monotonic()
        for step in take(folder, stage, folders):
            print(f"{time.monotonic() - began:6.1f} s  {step.name} {' '.join(step.text.split())[:100]}", flush=True)
            began = time.monotonic()
        folders[stage.name] = folder
    return folders[""]


def tried(image: Folder) -> dict[str, bool]:
    """Return what commands come to that need nothing but the image."""
    found = image.run(["sh", "-c", f"command -v {' '.join(COMPILERS)}; true"])
    asked = image.run(["toolbridge", "chat", "-m", QUESTION])
    print(asked[1])
    empty = image.run([*image.entry, *image.command])
    print(empty[1])
    size = image.run(["du", "--summarize", "--human-readable", "/opt/toolbridge"])[1].split()[0]
    return {
        "the user is 10001, in group 10001": image.run(["sh", "-c", "id -u; id -g"])[1].split() == ["10001", "10001"],
        "nothing can be written but /data and /tmp": image.run(
            ["sh", "-c", "! touch /x && ! touch /opt/toolbridge/x && ! touch /etc/toolbridge/x && touch /data/x /tmp/x"]
        )[0]
        == 0,
        f"no compiler is in it; the environment takes {size}": found[1] == "",
        "the first question is answered by the bundled server's tools": asked[0] == 0 and "120" in asked[1],
        "`run` without settings says what is missing, and ends with 2": empty[0] == 2,
        "all modules import": image.run(
            ["python", "-c", "import psycopg, azure.identity, slack_bolt, discord, re2, bot.observe.trace_export"]
        )[0]
        == 0,
        "the health check fails where nothing runs": image.run(["toolbridge", "health"])[0] == 1,
    }


async def served(image: Folder) -> dict[str, bool]:
    """Return what `run` comes to with a loopback Slack: the health check, and SIGTERM to process 1."""
    async with FakeSlack() as slack:
        settings = {
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_APP_TOKEN": "xapp-test",
            "SLACK_API_URL": slack.api_url,
            "MODEL_PROVIDER": "rehearsal",
            "HTTP_PORT": "18080",
        }
        process = image.start([*image.entry, *image.command], extra=settings)
        began = time.monotonic()
        is_healthy = await asyncio.to_thread(_wait_for_health, image, settings)
        ready_s = time.monotonic() - began
        began = time.monotonic()
        _first(process).send_signal(signal.SIGTERM)
        printed, _ = await asyncio.to_thread(process.communicate, timeout=GRACE_S)
        print(printed)
        return {
            f"the health check passes while it serves, after {ready_s:.1f} s": is_healthy,
            f"SIGTERM ends it with {process.returncode} after {time.monotonic() - began:.1f} s": process.returncode
            == 128 + signal.SIGTERM,
        }


def _wait_for_health(image: Folder, settings: dict[str, str]) -> bool:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        code, printed = image.run(["toolbridge", "health"], extra=settings)
        if code == 0:
            return True
        time.sleep(0.5)
    print(printed)
    return False


def _first(process: subprocess.Popen[str]) -> psutil.Process:
    return psutil.Process(process.pid).children()[0]


if __name__ == "__main__":
    sys.exit(main())
