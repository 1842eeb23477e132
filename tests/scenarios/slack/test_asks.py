"""What people are asked in Slack: approvals, forms, links, with a core by script behind the adapter."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Literal

import pytest

from bot.domain.answers import CommandAnswer, Details, Done, Ready, Refused
from bot.domain.asks import AskPost
from bot.domain.errors import AdapterError
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FormAsked,
    FormSubmitted,
    MessageReceived,
    RunRequest,
)
from bot.domain.forms import Field, Form, Invalid, Option
from bot.domain.people import Standing
from bot.domain.turns import CallState, TraceLine, TurnView
from tests.scenarios.slack.asking import (
    APPROVAL,
    Core,
    asking,
    buttons,
    decided,
    in_thread,
    open_asking,
    open_fake,
    whole,
)

PLACES = (Option(value="prod", label="Production"), Option(value="test", label="Test"))
DEPLOY = Form(
    target="run:deploys__deploy",
    title="deploys/deploy with a title that is long",
    fields=(
        Field(
            name="env",
            label="Environment",
            kind="choice",
            is_required=True,
            options=(Option(value="prod", label="Production"), Option(value="test", label="Test")),
        ),
        Field(name="count", label="Instances", kind="integer", value="2"),
        Field(name="dry", label="Dry run", kind="checkbox", value="false"),
        Field(name="note", label="Note", kind="long_text"),
    ),
    submit="Run",
)
READY = Ready(
    run=RunRequest(name="deploys__deploy", arguments='{"env":"prod"}'), text='/run deploys/deploy {"env":"prod"}'
)


# --- approvals -------------------------------------------------------------------------------------------------


async def test_an_approval_is_pressed_in_its_thread_and_the_message_becomes_the_record() -> None:
    async with open_asking(DecisionMade=Refused(notice="Only Cleo may approve this.")) as world:
        slack, root = world.slack, await world.slack.say("C1", "U1", "deploy it", mention=True)
        post = in_thread(root)
        reference = await world.adapter.put_ask(post)
        (message,) = slack.bot_messages("C1", root)
        assert message.shown.startswith("*Run deploys/deploy in #ops?*")
        assert "env: prod" in message.shown and "<!date^1798000000^" in message.shown
        before = buttons(message.blocks)
        assert list(before) == [
            *("Run", "Run, and for an hour here", "Decline"),
            *("Details", "Edit arguments", "Withdraw", "Suggest rule"),
        ]
        assert (before["Run"]["style"], before["Decline"]["style"]) == ("primary", "danger")

        delivery = await slack.press("C1", message.ts, "U2", "tb:ask:run")
        pressed = await world.until(DecisionMade)
        assert delivery.latency_s is not None and delivery.latency_s < 3.0
        assert (pressed.ask_id, pressed.choice, pressed.digest) == (7, "run", "d" * 64)
        assert (pressed.author_id, pressed.author_name, pressed.standing) == ("U2", "Ben", Standing())
        assert pressed.conversation == post.place
        assert (await world.private("U2")).shown == "Only Cleo may approve this."
        assert message.edits == 0 and not slack.ephemerals("U1")  # only the core changes the message

        await world.adapter.put_ask(decided(post, "**Approved** by Cleo", reference=reference))
        assert slack.bot_messages("C1", root) == [message]
        assert "*Approved* by Cleo" in message.shown and list(buttons(message.blocks)) == ["Details"]


async def test_a_message_of_an_ask_is_found_again_wherever_it_was_posted() -> None:
    async with open_asking() as world:
        slack, root = world.slack, await world.slack.say("C1", "U1", "deploy it", mention=True)
        slack.add_channel("C2", members=["U3"])
        elsewhere = ConversationKey(platform="slack", space="T1", channel="C2")
        posts = (
            in_thread(root),
            AskPost(key="ask-7-1", view=APPROVAL, place=elsewhere),
            AskPost(key="ask-7-2", view=APPROVAL, place=replace(elsewhere, channel=""), person="U3"),
        )
        for post in posts:
            assert await world.adapter.find_ask(post) is None
            slack.fail_next("chat.postMessage", drop="after")
            with pytest.raises(AdapterError):
                await world.adapter.put_ask(post)
            found = await world.adapter.find_ask(post)
            assert found is not None
            assert await world.adapter.put_ask(decided(post, "Declined", reference=found.reference)) == found.reference
        for channel, thread in (("C1", root), ("C2", None), (slack.dm("U3"), None)):
            (message,) = slack.bot_messages(channel, thread)
            assert "Declined" in message.shown


async def test_a_message_that_cannot_be_changed_any_more_is_followed_by_one_that_can() -> None:
    async with open_asking() as world:
        slack, root = world.slack, await world.slack.say("C1", "U1", "deploy it", mention=True)
        post = in_thread(root)
        reference = await world.adapter.put_ask(post)
        (old,) = slack.bot_messages("C1", root)
        slack.refuse("chat.update", error="edit_window_closed", where=lambda arguments: arguments["ts"] == old.ts)
        record = decided(post, "**Approved** by Cleo", reference=reference)
        slack.fail_next("chat.postMessage", drop="after")
        with pytest.raises(AdapterError):  # the process may have died here: it is tried again
            await world.adapter.put_ask(record)
        later = await world.adapter.put_ask(record)
        (_, new) = slack.bot_messages("C1", root)
        assert "*Approved* by Cleo" in new.shown and "Approved" not in old.shown
        assert await world.adapter.put_ask(replace(record, reference=later)) == later
        found = await world.adapter.find_ask(post)
        assert found is not None and found.reference == later


@pytest.mark.parametrize("is_record", [False, True])
async def test_a_message_that_someone_deleted_comes_back_only_where_it_is_still_to_be_decided(is_record: bool) -> None:
    async with open_asking() as world:
        slack, root = world.slack, await world.slack.say("C1", "U1", "deploy it", mention=True)
        post = in_thread(root)
        reference = await world.adapter.put_ask(post)
        (message,) = slack.bot_messages("C1", root)
        await slack.delete("C1", message.ts)
        again = replace(post, reference=reference)
        put = await world.adapter.put_ask(decided(post, "Declined", reference=reference) if is_record else again)
        assert (put == reference) == is_record
        assert len(slack.bot_messages("C1", root)) == (0 if is_record else 1)


async def test_a_place_that_refuses_is_said_to_refuse_for_good() -> None:
    async with open_asking() as world:
        world.slack.add_channel("C9", members=["U1"], bot_is_member=False)
        place = ConversationKey(platform="slack", space="T1", channel="C9")
        with pytest.raises(AdapterError) as refused:
            await world.adapter.put_ask(AskPost(key="k", view=APPROVAL, place=place))
        assert refused.value.is_permanent


@pytest.mark.parametrize("value", ["", "%%%", '{"ask":"7"}', '{"ask":' + "9" * 1_500 + "}", '{"ask":7,"digest":[]}'])
async def test_a_press_that_carries_no_decision_of_the_bots_decides_nothing(value: str) -> None:
    async with open_asking() as world:
        root = await world.slack.say("C1", "U1", "deploy it", mention=True)
        await world.adapter.put_ask(in_thread(root))
        (message,) = world.slack.bot_messages("C1", root)
        for element in buttons(message.blocks).values():
            element["value"] = value
        for number, action in enumerate(("tb:ask:run", "tb:asked", "tb:form"), start=1):
            await world.slack.press("C1", message.ts, "U2", action)
            assert "is not valid" in (await world.private("U2", number=number)).shown
        await world.slack.settled()
        assert world.core.of(DecisionMade) == [] == world.core.of(DetailsAsked) == world.core.of(FormAsked)


async def test_details_open_in_a_window_and_a_link_is_shown_to_its_presser_alone() -> None:
    url = "https://login.example.com/start?code=1"
    line = TraceLine(call_id="c", server="deploys", tool="deploy", state="waiting", arguments='{"env": "prod"}')
    async with open_asking(DetailsAsked=Details(lines=(line,), notice="Asked by Ada", link=url)) as world:
        root = await world.slack.say("C1", "U1", "sign me in", mention=True)
        view = replace(APPROVAL, kind="link", has_link=True, host="login.example.com", choices=("decline",))
        await world.adapter.put_ask(in_thread(root, view))
        (message,) = world.slack.bot_messages("C1", root)
        assert "code=1" not in str(message.blocks)
        await world.slack.press("C1", message.ts, "U1", "tb:asked")
        shown = whole(await world.window("U1"))
        assert "Asked by Ada" in shown and '{"env": "prod"}' in shown
        await world.slack.press("C1", message.ts, "U1", "tb:link")
        private = await world.private("U1")
        assert "This link leads to *login.example.com*" in private.shown and url in private.shown
        assert buttons(private.blocks)["Open login.example.com"]["url"] == url
        assert [event.ask_id for event in world.core.of(DetailsAsked)] == [7, 7]


async def test_below_an_ask_that_is_in_no_thread_answers_are_in_none_either() -> None:
    async with open_asking(DecisionMade=Refused(notice="Not yours."), FormAsked=DEPLOY) as world:
        world.slack.add_channel("C2", members=["U3"])
        place = ConversationKey(platform="slack", space="T1", channel="C2")
        await world.adapter.put_ask(AskPost(key="k", view=APPROVAL, place=place))
        (message,) = world.slack.bot_messages("C2")
        await world.slack.press("C2", message.ts, "U3", "tb:ask:decline")
        assert (await world.private("U3")).thread_ts is None
        await world.slack.press("C2", message.ts, "U3", "tb:form")
        assert (await world.until(FormAsked)).conversation == place


async def test_a_turns_own_trace_style_goes_before_the_setting_and_says_what_was_decided() -> None:
    notes: dict[CallState, str] = {"ok": "approved by Ben", "denied": "rule no deploys", "withheld": ""}
    lines = tuple(
        TraceLine(call_id=state, server="deploys", tool="deploy", state=state, arguments='{"env": 1}', note=note)
        for state, note in notes.items()
    )
    async with open_asking() as world:
        root = await world.slack.say("C1", "U1", "deploy it", mention=True)
        place = in_thread(root).place
        view = TurnView(turn_id=1, conversation=place, state="running", trace=lines, author_id="U1")
        world.adapter.show(replace(view, trace_style="full", in_reply_to=f"slack:T1:C1:{root}"))
        await world.slack.until(lambda: len(world.slack.bot_messages("C1", root)) == 3)
        shown = [message.shown for message in world.slack.bot_messages("C1", root)]
        assert "· approved by Ben" in shown[0] and '{"env": 1}' in shown[0]
        assert "deploy · deploys · denied · rule no deploys" in shown[1]
        assert "not sent (dry run)" in shown[2]


# --- forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_form_survives_a_restart_shows_its_errors_and_is_sent_off(mode: Literal["socket", "http"]) -> None:
    form = replace(DEPLOY, target="edit:7")
    core = Core({FormAsked: form, FormSubmitted: Invalid(errors={"count": "At most 3."}, notice="Look again.")})
    async with open_fake() as slack:
        root = await slack.say("C1", "U1", "deploy it", mention=True)
        async with asking(slack, core, mode=mode) as first:
            await first.adapter.put_ask(in_thread(root))
            (message,) = slack.bot_messages("C1", root)
            await slack.press("C1", message.ts, "U1", "tb:form")
            window = await first.window("U1")
            asked = await first.until(FormAsked)
            assert (asked.target, asked.conversation.thread) == ("edit:7", root)
            assert len(window.content["title"]["text"]) <= 24
        async with asking(slack, core, mode=mode) as second:
            await slack.fill_in(window.id, "U1", {"Environment": "Production", "Instances": "9", "Dry run": ["Yes"]})
            sent = await second.until(FormSubmitted)
            assert sent.values == {"env": "prod", "count": "9", "dry": "true", "note": ""}
            assert (sent.target, sent.action, sent.author_name) == ("edit:7", "accept", "Ada")
            assert sent.conversation == in_thread(root).place
            assert window.is_open
            assert window.errors == {"field:count": "At most 3.", "field:env": "Look again."}
            core.says[FormSubmitted] = Done(notice="Asked again with other arguments.")
            await slack.fill_in(window.id, "U1", {"Environment": "Test"})
            assert not window.is_open
            private = await second.private("U1")
            assert private.shown == "Asked again with other arguments." and private.root == root


async def test_a_servers_form_can_be_declined_and_closing_it_decides_nothing() -> None:
    form = replace(DEPLOY, target="answer:7", may_decline=True)
    async with open_asking(FormAsked=form, FormSubmitted=Done()) as world:
        root = await world.slack.say("C1", "U1", "deploy it", mention=True)
        view = replace(APPROVAL, kind="form", form_target="answer:7", choices=("decline",))
        await world.adapter.put_ask(in_thread(root, view))
        (message,) = world.slack.bot_messages("C1", root)
        assert list(buttons(message.blocks)) == ["Fill in", "Decline", "Details"]
        await world.slack.press("C1", message.ts, "U1", "tb:form")
        await world.slack.close_view((await world.window("U1")).id, "U1")
        await world.slack.settled()
        assert world.core.of(FormSubmitted) == []
        await world.slack.press("C1", message.ts, "U1", "tb:form")
        window = await world.window("U1")
        await world.slack.press_in_view(window.id, "U1", "tb:decline")
        assert (await world.until(FormSubmitted)).action == "decline"
        assert "Declined." in whole(await world.window("U1", showing="Declined."))


async def test_a_form_that_takes_longer_than_slack_waits_is_taken_all_the_same() -> None:
    gate = asyncio.Event()

    async def slow(event: FormSubmitted) -> Done:
        await gate.wait()
        return Done(notice="It runs.")

    async with open_asking(CommandInvoked=CommandAnswer(text="", form=DEPLOY), FormSubmitted=slow) as world:
        await world.slack.slash("C1", "U1", "/run", "deploys/deploy")
        window = await world.window("U1")
        delivery = await world.slack.fill_in(window.id, "U1", {"Environment": "Test"})
        assert delivery.acked_at is not None
        assert "One moment" in whole(window)
        gate.set()
        await world.window("U1", showing="It runs.")


async def test_a_refused_form_says_why_to_its_presser_alone() -> None:
    async with open_asking(FormAsked=Refused(notice="Only Ada may edit this.")) as world:
        root = await world.slack.say("C1", "U1", "deploy it", mention=True)
        await world.adapter.put_ask(in_thread(root))
        (message,) = world.slack.bot_messages("C1", root)
        await world.slack.press("C1", message.ts, "U2", "tb:form")
        assert (await world.private("U2")).shown == "Only Ada may edit this."
        assert world.slack.views("U2") == []


# --- commands --------------------------------------------------------------------------------------------------


async def test_run_opens_its_form_at_once_and_the_call_is_made_in_a_thread_of_its_own() -> None:
    async with open_asking(CommandInvoked=CommandAnswer(text="", form=DEPLOY), FormSubmitted=READY) as world:
        await world.slack.slash("C1", "U1", "/run", "deploys/deploy")
        window = await world.window("U1")
        await world.slack.fill_in(window.id, "U1", {"Environment": "Production"})
        message = await world.until(MessageReceived)
        assert message.run == READY.run and message.author_id == "U1" and message.standing == Standing()
        (said,) = world.slack.bot_messages("C1")
        assert said.text == '<@U1> runs: deploys/deploy {"env":"prod"}'
        assert message.conversation.thread == said.ts and message.event_key.endswith(said.ts)
        assert world.slack.ephemerals("U1") == []  # nothing but the window


async def test_a_call_that_cannot_be_said_where_it_was_asked_for_is_explained_in_the_form() -> None:
    async with open_asking(CommandInvoked=CommandAnswer(text="", form=DEPLOY), FormSubmitted=READY) as world:
        world.slack.add_channel("C9", members=["U1"], bot_is_member=False)
        await world.slack.slash("C9", "U1", "/run", "deploys/deploy")
        window = await world.window("U1")
        await world.slack.fill_in(window.id, "U1", {"Environment": "Test"})
        assert "I am not in this channel" in whole(window)
        assert world.core.of(MessageReceived) == []


async def test_a_form_whose_window_slack_does_not_open_has_a_button() -> None:
    answer = CommandAnswer(text="deploys/deploy needs its arguments.", form=DEPLOY)
    async with open_asking(CommandInvoked=answer, FormAsked=DEPLOY) as world:
        world.slack.fail_next("views.open", error="expired_trigger_id")
        await world.slack.slash("C1", "U1", "/run", "deploys/deploy")
        shown = await world.private("U1", number=2)
        await world.slack.press("C1", shown.ts, "U1", "tb:form")
        await world.window("U1")
        assert (await world.until(FormAsked)).target == DEPLOY.target


async def test_a_spoken_run_happens_below_its_message_with_its_arguments_as_they_were_typed() -> None:
    async with open_asking(CommandInvoked=CommandAnswer(text="", ready=READY)) as world:
        root = await world.slack.say("C1", "U1", 'run deploys/deploy {"note":  "a < b & c"}', mention=True)
        invoked = await world.until(CommandInvoked)
        assert (invoked.name, invoked.argument) == ("run", 'deploys/deploy {"note":  "a < b & c"}')
        message = await world.until(MessageReceived)
        assert message.conversation.thread == root and message.run == READY.run
        world.core.says[CommandInvoked] = CommandAnswer(text="It needs its arguments.", form=DEPLOY)
        world.core.says[FormAsked] = DEPLOY
        await world.slack.say("C1", "U1", "run deploys/deploy", root, mention=True)
        shown = await world.private("U1")
        await world.slack.press("C1", shown.ts, "U1", "tb:form")
        await world.window("U1")
        assert (await world.until(FormAsked)).conversation.thread == root


async def test_a_command_that_wants_a_confirmation_is_repeated_with_it() -> None:
    async with open_asking(CommandInvoked=CommandAnswer(text="For everyone?", confirms="Clear it")) as world:
        await world.slack.slash("C1", "U1", "/clear")
        shown = await world.private("U1")
        world.core.says[CommandInvoked] = CommandAnswer(text="2 messages deleted.")
        await world.slack.press("C1", shown.ts, "U1", "tb:confirm")
        confirmed = await world.until(CommandInvoked, 2)
        assert (confirmed.name, confirmed.is_confirmed) == ("clear", True)
        await world.slack.until(lambda: "2 messages deleted." in shown.shown)
        assert "Clear it" not in buttons(shown.blocks)


# --- who acts --------------------------------------------------------------------------------------------------


async def test_every_event_says_who_is_a_guest_and_who_is_from_elsewhere() -> None:
    async with open_asking(DecisionMade=Done()) as world:
        slack = world.slack
        slack.add_user("U4", display_name="Gus", is_ultra_restricted=True)
        slack.add_user("U21", display_name="Carla", team="T2", is_stranger=True)
        slack.channels["C1"].members |= {"U4", "U21"}
        guest, stranger = "a guest of this workspace", "from another organization"
        root = await slack.say("C1", "U4", "deploy it", mention=True)
        await slack.say("C1", "U21", "me too", mention=True)
        await world.until(MessageReceived, 4)  # a mention is delivered twice
        found = {event.author_id: event.standing.outsider for event in world.core.of(MessageReceived)}
        assert found == {"U4": guest, "U21": stranger}
        await world.adapter.put_ask(in_thread(root))
        (message,) = slack.bot_messages("C1", root)
        for user in ("U4", "U21", "U1"):
            await slack.press("C1", message.ts, user, "tb:ask:run")
        await world.until(DecisionMade, 3)
        assert [event.standing.outsider for event in world.core.of(DecisionMade)] == [guest, stranger, ""]
        await slack.slash("C1", "U4", "/tools")
        assert (await world.until(CommandInvoked)).standing.outsider == guest
