"""What Discord's API refuses, as sentences for people; the code stays in an attribute, for the log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from bot.domain.errors import AdapterError

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
UNKNOWN_CHANNEL, UNKNOWN_MESSAGE, UNKNOWN_INTERACTION, ALREADY_ANSWERED = 10003, 10008, 10062, 40060
UNKNOWN_MEMBER, UNKNOWN_USER = 10007, 10013
OLD_EDITS, MISSING_ACCESS, MISSING_PERMISSIONS = 30046, 50001, 50013
ANNOUNCEMENT_EDITS, NOT_EDITABLE, SYSTEM_MESSAGE = 20022, 50005, 50021
NO_DIRECT_MESSAGES, NO_REPLIES, INVALID_FORM = 50007, 160002, 50035  # NO_REPLIES: without Read Message History
ARCHIVED_THREAD, LOCKED_THREAD, THREAD_EXISTS, THREAD_CAP = 50083, 160005, 160004, 160006
# Nothing can be written in a channel or thread that is refused so.
CLOSED = frozenset({MISSING_ACCESS, MISSING_PERMISSIONS, UNKNOWN_CHANNEL, ARCHIVED_THREAD, LOCKED_THREAD})
# A message that cannot be changed so may still be posted afresh.
UNCHANGEABLE = frozenset(
    {OLD_EDITS, ANNOUNCEMENT_EDITS, NOT_EDITABLE, SYSTEM_MESSAGE, ARCHIVED_THREAD, UNKNOWN_MESSAGE}
)
# Discord takes other words in the same place; these, sent again, are refused again.
EMPTY, BLOCKED_BY_RULE, HARMFUL_LINK = 50006, 200000, 240000
ABOUT_WORDS = frozenset({EMPTY, INVALID_FORM, BLOCKED_BY_RULE, HARMFUL_LINK})
TITLE_BLOCKED = 200001
# A message that is refused so is refused without its files too.
UNKNOWN_GUILD, UNSHARED, BAD_TOKEN, BLOCKED_BY_CLOUDFLARE = 10004, 50278, 50014, 40333
NOT_WRITABLE = (40058, 50008, 50024)
ABOUT_PLACE = frozenset(
    {
        *(UNKNOWN_CHANNEL, UNKNOWN_GUILD, MISSING_ACCESS, ARCHIVED_THREAD, LOCKED_THREAD, UNKNOWN_MESSAGE),
        *(NO_DIRECT_MESSAGES, UNSHARED, BAD_TOKEN, BLOCKED_BY_CLOUDFLARE, *NOT_WRITABLE),
    }
)
# These pass: the same request may be accepted a little later.
RATES = frozenset({20016, 20028, 20029, 40003, 40062})
OUT_OF_ORDER = frozenset({40004, 40006, 110001, 130000})
PASSING_STATUSES = frozenset({408, 425})  # https://www.rfc-editor.org/rfc/rfc9110#status.408, RFC 8470

_TOO_LARGE = "The file is larger than Discord accepts here. Ask for a smaller one, or for a part of it."
_BAD_FILE = "Discord does not accept the file. Ask for another format."
_NO_DIRECT_MESSAGES = "I cannot send you direct messages. Allow direct messages from this server in your settings."
_NOT_WRITABLE = "Nobody can write messages in this place. Ask me in a text channel."
_BUSY = "Discord takes no more messages here for a while. Ask again in a few minutes."
_OUT_OF_ORDER = "Discord has switched this off for a while. Ask again later."
_GONE = "This channel or thread is not there any more. Ask me in another one."
_SENTENCES: Mapping[int, str] = {
    UNKNOWN_CHANNEL: _GONE,
    UNKNOWN_GUILD: _GONE,
    UNKNOWN_MESSAGE: "That message is not there any more. Ask again.",
    UNKNOWN_INTERACTION: "My answer came too late for Discord. Try again.",
    20009: "Discord's filter for explicit content blocked the message.",
    30015: "The message has more files than Discord accepts.",
    40005: _TOO_LARGE,
    40007: "You are banned from this server, so I cannot write to you.",
    BLOCKED_BY_CLOUDFLARE: "Cloudflare, in front of Discord, blocked the message. Tell your operator.",
    MISSING_ACCESS: "I cannot see this channel. Someone who manages it has to give my role the View Channel "
    "permission.",
    EMPTY: "Discord took the message for an empty one.",
    NO_DIRECT_MESSAGES: _NO_DIRECT_MESSAGES,
    50009: "This server asks for a higher verification level than I have. Ask me elsewhere.",
    MISSING_PERMISSIONS: "I lack a permission in this channel. Someone who manages it has to give my role these: "
    "Send Messages, Send Messages in Threads, Read Message History, Attach Files and Add Reactions.",
    50033: _NO_DIRECT_MESSAGES,
    50045: _TOO_LARGE,
    50046: _BAD_FILE,
    ARCHIVED_THREAD: "This thread is archived. Reopen it, then ask again.",
    50110: _BAD_FILE,
    50123: _BAD_FILE,
    UNSHARED: "I cannot send you direct messages: we share no server.",
    LOCKED_THREAD: "This thread is locked. Ask me in another one.",
    BLOCKED_BY_RULE: "An AutoMod rule of this server blocked the message. Someone who manages the server can change "
    "the rule, or exempt my role from it.",
    HARMFUL_LINK: "Discord's filter for harmful links blocked the message.",
    400001: "Discord accepts no files in this server at the moment.",
    **dict.fromkeys(NOT_WRITABLE, _NOT_WRITABLE),
    **dict.fromkeys(RATES, _BUSY),
    **dict.fromkeys(OUT_OF_ORDER, _OUT_OF_ORDER),
}
_TOO_LARGE_STATUS = 413


class FormError(NamedTuple):
    """What Discord found wrong in a request: the field, its parts joined by dots, and Discord's word for the reason."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class DiscordRefusedError(AdapterError):
    """Discord refused a request, so it was not done; `code` is Discord's own, 0 where it gave none.

    `form_errors` says what is wrong in the request, without its values. It is permanent unless the code or the status
    says that the refusal passes.
    """

    def __init__(self, *, what: str, status: int, code: int, form_errors: tuple[FormError, ...] = ()) -> None:
        passes = code in RATES or code in OUT_OF_ORDER or (not code and status in PASSING_STATUSES)
        super().__init__(_sentence(status, code, form_errors), is_permanent=not passes)
        self.what = what
        self.status = status
        self.code = code
        self.form_errors = form_errors

    @property
    def is_about_words(self) -> bool:
        """Whether Discord takes other words in the same place."""
        return self.code in ABOUT_WORDS and (self.code != INVALID_FORM or self._names("content"))

    @property
    def is_about_reply(self) -> bool:
        """Whether Discord may take the message where it is no reply."""
        return self.code == NO_REPLIES or (self.code == INVALID_FORM and self._names("message_reference"))

    @property
    def may_be_about_files(self) -> bool:
        """Whether Discord may take the message without its files; most refusals do not say so."""
        if self.code == INVALID_FORM and self.form_errors:
            return self._names("attachments", "files")
        return not self.is_about_words and not self.is_about_reply and self.code not in ABOUT_PLACE

    @property
    def may_be_posted_afresh(self) -> bool:
        """Whether what was refused as a change may be taken as a new message; a relay may know no changes."""
        return self.code in UNCHANGEABLE or (not self.code and self.status in (404, 405))

    def _names(self, *fields: str) -> bool:
        return any(error.field.split(".")[0] in fields for error in self.form_errors)


