"""Attacks on budgets: floods, questions at the same moment, stops, waits, other accounts, deaths between commits."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from bot.domain.answers import Done, Queued, Refused
from bot.domain.budgets import Spent
from bot.domain.events import ConversationKey, MessageReceived, RunRequest
from bot.domain.messages import ModelAnswer, Usage
from bot.domain.turns import TokensSpent
from bot.ports.model import ModelProgressSink, ModelRequest
from bot.turns.notices import NoticeDesk
from tests.attacks.budgets import measure
from tests.fakes.ports import ScriptedModel, calls, says
from tests.integration.attacking import (
    ADA,
    ALLOWS_ALL,
    ASKS_ADA,
    BEN,
    BEN_TOO,
    CLEO,
    DEPLOY,
    HERE,
    PROD,
    SENT,
    Site,
    said,
    site,
)

OPENS = r"It opens again on \[\d{4}-\d\d-\d\d 00:00 UTC\]\(time:\d+\)\."
TEN = replace(says("Ten tokens."), usage=Usage(input_tokens=8, output_tokens=2, micro_usd=1_000))


def budget(text: str, *, rules: str = ALLOWS_ALL) -> str:
    return f"{rules}\n[budgets]\n{text}\n"


def asked(text: str, *, by: str = ADA, channel: str = "C042", thread: str = "1.1") -> MessageReceived:
    place = ConversationKey(platform="slack", space="T1", channel=channel, thread=thread)
    return replace(said(text, by=by), conversation=place, event_key=f"{channel} {thread} {by} {text}")


async def spent(at: Site, ledger: str = "all") -> Spent:
    today = datetime.now(UTC).date().isoformat()
    return (await at.store.spending([ledger], [today]))[today]


async def test_of_a_flood_in_many_threads_only_the_budgets_turns_are_taken_and_others_go_on(tmp_path: Path) -> None:
    async with site(tmp_path, TEN, text=budget("person = { turns_per_day = 5 }")) as at:
        flood = [at.bot.inbox.accept(asked("now", thread=f"{number}.0")) for number in range(40)]
        outcomes = await asyncio.gather(*flood)
        refused = [one for one in outcomes if isinstance(one, Refused)]
        assert sum(isinstance(one, Queued) for one in outcomes) == 5 and len(refused) == 35
        assert re.fullmatch(rf"Your budget for today is used up \(5 turns of 5\)\. {OPENS}", refused[0].notice)
        assert isinstance(await at.bot.inbox.accept(asked("hello", by=BEN)), Queued)
        await at.adapter.wait_for_posts(6)
        assert (await spent(at)).turns == 6 and (await spent(at, "person:slack:T1:U1")).turns == 5


async def test_who_goes_on_talking_in_a_thread_hears_the_reason_once(tmp_path: Path) -> None:
    async with site(tmp_path, TEN, text=budget("person = { turns_per_day = 1 }")) as at:
        await at.bot.say(said("first"))
        follow_ups = [replace(said(f"and {number}"), is_addressed=False) for number in range(5)]
        told = [await at.bot.inbox.accept(one) for one in follow_ups]
        assert [isinstance(one, Refused) and bool(one.notice) for one in told] == [True, False, False, False, False]
        asked_again = await at.bot.inbox.accept(said("by a mention"))
        assert isinstance(asked_again, Refused) and asked_again.notice


async def test_a_call_made_by_hand_counts_as_a_turn_and_is_refused_like_one(tmp_path: Path) -> None:
    async with site(tmp_path, text=budget("person = { turns_per_day = 1 }")) as at:
        run = RunRequest(name=DEPLOY.name, arguments='{"env": "prod"}')
        await at.bot.say(said("run it", run=run))
        await at.end()
        assert isinstance(await at.bot.inbox.accept(said("run it again", run=run)), Refused)
        assert at.servers.got == SENT and (await spent(at)).usage == Usage()


async def test_calls_to_the_model_that_cross_a_bound_at_once_may_finish_and_then_nothing_is_asked(
    tmp_path: Path,
) -> None:
    both = asyncio.Barrier(2)

    async def at_once(_: ModelRequest) -> ModelAnswer:
        await both.wait()
        return TEN

    async with site(tmp_path, at_once, at_once, text=budget("all = { tokens_per_day = 10 }")) as at:
        for name in ("1.0", "2.0"):
            await at.bot.say(asked("now", thread=name))
        assert [text.splitlines()[0] for text in await at.adapter.wait_for_posts(2)] == ["Ten tokens."] * 2
        outcome = await at.bot.inbox.accept(asked("more", by=BEN, thread="3.0"))
        assert isinstance(outcome, Refused)
        # What all have used is for operators.
        assert re.fullmatch(rf"The bot's budget for today is used up\. {OPENS}", outcome.notice)
        assert len(at.model.requests) == 2 and (await spent(at)).usage.output_tokens == 4


async def test_a_turn_in_the_middle_ends_with_what_it_has_and_the_reason(tmp_path: Path) -> None:
    first = replace(calls(DEPLOY.name, text="I deploy it.", arguments='{"env": "prod"}'), usage=TEN.usage)
    async with site(tmp_path, first, text=budget("person = { usd_per_day = 0.001 }")) as at:
        await at.bot.say(said("deploy it"))
        (text,) = await at.adapter.wait_for_posts(1)
        assert text.startswith(
            "I deploy it.\n\nYour budget for today is used up ($0.0010 of $0.0010). It opens again on "
        )
        assert "time:" not in text and text.count("used up") == 1
        assert at.servers.got == SENT and len(at.model.requests) == 1
        entries = await at.store.transcript(HERE, limit=9)
        stored = "\n\n".join(entry.message.text for entry in entries if entry.message.kind == "assistant")
        assert stored == text


async def test_a_turn_that_waited_is_checked_before_the_model_is_asked_again(tmp_path: Path) -> None:
    first = replace(PROD, usage=Usage(input_tokens=1))
    async with site(tmp_path, first, TEN, text=budget("person = { tokens_per_day = 10 }", rules=ASKS_ADA)) as at:
        view = await at.ask("deploy it")
        await at.bot.say(asked("meanwhile", thread="2.0"))
        await at.adapter.wait_for_posts(1)
        assert isinstance(await at.press(view, ADA), Done)
        texts = await at.adapter.wait_for_posts(2)
        assert texts[1].startswith("Your budget for today is used up (11 tokens of 10).")
        assert at.servers.got == SENT  # it was approved: what is refused is the next call to the model
        assert len(at.model.requests) == 2


async def test_two_accounts_of_one_person_have_one_budget(tmp_path: Path) -> None:
    people = '[people]\nben = ["slack:T1:U2", "slack:T1:U22"]\n'
    async with site(tmp_path, TEN, text=people + budget("person = { turns_per_day = 2 }")) as at:
        for by in (BEN, BEN_TOO):
            assert isinstance(await at.bot.inbox.accept(asked("hello", by=by)), Queued)
        for by in (BEN, BEN_TOO):
            assert isinstance(await at.bot.inbox.accept(asked("more", by=by)), Refused)
        assert isinstance(await at.bot.inbox.accept(asked("hello", by=CLEO)), Queued)
        await at.adapter.wait_for_posts(3)


async def test_a_thread_belongs_to_its_channels_budget(tmp_path: Path) -> None:
    async with site(tmp_path, TEN, text=budget("place = { turns_per_day = 1 }")) as at:
        assert isinstance(await at.bot.inbox.accept(asked("one", thread="1.0")), Queued)
        refused = await at.bot.inbox.accept(asked("two", by=BEN, thread="2.0"))
        assert isinstance(refused, Refused) and refused.notice.startswith("The budget of this place for today is used")
        assert isinstance(await at.bot.inbox.accept(asked("three", by=BEN, channel="C043")), Queued)
        await at.adapter.wait_for_posts(2)


@dataclass
class Stalls(ScriptedModel):
    """Goes on until it is stopped; then it says what that has cost."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        self.asked.set()
        try:
            return await asyncio.Event().wait() or TEN
        finally:
            progress(TokensSpent(usage=TEN.usage))


