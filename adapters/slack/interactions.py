"""Buttons, menus and shortcuts: what each press does. A second delivery of the same press does nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import assert_never

import structlog

from adapters.shared.tasks import RecentKeys
from adapters.slack import render
from adapters.slack.api import SlackApi
from adapters.slack.commands import Commands
from adapters.slack.files import upload
from adapters.slack.manifest import SHORTCUT
from adapters.slack.own_messages import notice_mark
from adapters.slack.parse import conversation_key, event_key
from adapters.slack.people import People
from adapters.slack.presses import Pressed, json_value
from adapters.slack.replies import Replies
from adapters.slack.windows import Windows, conversation_of, noted_conversation
from bot.domain.answers import Details, Explained, Refused
from bot.domain.errors import BotError
from bot.domain.events import CommandInvoked, ConversationKey, DetailsAsked, FeedbackGiven, MessageReceived
from bot.domain.messages import Attachment
from bot.domain.turns import TraceLine
from bot.ports.platform import Host

log = structlog.stdlib.get_logger(__name__)

MAX_KEYS = 2_000  # of presses, to tell a second delivery from a second press
Take = Callable[[MessageReceived], Awaitable[None]]


class Interactions:
    """Does what people press, each for its presser only; `take` starts a question."""

    def __init__(
        self,
        api: SlackApi,
        host: Host,
        *,
        people: People,
        replies: Replies,
        commands: Commands,
        windows: Windows,
        take: Take,
    ) -> None:
        self._api = api
        self._host = host
        self._people = people
        self._replies = replies
        self._commands = commands
        self._windows = windows
        self._take = take
        self._done: RecentKeys[str] = RecentKeys(MAX_KEYS)

    async def press(self, pressed: Pressed) -> None:
        """Do what the button says, once."""
        if not self._done.add(pressed.key):
            return
        match pressed.action.removeprefix("tb:").split(":"):
            case ["details"]:
                await self._open_details(pressed)
            case ["feedback"]:
                await self._take_feedback(pressed)
            case ["example", *_]:
                await self._start_example(pressed)
            case ["pick"]:
                value = json_value(pressed.value)
                await self._show_command(pressed, str(value.get("c", "")), thread=str(value.get("t", "")))
            case ["page", *_]:
                value = json_value(pressed.value)
                await self._show_command(
                    pressed,
                    str(value.get("command", "")),
                    thread=str(value.get("thread", "")),
                    argument=str(value.get("argument", "")),
                    page=_number(value.get("page")),
                )
            case ["run", name]:
                await self._windows.run_command(pressed, name)
            case ["whole", *_]:
                await self._post_whole(pressed)
            case [name] if name == SHORTCUT:
                await self._windows.open_shortcut(pressed)
            case _:
                log.warning("unknown_action", action=pressed.action)

    # --- commands and ratings ---

    async def _show_command(
        self, pressed: Pressed, name: str, *, thread: str, argument: str = "", page: int = 0
    ) -> None:
        invoked = CommandInvoked(
            conversation=conversation_key(pressed.team, pressed.channel, thread),
            event_key=f"slack:{pressed.key}",
            author_id=pressed.user,
            name=name,
            argument=argument,
            is_channel_wide=not thread,
        )
        await self._commands.show(invoked, pressed.response_url, replaces=True, page=page)

    async def _take_feedback(self, pressed: Pressed) -> None:
        rating, _, turn = pressed.value.partition(":")
        if rating not in ("good", "bad") or not turn.isdecimal():
            return
        conversation = conversation_of(pressed)
        rated = await self._host.rate(
            FeedbackGiven(
                conversation=conversation,
                event_key=f"slack:{pressed.key}",
                author_id=pressed.user,
                turn_id=int(turn),
                rating=rating,
            )
        )
        await self._replies.tell(conversation, pressed.user, rated.notice)

    # --- the details of a trace ---

    async def _details(self, pressed: Pressed, turn: int, conversation: ConversationKey) -> Explained:
        return await self._host.details(
            DetailsAsked(
                conversation=conversation, event_key=f"slack:{pressed.key}", author_id=pressed.user, turn_id=turn
            )
        )

    async def _open_details(self, pressed: Pressed) -> None:
        turn = int(pressed.value) if pressed.value.isdecimal() else 0
        explained = await self._details(pressed, turn, conversation_of(pressed))
        match explained:
            case Details(lines=lines, notice=notice):
                view = render.details_view(lines, turn_id=turn, note=notice)
            case Refused(notice=notice):
                view = render.details_view((), turn_id=turn, note=notice)
            case _:
                assert_never(explained)
        await self._windows.open(pressed, view)

    async def _post_whole(self, pressed: Pressed) -> None:
        """Post one whole result into the thread, where a window has no room for it."""
        value, conversation = json_value(pressed.value), noted_conversation(pressed)
        turn, call = _number(value.get("turn")), _number(value.get("call"))
        explained = await self._details(pressed, turn, conversation)
        match explained:
            case Details(lines=lines) if 0 < call <= len(lines):
                notice = await self._upload(conversation, _result_file(lines[call - 1]))
            case Details(notice=reason) | Refused(notice=reason):
                notice = reason or "That result is no longer kept."
            case _:
                assert_never(explained)
        if notice:
            await self._replies.tell(conversation, pressed.user, notice)

    async def _upload(self, conversation: ConversationKey, attachment: Attachment) -> str:
        """Upload the file into the thread; return why that failed, "" where it did not."""
        try:
            await upload(
                self._api,
                team=conversation.space,
                channel=conversation.channel,
                thread_ts=conversation.thread,
                attachment=attachment,
            )
        except BotError as error:
            return str(error)
        return ""

    # --- examples ---

    async def _start_example(self, pressed: Pressed) -> None:
        """Ask the example in the person's name: in the thread it was chosen in, otherwise in a new one."""
        value = json_value(pressed.value)
        text, thread = str(value.get("text", "")), str(value.get("thread", ""))
        channel = pressed.channel
        try:
            if not channel:  # chosen in the Home tab
                opened = await self._api.call(
                    "conversations.open", team=pressed.team, may_repeat=True, users=pressed.user
                )
                channel = str(opened["channel"]["id"])
            ts = await self._post_question(pressed, text, channel=channel, thread=thread)
        except BotError as error:
            await self._windows.explain(pressed, error, thread=thread)
            return
        await self._take(
            MessageReceived(
                conversation=conversation_key(pressed.team, channel, thread or ts),
                event_key=event_key(pressed.team, channel, ts),
                author_id=pressed.user,
                author_name=await self._people.name(pressed.team, pressed.user),
                text=text,
                sent_at=datetime.now(UTC),
                is_shared=not channel.startswith("D"),
            )
        )

    async def _post_question(self, pressed: Pressed, text: str, *, channel: str, thread: str) -> str:
        """Say in the channel who asks what, and return the message's timestamp. Raises AdapterError."""
        posted = await self._api.call(
            "chat.postMessage",
            team=pressed.team,
            channel=channel,
            thread_ts=thread or None,
            text=f"<@{pressed.user}> asks: {render.notification(render.neutralize(text))}",
            metadata=notice_mark("example"),
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(posted["ts"])


def _number(value: object) -> int:
    """Return the number in a button's value; 0 for anything else: buttons of other versions may be pressed."""
    return value if isinstance(value, int) else 0


def _result_file(line: TraceLine) -> Attachment:
    return Attachment(name=f"{line.tool}.txt", mime_type="text/plain", data=line.result.encode())
