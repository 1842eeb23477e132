"""Attacks on what changes between question and run: the arguments, the policy, the groups."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.answers import Ready, Refused
from bot.domain.asks import Vote
from bot.domain.events import MessageEdited
from bot.domain.forms import Form
from tests.integration.attacking import (
    ADA,
    ALLOWS_ALL,
    ASKS_ADA,
    BEN,
    CLEO,
    DEPLOY,
    EVE,
    ONCALL,
    PROD,
    SENT,
    TWO_OF_ONCALL,
    details_asked,
    filled,
    form_asked,
    oncall,
    pressed,
    said,
    site,
    spec,
)


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
            await at.end()
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
        await at.end()
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
            await at.end()
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
        await at.end()
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
        await at.end()
    assert at.servers.got == SENT


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


async def test_secrets_of_a_call_of_ones_own_are_hidden_from_those_who_read_along(tmp_path: Path) -> None:
    tool = spec("deploys", "deploy", {"type": "object", "properties": {"password": {"type": "string"}}})
    async with site(tmp_path, text=ALLOWS_ALL, specs=[tool]) as at:
        at.servers.results[DEPLOY.name] = "x" * 19_990 + " ghp_" + "a" * 40
        target = f"run:{DEPLOY.name}"
        ready = await at.bot.inbox.submit(filled(target, ADA, {"password": "hunter2hunter2"}))
        assert isinstance(ready, Ready)
        await at.bot.say(said(ready.text, run=ready.run))
        [answer] = await at.adapter.wait_for_posts(1)
    assert at.servers.got == [("deploys", "deploy", {"password": "hunter2hunter2"})]
    assert "hunter2" not in ready.text and "ghp_" not in answer
