"""The ports of rights: what the policy says, who belongs to which group, and the guard before every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from bot.domain.asks import ApprovalAsk
from bot.domain.budgets import Limit
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolSpec
from bot.domain.people import Actor, Asker, Standing
from bot.domain.rights import Facts, Person, PlaceSettings, Ruling, Tool, Verdict
from bot.ports.tools import Resumed


class Policy(Protocol):
    """One `toolbridge.toml` (or the defaults, without one), validated. Pure: it does no I/O and never changes."""

    @property
    def operators(self) -> Sequence[str]:
        """The people and @groups that are operators, as the file names them."""
        ...

    @property
    def apps(self) -> Sequence[str]:
        """The bots, workflows and apps that may ask, as the file names them."""
        ...

    def decide(self, facts: Facts) -> Ruling:
        """Return what the first rule that matches says, or else the defaults."""
        ...

    def prospect(self, person: Person, place: str, tool: Tool) -> Verdict | Literal["depends"]:
        """Return what a call of the tool would be met with; "depends" where that hangs on its arguments or the time."""
        ...

    def may_write(self, person: Person, place: str) -> str:
        """Return why the person may not use the bot in the place, as a sentence for them; empty where they may."""
        ...

    def blocked(self, text: str) -> str:
        """Return why the text is refused, as a sentence for its author; empty where it is not."""
        ...

    def place(self, place: str) -> PlaceSettings:
        """Return the settings of the place."""
        ...

    def groups_of_interest(self, actor: Actor) -> frozenset[str]:
        """Return the platforms' groups that the file names and that may hold one of the actor's accounts."""
        ...

    def person(self, actor: Actor, standing: Standing, memberships: Memberships) -> Person:
        """Return the actor as rules see them, with the accounts that `[people]` links."""
        ...

    def includes(self, named: Sequence[str], person: Person) -> Inclusion:
        """Return whether the person is among people and @groups as the file names them."""
        ...

    def people_of(self, named: Sequence[str]) -> Sequence[str]:
        """Return the people and platforms' groups behind these names, @groups resolved."""
        ...

    @property
    def budgets(self) -> BudgetRules:
        """Who may use how much."""
        ...

    def accounts_of(self, actor: Actor) -> Sequence[Actor]:
        """Return the actor and the other accounts of the same person."""
        ...

    def suggest_rule(self, facts: Facts) -> str:
        """Return the TOML of a rule that would allow this call."""
        ...


class BudgetRules(Protocol):
    """What one `toolbridge.toml` says of budgets."""

    @property
    def zone(self) -> ZoneInfo:
        """By whose clocks days and months begin."""
        ...

    @property
    def warn_in(self) -> str:
        """The place in which budgets of places and of all are warned of, in the notation of rules; "" for none."""
        ...

    @property
    def exempts_operators(self) -> bool:
        """Whether operators are refused nothing."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether nobody has a limit."""
        ...

    @property
    def has_money(self) -> bool:
        """Whether any limit counts money."""
        ...

    def limits_of(self, person: Person, place: str) -> Sequence[Limit]:
        """Return the limits that concern the person in the place."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """Whether a person is among others; where that cannot be known, `problem` says why, as a phrase."""

    is_in: bool
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memberships:
    """The groups that hold a person, and those of which a platform could not say it, with the reason as a phrase."""

    groups: frozenset[str] = frozenset()
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])


class GroupSource(Protocol):
    """A platform, asked for its groups (Slack's user groups, Discord's roles), in the notation of rules."""

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        """Return which of the groups hold the actor; answers of the platform are kept for 60 s unless `is_fresh`.

        Never raises an AdapterError: what cannot be found out is `unknown`.
        """
        ...

    async def members(self, group: str) -> Sequence[str]:
        """Return the platform's ids of the people in the group, at most a few dozen.

        Raises:
            AdapterError: The platform does not say it.
        """
        ...


class People(Protocol):
    """Persons as the current policy sees them; asks the platforms for what it needs."""

    async def person(self, asker: Asker, *, is_fresh: bool = False) -> Person:
        """Return the asker as rules see them; `is_fresh` reads the platforms' groups again. Never raises a BotError."""
        ...

    async def writer(self, asker: Asker) -> Person:
        """Return the asker as `Policy.may_write` needs them, within a second: what arrives is acknowledged afterwards.

        Of the platforms' groups, only those that `[access]` names count, and what a platform does not say in that time
        is `unknown`. Never raises a BotError.
        """
        ...


# --- the guard -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The call may be sent, with these `arguments`: those that were judged, or approved after an edit."""

    ruling: Ruling
    arguments: str
    approvers: tuple[str, ...] = ()  # `str(Actor)` of each
    note: str = ""  # for the trace: "approved by Ben"
    edited_by: str = ""  # the name of the person who changed the arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The call may not be sent; `text` is what the model reads, and for people as well.

    Where the ruling does not deny it, a person or the time did, or the `note` says why: for the trace, as a phrase.
    """

    ruling: Ruling
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """A dry run: the call is not sent; `text` says what would have been, and `note` says it for the trace."""

    ruling: Ruling
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """The call waits for an approval."""

    ruling: Ruling
    ask: ApprovalAsk


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Nothing may be sent: there is no such tool now, or too much was asked for at once; `text` is for the model."""

    text: str


Judgement = Allowed | Denied | Withheld | Asks | Unknown


class Guard(Protocol):
    """The one place that lets calls through, for every way in."""

    async def judge(
        self,
        call: ToolCall,
        spec: ToolSpec | None,
        *,
        asker: Asker,
        conversation: ConversationKey,
        resumed: Resumed | None = None,
    ) -> Judgement:
        """Return what the current policy says of the call; `spec` is None for a tool that is not offered.

        With `resumed`, it waited for an approval that was decided: the approval is spent here, where it still holds.
        What the server itself asked (a form, a link) is no approval: then the call was judged before, and is again.
        """
        ...
