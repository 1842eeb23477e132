"""Talking with the bot in Slack: where it answers, whom it tells apart, what waits its turn, and how it is stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.scenarios.model import calls, spoken
from tests.scenarios.slack.serving import Bot, Mode, open_bot
from tests.scenarios.slack.threads import Thread, start
from tests.scenarios.tools import with_workshop

HOURGLASS = "hourglass_flowing_sand"
CHUNK_S = 0.01  # of an answer that is slow enough to be stopped


# --- where it answers ---


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_mention_is_answered_once_in_its_thread_below_the_trace_and_the_thread_goes_on_without_mentions(
    tmp_path: Path, mode: Mode
) -> None:
    async with open_bot(tmp_path, mode=mode, **with_workshop(tmp_path)) as bot:
        await bot.model.script(calls("shop__look"), {"text": "I have looked."}, {"text": "Yes, again."})
        thread = await start(bot, "U1", "please look around")
        assert await thread.answered() == ["I have looked."]
        came = [delivery.event["type"] for delivery in bot.slack.acks if delivery.event.get("ts") == thread.root]
        assert sorted(came) == ["app_mention", "message"]
        assert [message.ts for message in thread.messages] == [thread.traces[0].ts, thread.answers[0].ts]
        assert thread.traces[0].shown.startswith("✓ look · shop")
        assert bot.slack.bot_messages("C1") == []  # nothing in the channel itself

        await thread.say("U1", "and again?")
        assert await thread.answered(2) == ["I have looked.", "Yes, again."]
        await bot.slack.settled()
        assert len(await bot.model.requests()) == 3
        assert all(delivery.acked_at for delivery in bot.slack.acks)


async def test_a_direct_message_is_answered_in_a_thread_of_its_own(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Hello Ada."}, {"text": "As I said."}, {"text": "Something new."})
        channel = bot.slack.dm("U1")
        thread = await start(bot, "U1", "hello", channel=channel)
        assert await thread.answered() == ["Hello Ada."]
        await thread.say("U1", "what did you say?")
        assert (await thread.answered(2))[1:] == ["As I said."]
        other = await start(bot, "U1", "another matter", channel=channel)
        assert await other.answered() == ["Something new."]
        last = (await bot.model.requests())[-1]["messages"]
        assert "hello" not in str(last)  # a conversation of its own


async def test_several_people_in_one_thread_are_told_apart_by_their_names(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Noted."}, {"text": "Noted too."})
        thread = await start(bot, "U1", "remember what <@U2> likes")
        await thread.answered()
        await thread.say("U3", "I like tea & cake")
        await thread.answered(2)
        asked = [message for message in (await bot.model.requests())[-1]["messages"] if message["role"] == "user"]
        assert [spoken(message["content"]) for message in asked] == [
            "[Ada] remember what @Ben likes",
            "[Cleo] I like tea & cake",
        ]


# --- deliveries ---


async def test_repeated_and_reordered_deliveries_of_one_mention_are_one_turn(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Once."}, {"text": "Twice."})
        bot.slack.hold()
        thread = await start(bot, "U1", "how often?")
        await bot.slack.release([1, 0, 0, 1, 1])
        await bot.slack.settled()
        assert await thread.answered() == ["Once."]
        bot.slack.duplicate_next(3)
        await thread.say("U1", "and now?")
        await bot.slack.settled()
        assert await thread.answered(2) == ["Once.", "Twice."]
    assert len(thread.messages) == 2
    assert len([message for message in bot.slack.acks if message.acked_at]) == len(bot.slack.acks)


async def test_a_message_that_was_deleted_before_its_delivery_came_is_not_answered(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Here."})
        bot.slack.hold()
        gone = await start(bot, "U1", "never mind")
        await bot.slack.delete("C1", gone.root)
        late = bot.slack.held[:2]
        await bot.slack.release([2])
        await bot.slack.settled()
        with capture_logs() as logs:
            for delivery in late:
                bot.slack.deliver("events_api", delivery.payload, team="T1")
            await bot.slack.settled()
        [line] = [line for line in logs if line["event"] == "mention_not_answered"]
        assert line["log_level"] == "info" and line["reason"] == "it was deleted before it was delivered"
        kept = await start(bot, "U1", "do mind")
        assert await kept.answered() == ["Here."]
        assert len(await bot.model.requests()) == 1


# --- waiting its turn ---


@asynccontextmanager
async def busy_bot(home: Path) -> AsyncGenerator[tuple[Bot, Thread, Callable[[], None]]]:
    """A bot, a thread in which it is at work, and what lets that work end with the answer "One."."""
    released = home / "released"
    async with open_bot(home, **with_workshop(home, RELEASE_FILE=str(released))) as bot:
        await bot.model.script(calls("shop__act"), {"text": "One."})
        thread = await start(bot, "U1", "first")
        await bot.slack.until(lambda: thread.traces)
        yield bot, thread, released.touch


async def test_a_sign_that_slack_is_slow_to_take_away_keeps_no_status_back(tmp_path: Path) -> None:
    async with busy_bot(tmp_path) as (bot, thread, release):
        await bot.model.script({"text": "Two."})
        second = await thread.say("U1", "second")
        await bot.slack.until(lambda: HOURGLASS in bot.slack.reactions("C1", second))
        removing = bot.slack.hang_next("reactions.remove", is_done=False)
        await bot.model.pace(first_token_s=3.0)
        release()
        await bot.slack.until(removing.reached.is_set)
        await bot.slack.until(lambda: len(thread.answers) == 1 and bot.slack.status("C1", thread.root) == "processing")
        assert not removing.released.is_set()
        removing.released.set()
        assert await thread.answered(2) == ["One.", "Two."]
        await bot.slack.until(lambda: not bot.slack.reactions("C1", second))


async def test_of_a_crowd_that_one_message_mentions_only_some_are_asked_for_by_name(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Many."})
        crowd = " ".join(f"<@U{number}>" for number in range(100, 160))
        thread = await start(bot, "U1", f"hello <@U2> and {crowd}")
        assert await thread.answered() == ["Many."]
        assert len({call.arguments["user"] for call in bot.slack.calls_of("users.info")}) <= 20
        [asked] = [spoken(request["messages"][-1]["content"]) for request in await bot.model.requests()]
        assert asked.startswith("[Ada] hello ") and "@U159" in asked


# --- stopping ---


async def test_a_stop_that_comes_while_its_question_is_still_being_taken_stops_it(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.pace(first_token_s=30.0)
        naming = bot.slack.hang_next("users.info")  # which the bot waits for a second at most
        thread = await start(bot, "U1", "a long story")
        await bot.slack.until(naming.reached.is_set)
        await thread.say("U1", "stop")
        [text] = await thread.answered()
        assert "Stopped." in text


async def test_someone_else_cannot_stop_an_answer_by_slacks_button_and_alone_sees_why(tmp_path: Path) -> None:
    async with busy_bot(tmp_path) as (bot, thread, release):
        await bot.slack.press_stop("C1", thread.root, "U2")
        [told] = await bot.slack.until(lambda: bot.slack.ephemerals("U2"))
        assert told.shown == ("Someone else asked for what runs here. The person who asked or an operator can stop it.")
        release()
        assert await thread.answered() == ["One."]


async def test_stop_ends_only_the_running_answer_and_the_next_question_is_answered(tmp_path: Path) -> None:
    async with busy_bot(tmp_path) as (bot, thread, release):
        await thread.say("U1", "second")
        await bot.slack.until(lambda: len(bot.slack.calls_of("reactions.add")) == 1)
        await bot.slack.press_stop("C1", thread.root, "U1")
        await bot.slack.until(lambda: thread.answers)
        release()
        assert await thread.answered(2) == ["Stopped.", "One."]
        assert spoken((await bot.model.requests())[-1]["messages"][-1]["content"]) == "[Ada] second"


async def test_a_question_whose_thread_was_deleted_while_it_was_worked_on_holds_up_nothing(tmp_path: Path) -> None:
    async with busy_bot(tmp_path) as (bot, thread, release):
        await bot.slack.delete("C1", thread.root)
        await bot.slack.settled()
        release()
        await bot.slack.until(lambda: any(call.answer.get("error") == "thread_not_found" for call in bot.slack.calls))
        await bot.model.script({"text": "Here."})
        other = await start(bot, "U2", "are you there?")
        assert await other.answered() == ["Here."]
        assert bot.slack.bot_messages("C1") == []


async def test_stop_where_nothing_runs_says_so_to_the_one_who_asked(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Done."})
        thread = await start(bot, "U1", "do it")
        await thread.answered()
        await thread.say("U2", "stop")
        told = await bot.slack.until(lambda: bot.slack.ephemerals("U2"))
        assert "othing" in told[0].shown
        assert len(thread.messages) == 1
