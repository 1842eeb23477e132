"""Who may run what, as people meet it on every chat platform: approvals, forms, calls of one's own.

Every call that runs is seen at the server's process (`deployer.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.discord.adapter import open_discord
from tests.fakes.mcp_servers.processes import Workshop
from tests.scenarios.discord.rooms import is_ask
from tests.scenarios.discord.serving import open_world, options_in
from tests.scenarios.drivers import Conversation, Driver
from tests.scenarios.drivers.asks import Asked, DiscordAsked, is_slack_ask
from tests.scenarios.drivers.slack import open_driver as open_slack_driver
from tests.scenarios.model import calls

SERVERS = Path(__file__).parents[1] / "fakes" / "mcp_servers"
RULES = """
[groups]
oncall = ["{ben}", "{cleo}"]

[[rule]]
name = "deploys"
tools = ["deploys/deploy"]
then = "ask"
approvers = ["@oncall"]
reason = "Someone is asleep."

[[rule]]
name = "two people"
tools = ["deploys/restart"]
then = "ask"
approvers = ["@oncall", "{ada}"]
approvals = 2
asker_may_approve = false

[[rule]]
name = "never"
tools = ["deploys/wipe"]
then = "deny"
reason = "Nobody wipes anything."

[[rule]]
name = "not for long"
tools = ["deploys/wait"]
then = "ask"
expires = "2s"
"""


def with_deployer(driver: Driver, rules: str = RULES) -> Mapping[str, Any]:
    """Write the rules; return the settings of a bot whose only server is the deployer."""
    people = {"ada": driver.notation("ada"), "ben": driver.notation("ben"), "cleo": driver.notation("cleo")}
    (driver.home / "toolbridge.toml").write_text(rules.format(**people), encoding="utf-8")
    return with_servers(driver.home)


def with_servers(home: Path, *, cafe: str | Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the settings of a bot with the deployer, and with a server at an address or by Python arguments."""
    deployer = {
        "command": sys.executable,
        "args": [str(SERVERS / "deployer.py")],
        "env": {"CALLS_FILE": str(home / "calls")},
    }
    other = {"url": cafe} if isinstance(cafe, str) else {"command": sys.executable, "args": [*cafe]}
    servers = {"deploys": deployer, **({"cafe": other} if cafe else {})}
    file = home / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return {"mcp_config": file}


def ran(driver: Driver) -> list[Any]:
    """Return the calls that have reached the server, each with its arguments."""
    file = driver.home / "calls"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


async def read_last(driver: Driver) -> str:
    """Return what the model read last of a tool."""
    messages = (await driver.model.requests())[-1]["messages"]
    return [message["content"] for message in messages if message["role"] == "tool"][-1]


async def ask_for(conversation: Conversation, driver: Driver, number: int, text: str, **call: Any) -> Asked:
    """Have Ada ask for a call of the deployer, and the model answer `text` after it; return what is asked then."""
    name = call.pop("tool")
    await driver.model.script(calls(f"deploys__{name}", **call), {"text": text})
    await conversation.ask(f"please {name}", by="ada")
    return await conversation.asked(number)


async def test_a_call_is_decided_by_those_who_may_and_runs_once_with_the_arguments_that_were_shown(
    driver: Driver,
) -> None:
    async with driver.serving(**with_deployer(driver)) as conversation:
        await driver.model.script(
            calls("deploys__deploy", env="prod", replicas=3), {"text": "Still here."}, {"text": "It is out."}
        )
        await conversation.ask("deploy it, please")
        asked = await conversation.asked()
        for words in (
            "Run deploys/deploy?",
            "Ada asks for it in this channel.",
            "Someone is asleep",
            "@oncall",
            '"prod"',
            "replicas",
        ):
            assert words in asked.shown
        assert set(asked.buttons) == {"Run", "Decline", "Edit arguments", "Details", "Withdraw", "Suggest rule"}
        await conversation.ask("are you there?")
        assert list(await conversation.answered(1)) == ["Still here."]
        waiting = await driver.command("approvals", by="ben")
        assert "Waiting for you" in waiting and "`deploys/deploy`" in waiting and "Ada" in waiting
        assert "Waiting for others" in await driver.command("approvals", by="ada")

        assert "Only @oncall may decide on this call." in await asked.told("Run", by="ada")
        assert asked.buttons[0] == "Run" and ran(driver) == []
        suggested = await asked.told("Suggest rule", by="ben")
        assert "toolbridge.toml" in suggested and 'tools = ["deploys/deploy"]' in suggested

        await asked.press("Run", by="ben")
        assert list(await conversation.answered(2)) == ["Still here.", "It is out."]
        assert ran(driver) == [["deploy", {"env": "prod", "replicas": 3}]]
        record = await asked.becomes("Approved", "by Ben", "Rule: deploys")
        assert list(asked.buttons) == ["Details"] and "?" not in record.splitlines()[0]

        declined = await ask_for(conversation, driver, 1, "As you like.", tool="deploy", env="prod")
        await declined.press("Decline", by="cleo")
        assert (await conversation.answered(3))[-1] == "As you like."
        assert "Cleo declined this call" in await read_last(driver)
        await declined.becomes("Declined", "by Cleo")

        withdrawn = await ask_for(conversation, driver, 2, "Never mind.", tool="deploy", env="test")
        assert "Only the person who asked" in await withdrawn.told("Withdraw", by="ben")
        await withdrawn.press("Withdraw", by="ada")
        assert (await conversation.answered(4))[-1] == "Never mind."
        await withdrawn.becomes("Withdrawn", "by Ada")
        assert len(ran(driver)) == 1


