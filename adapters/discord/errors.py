"""What Discord's API refuses, as sentences for people; the code stays in an attribute, for the log."""

from __future__ import annotations

from bot.domain.errors import AdapterError

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
UNKNOWN_CHANNEL, UNKNOWN_MESSAGE, UNKNOWN_INTERACTION, ALREADY_ANSWERED = 10003, 10008, 10062, 40060
OLD_EDITS, MISSING_ACCESS, MISSING_PERMISSIONS = 30046, 50001, 50013
TOO_LARGE, NO_DIRECT_MESSAGES, NO_REPLIES = 40005, 50007, 160002  # the last: without Read Message History
ARCHIVED_THREAD, LOCKED_THREAD, THREAD_EXISTS, THREAD_CAP = 50083, 160005, 160004, 160006

_SENTENCES = {
    UNKNOWN_CHANNEL: "This channel or thread is not there any more. Ask me in another one.",
    UNKNOWN_MESSAGE: "That message is not there any more. Ask again.",
    UNKNOWN_INTERACTION: "Discord waited too long for my answer. Try it again.",
    MISSING_ACCESS: "I cannot see this channel. Somebody who manages it gives my role the permission View Channel.",
    MISSING_PERMISSIONS: "I lack a permission in this channel. Somebody who manages it gives my role {missing}.",
    NO_DIRECT_MESSAGES: "I may not write to you directly. Allow direct messages from this server in your settings.",
    ARCHIVED_THREAD: "This thread is archived. Open it again, then ask once more.",
    LOCKED_THREAD: "This thread is locked. Ask me in another one.",
    TOO_LARGE: "The file is bigger than Discord takes here. Ask for a smaller one, or for a part of it.",
}
_NEEDED = "Send Messages, Send Messages in Threads, Read Message History, Attach Files and Add Reactions"


class DiscordRefusedError(AdapterError):
    """Discord answered that it did not do it; `code` is Discord's own, 0 where it gave none."""

    def __init__(self, *, what: str, status: int, code: int, missing: str = "") -> None:
        sentence = _SENTENCES.get(code, f"Discord refused {what} ({status}, {code}).")
        super().__init__(sentence.replace("{missing}", missing or _NEEDED), is_permanent=True)
        self.what = what
        self.status = status
        self.code = code


class DiscordUnreachableError(AdapterError):
    """Discord could not be reached, or failed: what was asked for may be done."""
