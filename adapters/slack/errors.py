"""What Slack's Web API refuses, as sentences for people; the code stays in an attribute, for the log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from slack_sdk.errors import SlackApiError

from bot.domain.errors import AdapterError
from bot.text.split import cut

MAX_REASONS = 3
REASON_CHARS = 160
MAX_MESSAGE_CHARS = 1_000
HTTP = "http_"  # before the status of a refusal that is not in Slack's form

# Slack's own temporary faults. With the first two, part of the operation may have been done:
# https://docs.slack.dev/reference/methods/chat.postMessage#errors
PASSING_CODES = frozenset(
    {
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "update_failed",
        "file_update_failed",
        "messaging_processing_failed",
    }
)
RATE_LIMIT_CODES = frozenset({"ratelimited", "rate_limited"})
TOKEN_CODES = frozenset({"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"})

_NOT_HERE = "I am not in this channel. Invite me with /invite and my name, then ask again."
_OUTDATED = (
    "The bot's token is no longer valid ({code}). Its operator has to reinstall the app in Slack, or set a new "
    "SLACK_BOT_TOKEN, and restart the bot."
)
_FORBIDDEN = (
    "The settings of this workspace do not allow that ({code}). Ask a workspace administrator, or try another channel."
)
_SENTENCES = {
    **dict.fromkeys(("not_in_channel", "channel_not_found"), _NOT_HERE),
    **dict.fromkeys(TOKEN_CODES, _OUTDATED),
    "not_allowed_token_type": (
        "Slack expects another kind of token here ({code}). SLACK_BOT_TOKEN begins with xoxb-, SLACK_APP_TOKEN with "
        "xapp-; the operator has to correct them and restart the bot."
    ),
    **dict.fromkeys(("restricted_action", "no_permission", "access_denied", "ekm_access_denied"), _FORBIDDEN),
    **dict.fromkeys(
        ("restricted_action_read_only_channel", "restricted_action_thread_only_channel"),
        "I may not write in this channel ({code}). Ask me in another channel, or in a direct message.",
    ),
    "restricted_action_non_threadable_channel": (
        "This channel allows no replies in threads. Ask me in another channel, or in a direct message."
    ),
    "message_limit_exceeded": "This workspace has used up its messages. Ask a workspace administrator.",
    "restricted_action_thread_locked": "This thread is locked. Ask me in a new one.",
    "is_archived": "This channel is archived. Unarchive it, or ask me in another channel.",
    "user_not_in_channel": "You are not in this channel, so I cannot show it to you there. Join it, then ask again.",
    "user_not_found": "Slack does not know that person, or hides them from me.",
    "message_not_found": "That message is gone. Ask again to get a new answer.",
    "thread_not_found": "That thread is gone. Ask again in the channel.",
    "cannot_reply_to_message": "Slack does not allow replies to that message. Ask again in a message of your own.",
    "edit_window_closed": "This workspace does not allow messages to be edited after some time.",
    **dict.fromkeys(
        ("file_upload_size_restricted", "file_too_large", "storage_limit_reached", "file_uploads_disabled"),
        "Slack does not accept the file: it is too big for this workspace, or the storage is full or closed ({code}).",
    ),
    **dict.fromkeys(("file_deleted", "file_not_found"), "That file is gone. Send it again."),
    **dict.fromkeys(
        ("msg_too_long", "msg_blocks_too_long", "markdown_text_too_long", "too_many_attachments"),
        "The message is longer than Slack takes ({code}). Ask for a shorter answer, or for several parts.",
    ),
    **dict.fromkeys(
        ("expired_trigger_id", "trigger_expired"),
        "The window took too long to open. Press the button again.",
    ),
    "messages_tab_disabled": "The app's messages tab is switched off. Its operator can switch it on under App Home.",
}


class SlackRefusedError(AdapterError):
    """Slack refused, and nothing was done; where `is_permanent` is false, part of it may have been done.

    `code` is Slack's error code (`http_STATUS` where something that is not Slack refused), `method` the Web API
    method, `needed` the missing scopes, if that is the reason, `reasons` what Slack says of single fields.
    """

    def __init__(self, *, method: str, code: str, needed: str = "", reasons: Sequence[str] = ()) -> None:
        super().__init__(_sentence(method, code, needed, reasons), is_permanent=code not in PASSING_CODES)
        self.reasons = tuple(reasons)
        self.method = method
        self.code = code
        self.needed = needed


class SlackUnreachableError(AdapterError):
    """Slack could not be reached, answered too late or gave no proper answer: the call may have taken effect."""


def error_body(error: SlackApiError) -> Mapping[str, Any]:
    """Return the JSON object that Slack refused with; empty where it sent none."""
    response: Any = error.response  # the SDK's, or aiohttp's own where the body is no JSON
    data: Any = getattr(response, "data", None)
    return cast("Mapping[str, Any]", data) if isinstance(data, dict) else {}


def error_code(error: SlackApiError) -> str:
    """Return Slack's error code; empty where it gave none."""
    return str(error_body(error).get("error", ""))


def error_reasons(error: SlackApiError) -> Sequence[str]:
    """Return what Slack says of single fields, such as "must be a string at blocks/0/text", without their values.

    https://docs.slack.dev/apis/web-api/#responses: `response_metadata.messages`, and `errors` for blocks and views.
    """
    body = error_body(error)
    metadata: Any = body.get("response_metadata")
    messages = cast("Mapping[str, Any]", metadata).get("messages") if isinstance(metadata, dict) else None
    told = (without_values(message) for message in (*_strings(messages), *_strings(body.get("errors"))))
    return tuple(dict.fromkeys(filter(None, told)))[:MAX_REASONS]


def _strings(given: object) -> Sequence[str]:
    return [item for item in cast("list[Any]", given) if isinstance(item, str)] if isinstance(given, list) else []


def without_values(message: str) -> str:
    """Return what a message of Slack says of a field, and of which, on one line: values may be people's words."""
    message = message[:MAX_MESSAGE_CHARS]
    field = re.search(r"\[json-pointer:/?([\w/-]{0,100})\]", message)
    words = re.sub(r"\[[^\]]*\]", " ", message)
    words = re.sub(r"""\"[^"]*\"?|'[^']*'?|`[^`]*`?|“[^”]*”?|\S+://\S+""", "…", words)
    words = re.sub(r":\s*(?![\w./-]{1,40}\s*$)[^\s].*", ": …", " ".join(words.split()))
    return cut(words, REASON_CHARS) + (f" at {field[1]}" if field and words else "")


def _sentence(method: str, code: str, needed: str, reasons: Sequence[str]) -> str:
    if code == "missing_scope":
        return (
            f"The app lacks the permission {needed or '(Slack does not say which)'} for {method}. Its operator adds it "
            f"in the app's settings under OAuth & Permissions, and reinstalls the app."
        )
    if code in PASSING_CODES:
        return f"Slack has trouble at the moment ({method}: {code}). Try again in a minute."
    if sentence := _SENTENCES.get(code):
        return sentence.format(code=code)
    if code.startswith(HTTP):
        return (
            f"Something between me and Slack refused {method} (HTTP {code.removeprefix(HTTP)}). The operator of the "
            f"bot has to look at its network, its proxy and SLACK_API_URL."
        )
    told = f" ({'; '.join(reasons)})" if reasons else ""
    return f"Slack refused {method}: {code}{told}."
