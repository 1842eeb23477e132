"""What people are asked in Discord: approvals, links and forms, who presses, and calls that they make themselves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.discord.ask_marks import decide_id, form_id
from adapters.discord.phrases import LOST_FORM, NO_DIRECT, NOT_VALID, OLD_BUTTON, SLOW_FORM
from bot.domain.answers import CommandAnswer, Details, Done, Queued, Ready, Refused
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.events import (
    CommandInvoked,
    DecisionMade,
    DetailsAsked,
    FormAsked,
    FormSubmitted,
    MessageReceived,
    RunRequest,
)
from bot.domain.forms import Field, Form, Invalid, Option
from bot.domain.messages import ToolSpec
from bot.domain.people import Standing
from bot.ports.tools import Offer
from tests.fakes.discord import Message
from tests.scenarios.discord.asking import DIGEST, VIEW, Here, labels, open_here, open_town, questions, role_of
from tests.scenarios.discord.rooms import check_manners, general
from tests.scenarios.discord.serving import open_world, serving
from tests.scenarios.tools import with_workshop

RECORD = replace(VIEW, state="approved", record="**Approved** by Ben.", choices=(), form_target="", version=2)
FORM = Form(
    target="edit:7",
    title="deploys/deploy",
    fields=(
        Field(
            name="env",
            label="Env",
            kind="choice",
            is_required=True,
            value="prod",
            options=(Option(value="prod", label="Production"), Option(value="test", label="Test")),
        ),
        Field(name="replicas", label="Replicas", kind="integer", value="3"),
        Field(name="force", label="Force", kind="checkbox", value="false"),
    ),
)
RUN_FORM = replace(FORM, target="run:deploys__deploy")
READY = Ready(
    run=RunRequest(name="deploys__deploy", arguments='{"env": "test"}'), text='/run deploys/deploy {"env": "te_st"}'
)


async def test_what_is_asked_replies_to_the_question_and_becomes_the_record() -> None:
    async with open_here() as here:
        assert await here.adapter.find_ask(here.post()) is None
        asked = await here.put()
        assert asked.channel == here.channel.id and asked.reference == here.question.id
        assert asked.content.startswith("**Run deploys/deploy?**\n") and r"\@everyone" in asked.content
        assert labels(asked)[:3] == ["Run", "Run, and for an hour here", "Decline"]

        # Sent once more, as after a crash, it is the same message; it is found as long as it is there.
        assert await here.put() is asked
        here.discord.advance(600)
        found = await here.adapter.find_ask(here.post())
        assert found is not None and here.message(found.reference) is asked
        assert await here.adapter.find_ask(here.post(key="another")) is None

        assert await here.put(RECORD, reference=found.reference) is asked
        assert asked.content.endswith("**Approved** by Ben.") and labels(asked) == ["Details"]
        check_manners(here.discord)


@pytest.mark.parametrize("is_record", [False, True])
async def test_a_message_that_someone_deleted_comes_back_only_where_it_is_still_to_be_decided(is_record: bool) -> None:
    async with open_here() as here:
        reference = await here.adapter.put_ask(here.post())
        await here.discord.delete(here.channel, here.message(reference))
        again = await here.adapter.put_ask(here.post(RECORD if is_record else VIEW, reference=reference))
        assert (again == reference) == is_record
        assert len(here.discord.own(here.channel)) == (0 if is_record else 1)


async def test_a_record_waits_where_discord_takes_no_more_changes_of_old_messages() -> None:
    async with open_here() as here:
        reference = await here.adapter.put_ask(here.post())
        here.discord.advance(3_700)
        here.discord.old_edits = 0
        with pytest.raises(RateLimitError):
            await here.adapter.put_ask(here.post(RECORD, reference=reference))
        here.discord.old_edits = 1
        assert labels(await here.put(RECORD, reference=reference)) == ["Details"]
        assert len(here.discord.own(here.channel)) == 1


async def test_what_is_asked_elsewhere_is_decided_there_also_in_direct_messages_that_are_switched_off() -> None:
    async with open_here() as here:
        oncall = here.discord.add_channel(here.guild, "oncall")
        place = replace(here.post().place, channel=str(oncall.id))
        in_channel = await here.put(place=place, in_reply_to="")
        assert in_channel.channel == oncall.id and in_channel.reference is None

        direct = replace(place, space="@me", channel="dm")
        details: dict[str, Any] = {"place": direct, "person": str(here.ben.id), "in_reply_to": "", "key": "direct"}
        in_direct = await here.put(**details)
        assert in_direct.channel == here.discord.dm_channel(here.ben).id
        found = await here.adapter.find_ask(here.post(**details))
        assert found is not None and here.message(found.reference) is in_direct
        pressed = await here.press(in_direct, here.ben, "Run")
        assert pressed.text == "Noted."
        (decision,) = here.script.of(DecisionMade)
        assert decision.conversation.place == "discord:dm" and decision.standing == Standing()

        here.ben.has_closed_dms = True
        with pytest.raises(AdapterError) as refused:
            await here.adapter.put_ask(here.post(replace(VIEW, ask_id=8), **(details | {"key": "later"})))
        assert refused.value.is_permanent


async def test_words_that_discord_blocks_are_left_out_of_what_is_asked() -> None:
    async with open_here() as here:
        here.discord.add_automod_rule(here.guild, "*prod*")
        asked = await here.put()
        assert "**env**: …" in asked.content and "Discord blocked the message" in asked.content
        assert labels(asked)[0] == "Run"


# --- presses ---


async def test_a_press_is_a_decision_with_what_was_shown_and_who_decided() -> None:
    async with open_here() as here:
        asked = await here.put()
        shown = asked.content
        here.script.answers[DecisionMade] = Done(notice="Noted: 1 of 2.")
        pressed = await here.press(asked, here.ben, "Run, and for an hour here")
        assert pressed.text == "Noted: 1 of 2."
        (decision,) = here.script.of(DecisionMade)
        assert (decision.ask_id, decision.choice, decision.digest) == (7, "run_for_an_hour", DIGEST)
        assert (decision.author_id, decision.author_name) == (str(here.ben.id), "Ben")
        assert decision.standing == Standing(roles=(role_of(here),), is_moderator=True)
        assert decision.conversation == here.post().place

        # Only the person who may not decide learns that; the message is the core's to change.
        here.script.answers[DecisionMade] = Refused(notice="Only people of @oncall can decide this.")
        refused = await here.press(asked, here.ada, "Decline")
        assert refused.text == "Only people of @oncall can decide this."
        assert here.script.of(DecisionMade)[-1].standing == Standing()
        assert asked.content == shown and len(labels(asked)) == 7

        # Forged ids decide nothing.
        before = len(here.script.events)
        for forged, notice in {
            "tb:decide:7:own:abc": NOT_VALID,
            "tb:fill:open:edit:x": NOT_VALID,
            "tb:vote:7:run": OLD_BUTTON,
        }.items():
            answered = await here.answered(await here.discord.press_gone(here.channel, asked, here.ada, forged))
            assert answered.text == notice
        assert len(here.script.events) == before
        # One that is well formed is the core's to judge.
        forged = decide_id(8, "run", "0" * 64)
        await here.answered(await here.discord.press_gone(here.channel, asked, here.ada, forged))
        assert here.script.of(DecisionMade)[-1].ask_id == 8


async def test_details_and_the_address_of_a_link_are_for_one_person() -> None:
    async with open_here() as here:
        link = replace(VIEW, kind="link", has_link=True, host="accounts.example.com", choices=("run", "decline"))
        asked = await here.put(link)
        assert "https" not in asked.content
        here.script.answers[DetailsAsked] = Details(lines=(), link="https://accounts.example.com/grant?x=1")
        opened = await here.press(asked, here.ada, "Open")
        assert "**accounts.example.com**" in opened.text and "https://accounts.example.com/grant?x=1" in opened.text
        assert here.script.of(DetailsAsked)[-1].ask_id == 7
        here.script.answers[DetailsAsked] = Refused(notice="You cannot see this.")
        assert (await here.press(asked, here.ben, "Details")).text == "You cannot see this."


# --- forms ---


def fields(form: Any) -> dict[str, Any]:
    return {top["label"]: top["component"] for top in form.modal["components"] if "component" in top}


async def test_arguments_are_changed_in_a_form_that_is_opened_again_as_it_was_filled_in() -> None:
    async with open_town() as town:
        async with town.bot() as here:
            here.script.answers |= {FormAsked: FORM, FormSubmitted: Invalid(errors={"replicas": "At most 10."})}
            asked = await here.put()
            form = await here.press(asked, here.ben, "Edit arguments")
            assert form.modal is not None and form.modal["title"] == "deploys/deploy"
            assert here.script.of(FormAsked)[-1].standing.roles == (role_of(here),)
            wrong = await here.fill_in(form, {"Env": "Test", "Replicas": "99", "Force": True})
            assert wrong.text == "- **Replicas**: At most 10."
            sent = here.script.of(FormSubmitted)[-1]
            assert sent.values == {"env": "test", "replicas": "99", "force": "true"}
            assert (sent.target, sent.author_name, sent.action) == ("edit:7", "Ben", "accept")

            assert wrong.original is not None
            again = await here.press(wrong.original, here.ben, "Open again")
            assert fields(again)["Replicas"]["value"] == "99" and fields(again)["Force"]["default"] is True
            here.script.answers[FormSubmitted] = Done(notice="The arguments are changed.")
            assert (await here.fill_in(again, {"Replicas": "5"})).text == "The arguments are changed."
            assert here.script.of(FormSubmitted)[-1].values["env"] == "test"

        async with town.bot() as here:  # a form that is open survives a restart; what was filled in wrongly does not
            assert (await here.fill_in(form, {"Replicas": "7"})).text == "The arguments are changed."
            assert here.script.of(FormSubmitted)[-1].values == {"env": "prod", "replicas": "7", "force": "false"}
            lost = await here.press(wrong.original, here.ben, "Open again")
            assert lost.text == LOST_FORM and lost.original is not None and labels(lost.original) == ["Fill in"]
            assert (await here.press(lost.original, here.ben, "Fill in")).modal is not None


async def test_a_tool_servers_form_is_declined_beside_the_button_that_opens_it() -> None:
    async with open_here() as here:
        asked = await here.put(replace(VIEW, kind="form", form_target="answer:7", choices=("decline",)))
        assert labels(asked) == ["Fill in", "Decline", "Details"]
        await here.press(asked, here.ada, "Decline")
        declined = here.script.of(FormSubmitted)[-1]
        assert (declined.target, declined.action, dict(declined.values)) == ("answer:7", "decline", {})

        here.script.answers[FormAsked] = Form(target="answer:7", title="Sure?", fields=(), may_decline=True)
        confirm = await here.press(asked, here.ada, "Fill in")
        assert confirm.original is not None and labels(confirm.original) == ["Send", "Decline"]
        await here.press(confirm.original, here.ada, "Send")
        assert here.script.of(FormSubmitted)[-1].action == "accept"

        here.script.answers[FormAsked] = Refused(notice="Only Ada can answer.")
        assert (await here.press(asked, here.ben, "Fill in")).text == "Only Ada can answer."


async def test_a_form_that_comes_too_late_to_be_opened_is_opened_by_a_button() -> None:
    async with open_here() as here:
        may_come = asyncio.Event()

        async def slowly() -> Form:
            await may_come.wait()
            return FORM

        here.script.answers[FormAsked] = slowly
        asked = await here.put()
        (custom_id,) = [each["custom_id"] for each in asked.elements if each.get("label") == "Edit arguments"]
        pressed = await here.discord.press(here.channel, asked, here.ada, custom_id)
        assert pressed.original is not None and pressed.original.is_loading
        may_come.set()
        await here.discord.until(lambda: pressed.text == SLOW_FORM)
        assert (await here.press(pressed.original, here.ada, "Fill in")).modal is not None


# --- calls that people make themselves ---


async def test_run_opens_a_form_at_once_and_the_call_is_made_in_the_persons_name() -> None:
    async with open_here() as here:
        here.script.answers |= {
            CommandInvoked: CommandAnswer(text="It needs its arguments.", form=RUN_FORM),
            FormSubmitted: READY,
            MessageReceived: Queued(turn_id=1),
        }
        spec = ToolSpec(name="deploys__deploy", server="deploys", tool="deploy", description="", parameters={})
        here.host.directory.offered = Offer(tools=(spec,))
        offered = await here.discord.autocomplete(here.channel, here.ben, "run", {"tool": "ys/dep"})
        assert offered == [{"name": "deploys/deploy", "value": "deploys/deploy"}]
        form = await here.discord.slash(here.channel, here.ben, "run", {"tool": "deploys/deploy"})
        assert form.modal is not None and form.response_type == 9
        assert here.script.of(CommandInvoked)[-1].argument == "deploys/deploy"
        await here.fill_in(form, {"Env": "Test"})
        await until_asked(here, 1)
        (shown,) = here.discord.own(here.channel)
        assert shown.content == r'**Ben** runs: deploys/deploy {"env"\: "te\_st"}'
        (asked,) = questions(here.script)
        assert asked.run == READY.run and asked.text == READY.text
        assert asked.event_key == f"discord:{here.channel.id}:{shown.id}"
        assert asked.author_id == str(here.ben.id) and asked.standing.roles == (role_of(here),)

        # With its arguments it goes on at once.
        here.script.answers[CommandInvoked] = CommandAnswer(text="", ready=READY)
        given = {"tool": "deploys/deploy", "arguments": '{"env": "te_st"}'}
        await here.discord.slash(here.channel, here.ada, "run", given)
        await until_asked(here, 2)
        assert here.script.of(CommandInvoked)[-1].argument == 'deploys/deploy {"env": "te_st"}'

        # Said to the bot, the message itself asks for it; where a form is needed, there is a button.
        said = await here.discord.say(here.channel, here.ada, 'run deploys/deploy {"env":  "te_st"}', mention=True)
        await until_asked(here, 3)
        assert questions(here.script)[-1].event_key == f"discord:{here.channel.id}:{said.id}"
        assert here.script.of(CommandInvoked)[-1].argument == 'deploys/deploy {"env":  "te_st"}'
        here.script.answers[CommandInvoked] = CommandAnswer(text="It needs its arguments.", form=RUN_FORM)
        here.script.answers[FormAsked] = RUN_FORM
        said = await here.discord.say(here.channel, here.ada, "run deploys/deploy", mention=True)
        reply = await reply_to(here, said)
        assert (await here.press(reply, here.ada, "Fill in")).modal is not None
        check_manners(here.discord)


async def test_a_forged_call_in_direct_messages_that_are_switched_off_begins_nothing() -> None:
    async with open_here() as here:
        place = replace(here.post().place, space="@me", channel="dm")
        asked = await here.put(place=place, person=str(here.ada.id), in_reply_to="")
        forged = form_id("open", "run:deploys__deploy")
        answered = await here.answered(await here.discord.press_gone(asked.channel, asked, here.ada, forged))
        assert answered.text == NO_DIRECT and here.script.of(FormAsked) == []


async def test_a_command_is_confirmed_by_a_button_that_repeats_it() -> None:
    async with open_here() as here:
        here.script.answers[CommandInvoked] = CommandAnswer(text="Others took part.", confirms="Clear it for everyone")
        asked = await here.answered(await here.discord.slash(here.channel, here.ben, "clear"))
        assert asked.original is not None and asked.text == "Others took part."
        assert here.script.of(CommandInvoked)[-1].standing.is_moderator
        here.script.answers[CommandInvoked] = CommandAnswer(text="Forgotten.")
        await here.discord.press(here.channel, asked.original, here.ben, "tb:confirm:")
        await here.discord.until(lambda: asked.text == "Forgotten.")
        confirmed = here.script.of(CommandInvoked)[-1]
        assert (confirmed.name, confirmed.is_confirmed) == ("clear", True)

        # Said to the bot, it is public; the answer to the confirmation is for the one who gave it.
        here.script.answers[CommandInvoked] = CommandAnswer(text="Others took part.", confirms="Clear it for everyone")
        said = await here.discord.say(here.channel, here.ben, "clear", mention=True)
        reply = await reply_to(here, said)
        assert here.script.of(CommandInvoked)[-1].standing == Standing(roles=(role_of(here),), is_moderator=True)
        here.script.answers[CommandInvoked] = CommandAnswer(text="Only Ada may.")
        assert (await here.press(reply, here.ada, "Clear it for everyone")).text == "Only Ada may."
        assert reply.content == "Others took part."
        await here.discord.say(here.channel, here.ada, "clear", mention=True)
        await here.discord.until(lambda: len(here.script.of(CommandInvoked)) == 5)
        assert here.script.of(CommandInvoked)[-1].standing == Standing()


# --- who acts ---


async def test_roles_come_with_what_people_do_and_are_asked_for_where_they_do_not() -> None:
    async with open_town(missed_since=time.time() - 60) as town:
        town.script.answers[MessageReceived] = Queued(turn_id=1)
        async with town.bot() as here:
            await until_asked(here, 1)  # of what was missed, Discord does not say them
            assert questions(here.script)[0].standing == Standing()
            await here.discord.say(here.channel, here.ben, "And this", mention=True)
            await until_asked(here, 2)
            assert questions(here.script)[1].standing.roles == (role_of(here),)

            group = f"discord:{here.guild.id}:role:{role_of(here)}"
            ben, ada = (here.post().place.person(str(user.id)) for user in (here.ben, here.ada))
            held = await here.adapter.memberships(ben, frozenset({group}), is_fresh=True)
            assert held.groups == {group} and not held.unknown
            assert not (await here.adapter.memberships(ada, frozenset({group}), is_fresh=True)).groups
            with pytest.raises(AdapterError, match="does not list the members"):
                await here.adapter.members(group)


async def until_asked(here: Here, times: int) -> None:
    """Wait until so many questions have come."""
    await here.discord.until(lambda: len(questions(here.script)) >= times)


async def reply_to(here: Here, said: Message) -> Message:
    return await here.discord.until(
        lambda: next((each for each in here.discord.own(here.channel) if each.reference == said.id), None)
    )


# --- with the whole bot ---

RULES = """
[[rule]]
name = "looks"
tools = ["shop/*"]
then = "ask"
approvers = ["discord:{ben}"]
reason = "Ben knows the shop."
"""


async def test_a_call_runs_once_it_is_approved_and_its_message_is_the_record(tmp_path: Path) -> None:
    async with open_world() as world:
        (tmp_path / "toolbridge.toml").write_text(RULES.format(ben=world.ben.id), encoding="utf-8")
        async with serving(world, tmp_path, settings=with_workshop(tmp_path)) as bot:
            room = general(world, bot)
            await world.discord.until(lambda: world.discord.commands(world.guild))
            await world.model.script({"tool_calls": [{"name": "shop__look", "arguments": {}}]}, {"text": "I looked."})
            question = await room.ask(world.ada, "Look")
            asked = await world.discord.until(
                lambda: next((each for each in room.messages if "Run" in labels(each)), None)
            )
            assert asked.reference == question.id
            assert "Run shop/look?" in asked.content and "Ben knows the shop" in asked.content
            run = next(each for each in asked.custom_ids if ":run:" in each)
            refused = await world.discord.press(world.channel, asked, world.ada, run)
            await world.discord.until(lambda: refused.text)
            assert labels(asked)[0] == "Run" and room.texts == []
            approved = await world.discord.press(world.channel, asked, world.ben, run)
            await world.discord.until(lambda: approved.text and labels(asked) == ["Details"])
            assert "**Approved** by Ben" in asked.content
            await room.answered()
            assert "I looked." in room.texts
            assert all(each.suppresses_embeds for each in room.messages)
            assert [ping for ping in world.discord.pings if ping.message.author is world.discord.bot] == []
