"""The bot's commands in Slack, each answered for its asker only: slash commands, words in a thread, buttons."""

from __future__ import annotations

from dataclasses import replace

from adapters.shared.arrivals import answer_command
from adapters.shared.tasks import RecentKeys
from adapters.slack import render
from adapters.slack.identities import Identities
from adapters.slack.parse import SlashInvoked
from adapters.slack.replies import Replies
from bot.domain.answers import CommandAnswer
from bot.domain.commands import COMMANDS, HOW_TO_INVOKE
from bot.domain.events import CommandInvoked, ConversationKey
from bot.ports.platform import Host

MAX_KEYS = 2_000  # of commands, to recognise a second delivery


class Commands:
    """Answers commands; `prefix` precedes the names of slash commands."""

    def __init__(self, host: Host, *, replies: Replies, identities: Identities, prefix: str) -> None:
        self._host = host
        self._replies = replies
        self._identities = identities
        self._prefix = prefix
        self._answered: RecentKeys[str] = RecentKeys(MAX_KEYS)

    async def slash(self, invoked: SlashInvoked) -> None:
        """Answer a slash command at its response URL."""
        await self.show(invoked.command, invoked.response_url, replaces=False)

    async def spoken(self, invoked: CommandInvoked) -> None:
        """Answer a command that was written as a message, once: a mention is delivered twice."""
        if self._answered.add(invoked.event_key) and (answer := await answer_command(self._host, invoked)) is not None:
            blocks, text = await self._blocks_of(invoked, answer, page=0)
            await self._replies.tell(invoked.conversation, invoked.author_id, text, blocks=blocks)

    async def show(self, invoked: CommandInvoked, url: str, *, replaces: bool, page: int = 0) -> None:
        """Answer at the response URL, or in the channel where Slack does not take the answer there."""
        answer = await answer_command(self._host, invoked) or CommandAnswer(text="")
        blocks, text = await self._blocks_of(invoked, answer, page=page)
        if not await self._replies.respond(url, blocks, text, replaces=replaces):
            await self._replies.tell(invoked.conversation, invoked.author_id, text, blocks=blocks)

    async def answer(self, name: str, conversation: ConversationKey, user: str) -> CommandAnswer:
        """Return the answer to a command, for a window or a tab that shows it."""
        invoked = CommandInvoked(conversation=conversation, event_key=f"slack:{name}", author_id=user, name=name)
        return await answer_command(self._host, invoked) or CommandAnswer(text="")

    async def _blocks_of(
        self, invoked: CommandInvoked, answer: CommandAnswer, *, page: int
    ) -> tuple[render.Blocks, str]:
        if invoked.name == "help":
            general = answer.text.replace(HOW_TO_INVOKE, HOW_TO_INVOKE.replace("/", f"/{self._prefix}"))
            answer = replace(answer, text=f"{general}\n\n{await self._help(invoked.conversation.space)}")
        return render.command_blocks(
            answer,
            command=invoked.name,
            argument=invoked.argument,
            page=page,
            place=invoked.conversation.thread,
        )

    async def _help(self, team: str) -> str:
        commands = ", ".join(f"`/{self._prefix}{command.name}`" for command in COMMANDS)
        bot_name = (await self._identities.of(team)).user_name
        return (
            f"**In Slack**\n\n- Mention me in a channel; in a thread where I take part, and in a direct message, just "
            f"write.\n- {commands} cover the whole channel. Slack runs no command inside a thread: there, write the "
            f"word to me, as in `@{bot_name} history`, or choose *Tools and history* in the menu of a message.\n"
            f"- `stop` as the only word of a message in a thread stops the answer, and so does Slack's own Stop button."
        )
