"""The inbox: every event enters here; a message is stored before anybody is told that it arrived."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import assert_never

from bot.access import Admission, RefusedError
from bot.errors import StoreError
from bot.events import CommandInvoked, Event, MessageDeleted, MessageEdited, MessageReceived
from bot.ports import CommandAnswer, Receipt, Revision, Store

MAX_WAITING = 20  # open turns in one conversation
# Open turns of this process on one platform: with 200 at once and 10 s for each, about two minutes of work. Who would
# have to wait longer is told at once.
MAX_OPEN = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """Takes events from all adapters, as the process `worker`."""

    worker: str
    store: Store
    admission: Admission
    command: Callable[[CommandInvoked], Awaitable[CommandAnswer]]
    wake: Callable[[], None]  # called when a turn is waiting to be run

    async def receive(self, event: Event) -> Receipt:
        """Return what became of the event; when this returns it is stored, answered or refused with a notice.

        Raises:
            StoreError: A message, or a change to one, could not be stored. The platform must not be told that it
                arrived.
        """
        match event:
            case MessageReceived():
                return await self._accept(event)
            case MessageEdited():
                return await self._edit(event.message)
            case MessageDeleted():
                revision = await self.store.withdraw(event.event_key)
                return Receipt(turn_id=None, notice=_WITHDRAWN.get(revision, ""))
            case CommandInvoked():
                return Receipt(turn_id=None, answer=await self._answer(event))
            case _:
                assert_never(event)

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

    async def _answer(self, event: CommandInvoked) -> CommandAnswer:
        try:
            return await self.command(event)
        except StoreError as error:
            return CommandAnswer(text=str(error))


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
