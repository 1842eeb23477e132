"""Who may decide on a call, and which approvals count: the same at the click and when the approval is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.asks import Vote
from bot.domain.people import Actor, Asker
from bot.domain.rights import Person, Terms
from bot.ports.rights import People, Policy


def why_not_decide(policy: Policy, terms: Terms, person: Person, *, asker: Person) -> str:
    """Return why the person may not decide under these terms, as a sentence for them; empty where they may."""
    is_asker = person.id == asker.id
    if is_asker and not terms.asker_may_approve:
        return "You asked for this call yourself, so someone else has to decide on it."
    if not terms.approvers:
        return "" if is_asker else "Only the person who asked for this call decides on it."
    included = policy.includes(terms.approvers, person)
    if included.is_in:
        return ""
    named = " or ".join(terms.approvers)
    doubt = f" (I cannot find out whether you are one of them: {included.problem})" if included.problem else ""
    return f"Only {named} may decide on this call{doubt}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The approvals that count; where it could not be found out whether another one does, `problem` says why."""

    votes: Sequence[Vote]
    problem: str = ""


async def holding(
    policy: Policy, people: People, terms: Terms, votes: Sequence[Vote], *, asker: Person, place: str
) -> Held:
    """Return the approvals of people who may still give one, one of each person; groups are read again."""
    kept: dict[str, Vote] = {}
    problem = ""
    for vote in votes:
        asking = Asker(actor=_voter(vote), place=place)
        person = await people.person(asking, is_fresh=True)
        if not why_not_decide(policy, terms, person, asker=asker):
            kept.setdefault(person.id, vote)
        else:
            problem = problem or policy.includes(terms.approvers, person).problem
    return Held(votes=list(kept.values()), problem=problem)


def voter_name(actor: Actor) -> str:
    """Return the notation under which a vote is kept: a Discord server's roles can be asked for again by it."""
    if actor.platform == "discord" and actor.space not in ("", "@me"):
        return f"discord:{actor.space}:{actor.id}"
    return str(actor)


def approver_name(vote: Vote) -> str:
    """Return `str(Actor)` of who gave the vote."""
    return str(_voter(vote))


def _voter(vote: Vote) -> Actor:
    platform, _, rest = vote.by.partition(":")
    space, _, person = rest.rpartition(":") if platform in ("slack", "discord") else ("", "", rest)
    return Actor(platform=platform, space=space, id=person, name=vote.name)
