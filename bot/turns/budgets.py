"""Budgets of turns: what they cost is charged, what is used up is refused, and what soon will be is warned of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import structlog

from bot.domain.budgets import (
    ALL,
    Bound,
    BudgetWarning,
    Charge,
    Scope,
    Spent,
    Toll,
    Used,
    ledger_of,
    period_keys,
    periods_at,
    place_ledger,
)
from bot.domain.errors import BudgetError
from bot.domain.events import ConversationKey
from bot.domain.messages import ModelAnswer, Usage
from bot.domain.people import Asker
from bot.ports.budget_store import BudgetStore
from bot.ports.model import Model, ModelProgressSink, ModelRequest
from bot.ports.rights import BudgetRules, People, Policy
from bot.text.moments import plain_moments
from bot.turns.ask_places import channel_named
from bot.turns.budget_words import operators_warning, persons_warning, refusal

log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Budgets:
    """The budgets of the current policy. `now` gives seconds since the epoch."""

    store: BudgetStore
    policy: Callable[[], Policy]
    people: People
    now: Callable[[], float] = time.time
    _is_unpriced_told: bool = field(default=False, init=False)

    # --- charging ---

    def charge(self, asker: Asker, conversation: ConversationKey, usage: Usage) -> Charge | None:
        """Return what to charge for the tokens to the asker, the place and all; None where there are none."""
        if usage == Usage():
            return None
        self._note_unpriced(self.policy().budgets, usage)
        return self._charge(asker, conversation, Spent(usage=usage))

    def _charge(self, asker: Asker, conversation: ConversationKey, spent: Spent) -> Charge:
        return Charge(
            ledgers=(ledger_of(asker.actor), place_ledger(conversation), ALL),
            periods=period_keys(self.now(), self.policy().budgets.zone),
            spent=spent,
        )

    def _note_unpriced(self, rules: BudgetRules, usage: Usage) -> None:
        if usage.unpriced_tokens and rules.has_money and not self._is_unpriced_told:
            self._is_unpriced_told = True
            log.warning(
                "budget_in_usd_not_enforced", reason="no price of the model is known; see MODEL_PRICE_INPUT_USD"
            )

    # --- asking ---

    async def bounds(self, asker: Asker, conversation: ConversationKey) -> tuple[Bound, ...]:
        """Return the bounds that concern the asker there; none where nobody has any.

        Raises no BotError: a group whose members the platform does not name counts as empty.
        """
        policy = self.policy()
        rules = policy.budgets
        if rules.is_empty:
            return ()
        person = await self.people.writer(asker)
        accounts = policy.accounts_of(asker.actor)
        place = place_ledger(conversation)
        ledgers: Mapping[Scope, tuple[str, tuple[str, ...]]] = {
            "person": (f"person:{person.id}", tuple(ledger_of(account) for account in accounts)),
            "place": (place, (place,)),
            "all": (ALL, (ALL,)),
        }
        periods = {period.name: period for period in periods_at(self.now(), rules.zone)}
        return tuple(
            Bound(limit=limit, period=periods[limit.period], name=name, ledgers=counted)
            for limit in rules.limits_of(person, asker.place)
            for name, counted in (ledgers[limit.scope],)
        )

    async def is_exempt(self, asker: Asker) -> bool:
        """Return whether the asker is refused nothing."""
        policy = self.policy()
        if not policy.budgets.exempts_operators:
            return False
        if asker.actor.platform == "console":  # who is an operator there, as for commands
            return True
        return policy.includes(policy.operators, await self.people.writer(asker)).is_in

    async def toll(self, asker: Asker, conversation: ConversationKey) -> Toll:
        """Return what a question costs when it is taken."""
        bounds = () if await self.is_exempt(asker) else await self.bounds(asker, conversation)
        return Toll(charge=self._charge(asker, conversation, Spent(turns=1)), bounds=bounds)

    async def why_not(self, asker: Asker, conversation: ConversationKey) -> str:
        """Return why a question would not be taken now; "" where it would. Raises StoreError."""
        toll = await self.toll(asker, conversation)
        spent = [used for used in await self.store.used(toll.bounds) if used.is_up] if toll.bounds else []
        return self.refusal(spent) if spent else ""

    def refusal(self, used: Sequence[Used]) -> str:
        """Return why no question is taken and when one is again, as sentences; at least one of these is used up."""
        return refusal(used, zone=self.policy().budgets.zone)

    async def check(self, asker: Asker, conversation: ConversationKey) -> None:
        """Check that the model may be asked.

        Raises:
            BudgetError: A budget is used up; the sentence says which, and when it opens again.
        """
        bounds = [bound for bound in await self.bounds(asker, conversation) if bound.limit.measure != "turns"]
        if not bounds or await self.is_exempt(asker):  # the turn itself was counted when it was taken
            return
        if spent := [used for used in await self.store.used(bounds) if used.is_up]:
            raise BudgetError(plain_moments(self.refusal(spent)))

    async def usages(self, asker: Asker, conversation: ConversationKey) -> Usages:
        """Return what the asker, the place and all have used. Raises StoreError."""
        policy = self.policy()
        periods = period_keys(self.now(), policy.budgets.zone)
        accounts = [ledger_of(account) for account in policy.accounts_of(asker.actor)]
        return Usages(
            own=await self.store.spending(accounts, periods),
            place=await self.store.spending([place_ledger(conversation)], periods),
            all=await self.store.spending([ALL], periods),
            used=await self.store.used(await self.bounds(asker, conversation)),
            zone=policy.budgets.zone,
        )

    # --- warning ---

    async def warn(self, asker: Asker, conversation: ConversationKey, *, turn_id: int, held: Usage) -> Sequence[str]:
        """Return what the turn's answer says of the asker's own budgets, and have the others warned of elsewhere.

        `held` is what the turn has used and not charged yet. Each warning is given once in its period; asked for again,
        the same turn gets the same ones.
        """
        bounds = await self.bounds(asker, conversation)
        states = [
            Used(bound=one.bound, amount=one.amount + Spent(usage=held).of(one.bound.limit.measure))
            for one in (await self.store.used(bounds) if bounds else ())
        ]
        due = [warning for used in states for warning in self._warnings(used)]
        if not due:
            return ()
        ours = {_mark(one) for one in await self.store.warn(due, turn_id=turn_id)}
        zone = self.policy().budgets.zone
        return [persons_warning(used, zone=zone) for used in states if _is_among(used, ours)]

    def _warnings(self, used: Used) -> Sequence[BudgetWarning]:
        """Return the warnings for as far as it has come; only the last one is said."""
        bound = used.bound
        place = "" if bound.limit.scope == "person" else self._warn_in()
        if bound.limit.scope != "person" and not place:
            return ()
        text = operators_warning(used, zone=self.policy().budgets.zone) if place else ""
        return [
            BudgetWarning(
                name=bound.name,
                period=bound.period.key,
                measure=bound.limit.measure,
                percent=percent,
                place=place,
                text=text if percent == used.reached[-1] else "",
            )
            for percent in used.reached
        ]

    def _warn_in(self) -> str:
        place = channel_named(self.policy().budgets.warn_in)
        return "" if place is None else str(place)


_Mark = tuple[str, str, str, int]


def _mark(warning: BudgetWarning) -> _Mark:
    return warning.name, warning.period, warning.measure, warning.percent


def _is_among(used: Used, warnings: Set[_Mark]) -> bool:
    """Return whether the last warning for as far as it has come is one of these."""
    bound, reached = used.bound, used.reached
    return bool(reached) and (bound.name, bound.period.key, bound.limit.measure, reached[-1]) in warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class Usages:
    """What was used today and this month, in this order, and how much of each budget that concerns the asker."""

    own: Mapping[str, Spent]
    place: Mapping[str, Spent]
    all: Mapping[str, Spent]
    used: Sequence[Used]
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetedModel:
    """Satisfies `Model`: asks the model only where the budgets of the asker allow it."""

    model: Model
    budgets: Budgets
    asker: Asker
    conversation: ConversationKey

    @property
    def name(self) -> str:
        """See `Model`."""
        return self.model.name

    @property
    def refused_tools(self) -> Mapping[str, str]:
        """See `Model`."""
        return self.model.refused_tools

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """See `Model`. Raises BudgetError as well; a call that crosses a bound may finish."""
        await self.budgets.check(self.asker, self.conversation)
        return await self.model.complete(request, deadline=deadline, progress=progress)
