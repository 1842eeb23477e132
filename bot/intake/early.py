"""Follow-ups that overtake their thread's first question, which is on its way into another process.

A platform gives each message to any of the bot's processes, so the second message of a thread may be looked at before
the first one is stored. A follow-up without a mention is not for the bot then. In a young thread it is therefore kept
as a note, which outlives the process, and decided again as soon as the bot takes part there. The platform is told at
once that it arrived: Slack waits three seconds, and would deliver a message that is not acknowledged to the next
process, which knows as little.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import TypeAdapter, ValidationError

from bot.domain.answers import Accepted, Held, Ignored
from bot.domain.errors import BotError
from bot.domain.events import MessageReceived
from bot.ports.cluster import Cluster
from bot.ports.store import Store
from bot.ports.tasks import end_all
from bot.turns.lease import log_failure

log = structlog.stdlib.get_logger(__name__)

NOTES = "early/"
YOUNG = timedelta(seconds=30)  # threads whose first question may be on its way
HOLD_S = 10.0
STEP_S = 0.2  # how often to look whether the bot takes part
SWEEP_S = 10.0  # how often to look for what processes that died have left

Decide = Callable[[MessageReceived], Awaitable[Accepted]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    event: MessageReceived
    until: float  # seconds since the epoch: then it is decided in any case


_notes: TypeAdapter[_Note] = TypeAdapter(_Note)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyMessages:
    """Holds them; `decide` says what happens to a message now."""

    store: Store
    cluster: Cluster
    hold_s: float = HOLD_S
    sweep_s: float = SWEEP_S
    _held: dict[str, asyncio.Task[Accepted]] = field(default_factory=dict[str, asyncio.Task[Accepted]], init=False)

    async def may_be_early(self, event: MessageReceived) -> bool:
        """Return whether the question that it follows may be unknown yet. Raises StoreError."""
        if event.is_talk or event.is_addressed or event.author_kind != "person" or event.begun_at is None:
            return False
        is_young = datetime.now(UTC) - event.begun_at < YOUNG
        return is_young and len(await self.cluster.members(event.conversation.platform)) > 1

    async def hold(self, event: MessageReceived, decide: Decide) -> Held | Ignored:
        """Keep a message that seems not to be for the bot; nothing of one where the bot takes part.

        Raises:
            StoreError: It could not be kept.
        """
        if event.event_key not in self._held:
            if await self.store.takes_part(event.conversation):
                return Ignored()
            await self._keep(_Note(event=event, until=self.store.now() + self.hold_s))
            task = asyncio.create_task(self._decided(event, decide), name="early message")
            self._held[event.event_key] = task
            task.add_done_callback(lambda _: self._held.pop(event.event_key, None))
        return Held(outcome=self._held[event.event_key])

    async def revise(self, message: MessageReceived) -> bool:
        """Have it read as it was changed; return whether it is held, here or elsewhere. Raises StoreError."""
        while (text := await self._text(message.event_key)) is not None:
            kept = _notes.validate_json(text)
            revised = replace(kept, event=replace(message, is_addressed=kept.event.is_addressed))
            if await self.store.replace_note(_name(message.event_key), old=text, new=_written(revised)):
                return True
        return False  # also where it was decided or deleted in between

    async def drop(self, event_key: str) -> bool:
        """Forget it, as it was deleted; return whether it was held, here or elsewhere. Raises StoreError."""
        kept = await self._kept(event_key)
        if kept is not None:
            await self._forget(event_key)
        return kept is not None

    @asynccontextmanager
    async def working(self, decide: Decide) -> AsyncGenerator[None]:
        """Decide, while the context is open, what processes that died left; what is held at its end stays noted."""
        sweeping = asyncio.create_task(self._sweep(decide), name="early messages")
        try:
            yield
        finally:
            await end_all([sweeping, *self._held.values()])

    async def _decided(self, event: MessageReceived, decide: Decide) -> Accepted:
        """Return what happens to the message once the bot takes part, or the time is over."""
        until = asyncio.get_running_loop().time() + self.hold_s
        while asyncio.get_running_loop().time() < until and not await self._takes_part(event):  # noqa: ASYNC110
            await asyncio.sleep(STEP_S)
        return await self._decide_kept(event.event_key, decide)

    async def _takes_part(self, event: MessageReceived) -> bool:
        try:
            return await self.store.takes_part(event.conversation)
        except BotError:
            return False

    async def _decide_kept(self, event_key: str, decide: Decide) -> Accepted:
        """Decide on the message as it reads now, and forget it; where the store fails, the sweep does it later."""
        try:
            if (kept := await self._kept(event_key)) is None:
                return Ignored()  # deleted, or decided by another process
            outcome = await decide(kept.event)
            await self._forget(event_key)
        except BotError as error:
            log.warning("early_message_not_decided", message=event_key, error=str(error))
            return Ignored()
        return outcome

    async def _sweep(self, decide: Decide) -> None:
        while True:
            try:
                for name, text in (await self.store.notes(NOTES)).items():
                    await self._decide_left(name.removeprefix(NOTES), text, decide)
            except Exception as error:  # noqa: BLE001  (a loop that ends would leave them undecided)
                log_failure("early_messages_not_seen", error)
            await asyncio.sleep(self.sweep_s)

    async def _decide_left(self, key: str, text: str, decide: Decide) -> None:
        """Decide it where its time is over and nobody here holds it; one that cannot be read keeps no other waiting."""
        try:
            is_due = key not in self._held and _notes.validate_json(text).until < self.store.now()
        except ValidationError:
            log.warning("early_message_not_readable", message=key)
            return
        if is_due:
            log.info("early_message_found", message=key)
            await self._decide_kept(key, decide)

    async def _keep(self, note: _Note) -> None:
        await self.store.put_note(_name(note.event.event_key), _written(note))

    async def _kept(self, event_key: str) -> _Note | None:
        text = await self._text(event_key)
        return None if text is None else _notes.validate_json(text)

    async def _text(self, event_key: str) -> str | None:
        name = _name(event_key)
        return (await self.store.notes(name)).get(name)

    async def _forget(self, event_key: str) -> None:
        await self.store.put_note(_name(event_key), None)


def _name(event_key: str) -> str:
    return f"{NOTES}{event_key}"


def _written(note: _Note) -> str:
    return _notes.dump_json(note).decode()
