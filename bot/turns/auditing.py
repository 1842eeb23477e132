"""What the audit keeps of a turn's calls: a fold of its steps into entries, stored in the same commit as these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bot.domain.asks import ApprovalAsk
from bot.domain.audit import AuditEntry, AuditKind
from bot.domain.turns import CallAsked, CallDecided, CallFinished, CallJudged, CallStarted, CallWaiting, Step
from bot.ports.work_store import ClaimedTurn
from bot.text.redaction import redact

ARGUMENTS_CHARS = 20_000  # of one call
_BEYOND_CHARS = 2_000  # are searched for secrets as well: half of one would not be recognised as a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    server: str
    tool: str
    arguments: str  # as the audit keeps them
    verdict: str = ""
    rule: str = ""
    approvers: tuple[str, ...] = ()


class CallAudit:
    """Of one turn. A call that no rule was asked about (it reached no server) has no entries.

    `now` gives seconds since the epoch.
    """

    def __init__(self, turn: ClaimedTurn, *, now: Callable[[], float]) -> None:
        self._turn = turn
        self._now = now
        self._calls: dict[tuple[int, str], _Call] = {}

    def entries(self, steps: Sequence[Step]) -> Sequence[AuditEntry]:
        """Take note of the steps, and return what the audit gets of them."""
        found = [self._entry(step) for step in steps]
        return [entry for entry in found if entry is not None]

    def _entry(self, step: Step) -> AuditEntry | None:
        match step:
            case CallAsked(round=number, call=call):
                asked = _Call(server=step.server, tool=step.tool, arguments=audited_arguments(call.arguments))
                self._calls[number, call.id] = asked
            case CallJudged():
                return self._judged(step)
            case CallWaiting(ask=ask) if ask is not None:
                rule = ask.rule if isinstance(ask, ApprovalAsk) else ""
                return self._made("asked", step.round, step.call_id, rule=rule, outcome=ask.kind)
            case CallDecided(round=number, call_id=call_id, outcome=outcome):
                if step.arguments:
                    self._change(number, call_id, arguments=audited_arguments(step.arguments))
                return self._made("decided", number, call_id, outcome=outcome)
            case CallStarted(round=number, call_id=call_id):
                return self._made("started", number, call_id)
            case CallFinished(round=number, result=result):
                # Of a call that was not sent, the verdict says it.
                kind: AuditKind = "judged" if result.outcome in ("denied", "withheld") else "finished"
                return self._made(kind, number, result.call_id, outcome=result.outcome)
            case _:
                pass
        return None

    def _judged(self, step: CallJudged) -> None:
        """Keep the verdict for the entry that follows in the same commit: one line says both."""
        self._change(step.round, step.call_id, verdict=step.verdict, rule=step.rule, approvers=step.approvers)

    def _change(self, number: int, call_id: str, **changes: object) -> None:
        call = self._calls.get((number, call_id))
        if call is not None:
            self._calls[number, call_id] = replace(call, **changes)  # type: ignore[arg-type]

    def _made(
        self, kind: AuditKind, number: int, call_id: str, *, outcome: str = "", rule: str = ""
    ) -> AuditEntry | None:
        call = self._calls.get((number, call_id))
        if call is None or not call.rule:
            return None
        return AuditEntry(
            kind=kind,
            at=self._now(),
            person=str(self._turn.actor),
            place=self._turn.event.conversation.place,
            server=call.server,
            tool=call.tool,
            arguments=call.arguments,
            verdict=call.verdict,
            rule=rule or call.rule,
            approvers=call.approvers,
            outcome=outcome,
            turn_id=self._turn.lease.turn_id,
            call_id=call_id,
        )


def audited_arguments(text: str) -> str:
    """Return the arguments as the audit keeps them: redacted and bounded."""
    return redact(text[: ARGUMENTS_CHARS + _BEYOND_CHARS])[:ARGUMENTS_CHARS]
