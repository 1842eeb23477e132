"""Attacks on approvals: forged and replayed presses, other people's approvals, arguments that change on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.answers import Details, Done, Refused
from bot.domain.asks import Vote
from bot.domain.events import ConversationKey, MessageEdited
from bot.domain.forms import Form
from bot.domain.people import Standing
from tests.fakes.ports import calls
from tests.integration.attacking import (
    ADA,
    ALLOWS_ALL,
    ASKS_ADA,
    BEN,
    CLEO,
    DEPLOY,
    EVE,
    GUEST,
    HERE,
    TWO_OF_ONCALL,
    Groups,
    Site,
    details_asked,
    filled,
    form_asked,
    pressed,
    said,
    site,
)

PROD = calls(DEPLOY.name, arguments='{"env": "prod"}')
BEN_TOO = "U22"  # Ben's other account
ONCALL = "slack:T1:usergroup:S0"
SENT = [("deploys", "deploy", {"env": "prod"})]


def oncall(*more: str) -> Groups:
    return Groups({ONCALL: {ADA, BEN, CLEO, *more}})


async def end(at: Site) -> None:
    """Return once the turn has ended."""
    await at.adapter.wait_for_posts(1)


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
        await end(at)
        at.model.answers = [PROD]
        view = await at.ask("prod")
        assert isinstance(await at.press(view, ADA, digest=harmless.digest), Refused)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_one_press_delivered_again_and_again_runs_the_call_once(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        outcomes = await asyncio.gather(*(at.press(view, ADA) for _ in range(10)))
        await end(at)
        late = await at.press(view, ADA)
    assert [type(outcome) for outcome in outcomes].count(Done) == 1
    assert isinstance(late, Refused) and at.servers.got == SENT


async def test_presses_of_many_at_the_same_moment_count_each_person_once_and_run_the_call_once(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall()) as at:
        view = await at.ask()
        await asyncio.gather(*(at.press(view, by) for by in (BEN, BEN, EVE, BEN, ADA)))
        assert await at.state(view) == "pending"
        await asyncio.gather(*(at.press(view, by) for by in (CLEO, BEN, CLEO)))
        await end(at)
        record = await at.store.ask(view.ask_id)
    assert record is not None and sorted(vote.by for vote in record.votes) == ["slack:T1:U2", "slack:T1:U3"]
    assert at.servers.got == SENT


async def test_one_of_run_and_decline_at_the_same_moment_counts(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        await asyncio.gather(at.press(view, ADA), at.press(view, ADA, "decline"))
        await end(at)
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
            await end(at)
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


@pytest.mark.parametrize("change", ["left the group", "cannot be asked", "denied", "shut out", "asks others"])
async def test_an_approval_is_spent_by_the_policy_and_the_groups_of_the_run(tmp_path: Path, change: str) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall()) as at:
        view = await at.ask()
        at.bot.crash()
        await at.press(view, BEN)
        await at.press(view, CLEO)
        assert await at.state(view) == "approved"
        match change:
            case "left the group":
                at.groups.holds[ONCALL].discard(BEN)
            case "cannot be asked":
                at.groups.problem = "Slack could not be asked"
            case "denied":
                at.file.write(TWO_OF_ONCALL.replace('then = "ask"', 'then = "deny"').partition("approvers")[0])
            case "shut out":
                at.file.write(TWO_OF_ONCALL.replace("[access]", '[access]\npeople = ["slack:T1:U2"]'))
            case _:
                at.file.write(
                    TWO_OF_ONCALL.replace('approvers = ["@oncall"]', 'approvers = ["slack:T1:U3", "slack:T1:U7"]')
                )
        async with at.next_process():
            await end(at)
    assert at.servers.got == []
    assert len(at.read_by_the_model()) == 1


@pytest.mark.parametrize(
    "now",
    [
        '[[rule]]\nname = "never"\ntools = ["*/*"]\nthen = "deny"\n',
        '[access]\npeople = ["slack:T1:U2"]\n' + ASKS_ADA,
        '[access]\nplaces = ["slack:T1:C999"]\n' + ASKS_ADA,
    ],
)
async def test_the_policy_of_the_press_decides_not_that_of_the_question(tmp_path: Path, now: str) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        at.file.write(now)
        assert isinstance(await at.press(view, ADA), Refused)
        await end(at)
    assert at.servers.got == []
    assert at.read_by_the_model() and "could not be approved" in at.read_by_the_model()[0]


async def test_a_press_of_someone_else_ends_nothing_that_the_policy_forbids_by_now(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        at.file.write('[[rule]]\nname = "never"\ntools = ["*/*"]\nthen = "deny"\n')
        refused = await at.press(view, EVE)
        assert isinstance(refused, Refused) and "Only the person who asked" in refused.notice
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_an_hour_is_granted_to_one_tool_one_person_and_one_conversation(tmp_path: Path) -> None:
    other = replace(DEPLOY, name="deploys__remove", tool="remove")
    remove = calls(other.name, arguments="{}")
    async with site(tmp_path, PROD, specs=(DEPLOY, other)) as at:
        assert isinstance(await at.press(await at.ask(), ADA, "run_for_an_hour"), Done)
        await end(at)
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
        await end(at)
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


# --- arguments that change between question and run ---


async def test_an_edit_after_the_first_approval_voids_it_and_the_old_message_approves_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall()) as at:
        view = await at.ask()
        await at.press(view, BEN)
        form = await at.bot.inbox.form(form_asked(view.form_target, ADA))
        assert isinstance(form, Form)
        await at.bot.inbox.submit(filled(view.form_target, ADA, {form.fields[-1].name: '{"env": "worse"}'}))
        assert isinstance(await at.press(view, CLEO), Refused)
        edited = await at.adapter.wait_for_ask(lambda shown: shown.digest != view.digest)
        await at.press(edited, CLEO)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_editing_there_and_back_again_revives_no_approval(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall()) as at:
        view = await at.ask()
        await at.press(view, BEN)
        form = await at.bot.inbox.form(form_asked(view.form_target, ADA))
        assert isinstance(form, Form)
        for env in ("dev", "prod"):
            await at.bot.inbox.submit(filled(view.form_target, ADA, {form.fields[-1].name: f'{{"env": "{env}"}}'}))
        await at.adapter.wait_for_ask(lambda shown: shown.version > view.version + 1)
        await at.press(view, CLEO)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_an_edit_and_an_approval_at_the_same_moment_never_run_what_was_not_approved(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        form = await at.bot.inbox.form(form_asked(view.form_target, ADA))
        assert isinstance(form, Form)
        values = {form.fields[-1].name: '{"env": "worse"}'}
        await asyncio.gather(at.bot.inbox.submit(filled(view.form_target, ADA, values)), at.press(view, ADA))
        if await at.state(view) == "approved":
            await end(at)
    assert at.servers.got in ([], SENT)


async def test_secrets_in_changed_arguments_are_hidden_in_the_question_the_details_and_the_audit(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        form = await at.bot.inbox.form(form_asked(view.form_target, ADA))
        assert isinstance(form, Form)
        secret = '{"env": "dev", "password": "hunter2hunter2"}'
        await at.bot.inbox.submit(filled(view.form_target, ADA, {form.fields[-1].name: secret}))
        edited = await at.adapter.wait_for_ask(lambda shown: shown.digest != view.digest)
        details = await at.bot.inbox.details(details_asked(view, ADA))
        await at.press(edited, ADA)
        await end(at)
        kept = [line.entry for line in await at.store.audit_lines()]
    assert at.servers.got == [("deploys", "deploy", {"env": "dev", "password": "hunter2hunter2"})]
    assert "hunter2" not in repr((edited, details, kept, at.adapter.views))


async def test_a_question_that_is_edited_while_its_call_waits_changes_nothing_of_the_call(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        assert isinstance(
            await at.bot.receive(MessageEdited(message=replace(said("deploy it"), text="look at it"))), Refused
        )
        await at.press(view, ADA)
        await end(at)
    assert at.servers.got == SENT


@pytest.mark.parametrize("standing", [GUEST, Standing(problem="Slack could not be asked")])
async def test_who_is_or_may_be_a_guest_decides_nothing_though_the_rule_lets_everybody_approve(
    tmp_path: Path, standing: Standing
) -> None:
    async with site(tmp_path, PROD, text=ASKS_ADA + 'approvers = ["*"]\n') as at:
        view = await at.ask()
        assert isinstance(await at.press(view, EVE, standing=standing), Refused)
        assert await at.state(view) == "pending"
    assert at.servers.got == []


async def test_a_vote_of_an_older_version_is_not_stored(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        event = pressed(view, ADA)
        vote = Vote(person=str(event.actor), by=str(event.actor), name="Ada", choice="run", at=0.0, digest=view.digest)
        assert await at.store.vote(view.ask_id, vote, version=view.version + 1) == "changed"
        assert await at.store.vote(view.ask_id + 1, vote, version=1) == "unknown"


async def test_where_the_policy_allows_the_call_by_now_one_press_of_one_who_may_runs_it(tmp_path: Path) -> None:
    async with site(tmp_path, PROD, text=TWO_OF_ONCALL, groups=oncall()) as at:
        view = await at.ask()
        at.file.write(ALLOWS_ALL)
        assert isinstance(await at.press(view, EVE), Refused)
        at.groups.holds.clear()
        assert isinstance(await at.press(view, BEN), Refused)
    assert at.servers.got == []
