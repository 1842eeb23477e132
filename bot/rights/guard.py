"""The guard: every call passes here before it is sent, whichever way it came in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.domain.asks import ApprovalAsk
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolSpec
from bot.domain.people import Asker
from bot.domain.rights import Facts, Ruling
from bot.domain.turns import CallDecided
from bot.ports.rights import Allowed, Asks, Denied, Judgement, People, Policy, Unknown, Withheld
from bot.ports.rights_store import Grant, RightsStore
from bot.ports.tools import Resumed
from bot.rights.approving import approver_name, holding
from bot.rights.facts import digest_of, facts_of
from bot.rights.pinning import Pins
from bot.text.lines import NAME_CHARS, one_line

SHOWN_CHARS = 2_000  # of the arguments in what a dry run says
ACCESS = "[access]"  # the name of the rule, where that table decides


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGuard:
    """Satisfies `Guard` by the current policy.

    `newest` returns a tool by its namespaced name as its server lists it now, `find` also one that is not listed now;
    `unknown`, what the model reads where there is none.
    """

    policy: Callable[[], Policy]
    people: People
    store: RightsStore
    pins: Pins
    newest: Callable[[str], ToolSpec | None]
    find: Callable[[str], Awaitable[ToolSpec | None]]
    unknown: Callable[[str], str]

    async def judge(
        self,
        call: ToolCall,
        spec: ToolSpec | None,
        *,
        asker: Asker,
        conversation: ConversationKey,
        resumed: Resumed | None = None,
    ) -> Judgement:
        """See `Guard`. Raises StoreError."""
        # A server may have changed the tool since it was offered: what it is now is what would run.
        spec = self.newest(call.name) or spec or await self.find(call.name)
        approval = resumed if resumed is not None and isinstance(resumed.wait.ask, ApprovalAsk) else None
        if spec is None:
            return self._without_tool(call, approval)
        arguments = (approval.decision.arguments if approval else "") or call.arguments
        facts, ruling = await self.rule(spec, arguments, asker=asker, is_fresh=approval is not None)
        case = _Case(self, facts, arguments, call, conversation, ruling)
        return await (case.spent(approval) if approval else case.met())

    def _without_tool(self, call: ToolCall, approval: Resumed | None) -> Judgement:
        """Return what becomes of a call whose tool is not there; nothing is sent, though it may be there by then."""
        ask = approval.wait.ask if approval else None
        if approval is None or not isinstance(ask, ApprovalAsk) or approval.decision.outcome == "approved":
            return Unknown(text=self.unknown(call.name))
        ruling = Ruling(verdict="deny", rule=ask.rule, rule_key=ask.rule_key, reason=ask.reason)
        return Denied(ruling=ruling, text=_why_not_approved(approval.decision))

    async def rule(
        self, spec: ToolSpec, arguments: str, *, asker: Asker, is_fresh: bool = False, change: str | None = None
    ) -> tuple[Facts, Ruling]:
        """Return a call as rules see it, and the current policy's ruling; `change`: of a tool that is not listed.

        `is_fresh` reads the platforms' groups again. Raises StoreError.
        """
        if change is None:
            change = await self.pins.change_of(spec)
        # Nothing is awaited between this and the decision: one policy says who the person is and what they may do.
        person = await self.people.person(asker, is_fresh=is_fresh)
        facts, policy = facts_of(spec, arguments, person=person, place=asker.place, change=change), self.policy()
        why_not = policy.may_write(person, asker.place)  # who was let in may have been shut out while the call waited
        return facts, _shut_out(why_not) if why_not else policy.decide(facts)


@dataclass(frozen=True, slots=True)
class _Case:
    """One call with what the policy says of it."""

    guard: PolicyGuard
    facts: Facts
    arguments: str
    call: ToolCall
    conversation: ConversationKey
    ruling: Ruling

    # --- a call that was not asked about ---

    async def met(self) -> Judgement:
        match self.ruling.verdict:
            case "deny":
                return self._denied(f"Not allowed: {self.ruling.reason}")
            case "ask":
                return await self._asked()
            case "allow":
                return self._withheld() or Allowed(ruling=self.ruling, arguments=self.arguments)

    async def _asked(self) -> Judgement:
        if self.facts.arguments is None:
            text = "The arguments are not one JSON object, so no one was asked to approve this call. Send one."
            return self._denied(text, note="not asked about: the arguments are no JSON object")
        if withheld := self._withheld():
            return withheld
        if await self._is_granted():
            return Allowed(ruling=self.ruling, arguments=self.arguments, note="allowed here for an hour")
        return Asks(ruling=self.ruling, ask=self._ask())

    async def _is_granted(self) -> bool:
        tool = self.facts.tool
        if not self.ruling.terms.is_own or tool.change:
            return False
        return await self.guard.store.has_grant(
            Grant(
                person=self.facts.person.id,
                conversation=self.conversation,
                server=tool.server,
                tool=tool.tool,
                rule_key=self.ruling.rule_key,
            )
        )

    def _ask(self) -> ApprovalAsk:
        tool = self.facts.tool
        return ApprovalAsk(
            server=tool.server,
            tool=tool.tool,
            name=self.call.name,
            arguments=self.arguments,
            digest=digest_of(tool.server, tool.tool, self.arguments),
            rule=self.ruling.rule,
            rule_key=self.ruling.rule_key,
            reason=self.ruling.reason,
            terms=self.ruling.terms,
            change=tool.change,
        )

    # --- a call that was decided on ---

    async def spent(self, resumed: Resumed) -> Judgement:
        decision = resumed.decision
        if decision.outcome != "approved":
            note = "" if decision.outcome in _TOLD else "could not be approved"
            return self._denied(_why_not_approved(decision), note=note)
        if self.ruling.verdict == "deny":
            return self._denied(f"It was approved, but the current policy does not allow it: {self.ruling.reason}")
        if withheld := self._withheld():
            return withheld
        approvers = tuple(dict.fromkeys(approver_name(vote) for vote in decision.votes))
        names = " and ".join(dict.fromkeys(_name(vote.name or vote.by) for vote in decision.votes))
        edited = " with changed arguments" if decision.arguments else ""
        allowed = Allowed(
            ruling=self.ruling,
            arguments=self.arguments,
            approvers=approvers,
            note=f"approved by {names}{edited}" if names else "",
            edited_by=decision.note if decision.arguments else "",
        )
        why = await self._why_not_held(resumed)
        if not why:
            return allowed
        text = f"The approval no longer holds: {why} Nothing was run."
        return self._denied(text, note="the approval no longer holds")

    async def _why_not_held(self, resumed: Resumed) -> str:
        """Return why the approval cannot be spent on this call any more, as a sentence; empty where it can."""
        tool, ask = self.facts.tool, resumed.wait.ask
        digest = digest_of(tool.server, tool.tool, self.arguments)
        votes = [vote for vote in resumed.decision.votes if vote.digest == digest]
        if not votes or not isinstance(ask, ApprovalAsk):
            return "it was given to other arguments."
        if self.ruling.verdict == "allow":
            return ""
        if tool.change != ask.change:
            return "the tool's definition has changed since."
        terms = self.ruling.terms
        held = await holding(
            self.guard.policy(), self.guard.people, terms, votes, asker=self.facts.person, place=self.facts.place
        )
        if len(held.votes) >= terms.approvals:
            return ""
        why = f" ({held.problem})" if held.problem else ""
        return f"{terms.approvals} needed, and {len(held.votes)} of those who approved may do so now{why}."

    # --- words ---

    def _denied(self, text: str, *, note: str = "") -> Denied:
        return Denied(ruling=self.ruling, text=text, note=note)

    def _withheld(self) -> Withheld | None:
        """Return what a dry run says, where the call is not to be sent in one."""
        if not self.guard.policy().place(self.facts.place).dry_run:
            return None
        asks = self.ruling.verdict == "ask"
        if self.facts.tool.is_read_only and not asks:
            return None
        tool = self.facts.tool
        first = f"it would ask first, by the rule {self.ruling.rule!r}; then " if asks else ""
        shown = self.arguments if len(self.arguments) <= SHOWN_CHARS else f"{self.arguments[:SHOWN_CHARS]}…"
        text = f"Dry run: nothing was sent. Otherwise {first}{tool.server}/{tool.tool} would be called with: {shown}"
        note = "dry run: would ask first; it was not sent" if asks else "dry run: it was not sent"
        return Withheld(ruling=self.ruling, text=text, note=note)


_TOLD = frozenset({"declined", "withdrawn", "expired"})  # decisions that the trace has already: "declined by Ann"


def _shut_out(reason: str) -> Ruling:
    return Ruling(verdict="deny", rule=ACCESS, rule_key=ACCESS, reason=reason)


def _why_not_approved(decision: CallDecided) -> str:
    """Return what became of a call that no one approved, for the model: who decided it, and when."""
    last = decision.votes[-1] if decision.votes else None
    who = _name(last.name or last.by) if last else decision.by or "Someone"
    when = f" at {datetime.fromtimestamp(last.at, UTC):%H:%M} UTC" if last else ""
    match decision.outcome:
        case "declined":
            return f"{who} declined this call{when}, so it was not run. Do not try to do the same in another way."
        case "withdrawn":
            return f"{who} took this call back{when}, so it was not run."
        case "expired":
            return "No one approved this call before its time was over, so it was not run."
        case _:
            return f"This call could not be approved, so it was not run. {decision.note}".strip()


def _name(text: str) -> str:
    return one_line(text, max_chars=NAME_CHARS)
