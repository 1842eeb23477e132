"""What is asked in a chat: shown in line, answered at the prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.answers import CommandAnswer, Details, Done, Ready, Refused
from bot.domain.asks import ArgumentLine
from bot.domain.events import CommandInvoked, DecisionMade, DetailsAsked, FormAsked, FormSubmitted, RunRequest
from bot.domain.events import MessageReceived as Message
from bot.domain.forms import Field, Form, Invalid, Option
from bot.domain.turns import TraceLine
from tests.fakes.terminal import CTRL_C
from tests.unit.adapters.console.asked import World, approval, chatting, decided

PROMPT = "Run deploys/deploy? [r]un, [h]our, [e]dit, [d]ecline, [s]uggest rule, [?] details:"


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the machine that runs the tests says about its own terminal out of them."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


async def test_a_call_is_asked_in_line_and_r_runs_it_then_its_record_and_its_answer_follow() -> None:
    async with chatting() as room:
        room.type("deploy it")
        question = (await room.world.next(Message)).event_key
        room.show("waiting", question, notice="deploys/deploy waits for approval by jdoe.")
        await room.put(approval(), question)
        await room.shows("jdoe asks for it in console.", 'env: "prod"', "replicas: 3", "expires in 60 minutes", PROMPT)
        room.type("r")
        decision = await room.world.next(DecisionMade)
        assert (decision.ask_id, decision.choice, decision.digest, str(decision.actor)) == (
            1,
            "run",
            "d1",
            "console:jdoe",
        )
        await room.put(decided(approval()), question)
        await room.shows("Approved by jdoe on 2026-11-29")
        room.show("running", question)
        await room.answer("It is deployed.", question)
        await room.shows("It is deployed.")
        room.type("thanks")
        assert (await room.world.next(Message)).text == "thanks"
    assert "Answer to an earlier question" not in room.terminal.text


@pytest.mark.parametrize(
    ("typed", "choice"),
    [("hour", "run_for_an_hour"), ("D", "decline"), ("suggest", "suggest_rule"), (" run ", "run")],
)
async def test_keys_and_words_decide(typed: str, choice: str) -> None:
    async with chatting(World(decides=Refused(notice="No more.")), asks=[approval()]) as room:
        room.type(typed)
        assert (await room.world.next(DecisionMade)).choice == choice


async def test_while_something_is_asked_other_questions_and_commands_go_on() -> None:
    async with chatting(asks=[approval()]) as room:
        await room.shows(PROMPT)
        room.type("what time is it?")
        question = await room.world.next(Message)
        assert question.text == "what time is it?"
        await room.answer("Noon.", question.event_key)
        room.type("/usage")
        assert (await room.world.next(CommandInvoked)).name == "usage"
        await room.terminal.shows(PROMPT, times=3)


async def test_a_yes_that_may_be_meant_for_the_model_runs_nothing_and_is_not_sent() -> None:
    async with chatting(asks=[approval()]) as room:
        room.type("yes")
        await room.shows("Type r to run it, d to decline.")
    assert room.world.seen == []


async def test_what_was_decided_elsewhere_is_said_and_the_usual_prompt_comes_back() -> None:
    async with chatting(asks=[approval()]) as room:
        await room.put(decided(approval()))
        await room.shows("Approved by jdoe")
        room.type("r")
        assert (await room.world.next(Message)).text == "r"


async def test_a_refusal_is_said_and_the_question_stays() -> None:
    world = World(decides=Refused(notice="Only @oncall may decide this."))
    async with chatting(world, asks=[approval()]) as room:
        room.type("r")
        await room.shows("Only @oncall may decide this.")
        await room.terminal.shows(PROMPT, times=2)


async def test_an_approval_that_counts_as_one_of_two_is_shown_and_gives_the_prompt_back() -> None:
    async with chatting(asks=[approval()]) as room:
        room.type("r")
        await room.world.next(DecisionMade)
        await room.put(replace(approval(), votes=("jdoe approved (1 of 2)",), version=2))
        await room.shows("jdoe approved (1 of 2)")
        room.type("hello")
        assert (await room.world.next(Message)).text == "hello"


async def test_what_is_not_decided_is_shown_again_in_the_next_chat_and_what_is_decided_is_not() -> None:
    world = World()
    async with chatting(world, asks=[approval(1), approval(2, title="Run mail/send?")]) as room:
        await room.put(decided(approval(2, title="Run mail/send?")))
    async with chatting(world) as room:
        await room.shows(PROMPT)
        room.type("d")
        assert (await world.next(DecisionMade)).digest == "d1"
        await room.put(decided(approval(1)))
    assert "mail/send" not in room.terminal.text
    assert world.notes.kept == {}


async def test_of_several_the_keys_answer_the_one_that_the_prompt_names_and_n_goes_to_the_next() -> None:
    async with chatting(asks=[approval(1), approval(2, title="Run mail/send?")]) as room:
        await room.shows("Run deploys/deploy? [r]un", "[n]ext")
        room.type("n")
        await room.shows("Run mail/send? [r]un")
        room.type("r")
        assert (await room.world.next(DecisionMade)).ask_id == 2
        await room.put(decided(approval(2)))


async def test_a_key_that_was_typed_for_another_question_decides_nothing() -> None:
    async with chatting(asks=[approval(1), approval(2, title="Run mail/send?")]) as room:
        await room.shows("[n]ext")
        room.terminal.type("r")
        await room.terminal.until(lambda shown: "r" in shown.rpartition("[n]ext:")[2], what="what is typed")
        await room.put(decided(approval(1)))
        await room.shows("Run mail/send? [r]un")
        room.type("")
        await room.shows("The question changed while you typed")
    assert room.world.seen == []


async def test_what_was_typed_ahead_of_the_question_is_kept_and_decides_nothing() -> None:
    async with chatting() as room:
        room.type("deploy it")
        question = (await room.world.next(Message)).event_key
        room.show("running", question)
        room.type("r")
        await room.shows("> r")
        await room.put(approval(), question)
        room.show("waiting", question)
        await room.terminal.until(lambda shown: PROMPT + " r" in shown, what="what was typed, at the new prompt")
        room.type("")
        await room.shows("The question changed while you typed")
    assert room.world.seen == []


async def test_details_show_all_of_the_call() -> None:
    call = TraceLine(call_id="c", server="deploys", tool="deploy", state="waiting", arguments='{"env": "prod-all"}')
    async with chatting(World(explains=Details(lines=(call,))), asks=[approval()]) as room:
        room.type("?")
        assert (await room.world.next(DetailsAsked)).ask_id == 1
        await room.shows('arguments: {"env": "prod-all"}')


async def test_a_hostile_ask_cannot_steer_the_terminal() -> None:
    bad = "\x1b]0;owned\x07\x1b[2J"
    ask = approval(title=f"Run{bad} a/b?", lines=(bad,), message=bad, change=bad)
    async with chatting(asks=[replace(ask, arguments=(ArgumentLine(name=bad, value=f"{bad}\nRun c/d?"),))]) as room:
        await room.shows("a/b?")
    assert "owned" not in room.terminal.raw
    assert "\nRun c/d?" not in room.terminal.text


# --- forms -----------------------------------------------------------------------------------------------------

EDIT = Form(
    target="edit:1",
    title="Edit the arguments of deploys/deploy",
    fields=(
        Field(name="env", label="env", kind="text", is_required=True, value="prod"),
        Field(name="replicas", label="replicas", kind="integer", value="3"),
    ),
)


async def test_arguments_are_edited_field_by_field_and_what_is_wrong_is_asked_again() -> None:
    world = World(forms=EDIT, takes=[Invalid(errors={"replicas": "It is a whole number."}), Done()])
    async with chatting(world, asks=[approval()]) as room:
        room.type("e")
        assert (await world.next(FormAsked)).target == "edit:1"
        await room.shows("env [prod]:")
        room.type("")
        await room.shows("[3]:")
        room.type("many")
        assert (await world.next(FormSubmitted)).values == {"env": "prod", "replicas": "many"}
        await room.shows("replicas: It is a whole number.", "[many]:")
        room.type("5")
        assert (await world.next(FormSubmitted)).values == {"env": "prod", "replicas": "5"}
        await room.put(approval(digest="d5", arguments=(ArgumentLine(name="replicas", value="5"),), version=2))
        await room.shows("replicas: 5")
        room.type("r")
        assert (await world.next(DecisionMade)).digest == "d5"
        await room.put(decided(approval(digest="d5", version=2)))


SERVER_FORM = Form(
    target="answer:1",
    title="The tool server booking asks",
    message="Which table?",
    fields=(
        Field(
            name="table",
            label="Table",
            kind="choice",
            is_required=True,
            options=(Option(value="w", label="window"), Option(value="d", label="door")),
        ),
    ),
    may_decline=True,
)
FORM_ASK = approval(
    kind="form", title="The tool server booking asks for input", choices=("decline",), form_target="answer:1"
)


@pytest.mark.parametrize(
    ("typed", "action", "values"),
    [("2", "accept", {"table": "d"}), ("decline", "decline", {})],
)
async def test_a_servers_form_is_filled_in_or_declined(typed: str, action: str, values: dict[str, str]) -> None:
    world = World(forms=SERVER_FORM, takes=[Done()])
    async with chatting(world, asks=[FORM_ASK]) as room:
        await room.shows("[f]ill in, [d]ecline")
        room.type("f")
        await room.shows("| Which table?", "2. door", "Table (a number of these):")
        room.type(typed)
        sent = await world.next(FormSubmitted)
        assert (sent.target, sent.action, sent.values) == ("answer:1", action, values)
        await room.put(decided(FORM_ASK))


async def test_a_servers_form_is_closed_for_now_or_taken_back() -> None:
    world = World(forms=SERVER_FORM)
    async with chatting(world, asks=[FORM_ASK]) as room:
        room.type("f")
        await room.shows("Table (a number of these):")
        room.terminal.type(CTRL_C)
        await room.shows("Nothing was sent.")
        room.type("f")
        await room.terminal.shows("Table (a number of these):", times=2)
        room.type("cancel")
        assert (await world.next(DecisionMade)).choice == "withdraw"
        await room.put(decided(FORM_ASK))
    assert not [event for event in world.seen if isinstance(event, FormSubmitted)]


async def test_a_suggested_rule_is_shown_and_the_question_stays() -> None:
    async with chatting(World(decides=Done(notice="```toml\nthen = 'allow'\n```")), asks=[approval()]) as room:
        room.type("s")
        await room.shows("then = 'allow'")
        await room.terminal.shows(PROMPT, times=2)


async def test_a_link_is_shown_with_its_host_and_enter_says_that_it_was_opened() -> None:
    ask = approval(kind="link", title="booking asks to open a page", host="pay.example", has_link=True)
    world = World(explains=Details(lines=(), link="https://pay.example/x?y=1"))
    async with chatting(world) as room:
        ask = replace(ask, choices=("run", "decline"), form_target="")
        await room.put(ask)
        await room.shows("The page is on pay.example.", "Open https://pay.example/x?y=1", "[Enter] when done")
        room.type("")
        assert (await world.next(DecisionMade)).choice == "run"
        await room.put(decided(ask))


# --- commands --------------------------------------------------------------------------------------------------

READY = Ready(run=RunRequest(name="deploys__deploy", arguments='{"env":"prod"}'), text="runs deploys/deploy")


async def test_a_command_opens_its_form_and_the_call_is_accepted_as_a_message() -> None:
    form = replace(EDIT, target="run:deploys__deploy")
    world = World(takes=[READY], commands=[CommandAnswer(text="", form=form)])
    async with chatting(world) as room:
        room.type("/tools deploys")
        await room.shows("env [prod]:")
        room.type("")
        room.type("")
        message = await world.next(Message)
        assert (message.run, message.text) == (READY.run, READY.text)
        await room.answer("Deployed.", message.event_key)
        await room.shows("runs deploys/deploy", "Deployed.")


@pytest.mark.parametrize(("typed", "times"), [("y", 2), ("", 1)])
async def test_a_command_that_wants_to_be_confirmed_asks(typed: str, times: int) -> None:
    world = World(commands=[CommandAnswer(text="It was begun by Ada.", confirms="Clear it")])
    async with chatting(world) as room:
        room.type("/clear")
        await room.shows("It was begun by Ada.", "Clear it? [y/N]")
        room.type(typed)
        room.type("hello")
        await world.next(Message)
    confirmed = [event.is_confirmed for event in world.seen if isinstance(event, CommandInvoked)]
    assert confirmed == [False, True][:times]
