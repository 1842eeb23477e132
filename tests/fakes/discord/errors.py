"""Discord's refusals: https://discord.com/developers/docs/topics/opcodes-and-status-codes#json."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

STATUSES: dict[int, tuple[int, str]] = {
    0: (401, "401: Unauthorized"),
    10003: (404, "Unknown Channel"),
    10004: (404, "Unknown Guild"),
    10007: (404, "Unknown Member"),
    10008: (404, "Unknown Message"),
    10013: (404, "Unknown User"),
    10014: (400, "Unknown Emoji"),
    10015: (404, "Unknown Webhook"),
    10062: (404, "Unknown interaction"),
    10063: (404, "Unknown application command"),
    20009: (400, "Explicit content cannot be sent to the desired recipient(s)"),
    20016: (429, "This action cannot be performed due to slowmode rate limit"),
    20022: (429, "This message cannot be edited due to announcement rate limits"),
    20024: (403, "Under minimum age"),
    20028: (429, "The write action you are performing on the channel has hit the write rate limit."),
    20029: (429, "The write action you are performing on the server has hit the write rate limit"),
    30007: (400, "Maximum number of webhooks reached (15)"),
    30010: (400, "Maximum number of reactions reached (20)"),
    30015: (400, "Maximum number of attachments in a message reached (10)"),
    30032: (400, "Maximum number of application commands reached (100)"),
    30033: (400, "Maximum number of thread participants has been reached (1000)"),
    30034: (400, "Maximum number of daily application command creates has been reached (200)"),
    30046: (429, "Maximum number of edits to messages older than 1 hour reached. Try again later"),
    40001: (401, "Unauthorized. Provide a valid token and try again"),
    40002: (403, "You need to verify your account in order to perform this action"),
    40003: (429, "You are opening direct messages too fast"),
    40004: (400, "Send messages has been temporarily disabled"),
    40005: (413, "Request entity too large"),
    40006: (400, "This feature has been temporarily disabled server-side"),
    40007: (403, "The user is banned from this guild"),
    40058: (400, "Cannot send a message in a forum channel"),
    40060: (400, "Interaction has already been acknowledged."),
    40062: (429, "Service resource is being rate limited."),
    40067: (400, "A tag is required to create a forum post in this channel"),
    40333: (403, "internal network error"),
    50001: (403, "Missing Access"),
    50002: (400, "Invalid account type"),
    50003: (403, "Cannot execute action on a DM channel"),
    50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50008: (400, "Cannot send messages in a non-text channel"),
    50009: (403, "Channel verification level is too high for you to gain access"),
    50013: (403, "Missing Permissions"),
    50014: (401, "Invalid authentication token provided"),
    50021: (403, "Cannot execute action on a system message"),
    50024: (400, "Cannot execute action on this channel type"),
    50027: (401, "Invalid Webhook Token"),
    50033: (400, "Invalid Recipient(s)"),
    50035: (400, "Invalid Form Body"),
    50045: (400, "File uploaded exceeds the maximum size"),
    50046: (400, "Invalid file uploaded"),
    50041: (400, "Invalid API version provided"),
    50055: (400, "Invalid Guild"),
    50067: (403, "Invalid request origin"),
    50068: (400, "Invalid message type"),
    50080: (400, "Cannot edit stickers within a message"),
    50081: (400, "Invalid sticker sent"),
    50083: (400, "Thread is archived"),
    50095: (403, "This server is not available in your location"),
    50101: (403, "This server needs more boosts to perform this action"),
    50109: (400, "The request body contains invalid JSON."),
    50110: (400, "The provided file is invalid."),
    50123: (400, "The provided file type is invalid."),
    50138: (400, "Failed to resize asset below the maximum size: 262144"),
    50146: (400, "Uploaded file not found."),
    50159: (400, "Voice messages do not support additional content."),
    50160: (400, "Voice messages must have a single audio attachment."),
    50161: (400, "Voice messages must have supporting metadata."),
    50162: (400, "Voice messages cannot be edited."),
    50173: (403, "You cannot send voice messages in this channel."),
    50178: (403, "The user account must first be verified"),
    50192: (400, "The provided file does not have a valid duration."),
    50278: (403, "Cannot send messages to this user due to having no mutual guilds"),
    50600: (403, "You do not have permission to send this sticker."),
    60003: (401, "Two factor is required for this operation"),
    110001: (400, "Application not yet available. Try again later"),
    130000: (400, "API resource is currently overloaded. Try again a little later"),
    160002: (400, "Cannot reply without permission to read message history"),
    160004: (400, "A thread has already been created for this message"),
    160005: (403, "This thread is locked"),
    160006: (400, "Maximum number of active threads reached"),
    160007: (400, "Maximum number of active announcement threads reached"),
    200000: (400, "Message was blocked by automatic moderation"),
    200001: (400, "Title was blocked by automatic moderation"),
    240000: (400, "Message blocked by harmful links filter"),
    400001: (400, "Access to file uploads has been limited for this guild"),
    520002: (400, "Invalid channel type for poll creation"),
    520003: (400, "Cannot edit a poll message"),
}
# Of them, those that a message that is posted or changed, or a direct message that is opened, can be refused with. The
# page has no statuses; those of messages are as people report them. It lacks 50278, which bots see in practice.
_OF_OTHERS = (0, 10007, 10014, 10015, 10062, 10063, 30007, 30010, 30032, 30034, 40060, 50027)
_OF_THREADS = (160004, 160006, 160007, 200001)
POSTING_CODES = tuple(code for code in STATUSES if code not in _OF_OTHERS + _OF_THREADS)


class DiscordError(Exception):
    """A refusal with its JSON error code and HTTP status."""

    def __init__(self, code: int, *, errors: Json | None = None) -> None:
        status, message = STATUSES[code]
        super().__init__(f"{code} {message}")
        self.code = code
        self.status = status
        self.body: Json = {"message": message, "code": code}
        if errors:
            self.body["errors"] = errors


def form_error(path: str, reason: str, message: str) -> DiscordError:
    """Return the 50035 that names the field; `path` has its parts joined by dots.

    https://discord.com/developers/docs/reference#error-messages
    """
    nested: Json = {"_errors": [{"code": reason, "message": message}]}
    for part in reversed(path.split(".")):
        nested = {part: nested}
    return DiscordError(50035, errors=nested)


def check_length(path: str, value: Any, *, least: int = 0, most: int) -> None:
    """Refuse a text that is too short or too long; lengths are counted in characters."""
    if not isinstance(value, str):
        raise form_error(path, "STRING_TYPE_CONVERT", "Could not interpret as string.")
    if len(value) > most:
        raise form_error(path, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
    if len(value) < least:
        raise form_error(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")


def check_count(path: str, values: Any, *, least: int = 0, most: int) -> None:
    """Refuse a list that has too few or too many items."""
    if not isinstance(values, list):
        raise form_error(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType.")
    if not least <= len(values) <= most:  # pyright: ignore[reportUnknownArgumentType]
        raise form_error(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")
