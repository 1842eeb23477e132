"""Commands as Discord's users give them: the host's answers, with what is particular to Discord."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from adapters.discord.api import Identity
from adapters.discord.manifest import ASK_ABOUT, RUN
from adapters.discord.session import Session
from adapters.shared.arrivals import answer_command
from bot.domain.answers import CommandAnswer
from bot.domain.errors import BotError
from bot.domain.events import CommandInvoked
from bot.ports.platform import Host

MAX_CHOICES = 25
CHOICE_CHARS = 100
SUGGEST_S = 2.0  # Discord takes suggestions for three seconds


class Commands:
    """Answers commands, by whichever way they came in."""

    def __init__(self, host: Host, *, me: Identity, session: Session, allow_dms: bool) -> None:
        self._host = host
        self._me = me
        self._session = session
        self._allow_dms = allow_dms

    async def answer(self, command: CommandInvoked) -> CommandAnswer | None:
        """Return the answer, or why there is none; None where the command is not for the bot."""
        answer = await answer_command(self._host, command)
        if answer is not None and command.name == "help":
            return replace(answer, text=f"{answer.text}\n\n{self._usage()}")
        return answer

    async def suggest(self, command: CommandInvoked) -> list[str]:
        """Return the names of tools that contain the command's argument; none where they are not known in time."""
        try:
            async with asyncio.timeout(SUGGEST_S):
                offer = await self._host.directory.offer(command.asker)
        except (TimeoutError, BotError):  # tool servers are still starting, or fail
            return []
        typed = command.argument.casefold()
        offered = {f"{spec.server}/{spec.tool}" if command.name == RUN else spec.tool for spec in offer.tools}
        names = sorted(name for name in offered if typed in name.casefold())
        return [name[:CHOICE_CHARS] for name in names[:MAX_CHOICES]]

    def _usage(self) -> str:
        """How the bot is used in Discord, as Markdown."""
        is_read = self._session.reads_content
        threads = "in a thread where I take part, just write" if is_read else "in a thread as well"
        direct = "Direct messages need no mention." if self._allow_dms else "Direct messages are switched off here."
        return (
            f"**In Discord**\n\n- Mention me in a channel, or reply to me; {threads}. {direct}\n"
            f"- Commands cover the channel, inside a thread only that thread. Only you see their answers; "
            f"written to me as a word, as in `@{self._me.name} history`, everyone sees the answer.\n"
            f"- *Apps*, *{ASK_ABOUT}* in the menu of a message asks about that message.\n"
            f"- The Stop button stops an answer{', and so does the word `stop` in a thread' if is_read else ''}."
        )
