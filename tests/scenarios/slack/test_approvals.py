"""The whole bot in Slack: a call that a rule asks for, approved by those who may; a call that a person makes."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.slack import FakeSlack, Message
from tests.scenarios.model import calls
from tests.scenarios.slack.asking import buttons
from tests.scenarios.slack.pressing import Person
from tests.scenarios.slack.serving import open_bot
from tests.scenarios.slack.threads import Thread, start
from tests.scenarios.tools import with_workshop

RULES = """
[groups]
leads = ["slack:T1:usergroup:S1"]

[[rule]]
name = "acting"
tools = ["shop/act"]
then = "ask"
approvers = ["@leads"]

[[rule]]
name = "the rest"
tools = ["*/*"]
then = "allow"
"""


async def asked(thread: Thread, *, version: int = 1) -> Message:
    """Return the message of what is asked in the thread."""

    def found() -> Message | None:
        own = [message for message in thread.messages if _kind(message) == "toolbridge_ask"]
        return own[0] if own and any(f":{version}:" in block["block_id"] for block in own[0].blocks) else None

    return await thread.slack.until(found)


def _kind(message: Message) -> str:
    return str((message.metadata or {}).get("event_type"))


async def test_a_call_waits_for_one_of_the_user_group_runs_once_and_its_message_is_the_record(tmp_path: Path) -> None:
    (tmp_path / "toolbridge.toml").write_text(RULES, encoding="utf-8")
    called = tmp_path / "called"
    async with open_bot(tmp_path, **with_workshop(tmp_path, CALLS_FILE=str(called))) as bot:
        bot.slack.add_user_group("S1", "U2")
        await bot.model.script(calls("shop__act"), {"text": "It is done."})
        thread = await start(bot, "U1", "act, please")
        message = await asked(thread)
        assert message.shown.startswith("*Run ") and "acting" in message.shown and "@leads" in message.shown
        await bot.slack.press("C1", message.ts, "U1", "tb:ask:run")
        refused = await Person(slack=bot.slack).next_answer(after=0)
        assert refused.root == thread.root and refused.shown and not called.exists()

        await bot.slack.press("C1", message.ts, "U2", "tb:ask:run")
        assert await thread.answered() == ["It is done."]
        assert called.read_text(encoding="utf-8").count("act ") == 1
        record = await asked(thread, version=2)
        assert record is message and "by Ben" in record.shown and list(buttons(record.blocks)) == ["Details"]
        await bot.slack.until(lambda: any("approved by Ben" in trace.shown for trace in thread.traces))


async def test_a_person_makes_a_call_without_the_model_and_answers_what_the_server_asks(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **with_workshop(tmp_path)) as bot:
        await bot.slack.slash("C1", "U1", "/run", "shop/greet")
        said = await bot.slack.until(lambda: _said(bot.slack))
        assert said.text == "<@U1> runs: shop/greet"
        thread = Thread(slack=bot.slack, bot=bot, channel="C1", root=said.ts)
        message = await asked(thread)
        await bot.slack.press("C1", message.ts, "U1", "tb:form")
        (window,) = await bot.slack.until(lambda: bot.slack.views("U1"))
        (label,) = [block["label"]["text"] for block in window.content["blocks"] if block["type"] == "input"]
        await bot.slack.fill_in(window.id, "U1", {label: "Grace"})
        assert not window.is_open
        (answer,) = await thread.answered()
        assert "Hello Grace" in answer
        assert await bot.model.requests() == []


def _said(slack: FakeSlack) -> Message | None:
    own = slack.bot_messages("C1")
    return own[0] if own else None
