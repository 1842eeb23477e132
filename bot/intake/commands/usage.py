"""`/usage`: what the asker and the place have used, and what is left of the budgets that concern them."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.answers import CommandAnswer
from bot.domain.budgets import Spent, Used
from bot.domain.events import CommandInvoked
from bot.intake.access import Access
from bot.intake.commands.phrases import spent_phrase
from bot.ports.store import Store
from bot.turns.budget_words import left_line
from bot.turns.budgets import Budgets, Usages

_SCOPES = {"person": "Yours", "place": "This place's", "all": "The bot's"}
_PERIODS = {"day": "a day", "month": "a month"}
_UNPRICED = "; tokens without a known price are not counted"


async def describe_usage(store: Store, *, budgets: Budgets, access: Access, event: CommandInvoked) -> CommandAnswer:
    """Return it; what all have used is for operators. Raises StoreError."""
    usages = await budgets.usages(event.asker, event.conversation)
    is_operator = await access.is_operator(event.asker)
    lines: list[str] = []
    if not event.is_channel_wide:
        lines.append(f"- **This conversation**: {spent_phrase(await store.usage(event.conversation))}")
    own = _phrase(usages.own)
    lines.append(f"- **You**: {own}")
    if not event.conversation.is_direct:
        lines.append(f"- **This place**: {_phrase(usages.place)}")
    if is_operator:
        ever = spent_phrase(await store.usage())
        lines.append(f"- **All conversations**: {_phrase(usages.all)}; since the beginning {ever}")
    left = [_left(used, usages, is_operator=is_operator) for used in usages.used]
    if left:
        lines += ["", "**Budgets**", "", *left]
    return CommandAnswer(text="\n".join(lines), own_use=own)


def _phrase(spent: Mapping[str, Spent]) -> str:
    today, month = spent.values()
    return f"today {spent_phrase(today)}; this month {spent_phrase(month)}"


def _left(used: Used, usages: Usages, *, is_operator: bool) -> str:
    limit = used.bound.limit
    measure = {"turns": "turns", "tokens": "tokens", "usd": "money"}[limit.measure]
    left = left_line(used, zone=usages.zone, shows_amounts=limit.scope != "all" or is_operator)
    uncounted = _UNPRICED if limit.measure == "usd" and _spent(used, usages).usage.unpriced_tokens else ""
    return f"- {_SCOPES[limit.scope]}, {measure} {_PERIODS[limit.period]}: {left}{uncounted}"


def _spent(used: Used, usages: Usages) -> Spent:
    """Return all that was used of what the budget bounds."""
    by_scope = {"person": usages.own, "place": usages.place, "all": usages.all}
    return by_scope[used.bound.limit.scope][used.bound.period.key]
