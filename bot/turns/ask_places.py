"""Where an ask is shown: in the thread of the question, to each of those who decide, or in a place of theirs."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from bot.domain.asks import ApprovalAsk, AskRecord
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey
from bot.ports.platform import Adapter
from bot.ports.rights import Policy

log = structlog.stdlib.get_logger(__name__)

MAX_PEOPLE = 25  # who are asked directly
Place = tuple[ConversationKey, str]  # with the platform's id of a person, where it is a direct message


async def ask_places(record: AskRecord, *, policy: Policy, adapters: Sequence[Adapter]) -> Sequence[Place]:
    """Return the places in which the ask is to be shown; none where those that the policy names cannot be had."""
    ask, thread = record.ask, (record.conversation, "")
    if not isinstance(ask, ApprovalAsk) or ask.terms.ask_in == "thread":
        return [thread]
    if ask.terms.ask_in == "dm":
        return await _direct(record, ask, policy=policy, adapters=adapters)
    place = channel_named(ask.terms.ask_in)
    if place is None:
        return [thread]
    # Another process may serve the place; where none does, people can still decide in the thread.
    is_served = any(str(place).startswith(adapter.serves) for adapter in adapters)
    return [(place, "")] if is_served else [(place, ""), thread]


def channel_named(name: str) -> ConversationKey | None:
    """Return the channel of that name in the notation of rules; None for what names no channel."""
    match name.split(":"):
        case [platform, space, channel] if channel != "dm":
            return ConversationKey(platform=platform, space=space, channel=channel)
        case _:
            return None


async def _direct(
    record: AskRecord, ask: ApprovalAsk, *, policy: Policy, adapters: Sequence[Adapter]
) -> Sequence[Place]:
    names = policy.people_of(ask.terms.approvers) if ask.terms.approvers else [record.asker]
    places: dict[Place, None] = {}
    for name in names:
        if name == record.asker and not ask.terms.asker_may_approve:
            continue
        for place in await _places_of(name, adapters):
            places[place] = None
    return list(places)[:MAX_PEOPLE]


async def _places_of(name: str, adapters: Sequence[Adapter]) -> Sequence[Place]:
    match name.split(":"):
        case ["slack", team, "usergroup", _]:
            return [_direct_message("slack", team, person) for person in await _members("slack", name, adapters)]
        case ["slack", team, person]:
            return [_direct_message("slack", team, person)]
        case ["discord", _, "role", _]:
            return [_direct_message("discord", "@me", person) for person in await _members("discord", name, adapters)]
        case ["discord", *_, person]:
            return [_direct_message("discord", "@me", person)]
        case _:
            return []


async def _members(platform: str, group: str, adapters: Sequence[Adapter]) -> Sequence[str]:
    for adapter in adapters:
        if adapter.name == platform:
            try:
                return await adapter.members(group)
            except AdapterError as error:
                log.warning("members_not_known", group=group, error=str(error))
    return []


def _direct_message(platform: str, space: str, person: str) -> Place:
    return ConversationKey(platform=platform, space=space, channel="dm"), person
