"""Completion in shells: `toolbridge completion SHELL` prints what a shell needs for it.

The shell then starts `toolbridge` with `_ARGCOMPLETE` in its environment whenever Tab is pressed, and gets the words
that fit.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace


def add_completion_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge completion`."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish", "powershell"), help="which shell")


def complete(parser: ArgumentParser) -> None:
    """Answer a shell that asks how a line goes on, and end the process; without one, do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


async def completion(arguments: Namespace) -> int:
    """Print the shell's code; `eval` or `source` takes it."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["toolbridge"], shell=arguments.shell))
    return 0