class DiscordUnreachableError(AdapterError):
    """Discord could not be reached, or failed: what was asked for may have been done."""


def _sentence(status: int, code: int, form_errors: tuple[FormError, ...]) -> str:
    if code == INVALID_FORM and form_errors:
        return f"Discord does not accept the form of the message ({'; '.join(map(str, form_errors))})."
    if not code and status == _TOO_LARGE_STATUS:
        return _TOO_LARGE
    number = f", code {code}" if code else ""
    return _SENTENCES.get(code, f"Discord refused the request (HTTP {status}{number}).")


MAX_FORM_ERRORS, MAX_FORM_DEPTH = 3, 12
_FIELD_PART = re.compile(r"\w{1,60}", re.ASCII)
_REASON = re.compile(r"[A-Z][A-Z0-9_]{1,80}")


def read_form_errors(errors: Any) -> tuple[FormError, ...]:
    """Return the first few errors that the `errors` of a refusal name; "?" for a part that may hold what people wrote.

    https://docs.discord.com/developers/reference#error-messages
    """
    found = _walk(errors, ())
    return tuple(error for error, _ in zip(found, range(MAX_FORM_ERRORS), strict=False))


def _walk(errors: Any, path: tuple[str, ...]) -> Iterator[FormError]:
    if not isinstance(errors, dict) or len(path) > MAX_FORM_DEPTH:
        return
    for name, value in cast("dict[Any, Any]", errors).items():
        if name == "_errors":
            for error in cast("list[Any]", value) if isinstance(value, list) else []:
                reason = cast("dict[str, Any]", error).get("code") if isinstance(error, dict) else None
                yield FormError(".".join(path) or "form", _matching(_REASON, reason))
        else:
            yield from _walk(value, (*path, _matching(_FIELD_PART, name)))


def _matching(pattern: re.Pattern[str], word: Any) -> str:
    return word if isinstance(word, str) and pattern.fullmatch(word) else "?"