async def test_the_asker_changes_arguments_and_lets_a_tool_run_for_an_hour_and_what_nobody_decides_expires(
    driver: Driver,
) -> None:
    async with driver.serving(**with_deployer(driver)) as conversation:
        tools = await driver.command("tools")
        assert "`scale` (asks first)" in tools and "`deploy` (asks first)" in tools
        assert "Not for you here" in tools and "`wipe`" not in tools
        asked = await ask_for(conversation, driver, 0, "Scaled.", tool="scale", env="test")
        window = await asked.open("Edit arguments", by="ada")
        assert "9" in await window.fill_in(env="prod", replicas="12")
        await window.fill_in(env="prod", replicas="2")
        await asked.becomes('"prod"', "Ada changed the arguments")
        assert "Only the person who asked" in await asked.told("Run", by="ben")
        await asked.press("Run, and for an hour here", by="ada")
        assert (await conversation.answered(1))[-1] == "Scaled."
        assert ran(driver) == [["scale", {"env": "prod", "replicas": 2}]]
        assert "Ada changed the arguments of this call" in await read_last(driver)

        await driver.model.script(calls("deploys__scale", env="test"), {"text": "Scaled again."})
        await conversation.ask("once more")
        assert (await conversation.answered(2))[-1] == "Scaled again."
        assert ran(driver)[1:] == [["scale", {"env": "test"}]]
        await driver.model.script(calls("deploys__scale", env="test"), {"text": "Not for Ben."})
        await conversation.ask("me too", by="ben")
        other = await conversation.asked(1)
        await other.press("Decline", by="ben")
        assert (await conversation.answered(3))[-1] == "Not for Ben."

        expired = await ask_for(conversation, driver, 2, "Too late.", tool="wait", env="test")
        await expired.becomes("Expired")
        assert (await conversation.answered(4))[-1] == "Too late."
        assert list(expired.buttons) == ["Details"] and len(ran(driver)) == 2

        stopped = await ask_for(conversation, driver, 3, "Not read.", tool="deploy", env="prod")
        assert "`deploys/deploy`" in await driver.command("approvals")
        await conversation.stop("word")
        await stopped.becomes("No longer asked")
        await driver.until(lambda: any("Stopped." in text for text in conversation.texts))
        assert "Nothing is waiting for you" in await driver.command("approvals") and len(ran(driver)) == 2


async def test_a_call_that_two_people_approve_waits_over_a_restart_between_them_and_runs_once(driver: Driver) -> None:
    settings = with_deployer(driver)
    async with driver.serving(**settings) as conversation:
        asked = await ask_for(conversation, driver, 0, "It restarts.", tool="restart", env="prod")
        assert "2 people of @oncall" in asked.shown and "without Ada" in asked.shown
        assert "Run, and for an hour here" not in asked.buttons
        assert "someone else has to decide" in await asked.told("Run", by="ada")
        assert "one more person" in await asked.told("Run", by="ben")
        await asked.becomes("Ben approved (1 of 2)")
        assert "already" in await asked.told("Run", by="ben")
    assert ran(driver) == []
    async with driver.serving(**settings):
        await asked.press("Run", by="cleo")
        await asked.becomes("Approved", "by Ben and Cleo")
        await driver.until(lambda: any("It restarts." in message.shown for message in conversation.answers))
    assert ran(driver) == [["restart", {"env": "prod"}]]


