"""Starts `toolbridge` as a process that has its imports already: they take longer than most of what tests ask of it.

`python -m tests.scenarios.forge FD` imports the bot and then forks a process for each job that arrives at that socket.
A start from nothing is what `Toolbridge.start` and `Toolbridge.serving` make.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
HAS_FORK = sys.platform == "linux"  # the kind of socket below is not everywhere
PRELOADED = ("bot.app", "bot.cli.chat", "bot.cli.doctor", "bot.cli.history", "bot.cli.tools", "bot.models.clients")
_MAX_JOB_BYTES = 100_000
_KILLED = -signal.SIGKILL


async def run_forked(
    arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path, stdin: bytes, wait_s: float
) -> tuple[int, bytes, bytes]:
    """Run the command to its end and return its exit code, standard output and standard error.

    Raises:
        TimeoutError: It took longer than `wait_s`; it is killed.
    """
    job = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder)}
    pipes = [os.pipe() for _ in range(4)]
    (their_in, our_in), (our_out, their_out), (our_err, their_err), (our_status, their_status) = pipes
    theirs = [their_in, their_out, their_err, their_status]
    try:
        socket.send_fds(_forge(), [json.dumps(job).encode()], theirs)
    finally:
        for number in theirs:
            os.close(number)
    pid = int((await asyncio.to_thread(_read_line, our_status)) or b"0")
    try:
        async with asyncio.timeout(wait_s):
            _, out, err, status = await asyncio.gather(
                asyncio.to_thread(_feed, our_in, stdin), *(map(_read, (our_out, our_err, our_status)))
            )
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise
    return int(status or _KILLED), out, err


@functools.cache
def _forge() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # it ends when this process does
    with theirs:
        command = (sys.executable, "-m", "tests.scenarios.forge", str(theirs.fileno()))
        process = subprocess.Popen(
            command, cwd=HOUSE, env={**os.environ, "PYTHONUTF8": "1"}, pass_fds=[theirs.fileno()]
        )
    atexit.register(_end, ours, process)
    return ours


def _end(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        ours.send(b"")
    process.wait(timeout=10)


def _feed(number: int, data: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(number, "wb") as file:
        file.write(data)


def _read_line(number: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (piece := os.read(number, 1)):
        line += piece
    return line


async def _read(number: int) -> bytes:
    def read() -> bytes:
        with os.fdopen(number, "rb") as file:
            return file.read()

    return await asyncio.to_thread(read)


# --- the other process -----------------------------------------------------------------------------------------


def _serve(jobs: socket.socket) -> None:
    for name in PRELOADED:
        import_module(name)
    while True:
        data, descriptors, _, _ = socket.recv_fds(jobs, _MAX_JOB_BYTES, 4)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not data:
            return
        if os.fork() == 0:
            jobs.close()
            _live(json.loads(data), *descriptors)
        for number in descriptors:
            os.close(number)


def _live(job: Mapping[str, Any], stdin: int, stdout: int, stderr: int, status: int) -> None:
    """Be the command, and end with its exit code."""
    code = 1
    try:
        os.write(status, f"{os.getpid()}\n".encode())
        os.set_inheritable(status, False)
        for number, descriptor in enumerate((stdin, stdout, stderr)):
            os.dup2(descriptor, number)
            os.close(descriptor)
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            file = os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)
            setattr(sys, name, file)
            setattr(sys, f"__{name}__", file)
        os.environ.clear()
        os.environ.update(job["environment"])
        time.tzset()
        os.chdir(job["folder"])
        sys.path[0] = job["folder"]
        code = _run(job["arguments"])
    except BaseException:  # noqa: BLE001  (a process that dies of an exception shows it)
        traceback.print_exc()
    finally:
        for file in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                file.flush()
        os.write(status, str(code).encode())
        os._exit(code & 0xFF)


def _run(arguments: list[str]) -> int:
    from bot.cli.main import main

    try:
        return main(arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.socket(fileno=int(sys.argv[1])) as jobs:
        _serve(jobs)
