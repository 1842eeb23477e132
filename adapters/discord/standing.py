"""What Discord says of a person where they act: their roles, and whether they moderate there. Pure.

https://docs.discord.com/developers/resources/guild#guild-member-object
"""

from __future__ import annotations

from adapters.discord.payloads import text_at, text_of
from adapters.discord.snowflakes import as_number
from adapters.shared.payloads import Payload, dict_of, list_of
from bot.domain.people import Standing

# https://docs.discord.com/developers/topics/permissions#permissions-bitwise-permission-flags
ADMINISTRATOR, MANAGE_MESSAGES = 1 << 3, 1 << 13


def standing_in(payload: Payload) -> Standing:
    """Return the standing of the author of a message, or of the person behind an interaction.

    Only an interaction's member comes with permissions; they are those in its channel.
    """
    member = dict_of(payload.get("member"))
    return Standing(roles=roles_of(member), is_moderator=moderates(as_number(text_at(member, "permissions"))))


def roles_of(member: Payload) -> tuple[str, ...]:
    """Return the ids of a member's roles, without the `@everyone` role."""
    return tuple(role for role in map(text_of, list_of(member.get("roles"))) if role)


def moderates(permissions: int) -> bool:
    """Return whether a person with these permissions in a channel may manage the messages of others there."""
    return bool(permissions & (ADMINISTRATOR | MANAGE_MESSAGES))
