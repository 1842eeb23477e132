"""Which tools an endpoint refuses where its refusal names none: found by sending it some of them.

Gemini says no more than "Request contains an invalid argument."
(https://github.com/tanaikech/ToolsForMCPServer/issues/13); llama.cpp "failed to parse grammar", for one tool or for all
of them together (https://github.com/ggml-org/llama.cpp/issues/25895).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from bot.domain.messages import ToolSpec
from bot.models.refusals import Refusal

MAX_NARROWINGS = 3  # for one question; each finds one tool, with about as many requests as 128 can be halved

Takes = Callable[[Sequence[ToolSpec]], Awaitable[bool]]

_ABOUT_TOOLS = re.compile(r"\btools?\b|\bfunctions?\b|function_declarations|schema|grammar", re.IGNORECASE)
_ABOUT_NOTHING = re.compile(r"^\W*$|^(?:bad|invalid) request\W*$|\binvalid argument\b\W*$", re.IGNORECASE)


def may_be_about_tools(refusal: Refusal) -> bool:
    """Return whether the tools of a request may be what is refused, though none is named."""
    if refusal.is_filtered or refusal.is_too_long or refusal.is_out_of_quota or refusal.is_busy:
        return False
    if refusal.param and not refusal.param.startswith(("tools", "functions")):
        return False
    if refusal.status in (400, 422) and _ABOUT_NOTHING.search(refusal.message):
        return True
    return refusal.status in (0, 400, 422, 500) and bool(_ABOUT_TOOLS.search(f"{refusal.param} {refusal.message}"))


async def find_refused(tools: Sequence[ToolSpec], takes: Takes) -> Sequence[ToolSpec]:
    """Return the tools without which the endpoint takes the others; none where the tools are not at fault.

    That is the first one that it does not take by itself. Where it takes each by itself, it is given too much: then
    those go for which there is no room after the ones before. `takes` says whether it takes a request with these tools.
    """
    if not tools or await takes(tools) or not await takes(()):
        return ()
    taken, refused = 0, len(tools)  # so many of the first ones
    while refused - taken > 1:
        middle = (taken + refused) // 2
        if await takes(tools[:middle]):
            taken = middle
        else:
            refused = middle
    suspect = tools[taken : taken + 1]
    return tools[taken:] if taken and await takes(suspect) else suspect
