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
    30010: (400, "Maximum number of reactions reached (20)"),
    30032: (400, "Maximum number of application commands reached (100)"),
    30034: (400, "Maximum number of daily application command creates has been reached (200)"),
    30046: (429, "Maximum number of edits to messages older than 1 hour reached. Try again later"),
    40005: (413, "Request entity too large"),
    40060: (400, "Interaction has already been acknowledged."),
    50001: (403, "Missing Access"),
    50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50013: (403, "Missing Permissions"),
    50021: (403, "Cannot execute action on a system message"),
    50024: (400, "Cannot execute action on this channel type"),
    50027: (401, "Invalid Webhook Token"),
    50033: (400, "Invalid Recipient(s)"),
    50035: (400, "Invalid Form Body"),
    50083: (400, "Thread is archived"),
    50109: (400, "The request body contains invalid JSON."),
    160002: (400, "Cannot reply without permission to read message history"),
    160004: (400, "A thread has already been created for this message"),
    160005: (403, "This thread is locked"),
    160006: (400, "Maximum number of active threads reached"),
}


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
