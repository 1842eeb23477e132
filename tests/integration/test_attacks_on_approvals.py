"""Attacks on approvals: forged and replayed presses, other people's approvals, arguments that change on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.answers import Details, Done, Refused
from bot.domain.events import ConversationKey
from bot.domain.people import Standing
from bot.intake.bounds import MAX_OWN_UNDECIDED
from bot.turns.calls import MAX_ASKS, MAX_CALLS
from tests.fakes.bots import notice_of
from tests.fakes.ports import calls, says
from tests.integration.attacking import (
    ADA,
    ALLOWS_ALL,
    ASKS_ADA,
    BEN,
    BEN_TOO,
    CLEO,
    DEPLOY,
    EVE,
    GUEST,
    HERE,
    ONCALL,
    PROD,
    SENT,
    TWO_OF_ONCALL,
    details_asked,
    filled,
    form_asked,
    oncall,
    said,
    site,
)

# --- forged and replayed presses ---


@pytest.mark.parametrize("ask_id", [0, -1, 2, 2**63, -(2**64), int("9" * 4_000)])
async def test_a_press_on_an_ask_that_there_is_not_decides_nothing(tmp_path: Path, ask_id: int) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        assert isinstance(await at.press(view, ADA, ask_id=ask_id), Refused)
        assert isinstance(await at.bot.inbox.details(details_asked(view, ADA, ask_id=ask_id)), Refused)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


@pytest.mark.parametrize("digest", ["", "0" * 64, "x" * 5_000])
async def test_a_press_with_another_digest_than_the_one_shown_decides_nothing(tmp_path: Path, digest: str) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        assert isinstance(await at.press(view, ADA, digest=digest), Refused)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_the_digest_of_another_call_approves_only_that_call(tmp_path: Path) -> None:
    dev = calls(DEPLOY.name, arguments='{"env": "dev"}')
    async with site(tmp_path, dev) as at:
        harmless = await at.ask("dev")
        await at.press(harmless, ADA, "decline")
        await at.end()
        at.model.answers = [PROD]
        view = await at.ask("prod")
        assert isinstance(await at.press(view, ADA, digest=harmless.digest), Refused)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_one_press_delivered_again_and_again_runs_the_call_once(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        outcomes = await asyncio.gather(*(at.press(view, ADA) for _ in range(10)))
        await at.end()
        late = await at.press(view, ADA)
    assert [type(outcome) for outcome in outcomes].count(Done) == 1
    assert isinstance(late, Refused) and at.servers.got == SENT


async def test_presses_of_many_at_the_same_moment_count_each_person_once_and_run_the_call_once(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall()) as at:
        view = await at.ask()
        await asyncio.gather(*(at.press(view, by) for by in (BEN, BEN, EVE, BEN, ADA)))
        assert await at.state(view) == "pending"
        await asyncio.gather(*(at.press(view, by) for by in (CLEO, BEN, CLEO)))
        await at.end()
        record = await at.store.ask(view.ask_id)
    assert record is not None and sorted(vote.by for vote in record.votes) == ["slack:T1:U2", "slack:T1:U3"]
    assert at.servers.got == SENT


async def test_one_of_run_and_decline_at_the_same_moment_counts(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        await asyncio.gather(at.press(view, ADA), at.press(view, ADA, "decline"))
        await at.end()
        state = await at.state(view)
    assert len(at.servers.got) == (1 if state == "approved" else 0)


@pytest.mark.parametrize("ends", ["expired", "declined", "stopped"])
async def test_a_press_on_what_has_ended_runs_nothing(tmp_path: Path, ends: str) -> None:
    text = ASKS_ADA + ('expires = "1s"\n' if ends == "expired" else "")
    async with site(tmp_path, PROD, text=text) as at:
        view = await at.ask()
        if ends == "declined":
            await at.press(view, ADA, "decline")
        elif ends == "stopped":
            assert (await at.bot.command("stop", HERE)) == "Stopping."
        await at.adapter.wait_for_ask(lambda shown: shown.ask_id == view.ask_id and shown.state != "pending")
        assert isinstance(await at.press(view, ADA), Refused)
        assert isinstance(await at.bot.inbox.submit(filled(f"edit:{view.ask_id}", ADA, {})), Refused)
    assert at.servers.got == []


# --- other people's approvals ---


async def test_neither_strangers_nor_operators_nor_the_asker_decide_where_the_rule_names_others(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall()) as at:
        view = await at.ask()
        for by in (EVE, ADA, "U404"):
            for choice in ("run", "run_for_an_hour"):
                assert isinstance(await at.press(view, by, choice), Refused)
        assert isinstance(await at.press(view, EVE, "decline"), Refused)
        assert isinstance(await at.press(view, EVE, "withdraw"), Refused)
        assert isinstance(await at.bot.inbox.form(form_asked(view.form_target, EVE)), Refused)
        assert isinstance(await at.bot.inbox.submit(filled(view.form_target, EVE, {"env": "dev"})), Refused)
        record = await at.store.ask(view.ask_id)
        refused = [line.entry for line in await at.store.audit_lines() if line.entry.kind == "refused"]
    assert record is not None and (record.state, record.votes) == ("pending", ())
    assert at.servers.got == [] and len(refused) == 10


@pytest.mark.parametrize("standing", [GUEST, Standing(problem="Slack could not be asked")])
async def test_who_is_or_may_be_a_guest_decides_nothing_though_the_rule_lets_everybody_approve(
    tmp_path: Path, standing: Standing
) -> None:
    async with site(tmp_path, PROD, text=ASKS_ADA + 'approvers = ["*"]\n') as at:
        view = await at.ask()
        assert isinstance(await at.press(view, EVE, standing=standing), Refused)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_two_accounts_of_one_person_are_one_approval(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall(BEN_TOO)) as at:
        view = await at.ask()
        await at.press(view, BEN)
        again = await at.press(view, BEN_TOO)
        assert isinstance(again, Done) and "already: 1 of 2" in again.notice
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_accounts_that_are_linked_after_the_first_approval_are_one_approval_too(tmp_path: Path) -> None:
    unlinked = TWO_OF_ONCALL.replace('ben = ["slack:T1:U2", "slack:T1:U22"]', "")
    async with site(tmp_path, PROD, text=unlinked, groups=oncall(BEN_TOO)) as at:
        view = await at.ask()
        await at.press(view, BEN)
        at.file.write(TWO_OF_ONCALL)
        await at.press(view, BEN_TOO)
        if await at.state(view) == "approved":
            await at.end()
    assert at.servers.got == []


async def test_the_askers_other_account_is_the_asker(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall(BEN_TOO)) as at:
        view = await at.ask(by=BEN)
        assert isinstance(await at.press(view, BEN_TOO), Refused)
    assert at.servers.got == []


async def test_someone_who_has_left_the_group_is_not_counted_when_the_next_one_approves(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall()) as at:
        view = await at.ask()
        await at.press(view, BEN)
        at.groups.holds[ONCALL].discard(BEN)
        assert isinstance(await at.press(view, CLEO), Done)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_a_press_while_the_platform_does_not_say_who_the_asker_is_decides_nothing(tmp_path: Path) -> None:
    denies = f'[[rule]]\nname = "not they"\ntools = ["*/*"]\npeople = ["{ONCALL}"]\nthen = "deny"\n'
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        at.file.write(denies + ASKS_ADA)
        at.groups.problem = "Slack does not answer"
        refused = await at.press(view, ADA)
        assert isinstance(refused, Refused) and "Slack does not answer" in refused.notice
        assert await at.state(view) == "pending" and at.servers.got == []
        at.groups.problem = ""
        assert isinstance(await at.press(view, ADA), Done)
        await at.end()
    assert at.servers.got == SENT


async def test_an_hour_is_granted_to_one_tool_one_person_and_one_conversation(tmp_path: Path) -> None:
    other = replace(DEPLOY, name="deploys__remove", tool="remove")
    remove = calls(other.name, arguments="{}")
    async with site(tmp_path, PROD, specs=(DEPLOY, other)) as at:
        assert isinstance(await at.press(await at.ask(), ADA, "run_for_an_hour"), Done)
        await at.end()
        at.model.answers = [PROD]
        elsewhere = replace(said("there"), conversation=replace(HERE, thread="2.2"))
        await at.bot.say(elsewhere)
        await at.adapter.wait_for_ask(lambda view: view.ask_id == 2 and view.state == "pending")
        await at.ask("as Ben", by=BEN)
        at.model.answers = [remove]
        await at.ask("another tool")
    assert at.servers.got == SENT


async def test_an_hour_cannot_be_taken_where_it_is_not_offered(tmp_path: Path) -> None:
    text = ASKS_ADA + 'approvers = ["slack:T1:U2"]\n'
    async with site(tmp_path, PROD, text=text) as at:
        view = await at.ask()
        assert "run_for_an_hour" not in view.choices
        await at.press(view, BEN, "run_for_an_hour")
        await at.end()
        at.model.answers = [PROD]
        await at.ask("again")
    assert at.servers.got == SENT


async def test_details_of_a_question_are_for_those_who_may_use_the_bot_here_or_decide(tmp_path: Path) -> None:
    elsewhere = ConversationKey(platform="slack", space="T1", channel="C7")
    async with site(tmp_path, PROD, text='[access]\npeople = ["slack:T1:U1"]\n' + ASKS_ADA) as at:
        view = await at.ask()
        assert isinstance(await at.bot.inbox.details(details_asked(view, ADA)), Details)
        assert isinstance(await at.bot.inbox.details(details_asked(view, EVE)), Refused)
        assert isinstance(await at.bot.inbox.details(details_asked(view, EVE, conversation=elsewhere)), Refused)
        await at.press(view, ADA, "decline")
        assert isinstance(await at.bot.inbox.details(details_asked(view, EVE)), Refused)


# --- more than people can look at ---


async def test_of_very_many_calls_at_once_only_some_are_made_and_the_model_reads_which(tmp_path: Path) -> None:
    many = calls(*[DEPLOY.name] * (MAX_CALLS + 3), arguments='{"env": "prod"}')
    async with site(tmp_path, many, text=ALLOWS_ALL) as at:
        read = await at.answered()
    assert len(at.servers.got) == MAX_CALLS
    assert ["was not made" in text for text in read[MAX_CALLS:]] == [True] * 3


async def test_one_answer_asks_people_only_a_few_times(tmp_path: Path) -> None:
    many = calls(*[DEPLOY.name] * (MAX_ASKS + 5), arguments='{"env": "prod"}')
    async with site(tmp_path, many) as at:
        await at.ask()
        await at.adapter.wait_for_ask(lambda _: len(at.adapter.asks) >= MAX_ASKS)
        for post in list(at.adapter.asks.values()):
            await at.press(post.view, ADA)
        await at.end()
        read = at.read_by_the_model()
        assert len(at.adapter.asks) == MAX_ASKS
    assert len(at.servers.got) == MAX_ASKS
    assert ["was not made" in text for text in read[MAX_ASKS:]] == [True] * 5


async def test_questions_that_wait_for_decisions_are_not_collected_without_end(tmp_path: Path) -> None:
    async with site(tmp_path, *[PROD] * MAX_OWN_UNDECIDED, says("As you like."), PROD) as at:
        views = [await at.ask(f"deploy {number}") for number in range(MAX_OWN_UNDECIDED)]
        refused = notice_of(await at.bot.inbox.accept(said("one more")))
        assert f"{MAX_OWN_UNDECIDED} questions of yours are waiting for a decision" in refused
        await at.press(views[0], ADA, "decline")
        await at.end()
        assert await at.ask("there is room again")