async def test_a_call_of_ones_own_and_the_form_of_its_server_need_no_model_and_outlive_a_restart(
    driver: Driver,
) -> None:
    answers = driver.home / "answers"
    with Workshop("modern", env={"ANSWERS_FILE": str(answers)}, program="inquirer") as workshop:
        await make_calls(driver, with_servers(driver.home, cafe=workshop.url))
    said = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    order: dict[str, Any] = {"name": "Ada", "cups": 2, "sugar": 0.5, "to_go": False, "size": "S", "extras": []}
    assert said == [["accept", order], ["decline", None]]
    assert await driver.model.requests() == []


async def make_calls(driver: Driver, settings: Mapping[str, Any]) -> None:
    """Have Ben scale, and Ada order twice; she fills in the first form after a restart, and declines the second."""
    async with driver.serving(**settings):
        window = await driver.run_form("deploys/scale", by="ben")
        assert len(window.labels) == 2
        assert await window.fill_in(env="prod", replicas="x")
        await window.fill_in(replicas="4")
        scaled = await driver.running()
        await scaled.answered(1)
        assert ran(driver) == [["scale", {"env": "prod", "replicas": 4}]]

        ordering = await driver.run_tool("cafe/order", by="ada")
        asked = await ordering.asked()
        assert "cafe" in asked.shown and "What may it be?" in asked.shown
        assert "Only the person who asked" in await asked.told("Fill in", by="ben")
    async with driver.serving(**settings):
        form = await asked.open("Fill in", by="ada")
        assert "9" in await form.fill_in(Name="Ada", Cups="12")
        await form.fill_in(Cups="2")
        await asked.becomes("Answered", "by Ada")
        await driver.until(lambda: any("accept" in message.shown for message in ordering.answers))

        again = await driver.run_tool("cafe/order", by="ada")
        declined = await again.asked(1 if driver.name == "discord" else 0)
        await declined.press("Decline", by="ada")
        await declined.becomes("Declined", "by Ada")
        await driver.until(lambda: any("decline" in message.shown for message in again.answers))


async def test_the_page_that_a_server_asks_to_open_is_shown_to_the_asker_alone(driver: Driver) -> None:
    settings = with_servers(driver.home, cafe=[str(SERVERS / "inquirer.py"), "--era", "handshake"])
    async with driver.serving(**settings):
        paying = await driver.run_tool("cafe/pay", "{}", by="ada")
        asked = await paying.asked()
        assert "Please pay" in asked.shown and "pay.example" in asked.shown
        assert "https://" not in asked.shown
        assert list(asked.buttons) == ["Open", "Go on", "Decline", "Details"]
        assert "pay.example" not in await asked.told("Open", by="ben")
        assert "https://pay.example/checkout?order=7" in await asked.told("Open", by="ada")
        assert "Only the person who asked" in await asked.told("Go on", by="ben")
        await asked.press("Go on", by="ada")
        await asked.becomes("Answered", "by Ada")
        await driver.until(lambda: any("accept" in text for text in paying.texts))


ELSEWHERE = """
[[rule]]
name = "deploys"
tools = ["deploys/*"]
then = "ask"
approvers = ["discord:{ben}"]
ask_in = "discord:{server}:{channel}"
"""


async def test_what_is_asked_in_slack_is_decided_in_discord(tmp_path: Path) -> None:
    async with open_slack_driver(tmp_path) as here, open_world() as there:
        rules = ELSEWHERE.format(ben=there.ben.id, server=there.guild.id, channel=there.channel.id)
        (tmp_path / "toolbridge.toml").write_text(rules, encoding="utf-8")
        options = options_in(there)
        beside = [lambda host: open_discord(options, host)]
        async with here.serving(beside=beside, **with_servers(tmp_path)) as conversation:
            await here.model.script(calls("deploys__deploy", env="prod"), {"text": "It is out."})
            await conversation.ask("deploy it, please")
            [message] = await there.discord.until(lambda: [*filter(is_ask, there.discord.own(there.channel))])
            asked = DiscordAsked(there.discord, message, {"ben": there.ben, "cleo": there.cleo})
            assert "Ada asks for it in slack:T1:C1" in asked.shown
            assert "may decide on this call" in await asked.told("Run", by="cleo")
            assert ran(here) == []
            await asked.press("Run", by="ben")
            assert list(await conversation.answered(1)) == ["It is out."]
            await asked.becomes("Approved", "by Ben")
            assert ran(here) == [["deploy", {"env": "prod"}]]
            assert not any(map(is_slack_ask, here.slack.bot_messages("C1")))
