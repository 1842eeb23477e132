"""The bot's own messages in a thread: how they are marked, and how they are found after a crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, cast

from adapters.shared.buckets import Priority
from adapters.shared.payloads import dict_of, number_of
from bot.domain.asks import AskPost
from bot.domain.events import ConversationKey
from bot.domain.turns import Post

MAX_PAGES = 5
PAGE = 200  # messages; apps outside the Marketplace may get 15: https://docs.slack.dev/apis/web-api/rate-limits

# Metadata survives edits and restarts, and is invisible: https://docs.slack.dev/messaging/message-metadata/
POST, TRACE, NOTICE, ASK = "toolbridge_post", "toolbridge_trace", "toolbridge_notice", "toolbridge_ask"
GROWING = "toolbridge_live"  # its name as earlier versions marked messages with it
Kind = Literal["post", "growing", "trace", "notice", "ask", "unmarked", "file"]
_KINDS: Mapping[str, Kind] = {POST: "post", GROWING: "growing", TRACE: "trace", NOTICE: "notice", ASK: "ask"}


class Place(NamedTuple):
    """A thread of a channel of a workspace."""

    team: str
    channel: str
    thread: str


def place_of(conversation: ConversationKey) -> Place:
    """Return the conversation's thread."""
    return Place(team=conversation.space, channel=conversation.channel, thread=conversation.thread)


class Slack(Protocol):
    """Calls a method of Slack's Web API; see `adapters.slack.api.SlackApi`."""

    async def call(
        self,
        method: str,
        *,
        team: str,
        limit_key: str = "",
        may_repeat: bool = False,
        priority: Priority = Priority.ANSWER,
        wait_s: float = 60.0,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Return the answer, or raise AdapterError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMessage:
    """A message of the bot as the thread shows it."""

    ts: str
    kind: Kind
    key: str = ""  # of the post, or of what is asked
    turn: int = 0
    number: int = 0  # part of the answer, or the call of a trace
    file_names: tuple[str, ...] = ()


FindOwn = Callable[[Place, str], Awaitable[Sequence[OwnMessage]]]  # (place, from this timestamp on)


def post_mark(post: Post) -> dict[str, Any]:
    """Return the metadata of a finished post."""
    return {"event_type": POST, "event_payload": {"key": post.key, "turn": post.turn_id, "part": post.part}}


def mark_of(own: OwnMessage) -> dict[str, Any]:
    """Return the metadata of a finished post that was found."""
    return {"event_type": POST, "event_payload": {"key": own.key, "turn": own.turn, "part": own.number}}


def growing_mark(turn_id: int, part: int) -> dict[str, Any]:
    """Return the metadata of a message that is still growing."""
    return {"event_type": GROWING, "event_payload": {"turn": turn_id, "part": part}}


def trace_mark(turn_id: int, call: int = 0) -> dict[str, Any]:
    """Return the metadata of a trace; `call` counts from 1 where each call has its own message."""
    return {"event_type": TRACE, "event_payload": {"turn": turn_id, "call": call}}


def ask_mark(post: AskPost) -> dict[str, Any]:
    """Return the metadata of what people are asked."""
    return {"event_type": ASK, "event_payload": {"key": post.key, "ask": post.view.ask_id}}


def notice_mark(about: str) -> dict[str, Any]:
    """Return the metadata of any other message of the bot."""
    return {"event_type": NOTICE, "event_payload": {"about": about}}


def keyed_notice_mark(key: str) -> dict[str, Any]:
    """Return the metadata of a notice that is posted once."""
    return {"event_type": NOTICE, "event_payload": {"about": "notice", "key": key}}


async def find_own_messages(slack: Slack, place: Place, *, bot_user: str, since: str) -> Sequence[OwnMessage]:
    """Return the bot's messages in the thread from the timestamp `since` on, oldest first.

    Raises:
        AdapterError: Slack does not show the thread.
    """
    found: list[OwnMessage] = []
    cursor = ""
    for _ in range(MAX_PAGES):
        answer = await slack.call(
            "conversations.replies",
            team=place.team,
            may_repeat=True,
            channel=place.channel,
            ts=place.thread,
            oldest=since,
            inclusive=True,
            include_all_metadata=True,
            limit=PAGE,
            cursor=cursor or None,
        )
        messages = cast("list[dict[str, Any]]", answer.get("messages") or [])
        found += [_read(message) for message in messages if message.get("user") == bot_user and message["ts"] >= since]
        cursor = next_cursor(answer)
        if not cursor:
            break
    return found


async def find_own_in_channel(
    slack: Slack, team: str, channel: str, *, bot_user: str, since: str = "", max_pages: int = 1
) -> Sequence[OwnMessage]:
    """Return the bot's newest messages outside of threads, from the timestamp `since` on, newest first.

    Raises:
        AdapterError: Slack does not show the channel.
    """
    found: list[OwnMessage] = []
    cursor = ""
    for _ in range(max_pages):
        answer = await slack.call(
            "conversations.history",
            team=team,
            may_repeat=True,
            channel=channel,
            oldest=since or None,
            include_all_metadata=True,
            limit=PAGE,
            cursor=cursor or None,
        )
        messages = cast("list[dict[str, Any]]", answer.get("messages") or [])
        found += [_read(message) for message in messages if message.get("user") == bot_user]
        cursor = next_cursor(answer)
        if not cursor:
            break
    return found


def next_cursor(answer: Mapping[str, Any]) -> str:
    """Return where the next page begins; empty after the last one. https://docs.slack.dev/apis/web-api/pagination"""
    metadata: Mapping[str, Any] = answer.get("response_metadata") or {}
    return str(metadata.get("next_cursor") or "")


def _read(message: Mapping[str, Any]) -> OwnMessage:
    metadata = dict_of(message.get("metadata"))
    payload = dict_of(metadata.get("event_payload"))
    files = cast("list[dict[str, Any]]", message.get("files") or [])
    return OwnMessage(
        ts=str(message["ts"]),
        kind="file" if files else _KINDS.get(str(metadata.get("event_type")), "unmarked"),
        key=str(payload.get("key", "")),
        turn=number_of(payload.get("turn")),
        number=number_of(payload.get("part", payload.get("call"))),
        file_names=tuple(str(file.get("name", "")) for file in files),
    )
