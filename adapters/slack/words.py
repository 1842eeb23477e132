"""The words, files and unread parts of any Slack message: own, quoted, forwarded, edited or missed; pure.

Texts are in Slack's markup: `adapters.slack.people` makes names and plain text of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.shared.payloads import Payload, dict_of, dicts_of
from adapters.slack.blocks import BlockWords, escaped, link, read_blocks
from adapters.slack.payloads import first_text, number_text, text_at, time_of
from bot.domain.events import AuthorKind, Quoted, Relation, SharedFile

MAX_DEPTH = 3  # of forwards within forwards
BEHIND_LINK = "the message behind a link"
# What Slack says where it cannot show a message in plain text; people never see it.
_FALLBACKS = frozenset(
    {"[no preview available]", "this content can't be displayed.", "this message contains interactive elements."}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a message says: `text` is its author's own, `quoted` are other messages that it shows.

    `unread` names what cannot be read, each in a few words.
    """

    text: str = ""
    quoted: tuple[Quoted, ...] = ()
    files: tuple[SharedFile, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def written(self) -> tuple[object, ...]:
        """What only its author changes; Slack itself adds previews of links."""
        return self.text, tuple(quoted for quoted in self.quoted if quoted.relation != "link"), self.files


def words_of(message: Payload, *, bot_user: str = "") -> Words:
    """Return the words of a message as events, histories and forwards have it; `bot_user` is the bot's own user."""
    return _words(message, bot_user, MAX_DEPTH)


def quoted_message(
    message: Payload, relation: Relation, *, author: str, author_id: str = "", kind: AuthorKind, bot_user: str
) -> Quoted:
    """Return a whole message as a quotation; what it shows of other messages becomes a part of its text."""
    words = words_of(message, bot_user=bot_user)
    return _quotation(words, relation, author=author, author_id=author_id, kind=kind, ts=message.get("ts"))


def _quotation(
    words: Words, relation: Relation, *, author: str, author_id: str, kind: AuthorKind, ts: object
) -> Quoted:
    shown = [f"{each.author or 'Someone'} wrote: {each.text}" for each in words.quoted if each.text]
    nested = [file for each in words.quoted for file in each.files]
    unread = [part for each in words.quoted for part in each.unread]
    return Quoted(
        relation=relation,
        text="\n\n".join(part for part in (words.text, *shown) if part),
        author=author,
        author_id=author_id if kind == "person" else "",
        nested_ids=tuple(filter(None, (one for each in words.quoted for one in (each.author_id, *each.nested_ids)))),
        author_kind=kind,
        sent_at=time_of(ts),
        reference=ts if isinstance(ts, str) else "",
        files=(*words.files, *nested),
        unread=(*words.unread, *unread),
    )


def _words(message: Payload, bot_user: str, depth: int) -> Words:
    blocks = read_blocks(message.get("blocks"))
    files = [_file(file) for file in dicts_of(message.get("files"))]
    attached = [_attachment(each, bot_user, depth) for each in dicts_of(message.get("attachments"))]
    text = _with_blocks(text_at(message, "text"), blocks)
    for part in (*attached, *files):
        if part.text and not _says(text, part.text):
            text = "\n\n".join(each for each in (text, part.text) if each)
    return Words(
        text=text,
        quoted=tuple(quoted for part in (*attached, *files) for quoted in part.quoted),
        files=tuple(file for part in (*files, *attached) for file in part.files),
        unread=tuple(
            dict.fromkeys(what for part in (*blocks, *attached, *files) for what in part.unread)  # each once
        ),
    )


# --- the text and the blocks say the same, or not -------------------------------------------------------------------


def _with_blocks(text: str, blocks: Sequence[BlockWords]) -> str:
    """Return what is said in both: people see the blocks; the text is Slack's or the app's short form of them."""
    text = "" if _is_fallback(text) else text
    found = [block.text for block in blocks if block.text]
    unsaid = [each for each in found if not _says(text, each)]
    if unsaid and _says("\n".join(found), text):
        return "\n\n".join(found)
    return "\n\n".join(part for part in (text, *unsaid) if part.strip())


def _is_fallback(text: str) -> bool:
    return text.strip().replace("\u2019", "'").casefold() in _FALLBACKS


def _says(text: str, part: str) -> bool:
    """Whether each line of the part is in the text, in the same order; marks and labels do not count."""
    said, at = f" {' '.join(_tokens(text))} ", 0
    for line in part.split("\n"):
        words = _tokens(line)
        if not words and line.strip() and line.strip() not in text:
            return False
        at = said.find(f" {' '.join(words)} ", at) if words else at
        if at < 0:
            return False
    return True


def _tokens(text: str) -> list[str]:
    text = re.sub(r"<!date\^[^<>|]*\|([^<>]*)>", r"\1", text)
    text = re.sub(r"(<[@#!][^<>|]*)\|[^<>]*>", r"\1>", text)  # labels of mentions
    text = re.sub(r"&(?:amp|lt|gt);", " ", text)
    text = re.sub(r"(?m)^[ \t]*(?:\d+[.)]|[a-z]{1,5}[.)]|[•◦▪])\s+", "", text)  # marks of lists
    return re.findall(r"\w+", text)


# --- attachments ---------------------------------------------------------------------------------------------------


def _attachment(attachment: Payload, bot_user: str, depth: int) -> Words:
    """Return what an attachment adds: a quotation where it shows another message or a page, else the author's words."""
    if not depth:
        return Words(unread=("a message within forwarded messages",))
    if attachment.get("is_share") is True:
        return _shown(attachment, "forward", bot_user, depth)
    if attachment.get("is_msg_unfurl") is True:
        return _shown(attachment, "link", bot_user, depth)
    if first_text(attachment, "from_url", "original_url"):
        return _preview(attachment)
    return _own(attachment)


def _shown(attachment: Payload, relation: Relation, bot_user: str, depth: int) -> Words:
    """https://github.com/slackapi/java-slack-sdk/issues/1179 and NousResearch/hermes-agent#75481 have the shapes."""
    messages = [dict_of(each.get("message")) for each in dicts_of(attachment.get("message_blocks"))]
    inner = [attachment, *messages]
    words = _words(
        {
            "text": text_at(attachment, "text"),
            "blocks": [block for each in inner for block in dicts_of(each.get("blocks"))],
            "attachments": [
                *(each for message in inner for each in dicts_of(message.get("attachments"))),
                {name: attachment.get(name) for name in ("pretext", "title", "title_link", "fields", "image_url")},
            ],
            "files": [file for each in inner for file in dicts_of(each.get("files"))],
        },
        bot_user,
        depth - 1,
    )
    if not (words.text or words.quoted or words.files or words.unread):
        words = _without_words(attachment, relation)
    user = text_at(attachment, "author_id")
    kind: AuthorKind = "self" if user and user == bot_user else "person" if user.startswith(("U", "W")) else "app"
    author = first_text(attachment, "author_name", "author_subname", "service_name") or user
    quoted = _quotation(words, relation, author=author, author_id=user, kind=kind, ts=attachment.get("ts"))
    return Words(quoted=(quoted,))


def _without_words(attachment: Payload, relation: Relation) -> Words:
    fallback = text_at(attachment, "fallback")
    if fallback and not _is_fallback(fallback):
        return Words(text=fallback)
    return Words(unread=("the forwarded message" if relation == "forward" else BEHIND_LINK,))


def _preview(attachment: Payload) -> Words:
    """https://docs.slack.dev/messaging/unfurling-links-in-messages"""
    own = _own(attachment)
    quoted = Quoted(
        relation="link",
        text=own.text,
        author=first_text(attachment, "service_name", "author_name"),
        author_kind="app",
        files=own.files,
        unread=own.unread,
    )
    return Words(quoted=(quoted,)) if own.text or own.files or own.unread else Words()


def _own(attachment: Payload) -> Words:
    """https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments"""
    blocks = read_blocks(attachment.get("blocks"))
    files = [_file(file) for file in dicts_of(attachment.get("files"))]
    parts = [
        text_at(attachment, "pretext"),
        text_at(attachment, "author_name"),
        link(text_at(attachment, "title_link"), text_at(attachment, "title")) if text_at(attachment, "title") else "",
        text_at(attachment, "text"),
        *(_field(field) for field in dicts_of(attachment.get("fields"))),
        *(block.text for block in blocks),
        *(file.text for file in files),
        text_at(attachment, "footer"),
        *(f"[{label}]" for each in dicts_of(attachment.get("actions")) if (label := text_at(each, "text"))),
    ]
    text = "\n".join(part for part in parts if part.strip() and not _is_fallback(part))
    fallback = text_at(attachment, "fallback")
    unread = [what for part in (*blocks, *files) for what in part.unread]
    unread += ["a picture"] if text_at(attachment, "image_url") else []
    unread += ["a video"] if text_at(attachment, "video_html") else []
    return Words(
        text=text or ("" if _is_fallback(fallback) else fallback),
        files=tuple(file for part in files for file in part.files),
        unread=tuple(unread),
    )


def _field(field: Payload) -> str:
    title, value = text_at(field, "title"), text_at(field, "value") or number_text(field.get("value"))
    return ": ".join(part for part in (title, value) if part.strip())


# --- files ---------------------------------------------------------------------------------------------------------

LATER = "transcript:"  # in place of an address: Slack is still making the transcript
_CLIPS: Mapping[str, str] = {"slack_audio": "a voice clip", "slack_video": "a video clip"}
# Slack's own documents. A canvas is a page at its private address: stablyai/agent-slack#19, rusq/slackdump#401.
_CANVAS, _LIST = "application/vnd.slack-docs", "application/vnd.slack-list"
# https://docs.slack.dev/reference/objects/file-object: of these no bytes can be had.
_GONE: Mapping[str, str] = {
    "tombstone": "a file that was deleted",
    "hidden_by_limit": "a file that the workspace's plan hides",
}


def _file(file: Payload) -> Words:
    """Return a file to be read, or the words that Slack's own files carry."""
    if gone := _GONE.get(text_at(file, "mode")):
        return Words(unread=(gone,))
    if file.get("file_access") == "access_denied":
        return Words(unread=(f"the file {_name(file)}, which I may not see",))
    if clip := _CLIPS.get(text_at(file, "subtype")):
        return _clip(file, clip)
    if text_at(file, "mode") == "email" or text_at(file, "filetype") == "email":
        return _email(file)
    if text_at(file, "mimetype") == _LIST or text_at(file, "filetype") == "list":
        return Words(unread=(f"the list {_name(file)}",))
    described = text_at(file, "alt_txt")  # what its author wrote for people who cannot see it
    return Words(
        text=escaped(f"({_name(file)}: {described})") if described.strip() else "",
        files=(shared_file(file),) if text_at(file, "id") or _address(file) else (),
    )


def shared_file(file: Payload) -> SharedFile:
    """Return where a file is; one of Slack Connect may have nothing but an id yet.

    https://docs.slack.dev/reference/objects/file-object#slack_connect_files
    """
    size = file.get("size")
    is_canvas = text_at(file, "mimetype") == _CANVAS
    address = first_text(file, "url_private", "url_private_download") if is_canvas else _address(file)
    return SharedFile(
        name=_name(file),
        mime_type="text/html" if is_canvas else text_at(file, "mimetype"),
        size=size if isinstance(size, int) and 0 <= size < 2**53 else 0,
        reference=f"{text_at(file, 'id')} {address}",
    )


def _name(file: Payload) -> str:
    return first_text(file, "name", "title", "id") or "file"


def _address(file: Payload) -> str:
    return first_text(file, "url_private_download", "url_private")


def _clip(file: Payload, clip: str) -> Words:
    """Return the transcript that Slack made, or where the rest of it is. It is in clients' code only.

    soxtoby/SlackNet#167 and shaharia-lab/slackcli#5 have the shapes; the preview of a longer one is cut.
    """
    transcription = dict_of(file.get("transcription"))
    preview = dict_of(transcription.get("preview"))
    words, status = text_at(preview, "content"), text_at(transcription, "status")
    pictures = [f"the pictures of {clip}"] if clip == _CLIPS["slack_video"] else []
    if status == "processing" and text_at(file, "id"):
        return Words(files=(_transcript(file, LATER),), unread=tuple(pictures))
    if status != "complete" or not words:
        return Words(unread=(f"{clip} (it has no transcript)",))
    if preview.get("has_more") is False:
        return Words(text=escaped(words), unread=tuple(pictures))
    if whole := text_at(file, "vtt"):
        return Words(files=(_transcript(file, whole),), unread=tuple(pictures))
    return Words(text=escaped(words), unread=(f"the rest of {clip}", *pictures))


def _transcript(file: Payload, address: str) -> SharedFile:
    name = f"{_name(file)} (transcript)"
    return SharedFile(name=name, mime_type="text/vtt", size=0, reference=f"{text_at(file, 'id')} {address}")


def _email(file: Payload) -> Words:
    """Return an e-mail that was sent into the channel: it is someone else's words."""
    senders: list[dict[str, Any]] = list(dicts_of(file.get("from")))
    author = first_text(senders[0], "name", "original", "address") if senders else ""
    subject = first_text(file, "subject", "title")
    body = first_text(file, "plain_text", "preview_plain_text", "simplified_html")
    text = "\n\n".join(escaped(part) for part in (subject, body) if part.strip())
    unread = ("an e-mail",) if not body else ()
    return Words(quoted=(Quoted(relation="forward", text=text, author=author, unread=unread),))
