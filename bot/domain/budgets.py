"""Budgets: how much may be used in a day or a month, what was used, and by whom it is counted.

The words, each with one meaning here and in the store: a *limit* is an entry of `[budgets]`; a *bound* is a limit in a
period, for one person, one place or all; a *ledger* is where use is counted; what was *spent* is added to ledgers as a
*charge*; a *toll* is the charge for taking a question, with the bounds that are looked at first; *used* is how much of
a bound is spent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from bot.domain.events import ConversationKey
from bot.domain.messages import Usage
from bot.domain.people import Actor

Scope = Literal["person", "place", "all"]
Measure = Literal["turns", "tokens", "usd"]
PeriodName = Literal["day", "month"]

MICRO = 1_000_000  # micro-dollars in a dollar
WARN_AT = (75, 95)  # percent
ALL = "all"  # the ledger of everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One entry of `[budgets]`: `amount` counts turns, tokens (input and output) or micro-dollars."""

    scope: Scope
    measure: Measure
    period: PeriodName
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A day or a month by the clocks of a time zone."""

    name: PeriodName
    key: str  # "2026-11-29", "2026-11"
    ends_at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A limit in a period that goes on, for one person, one place or all; what the `ledgers` have used counts together.

    `name` is the same for all accounts of a person.
    """

    limit: Limit
    period: Period
    name: str
    ledgers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Turns, and what was used in them."""

    turns: int = 0
    usage: Usage = field(default_factory=Usage)

    def __add__(self, other: Spent) -> Spent:
        return Spent(turns=self.turns + other.turns, usage=self.usage + other.usage)

    def of(self, measure: Measure) -> int:
        """Return how much of a measure that is, as a limit counts it."""
        match measure:
            case "turns":
                return self.turns
            case "tokens":
                return self.usage.input_tokens + self.usage.output_tokens
            case "usd":
                return self.usage.micro_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What is added to each of the ledgers, in each of the periods."""

    ledgers: tuple[str, ...]
    periods: tuple[str, ...]
    spent: Spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Toll:
    """What a question costs when it is taken; it is not taken where any of the bounds is used up."""

    charge: Charge
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """How much of a bound is used."""

    bound: Bound
    amount: int

    @property
    def is_up(self) -> bool:
        """Whether nothing is left."""
        return self.amount >= self.bound.limit.amount

    @property
    def percent(self) -> int:
        """How much is used, in percent, rounded down."""
        return self.amount * 100 // self.bound.limit.amount

    @property
    def reached(self) -> tuple[int, ...]:
        """The percentages at which it is warned of that are used, in order."""
        return tuple(percent for percent in WARN_AT if self.percent >= percent)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarning:
    """Says once in a period that a bound has come so far; `text` is posted in the `place` (`str(ConversationKey)`).

    Without a place, the turn that the warning belongs to says it.
    """

    name: str
    period: str
    measure: Measure
    percent: int
    place: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What the bot posts by itself, in no turn; `key` is the same each time the same notice is tried."""

    key: str
    place: ConversationKey
    text: str  # Markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class DueNotice:
    """A notice that this process is to post; `may_be_visible` where another one was about to post it when it died."""

    id: int
    notice: Notice
    may_be_visible: bool = False


def periods_at(at: float, zone: ZoneInfo) -> tuple[Period, Period]:
    """Return the day and the month of a time, in seconds since the epoch."""
    today = datetime.fromtimestamp(at, zone).date()
    day, month = period_keys(at, zone)
    tomorrow = today + timedelta(days=1)
    next_month = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (
        Period(name="day", key=day, ends_at=_midnight(tomorrow, zone)),
        Period(name="month", key=month, ends_at=_midnight(next_month, zone)),
    )


def period_keys(at: float, zone: ZoneInfo) -> tuple[str, str]:
    """Return only the keys of `periods_at`: to count what was used, it does not matter when the periods end."""
    day = datetime.fromtimestamp(at, zone).date().isoformat()
    return day, day[: len("2026-11")]


def _midnight(day: date, zone: ZoneInfo) -> float:
    """Return when a day begins. Where clocks skip midnight, the first moment after it is the same instant."""
    return datetime.combine(day, time(), zone).timestamp()


def ledger_of(actor: Actor) -> str:
    """Return the ledger of an account; those of one person are counted together where they are read."""
    return f"person:{actor}"


def place_ledger(conversation: ConversationKey) -> str:
    """Return the ledger of a place: a thread belongs to its channel, and each direct conversation is its own place."""
    if conversation.platform == "console":
        return f"place:{conversation.place}"
    return f"place:{conversation.platform}:{conversation.space}:{conversation.channel}"
