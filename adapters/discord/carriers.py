"""What carries words in a message besides its text: embeds, components, polls, stickers, attachments. Pure.

https://docs.discord.com/developers/resources/message#message-object
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from adapters.discord.payloads import text_at, time_of
from adapters.discord.readable import name_line
from adapters.shared.payloads import Payload, dict_of, dicts_of
from bot.domain.events import SharedFile

VOICE_MESSAGE = 1 << 13  # https://docs.discord.com/developers/resources/message#message-object-message-flags
OUR_BUTTON = "tb:"  # the beginning of the custom ids of `adapters.discord.render`
# Where uploads are, those that an embed or a component shows among them; other pictures are on other people's servers.
_UPLOADS = ("https://cdn.discordapp.com/attachments/", "https://media.discordapp.net/attachments/")


class Kind(IntEnum):
    """https://docs.discord.com/developers/components/reference#component-object-component-types"""

    ROW = 1
    BUTTON = 2
    SECTION = 9
    TEXT = 10
    THUMBNAIL = 11
    GALLERY = 12
    FILE = 13
    SEPARATOR = 14
    CONTAINER = 17


class Carried(NamedTuple):
    """What one carrier holds: lines as they were written, a file, or what cannot be read of it, in a few words."""

    text: str = ""
    file: SharedFile | None = None
    unread: str = ""


# --- embeds ----------------------------------------------------------------------------------------------------


def is_preview(embed: Payload, *, content: str, by_person: bool) -> bool:
    """Return whether Discord made the embed, to show what a link in `content` leads to; people make no embeds.

    https://docs.discord.com/developers/resources/message#embed-object-embed-types
    """
    kind = text_at(embed, "type") or "rich"
    if kind == "poll_result":
        return False
    url = text_at(embed, "url").rstrip("/")
    return by_person or kind != "rich" or (bool(url) and url in content)


def of_embed(embed: Payload) -> Iterator[Carried]:
    """Yield what an embed says and shows, in the order in which people see it."""
    if text_at(embed, "type") == "poll_result":
        yield Carried(_poll_result(embed))
        return
    yield Carried(text_at(dict_of(embed.get("author")), "name"))
    yield Carried(_link(text_at(embed, "title"), text_at(embed, "url")))
    yield Carried(text_at(embed, "description"))
    for each in dicts_of(embed.get("fields")):
        yield Carried(_field(each))
    for name, what in (("image", "a picture"), ("thumbnail", "a picture"), ("video", "a video")):
        if shown := dict_of(embed.get(name)):
            yield _media(shown, what=f"{what} in an embed")
            yield _described(shown)
    yield Carried(_footer(embed))


def of_preview(embed: Payload) -> Iterator[str]:
    """Yield what the preview of a link says about the page."""
    yield text_at(embed, "title")
    yield text_at(embed, "description")


def site_of(embed: Payload) -> str:
    """Return the name of the site that a preview is of, "" where it is not said."""
    names = (text_at(dict_of(embed.get(name)), "name") for name in ("provider", "author"))
    return next((name for name in map(name_line, names) if name), "")


def _field(each: Payload) -> str:
    name, value = text_at(each, "name").strip(), text_at(each, "value").strip()
    return (f"{name}:\n{value}" if "\n" in value else f"{name}: {value}") if name and value else name or value


def _footer(embed: Payload) -> str:
    """Return the last line of an embed, on which clients show its time as well."""
    at = time_of(embed.get("timestamp"))
    shown = at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else ""
    return " • ".join(filter(None, (text_at(dict_of(embed.get("footer")), "text"), shown)))


def _described(shown: Payload) -> Carried:
    """Return what people wrote to describe a picture or a video."""
    description = text_at(shown, "description")
    return Carried(f"({description})" if description else "")


def _link(text: str, url: str) -> str:
    return f"{text} ({url})" if text and url else text or url


def _poll_result(embed: Payload) -> str:
    """https://docs.discord.com/developers/resources/message#embed-fields-by-embed-type-poll-result-embed-fields"""
    said = {text_at(each, "name"): text_at(each, "value") for each in dicts_of(embed.get("fields"))}
    question, winner = said.get("poll_question_text", ""), said.get("victor_answer_text", "")
    votes, total = said.get("victor_answer_votes", "0"), said.get("total_votes", "0")
    return f"Result of the poll: {question}\n{winner or 'no winner'}: {votes} of {total} votes"


# --- components ------------------------------------------------------------------------------------------------


def of_components(components: Sequence[Payload]) -> Iterator[Carried]:
    """Yield what the components of all levels say and show, in their order; the bot's own buttons say nothing."""
    left = list(reversed(components))
    while left:  # no recursion: it is up to others how deep they are nested
        component = left.pop()
        yield from _of_component(component)
        inner = [*dicts_of(component.get("components")), *_single(component, "component", "accessory")]
        left += reversed(inner)


def _single(component: Payload, *names: str) -> Iterator[Payload]:
    for name in names:
        if inner := dict_of(component.get(name)):
            yield inner


def _of_component(component: Payload) -> Iterator[Carried]:
    kind = component.get("type")
    match kind:
        case Kind.BUTTON:
            if not text_at(component, "custom_id").startswith(OUR_BUTTON):
                yield Carried(_button(component))
        case Kind.TEXT:
            yield Carried(text_at(component, "content"))
        case Kind.THUMBNAIL:
            yield from _of_item(component)
        case Kind.GALLERY:
            for item in dicts_of(component.get("items")):
                yield from _of_item(item)
        case Kind.FILE:
            yield _file_component(component)
        case Kind.ROW | Kind.SECTION | Kind.SEPARATOR | Kind.CONTAINER:
            pass
        case _:
            yield from _of_other(component)


