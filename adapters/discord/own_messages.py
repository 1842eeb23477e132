"""The bot's own messages in a channel: how they are sent and marked, and how they are found again after a crash.

Discord has no metadata that is not seen: the mark is in the buttons' ids; where a message has none, its text tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from adapters.discord.api import Rest
from adapters.discord.errors import NO_REPLIES, DiscordRefusedError
from bot.domain.messages import Attachment

NOBODY: dict[str, Any] = {"parse": [], "replied_user": False}
SUPPRESS_EMBEDS = 1 << 2
PAGE = 100  # messages: https://discord.com/developers/docs/resources/message#get-channel-messages
MAX_PAGES = 5
EPOCH_MS = 1_420_070_400_000  # https://discord.com/developers/docs/reference#snowflakes


class Place(NamedTuple):
    """Where a conversation is written: a channel, or a thread of it, and the server (`@me` for direct messages)."""

    space: str
    channel: str  # the thread's id where it is one
    is_thread: bool


class Mark(NamedTuple):
    """What a button of ours says of its message; see `marks_in`."""

    kind: str
    turn: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMessage:
    """A message of the bot as the channel shows it."""

    id: str
    text: str
    marks: tuple[Mark, ...] = ()

    def has(self, kind: str, *, turn: int) -> bool:
        """Tell whether a button of that kind and turn is on it."""
        return any(mark.kind == kind and mark.turn == turn for mark in self.marks)

    def number_of(self, turn: int) -> int | None:
        """Return the part or call that the turn's buttons name."""
        return next((mark.number for mark in self.marks if mark.turn == turn), None)


async def send_message(
    rest: Rest,
    channel: str,
    *,
    text: str,
    rows: Sequence[Mapping[str, Any]] = (),
    reply_to: str = "",
    nonce: str = "",
    files: Sequence[Attachment] = (),
) -> str:
    """Post a message that calls nobody and shows no preview, and return its id.

    `reply_to` is the message that it answers, if that is still there and the bot may reply. A `nonce` (at most 25
    characters) that was used within the last few minutes, also by a process before this one, makes it the same message.

    Raises:
        AdapterError: Discord refused; or it cannot be known what it did.
    """
    body: dict[str, Any] = _body(text, rows)
    if nonce:
        body |= {"nonce": nonce, "enforce_nonce": True}
    path = "/channels/{channel_id}/messages"
    if reply_to:
        reply = {**body, "message_reference": {"message_id": reply_to, "fail_if_not_exists": False}}
        try:
            return _id_of(await rest.call("POST", path, json=reply, files=files, channel_id=channel))
        except DiscordRefusedError as error:
            if error.code != NO_REPLIES:
                raise
    return _id_of(await rest.call("POST", path, json=body, files=files, channel_id=channel))


async def edit_message(
    rest: Rest,
    channel: str,
    message: str,
    *,
    text: str,
    rows: Sequence[Mapping[str, Any]] = (),
    files: Sequence[Attachment] = (),
) -> None:
    """Let a message of the bot read so from now on; `files`, if any, take the place of those that it has.

    Raises:
        AdapterError: Discord refused; or it cannot be known what it did.
    """
    path = "/channels/{channel_id}/messages/{message_id}"
    await rest.call("PATCH", path, json=_body(text, rows), files=files, channel_id=channel, message_id=message)


async def find_own(rest: Rest, channel: str, *, bot_user: str, since: str) -> Sequence[OwnMessage]:
    """Return the bot's messages in the channel after the message `since`, oldest first.

    Raises:
        AdapterError: Discord does not show the channel.
    """
    found: list[OwnMessage] = []
    after = since
    for _ in range(MAX_PAGES):
        page = cast(
            "list[dict[str, Any]]",
            await rest.call(
                "GET", "/channels/{channel_id}/messages", params={"after": after, "limit": PAGE}, channel_id=channel
            ),
        )
        page.sort(key=lambda message: int(message["id"]))
        found += [_read(message) for message in page if message["author"]["id"] == bot_user]
        if len(page) < PAGE:
            break
        after = str(page[-1]["id"])
    return found


def created_at(message_id: str) -> float:
    """Return when a message was made, in seconds since the epoch: its id says so."""
    return ((int(message_id) >> 22) + EPOCH_MS) / 1000


def snowflake(at: float) -> str:
    """Return the smallest id that something made at that time (seconds since the epoch) can have."""
    return str(max(0, int(at * 1000) - EPOCH_MS) << 22)


def _body(text: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # Left out of an edit, Discord's defaults for mentions hold again.
    return {"content": text, "components": list(rows), "allowed_mentions": NOBODY, "flags": SUPPRESS_EMBEDS}


def _id_of(answer: Any) -> str:
    return str(answer["id"])


def _read(message: Mapping[str, Any]) -> OwnMessage:
    return OwnMessage(
        id=str(message["id"]),
        text=str(message.get("content", "")),
        marks=tuple(_marks_in(cast("list[dict[str, Any]]", message.get("components") or []))),
    )


def _marks_in(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mark]:
    for row in rows:
        for component in cast("list[dict[str, Any]]", row.get("components") or []):
            kind, *numbers = str(component.get("custom_id", "")).removeprefix("tb:").split(":")
            if len(numbers) >= 2 and numbers[0].isdecimal() and numbers[1].isdecimal():
                yield Mark(kind, int(numbers[0]), int(numbers[1]))
