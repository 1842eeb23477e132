"""Buttons, menus and shortcuts: what each press does. A second delivery of the same press does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

import structlog

from adapters.shared.payloads import number_of
from adapters.slack import render
from adapters.slack.api import SlackApi
from adapters.slack.commands import Commands
from adapters.slack.deciding import Decisions
from adapters.slack.files import upload
from adapters.slack.filling import Forms
from adapters.slack.manifest import SHORTCUT
from adapters.slack.parse import conversation_key
from adapters.slack.payloads import text_at
from adapters.slack.people import People
from adapters.slack.presses import NOT_VALID, Pressed, json_value
from adapters.slack.questions import Questions
from adapters.slack.replies import Replies
from adapters.slack.shortcut import Shortcut
from adapters.slack.standing import Standings
from adapters.slack.windows import Windows, conversation_of, noted_conversation
from bot.domain.answers import Details, Explained, Refused
from bot.domain.errors import BotError
from bot.domain.events import CommandInvoked, ConversationKey, DetailsAsked, FeedbackGiven
from bot.domain.messages import Attachment
from bot.domain.turns import TraceLine
from bot.ports.once import Once
from bot.ports.platform import Host

log = structlog.stdlib.get_logger(__name__)

STORED_ONCE = ("tb:ask:", "tb:decline", "tb:feedback")  # presses of which the store keeps one for each person
MAX_KEYS = 2_000  # of presses, to tell a second delivery from a second press


class Interactions:
    """Does what people press, each for its presser only."""

    def __init__(
        self,
        api: SlackApi,
        host: Host,
        *,
        people: People,
        standings: Standings,
        replies: Replies,
        commands: Commands,
        windows: Windows,
        decisions: Decisions,
        forms: Forms,
        questions: Questions,
    ) -> None:
        self._api = api
        self._host = host
        self._people = people
        self._standings = standings
        self._replies = replies
        self._commands = commands
        self._windows = windows
        self._decisions = decisions
        self._forms = forms
        self._questions = questions
        self._shortcut = Shortcut(windows=windows, commands=commands)
        self._done = Once("press", host.cluster, max_keys=MAX_KEYS)

    async def press(self, pressed: Pressed) -> None:
        """Do what the button says, once."""
        person = conversation_key(pressed.team, pressed.channel, "").person(pressed.user)
        if not await self._is_new(pressed) or self._host.is_muted(person, decides=pressed.decides):
            return
        self._people.meet(pressed.team, pressed.user, pressed.home)
        match pressed.action.removeprefix("tb:").split(":"):
            case ["ask", choice]:
                await self._decisions.decide(pressed, choice)
            case ["asked"]:
                await self._decisions.show_details(pressed)
            case ["link"]:
                await self._decisions.show_link(pressed)
            case ["form"]:
                await self._forms.press(pressed)
            case ["decline"]:
                await self._forms.decline(pressed)
            case ["details"]:
                await self._open_details(pressed)
            case ["feedback"]:
                await self._take_feedback(pressed)
            case ["example", *_]:
                await self._start_example(pressed)
            case ["pick"]:
                value = json_value(pressed.value)
                name, argument = text_at(value, "c"), text_at(value, "a")
                # Slack has asked before it forgets a conversation.
                await self._show_command(
                    pressed, name, thread=text_at(value, "t"), argument=argument, is_confirmed=name == "clear"
                )
            case ["page", *_] | ["confirm"]:
                await self._repeat_command(pressed, json_value(pressed.value))
            case ["run", name]:
                await self._shortcut.run_command(pressed, name)
            case ["whole", *_]:
                await self._post_whole(pressed)
            case ["opened"]:
                pass  # a link, which Slack's client has opened
            case [name] if name == SHORTCUT:
                await self._shortcut.open(pressed)
            case _:
                log.warning("unknown_action", action=pressed.action)

    async def _is_new(self, pressed: Pressed) -> bool:
        """Return whether the press was not done yet. One that is stored once by itself is only looked for here: another
        process may have died before it was stored.
        """
        if pressed.action.startswith(STORED_ONCE):
            return self._done.add_here(pressed.key)
        return await self._done.add(pressed.key)

    # --- commands and ratings ---

    async def _repeat_command(self, pressed: Pressed, value: Mapping[str, Any]) -> None:
        """Run a command again: for another page of its answer, or confirmed."""
        await self._show_command(
            pressed,
            text_at(value, "command"),
            thread=text_at(value, "thread"),
            argument=text_at(value, "argument"),
            page=number_of(value.get("page")),
            is_confirmed=pressed.action == "tb:confirm",
        )

    async def _show_command(
        self,
        pressed: Pressed,
        name: str,
        *,
        thread: str,
        argument: str = "",
        page: int = 0,
        is_confirmed: bool = False,
    ) -> None:
        invoked = CommandInvoked(
            conversation=conversation_key(pressed.team, pressed.channel, thread),
            event_key=f"slack:{pressed.key}",
            author_id=pressed.user,
            name=name,
            argument=argument,
            is_channel_wide=not thread,
            is_confirmed=is_confirmed,
        )
        await self._commands.show(invoked, pressed, replaces=True, page=page)

    async def _take_feedback(self, pressed: Pressed) -> None:
        rating, _, turn = pressed.value.partition(":")
        conversation = conversation_of(pressed)
        if rating not in ("good", "bad"):
            await self._replies.tell(conversation, pressed.user, NOT_VALID)
            return
        given = FeedbackGiven(
            conversation=conversation,
            event_key=f"slack:{pressed.key}",
            author_id=pressed.user,
            turn_id=number_of(turn),
            rating=rating,
        )
        rated = await self._host.rate(await self._standings.stamp(given))
        await self._replies.tell(conversation, pressed.user, rated.notice)

    # --- the details of a trace ---

    async def _details(self, pressed: Pressed, turn: int, conversation: ConversationKey) -> Explained:
        asked = DetailsAsked(
            conversation=conversation, event_key=f"slack:{pressed.key}", author_id=pressed.user, turn_id=turn
        )
        return await self._host.details(await self._standings.stamp(asked))

    async def _open_details(self, pressed: Pressed) -> None:
        turn = number_of(pressed.value)
        explained = await self._details(pressed, turn, conversation_of(pressed))
        match explained:
            case Details(lines=lines, notice=notice):
                view = render.details_view(lines, turn_id=turn, note=notice)
            case Refused(notice=""):
                return
            case Refused(notice=notice):
                view = render.details_view((), turn_id=turn, note=notice)
            case _:
                assert_never(explained)
        await self._windows.open(pressed, view)

    async def _post_whole(self, pressed: Pressed) -> None:
        """Post one whole result into the thread, where a window has no room for it."""
        value, conversation = json_value(pressed.value), noted_conversation(pressed)
        turn, call = number_of(value.get("turn")), number_of(value.get("call"))
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
        text, thread = text_at(value, "text"), text_at(value, "thread")
        try:
            place = conversation_key(pressed.team, pressed.channel, thread)
            await self._questions.ask(place, pressed.user, text, key=f"slack:{pressed.key}")
        except BotError as error:
            await self._windows.explain(pressed, error, thread=thread)


def _result_file(line: TraceLine) -> Attachment:
    return Attachment(name=f"{line.tool}.txt", mime_type="text/plain", data=line.result.encode())