def _button(button: Payload) -> str:
    label = text_at(button, "label") or text_at(dict_of(button.get("emoji")), "name")
    return f"[{_link(label, text_at(button, 'url'))}]" if label or text_at(button, "url") else ""


def _of_other(component: Payload) -> Iterator[Carried]:
    """Yield the words of a select, or of a component that came into being after this was written."""
    if text_at(component, "custom_id").startswith(OUR_BUTTON):
        return
    names = ("label", "placeholder", "title", "content", "description", "value")
    words = [text_at(component, name) for name in names]
    options = ", ".join(filter(None, (text_at(option, "label") for option in dicts_of(component.get("options")))))
    text = " ".join(filter(None, words))
    yield Carried(f"[{': '.join(filter(None, (text, options)))}]" if text or options else "")


def _of_item(item: Payload) -> Iterator[Carried]:
    media = dict_of(item.get("media"))
    is_video = text_at(media, "content_type").startswith("video/")
    yield _media(media, what="a video" if is_video else "a picture")
    yield _described(item)


def _file_component(component: Payload) -> Carried:
    media = dict_of(component.get("file"))
    shown = _media(media, what="a file")
    if shown.file is None:
        return shown
    size = component.get("size")
    name = text_at(component, "name") or shown.file.name
    return Carried(file=_shared(media, name=name, size=size))


def _media(media: Payload, *, what: str) -> Carried:
    """Return a file that was uploaded to Discord as a file; anything else that is shown cannot be read."""
    url = text_at(media, "url")
    return Carried(file=_shared(media, name=_name_in(url))) if url.startswith(_UPLOADS) else Carried(unread=what)


def _name_in(url: str) -> str:
    return unquote(url.partition("?")[0].rpartition("/")[2])


# --- files -----------------------------------------------------------------------------------------------------


def of_attachments(message: Payload) -> Iterator[Carried]:
    """Yield the attachments, and what people wrote to describe them."""
    is_voice = has_flag(message, VOICE_MESSAGE)
    for attachment in dicts_of(message.get("attachments")):
        name, description = _name_of(attachment), text_at(attachment, "description")
        yield Carried(
            text=f"({name or 'file'}: {description})" if description else "",
            file=_shared(attachment, name=name, size=attachment.get("size")),
            unread=_voice(attachment) if is_voice else "",
        )


def _name_of(attachment: Payload) -> str:
    """Return the name that people gave a file; `filename` lacks the letters that Discord does not take in addresses.

    https://discord.js.org/docs/packages/discord-api-types/main/v10/APIAttachment:Interface
    """
    name, title = text_at(attachment, "filename"), text_at(attachment, "title")
    ending = PurePosixPath(name).suffix
    return title + ("" if title.endswith(ending) else ending) if title else name


def _voice(attachment: Payload) -> str:
    seconds = attachment.get("duration_secs")
    is_known = isinstance(seconds, int | float) and 0 < seconds < 1_000_000
    return f"a voice message of {seconds:.0f} s" if is_known else "a voice message"


def _shared(attachment: Payload, *, name: str, size: object = 0) -> SharedFile:
    """https://docs.discord.com/developers/resources/message#attachment-object"""
    return SharedFile(
        name=name or "file",
        mime_type=text_at(attachment, "content_type").partition(";")[0].strip(),
        size=size if isinstance(size, int) else 0,
        reference=text_at(attachment, "url"),
    )


# --- the rest --------------------------------------------------------------------------------------------------


def of_poll(poll: Payload) -> str:
    """Return question and choices of a poll, with the votes where they are known; "" where there is none.

    https://docs.discord.com/developers/resources/poll#poll-object
    """
    if not poll:
        return ""
    votes = _votes(dict_of(poll.get("results")))
    lines = [f"Poll: {_poll_media(poll.get('question'))}"]
    for answer in dicts_of(poll.get("answers")):
        count = votes.get(text_at(answer, "answer_id"), "0 votes" if votes else "")
        lines.append(": ".join(filter(None, (f"- {_poll_media(answer.get('poll_media'))}", count))))
    if dict_of(poll.get("results")).get("is_finalized") is True:
        lines.append("(closed)")
    return "\n".join(lines)


def _votes(results: Payload) -> dict[str, str]:
    """Return the votes by the choice's id. Choices without votes are left out of the results."""
    counts = dicts_of(results.get("answer_counts"))
    return {text_at(each, "id"): _counted(text_at(each, "count")) for each in counts}


def _counted(count: str) -> str:
    return f"{count} vote{'' if count == '1' else 's'}" if count else ""


def _poll_media(media: object) -> str:
    shown = dict_of(media)
    return " ".join(filter(None, (text_at(dict_of(shown.get("emoji")), "name"), text_at(shown, "text"))))


def of_stickers(message: Payload) -> Iterator[str]:
    """Yield the names of the stickers. https://docs.discord.com/developers/resources/sticker"""
    for sticker in dicts_of(message.get("sticker_items")) or dicts_of(message.get("stickers")):
        yield f"[sticker: {name_line(text_at(sticker, 'name')) or 'without a name'}]"


def of_activity(message: Payload) -> Iterator[Carried]:
    """Yield what a message says about a game, a call or the looks of the app."""
    if dict_of(message.get("activity")):
        name = name_line(text_at(dict_of(message.get("application")), "name"))
        yield Carried(f"[invitation to {name}]" if name else "", unread="" if name else "an invitation")
    if dict_of(message.get("call")):
        yield Carried(unread="a call")
    if dict_of(message.get("shared_client_theme")):
        yield Carried(unread="a theme for the app")


def has_flag(message: Payload, flag: int) -> bool:
    """Return whether the message has that flag."""
    flags = message.get("flags")
    return isinstance(flags, int) and bool(flags & flag)
