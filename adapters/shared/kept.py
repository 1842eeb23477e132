"""References of messages that change: the next process ends what this one began, also where it may not read.

Those of answers that grow are kept before people read them, those of traces as soon as they are posted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from bot.domain.errors import AdapterError, BotError
from bot.ports.platform import KeptKind, kept_notes
from bot.ports.store import NoteStore

log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class KeptMessages:
    """Those of one turn, by the number of the part of the answer, or of the message of the trace.

    What fails at the store raises AdapterError.
    """

    notes: NoteStore
    platform: str
    turn_id: int
    kind: KeptKind = "live"
    _numbers: set[int] = field(default_factory=set[int], init=False)

    async def keep(self, number: int, reference: str) -> None:
        """Keep the reference of a part, over the end of the process."""
        self._numbers.add(number)
        await self._put(number, reference)

    async def read(self) -> Mapping[int, str]:
        """Return what was kept of the turn, by this process or one before."""
        found = {int(name): reference for name, reference in (await self._read(self._prefix)).items()}
        self._numbers.update(found)
        return found

    async def of_others(self) -> frozenset[str]:
        """Return the references that were kept of other turns."""
        kept = await self._read(kept_notes(self.platform, self.kind))
        return frozenset(ref for name, ref in kept.items() if not name.startswith(f"{self.turn_id}/"))

    async def forget(self) -> None:
        """Forget them: they have come to their ends. Never raises AdapterError: what stays does no harm."""
        try:
            for number in sorted(self._numbers):
                await self._put(number, None)
        except AdapterError as error:
            log.warning("kept_messages_not_forgotten", error=str(error))
        self._numbers.clear()

    @property
    def _prefix(self) -> str:
        return f"{kept_notes(self.platform, self.kind)}{self.turn_id}/"

    async def _put(self, number: int, reference: str | None) -> None:
        try:
            await self.notes.put_note(f"{self._prefix}{number}", reference)
        except BotError as error:
            raise AdapterError(str(error)) from error

    async def _read(self, prefix: str) -> Mapping[str, str]:
        try:
            notes = await self.notes.notes(prefix)
        except BotError as error:
            raise AdapterError(str(error)) from error
        return {name.removeprefix(prefix): reference for name, reference in notes.items()}
