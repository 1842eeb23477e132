"""Faults on demand: a refusal instead of an answer, or a stream that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from bot.domain.messages import UserMessage
from tests.fakes.openai.control import REFUSALS, STREAM_FAULTS, Fault, State
from tests.fakes.openai.strictness import RequestRefusedError
from tests.fakes.openai.wire import Wire, as_dict, as_list


class _CutError(Exception):
    """Raised while a response is under way, so that its connection is closed in the middle."""


def refuse(fault: Fault | None, body: dict[str, Any], wire: Wire) -> None:
    """Raise RequestRefusedError if the fault is a refusal that applies to this request."""
    if fault is None or not _applies(fault, body, wire):
        return
    status, kind, code, message = REFUSALS[fault.kind]
    param = {
        "reasoning_tools": "reasoning_effort",
        "context_too_long": "messages",
        "no_images": "messages.[0].content.[1].type",
    }.get(fault.kind)
    about = fault.tool if fault.kind == "tool" else wire.image_part
    refused = RequestRefusedError(message.format(about), status=status, kind=kind, code=code, param=param)
    if fault.kind == "rate_limit":
        refused.headers["Retry-After"] = f"{fault.retry_after_s:g}"
    raise refused


def _applies(fault: Fault, body: dict[str, Any], wire: Wire) -> bool:
    match fault.kind:
        case "content_filter":
            return fault.after_chunks is None  # otherwise it stops the answer, not the request
        case "reasoning_tools":  # the Responses API takes tools with reasoning
            return "messages" in body and bool(body.get("tools")) and body.get("reasoning_effort") != "none"
        case "no_images":
            return any(message.images for message in wire.messages(body) if isinstance(message, UserMessage))
        case "tool":
            return any(wire.tool(as_dict(tool)).get("name") == fault.tool for tool in as_list(body.get("tools")))
        case kind:
            return kind in REFUSALS


async def paced(
    content: Sequence[bytes], ending: Sequence[bytes], *, state: State, fault: Fault | None
) -> AsyncGenerator[bytes]:
    """Send the pieces at the pace that is set; a fault of the stream comes after its number of pieces of content."""
    fault = fault if fault and fault.kind in STREAM_FAULTS else None
    fault_at = min(1 if fault.after_chunks is None else fault.after_chunks, len(content)) if fault else -1
    first_token_s, chunk_s = state.first_token_s, state.chunk_s
    for at, piece in enumerate((*content, *ending)):
        if fault and at == fault_at:
            if fault.kind == "unfinished":
                return
            yield await _broken(fault.kind)
        if pause_s := chunk_s if at else first_token_s:
            await asyncio.sleep(pause_s)
        yield piece


async def _broken(kind: str) -> bytes:
    if kind == "cut":
        raise _CutError
    if kind == "stall":
        await asyncio.Event().wait()  # until the client leaves, which cancels this
    return b'data: {"choices": [\n\n'
