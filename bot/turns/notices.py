"""The notice desk: posts the warnings of budgets where the operator wants them, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog

from bot.domain.budgets import DueNotice
from bot.domain.errors import AdapterError
from bot.ports.budget_store import BudgetStore
from bot.ports.platform import Adapter
from bot.ports.tasks import running
from bot.turns.lease import log_failure

log = structlog.stdlib.get_logger(__name__)

SWEEP_S = 2.0  # how often notices are looked for
POSTING_S = 45.0  # for one notice
RETRY_S = 60.0  # longer than that: a notice that is not marked by then is posted by no one now


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeDesk:
    """Works for the places that the adapters of this process serve."""

    store: BudgetStore
    adapters: Sequence[Adapter]
    sweep_s: float = SWEEP_S
    retry_s: float = RETRY_S

    def working(self) -> AbstractAsyncContextManager[None]:
        """Post notices while the context is open; what is not posted by then is posted by the next process."""
        return running(self._keep(), name="notices")

    async def _keep(self) -> None:
        while True:
            for adapter in self.adapters:
                try:
                    due = await self.store.due_notices(serves=[adapter.serves], retry_s=self.retry_s)
                    await asyncio.gather(*(self._post(one, adapter) for one in due))
                except Exception as error:  # noqa: BLE001  (a loop that ends would leave a process that warns no one)
                    log_failure("notices_not_read", error)
            await asyncio.sleep(self.sweep_s)

    async def _post(self, due: DueNotice, adapter: Adapter) -> None:
        """Post one; where that fails it is tried again after a minute, by whichever process."""
        try:
            async with asyncio.timeout(POSTING_S):
                found = await adapter.find_notice(due.notice) if due.may_be_visible else None
                reference = await adapter.post_notice(due.notice) if found is None else found.reference
        except TimeoutError:
            log.warning("notice_not_posted", place=str(due.notice.place), error="the platform did not answer in time")
        except AdapterError as error:
            log.warning("notice_not_posted", place=str(due.notice.place), error=str(error))
            if error.is_permanent:
                await self.store.mark_notice(due.id, reference="")
        else:
            await self.store.mark_notice(due.id, reference=reference)
