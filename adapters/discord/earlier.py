"""What was said in a thread before a question: one page of its messages, with the one that it began with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.channels import Channels
from adapters.discord.errors import UNKNOWN_MESSAGE, DiscordRefusedError
from adapters.discord.own_messages import MESSAGE, MESSAGES, PAGE, marks_of, page_of
from adapters.discord.parse import Thread, message_place
from adapters.discord.payloads import text_at
from adapters.discord.readable import Reader, people_in
from adapters.discord.snowflakes import as_number, made_at
from adapters.discord.words import NO_INTENT, POLL_RESULT, THREAD_STARTER, WRITTEN, author_kind, quoted
from adapters.shared.payloads import Payload, dict_of
from bot.domain.errors import AdapterError
from bot.domain.events import Earlier, MessageReceived, Quoted, Relation

log = structlog.stdlib.get_logger(__name__)

READ_HISTORY = "Read Message History"
NO_HISTORY = f"I lack the {READ_HISTORY} permission here."
NO_CONTENT = "I lack the Message Content intent, which an operator can switch on in Discord's Developer Portal."
GONE = "everything, as it was deleted"


async def read_earlier(
    api: DiscordApi, channels: Channels, message: MessageReceived, *, since: datetime | None, limit: int
) -> Earlier:
    """See `bot.ports.platform.Adapter`. One call; a second one for the starter of a thread of over 100 messages."""
    channel, question = message_place(message.event_key)
    if not message.has_earlier or not channel:
        return Earlier()
    params = {"before": question, "limit": PAGE}
    await channels.learn(message.conversation.space)
    page = page_of(await api.call("GET", MESSAGES, params=params, channel_id=channel))
    if not page and READ_HISTORY in channels.missing_permissions(channel):
        raise AdapterError(NO_HISTORY, is_permanent=True)
    thread = await channels.thread(channel, is_direct=False)
    reader = channels.reader({}, message.conversation.space)
    read = _Page(page, channel=channel, thread=thread, reader=reader, since=since)
    starter = read.starter if read.knows_starter else await _fetch_starter(api, read)
    messages = read.others
    earlier = Earlier(
        messages=(*([starter] if starter else []), *messages[len(messages) - min(limit, len(messages)) :]),
        is_cut=len(messages) > limit or read.is_cut,
    )
    if earlier.messages and all(one.unread == (NO_INTENT,) and not one.text for one in earlier.messages):
        raise AdapterError(NO_CONTENT, is_permanent=True)
    return earlier


class _Page:
    """The last messages of a thread before a question, oldest first."""

    def __init__(
        self, page: Sequence[Payload], *, channel: str, thread: Thread | None, reader: Reader, since: datetime | None
    ) -> None:
        self._messages = sorted(page, key=lambda message: as_number(text_at(message, "id")))
        self._reader = reader
        self._since = since
        # An embed names people by their ids; those who take part in the thread are known.
        self._people = dict(chain.from_iterable(people_in(message).items() for message in self._messages))
        self.channel = channel
        self.thread = thread or Thread("")

    @property
    def is_cut(self) -> bool:
        """Whether messages before these were left out, of which nothing is known."""
        has_beginning = self._system is not None or self._first is not None
        return len(self._messages) >= PAGE and not has_beginning and self._is_news(self._messages[0])

    @property
    def others(self) -> Sequence[Quoted]:
        """The messages besides the first one that are news."""
        types = (*WRITTEN, POLL_RESULT)
        said = [one for one in self._messages if one.get("type", 0) in types and text_at(one, "id") != self.channel]
        said = _without_notices(said, self._reader)
        return [self._quoted(one, "earlier") for one in said if self._is_news(one)]

    @property
    def knows_starter(self) -> bool:
        """Whether the page, or the time, says all about the message that the thread began with."""
        if not self._may_be_news:
            return True
        if self._system is not None:
            return "referenced_message" in self._system
        return len(self._messages) < PAGE or self._first is not None

    @property
    def starter(self) -> Quoted | None:
        """The message that the thread began with; None where it began without one, or that one is no news."""
        if not self._may_be_news:
            return None
        if self._system is None:
            return self.as_starter(self._first or {})
        first = dict_of(self._system.get("referenced_message"))
        return self.as_starter(first) if first else Quoted(relation="starter", text="", unread=(GONE,))

    @property
    def _may_be_news(self) -> bool:
        """Whether the thread began after what is known; a thread on a message has the id of that message."""
        began_at = made_at(self.channel)
        return self._since is None or began_at is None or began_at > self._since

    @property
    def _system(self) -> Payload | None:
        """Discord's own message at the beginning of a thread, which refers to the one that it was begun on."""
        return next((one for one in self._messages if one.get("type") == THREAD_STARTER), None)

    @property
    def _first(self) -> Payload | None:
        """The first message of a post in a forum."""
        return next((one for one in self._messages if text_at(one, "id") == self.channel), None)

    def as_starter(self, message: Payload) -> Quoted | None:
        """Return the message as the one that the thread began with, with the title of a post in a forum."""
        if not message:
            return Quoted(relation="starter", text=self.thread.title) if self.thread.title else None
        return self._quoted(message, "starter", title=self.thread.title)

    def _quoted(self, message: Payload, relation: Relation, *, title: str = "") -> Quoted:
        people = {**self._people, **people_in(message)}
        return quoted(message, relation, self._reader, title=title, people=people)

    def _is_news(self, message: Payload) -> bool:
        sent_at = made_at(text_at(message, "id"))
        return self._since is None or sent_at is None or sent_at > self._since


async def _fetch_starter(api: DiscordApi, page: _Page) -> Quoted | None:
    parent = page.channel if page.thread.title else page.thread.parent
    try:
        message = await api.call("GET", MESSAGE, channel_id=parent, message_id=page.channel)
    except AdapterError as error:
        if not (isinstance(error, DiscordRefusedError) and error.code == UNKNOWN_MESSAGE):
            log.warning("thread_starter_not_read", error=str(error))
        return page.as_starter({})
    return page.as_starter(dict_of(message))


def _without_notices(messages: Sequence[Payload], reader: Reader) -> list[Payload]:
    """Return the messages without what the bot wrote besides answers: traces, notices, and answers that still grow."""
    kept: list[Payload] = []
    begun: list[Payload] = []  # messages of the bot that are an answer if one with its buttons follows
    for message in messages:
        if author_kind(message, reader) != "self":
            kept.append(message)
            continue
        kinds = {mark.kind for mark in marks_of(message)}
        if {"details", "stop"} & kinds:
            continue
        if dict_of(message.get("message_reference")):
            begun = []
        begun.append(message)
        if "good" in kinds:
            kept += begun
            begun = []
    return sorted(kept, key=lambda message: as_number(text_at(message, "id")))
