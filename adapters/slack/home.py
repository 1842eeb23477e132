"""The app's Home tab: what the bot is, how its tool servers are, what to try, and what the person has used."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.slack import render
from adapters.slack.api import SlackApi
from adapters.slack.commands import Commands
from adapters.slack.parse import HomeOpened, conversation_key
from bot.domain.answers import CommandAnswer
from bot.ports.platform import Host
from bot.ports.tools import ServerStatus
from bot.text.apart import apart
from bot.text.counting import count
from bot.text.lines import literal, one_line

DETAIL_CHARS = 160

_HOW_TO_ASK = (
    "Write to me directly, or mention me in a channel. In a conversation that I take part in, "
    "no further mention is needed."
)


class Home:
    """Draws the Home tab of each person who opens it."""

    def __init__(self, api: SlackApi, host: Host, *, commands: Commands) -> None:
        self._api = api
        self._host = host
        self._commands = commands

    async def show(self, opened: HomeOpened) -> None:
        """Draw the tab. https://docs.slack.dev/reference/methods/views.publish

        Raises:
            AdapterError: Slack does not take it.
        """
        if self._host.is_muted(conversation_key(opened.team, "D", "").person(opened.user)):
            return
        content = await self._content(opened)
        view = await apart(lambda: render.home_view(content), size=len(content.text))
        await self._api.call("views.publish", team=opened.team, may_repeat=True, user_id=opened.user, view=view)

    async def _content(self, opened: HomeOpened) -> CommandAnswer:
        """Return what is on the tab; people who may not use the bot get the reason instead of its tools."""
        # The tab belongs to the person's direct messages with the app, whose channel the event does not name.
        usage = await self._commands.answer("usage", conversation_key(opened.team, "D", ""), opened.user)
        if not usage.own_use:
            return CommandAnswer(text=f"{self._host.about}\n\n{usage.text}")
        examples = tuple(await self._host.directory.examples())  # starts idle servers, so their state is read after it
        paragraphs = [
            self._host.about,
            f"**How to ask**\n\n{_HOW_TO_ASK}",
            f"**Tool servers**\n\n{server_list(self._host.directory.status())}",
            f"**Your use so far**: {usage.own_use}",
        ]
        return CommandAnswer(text="\n\n".join(filter(None, paragraphs)), choices=examples)


def server_list(statuses: Sequence[ServerStatus]) -> str:
    """Return a line of Markdown for each server, with the states of its replicas."""
    lines: list[str] = []
    for server in dict.fromkeys(status.server for status in statuses):
        replicas = [status for status in statuses if status.server == server]
        tools = max(status.tool_count for status in replicas)
        states = "; ".join(map(_state, replicas))
        lines.append(f"- **{_plain(server)}**: {states}, {count(tools, 'tool')}")
    return "\n".join(lines) or "No tool server is set up."


def _state(status: ServerStatus) -> str:
    return f"{status.state} ({_plain(status.detail)})" if status.detail else status.state


def _plain(text: str) -> str:
    """Return untrusted text as one short line in which no character means anything in Markdown."""
    return literal(one_line(text, max_chars=DETAIL_CHARS))
