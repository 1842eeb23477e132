"""The words of budgets: how much is used and left, when it opens again. Times are moments (`bot/text/moments.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from bot.domain.budgets import MICRO, Limit, Measure, Used
from bot.text.counting import count
from bot.text.moments import moment, plain_moments

_PERIODS = {"day": "today", "month": "this month"}


def refusal(used: Sequence[Used], *, zone: tzinfo) -> str:
    """Return why nothing is taken: by the bound among those used up that opens last."""
    last = max(used, key=lambda one: one.bound.period.ends_at)
    return f"{_whose(last)} is used up{_so_far(last)}. It opens again on {moment(last.bound.period.ends_at, zone)}."


def persons_warning(used: Used, *, zone: tzinfo) -> str:
    """Return what a person reads of their own budget; in an answer, so by the operator's clocks."""
    if used.is_up:
        return plain_moments(refusal([used], zone=zone))
    return f"You have used {used.percent} % of {_lower(_whose(used))}{_so_far(used)}."


def operators_warning(used: Used, *, zone: tzinfo) -> str:
    """Return what operators read of the budget of a place or of all."""
    scope = "all conversations" if used.bound.limit.scope == "all" else f"the place `{_place(used)}`"
    state = "is used up" if used.is_up else f"is {used.percent} % used"
    opens = f" It opens again on {moment(used.bound.period.ends_at, zone)}." if used.is_up else ""
    amount = f"{amount_phrase(used.amount, used.bound.limit.measure)} of {limit_phrase(used.bound.limit)}"
    period = f"{_PERIODS[used.bound.limit.period]} ({used.bound.period.key})"
    return f"The budget of {scope} for {period} {state}: {amount}.{opens}"


def left_line(used: Used, *, zone: tzinfo, shows_amounts: bool) -> str:
    """Return what is left of a budget, as a phrase, with the time at which it begins again."""
    limit, opens = used.bound.limit, moment(used.bound.period.ends_at, zone)
    left = max(limit.amount - used.amount, 0)
    if not left:
        return f"used up until {opens}"
    if not shows_amounts:
        return f"{max(100 - used.percent, 1)} % left until {opens}"
    return f"{amount_phrase(left, limit.measure)} of {limit_phrase(limit)} left until {opens}"


def amount_phrase(amount: int, measure: Measure) -> str:
    """Return an amount with its unit."""
    match measure:
        case "turns":
            return count(amount, "turn")
        case "tokens":
            return count(amount, "token")
        case "usd":
            return dollars(amount)


def limit_phrase(limit: Limit) -> str:
    """Return the number of a limit, without its unit where an amount of the same unit is in front of it."""
    return dollars(limit.amount) if limit.measure == "usd" else f"{limit.amount:,}"


def dollars(micro_usd: int) -> str:
    """Return money; less than a cent is shown to a hundredth of one, and never as nothing unless it is."""
    if 0 < micro_usd < MICRO // 100:
        return f"${max(micro_usd, 100) / MICRO:.4f}"
    return f"${micro_usd / MICRO:,.2f}"


def _whose(used: Used) -> str:
    period = _PERIODS[used.bound.limit.period]
    match used.bound.limit.scope:
        case "person":
            return f"Your budget for {period}"
        case "place":
            return f"The budget of this place for {period}"
        case "all":
            return f"The bot's budget for {period}"


def _so_far(used: Used) -> str:
    """Return the numbers; what all have used is for operators."""
    if used.bound.limit.scope == "all":
        return ""
    return f" ({amount_phrase(used.amount, used.bound.limit.measure)} of {limit_phrase(used.bound.limit)})"


def _place(used: Used) -> str:
    return used.bound.name.removeprefix("place:").replace("`", "'")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
