"""What every Store keeps to of budgets: sums by ledger and period, charged with the steps that cost, warned of once."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bot.domain.answers import Known, Queued
from bot.domain.budgets import Bound, BudgetWarning, Charge, Limit, Measure, Period, Spent, Toll
from bot.domain.errors import LeaseLostError
from bot.domain.events import ConversationKey
from bot.domain.messages import AssistantMessage, ModelAnswer, Usage
from bot.domain.turns import CallWaiting, ModelAnswered
from bot.ports.intake_store import OverBudget
from bot.ports.store import Store
from tests.contracts.stores import HERE, THERE, Clock, OpenStore, begin, claim_one, finish, post, question, said

TODAY = Period(name="day", key="2026-11-29", ends_at=1_800_100_000.0)
LEDGERS = ("person:test:u1", "place:test:team:room", "all")
TOKENS = Usage(input_tokens=10, cached_tokens=4, output_tokens=2, micro_usd=7, unpriced_tokens=1)


def charge(usage: Usage = TOKENS, *, turns: int = 0, ledgers: Sequence[str] = LEDGERS) -> Charge:
    return Charge(ledgers=tuple(ledgers), periods=("2026-11-29", "2026-11"), spent=Spent(turns=turns, usage=usage))


def bound(amount: int, *, measure: Measure = "turns", ledgers: Sequence[str] = LEDGERS[:1]) -> Bound:
    limit = Limit(scope="person", measure=measure, period="day", amount=amount)
    return Bound(limit=limit, period=TODAY, name="person:ann", ledgers=tuple(ledgers))


async def spent(store: Store, ledger: str = "all", period: str = "2026-11-29") -> Spent:
    return (await store.spending([ledger], [period]))[period]


ANSWERED = ModelAnswered(round=0, answer=ModelAnswer(message=AssistantMessage(text="4"), usage=TOKENS))


async def test_what_steps_cost_is_charged_with_them(store: Store) -> None:
    lease = await begin(store)
    await store.record(lease, [ANSWERED], charge=charge())
    for ledger in LEDGERS:
        for period in ("2026-11-29", "2026-11"):
            assert await spent(store, ledger, period) == Spent(usage=TOKENS)
    await store.park(
        lease, [CallWaiting(round=0, call_id="c", reason="", expires_at=2e9)], wakes_at=2e9, charge=charge()
    )
    assert await spent(store) == Spent(usage=TOKENS + TOKENS)
    assert await spent(store, "person:other") == Spent()
    assert await spent(store, period="2026-11-30") == Spent()


async def test_a_turn_that_was_taken_over_charges_nothing(store: Store) -> None:
    old = await begin(store)
    await store.expire(HERE)
    new = (await claim_one(store, worker=THERE)).lease
    for step in ([ANSWERED], []):
        with pytest.raises(LeaseLostError):
            await store.record(old, step, charge=charge())
    with pytest.raises(LeaseLostError):
        await store.reply(old, state="answered", messages=(), posts=[post(old)], usage=TOKENS, charge=charge())
    assert await spent(store) == Spent()
    await store.reply(new, state="answered", messages=(), posts=[post(new)], usage=TOKENS, charge=charge())
    assert await spent(store) == Spent(usage=TOKENS)


async def test_a_summary_is_charged_also_where_it_is_not_kept(store: Store) -> None:
    lease = await begin(store)
    await finish(store, lease, *said("one"))
    here = question().conversation
    for is_kept, past in ((False, 99), (True, lease.turn_id)):
        kept = await store.put_summary(
            here, "Of one.", past_turn_id=past, summary_end=0, turn_id=lease.turn_id, usage=TOKENS, charge=charge()
        )
        assert kept == is_kept
    assert await spent(store) == Spent(usage=TOKENS + TOKENS)


async def test_of_many_questions_at_once_only_as_many_are_taken_as_there_is_room_for(opened: OpenStore) -> None:
    toll = Toll(charge=charge(Usage(), turns=1), bounds=(bound(3),))
    async with opened() as one, opened() as other:
        outcomes = await asyncio.gather(
            *(
                store.accept(question(f"room-{number}"), worker=HERE, max_waiting=20, toll=toll)
                for number in range(10)
                for store in (one, other)
            )
        )
        assert sum(isinstance(outcome, Queued) for outcome in outcomes) == 3
        refused = next(outcome for outcome in outcomes if isinstance(outcome, OverBudget))
        assert [(used.bound, used.amount) for used in refused.used] == [(bound(3), 3)]
        assert (await spent(other)).turns == 3


async def test_a_redelivery_is_known_and_costs_nothing_also_where_the_budget_is_used_up(store: Store) -> None:
    toll, event = Toll(charge=charge(Usage(), turns=1), bounds=(bound(1),)), question()
    assert isinstance(await store.accept(event, worker=HERE, max_waiting=20, toll=toll), Queued)
    assert isinstance(await store.accept(event, worker=HERE, max_waiting=20, toll=toll), Known)
    assert isinstance(await store.accept(question(), worker=HERE, max_waiting=20, toll=toll), OverBudget)
    assert (await spent(store)).turns == 1


async def test_the_accounts_of_one_person_are_counted_together(store: Store) -> None:
    await store.charge(charge(turns=1, ledgers=["person:slack:T1:U1"]))
    await store.charge(charge(turns=2, ledgers=["person:discord:300"]))
    both = ["person:slack:T1:U1", "person:discord:300"]
    bounds = [
        bound(9, ledgers=both),
        bound(9, measure="tokens", ledgers=both),
        bound(9, measure="usd", ledgers=both[:1]),
    ]
    assert [used.amount for used in await store.used(bounds)] == [3, 24, 7]
    assert await store.used([]) == []


@pytest.mark.parametrize("seed", range(5))
async def test_the_ledger_is_the_sum_of_its_charges(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    model: defaultdict[tuple[str, str], Spent] = defaultdict(Spent)
    ledgers, periods = ("a", "b", "c"), ("2026-11-29", "2026-11-30", "2026-11")
    for _ in range(30):
        usage = Usage(input_tokens=rng.randrange(9), output_tokens=rng.choice((0, 2**40)), micro_usd=rng.randrange(3))
        one = Charge(
            ledgers=tuple(rng.sample(ledgers, rng.randint(1, 3))),
            periods=tuple(rng.sample(periods, rng.randint(1, 3))),
            spent=Spent(turns=rng.randrange(2), usage=usage),
        )
        await store.charge(one)
        for ledger in one.ledgers:
            for period in one.periods:
                model[ledger, period] += one.spent
    for ledger in ledgers:
        assert await store.spending([ledger], periods) == {period: model[ledger, period] for period in periods}
    both = await store.spending(["a", "b"], periods)
    assert both == {period: model["a", period] + model["b", period] for period in periods}


async def test_the_ledgers_that_used_most_come_first(store: Store) -> None:
    await store.charge(charge(replace(TOKENS, micro_usd=5), ledgers=["little"]))
    await store.charge(charge(replace(TOKENS, micro_usd=9), ledgers=["much"]))
    assert [name for name, _ in await store.top_ledgers("2026-11", limit=9)] == ["much", "little"]
    assert [name for name, _ in await store.top_ledgers("2026-11", limit=1)] == ["much"]


# --- warnings ---

PLACE = ConversationKey(platform="test", space="team", channel="ops")


def warning(percent: int = 75, *, place: str = "", name: str = "person:ann") -> BudgetWarning:
    text = "The budget is nearly used up." if place else ""
    return BudgetWarning(name=name, period="2026-11", measure="usd", percent=percent, place=place, text=text)


async def test_a_warning_belongs_to_one_turn_in_whichever_attempt(store: Store) -> None:
    assert await store.warn([warning()], turn_id=7) == [warning()]
    assert await store.warn([warning(), warning(95)], turn_id=8) == [warning(95)]
    assert await store.warn([warning()], turn_id=7) == [warning()]  # after a crash


async def test_a_notice_is_posted_by_one_process_and_once(opened: OpenStore) -> None:
    async with opened() as one, opened() as other:
        assert await one.warn([warning(place=str(PLACE))], turn_id=7) == []
        await other.warn([warning(place=str(PLACE))], turn_id=8)
        assert await one.due_notices(serves=["other/"], retry_s=60) == []
        (due,) = await one.due_notices(serves=["test/"], retry_s=60)
        assert (due.notice.place, due.notice.text, due.may_be_visible) == (PLACE, warning(place="x").text, False)
        assert await other.due_notices(serves=["test/"], retry_s=60) == []
        await one.mark_notice(due.id, reference="ref")
        assert await one.due_notices(serves=["test/"], retry_s=0) == []


@pytest.mark.parametrize("by_s", [61.0, -3_600.0])
async def test_a_notice_whose_process_died_is_taken_again_and_may_be_visible(
    store: Store, clock: Clock, by_s: float
) -> None:
    await store.warn([warning(place=str(PLACE))], turn_id=7)
    (first,) = await store.due_notices(serves=["test/"], retry_s=60)
    clock.set(by_s)
    (again,) = await store.due_notices(serves=["test/"], retry_s=60)
    assert (again.notice, again.may_be_visible) == (first.notice, True)
    await store.mark_notice(again.id, reference="")  # its place does not take it
    clock.now += 1_000
    assert await store.due_notices(serves=["test/"], retry_s=60) == []
