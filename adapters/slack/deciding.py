"""What people press below what is asked: decisions, details, links. Only the person who pressed sees the answer."""

from __future__ import annotations

from typing import Any, assert_never, cast, get_args
from urllib.parse import urlsplit

from adapters.slack import render
from adapters.slack.ask_blocks import link_blocks
from adapters.slack.people import People
from adapters.slack.presses import NOT_VALID, Pressed, json_value
from adapters.slack.replies import Replies
from adapters.slack.standing import Standings
from adapters.slack.windows import Windows, conversation_of, shown_thread
from bot.domain.answers import Details, Explained, Refused
from bot.domain.events import Choice, DecisionMade, DetailsAsked
from bot.ports.platform import Host

NOT_DECIDED = f"{NOT_VALID} Nothing was decided."
MAX_ID = 2**63 - 1
MAX_DIGEST_CHARS = 200
MAX_URL_CHARS = 3_000  # https://docs.slack.dev/reference/block-kit/block-elements/button-element


class Decisions:
    """Hands decisions to the host; the messages change by `Adapter.put_ask`, once a decision is stored."""

    def __init__(self, host: Host, *, people: People, standings: Standings, replies: Replies, windows: Windows) -> None:
        self._host = host
        self._people = people
        self._standings = standings
        self._replies = replies
        self._windows = windows

    async def decide(self, pressed: Pressed, choice: str) -> None:
        """Decide what the button says, and tell its presser what came of it, where there is something to say."""
        asked = asked_by(pressed)
        if asked is None or choice not in get_args(Choice):
            await self._tell(pressed, NOT_DECIDED)
            return
        ask_id, digest = asked
        decision = DecisionMade(
            conversation=conversation_of(pressed),
            event_key=f"slack:{pressed.key}",
            author_id=pressed.user,
            author_name=await self._people.name(pressed.team, pressed.user),
            ask_id=ask_id,
            choice=cast("Choice", choice),
            digest=digest,
        )
        decided = await self._host.decide(await self._standings.stamp(decision))
        if decided.notice:
            await self._tell(pressed, decided.notice)

    async def show_details(self, pressed: Pressed) -> None:
        """Show the exact arguments, and what came of the call, in a window."""
        explained = await self._details(pressed)
        match explained:
            case None:
                await self._tell(pressed, NOT_DECIDED)
            case Details(lines=lines, notice=notice):
                await self._windows.open(pressed, render.details_view(lines, turn_id=0, note=notice))
            case Refused(notice=notice):
                await self._tell(pressed, notice)
            case _:
                assert_never(explained)

    async def show_link(self, pressed: Pressed) -> None:
        """Show where the link leads, only to the person who pressed."""
        explained = await self._details(pressed)
        match explained:
            case None:
                await self._tell(pressed, NOT_DECIDED)
            case Details(link=link, notice=notice):
                host = host_of(link)
                if not host:
                    await self._tell(pressed, notice or "There is no link that can be opened safely.")
                    return
                blocks, text = link_blocks(host, link)
                await self._replies.answer(pressed, blocks, text, thread=shown_thread(pressed))
            case Refused(notice=notice):
                await self._tell(pressed, notice)
            case _:
                assert_never(explained)

    async def _details(self, pressed: Pressed) -> Explained | None:
        asked = asked_by(pressed)
        if asked is None:
            return None
        event = DetailsAsked(
            conversation=conversation_of(pressed),
            event_key=f"slack:{pressed.key}",
            author_id=pressed.user,
            ask_id=asked[0],
        )
        return await self._host.details(await self._standings.stamp(event))

    async def _tell(self, pressed: Pressed, text: str) -> None:
        await self._windows.tell(pressed, text, thread=shown_thread(pressed))


def asked_by(pressed: Pressed) -> tuple[int, str] | None:
    """Return which ask a button is of, and the digest that it showed; None where its value is none of the bot's."""
    value: dict[str, Any] = json_value(pressed.value)
    ask_id, digest = value.get("ask"), value.get("digest", "")
    if not isinstance(ask_id, int) or isinstance(ask_id, bool) or not 0 < ask_id <= MAX_ID:
        return None
    return (ask_id, digest) if isinstance(digest, str) and len(digest) <= MAX_DIGEST_CHARS else None


def host_of(link: str) -> str:
    """Return the host of a web address; "" for anything that is none, and for one that Slack has no room for."""
    try:
        parts = urlsplit(link)
        host = parts.hostname or ""
    except ValueError:
        return ""
    is_open = parts.scheme in ("https", "http") and len(link) <= MAX_URL_CHARS and link.isprintable()
    return host if is_open and not any(char.isspace() or char in "<>|" for char in link) else ""
