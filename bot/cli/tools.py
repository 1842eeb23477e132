"""`toolbridge tools`: lists the tool servers and their tools."""

from __future__ import annotations

from argparse import Namespace

from bot.cli.start import start
from bot.intake.commands.tools import describe_tools
from bot.tools.configured import load_servers
from bot.tools.toolset import Toolset


async def tools(arguments: Namespace) -> int:
    """Print the servers and their tools, or only the tools that contain `arguments.word`."""
    async with Toolset(load_servers(start(arguments, logs_to_file=True))) as toolset:
        print(await describe_tools(toolset, actor=None, word=arguments.word))
    return 0
