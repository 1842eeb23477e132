"""Texts as people read them: names in place of ids, words in place of markup, and without the bot's mention. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain

from adapters.discord.payloads import text_at, text_of
from adapters.shared.payloads import Payload, dict_of, dicts_of, list_of
from bot.text.lines import one_line

MAX_NAME_CHARS = 80

# https://docs.discord.com/developers/reference#message-formatting-formats
_MARKUP = re.compile(
    r"<@!?(?P<user>\d{1,20})>"
    r"|<@&(?P<role>\d{1,20})>"
    r"|<#(?P<channel>\d{1,20})>"
    r"|<a?:(?P<emoji>\w+):\d+>"
    r"|</(?P<command>[^:<>\n]+):\d+>"
    r"|<t:(?P<time>-?\d{1,13})(?::[tTdDfFsSR])?>",
    re.ASCII,
)


def _no_name(_: str) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """The bot as a reader of one place: who it is there, what the ids there are called, and what it may read."""

    bot_user: str
    bot_roles: frozenset[str] = frozenset()  # Discord's own for the bot: a mention of one looks the same as the bot's
    name_of: Callable[[str], str] = _no_name  # of a role or channel by its id; "" where it is not known
    reads_content: bool = True  # with the Message Content intent

    def is_mentioned_in(self, message: Payload) -> bool:
        """Return whether the message mentions the bot, or its role; an id in a code block is not a mention."""
        users = {text_at(user, "id") for user in dicts_of(message.get("mentions"))}
        return bool(self.bot_user) and (self.bot_user in users or self.is_role_mentioned_in(message))

    def is_role_mentioned_in(self, message: Payload) -> bool:
        """Return whether the message mentions the bot's role."""
        return any(text_of(role) in self.bot_roles for role in list_of(message.get("mention_roles")))

    def without_mention(self, content: str) -> str:
        """Return the text without the bot's mention, closing the gap."""
        return self._mention.sub(_gap, content) if self.bot_user else content

    @property
    def _mention(self) -> re.Pattern[str]:
        roles = "".join(rf"|&{re.escape(role)}" for role in sorted(self.bot_roles))
        return re.compile(rf"([ \t]*)<@(?:!?{re.escape(self.bot_user)}{roles})>([ \t]*)")

    def knowing(self, message: Payload) -> Reader:
        """Return the reader with the names of channels and roles that come with a message: of another server, say."""
        names = _places_in(message)

        def name_of(number: str) -> str:
            return self.name_of(number) or names.get(number, "")

        return replace(self, name_of=name_of) if names else self

    def plain(self, text: str, people: Mapping[str, str], *, keeps_ids: bool = False) -> str:
        """Return a text with names in place of ids, which stay where no name is known, and words in place of markup.

        With `keeps_ids`, the id follows each name, as tools may need it.
        """
        return _MARKUP.sub(lambda found: self._word(found, people, keeps_ids=keeps_ids), text).strip()

    def _word(self, found: re.Match[str], people: Mapping[str, str], *, keeps_ids: bool) -> str:
        value = found[found.lastgroup or 0]
        kept = f" ({value})" if keeps_ids else ""
        match found.lastgroup:
            case "user":
                # What is no mention is in a code block.
                return f"@{people[value]}{kept}" if value in people else found[0]
            case "role":
                name = name_line(self.name_of(value))
                return f"@{name}{kept}" if name else f"@{value}"
            case "channel":
                name = name_line(self.name_of(value))
                return f"#{name}{kept}" if name else f"#{value}"
            case "emoji":
                return f":{value}:"
            case "command":
                return f"/{value}"
            case _:
                return _iso(int(value)) or found[0]


def _iso(unix_s: int) -> str:
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ""


def _gap(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    if start == 0 or end == len(text) or text[start - 1] == "\n" or text[end] == "\n":
        return ""
    return " " if found[2] or (found[1] and text[end].isalnum()) else ""


def people_in(message: Payload) -> Mapping[str, str]:
    """Return the names of the people that a message comes with, by their ids: its author and those whom it mentions.

    Embeds mention nobody; components and menus refer to people of whom only `resolved` has the names.
    """
    resolved = dict_of(message.get("resolved"))
    members = dict_of(resolved.get("members"))
    users = [{**dict_of(user), "member": members.get(key)} for key, user in dict_of(resolved.get("users")).items()]
    author = {**dict_of(message.get("author")), "member": message.get("member")}
    known = [author, dict_of(dict_of(message.get("interaction_metadata")).get("user")), *users]
    known += dicts_of(message.get("mentions"))
    return {text_at(user, "id"): display_name(user, dict_of(user.get("member"))) for user in known if user.get("id")}


def _places_in(message: Payload) -> Mapping[str, str]:
    """Return the names of channels and roles that come with a message, by their ids.

    https://docs.discord.com/developers/resources/message#channel-mention-object
    """
    resolved = dict_of(message.get("resolved"))
    groups = (dict_of(resolved.get(name)).values() for name in ("channels", "roles"))
    known = [*map(dict_of, chain.from_iterable(groups)), *dicts_of(message.get("mention_channels"))]
    return {text_at(place, "id"): text_at(place, "name") for place in known}


def display_name(user: Payload, member: Payload) -> str:
    """Return the name that the guild shows for a user, on one line."""
    names = (text_at(member, "nick"), text_at(user, "global_name"), text_at(user, "username"), text_at(user, "id"))
    return next((name for name in map(name_line, names) if name), "someone")


def name_line(text: str) -> str:
    """Return an untrusted name on one line, without invisible characters."""
    return one_line(text, max_chars=MAX_NAME_CHARS)
