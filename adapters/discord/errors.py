"""What Discord's API refuses, as sentences for people; the code stays in an attribute, for the log."""

from __future__ import annotations

from bot.domain.errors import AdapterError

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
UNKNOWN_CHANNEL, UNKNOWN_MESSAGE, UNKNOWN_INTERACTION, ALREADY_ANSWERED = 10003, 10008, 10062, 40060
OLD_EDITS, MISSING_ACCESS, MISSING_PERMISSIONS = 30046, 50001, 50013
TOO_LARGE, NO_DIRECT_MESSAGES, NO_REPLIES = 40005, 50007, 160002  # the last: without Read Message History
ARCHIVED_THREAD, LOCKED_THREAD, THREAD_EXISTS, THREAD_CAP = 50083, 160005, 160004, 160006
# Nothing can be written in a channel or thread that is refused so.
CLOSED = frozenset({MISSING_ACCESS, MISSING_PERMISSIONS, UNKNOWN_CHANNEL, ARCHIVED_THREAD, LOCKED_THREAD})

_SENTENCES = {
    UNKNOWN_CHANNEL: "This channel or thread is not there any more. Ask me in another one.",
    UNKNOWN_MESSAGE: "That message is not there any more. Ask again.",
    UNKNOWN_INTERACTION: "My answer came too late for Discord. Try again.",
    MISSING_ACCESS: "I cannot see this channel. Someone who manages it has to give my role the View Channel "
    "permission.",
    MISSING_PERMISSIONS: "I lack a permission in this channel. Someone who manages it has to give my role these: "
    "Send Messages, Send Messages in Threads, Read Message History, Attach Files and Add Reactions.",
    NO_DIRECT_MESSAGES: "I cannot send you direct messages. Allow direct messages from this server in your settings.",
    ARCHIVED_THREAD: "This thread is archived. Reopen it, then ask again.",
    LOCKED_THREAD: "This thread is locked. Ask me in another one.",
    TOO_LARGE: "The file is larger than Discord accepts here. Ask for a smaller one, or for a part of it.",
}


class DiscordRefusedError(AdapterError):
    """Discord refused a request, so it was not done; `code` is Discord's own, 0 where it gave none."""

    def __init__(self, *, what: str, status: int, code: int) -> None:
        super().__init__(_SENTENCES.get(code, f"Discord refused {what} ({status}, {code})."), is_permanent=True)
        self.what = what
        self.status = status
        self.code = code


class DiscordUnreachableError(AdapterError):
    """Discord could not be reached, or failed: what was asked for may have been done."""
