"""Stages of an image as folders, and commands in them: chroot and namespaces in place of a container engine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.image.dockerfile import ROOT, Stage, Step, is_sent

GRACE_S = 60.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a build on a machine with a proxy, a mirror or a certificate authority of its own would be given, too.
_OF_THE_MACHINE = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_OPEN = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc"'
# A read-only root, with a volume at /data that belongs to the user and a tmpfs at /tmp.
_CLOSED = (
    f'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && {_OPEN} && mount -t tmpfs -o mode=1777 tmp "$0/tmp"'
    ' && mount -t tmpfs -o mode=0700,uid=10001,gid=10001 data "$0/data"'
)


@dataclass(slots=True)
class Folder:
    """One stage while it is built, and when it has been."""

    path: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    place: str = "/"
    user: str = "0:0"
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def run(self, words: Sequence[str] = (), *, extra: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command, or the image's own, as the image's user; return its exit code and all that it printed."""
        process = self._run(words or [*self.entry, *self.command], extra or {})
        printed, _ = process.communicate(timeout=120)
        return process.returncode, printed

    def start(self, extra: Mapping[str, str]) -> Started:
        """Start the image's own command."""
        return Started(self, self._run([*self.entry, *self.command], extra), extra)

    def build(self, words: Sequence[str]) -> None:
        """Run a step of the build, which may write everywhere.

        Raises:
            SystemExit: It failed.
        """
        machine = {name: value for name, value in os.environ.items() if name.startswith(_OF_THE_MACHINE)}
        environment = {**machine, **self.environment}
        process = self._open(words, user=self.user, mounts=_OPEN, environment=environment)
        printed, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{' '.join(words)}\n{printed}")

    def _run(self, words: Sequence[str], extra: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start it on the read-only root, in the image's environment; it is process 1 there."""
        return self._open(words, user=self.user, mounts=_CLOSED, environment={**self.environment, **extra})

    def _open(
        self, words: Sequence[str], *, user: str, mounts: str, environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        settings = [f"{name}={value}" for name, value in environment.items()]
        inside = ["chroot", f"--userspec={user}", str(self.path), "/usr/bin/env", "-i", "-C", self.place, *settings]
        script = f'{mounts} && exec "$@"'
        return subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                script,
                str(self.path),
                *inside,
                *words,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@dataclass(frozen=True, slots=True)
class Started:
    """The image while it serves."""

    folder: Folder
    process: subprocess.Popen[str]
    settings: Mapping[str, str]

    def ask_health(self) -> tuple[int, str]:
        return self.folder.run(["toolbridge", "health"], extra=self.settings)

    def stop(self) -> tuple[int, str]:
        """Send SIGTERM to process 1; return its exit code and what it printed."""
        psutil.Process(self.process.pid).children()[0].send_signal(signal.SIGTERM)
        printed, _ = self.process.communicate(timeout=GRACE_S)
        return self.process.returncode, printed


def lay(base: Path, path: Path) -> Folder:
    """Copy the base image's folder, and add what python's own image has: `python` and `pip` in /usr/local/bin."""
    subprocess.run(["cp", "--archive", "--reflink=auto", str(base), str(path)], check=True)
    for name, target in (("python", "python3"), ("pip", "pip3")):
        (path / "usr/local/bin" / name).symlink_to(f"/usr/bin/{target}")
    if Path(_CERTIFICATES).exists():
        shutil.copyfile(_CERTIFICATES, path / _CERTIFICATES[1:])
    return Folder(path)


def take(folder: Folder, stage: Stage, others: Mapping[str, Folder]) -> Iterator[Step]:
    """Carry out the stage's instructions, and yield each when it is done."""
    for step in stage.steps:
        _take(folder, step, others)
        yield step


def _take(folder: Folder, step: Step, others: Mapping[str, Folder]) -> None:
    match step.name:
        case "RUN":
            folder.build(["/bin/sh", "-c", step.text])
        case "COPY":
            _copy(folder, step.words, others)
        case "ENV":
            for word in step.words:
                name, value = word.split("=", 1)
                folder.environment[name] = value.replace("$PATH", folder.environment["PATH"])
        case "WORKDIR":
            folder.place = step.text
            (folder.path / step.text[1:]).mkdir(parents=True, exist_ok=True)
        case "USER":
            folder.user = step.text
        case "ENTRYPOINT":
            folder.entry = step.words
        case "CMD":
            folder.command = step.words
        case "LABEL" | "VOLUME" | "EXPOSE" | "HEALTHCHECK" | "STOPSIGNAL":
            pass  # for the engine that runs it
        case _:
            raise SystemExit(f"{step.name} is not an instruction that this carries out")


def _copy(folder: Folder, words: Sequence[str], others: Mapping[str, Folder]) -> None:
    if words[0].startswith("--from="):
        source = others[words[0].removeprefix("--from=")].path
        shutil.copytree(source / words[1][1:], folder.path / words[2][1:], symlinks=True)
        return
    *sources, target = words
    place = folder.path / folder.place[1:]
    for name in sources:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / target, ignore=_ignored)
        else:
            shutil.copyfile(ROOT / name, place / target / name)


def _ignored(folder: str, names: Sequence[str]) -> set[str]:
    here = Path(folder).relative_to(ROOT)
    return {name for name in names if not is_sent(str(here / name))}
