"""`toolbridge completion SHELL`: prints what makes a shell complete the commands and their options.

The shell then starts `toolbridge` with `_ARGCOMPLETE` in its environment whenever Tab is pressed, and `bot.cli.main`
answers it.
"""

from __future__ import annotations

from argparse import Namespace

from argcomplete.shell_integration import shellcode


async def completion(arguments: Namespace) -> int:
    """Print the shell's code; `eval` or `source` takes it."""
    print(shellcode(["toolbridge"], shell=arguments.shell))
    return 0
