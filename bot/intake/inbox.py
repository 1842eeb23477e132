"""The inbox: every event enters here; a message is stored before anybody is told that it arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import assert_never

from bot.domain.answers import CommandAnswer, Receipt
from bot.domain.errors import StoreError
from bot.domain.events import (
    CommandInvoked,
    DetailsAsked,
    Event,
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
)
from bot.domain.turns import TraceLine
from bot.intake.admission import Admission, RefusedError
from bot.ports.store import Revision, Store
from bot.ports.tools import Offer, Tools
from bot.turns.details import lines_of

MAX_WAITING = 20  # open turns in one conversation
# Open turns of this process on one platform: with 200 at once and 10 s for each, about two minutes of work. Who would
# have to wait longer is told at once.
MAX_OPEN = 2_000
# Slack opens a window only within 3 s of the click: https://docs.slack.dev/reference/methods/views.open
OFFER_WAIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """Takes events from all adapters, as the process `worker`."""

    worker: str
    store: Store
    admission: Admission
    command: Callable[[CommandInvoked], Awaitable[CommandAnswer]]
    wake: Callable[[], None]  # called when a turn is waiting to be run
    tools: Tools | None = None  # names the tools of details as their servers do; without it the model's names serve

    async def receive(self, event: Event) -> Receipt:
        """Return what became of the event; when this returns it is stored, answered or refused with a notice.

        Raises:
            StoreError: A message, or a change to one, could not be stored, or it could not be told whether it is for
                the bot. The platform must not be told that it arrived.
        """
        match event:
            case MessageReceived():
                return await self._accept(event) if await self._is_for_bot(event) else _IGNORED
            case MessageEdited():
                return await self._edit(event.message) if await self._is_for_bot(event.message) else _IGNORED
            case MessageDeleted():
                revision = await self.store.withdraw(event.event_key)
                return Receipt(turn_id=None, notice=_WITHDRAWN.get(revision, ""))
            case CommandInvoked():
                return await self._answer(event) if await self._is_for_bot(event) else _IGNORED
            case FeedbackGiven():
                return await self._rate(event)
            case DetailsAsked():
                return await self._show_details(event)
            case _:
                assert_never(event)

    async def _is_for_bot(self, event: MessageReceived | CommandInvoked) -> bool:
        return event.is_addressed or await self.store.takes_part(event.conversation)

    async def _accept(self, event: MessageReceived) -> Receipt:
        try:
            admitted = self.admission.admit(event)
        except RefusedError as error:
            if (known := await self.store.find(event.event_key)) is not None:
                return Receipt(turn_id=known, is_new=False)  # a late redelivery, which asks for nothing new
            return Receipt(turn_id=None, notice=str(error))
        receipt = await self.store.accept(admitted, worker=self.worker, max_waiting=MAX_WAITING, max_open=MAX_OPEN)
        if receipt.turn_id is None:
            return replace(receipt, notice=_why_full(receipt))
        if receipt.is_new:
            self.wake()
        return receipt

    async def _edit(self, message: MessageReceived) -> Receipt:
        try:
            admitted = self.admission.admit(message)
        except RefusedError as error:
            is_known = await self.store.find(message.event_key) is not None
            notice = f"The change is not taken, the message stays as it was. {error}" if is_known else ""
            return Receipt(turn_id=None, notice=notice)
        return Receipt(turn_id=None, notice=_EDITED.get(await self.store.edit(admitted), ""))

    async def _answer(self, event: CommandInvoked) -> Receipt:
        try:
            return Receipt(turn_id=None, answer=await self.command(event))
        except StoreError as error:
            return Receipt(turn_id=None, answer=CommandAnswer(text=str(error)))

    async def _rate(self, event: FeedbackGiven) -> Receipt:
        try:
            if not await self.store.is_turn_of(event.turn_id, event.conversation):
                return Receipt(turn_id=None, notice=_NOT_KNOWN)
            await self.store.rate(event.turn_id, author_id=event.author_id, rating=event.rating)
        except StoreError as error:
            return Receipt(turn_id=None, notice=str(error))
        return Receipt(turn_id=None, notice="Thank you, that is noted.")

    async def _show_details(self, event: DetailsAsked) -> Receipt:
        try:
            if not await self.store.is_turn_of(event.turn_id, event.conversation):
                return Receipt(turn_id=None, details=(), notice=_NOT_KNOWN)
            details, notice = await self._details(event.turn_id)
        except StoreError as error:
            return Receipt(turn_id=None, details=(), notice=str(error))
        return Receipt(turn_id=None, details=details, notice=notice)

    async def _details(self, turn_id: int) -> tuple[tuple[TraceLine, ...], str]:
        steps = await self.store.steps(turn_id)
        if not steps:
            return (), _NOTHING_KEPT
        is_over = bool(await self.store.outbox(turn_id))  # its answer is stored: no call runs any more
        lines = lines_of(steps, await self._offer(), is_over=is_over)
        return lines, "" if lines else "No tool was used for this answer."

    async def _offer(self) -> Offer:
        if self.tools is None:
            return Offer(tools=())
        try:
            async with asyncio.timeout(OFFER_WAIT_S):
                return await self.tools.offer()
        except TimeoutError:  # servers are starting; the names are not worth the wait
            return Offer(tools=())


_IGNORED = Receipt(turn_id=None, is_ignored=True)
_NOT_KNOWN = "This answer is not known here any more."
_NOTHING_KEPT = "Of this answer no tool calls are kept: they were forgotten with `clear`, or it has not begun yet."
_EDITED: dict[Revision, str] = {
    "started": "The answer is being worked on already and is to what the message said before the change. "
    "Send the change as a new message.",
    "ended": "The message was answered before it was changed. Send it as a new message to have it answered again.",
}
_WITHDRAWN: dict[Revision, str] = {"started": "The answer to the deleted message is being worked on. `stop` ends that."}


def _why_full(receipt: Receipt) -> str:
    if receipt.waits_behind >= MAX_WAITING:
        return f"{receipt.waits_behind} messages wait here already. Please send this one again when they are answered."
    return (
        f"More people ask than can be answered: {MAX_OPEN:,} messages wait in all conversations. "
        f"Please send this one again in about two minutes."
    )
