"""Two processes of the bot on one database: what one has begun goes on where people reach the other from then on."""

from __future__ import annotations

import pytest

from tests.scenarios.drivers import Driver
from tests.scenarios.model import calls
from tests.scenarios.test_approvals import SERVERS, ask_for, ran, with_deployer, with_servers
from tests.scenarios.test_conversations import answers_in
from tests.scenarios.tools import with_workshop

# In Slack a balancer chooses the process, in Discord the shard does, which the second process takes over.
pytestmark = pytest.mark.parametrize("driver", ["slack over HTTP", "discord"], indirect=True)


async def test_what_is_said_at_another_process_waits_its_turn_and_is_answered_in_order(driver: Driver) -> None:
    released = driver.home / "released"
    tools = with_workshop(driver.home, RELEASE_FILE=str(released))
    async with driver.sharing(**tools) as (conversation, pass_on):
        await driver.model.script(calls("shop__act"), {"text": "One."}, {"text": "Two."}, {"text": "Three."})
        first = await conversation.ask("first")
        await driver.until(lambda: conversation.traces)
        await pass_on()
        second, third = [await conversation.ask(text, by="ben") for text in ("second", "third")]
        await driver.until(lambda: second.is_waiting and third.is_waiting)
        released.touch()
        assert await conversation.answered(3) == ["One.", "Two.", "Three."]
        conversation.check_answered(first, second, third)
        await driver.until(lambda: second.is_unmarked and third.is_unmarked)


async def test_what_one_process_works_on_is_stopped_changed_deleted_and_rated_at_another(driver: Driver) -> None:
    async with driver.sharing() as (conversation, pass_on):
        await driver.model.fail("stall")
        await conversation.ask("first")
        await conversation.at_work()
        second, third = [await conversation.ask(f"What is {number} + 1?", by="ben") for number in (20, 30)]
        await driver.until(lambda: second.is_waiting and third.is_waiting)
        await pass_on()
        await second.edit("What is 40 + 1?", mention=True)
        await third.delete()
        await conversation.stop("word")
        await conversation.answered(2)
        stopped, answer = answers_in(conversation)
        assert stopped == "Stopped."
        assert "40 + 1" in answer
        rated = [message.shown for message in conversation.answers].index(answer)
        assert "noted" in await conversation.rate(rated, "good")
        assert len(answers_in(conversation)) == 2


async def test_a_call_that_one_process_asks_about_runs_once_when_it_is_approved_at_another(driver: Driver) -> None:
    async with driver.sharing(**with_deployer(driver)) as (conversation, pass_on):
        asked = await ask_for(conversation, driver, 0, "It is out.", tool="deploy", env="prod", replicas=3)
        await pass_on()
        assert "Only @oncall may decide" in await asked.told("Run", by="ada")
        await asked.press("Run", by="ben")
        assert list(await conversation.answered()) == ["It is out."]
        assert ran(driver) == [["deploy", {"env": "prod", "replicas": 3}]]
        await asked.becomes("Ben")


async def test_forms_that_one_process_has_opened_are_sent_off_at_another(driver: Driver) -> None:
    cafe = [str(SERVERS / "inquirer.py"), "--era", "handshake"]
    async with driver.sharing(**with_servers(driver.home, cafe=cafe)) as (_, pass_on):
        scaling = await driver.run_form("deploys/scale", by="ben")
        await driver.until(lambda: len(scaling.labels) == 2)  # Slack shows a form while its tool is looked for
        ordering = await driver.run_tool("cafe/order", by="ada")
        asked = await ordering.asked()
        await pass_on()
        await scaling.fill_in(env="prod", replicas="4")
        await driver.until(lambda: ran(driver))
        form = await asked.open("Fill in", by="ada")
        await form.fill_in(Name="Ada", Cups="2")
        await asked.becomes("Answered", "by Ada")
        await driver.until(lambda: any("accept" in message.shown for message in ordering.answers))
        assert ran(driver) == [["scale", {"env": "prod", "replicas": 4}]]
