"""The bot's own messages in a channel: how they are sent and marked, and how they are found again after a crash.

Discord offers no hidden metadata. The mark is in the ids of the buttons; a message without buttons is recognised by its
text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from adapters.discord.api import DiscordApi
from adapters.discord.errors import DiscordRefusedError, DiscordUnreachableError
from adapters.discord.parse import Mark, message_place, parse_mark
from adapters.discord.render import Shown
from adapters.shared.payloads import dicts_of
from bot.domain.events import ConversationKey
from bot.domain.messages import Attachment

NO_MENTIONS: dict[str, Any] = {"parse": [], "replied_user": False}
SUPPRESS_EMBEDS = 1 << 2
NONCE_CHARS = 25  # https://discord.com/developers/docs/resources/message#create-message
PAGE = 100  # messages: https://discord.com/developers/docs/resources/message#get-channel-messages
MAX_PAGES = 5
MESSAGES = "/channels/{channel_id}/messages"
MESSAGE = f"{MESSAGES}/{{message_id}}"
_FOREIGN = "Something between here and Discord does not answer as Discord does."


class Place(NamedTuple):
    """Where a conversation is held: a channel or one of its threads, and the server (`@me` for direct messages)."""

    space: str
    channel: str  # the thread's id where it is one
    is_thread: bool


def place_of(conversation: ConversationKey, in_reply_to: str) -> Place:
    """Return where a question of the conversation is answered: where it was asked.

    That may be a thread which the bot began for a trace; it belongs to the conversation of its channel.
    """
    channel = message_place(in_reply_to)[0] or conversation.thread or conversation.channel
    return Place(space=conversation.space, channel=channel, is_thread=channel != conversation.channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMessage:
    """A message of the bot as the channel shows it."""

    id: str
    text: str
    marks: tuple[Mark, ...] = ()

    def has(self, kind: str, *, turn: int) -> bool:
        """Return whether it has a button of that kind and turn."""
        return any(mark.kind == kind and mark.turn == turn for mark in self.marks)

    def number_of(self, turn: int) -> int | None:
        """Return the part or call that the turn's buttons name."""
        return next((mark.number for mark in self.marks if mark.turn == turn), None)


async def send_message(
    api: DiscordApi,
    channel: str,
    *,
    text: str,
    rows: Sequence[Mapping[str, Any]] = (),
    reply_to: str = "",
    key: str = "",
    files: Sequence[Attachment] = (),
    is_repeatable: bool = False,
) -> str:
    """Post a message that pings nobody and shows no preview, and return its id.

    `reply_to` is the message that it answers, if that still exists and takes replies from the bot. Sent again with the
    same `key` within a few minutes, also by another process, it is the same message. For `is_repeatable` see
    `DiscordApi.call`.

    Raises:
        AdapterError: Discord refused; or it is unknown whether the message was posted.
    """
    body: dict[str, Any] = _body(text, rows)
    if key:
        body |= {"nonce": nonce_of(key), "enforce_nonce": True}

    async def send(body: dict[str, Any]) -> str:
        return id_of(
            await api.call("POST", MESSAGES, json=body, files=files, is_repeatable=is_repeatable, channel_id=channel)
        )

    if reply_to:
        try:
            return await send({**body, "message_reference": {"message_id": reply_to, "fail_if_not_exists": False}})
        except DiscordRefusedError as error:
            if not error.is_about_reply:
                raise
    return await send(body)


async def send_reply(api: DiscordApi, key: str, shown: Shown) -> None:
    """Post a reply to the message of that event key, if the key is a message's. Raises AdapterError."""
    channel, message = message_place(key)
    if channel:
        await send_message(api, channel, text=shown.text, rows=shown.rows, reply_to=message, is_repeatable=True)


async def edit_message(
    api: DiscordApi,
    channel: str,
    message: str,
    *,
    text: str,
    rows: Sequence[Mapping[str, Any]] = (),
    files: Sequence[Attachment] = (),
    is_repeatable: bool = False,
) -> None:
    """Replace text and buttons of a message of the bot; `files`, if any, replace those that it has.

    For `is_repeatable` see `DiscordApi.call`.

    Raises:
        AdapterError: Discord refused; or it is unknown whether the message was changed.
    """
    await api.call(
        "PATCH",
        MESSAGE,
        json=_body(text, rows),
        files=files,
        is_repeatable=is_repeatable,
        channel_id=channel,
        message_id=message,
    )


