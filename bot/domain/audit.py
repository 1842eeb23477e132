"""What the audit keeps: every decision and call, refusals and operators' acts; append-only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# "judged": the policy's verdict on a call; "asked": a person was asked; "decided": a person (or time) decided;
# "started", "finished": the call; "refused": something other than a call was refused; "act": an operator's act.
AuditKind = Literal["judged", "asked", "decided", "started", "finished", "refused", "act"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line. `arguments` are redacted; the store keeps their digest in the chain, so that they can be purged."""

    kind: AuditKind
    at: float  # seconds since the epoch
    person: str  # `str(Actor)`
    place: str = ""
    server: str = ""
    tool: str = ""
    arguments: str = ""
    verdict: str = ""
    rule: str = ""
    approvers: tuple[str, ...] = ()  # `str(Actor)` of each
    outcome: str = ""
    turn_id: int = 0
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """A stored entry with its place in the chain; `hash` covers it and the hash before."""

    number: int
    entry: AuditEntry
    hash: str
    arguments_digest: str = ""  # what the hash covers in place of the arguments
    is_purged: bool = False  # the arguments are gone; their digest stays
