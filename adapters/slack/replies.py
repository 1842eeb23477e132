"""What only one person sees: answers to commands and buttons, and notices about their messages."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.webhook.async_client import AsyncWebhookClient

from adapters.shared.buckets import Priority
from adapters.slack.api import SlackApi
from adapters.slack.kit import Blocks
from adapters.slack.own_messages import notice_mark
from adapters.slack.parse import conversation_key
from adapters.slack.presses import Pressed
from adapters.slack.render import notice_blocks, refused_blocks
from bot.domain.errors import BotError
from bot.domain.events import ConversationKey
from bot.text.moments import plain_moments

log = structlog.stdlib.get_logger(__name__)

RESPONSE_TIMEOUT_S = 30.0


class Replies:
    """Says things that only one person sees; never fails."""

    def __init__(self, api: SlackApi) -> None:
        self._api = api

    async def tell(self, conversation: ConversationKey, user: str, text: str, *, blocks: Blocks | None = None) -> None:
        """Say it to the person, in the thread; where Slack does not take it there, in a direct message.

        Without a text nothing is said.
        """
        if not text:
            return
        shown = blocks or notice_blocks(text)
        try:
            await self._api.call(
                "chat.postEphemeral",
                team=conversation.space,
                channel=conversation.channel,
                user=user,
                thread_ts=conversation.thread or None,
                text=plain_moments(text),
                blocks=shown,
            )
        except BotError as error:
            log.warning("reply_not_shown", error=str(error))
            await self._tell_directly(conversation, user, text, [*refused_blocks(conversation, "", str(error)), *shown])

    async def _tell_directly(self, conversation: ConversationKey, user: str, text: str, blocks: Blocks) -> None:
        team = conversation.space
        try:
            opened = await self._api.call("conversations.open", team=team, may_repeat=True, users=user)
            await self._api.call(
                "chat.postMessage",
                team=team,
                channel=str(opened["channel"]["id"]),
                text=plain_moments(text),
                # Buttons belong to the conversation: pressed here, they would be about another one.
                blocks=[block for block in blocks if block["type"] != "actions"],
                metadata=notice_mark("reply"),
                priority=Priority.PROGRESS,
                unfurl_links=False,
                unfurl_media=False,
            )
        except BotError as error:
            log.warning("reply_not_shown_directly", error=str(error))

    async def answer(self, pressed: Pressed, blocks: Blocks, text: str, *, thread: str) -> None:
        """Say it to the person who pressed, where it was pressed."""
        if pressed.response_url and await self.respond(
            pressed.response_url, blocks, text, replaces=False, thread=thread
        ):
            return
        await self.tell(conversation_key(pressed.team, pressed.channel, thread), pressed.user, text, blocks=blocks)

    async def respond(self, url: str, blocks: Blocks, text: str, *, replaces: bool, thread: str = "") -> bool:
        """Answer at a response URL and return whether Slack took it: it does five times within half an hour.

        https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
        """
        quiet = logging.getLogger(f"{__name__}.sdk")
        quiet.setLevel(logging.WARNING)  # below that it logs what it sends
        client = AsyncWebhookClient(url, session=self._api.session, retry_handlers=[], logger=quiet)
        body: dict[str, Any] = {
            "response_type": "ephemeral",
            "replace_original": replaces,
            "text": text,
            "blocks": blocks,
            **({"thread_ts": thread} if thread else {}),
        }
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):  # the session has no timeout of its own
                response = await client.send_dict(body)
        except (SlackClientError, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            log.warning("not_responded", error=type(error).__name__)
            return False
        if response.status_code != 200:
            log.warning("not_responded", status=response.status_code, answer=response.body[:100])
        return response.status_code == 200
