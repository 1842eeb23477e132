"""Who may use the bot where they write: checked on every way in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.domain.audit import AuditEntry
from bot.domain.people import Asker
from bot.domain.rights import Person
from bot.ports.rights import People, Policy
from bot.ports.rights_store import RightsStore
from bot.rights.guard import ACCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Asks the current policy; every refusal goes to the audit. `now` gives seconds since the epoch."""

    people: People
    policy: Callable[[], Policy]
    store: RightsStore
    now: Callable[[], float]

    async def why_not(self, asker: Asker, *, act: str, text: str = "") -> str:
        """Return why the asker may not do that here, as a sentence for them; empty where they may.

        `act` is what they do, in a word, for the audit; `text` is what they say. Raises StoreError.
        """
        reason = await self.why_not_here(asker) or self.why_not_read(text)
        if reason:
            await self.note(asker, kind="refused", outcome=act, rule=ACCESS)
        return reason

    async def why_not_here(self, asker: Asker) -> str:
        """Return why the asker may not use the bot here, as a sentence for them; empty where they may."""
        return self.policy().may_write(await self.people.writer(asker), asker.place)

    def why_not_read(self, text: str) -> str:
        """Return why the text is refused, as a sentence for its author; empty where it is not."""
        return self.policy().blocked(text) if text else ""

    async def is_operator(self, asker: Asker) -> bool:
        """Return whether the asker is an operator; anyone at the terminal has the database itself, so is one."""
        if asker.actor.platform == "console":
            return True
        return self._is_operator(await self.people.person(asker))

    async def is_in_charge(self, asker: Asker) -> bool:
        """Return whether the asker may act on what others asked here: a moderator or an operator."""
        return asker.standing.is_moderator or await self.is_operator(asker)

    async def note(
        self,
        asker: Asker,
        *,
        kind: str,
        outcome: str,
        rule: str = "",
        server: str = "",
        tool: str = "",
        once: str = "",
    ) -> None:
        """Append what the asker did, or was refused by the rule, to the audit; see `RightsStore.audit` for `once`.

        Raises StoreError.
        """
        entry = AuditEntry(
            kind="refused" if kind == "refused" else "act",
            at=self.now(),
            person=str(asker.actor),
            place=asker.place,
            server=server,
            tool=tool,
            rule=rule,
            outcome=outcome,
        )
        await self.store.audit([entry], once=once)

    def _is_operator(self, person: Person) -> bool:
        policy = self.policy()
        return policy.includes(policy.operators, person).is_in
