"""The bot's own messages in a channel: how they are marked, and how they are found again after a crash.

Discord has no metadata that is not seen: the mark is in the buttons' ids; where a message has none, its text tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from adapters.discord.rest import Rest

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
