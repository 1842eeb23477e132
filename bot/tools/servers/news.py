"""When the lists of a server have changed: what it reports, at a pace that is its readers' own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mcp import Client, MCPError, types
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost

from bot.domain.backoff import Backoff
from bot.tools.servers.faults import fault_of
from bot.tools.servers.timing import Timing


class ListNews:
    """Calls `on_news` when the lists are to be read again. `follow` and `pass_on` run while the connection is up."""

    def __init__(self, timing: Timing, *, on_news: Callable[[], None]) -> None:
        self._timing = timing
        self._on_news = on_news
        self._has_news = asyncio.Event()

    async def on_message(self, message: IncomingMessage) -> None:
        """Take note of a message of the server."""
        if isinstance(message, types.ToolListChangedNotification | types.PromptListChangedNotification):
            self._has_news.set()

    async def follow(self, client: Client) -> None:
        """Subscribe to changes. Each begin and end of the server's stream is news: some may have been missed."""
        backoff = Backoff(first_s=1.0, max_s=self._timing.last_retry_s)
        ends = 0
        while True:
            try:
                async with client.listen(tools_list_changed=True, prompts_list_changed=True) as changes:
                    self._on_news()
                    async for _ in changes:
                        pass  # `on_message` gets them too
            except ListenNotSupportedError:
                return  # the older era: changes come without a subscription
            except MCPError as error:
                if fault_of(error) in ("refused", "turned_away"):
                    return  # it reports no changes
            except SubscriptionLost:
                pass
            self._on_news()
            ends += 1
            await asyncio.sleep(backoff.wait_s(ends))

    async def pass_on(self) -> None:
        """Pass changes on: at once the first time, with growing pauses while more keep coming."""
        backoff = Backoff(first_s=self._timing.list_pause_s, max_s=self._timing.last_retry_s)
        in_a_row = 0
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            self._on_news()
            await asyncio.sleep(backoff.wait_s(in_a_row + 1))
            in_a_row = in_a_row + 1 if self._has_news.is_set() else 0
