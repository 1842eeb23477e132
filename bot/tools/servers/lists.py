"""What a tool server lists: its tools, and the prompts that serve as examples."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from mcp import Client, MCPError, types
from pydantic import ValidationError

from bot.domain.answers import Example
from bot.tools.servers.faults import fault_of
from bot.tools.servers.link import Link

_Page = TypeVar("_Page", bound=types.PaginatedResult)
_MAX_PAGES = 100  # of one list, in case a server never ends it
MAX_TOOLS = 2_000  # of one server
_MAX_EXAMPLES = 50  # each takes a request of its own
_MAX_EXAMPLE_CHARS = 4_000
_TOO_MANY = f"more than {MAX_TOOLS:,} tools are listed, so only those at the beginning are offered"
_ENDLESS = "its list of tools does not end, so only the beginning was read"
_GAP = "a part of its list of tools could not be read, so some may be missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The tools of a server, and what is missing of them."""

    tools: tuple[types.Tool, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])  # names of tools, with the reason
    gap: str = ""  # a phrase, where the list could not be read to its end


async def fetch_tools(client: Client, link: Link, *, page_s: float) -> Listed:
    """Return the tools of the server; none where it has no such list. Each page but the first may take `page_s`.

    A page that cannot be read ends the list; a connection that breaks raises.
    """
    if client.server_capabilities.tools is None:
        return Listed()
    pages, gap = await _fetch_pages(client.list_tools, page_s=page_s)
    tools: dict[str, types.Tool] = {}
    for page in pages:
        for tool in page.tools:
            tools.setdefault(tool.name, tool)
    if len(tools) > MAX_TOOLS:
        tools, gap = dict(islice(tools.items(), MAX_TOOLS)), gap or _TOO_MANY
    left_out = {name: why for name, why in link.left_out.items() if name not in tools}
    return Listed(tools=tuple(tools.values()), left_out=left_out, gap=gap)


async def has_resources(client: Client, *, page_s: float) -> bool:
    """Return whether there is anything that links can point to; False where that cannot be had."""
    if client.server_capabilities.resources is None:
        return False
    try:
        async with asyncio.timeout(page_s):
            if (await client.list_resources()).resources:
                return True
            return bool((await client.list_resource_templates()).resource_templates)
    except (TimeoutError, ValidationError):
        return False
    except MCPError as error:
        if fault_of(error) not in ("unclear", "refused"):
            raise
        return False


async def fetch_examples(client: Client, *, page_s: float) -> tuple[Example, ...]:
    """Return the server's prompts that need no arguments; one that cannot be read is left out."""
    if client.server_capabilities.prompts is None:
        return ()
    pages, _ = await _fetch_pages(client.list_prompts, page_s=page_s)
    prompts = {prompt.name: prompt for page in pages for prompt in page.prompts if not _needs_arguments(prompt)}
    found = [await _fetch_example(client, prompt) for prompt in islice(prompts.values(), _MAX_EXAMPLES)]
    return tuple(example for example in found if example.text)


async def _fetch_pages(fetch: Callable[..., Awaitable[_Page]], *, page_s: float) -> tuple[list[_Page], str]:
    """Return the pages that could be read, and what is missing."""
    pages = [await fetch()]
    cursors: set[str] = set()
    while cursor := pages[-1].next_cursor:
        if cursor in cursors or len(pages) >= _MAX_PAGES:
            return pages, _ENDLESS
        cursors.add(cursor)
        try:
            async with asyncio.timeout(page_s):
                pages.append(await fetch(cursor=cursor))
        except (TimeoutError, ValidationError):
            return pages, _GAP
        except MCPError as error:
            if fault_of(error) not in ("unclear", "refused"):
                raise
            return pages, _GAP
    return pages, ""


def _needs_arguments(prompt: types.Prompt) -> bool:
    return any(argument.required for argument in prompt.arguments or ())


async def _fetch_example(client: Client, prompt: types.Prompt) -> Example:
    title = prompt.title or prompt.name
    try:
        messages = (await client.get_prompt(prompt.name)).messages
    except ValidationError:
        return Example(title=title, text="")
    except MCPError as error:
        if fault_of(error) not in ("unclear", "refused"):
            raise
        return Example(title=title, text="")
    texts = (message.content.text for message in messages if message.role == "user" and message.content.type == "text")
    return Example(title=title, text=next(texts, "")[:_MAX_EXAMPLE_CHARS])
