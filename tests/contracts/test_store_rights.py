"""What every Store keeps to of asks, votes, grants, pins and the audit."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bot.domain.asks import ApprovalAsk, Ask, AskRecord, AskState, FormAsk, LinkAsk, Vote
from bot.domain.audit import AuditEntry, AuditLine
from bot.domain.errors import LeaseLostError
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult, Usage
from bot.domain.rights import Terms, Verdict
from bot.domain.turns import (
    CallAsked,
    CallDecided,
    CallFinished,
    CallJudged,
    CallStarted,
    CallWaiting,
    Step,
)
from bot.ports.rights_store import Grant, PastCall, Pin, Settlement
from bot.ports.store import Store
from bot.ports.work_store import Lease
from bot.stores.chain import Chain
from tests.contracts.stores import (
    ALL,
    HERE,
    LEASE_S,
    Clock,
    OpenStore,
    accepted,
    answer,
    begin,
    claim,
    claim_one,
    finish,
    question,
    room,
    said,
)

NOW = 1_800_000_000.0
EXPIRES = NOW + 3_600.0
DEPLOY = ApprovalAsk(
    server="deploys",
    tool="deploy",
    name="deploys__deploy",
    arguments='{"env": "prod"}',
    digest="d1",
    rule="production deploys",
    rule_key="r1",
    reason="Production changes need two people on call.",
    terms=Terms(approvers=("@oncall",), approvals=2, asker_may_approve=False),
    change="- was *this*",
)
FORM = FormAsk(server="deploys", tool="deploy", message="Which?", schema={"type": "object", "properties": {}}, key="k")
LINK = LinkAsk(server="deploys", tool="deploy", message="Open it.", url="https://id.example/?code=1")
BEN = Vote(person="ben", by="test:ben", name="Ben", choice="run", at=NOW, digest="d1")
EVA = replace(BEN, person="eva", by="test:eva", name="Eva")
YES = CallDecided(round=0, call_id="", outcome="approved", by="test:eva")
APPROVED = Settlement(state="approved", decision=YES)
ENTRY = AuditEntry(kind="decided", at=NOW, person="test:ben", server="deploys", tool="deploy", arguments="{}")


def waits(ask: Ask | None = DEPLOY, *, call_id: str = "c1", round_number: int = 0) -> CallWaiting:
    return CallWaiting(round=round_number, call_id=call_id, reason="Asked.", expires_at=EXPIRES, ask=ask)


async def asking(store: Store, conversation: str = "room", *, ask: Ask = DEPLOY) -> tuple[Lease, AskRecord]:
    """Return the lease that a turn had until it waited, and what it asks."""
    lease = await begin(store, conversation)
    assert await store.park(lease, [waits(ask)], wakes_at=EXPIRES) == "waiting"
    (record,) = await store.asks(turn_id=lease.turn_id)
    return lease, record


async def read(store: Store, ask_id: int) -> AskRecord:
    record = await store.ask(ask_id)
    assert record is not None
    return record


async def becomes(store: Store, record: AskRecord, state: AskState) -> None:
    now = await read(store, record.id)
    assert (now.state, now.version) == (state, record.version + 1)
    assert await store.asks(turn_id=record.turn_id) == []


# --- asks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [DEPLOY, FORM, LINK])
async def test_a_call_that_waits_makes_its_ask_pending_with_who_asked_and_where(
    store: Store, opened: OpenStore, ask: Ask
) -> None:
    event = replace(question(), author_id="u7", author_name="Ann")
    turn_id = await accepted(store, event)
    lease = (await claim_one(store)).lease
    await store.park(lease, [waits(ask, round_number=2)], wakes_at=EXPIRES)
    expected = AskRecord(
        id=1,
        turn_id=turn_id,
        round=2,
        call_id="c1",
        conversation=event.conversation,
        event_key=event.event_key,
        asker="test:u7",
        asker_id="u7",
        asker_name="Ann",
        ask=ask,
        state="pending",
        created_at=NOW,
        expires_at=EXPIRES,
    )
    async with opened() as other:
        assert await other.ask(1) == expected
        assert list(await other.asks()) == list(await other.asks(turn_id=turn_id)) == [expected]
    assert await store.ask(2) is None and await store.asks(turn_id=turn_id + 1) == []
    assert (await store.steps(turn_id))[-1] == waits(ask, round_number=2)


async def test_a_call_that_waits_without_an_ask_asks_nobody(store: Store) -> None:
    lease = await begin(store)
    await store.park(lease, [waits(None)], wakes_at=EXPIRES)
    assert await store.asks() == []


async def test_two_identical_calls_that_wait_are_two_asks(store: Store) -> None:
    lease = await begin(store)
    await store.park(lease, [waits(), waits(call_id="c2")], wakes_at=EXPIRES)
    first, second = await store.asks(turn_id=lease.turn_id)
    assert await store.vote(first.id, BEN, version=1, settles=APPROVED) == "made"
    assert [record.id for record in await store.asks()] == [second.id]
    (decided,) = [step for step in await store.steps(lease.turn_id) if isinstance(step, CallDecided)]
    assert (decided.call_id, decided.outcome) == ("c1", "approved")


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ("approved", "approved"),
        ("declined", "declined"),
        ("withdrawn", "withdrawn"),
        ("expired", "expired"),
        ("accept", "answered"),
        ("decline", "declined"),
        ("cancel", "declined"),
        ("nothing that is known", "void"),
    ],
)
async def test_a_decision_ends_the_ask_in_its_way(store: Store, outcome: str, state: AskState) -> None:
    lease, record = await asking(store)
    assert await store.decide(lease.turn_id, CallDecided(round=9, call_id="c1", outcome=outcome)) == "made"
    await becomes(store, record, state)


async def test_a_call_that_ran_out_of_time_or_has_a_result_asks_nothing_more(store: Store) -> None:
    lease, _ = await asking(store)
    await store.decide(lease.turn_id, replace(YES, call_id="c1"))
    lease = (await claim_one(store)).lease
    await store.record(lease, [waits(), waits(call_id="c2"), waits(FORM, call_id="c3")])
    assert len(await store.asks(turn_id=lease.turn_id)) == 3
    await store.record(lease, [CallDecided(round=0, call_id="c1", outcome="expired")])
    await store.record(lease, [CallFinished(round=0, result=ToolResult(call_id="c2", text="stopped"))])
    await store.record(lease, [waits(LINK, call_id="c3")])
    records = await store.asks(turn_id=lease.turn_id, is_pending=False)
    assert [one.state for one in records] == ["approved", "expired", "void", "void", "pending"]
    assert [one.id for one in await store.asks()] == [records[-1].id]


async def test_an_answer_voids_what_the_turn_still_asks(store: Store) -> None:
    lease = await begin(store)
    _, elsewhere = await asking(store, "elsewhere")
    await store.record(lease, [waits(), waits(FORM, call_id="c2")])
    records = await store.asks(turn_id=lease.turn_id)
    await answer(store, lease, *said("a"))
    for record in records:
        await becomes(store, record, "void")
        assert await store.vote(record.id, BEN, version=2) == "decided_before"
    assert await store.asks() == [elsewhere]


async def test_a_stop_voids_what_the_turn_asks_and_no_click_counts_any_more(store: Store) -> None:
    lease, record = await asking(store)
    assert await store.request_stop(room("room"), by="test:u1") == lease.turn_id
    await becomes(store, record, "void")
    assert await store.vote(record.id, BEN, version=2, settles=APPROVED) == "decided_before"
    assert await store.steps(lease.turn_id) == [waits()]
    turn = await claim_one(store)
    assert turn.stop_requested and turn.lease.turn_id == lease.turn_id


async def test_a_turn_that_is_to_stop_asks_nobody(store: Store) -> None:
    lease = await begin(store)
    await store.record(lease, [waits()])
    await store.request_stop(room("room"), by="test:u1")
    assert await store.asks() == []
    await store.record(lease, [waits(FORM, call_id="c2")])
    assert await store.park(lease, [waits(LINK, call_id="c3")], wakes_at=EXPIRES) == "queued"
    assert await store.asks() == []
    assert {record.state for record in await store.asks(is_pending=False)} == {"void"}


async def test_steps_of_a_worker_that_lost_the_turn_ask_nothing_and_leave_no_audit(store: Store) -> None:
    lease = await begin(store)
    await store.give_back(lease)
    await claim_one(store)
    for write in (
        store.record(lease, [waits()], audit=[ENTRY]),
        store.park(lease, [waits()], wakes_at=EXPIRES, audit=[ENTRY]),
    ):
        with pytest.raises(LeaseLostError):
            await write
    assert await store.asks() == [] and await store.audit_lines() == []


# --- votes -----------------------------------------------------------------------------------------------------


async def test_a_vote_that_settles_nothing_leaves_the_turn_waiting(store: Store) -> None:
    lease, record = await asking(store)
    assert await store.vote(record.id, BEN, version=1) == "made"
    assert await read(store, record.id) == replace(record, votes=(BEN,), version=2)
    assert await claim(store) == [] and await store.steps(lease.turn_id) == [waits()]


async def test_the_vote_that_settles_decides_the_call_and_wakes_the_turn(store: Store) -> None:
    lease, record = await asking(store)
    await store.vote(record.id, BEN, version=1)
    decision = replace(YES, votes=(BEN, EVA), arguments='{"env": "test"}')
    settles = Settlement(state="approved", decision=decision)
    assert await store.vote(record.id, EVA, version=2, settles=settles, audit=[ENTRY]) == "made"
    assert await read(store, record.id) == replace(record, votes=(BEN, EVA), version=3, state="approved")
    assert await store.steps(lease.turn_id) == [waits(), replace(decision, call_id="c1")]
    assert [line.entry for line in await store.audit_lines()] == [ENTRY]
    assert (await claim_one(store)).wakes == 1


async def test_a_form_is_answered_once(store: Store) -> None:
    lease, record = await asking(store, ask=FORM)
    filled = replace(BEN, choice="answer", content='{"env": "prod"}')
    decision = CallDecided(round=0, call_id="c1", outcome="accept", by=BEN.by, content=filled.content)
    settles = Settlement(state="answered", decision=decision)
    assert await store.vote(record.id, filled, version=1, settles=settles) == "made"
    assert await store.vote(record.id, filled, version=1, settles=settles) == "decided_before"
    assert (await read(store, record.id)).votes == (filled,)
    assert await store.steps(lease.turn_id) == [waits(FORM), decision]


async def test_a_vote_before_the_turn_is_parked_is_kept_and_the_turn_goes_on_at_once(store: Store) -> None:
    lease = await begin(store)
    await store.record(lease, [waits()])
    (record,) = await store.asks()
    assert await store.vote(record.id, BEN, version=1, settles=APPROVED) == "made"
    assert await store.park(lease, [], wakes_at=EXPIRES) == "queued"


async def test_a_vote_on_what_has_changed_meanwhile_leaves_no_trace(store: Store) -> None:
    lease, record = await asking(store)
    await store.vote(record.id, BEN, version=1)
    grant = grant_of(until=EXPIRES)
    late = await store.vote(record.id, EVA, version=1, settles=APPROVED, grant=grant, audit=[ENTRY])
    assert late == "changed"
    assert (await read(store, record.id)).votes == (BEN,)
    assert not await store.has_grant(grant) and await store.audit_lines() == []
    assert await store.steps(lease.turn_id) == [waits()]


async def test_nobody_can_vote_on_an_ask_that_is_not_there(store: Store) -> None:
    assert await store.vote(1, BEN, version=1) == "unknown"


async def test_a_vote_comes_too_late_when_the_ask_has_expired_though_nobody_wrote_it_down(
    store: Store, clock: Clock
) -> None:
    lease, record = await asking(store)
    clock.now = EXPIRES
    assert await store.vote(record.id, BEN, version=1, settles=APPROVED, audit=[ENTRY]) == "decided_before"
    assert await read(store, record.id) == record and await store.audit_lines() == []
    assert await store.wake_expired() == 1
    assert await store.vote(record.id, BEN, version=1, settles=APPROVED) == "decided_before"
    assert await store.steps(lease.turn_id) == [waits()]


async def test_of_votes_at_the_same_moment_one_counts_and_the_others_look_again(
    store: Store, opened: OpenStore
) -> None:
    lease, record = await asking(store)
    voters = [replace(BEN, person=f"p{number}", by=f"test:p{number}") for number in range(10)]
    async with opened() as other:
        outcomes = await asyncio.gather(
            *((store, other)[number % 2].vote(record.id, vote, version=1) for number, vote in enumerate(voters))
        )
    assert sorted(outcomes) == ["changed"] * 9 + ["made"]
    now = await read(store, record.id)
    assert now.votes == (voters[outcomes.index("made")],) and now.version == 2
    assert await store.steps(lease.turn_id) == [waits()]


async def test_of_two_that_settle_at_the_same_moment_one_decides(store: Store, opened: OpenStore) -> None:
    lease, record = await asking(store)
    declined = Settlement(state="declined", decision=replace(YES, outcome="declined", by="test:ben"))
    async with opened() as other:
        outcomes = await asyncio.gather(
            store.vote(record.id, EVA, version=1, settles=APPROVED, audit=[ENTRY]),
            other.vote(record.id, replace(BEN, choice="decline"), version=1, settles=declined, audit=[ENTRY]),
            store.decide(lease.turn_id, CallDecided(round=0, call_id="c1", outcome="withdrawn")),
        )
    assert sorted(outcomes) == ["decided_before", "decided_before", "made"]
    _, decision = await store.steps(lease.turn_id)
    assert isinstance(decision, CallDecided)
    assert (await read(store, record.id)).state == decision.outcome
    assert len(await store.audit_lines()) == (outcomes[2] != "made")
    assert len(await claim(store)) == 1


async def test_edited_arguments_take_the_place_of_the_first_ones_which_are_kept(
    store: Store,
) -> None:
    _, record = await asking(store)
    await store.vote(record.id, BEN, version=1)
    votes = [BEN]
    for version, arguments in ((2, '{"env": "test"}'), (3, '{"env": "lab"}')):
        edit = replace(EVA, choice="edit", content=arguments)
        edited = replace(DEPLOY, arguments=arguments, digest=f"d{version}", terms=Terms())
        assert await store.vote(record.id, edit, version=version, edited=edited) == "made"
        votes.append(edit)
        assert await read(store, record.id) == replace(
            record, ask=edited, original=DEPLOY.arguments, votes=tuple(votes), version=version + 1
        )
    assert await store.vote(record.id, BEN, version=1) == "changed"  # it was for what was shown before


async def test_an_edit_can_settle_by_itself(store: Store) -> None:
    _, record = await asking(store)
    edited = replace(DEPLOY, arguments="{}", digest="d2")
    edit = replace(EVA, choice="edit", content="{}")
    assert await store.vote(record.id, edit, version=1, edited=edited, settles=APPROVED) == "made"
    now = await read(store, record.id)
    assert (now.state, now.ask, now.version) == ("approved", edited, 2)


async def test_an_ask_outlives_the_process_and_is_decided_in_another(opened: OpenStore) -> None:
    async with opened() as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        lease, record = await asking(store)
        await store.vote(record.id, BEN, version=1)
    async with opened() as store:
        assert await store.vote(record.id, EVA, version=2, settles=APPROVED) == "made"
    async with opened() as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        assert (await claim_one(store)).lease.turn_id == lease.turn_id
        assert (await read(store, record.id)).votes == (BEN, EVA)


# --- the messages of an ask ------------------------------------------------------------------------------------

DM = ConversationKey(platform="test", space="team", channel="dm")
FAR = ConversationKey(platform="other", space="guild", channel="77")


async def due(store: Store, *serves: str) -> list[tuple[int, int, str]]:
    posts = await store.due_ask_posts(serves=serves or ALL)
    return [(post.post_id, post.shown, post.reference) for post in posts]


async def test_messages_are_planned_once_and_only_for_conversations_that_are_served(store: Store) -> None:
    _, record = await asking(store)
    assert await store.unplanned_asks(serves=ALL) == [record]
    assert (
        await store.unplanned_asks(serves=["other/", "test/elsewhere/"]) == await store.unplanned_asks(serves=[]) == []
    )
    await store.plan_ask(record.id, [(room("room"), ""), (DM, "u9")])
    await store.plan_ask(record.id, [(room("room"), "")])
    assert await store.unplanned_asks(serves=ALL) == []
    first, second = await store.due_ask_posts(serves=ALL)
    assert (first.ask_id, first.number, first.place, first.person) == (record.id, 0, str(room("room")), "")
    assert (second.number, second.place, second.person) == (1, str(DM), "u9")
    assert not first.is_posting and first.reference == "" and first.shown == 0


async def test_a_message_is_due_where_its_place_is_served(store: Store) -> None:
    _, record = await asking(store)
    await store.plan_ask(record.id, [(FAR, ""), (room("room"), "")])
    assert [post.place for post in await store.due_ask_posts(serves=["other/guild/"])] == [str(FAR)]
    assert [post.place for post in await store.due_ask_posts(serves=["other/", "test/"])] == [
        str(FAR),
        str(room("room")),
    ]
    assert await store.due_ask_posts(serves=[]) == await store.due_ask_posts(serves=["other/guil/"]) == []


async def test_a_message_is_due_until_it_shows_the_ask_as_it_is(store: Store) -> None:
    _, record = await asking(store)
    await store.plan_ask(record.id, [(room("room"), "")])
    ((post_id, *_),) = await due(store)
    assert [await store.mark_ask_posting(post_id, worker) for worker in ("a", "b")] == [True, False]
    assert [(post.is_posting, post.poster) for post in await store.due_ask_posts(serves=ALL)] == [(True, "a")]
    await store.mark_ask_posted(post_id, reference="ref", shown=1)
    assert await due(store) == []
    await store.vote(record.id, BEN, version=1)
    assert await due(store) == [(post_id, 1, "ref")]
    assert not (await store.due_ask_posts(serves=ALL))[0].is_posting
    await store.vote(record.id, EVA, version=2, settles=APPROVED)
    await store.mark_ask_posted(post_id, reference="ref", shown=2)
    assert await due(store) == [(post_id, 2, "ref")]
    await store.mark_ask_posted(post_id, reference="ref", shown=3)
    assert await due(store) == []


async def test_one_process_posts_and_changes_a_message_and_one_other_in_its_place(store: Store) -> None:
    _, record = await asking(store)
    await store.plan_ask(record.id, [(room("room"), "")])
    (planned,) = await store.due_ask_posts(serves=ALL)
    assert not await store.take_ask_post(planned, "b")  # it is marked first
    await store.mark_ask_posting(planned.post_id, "a")
    (posting,) = await store.due_ask_posts(serves=ALL)
    assert [await store.take_ask_post(posting, worker) for worker in ("b", "c")] == [True, False]
    assert not await store.take_ask_post(posting, "a")  # it lives after all
    (posting,) = await store.due_ask_posts(serves=ALL)
    assert posting.poster == "b" and await store.take_ask_post(posting, "b")  # its first try failed
    await store.mark_ask_posted(posting.post_id, reference="ref", shown=1)
    assert not await store.take_ask_post(posting, "c")
    await store.vote(record.id, BEN, version=1)
    (posted,) = await store.due_ask_posts(serves=ALL)
    assert (posted.poster, posted.reference) == ("b", "ref")
    assert [await store.take_ask_post(posted, worker) for worker in ("c", "b")] == [True, False]


async def test_what_was_decided_before_anything_was_posted_needs_no_message(store: Store) -> None:
    _, record = await asking(store)
    _, other = await asking(store, "other")
    await store.plan_ask(record.id, [(room("room"), ""), (DM, "")])
    (first, *_), (second, *_) = await due(store)
    await store.mark_ask_posting(second, "a")
    for one in (record, other):
        await store.decide(one.turn_id, replace(YES, call_id="c1"))
    assert await due(store) == [(second, 0, "")]  # it may be visible
    assert await store.unplanned_asks(serves=ALL) == []
    await store.plan_ask(other.id, [(room("other"), "")])
    assert len(await due(store)) == 1
    await store.mark_ask_posting(first, "a")  # by one who looked before the decision
    assert [post_id for post_id, *_ in await due(store)] == [first, second]


async def test_a_message_that_was_given_up_is_not_due_and_an_ask_without_any_can_be_planned_again(store: Store) -> None:
    _, record = await asking(store)
    await store.plan_ask(record.id, [(FAR, ""), (DM, "u9")])
    far, dm = [post.post_id for post in await store.due_ask_posts(serves=["other/", "test/"])]
    await store.drop_ask_post(far)
    assert await store.unplanned_asks(serves=ALL) == [] and [post_id for post_id, *_ in await due(store)] == [dm]
    await store.mark_ask_posting(dm, "a")
    await store.drop_ask_post(dm)
    await store.mark_ask_posted(dm, reference="late", shown=1)
    await store.vote(record.id, BEN, version=1)
    assert await due(store, "other/", "test/") == []
    assert [one.id for one in await store.unplanned_asks(serves=ALL)] == [record.id]
    await store.plan_ask(record.id, [(room("room"), "")])
    (again,) = await store.due_ask_posts(serves=ALL)
    assert again.number == 2  # one of the others may be visible under its own number


# --- clearing --------------------------------------------------------------------------------------------------


async def test_clearing_removes_the_texts_of_ended_asks_and_leaves_what_their_messages_need(store: Store) -> None:
    lease = await begin(store)
    asks: tuple[Ask, ...] = (DEPLOY, FORM, LINK)
    steps = [waits(one, call_id=f"c{number}") for number, one in enumerate(asks)]
    await store.record(lease, steps, audit=[ENTRY])
    edited = replace(DEPLOY, arguments='{"env": "lab"}')
    approval, form, link = await store.asks()
    edit = replace(BEN, choice="edit", content=edited.arguments)
    await store.vote(approval.id, edit, version=1, edited=edited)
    await store.plan_ask(approval.id, [(room("room"), "")])
    ((post_id, *_),) = await due(store)
    await store.mark_ask_posted(post_id, reference="ref", shown=2)
    await finish(store, lease, *said("a"))
    pending_lease, pending = await asking(store)
    await store.clear(room("room"))
    cleared = await read(store, approval.id)
    assert cleared.ask == replace(DEPLOY, arguments="", change="") and cleared.original == ""
    assert cleared.votes == (replace(edit, content=""),) and cleared.state == "void"
    assert cleared.event_key and cleared.asker == "test:u1"
    assert (await read(store, form.id)).ask == replace(FORM, message="", schema={})
    assert (await read(store, link.id)).ask == replace(LINK, message="", url="")
    assert await due(store) == [(post_id, 2, "ref")]
    assert await read(store, pending.id) == pending and await store.steps(pending_lease.turn_id) == [waits()]
    assert [line.entry for line in await store.audit_lines()] == [ENTRY]


# --- grants and pins -------------------------------------------------------------------------------------------


def grant_of(*, until: float = 0.0, person: str = "ben", channel: str = "room", rule_key: str = "r1") -> Grant:
    return Grant(
        person=person,
        conversation=room(channel),
        server="deploys",
        tool="deploy",
        rule_key=rule_key,
        until=until,
    )


async def test_a_grant_holds_until_its_end_for_exactly_what_it_was_given_for(store: Store, clock: Clock) -> None:
    _, record = await asking(store)
    vote = replace(BEN, choice="run_for_an_hour")
    grant = grant_of(until=NOW + 60)
    assert await store.vote(record.id, vote, version=1, settles=APPROVED, grant=grant) == "made"
    assert await store.has_grant(grant_of())
    for other in (grant_of(person="eva"), grant_of(channel="other"), grant_of(rule_key="r2")):
        assert not await store.has_grant(other)
    assert not await store.has_grant(replace(grant, tool="undeploy"))
    clock.now = NOW + 60
    assert not await store.has_grant(grant)


async def test_a_later_grant_takes_the_place_of_an_equal_one(store: Store, clock: Clock) -> None:
    for until in (NOW + 60, NOW + 120):
        _, record = await asking(store)
        await store.vote(record.id, BEN, version=1, settles=APPROVED, grant=grant_of(until=until))
        await finish(store, (await claim_one(store)).lease)
    clock.now = NOW + 100
    assert await store.has_grant(grant_of())


def pin(tool: str, accepted: str, changed: str = "") -> Pin:
    return Pin(server="deploys", tool=tool, accepted=accepted, changed=changed)


async def test_a_tool_is_pinned_at_first_sight_and_its_changes_are_kept_until_they_are_accepted(store: Store) -> None:
    await store.put_pins([pin("b", "1"), pin("a", "1")])
    assert await store.pins() == [pin("a", "1"), pin("b", "1")]
    await store.put_pins([pin("a", "1"), pin("b", "2")])
    assert await store.pins() == [pin("a", "1"), pin("b", "1", "2")]
    await store.put_pins([pin("b", "1", "3")])
    assert await store.pins() == [pin("a", "1"), pin("b", "1", "3")]
    await store.accept_pins([pin("b", "1", "3")], audit=[replace(ENTRY, kind="act")])
    assert await store.pins() == [pin("a", "1"), pin("b", "3")]
    assert [line.entry.kind for line in await store.audit_lines()] == ["act"]


async def test_a_tool_that_is_as_it_was_accepted_has_not_changed_any_more(store: Store) -> None:
    await store.put_pins([pin("a", "1")])
    await store.put_pins([pin("a", "2")])
    await store.put_pins([pin("a", "1")])
    assert await store.pins() == [pin("a", "1")]


async def test_what_an_operator_did_not_see_is_not_accepted(store: Store) -> None:
    await store.put_pins([pin("a", "1")])
    await store.put_pins([pin("a", "2")])
    seen = await store.pins()
    await store.put_pins([pin("a", "3")])
    await store.accept_pins(seen, audit=[])
    assert await store.pins() == [pin("a", "2", "3")]


# --- the audit -------------------------------------------------------------------------------------------------


def is_whole(lines: Sequence[AuditLine]) -> bool:
    chain = Chain()
    return all(chain.follow(line) for line in lines)


async def test_what_may_be_told_twice_is_in_the_audit_once_within_an_hour(store: Store, clock: Clock) -> None:
    for _ in range(2):
        await store.audit([ENTRY], once="refused a")
    await store.audit([ENTRY], once="refused b")
    assert len(await store.audit_lines()) == 2
    clock.now += 3_601
    await store.audit([ENTRY], once="refused a")
    assert len(await store.audit_lines()) == 3


async def test_the_audit_is_appended_with_what_it_tells_of_as_one_chain(store: Store) -> None:
    lease = await begin(store)
    entries = [
        replace(ENTRY, outcome=str(number), approvers=("test:eva", "test:ben"), turn_id=7, call_id="c1", at=NOW + 0.1)
        for number in range(6)
    ]
    await store.audit(entries[:2])
    await store.audit([])
    await store.record(lease, [CallStarted(round=0, call_id="c1")], audit=entries[2:3])
    await store.record(lease, [], audit=entries[3:4])
    await store.park(lease, [waits()], wakes_at=0.0, audit=entries[4:5])
    await store.wake_expired()
    lease = (await claim_one(store)).lease
    await store.reply(lease, state="failed", messages=[], posts=[], usage=Usage(), audit=entries[5:])
    lines = await store.audit_lines()
    assert [line.entry for line in lines] == entries and [line.number for line in lines] == [1, 2, 3, 4, 5, 6]
    assert is_whole(lines)


async def test_processes_that_append_at_the_same_moment_make_one_chain(store: Store, opened: OpenStore) -> None:
    async with opened() as other:
        await asyncio.gather(
            *((store, other)[number % 2].audit([replace(ENTRY, outcome=str(number))] * 2) for number in range(40))
        )
    lines = await store.audit_lines()
    assert len(lines) == 80 and is_whole(lines)


async def test_texts_that_no_database_takes_do_not_break_the_chain(store: Store) -> None:
    await store.audit([replace(ENTRY, arguments="a\0b\ud800", approvers=("\udfff",), rule="\ud83d")])
    lines = await store.audit_lines()
    assert lines[0].entry.arguments == "a\ufffdb\ufffd" and is_whole(lines)


async def test_lines_are_found_by_time_person_and_tool_page_by_page(store: Store) -> None:
    tools = ["deploy", "undeploy", "deploy/now", "Deploy"]
    people = ["test:ann", "test:ben"]
    entries = [
        replace(ENTRY, at=NOW + number, person=person, tool=tool)
        for number, (tool, person) in enumerate(itertools.product(tools, people))
    ]
    await store.audit(entries)

    async def numbers(
        *, after: int = 0, since: float = 0.0, person: str = "", tool: str = "", limit: int = 9
    ) -> list[int]:
        lines = await store.audit_lines(after=after, since=since, person=person, tool=tool, limit=limit)
        return [line.number for line in lines]

    assert await numbers(since=NOW + 6) == [7, 8]
    assert await numbers(person="test:ben") == [2, 4, 6, 8]
    assert await numbers(tool="deploys/deploy") == [1, 2]
    assert await numbers(tool="deploys/*") == [1, 2, 3, 4, 7, 8]
    assert await numbers(tool="*/*deploy", person="test:ann") == [1, 3]
    assert await numbers(tool="deploys") == await numbers(tool="other/*") == []
    assert await numbers(limit=3) == [1, 2, 3]
    assert await numbers(after=3, limit=3, tool="*/*") == [4, 7, 8]


# --- calls of the past -----------------------------------------------------------------------------------------


def asked(call_id: str, *, round_number: int = 0, tool: str = "deploy") -> CallAsked:
    call = ToolCall(id=call_id, name=f"deploys__{tool}", arguments=f'{{"id": "{call_id}"}}')
    return CallAsked(round=round_number, call=call, server="deploys", tool=tool)


def judged(call_id: str, verdict: Verdict) -> CallJudged:
    return CallJudged(round=0, call_id=call_id, verdict=verdict, rule="r")


async def run(store: Store, *steps: Step, conversation: str = "room") -> int:
    lease = await begin(store, conversation)
    await store.record(lease, steps)
    await finish(store, lease)
    return lease.turn_id


async def test_calls_of_the_past_are_read_with_what_was_asked_and_what_the_policy_said(
    store: Store, clock: Clock
) -> None:
    first = await run(store, asked("c1"), asked("c2"), judged("c1", "ask"), judged("c1", "allow"), judged("c2", "deny"))
    clock.now += 60
    await run(store)
    second = await run(store, asked("c1", round_number=3, tool="undo"))
    calls = await store.past_calls(since=NOW)
    assert [(call.turn_id, call.tool, call.verdict) for call in calls] == [
        (first, "deploy", "ask"),
        (first, "deploy", "deny"),
        (second, "undo", ""),
    ]
    assert calls[0] == PastCall(
        turn_id=first,
        event=calls[0].event,
        server="deploys",
        tool="deploy",
        arguments='{"id": "c1"}',
        at=NOW,
        verdict="ask",
    )
    assert calls[0].event.actor.id == "u1"
    assert await store.past_calls(since=NOW + 1) == calls[2:]


async def test_pages_of_past_calls_break_between_turns(store: Store) -> None:
    turns = [await run(store, *(asked(f"c{number}") for number in range(3))) for _ in range(3)]
    for _ in range(5):
        await run(store)
    last = await run(store, asked("c1"))
    pages: list[list[int]] = []
    after = 0
    while page := await store.past_calls(since=0.0, after=after, limit=4):
        pages.append([call.turn_id for call in page])
        after = page[-1].turn_id
    assert pages == [[turns[0]] * 3, [turns[1]] * 3, [turns[2]] * 3 + [last]]
    assert len(await store.past_calls(since=0.0, limit=1)) == 3


async def test_calls_that_were_cleared_are_of_the_past_no_more(store: Store) -> None:
    await run(store, asked("c1"))
    await store.clear(room("room"))
    assert await store.past_calls(since=0.0) == []
