"""What Discord keeps out of messages by their words: the AutoMod rules of a server, and harmful links everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.fakes.discord.errors import DiscordError
from tests.fakes.discord.world import Channel, Message, World

MANAGES_SERVER = ("ADMINISTRATOR", "MANAGE_GUILD")


def check_words(discord: World, room: Channel, message: Message) -> None:
    """Refuse a new or changed message of the bot for its words.

    An event of the type MESSAGE_SEND is a message that a member sends or edits, and the bot is a member; those who
    manage the server are exempt: https://docs.discord.com/developers/resources/auto-moderation. The filter for harmful
    links belongs to no server, and works in direct messages too:
    https://github.com/discord/discord-api-docs/pull/5327.
    """
    _check_rules(discord, room, [message.shown, *_texts_of_embeds(message)], code=200000)
    text = message.shown.lower()
    if any(link in text for link in discord.harmful_links):
        raise DiscordError(240000)


def check_title(discord: World, room: Channel, title: str) -> None:
    """Refuse the name of a thread for its words; nothing is checked in its messages but what they say."""
    _check_rules(discord, room, [title], code=200001)


def _check_rules(discord: World, room: Channel, texts: Iterable[str], *, code: int) -> None:
    if any(discord.bot_may(room, name) for name in MANAGES_SERVER):
        return
    text = "\n".join(texts)
    for rule in discord.automod_rules:
        is_exempt = not rule.exempt_channels.isdisjoint({room.id, room.parent})
        if rule.guild == room.guild and not is_exempt and any(_matches(word, text) for word in rule.keywords):
            raise DiscordError(code)


def _matches(keyword: str, text: str) -> bool:
    """Keywords match whole words in any case; `*` stands for more letters at an end.

    https://docs.discord.com/developers/resources/auto-moderation#auto-moderation-rule-object-keyword-matching-strategies
    """
    before = "" if keyword.startswith("*") else r"\b"
    after = "" if keyword.endswith("*") else r"\b"
    return re.search(f"{before}{re.escape(keyword.strip('*'))}{after}", text, re.IGNORECASE) is not None


def _texts_of_embeds(message: Message) -> list[str]:
    return [str(embed[name]) for embed in message.embeds for name in ("title", "description") if name in embed]
