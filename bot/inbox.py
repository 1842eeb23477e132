"""The inbox: every event enters here; a message is stored before anybody is told that it arrived."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import assert_never

from bot.access import Admission, RefusedError
from bot.errors import StoreError
from bot.events import CommandInvoked, Event, MessageReceived
from bot.ports import CommandAnswer, Receipt, Store

MAX_WAITING = 20  # open turns in one conversation


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
            StoreError: A message could not be stored. The platform must not be told that it arrived.
        """
        match event:
            case MessageReceived():
                return await self._accept(event)
            case CommandInvoked():
                return Receipt(turn_id=None, answer=await self._answer(event))
            case _:
                assert_never(event)

    async def _accept(self, event: MessageReceived) -> Receipt:
        try:
            admitted = self.admission.admit(event)
        except RefusedError as error:
            return Receipt(turn_id=None, notice=str(error))
        receipt = await self.store.accept(admitted, worker=self.worker, max_waiting=MAX_WAITING)
        if receipt.turn_id is None:
            notice = (
                f"{receipt.waits_behind} messages wait here already. Please send this one again when they are answered."
            )
            return replace(receipt, notice=notice)
        if receipt.is_new:
            self.wake()
        return receipt

    async def _answer(self, event: CommandInvoked) -> CommandAnswer:
        try:
            return await self.command(event)
        except StoreError as error:
            return CommandAnswer(text=str(error))
