"""The bot's commands in Slack, each answered for its asker only: slash commands, words in a thread, buttons."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from adapters.shared.arrivals import answer_command
from adapters.slack import render
from adapters.slack.filling import Forms
from adapters.slack.identities import Identities
from adapters.slack.parse import SlashInvoked, message_ts
from adapters.slack.presses import Pressed, pressed_by
from adapters.slack.questions import Questions
from adapters.slack.replies import Replies
from adapters.slack.standing import Standings
from bot.domain.answers import CommandAnswer
from bot.domain.commands import COMMANDS, HOW_TO_INVOKE
from bot.domain.errors import BotError
from bot.domain.events import CommandInvoked, ConversationKey
from bot.ports.once import Once
from bot.ports.platform import Host

MAX_KEYS = 2_000  # of commands, to recognise a second delivery


class Commands:
    """Answers commands; `prefix` precedes the names of slash commands."""

    def __init__(
        self,
        host: Host,
        *,
        replies: Replies,
        identities: Identities,
        standings: Standings,
        forms: Forms,
        questions: Questions,
        prefix: str,
    ) -> None:
        self._host = host
        self._replies = replies
        self._identities = identities
        self._standings = standings
        self._forms = forms
        self._questions = questions
        self._prefix = prefix
        self._answered = Once("command", host.cluster, max_keys=MAX_KEYS)

    async def slash(self, invoked: SlashInvoked) -> None:
        """Answer a slash command at its response URL."""
        await self.show(invoked.command, pressed_by(invoked), replaces=False)

    async def spoken(self, invoked: CommandInvoked) -> None:
        """Answer a command that was written as a message, once: a mention is delivered twice."""
        if not await self._answered.add(invoked.event_key) or (answer := await self._ask(invoked)) is None:
            return
        # What it asks for happens below the message, also where that begins a thread.
        thread = invoked.conversation.thread or message_ts(invoked.event_key)
        place = replace(invoked.conversation, thread=thread)
        answer = await self._begin(answer, place, invoked)
        if answer is not None:
            blocks, text = await self._blocks_of(invoked, answer, page=0, thread=place.thread)
            await self._replies.tell(invoked.conversation, invoked.author_id, text, blocks=blocks)

    async def show(self, invoked: CommandInvoked, pressed: Pressed, *, replaces: bool, page: int = 0) -> None:
        """Answer at the response URL, or in the channel where Slack does not take the answer there.

        A form opens at once; where Slack does not open it, there is a button for it.
        """
        place = invoked.conversation
        if (answer := await self._ask(invoked)) is None:
            return
        if answer.form is not None and await self._forms.open(pressed, answer.form, place):
            return
        going_on = await self._begin(answer, place, invoked)
        if going_on is None:
            return
        blocks, text = await self._blocks_of(invoked, going_on, page=page)
        if not await self._replies.respond(pressed.response_url, blocks, text, replaces=replaces):
            await self._replies.tell(place, invoked.author_id, text, blocks=blocks)

    async def answer(
        self, name: str, conversation: ConversationKey, user: str, *, is_confirmed: bool = False
    ) -> CommandAnswer:
        """Return the answer to a command, for a window or a tab that shows it."""
        invoked = CommandInvoked(
            conversation=conversation,
            event_key=f"slack:{name}:{uuid4().hex}",
            author_id=user,
            name=name,
            is_confirmed=is_confirmed,
        )
        return await self._ask(invoked) or CommandAnswer(text="")

    async def _ask(self, invoked: CommandInvoked) -> CommandAnswer | None:
        """Return the answer; None where the command is not for the bot, or the person is not listened to now."""
        if self._host.is_muted(invoked.actor, decides=invoked.name == "stop"):
            return None
        return await answer_command(self._host, await self._standings.stamp(invoked))

    async def _begin(
        self, answer: CommandAnswer, place: ConversationKey, invoked: CommandInvoked
    ) -> CommandAnswer | None:
        """Make the call that is ready; return what is left to show."""
        if answer.ready is None:
            return answer
        try:
            await self._questions.run(place, invoked.author_id, answer.ready, key=f"run {invoked.event_key}")
        except BotError as error:
            return CommandAnswer(text=str(error)) if str(error) else None
        return answer if answer.text.strip() else None

    async def _blocks_of(
        self, invoked: CommandInvoked, answer: CommandAnswer, *, page: int, thread: str = ""
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
            thread=thread,
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
