"""What a tool server lists: its tools, and the prompts that serve as examples."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mcp import Client, types

from bot.domain.answers import Example

_Page = TypeVar("_Page", bound=types.PaginatedResult)
_MAX_PAGES = 100  # of one list, in case a server never ends it


async def fetch_tools(client: Client) -> tuple[types.Tool, ...]:
    """Return all tools of the server; none where it has no such list."""
    if client.server_capabilities.tools is None:
        return ()
    return tuple(tool for page in await _fetch_pages(client.list_tools) for tool in page.tools)


async def fetch_examples(client: Client) -> tuple[Example, ...]:
    """Return the server's prompts that need no arguments."""
    if client.server_capabilities.prompts is None:
        return ()
    prompts = [prompt for page in await _fetch_pages(client.list_prompts) for prompt in page.prompts]
    found = [await _fetch_example(client, prompt) for prompt in prompts if not _needs_arguments(prompt)]
    return tuple(example for example in found if example.text)


async def _fetch_pages(fetch: Callable[..., Awaitable[_Page]]) -> list[_Page]:
    pages = [await fetch()]
    while (cursor := pages[-1].next_cursor) and len(pages) < _MAX_PAGES:
        pages.append(await fetch(cursor=cursor))
    return pages


def _needs_arguments(prompt: types.Prompt) -> bool:
    return any(argument.required for argument in prompt.arguments or ())


async def _fetch_example(client: Client, prompt: types.Prompt) -> Example:
    messages = (await client.get_prompt(prompt.name)).messages
    texts = (message.content.text for message in messages if message.role == "user" and message.content.type == "text")
    return Example(title=prompt.title or prompt.name, text=next(texts, ""))
