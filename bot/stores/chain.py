"""The chain of the audit: each line's hash covers the line and the hash before it.

A digest replaces the arguments, so that purging them breaks nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from bot.domain.audit import AuditEntry, AuditLine


@dataclass(slots=True)
class Chain:
    """An end of the chain: the number and the hash of its last line; of an empty one, 0 and nothing."""

    number: int = 0
    head: str = ""

    def append(self, entry: AuditEntry) -> AuditLine:
        """Return the entry as the next line, which is the end from now on."""
        digest = digest_of(entry.arguments)
        number = self.number + 1
        self.number, self.head = number, _hash(self.head, number, entry, digest)
        return AuditLine(number=number, entry=entry, hash=self.head, arguments_digest=digest)

    def follow(self, line: AuditLine) -> bool:
        """Return whether the line is the next one and as it was written; if so, it is the end from now on."""
        fits = (
            line.number == self.number + 1
            and line.hash == _hash(self.head, line.number, line.entry, line.arguments_digest)
            and (line.is_purged or line.arguments_digest == digest_of(line.entry.arguments))
        )
        if fits:
            self.number, self.head = line.number, line.hash
        return fits


def digest_of(text: str) -> str:
    """Return what takes the text's place in the chain."""
    return hashlib.sha256(text.encode()).hexdigest()


def _hash(previous: str, number: int, entry: AuditEntry, arguments_digest: str) -> str:
    # Named one by one: a field that is added to entries later must not change the hashes of older lines.
    facts = {
        "number": number,
        "at": float(entry.at),
        "kind": entry.kind,
        "person": entry.person,
        "place": entry.place,
        "server": entry.server,
        "tool": entry.tool,
        "arguments_digest": arguments_digest,
        "verdict": entry.verdict,
        "rule": entry.rule,
        "approvers": list(entry.approvers),
        "outcome": entry.outcome,
        "turn_id": entry.turn_id,
        "call_id": entry.call_id,
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{canonical}".encode()).hexdigest()