async def test_stopping_every_answer_saves_nobody_from_a_budget(tmp_path: Path) -> None:
    async with site(tmp_path, text=budget("person = { tokens_per_day = 20 }")) as at:
        stalls = Stalls([])
        at.bot.runner.resources = replace(at.bot.runner.resources, model=stalls)
        for number in range(2):
            await at.bot.say(asked(f"question {number}"))
            async with asyncio.timeout(10):
                await stalls.asked.wait()
            stalls.asked.clear()
            assert await at.bot.command("stop", HERE) == "Stopping."
            await at.adapter.wait_for_posts(number + 1)
        assert isinstance(await at.bot.inbox.accept(asked("once more")), Refused)
        assert (await spent(at)).usage.input_tokens == 16


async def test_a_death_between_the_commits_neither_loses_nor_doubles_a_cost_or_a_warning(tmp_path: Path) -> None:
    first = replace(PROD, usage=TEN.usage)
    async with site(tmp_path, first, TEN, text=budget("person = { tokens_per_day = 21 }")) as at:
        waiting = asyncio.Event()

        async def dies(_: ModelRequest) -> ModelAnswer:
            at.bot.crash()  # the first answer is stored, this one will be asked for again
            waiting.set()
            return TEN

        at.model.answers = [first, dies, TEN]
        await at.bot.say(said("deploy it"))
        async with asyncio.timeout(10):
            await waiting.wait()
        await at.store.expire("a")
        async with at.next_process():
            (text,) = await at.adapter.wait_for_posts(1)
        assert text.count("You have used 95 % of your budget for today (20 tokens of 21).") == 1
        assert (await spent(at)).usage == TEN.usage + TEN.usage and at.servers.got == SENT


