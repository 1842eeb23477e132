"""`toolbridge tools`: lists the tool servers and their tools."""

from __future__ import annotations

from argparse import Namespace

from bot.cli.servers import servers_of, wait_for_servers
from bot.cli.start import start
from bot.intake.commands.tools import describe_tools
from bot.tools.toolset import Toolset


async def tools(arguments: Namespace) -> int:
    """Print the servers and their tools, or only the tools that contain `arguments.word`."""
    settings = start(arguments, logs_to_file=True)
    async with Toolset(servers_of(settings, arguments)) as toolset:
        await wait_for_servers(toolset)
        print(await describe_tools(toolset, asker=None, word=arguments.word))
    return 0
