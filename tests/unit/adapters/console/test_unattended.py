"""What would ask, where nobody is there: declined with the cure, or run by `--yes`."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest

from adapters.console.adapter import ConsoleAdapter
from bot.domain.answers import CommandAnswer, Done, Queued, Ready, Refused
from bot.domain.asks import AskView
from bot.domain.events import Choice, CommandInvoked, DecisionMade, FormSubmitted, MessageReceived, RunRequest
from bot.domain.forms import Field, Form, Invalid
from bot.domain.turns import Post, TurnState, TurnView
from tests.fakes.hosts import Event, Outcome
from tests.unit.adapters.console.asked import World, approval, decided, post_of

OTHERS: tuple[Choice, ...] = ("run", "decline", "withdraw", "suggest_rule")
READY = Ready(run=RunRequest(name="deploys__deploy", arguments='{"env":"prod"}'), text="runs deploys/deploy")


class OneShot(World):
    """A core whose turn waits for `asks`, and is answered once they are decided."""

    def __init__(self, *asks: AskView, **answers: Any) -> None:
        super().__init__(**answers)
        self._asks = list(asks)
        self.out, self.err = io.StringIO(), io.StringIO()
        self._tasks = asyncio.TaskGroup()
        self.adapter = ConsoleAdapter("test", host=self, user="jdoe", stdout=self.out, stderr=self.err)

    async def ask(self, text: str = "deploy it", **options: Any) -> int:
        async with asyncio.timeout(20), self._tasks:
            return await self.adapter.ask_once(text, **options)

    async def _answer(self, event: Event) -> Outcome:
        if isinstance(event, MessageReceived):
            self.seen.append(event)
            self._tasks.create_task(self._turn(event.event_key))
            return Queued(turn_id=1)
        return await super()._answer(event)

    async def _turn(self, question: str) -> None:
        for ask in self._asks:
            self._show("waiting", question, notice="Someone has to approve this.")
            await self.adapter.put_ask(post_of(self.adapter, ask, question))
            while not any(isinstance(event, DecisionMade | FormSubmitted) for event in self.seen):
                self.arrived.clear()
                await self.arrived.wait()
            await self.adapter.put_ask(post_of(self.adapter, decided(ask), question))
        here = self.adapter.conversation
        self._show("running", question)
        await self.adapter.post(
            Post(key="p", conversation=here, turn_id=1, part=0, text="The end.", in_reply_to=question)
        )
        self._show("answered", question)

    def _show(self, state: TurnState, question: str, **parts: Any) -> None:
        here = self.adapter.conversation
        self.adapter.show(TurnView(turn_id=1, conversation=here, state=state, in_reply_to=question, **parts))

    @property
    def choices(self) -> list[Choice]:
        return [event.choice for event in self.seen if isinstance(event, DecisionMade)]


async def test_a_call_that_asks_is_declined_with_reason_and_cure_and_the_answer_still_comes() -> None:
    one = OneShot(approval())
    assert await one.ask() == 0
    assert one.choices == ["decline"]
    assert one.out.getvalue() == "The end.\n"
    assert one.err.getvalue() == (
        "deploys/deploy asks first. Run it in `toolbridge chat`, write a rule, or add --yes. "
        "jdoe asks for it in console. Why it is asked: everything else asks (rule: default).\n"
    )
    assert one.notes.kept == {}


async def test_yes_runs_what_the_asker_alone_decides() -> None:
    one = OneShot(approval())
    assert await one.ask(says_yes=True) == 0
    assert one.choices == ["run"]
    assert one.err.getvalue() == "deploys/deploy asks first: --yes runs it.\n"


@pytest.mark.parametrize("says_yes", [True, False])
async def test_what_others_decide_is_taken_back_also_with_yes(says_yes: bool) -> None:
    one = OneShot(approval(choices=OTHERS))
    assert await one.ask(says_yes=says_yes) == 0
    assert one.choices == ["withdraw"]
    assert "asks other people first" in one.err.getvalue()


async def test_where_the_core_refuses_the_yes_the_call_is_declined() -> None:
    class Refusing(OneShot):
        async def _answer(self, event: Event) -> Outcome:
            self.decides = Refused(notice="Only Ada may.") if not self.choices else Done()
            return await super()._answer(event)

    one = Refusing(approval())
    assert await one.ask(says_yes=True) == 0
    assert one.choices == ["run", "decline"]
    assert "Only Ada may." in one.err.getvalue()


async def test_a_servers_form_is_cancelled_with_a_sentence_also_with_yes() -> None:
    ask = approval(kind="form", title="The tool server booking asks for input", choices=("decline",))
    one = OneShot(ask)
    assert await one.ask(says_yes=True) == 0
    assert one.choices == ["withdraw"]  # the server is told that it is cancelled
    assert "asks for input; with -m nobody is there to do that. Ask in `toolbridge chat`." in one.err.getvalue()


async def test_what_an_earlier_chat_was_asked_is_left_as_it_is() -> None:
    one = OneShot()
    waits = asyncio.create_task(one.adapter.put_ask(post_of(one.adapter, approval(7), "earlier")))
    assert await one.ask(says_yes=True) == 0
    await waits
    assert one.choices == []
    assert list(one.notes.kept) == ["console/local/test/#ask:7"]


# --- /run ------------------------------------------------------------------------------------------------------

FORM = Form(
    target="run:deploys__deploy",
    title="Run deploys/deploy",
    fields=(Field(name="env", label="env", kind="text", is_required=True), Field(name="n", label="n", kind="integer")),
)


async def run(answer: CommandAnswer, **answers: Any) -> tuple[OneShot, int]:
    one = OneShot(commands=[answer], **answers)
    return one, await one.ask('/run deploys/deploy {"env":"prod"}')


async def test_a_call_that_is_complete_is_made() -> None:
    one, code = await run(CommandAnswer(text="", ready=READY))
    assert (code, one.out.getvalue(), one.err.getvalue()) == (0, "The end.\n", "runs deploys/deploy\n")
    assert (await one.next(MessageReceived)).run == READY.run


async def test_a_missing_argument_is_bad_usage_that_says_what_is_missing() -> None:
    one, code = await run(CommandAnswer(text="", form=FORM))
    assert (code, one.out.getvalue()) == (2, "")
    assert one.err.getvalue() == "Run deploys/deploy: env is missing.\n"


async def test_a_form_that_lacks_nothing_is_sent_as_it_is_and_what_is_wrong_is_said() -> None:
    form = Form(target=FORM.target, title=FORM.title, fields=FORM.fields[1:])
    one, code = await run(CommandAnswer(text="", form=form), takes=[Invalid(errors={"n": "It is a whole number."})])
    assert (code, one.err.getvalue()) == (2, "n: It is a whole number.\n")
    one, code = await run(CommandAnswer(text="", form=form), takes=[READY])
    assert code == 0


async def test_a_tool_that_is_not_there_is_bad_usage() -> None:
    one, code = await run(CommandAnswer(text="There is no tool deploys/deploy here."))
    assert (code, one.out.getvalue()) == (2, "")
    assert one.err.getvalue() == "There is no tool deploys/deploy here.\n"


@pytest.mark.parametrize(("says_yes", "code", "times"), [(True, 0, 2), (False, 2, 1)])
async def test_only_yes_confirms_a_command(says_yes: bool, code: int, times: int) -> None:
    one = OneShot(commands=[CommandAnswer(text="Ada began it.", confirms="Clear it")])
    assert await one.ask("/clear", says_yes=says_yes) == code
    assert sum(isinstance(event, CommandInvoked) for event in one.seen) == times
