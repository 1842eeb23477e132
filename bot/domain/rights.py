"""Who may run what: what rules look at, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Verdict = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as rules see them.

    `names` are all notations by which they are known: `slack:T1:U1`, `discord:300`, `discord:G1:300`, the accounts that
    `[people]` links. `groups` are the platforms' groups they are in, in the notation of rules; `unknown` are those of
    which that could not be found out, with the reason as a phrase.
    """

    id: str  # one name for all their accounts: approvals count by it
    names: frozenset[str]
    groups: frozenset[str] = frozenset()
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])
    outsider: str = ""  # as of `Standing`
    problem: str = ""  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool as rules see it; what an untrusted server says of it is not among that."""

    server: str
    tool: str
    is_bundled: bool = False
    is_read_only: bool = False  # a trusted server's hint, or the reading of a resource
    change: str = ""  # how it differs from what an operator accepted, as Markdown; empty where it does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One call, as `decide` sees it."""

    person: Person  # who asks
    place: str
    tool: Tool
    arguments: Mapping[str, Any] | None  # with the schema's defaults; None: they are not one JSON object
    at: datetime  # aware


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a call is approved."""

    approvers: tuple[str, ...] = ()  # people and @groups as the file names them; empty: the one who asks
    approvals: int = 1  # different people
    asker_may_approve: bool = True
    expires_s: float = 3600.0
    ask_in: str = "thread"  # "thread", "dm" or a place

    @property
    def is_own(self) -> bool:
        """Whether only the asker decides: the only case in which `--yes` and an hour's grant are possible."""
        return not self.approvers and self.approvals == 1 and self.asker_may_approve


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the policy says of one call.

    `rule` is the name of the deciding rule for people ("production deploys", "default: everything else asks");
    `rule_key` is the same as long as that rule and all that it says stays the same. `reason` is a sentence.
    """

    verdict: Verdict
    rule: str
    rule_key: str
    reason: str
    terms: Terms = field(default_factory=Terms)  # where the verdict is "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSettings:
    """What `[places."..."]` says of one place."""

    prompt: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()  # patterns; empty: all
    trace: Literal["", "summary", "full"] = ""
    dry_run: bool = False
