"""Talking with the bot in Slack: where it answers, whom it tells apart, what it leaves alone, and how it is stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.domain.messages import AssistantMessage, ToolMessage, UserMessage
from tests.scenarios.model import calls, last_word
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


async def test_what_is_not_for_the_bot_is_left_alone(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Here I am."}, {"text": "Still here."})
        thread = await start(bot, "U1", "are you there?")
        await thread.answered()

        await bot.slack.say("C1", "U2", "good morning everybody")
        await thread.say("U1", "<@U2> what do you think?")
        await bot.slack.join("C1", "U3")
        await bot.slack.say_as_other_bot("C1", "<@UBOT> build 17 has failed")
        await bot.slack.say_as_other_bot("C1", "build 17 has failed", thread.root)
        other = await bot.slack.say("C1", "U2", "lunch?")
        await bot.slack.say("C1", "U3", "gladly", other)  # a thread in which the bot does not take part
        await thread.say("U2", "stop it, I think")
        await bot.slack.settled()
        assert (await thread.answered(2))[1:] == ["Still here."]

        requests = await bot.model.requests()
        assert len(requests) == 2  # the question, and the only follow-up
        assert "stop it, I think" in str(requests[-1]["messages"][-1])
        assert bot.slack.bot_messages("C1") == []
        assert bot.slack.bot_messages("C1", other) == []
        assert bot.slack.ephemeral_messages == []


async def test_several_people_in_one_thread_are_told_apart_by_their_names(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Noted."}, {"text": "Noted too."})
        thread = await start(bot, "U1", "remember what <@U2> likes")
        await thread.answered()
        await thread.say("U3", "I like tea & cake")
        await thread.answered(2)
        asked = [message for message in (await bot.model.requests())[-1]["messages"] if message["role"] == "user"]
        assert [message["content"] for message in asked] == [
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
        for delivery in late:
            bot.slack.deliver("events_api", delivery.payload, team="T1")
        await bot.slack.settled()
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


async def test_three_quick_messages_are_answered_in_order_and_those_that_wait_show_an_hourglass(tmp_path: Path) -> None:
    async with busy_bot(tmp_path) as (bot, thread, release):
        await bot.model.script({"text": "Two."}, {"text": "Three."})
        second, third = [await thread.say("U1", text) for text in ("second", "third")]
        await bot.slack.until(lambda: HOURGLASS in bot.slack.reactions("C1", second))
        await bot.slack.until(lambda: HOURGLASS in bot.slack.reactions("C1", third))
        assert HOURGLASS not in bot.slack.reactions("C1", thread.root)
        assert thread.answers == []
        release()
        assert await thread.answered(3) == ["One.", "Two.", "Three."]
        await bot.slack.until(lambda: not bot.slack.reactions("C1", second) and not bot.slack.reactions("C1", third))
        asked = [request["messages"][-1]["content"] for request in await bot.model.requests()]
        assert asked[-2:] == ["[Ada] second", "[Ada] third"]


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
        [asked] = [request["messages"][-1]["content"] for request in await bot.model.requests()]
        assert asked.startswith("[Ada] hello ") and "@U159" in asked


async def test_what_waits_can_still_be_changed_or_deleted_and_what_runs_is_said_to_be_too_late(tmp_path: Path) -> None:
    async with busy_bot(tmp_path) as (bot, thread, release):
        await bot.model.script({"text": "Two."})
        second, third = [await thread.say("U2", text) for text in ("secnod", "third")]
        await bot.slack.until(lambda: HOURGLASS in bot.slack.reactions("C1", second))
        await bot.slack.until(lambda: HOURGLASS in bot.slack.reactions("C1", third))
        await bot.slack.edit("C1", second, "second")
        await bot.slack.delete("C1", third)
        await bot.slack.settled()
        await bot.slack.edit("C1", thread.root, "<@UBOT> fisrt")
        told = await bot.slack.until(lambda: bot.slack.ephemerals("U1"))
        assert "Send the change as a new message" in told[0].shown
        assert told[0].thread_ts == thread.root
        release()
        assert await thread.answered(2) == ["One.", "Two."]
        asked = [request["messages"][-1]["content"] for request in await bot.model.requests()]
        assert asked[0] == "[Ada] first" and asked[2:] == ["[Ben] second"]
        assert bot.slack.ephemerals("U2") == []


async def test_a_message_that_is_too_long_is_refused_to_its_author_alone(tmp_path: Path) -> None:
    async with open_bot(tmp_path, max_input_chars=100) as bot:
        thread = await start(bot, "U1", "word " * 40)
        told = await bot.slack.until(lambda: bot.slack.ephemerals("U1"))
        assert "at most 100" in told[0].shown
        await bot.slack.settled()
        assert len(bot.slack.ephemerals("U1")) == 1  # the mention came in two deliveries
        assert thread.messages == []
        assert await bot.model.requests() == []


async def test_forty_threads_at_once_are_all_answered_within_slacks_rates(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        bot.slack.enforce_tiers = True
        for number in range(40):
            bot.slack.add_channel(f"C{number + 100}", members=["U1"])
        threads = [await start(bot, "U1", f"question {number}", channel=f"C{number + 100}") for number in range(40)]
        await bot.slack.until(lambda: all(thread.answers for thread in threads), timeout_s=40)
        assert all(len(thread.answers) == 1 for thread in threads)
        assert not [call for call in bot.slack.calls if call.status == 429 and call.method == "chat.postMessage"]


# --- stopping ---


@pytest.mark.parametrize("way", ["button", "word", "mention"])
async def test_stop_ends_the_answer_within_a_second_and_what_was_seen_of_it_stays(tmp_path: Path, way: str) -> None:
    async with open_bot(tmp_path) as bot:
        words = " ".join(f"word{number}" for number in range(2_000))
        await bot.model.pace(chunk_s=CHUNK_S)
        await bot.model.script({"text": words}, {"text": "Gladly."})
        thread = await start(bot, "U1", "tell me everything")
        await bot.slack.until(lambda: any("word150 " in message.shown for message in thread.growing))
        seen = thread.growing[-1].shown.rstrip()
        match way:
            case "button":
                await bot.slack.press_stop("C1", thread.root, "U2")
            case "word":
                await thread.say("U1", "Stop")
            case _:
                await thread.say("U2", "stop", mention=True)
        [text] = await thread.answered()
        assert (last_word(text) - last_word(seen)) * CHUNK_S < 1.0  # so long did the model go on
        assert text.startswith(seen) and text.endswith("\n\n_Stopped._")
        assert [text] == await thread.stored_answers()
        assert bot.slack.sessions["C1", thread.root] == "active"

        await thread.say("U1", "stop the server")  # a question
        assert (await thread.answered(2))[1:] == ["Gladly."]
        assert len(thread.messages) == 2


async def test_a_stop_that_comes_while_its_question_is_still_being_taken_stops_it(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.pace(first_token_s=30.0)
        naming = bot.slack.hang_next("users.info")  # which the bot waits for a second at most
        thread = await start(bot, "U1", "a long story")
        await bot.slack.until(naming.reached.is_set)
        await thread.say("U1", "stop")
        [text] = await thread.answered()
        assert "Stopped." in text


async def test_stop_while_a_tool_runs_leaves_a_history_that_the_model_accepts(tmp_path: Path) -> None:
    released = tmp_path / "released"
    settings = with_workshop(tmp_path, RELEASE_FILE=str(released))
    async with open_bot(tmp_path, **settings) as bot:
        await bot.model.script(calls("shop__act", "shop__refuse"), {"text": "Where were we?"})
        thread = await start(bot, "U1", "act")
        await bot.slack.until(lambda: thread.traces and "… act" in thread.traces[0].shown)
        await bot.slack.press_stop("C1", thread.root, "U1")
        assert await thread.answered() == ["Stopped."]
        await bot.slack.until(lambda: "■ act" in thread.traces[0].shown)
        released.touch()
        await thread.say("U1", "go on")
        assert (await thread.answered(2))[1:] == ["Where were we?"]
        stored = await thread.stored()
        asked = [call.id for message in stored if isinstance(message, AssistantMessage) for call in message.tool_calls]
        assert sorted(asked) == sorted(message.call_id for message in stored if isinstance(message, ToolMessage))
        assert len([message for message in stored if isinstance(message, UserMessage)]) == 2


async def test_stop_ends_the_running_answer_alone_and_the_next_question_is_answered(tmp_path: Path) -> None:
    async with busy_bot(tmp_path) as (bot, thread, release):
        await thread.say("U1", "second")
        await bot.slack.until(lambda: len(bot.slack.calls_of("reactions.add")) == 1)
        await bot.slack.press_stop("C1", thread.root, "U1")
        release()
        assert await thread.answered(2) == ["Stopped.", "One."]
        assert (await bot.model.requests())[-1]["messages"][-1]["content"] == "[Ada] second"


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
