"""The words, files and unread parts of any message: a question, or one that is quoted, forwarded or chosen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from adapters.discord.carriers import (
    Carried,
    is_preview,
    of_activity,
    of_attachments,
    of_components,
    of_embed,
    of_poll,
    of_preview,
    of_stickers,
    site_of,
)
from adapters.discord.payloads import text_at, time_of
from adapters.discord.readable import Reader, display_name, people_in
from adapters.discord.snowflakes import made_at
from adapters.shared.payloads import Payload, dict_of, dicts_of
from bot.domain.events import AuthorKind, Quoted, Relation, SharedFile

# The types that have an author who wrote them: by people, and by apps that a command called.
# https://docs.discord.com/developers/resources/message#message-object-message-types
DEFAULT, REPLY, COMMAND, THREAD_STARTER, MENU_COMMAND = 0, 19, 20, 21, 23
POLL_RESULT = 46
WRITTEN = (DEFAULT, REPLY, COMMAND, MENU_COMMAND)  # a tuple: what a payload has for a type may not be hashable

NO_INTENT = "its words, for lack of the Message Content intent"
DELETED = "the message that it replies to, which was deleted"
NOT_FETCHED = "the message that it replies to, which Discord did not show"
NOTICE = "a notice of Discord's own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a message carries; `unread` is as of `bot.domain.events.Quoted`."""

    text: str
    files: tuple[SharedFile, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all."""
        return not (self.text or self.files or self.unread)


def own_words(message: Payload, reader: Reader) -> Words:
    """Return what the author of a message to the bot says by it: without the bot's mention, and nothing quoted."""
    found = _Collected(reader.knowing(message), people_in(message))
    found.add_text(reader.without_mention(text_at(message, "content")))
    found.add_all(each._replace(text=reader.without_mention(each.text)) for each in _carried(message))
    return found.words


def is_named_in(message: Payload, reader: Reader) -> bool:
    """Return whether the bot's mention is written in a message; one in a code block looks the same.

    Text components notify as the message's text does, embeds do not.
    https://docs.discord.com/developers/components/reference#text-display
    """
    written = [text_at(message, "content"), *(each.text for each in of_components(dicts_of(message.get("components"))))]
    return any(reader.without_mention(text) != text for text in written)


def quoted_by(message: Payload, reader: Reader) -> tuple[Quoted, ...]:
    """Return what a message points at by itself: what it replies to or forwards, and what its links lead to."""
    replied = dict_of(message.get("referenced_message"))
    people = {**people_in(message), **people_in(replied)}
    return (
        *([quoted(replied, "reply", reader, people=people)] if replied else []),
        *(_snapshot(each, reader, people) for each in _snapshots(message)),
        *(_preview(embed, reader) for embed in _embeds(message, are_previews=True) if any(of_preview(embed))),
    )


def quoted(
    message: Payload, relation: Relation, reader: Reader, *, title: str = "", people: Mapping[str, str] | None = None
) -> Quoted:
    """Return another message as a quotation, with all that it forwards; `title` is that of its forum post."""
    author = dict_of(message.get("author"))
    kind = author_kind(message, reader)
    words = _all_words(message, reader, people or people_in(message), title=title)
    return Quoted(
        relation=relation,
        text=words.text,
        author=display_name(author, dict_of(message.get("member"))) if author else "",
        author_kind=kind,
        author_id=text_at(author, "id") if kind == "person" else "",
        sent_at=time_of(message.get("timestamp")) or made_at(text_at(message, "id")),
        reference=text_at(message, "id"),
        files=words.files,
        unread=_why_empty(message, reader) if words.is_empty else words.unread,
    )


def unread_of_reply(message: Payload) -> tuple[str, ...]:
    """Return what is missing of a reply: the message that it answers, where that is deleted or not known."""
    if message.get("type") != REPLY or dict_of(message.get("referenced_message")):
        return ()
    return (DELETED if "referenced_message" in message else NOT_FETCHED,)


def lacks_what_it_answers(message: Payload, reader: Reader) -> bool:
    """Return whether a message is a person's reply that came without the message that it answers."""
    is_reply = message.get("type") == REPLY and "referenced_message" not in message
    return is_reply and author_kind(message, reader) == "person"


def author_kind(message: Payload, reader: Reader) -> AuthorKind:
    """Return who wrote a message: the bot, another bot or app, or a person."""
    author = dict_of(message.get("author"))
    if reader.bot_user and text_at(author, "id") == reader.bot_user:
        return "self"
    return "app" if author.get("bot") or message.get("webhook_id") else "person"


def reference_type(message: Payload) -> int:
    """Return whether a message replies to its reference (0) or forwards it (1)."""
    kind = dict_of(message.get("message_reference")).get("type")
    return kind if isinstance(kind, int) else 0


# --- collecting ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Collected:
    reader: Reader
    people: Mapping[str, str]
    keeps_ids: bool = False  # beside names
    _texts: list[str] = field(default_factory=list[str], init=False)
    _files: dict[str, SharedFile] = field(default_factory=dict[str, SharedFile], init=False)
    _unread: dict[str, None] = field(default_factory=dict[str, None], init=False)

    def add_text(self, text: str) -> None:
        if plain := self.reader.plain(text, self.people, keeps_ids=self.keeps_ids):
            self._texts.append(plain)

    def add(self, carried: Carried) -> None:
        self.add_text(carried.text)
        if carried.file is not None:  # an embed may show what is attached as well
            key = carried.file.reference.partition("?")[0] or str(len(self._files))
            self._files.setdefault(key, carried.file)
        if carried.unread:
            self._unread[carried.unread] = None

    def add_all(self, parts: Iterator[Carried]) -> None:
        for carried in parts:
            self.add(carried)

    def add_words(self, words: Words) -> None:
        """Add what was collected of another message."""
        self._texts += filter(None, [words.text])
        for file in words.files:
            self.add(Carried(file=file))
        self._unread |= dict.fromkeys(words.unread)

    @property
    def words(self) -> Words:
        return Words(text="\n".join(self._texts), files=tuple(self._files.values()), unread=tuple(self._unread))


def _carried(message: Payload) -> Iterator[Carried]:
    """Yield what a message carries besides its text, without previews and forwarded messages."""
    for embed in _embeds(message, are_previews=False):
        yield from of_embed(embed)
    yield from of_components(dicts_of(message.get("components")))
    yield Carried(of_poll(dict_of(message.get("poll"))))
    for sticker in of_stickers(message):
        yield Carried(sticker)
    yield from of_attachments(message)
    yield from of_activity(message)


def _embeds(message: Payload, *, are_previews: bool) -> list[dict[str, object]]:
    content, author = text_at(message, "content"), dict_of(message.get("author"))
    by_person = bool(author) and not (author.get("bot") or message.get("webhook_id"))
    embeds = dicts_of(message.get("embeds"))
    return [each for each in embeds if is_preview(each, content=content, by_person=by_person) == are_previews]


def _all_words(message: Payload, reader: Reader, people: Mapping[str, str], *, title: str = "") -> Words:
    found = _Collected(reader.knowing(message), people, keeps_ids=True)
    found.add_text(title)
    _add(found, message)
    for snapshot in _snapshots(message):
        found.add_text("[forwarded]")
        found.add_words(_words_of_snapshot(snapshot, reader, people))
    return found.words


def _words_of_snapshot(snapshot: Payload, reader: Reader, people: Mapping[str, str]) -> Words:
    found = _Collected(reader.knowing(snapshot), {**people, **people_in(snapshot)}, keeps_ids=True)
    _add(found, snapshot)
    return Words(text="", unread=_why_empty(snapshot, reader)) if found.words.is_empty else found.words


def _add(found: _Collected, message: Payload) -> None:
    found.add_text(text_at(message, "content"))
    for embed in _embeds(message, are_previews=True):
        found.add_text("\n".join(filter(None, of_preview(embed))))
    found.add_all(_carried(message))


def _snapshots(message: Payload) -> list[dict[str, object]]:
    """https://docs.discord.com/developers/resources/message#message-snapshot-object"""
    snapshots = (dict_of(each.get("message")) for each in dicts_of(message.get("message_snapshots")))
    return [snapshot for snapshot in snapshots if snapshot]


def _snapshot(message: Payload, reader: Reader, people: Mapping[str, str]) -> Quoted:
    """Return a forwarded message; who wrote it is not said."""
    return quoted(message, "forward", reader, people={**people, **people_in(message)})


def _preview(embed: Payload, reader: Reader) -> Quoted:
    text = "\n".join(filter(None, of_preview(embed)))
    return Quoted(relation="link", text=reader.plain(text, {}), author=site_of(embed), author_kind="app")


def _why_empty(message: Payload, reader: Reader) -> tuple[str, ...]:
    if message.get("type", DEFAULT) not in WRITTEN:
        return (NOTICE,)
    is_hidden = not reader.reads_content and author_kind(message, reader) != "self"
    return (NO_INTENT,) if is_hidden else ()
