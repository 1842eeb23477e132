"""`[budgets]`: who may use how much, by which clocks, and where warnings go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from zoneinfo import ZoneInfo

from bot.domain.budgets import MICRO, Limit, Measure, PeriodName, Scope
from bot.domain.rights import Person
from bot.rights.notation import Crowd, Places, channel_of

UTC_ZONE = ZoneInfo("UTC")
_NOBODY, _NOWHERE = Crowd.of([]), Places.of([])


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """`[[budgets.override]]`: other limits for some people, or for some places."""

    people: Crowd = _NOBODY
    places: Places = _NOWHERE
    limits: tuple[Limit, ...] = ()  # of its scope; none: no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRules:
    """Satisfies the port of the same name."""

    zone: ZoneInfo = UTC_ZONE
    warn_in: str = ""
    exempts_operators: bool = False
    limits: tuple[Limit, ...] = ()
    for_people: tuple[Override, ...] = ()
    for_places: tuple[Override, ...] = ()

    @property
    def is_empty(self) -> bool:
        """As of the port."""
        return not (self.limits or self.for_people or self.for_places)

    @property
    def has_money(self) -> bool:
        """As of the port."""
        overrides = (*self.for_people, *self.for_places)
        limits = (*self.limits, *(limit for override in overrides for limit in override.limits))
        return any(limit.measure == "usd" for limit in limits)

    def limits_of(self, person: Person, place: str) -> Sequence[Limit]:
        """See the port. The first override that matches replaces the limits of its scope."""
        channel = channel_of(place)
        person_limits = next((one.limits for one in self.for_people if one.people.holds(person)), None)
        place_limits = next((one.limits for one in self.for_places if one.places.hold(channel)), None)
        return [
            *(self._of("person") if person_limits is None else person_limits),
            *(self._of("place") if place_limits is None else place_limits),
            *self._of("all"),
        ]

    def _of(self, scope: Scope) -> Sequence[Limit]:
        return [limit for limit in self.limits if limit.scope == scope]


_KEYS: Mapping[str, tuple[Measure, PeriodName]] = {
    f"{measure}_per_{period}": (measure, period)
    for measure in ("turns", "tokens", "usd")
    for period in ("day", "month")
}


def limits_from(bounds: Mapping[str, object], scope: Scope) -> tuple[Limit, ...]:
    """Return the limits of a table; its other keys say something else."""
    found = ((bounds[key], *meaning) for key, meaning in _KEYS.items() if bounds.get(key) is not None)
    return tuple(
        Limit(scope=scope, measure=measure, period=period, amount=_amount(value, measure))
        for value, measure, period in found
    )


def _amount(value: object, measure: Measure) -> int:
    number = Decimal(str(value)) * (MICRO if measure == "usd" else 1)
    return int(number.to_integral_value(ROUND_CEILING))


NO_BUDGETS = BudgetRules()