async def find_own_messages(api: DiscordApi, channel: str, *, since: str) -> Sequence[OwnMessage]:
    """Return the bot's messages in the channel after the message `since`, oldest first.

    Raises:
        AdapterError: Discord does not show the channel.
    """
    bot_user = api.identity.user
    messages = await messages_after(api, channel, since=since, max_pages=MAX_PAGES, is_repeatable=False)
    return [_read(message) for message in messages if message["author"]["id"] == bot_user]


async def messages_after(
    api: DiscordApi, channel: str, *, since: str, max_pages: int, is_repeatable: bool = True
) -> list[dict[str, Any]]:
    """Return the messages in the channel after the id `since`, oldest first, at most `max_pages` times `PAGE`.

    Raises:
        AdapterError: Discord does not show the channel.
    """
    messages: list[dict[str, Any]] = []
    after = since
    for _ in range(max_pages):
        params = {"after": after, "limit": PAGE}
        answer = await api.call("GET", MESSAGES, params=params, is_repeatable=is_repeatable, channel_id=channel)
        page = page_of(answer)
        page.sort(key=lambda message: int(message["id"]))
        messages += page
        if len(page) < PAGE:
            break
        after = str(page[-1]["id"])
    return messages


async def latest_messages(api: DiscordApi, channel: str, *, max_pages: int) -> list[dict[str, Any]]:
    """Return the latest messages in the channel, newest first, at most `max_pages` times `PAGE`.

    Raises:
        AdapterError: Discord does not show the channel.
    """
    messages: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": PAGE}
    for _ in range(max_pages):
        page = page_of(await api.call("GET", MESSAGES, params=params, is_repeatable=False, channel_id=channel))
        page.sort(key=lambda message: int(message["id"]), reverse=True)
        messages += page
        if len(page) < PAGE:
            break
        params = {"limit": PAGE, "before": str(page[-1]["id"])}
    return messages


def nonce_of(key: str) -> str:
    """Return a nonce that Discord accepts for a key of any length: always the same one for the same key."""
    return key if len(key) <= NONCE_CHARS else hashlib.sha256(key.encode()).hexdigest()[:NONCE_CHARS]


def _body(text: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # An edit without `allowed_mentions` would bring back Discord's default, which pings.
    return {"content": text, "components": list(rows), "allowed_mentions": NO_MENTIONS, "flags": SUPPRESS_EMBEDS}


def id_of(answer: Any) -> str:
    """Return the id of what Discord answers. Raises DiscordUnreachableError where that has none."""
    if not isinstance(answer, dict) or "id" not in answer:
        raise DiscordUnreachableError(_FOREIGN)
    return str(cast("dict[str, Any]", answer)["id"])


def page_of(answer: Any) -> list[dict[str, Any]]:
    """Return the messages that Discord answers. Raises DiscordUnreachableError where that is no list of them."""
    messages = cast("list[Any]", answer) if isinstance(answer, list) else [None]
    if not all(isinstance(message, dict) and "id" in message for message in messages):
        raise DiscordUnreachableError(_FOREIGN)
    return cast("list[dict[str, Any]]", messages)


def _read(message: Mapping[str, Any]) -> OwnMessage:
    return OwnMessage(
        id=str(message["id"]),
        text=str(message.get("content", "")),
        marks=tuple(marks_of(message)),
    )


def marks_of(message: Mapping[str, Any]) -> Iterator[Mark]:
    """Yield the marks of the bot in the buttons of a message."""
    for custom_id in custom_ids(message):
        if (mark := parse_mark(custom_id)) is not None:
            yield mark


def custom_ids(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the custom ids of the buttons of a message."""
    for row in dicts_of(message.get("components")):
        for component in dicts_of(row.get("components")):
            yield str(component.get("custom_id", ""))
