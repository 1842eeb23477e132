"""The loopback Slack in a process of its own, so that its work is not counted: it asks, and says how long it took.

`python -m tests.bench.slack_server` prints its address. `POST /control/ask` with `{"questions": N, "text": TEXT,
"at_once": BOOL}` asks each question in a channel of its own and answers with what was seen, in seconds. With
`"is_burst": true` all of them are mentions in one new channel, which takes `"posts_at_once"` messages at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from aiohttp import web

from tests.bench.servers import serve_control
from tests.fakes.slack import FakeSlack
from tests.fakes.slack.world import Call

WAIT_S = 100.0
SIGNS = ("agents.sessions.setStatus", "assistant.threads.setStatus", "chat.postMessage", "chat.startStream")


class Asker:
    """Someone who asks, and looks at a clock."""

    def __init__(self, slack: FakeSlack) -> None:
        self._slack = slack
        self._numbers = count(1)
        slack.add_user("U1", name="ada", display_name="Ada")

    async def ask(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        self._slack.calls.clear()
        self._slack.acks.clear()
        self._slack.rates.posts_at_once = wanted.get("posts_at_once")
        if wanted.get("is_burst"):
            return web.json_response(await self._burst(wanted["text"], wanted["questions"]))
        if wanted["at_once"]:
            threads = await asyncio.gather(*(self._say(wanted["text"]) for _ in range(wanted["questions"])))
            await asyncio.gather(*(self._answered(thread) for thread in threads))
        else:
            threads = []
            for _ in range(wanted["questions"]):
                threads.append(await self._say(wanted["text"]))
                await self._answered(threads[-1])
        return web.json_response(self._seen(threads))

    async def _burst(self, text: str, questions: int) -> dict[str, Any]:
        channel, began_at = self._new_channel(), time.monotonic()
        says = (self._slack.say(channel, "U1", text, mention=True) for _ in range(questions))
        roots = await asyncio.gather(*says)
        await self._slack.until(lambda: all(self._has_answer(channel, root) for root in roots), timeout_s=WAIT_S)
        posts = self._slack.calls_of("chat.postMessage")
        return {
            "last_answer_s": max(call.at for call in posts if call.ok) - began_at,
            "refused": sum(call.status == 429 for call in posts),
        }

    def _new_channel(self) -> str:
        channel = f"C{next(self._numbers)}"
        self._slack.add_channel(channel, members=["U1"])
        return channel

    async def _say(self, text: str) -> tuple[str, str]:
        channel = self._new_channel()
        return channel, await self._slack.say(channel, "U1", text, mention=True)

    async def _answered(self, thread: tuple[str, str]) -> None:
        await self._slack.until(lambda: self._has_answer(*thread) and self._rests(thread), timeout_s=WAIT_S)

    def _has_answer(self, channel: str, root: str) -> bool:
        marks = (message.metadata or {} for message in self._slack.visible(channel, root))
        return any(mark.get("event_type") == "toolbridge_post" for mark in marks)

    def _rests(self, thread: tuple[str, str]) -> bool:
        """Return whether the work is over; the session of a quick answer never began."""
        statuses = [call.arguments["status"] for call in self._calls_in(thread) if "status" in call.arguments]
        return not statuses or statuses[-1] == "active"

    def _calls_in(self, thread: tuple[str, str]) -> Sequence[Call]:
        return [
            call
            for call in self._slack.calls
            if thread[0] in (call.arguments.get("channel"), call.arguments.get("channel_id"))
        ]

    def _seen(self, threads: Sequence[tuple[str, str]]) -> dict[str, Any]:
        sent = {
            delivery.event["channel"]: delivery.sent_at[0]
            for delivery in reversed(self._slack.acks)
            if delivery.event.get("user") == "U1" and delivery.sent_at
        }
        signs = [
            next(call.at for call in self._calls_in(thread) if call.method in SIGNS) - sent[thread[0]]
            for thread in threads
        ]
        return {
            "acknowledged_s": [
                delivery.latency_s for delivery in self._slack.acks if delivery.event.get("user") == "U1"
            ],
            "first_sign_s": signs,
            "calls": sum(len(self._calls_in(thread)) for thread in threads),
        }


async def main() -> None:
    async with FakeSlack() as slack:
        slack.api.echo = False
        asker = Asker(slack)
        await serve_control(asker.ask, slack.api_url)


if __name__ == "__main__":
    asyncio.run(main())
