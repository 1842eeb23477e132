"""What people write while the bot is away is answered when it is back, and what came in another order as well."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from bot.stores.factory import open_store
from tests.fakes.slack import FakeSlack
from tests.scenarios.model import Model
from tests.scenarios.slack.seen import answers, until_answered
from tests.scenarios.slack.serving import open_world, serving
from tests.scenarios.tools import without_tools


def bot(slack: FakeSlack, model: Model, home: Path, *, options: Mapping[str, Any] | None = None) -> Any:
    return serving(slack, model, home, settings=without_tools(home), options=options)


async def known_thread(slack: FakeSlack, channel: str = "C1") -> str:
    """Have a question answered there."""
    person = "U2" if channel.startswith("D") else "U1"
    root = await slack.say(channel, person, "the opening", mention=not channel.startswith("D"))
    await until_answered(slack, channel, root)
    return root


async def until_noted(slack: FakeSlack, model: Model, home: Path, *channels: str) -> list[str]:
    """Have the bot asked in the channels, and stop it; return the threads."""
    async with bot(slack, model, home):
        return [await known_thread(slack, channel) for channel in channels]


def texts(slack: FakeSlack, channel: str, root: str) -> str:
    return "\n".join(message.shown for message in answers(slack, channel, root))


async def test_notes_that_cannot_be_read_cost_what_was_missed_and_nothing_else(tmp_path: Path) -> None:
    async with open_world() as (slack, model):
        await until_noted(slack, model, tmp_path, "C1")
        async with open_store(f"sqlite:///{tmp_path / 'toolbridge.db'}") as store:
            await store.put_note("slack/alive/T1", "yesterday")
        async with bot(slack, model, tmp_path):
            await known_thread(slack)


async def test_a_missed_message_is_answered_as_it_reads_after_it_was_changed(tmp_path: Path) -> None:
    async with open_world() as (slack, model):
        await until_noted(slack, model, tmp_path, "C1")
        root = await slack.say("C1", "U1", "wrong words", mention=True, deliver=False)
        slack.hold()  # the change is not delivered either
        await slack.edit("C1", root, "<@UBOT> right words")
        await slack.release([])
        gone = await slack.say("C1", "U1", "never mind", mention=True, deliver=False)
        slack.hold()
        await slack.delete("C1", gone)
        await slack.release([])
        async with bot(slack, model, tmp_path):
            await until_answered(slack, "C1", root)
        assert "right words" in texts(slack, "C1", root)
        assert "wrong words" not in texts(slack, "C1", root)
        assert len(await model.requests()) == 2


async def test_a_command_that_was_missed_is_not_run_which_the_log_says_once_and_of_an_answered_one_nothing(
    tmp_path: Path,
) -> None:
    async with open_world() as (slack, model), bot(slack, model, tmp_path):
        await known_thread(slack)
        await slack.say("C1", "U1", "tools", mention=True)
        await slack.until(lambda: slack.ephemerals("U1"))
        slack.refuse_sockets(4)
        await slack.cut_sockets()
        missed = await slack.say("C1", "U1", "history", mention=True, deliver=False)
        after = await slack.say("C1", "U1", "are you there", mention=True, deliver=False)
        with capture_logs() as logs:
            await until_answered(slack, "C1", after)
        lines = [(line["message"], line["reason"]) for line in logs if line["event"] == "mention_not_answered"]
        assert lines == [(f"slack:T1:C1:{missed}", "a command that was found while catching up")]
        assert len(slack.ephemerals("U1")) == 1


async def test_a_time_without_any_connection_is_made_up_for(tmp_path: Path) -> None:
    async with open_world() as (slack, model), bot(slack, model, tmp_path):
        thread = await known_thread(slack)
        slack.refuse_sockets(4)
        await slack.cut_sockets()
        mention = await slack.say("C1", "U2", "are you there", mention=True, deliver=False)
        await slack.say("C1", "U2", "hello again", thread, deliver=False)
        await until_answered(slack, "C1", mention)
        await until_answered(slack, "C1", thread, count=2)
        assert len(await model.requests()) == 3


async def test_slack_that_makes_the_bot_wait_for_what_it_missed_gets_its_time(tmp_path: Path) -> None:
    async with open_world() as (slack, model):
        (thread,) = await until_noted(slack, model, tmp_path, "C1")
        mention = await slack.say("C1", "U2", "one", mention=True, deliver=False)
        await slack.say("C1", "U2", "two", thread, deliver=False)
        slack.limit_next("conversations.history", retry_after_s=1)
        slack.fail_next("conversations.replies", error="internal_error", times=5)
        async with bot(slack, model, tmp_path):
            await until_answered(slack, "C1", mention)
            await until_answered(slack, "C1", thread, count=2)
        limited, granted, *_ = slack.calls_of("conversations.history")
        assert granted.at - limited.at >= 0.95
        assert len(await model.requests()) == 3


async def test_a_channel_that_the_bot_was_removed_from_keeps_no_other_waiting(tmp_path: Path) -> None:
    async with open_world() as (slack, model):
        slack.add_channel("C2", members=["U1"])
        await until_noted(slack, model, tmp_path, "C1", "C2")
        slack.channels["C2"].members.remove("UBOT")
        mention = await slack.say("C1", "U1", "still here", mention=True, deliver=False)
        async with bot(slack, model, tmp_path):
            await until_answered(slack, "C1", mention)


async def test_a_follow_up_that_overtakes_its_mention_is_answered_and_what_came_before_that_is_not(
    tmp_path: Path,
) -> None:
    async with open_world() as (slack, model), bot(slack, model, tmp_path):
        slack.hold()
        chat = await slack.say("C1", "U2", "a thread of people")
        await slack.say("C1", "U2", "said before the bot was asked", chat)
        mention = await slack.say("C1", "U1", "the mention", chat, mention=True)
        await slack.say("C1", "U1", "the follow-up", chat)
        late = [delivery.payload for delivery in slack.held if delivery.event["ts"] == mention]
        early = [number for number, delivery in enumerate(slack.held) if delivery.event["ts"] != mention]
        for delivery in await slack.release(early):
            await slack.ended(delivery)
        for payload in late:
            slack.deliver("events_api", payload, team="T1")
        await until_answered(slack, "C1", chat, count=2)
        await slack.settled()
        first, second = [message.shown for message in answers(slack, "C1", chat)]
        assert "the mention" in first
        assert "the follow-up" in second


async def test_a_name_that_is_slow_to_find_lets_no_later_message_of_its_thread_overtake(tmp_path: Path) -> None:
    async with open_world() as (slack, model), bot(slack, model, tmp_path):
        asked = [slack.hang_next("users.info", is_done=False) for _ in range(2)]
        root = await slack.say("C1", "U1", "the opening", mention=True)
        await slack.until(asked[0].reached.is_set)
        await slack.say("C1", "U2", "the second", root)
        asked[0].released.set()
        await slack.until(asked[1].reached.is_set)
        third = await slack.say("C1", "U1", "the third", root)
        await slack.until(lambda: [one for one in slack.acks if one.event.get("ts") == third and one.sent_at])
        asked[1].released.set()
        await until_answered(slack, "C1", root, count=3)
        shown = [message.shown for message in answers(slack, "C1", root)]
        said = ["the opening", "the second", "the third"]
        assert [next((text for text in said if text in answer), answer) for answer in shown] == said
