"""Messages as people read them: names in place of ids, words in place of markup; and messages as quotations. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from adapters.discord.payloads import Payload, dict_of, dicts_of, text_at
from bot.domain.events import SharedFile
from bot.text.split import ELLIPSIS, cut

MAX_NAME_CHARS = 80
QUOTE_CHARS = 500

# https://docs.discord.com/developers/reference#message-formatting-formats
_MARKUP = re.compile(
    r"<@!?(?P<user>\d+)>"
    r"|<@&(?P<role>\d+)>"
    r"|<#(?P<channel>\d+)>"
    r"|<a?:(?P<emoji>\w+):\d+>"
    r"|</(?P<command>[^:<>\n]+):\d+>"
    r"|<t:(?P<time>-?\d{1,13})(?::[tTdDfFsSR])?>"
)


def readable(payload: Payload, *, bot_user: str, names: Mapping[str, str]) -> str:
    """Return a message's text as people read it: without the bot's mention, and with other markup as words."""
    people = {
        text_at(user, "id"): display_name(user, dict_of(user.get("member")))
        for user in dicts_of(payload.get("mentions"))
    }
    content = without_mention(text_at(payload, "content"), bot_user=bot_user)
    return _MARKUP.sub(lambda found: _word(found, people=people, names=names), content).strip()


def _word(found: re.Match[str], *, people: Mapping[str, str], names: Mapping[str, str]) -> str:
    value = found[found.lastgroup or 0]
    match found.lastgroup:
        case "user":
            return f"@{people[value]}" if value in people else found[0]  # not a mention: it is in a code block
        case "role":
            return f"@{_flat(names.get(value, '')) or value}"
        case "channel":
            return f"#{_flat(names.get(value, '')) or value}"
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


def without_mention(content: str, *, bot_user: str) -> str:
    """Return the text without the bot's mention, closing the gap."""
    return re.sub(rf"([ \t]*)<@!?{re.escape(bot_user)}>([ \t]*)", _gap, content) if bot_user else content


def _gap(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    if start == 0 or end == len(text) or text[start - 1] == "\n" or text[end] == "\n":
        return ""
    return " " if found[2] or (found[1] and text[end].isalnum()) else ""


def quotation(payload: Payload, *, bot_user: str, names: Mapping[str, str]) -> str:
    """Return the message as lines of a quotation that starts with its author; "" where there is nothing to quote."""
    author = dict_of(payload.get("author"))
    name = display_name(author, dict_of(payload.get("member"))) if author else "forwarded"
    text = readable(payload, bot_user=bot_user, names=names)
    if not text:
        files = ", ".join(file.name for file in files_of(payload))
        text = f"({_flat(files)})" if files else ""
    if len(text) > QUOTE_CHARS:
        text = f"{text[: QUOTE_CHARS - 1]}{ELLIPSIS}"
    lines = text.splitlines()  # also at rarer line ends: no part of it may leave the quotation
    return "\n".join(f"> {line}" for line in [f"{name}: {lines[0]}", *lines[1:]]) if lines else ""


def display_name(user: Payload, member: Payload) -> str:
    """Return the name that the guild shows for a user, on one line."""
    names = (text_at(member, "nick"), text_at(user, "global_name"), text_at(user, "username"), text_at(user, "id"))
    return next((name for name in map(_flat, names) if name), "someone")


def files_of(payload: Payload) -> tuple[SharedFile, ...]:
    """Return the attachments of a message. https://docs.discord.com/developers/resources/message#attachment-object"""
    return tuple(map(_file, dicts_of(payload.get("attachments"))))


def _file(attachment: Payload) -> SharedFile:
    size = attachment.get("size")
    return SharedFile(
        name=text_at(attachment, "filename") or "file",
        mime_type=text_at(attachment, "content_type").partition(";")[0].strip(),
        size=size if isinstance(size, int) else 0,
        reference=text_at(attachment, "url"),
    )


def _flat(text: str) -> str:
    """Return an untrusted name on one line, without invisible characters."""
    return cut("".join(char if char.isprintable() else " " for char in text), MAX_NAME_CHARS)
