"""One message with an answer in it: as Markdown, otherwise in a form that Slack takes. Ugly is better than lost."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from adapters.slack.errors import SlackRefusedError
from adapters.slack.render import notification, plain_blocks
from bot.text.split import split_markdown

log = structlog.stdlib.get_logger(__name__)

# What Slack says of the content of a message, which another form of it may not be refused with:
# https://docs.slack.dev/reference/methods/chat.postMessage#errors
TOO_LONG = frozenset(
    {"msg_too_long", "msg_blocks_too_long", "markdown_text_too_long", "attachment_payload_limit_exceeded"}
)
BAD_CONTENT = TOO_LONG | {
    "invalid_blocks",
    "invalid_blocks_format",
    "markdown_text_conflict",
    "block_mismatch",
    "invalid_attachments",
    "too_many_attachments",
    "no_text",
    "no_dual_broadcast_content_update",
}
# The page of chat.postMessage recommends 4,000 characters of text at most; escaped, three thousand stay below that.
PIECE_CHARS = 3_000


class Call(Protocol):
    """Calls a method of the Web API for one channel; raises AdapterError."""

    def __call__(self, method: str, **arguments: Any) -> Awaitable[dict[str, Any]]: ...


async def write(
    call: Call,
    method: str,
    text: str,
    blocks: Sequence[dict[str, Any]],
    *,
    before: Sequence[dict[str, Any]] = (),
    may_cut: bool = False,
    metadata: Mapping[str, Any],
    **details: Any,
) -> dict[str, Any]:
    """Write the text as `blocks`, or as plain text, or with `may_cut` as several messages; return Slack's last answer.

    `before` are blocks above the text. Only the last of several messages is marked with `metadata`.

    Raises:
        AdapterError: Slack refused every form, or failed.
    """
    for shown in (blocks, plain_blocks(text)):
        try:
            return await call(
                method, text=notification(text), blocks=[*before, *shown], metadata=dict(metadata), **details
            )
        except SlackRefusedError as error:
            if error.code not in BAD_CONTENT or (shown is not blocks and not may_cut):
                raise
            log.warning("blocks_refused", code=error.code, method=method, reasons=error.reasons)
    return await _write_pieces(call, method, text, metadata=metadata, **details)


async def _write_pieces(
    call: Call, method: str, text: str, *, metadata: Mapping[str, Any], **details: Any
) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    pieces = [piece for piece in split_markdown(text, max_chars=PIECE_CHARS) if piece.strip()] or ["(no text)"]
    for number, piece in enumerate(pieces, start=1):
        mark = {"metadata": dict(metadata)} if number == len(pieces) else {}
        answer = await call(method, text=notification(piece), **mark, **details)
    return answer
