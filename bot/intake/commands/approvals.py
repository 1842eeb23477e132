"""What `/approvals` shows: what waits for the person who asks, and what that person waits for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bot.domain.asks import ApprovalAsk, AskRecord
from bot.domain.people import Asker
from bot.domain.rights import Person
from bot.intake.access import Access
from bot.intake.commands.phrases import code, plain
from bot.ports.rights import Policy
from bot.ports.rights_store import AskStore
from bot.rights.approving import why_not_decide

MAX_LINES = 20  # below each heading


async def describe_approvals(store: AskStore, *, access: Access, asker: Asker) -> str:
    """Return Markdown on the asks that are pending: those the asker can decide, and those of the asker's own calls."""
    person = await access.people.person(asker, is_fresh=True)
    policy = access.policy()
    pending = await store.asks()
    mine = [record for record in pending if record.asker in person.names]
    to_decide = [record for record in pending if may_decide(record, person, policy, place=asker.place)]
    paragraphs = [
        *_list("Waiting for you", to_decide),
        *_list("Waiting for others", [record for record in mine if record not in to_decide]),
    ]
    return "\n\n".join(paragraphs) or "Nothing is waiting for you, and none of your own calls is waiting."


def may_decide(record: AskRecord, person: Person, policy: Policy, *, place: str) -> bool:
    """Return whether the person is one of those who can decide the ask, and has not approved it already.

    One that everybody can decide is shown to others only in its own place, which may be a private channel.
    """
    is_own = record.asker in person.names
    if not isinstance(record.ask, ApprovalAsk):
        return is_own
    if any(vote.person == person.id and vote.digest == record.ask.digest for vote in record.votes):
        return False
    names = policy.people_of(record.ask.terms.approvers)
    if not is_own and record.conversation.place != place and any(name.endswith("*") for name in names):
        return False
    asker = person if is_own else Person(id=record.asker, names=frozenset({record.asker}))
    return not why_not_decide(policy, record.ask.terms, person, asker=asker)


def _list(heading: str, records: Sequence[AskRecord]) -> Iterable[str]:
    if not records:
        return
    lines = [_line(record) for record in records[:MAX_LINES]]
    if (more := len(records) - MAX_LINES) > 0:
        lines.append(f"- and {more} more")
    yield "\n".join([f"**{heading}** (times in UTC)", "", *lines])


def _line(record: AskRecord) -> str:
    ends = datetime.fromtimestamp(record.expires_at, UTC)
    what = f"{record.ask.server}/{record.ask.tool}"
    kind = {"approval": "", "form": " (a form)", "link": " (a page to open)"}[record.ask.kind]
    return (
        f"- {code(what)}{kind}, asked by **{plain(record.asker_name or record.asker)}** in "
        f"{code(record.conversation.place)}, until {ends:%Y-%m-%d %H:%M}"
    )