async def test_warnings_come_once_to_the_person_and_once_to_the_operators_place(tmp_path: Path) -> None:
    text = budget(
        'warn_in = "slack:T1:COPS"\nperson = { turns_per_day = 4 }\nall = { tokens_per_day = 50, usd_per_month = 1 }'
    )
    async with site(tmp_path, *[TEN] * 5, text=text) as at:
        async with NoticeDesk(store=at.store, adapters=[at.adapter], sweep_s=0.02).working():
            for number in range(4):
                await at.bot.say(asked(f"question {number}"))
                await at.adapter.wait_for_posts(number + 1)
            await at.bot.say(asked("of another", by=BEN))
            texts = await at.adapter.wait_for_posts(5)
            notices = await at.adapter.wait_for_notices(2)
            await asyncio.sleep(0.1)  # five sweeps of the desk, none of which may post a third
        assert [("You have used" in text, "used up" in text) for text in texts] == [
            (False, False),
            (False, False),
            (True, False),
            (False, True),
            (False, False),
        ]
        assert "You have used 75 % of your budget for today (3 turns of 4)." in texts[2]
        assert len(at.adapter.notices) == 2 and {str(one.place) for one in at.adapter.notices} == {"slack/T1/COPS/"}
        assert re.search(
            r"of all conversations for today \(\d{4}-\d\d-\d\d\) is 80 % used: 40 tokens of 50\.", notices[0]
        )
        assert "is used up: 50 tokens of 50. It opens again on [" in notices[1]


async def test_operators_are_exempt_only_where_the_file_says_so_and_overrides_replace_the_general_budget(
    tmp_path: Path,
) -> None:
    general = "person = { turns_per_day = 1 }"
    override = '[[budgets.override]]\npeople = ["slack:T1:U2"]\nturns_per_day = 2'
    rules = f'[access]\noperators = ["slack:T1:U1"]\n{ALLOWS_ALL}'
    async with site(tmp_path, TEN, text=budget(f"{general}\n{override}", rules=rules)) as at:
        taken = [isinstance(await at.bot.inbox.accept(asked(f"a{n}")), Queued) for n in range(2)]
        assert taken == [True, False]
        taken = [isinstance(await at.bot.inbox.accept(asked(f"b{n}", by=BEN)), Queued) for n in range(3)]
        assert taken == [True, True, False]
        at.file.write(budget(f"operators_exempt = true\n{general}", rules=rules))
        assert isinstance(await at.bot.inbox.accept(asked("a3")), Queued)
        await at.adapter.wait_for_posts(4)
        assert (await spent(at, "person:slack:T1:U1")).turns == 2  # counted all the same


async def test_without_budgets_everything_is_counted_and_nothing_refused(tmp_path: Path) -> None:
    async with site(tmp_path, TEN, text=ALLOWS_ALL) as at:
        await at.answered("hello")
        assert await spent(at) == Spent(turns=1, usage=TEN.usage)


async def test_the_figures_of_the_attacks_are_those_of_the_budget() -> None:
    figures = await measure(flood=60)
    assert figures["taken of them with a budget of 20 turns"] == 20
    assert figures["another person's question: taken"] == "yes"
