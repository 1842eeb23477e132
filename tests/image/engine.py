"""The image as a container engine builds and runs it: Docker's command line, which podman has, too."""

from __future__ import annotations

import json
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.image.dockerfile import DOCKERFILE, ROOT, read
from tests.image.folders import lay

TAG = "toolbridge:checked"
# As deploy/compose.yaml runs it; on the machine's network, where the loopback Slack is.
_RUN = (
    *("--network", "host", "--init", "--read-only", "--tmpfs", "/tmp", "--memory", "512m"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--stop-timeout", "60"),
)


@dataclass(slots=True)
class Container:
    """The image while it serves."""

    engine: Engine
    name: str
    process: subprocess.Popen[str]

    def ask_health(self) -> tuple[int, str]:
        """Run the image's own HEALTHCHECK in the container."""
        return self.engine.ask("exec", self.name, *self.engine.health[1:])

    def stop(self) -> tuple[int, str]:
        """Stop it as the engine does: STOPSIGNAL, then 60 s; return its exit code and what it printed."""
        self.engine.ask("stop", self.name)
        printed, _ = self.process.communicate(timeout=90)
        code = json.loads(self.engine.ask("inspect", self.name)[1])[0]["State"]["ExitCode"]
        self.engine.ask("rm", "--force", "--volumes", self.name)
        return code, printed


class Engine:
    """One engine, after `build`, with the image in it."""

    def __init__(self, command: str) -> None:
        self._command = command
        self.config: dict[str, Any] = {}
        self.health: list[str] = []
        self.size_mb = 0.0

    def build(self, base: Path | None) -> None:
        """Build deploy/Dockerfile; with a base, it stands for the image that the Dockerfile begins with.

        Raises:
            SystemExit: It failed.
        """
        name = read()[-1].base
        if base:
            self._take_in(base, f"docker.io/library/{name}")
        pull = ["--pull=never"] if base and self._command == "podman" else []
        kind = ["--format", "docker"] if self._command == "podman" else []  # OCI's own format has no HEALTHCHECK
        self._must("build", *pull, *kind, "--network", "host", "-f", str(DOCKERFILE), "-t", TAG, str(ROOT))
        about = json.loads(self._must("image", "inspect", TAG))[0]
        self.config, self.size_mb = about["Config"], about["Size"] / 1e6
        self.health = about.get("Healthcheck", about["Config"].get("Healthcheck"))["Test"]  # podman's place, Docker's

    def run(self, words: Sequence[str] = (), *, extra: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command, or the image's own, in a container of its own; return its exit code and what it printed."""
        return self.ask("run", "--rm", *_RUN, *_entry(words), *_settings(extra), TAG, *words[1:])

    def start(self, extra: Mapping[str, str]) -> Container:
        """Start the image's own command."""
        name = f"toolbridge-{uuid.uuid4().hex[:8]}"
        words = [self._command, "run", "--name", name, *_RUN, *_settings(extra), TAG]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return Container(self, name, process)

    def ask(self, *words: str) -> tuple[int, str]:
        """Return the exit code, and what was printed; warnings of the engine's go where ours go."""
        ran = subprocess.run([self._command, *words], stdout=subprocess.PIPE, text=True, check=False)
        return ran.returncode, ran.stdout

    def _must(self, *words: str) -> str:
        code, printed = self.ask(*words)
        if code:
            raise SystemExit(f"{self._command} {' '.join(words)}\n{printed}")
        return printed

    def _take_in(self, base: Path, name: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = lay(base, Path(scratch) / "base")
            with subprocess.Popen(["tar", "-C", str(folder.path), "-c", "."], stdout=subprocess.PIPE) as packed:
                subprocess.run([self._command, "import", "-", name], stdin=packed.stdout, check=True)


def _entry(words: Sequence[str]) -> list[str]:
    return ["--entrypoint", words[0]] if words else []


def _settings(extra: Mapping[str, str] | None) -> list[str]:
    return [f"--env={name}={value}" for name, value in (extra or {}).items()]
