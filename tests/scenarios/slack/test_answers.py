"""The answer in a Slack thread: short or long, streamed or edited, whatever Slack refuses on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.slack.own_messages import POST
from adapters.slack.pace import Pace
from tests.scenarios.model import calls, words
from tests.scenarios.slack.serving import QUICK, Bot, open_world, serving
from tests.scenarios.slack.threads import Thread, check_exactly, start
from tests.scenarios.tools import with_workshop, without_tools

STREAM_METHODS = ("chat.startStream", "chat.appendStream", "chat.stopStream")


@asynccontextmanager
async def open_bot(
    home: Path, *, options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> AsyncGenerator[Bot]:
    async with (
        open_world() as (slack, model),
        serving(slack, model, home, options=options, settings=settings or without_tools(home)) as bot,
    ):
        yield bot


async def ask_for(bot: Bot, text: str, *, chunk_s: float = 0.0) -> Thread:
    """Have someone ask a question whose answer is this text."""
    await bot.model.pace(chunk_s=chunk_s)
    await bot.model.script({"text": text})
    return await start(bot, "U1", "tell me")


def _marked_streams(bot: Bot) -> set[str]:
    """Return the timestamps of streams that were marked as finished posts when they were stopped."""
    stopped = [call for call in bot.slack.calls_of("chat.stopStream") if call.ok]
    return {call.arguments["ts"] for call in stopped if POST in str(call.arguments["metadata"])}


# --- short and long ---


async def test_a_short_answer_with_two_quick_tools_takes_two_calls_and_no_stream(tmp_path: Path) -> None:
    options = {"pace": replace(QUICK, status_delay_s=60.0)}  # "short", on any machine
    async with open_bot(tmp_path, options=options, settings=with_workshop(tmp_path)) as bot:
        await bot.model.script(calls("shop__look", "shop__conversation"), {"text": "Both **done**."})
        thread = await start(bot, "U1", "look, twice")
        await bot.slack.until(lambda: thread.texts == ["Both **done**."])
        of_the_connection = {"auth.test", "apps.connections.open", "users.info", "conversations.history"}
        of_the_connection |= {"conversations.replies"}  # what was missed while there was none
        used = [call.method for call in bot.slack.calls if call.method not in of_the_connection]
        assert used == ["chat.postMessage"] * 2
        [answer] = thread.answers
        assert [block["type"] for block in answer.blocks] == ["markdown", "context_actions"]
        assert answer.text == "Both done."  # what a notification reads
        assert answer.edits == 0


async def test_a_long_answer_streams_while_it_is_written_and_ends_with_buttons_and_metadata(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        text = words(600)
        thread = await ask_for(bot, text, chunk_s=0.005)
        await bot.slack.until(lambda: thread.growing and thread.growing[0].is_streaming)
        await bot.slack.until(lambda: len(bot.slack.calls_of("chat.appendStream")) >= 3)
        assert text.startswith(thread.growing[0].shown)
        await check_exactly(thread, text)
        [started], [stopped] = bot.slack.calls_of("chat.startStream"), bot.slack.calls_of("chat.stopStream")
        assert (started.arguments["recipient_team_id"], started.arguments["recipient_user_id"]) == ("T1", "U1")
        assert stopped.arguments["session_status"] == "active"
        assert bot.slack.calls_of("chat.update") == bot.slack.calls_of("chat.postMessage") == []
        assert thread.answers[0].edits == 0


# --- streams that end early, or are not to be had ---


async def test_an_answer_that_outlives_a_stream_goes_on_by_edits_of_the_same_message(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options={"pace": replace(QUICK, stream_life_s=0.2)}) as bot:
        text = words(600)
        thread = await ask_for(bot, text, chunk_s=0.005)
        await bot.slack.until(lambda: len(bot.slack.calls_of("chat.update")) >= 2)
        [growing] = thread.growing
        assert not growing.is_streaming
        await check_exactly(thread, text)
        assert [message.ts for message in thread.messages] == [growing.ts]
        assert len(bot.slack.calls_of("chat.startStream")) == 1


async def test_an_answer_whose_stream_slack_has_ended_goes_on_by_edits_of_the_same_message(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        text = words(600)
        thread = await ask_for(bot, text, chunk_s=0.005)
        await bot.slack.until(lambda: bot.slack.calls_of("chat.appendStream"))
        [growing] = thread.growing
        bot.slack.advance(301)
        await bot.slack.until(lambda: len(bot.slack.calls_of("chat.update")) >= 2)
        await check_exactly(thread, text)
        assert [message.ts for message in thread.messages] == [growing.ts]


async def test_a_stream_that_slack_ended_while_nothing_was_written_still_gets_the_whole_answer(tmp_path: Path) -> None:
    async with open_bot(tmp_path, settings=with_workshop(tmp_path, RELEASE_FILE=str(tmp_path / "released"))) as bot:
        await bot.model.script({"text": words(150), **calls("shop__act")}, {"text": "That is all."})
        thread = await start(bot, "U1", "tell me, then act")
        await bot.slack.until(lambda: thread.growing and bot.slack.calls_of("chat.startStream"))
        bot.slack.advance(301)
        (tmp_path / "released").touch()
        await check_exactly(thread, f"{words(150)}\n\nThat is all.")


@pytest.mark.parametrize("code", ["missing_scope", "channel_type_not_supported"])
async def test_where_streams_are_refused_the_answer_is_posted_and_edited(tmp_path: Path, code: str) -> None:
    async with open_bot(tmp_path) as bot:
        bot.slack.fail_next("chat.startStream", error=code, times=100)
        text = words(300)
        thread = await ask_for(bot, text, chunk_s=0.005)
        await bot.slack.until(lambda: thread.growing and thread.growing[0].edits >= 2)
        assert text.startswith(thread.growing[0].shown.rstrip())
        await check_exactly(thread, text)
        second = await ask_for(bot, text, chunk_s=0.005)
        await check_exactly(second, text)
        assert len(bot.slack.calls_of("chat.startStream")) == 1  # it is not asked for again and again


# --- faults ---


@pytest.mark.parametrize("method", [*STREAM_METHODS, "chat.update", "chat.postMessage"])
async def test_whatever_fails_on_the_way_the_whole_answer_arrives_exactly_once(tmp_path: Path, method: str) -> None:
    async with open_bot(tmp_path) as bot:
        if method not in STREAM_METHODS:
            bot.slack.fail_next("chat.startStream", error="missing_scope", times=4)
        bot.slack.fail_next(method, drop="after")
        bot.slack.fail_next(method, drop="before")
        bot.slack.fail_next(method, status=500)
        bot.slack.limit_next(method)
        text = words(200)
        await bot.model.pace(chunk_s=0.005)
        await bot.model.script(*[{"text": text}] * 4)
        channels = ["C1", *(bot.slack.add_channel(f"C{number}", members=["U1"]).id for number in (2, 3, 4))]
        threads = [await start(bot, "U1", "tell me", channel=channel) for channel in channels]
        for thread in threads:
            await check_exactly(thread, text)
        assert {0, 500, 429} <= {call.status for call in bot.slack.calls_of(method)}
        if method in STREAM_METHODS[:2]:
            # After a crash, what has the mark of a post is taken for it: it must not be set before the text is right.
            assert not _marked_streams(bot) & {call.arguments["ts"] for call in bot.slack.calls_of("chat.update")}
    assert [thread.texts for thread in threads] == [[text]] * 4  # and nothing came after it


@pytest.mark.parametrize("count", [20, 800])
async def test_an_answer_whose_blocks_slack_refuses_is_there_in_plain_text_to_its_end(
    tmp_path: Path, count: int
) -> None:
    async with open_bot(tmp_path) as bot:
        bot.slack.api.takes_markdown = False
        bot.slack.fail_next("chat.startStream", error="missing_scope")
        text = f"# Odd\n\n- [ ] things & <such>\n\n{words(count)}"
        thread = await ask_for(bot, text, chunk_s=0.001)
        await bot.slack.until(lambda: thread.answers)
        await thread.at_rest()
        [message] = thread.messages
        assert message.shown.split() == text.split()
        assert {block["text"]["type"] for block in message.blocks} == {"plain_text"}


@pytest.mark.parametrize("refuses_streams", [False, True])
async def test_what_was_shown_of_an_answer_that_the_content_filter_stopped_is_gone(
    tmp_path: Path, refuses_streams: bool
) -> None:
    async with open_bot(tmp_path) as bot:
        if refuses_streams:
            bot.slack.fail_next("chat.startStream", error="missing_scope")
        await bot.model.fail("content_filter", after_chunks=500)
        thread = await ask_for(bot, words(2_000), chunk_s=0.001)
        calls = ("chat.startStream", "chat.postMessage")
        begun = 2 if refuses_streams else 1  # the refused stream is a call as well
        await bot.slack.until(lambda: sum(len(bot.slack.calls_of(call)) for call in calls) >= begun)
        [text] = await thread.answered()
        assert "content filter stopped this" in text and "word0" not in text
        await bot.slack.until(lambda: len(thread.messages) == 1)
        assert [text] == await thread.stored_answers()
    assert len(thread.messages) == 1


# --- the status ---


async def test_an_answer_that_takes_longer_has_a_status_within_a_second_and_its_thread_a_name(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options={"pace": replace(QUICK, status_delay_s=Pace().status_delay_s)}) as bot:
        await bot.model.pace(first_token_s=3.0)
        await bot.model.script({"text": "Done."})
        thread = await start(bot, "U1", "work\non  *this* " + "and that " * 30)
        await bot.slack.until(lambda: bot.slack.status("C1", thread.root) == "processing")
        (begun,) = bot.slack.calls_of("agents.sessions.setStatus")
        [asked] = bot.slack.deliveries_of("app_mention")
        assert 0.65 < begun.at - asked.sent_at[0] < 3.0  # a second, and what a busy machine adds
        assert await thread.answered() == ["Done."]
        title = bot.slack.session_titles["C1", thread.root]
        assert title.startswith("work on *this* and that and") and title.endswith("…") and len(title) <= 200
        statuses = [call.arguments["status"] for call in bot.slack.calls_of("agents.sessions.setStatus")]
        assert statuses == ["processing", "active"]


async def test_the_session_is_processing_while_the_bot_works_and_active_after_it(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.pace(first_token_s=0.3)
        await bot.model.script({"text": "Done."})
        thread = await start(bot, "U1", "work")
        await bot.slack.until(lambda: bot.slack.status("C1", thread.root) == "processing")
        assert thread.messages == []
        assert await thread.answered() == ["Done."]
        assert bot.slack.status("C1", thread.root) == "active"
        assert bot.slack.calls_of("assistant.threads.setStatus") == []


async def test_where_sessions_are_refused_words_say_what_the_bot_does(tmp_path: Path) -> None:
    released = tmp_path / "released"
    async with open_bot(tmp_path, settings=with_workshop(tmp_path, RELEASE_FILE=str(released))) as bot:
        bot.slack.api.is_agent = False
        await bot.model.pace(first_token_s=0.3)
        await bot.model.script(calls("shop__act"), {"text": "Done."}, {"text": "Done again."})
        thread = await start(bot, "U1", "work")
        await bot.slack.until(lambda: bot.slack.status("C1", thread.root) == "is thinking…")
        await bot.slack.until(lambda: bot.slack.status("C1", thread.root) == "is using act…")
        released.touch()
        await bot.slack.until(lambda: thread.texts == ["Done."])
        await thread.say("U1", "again")
        await bot.slack.until(lambda: thread.texts == ["Done.", "Done again."])
        assert len(bot.slack.calls_of("agents.sessions.setStatus")) == 1
    assert bot.slack.status("C1", thread.root) == ""


@pytest.mark.parametrize("is_agent", [True, False])
async def test_a_status_is_refreshed_before_it_vanishes(tmp_path: Path, is_agent: bool) -> None:
    async with open_bot(tmp_path, options={"pace": replace(QUICK, status_refresh_s=0.1)}) as bot:
        bot.slack.api.is_agent = is_agent
        method = "agents.sessions.setStatus" if is_agent else "assistant.threads.setStatus"
        await bot.model.pace(first_token_s=1.0)
        await bot.model.script({"text": "Done."})
        thread = await start(bot, "U1", "work for long")
        await bot.slack.until(lambda: len(bot.slack.calls_of(method)) >= 3)
        assert thread.messages == []
        assert len({str(call.arguments) for call in bot.slack.calls_of(method)}) == 1
        await bot.slack.until(lambda: thread.texts == ["Done."])


async def test_the_status_says_that_the_model_makes_the_bot_wait(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.fail("rate_limit", retry_after_s=1)
        await bot.model.script({"text": "Done."})
        thread = await start(bot, "U1", "work")
        await bot.slack.until(lambda: "Trying again in 1 s" in bot.slack.statuses.get(("C1", thread.root), ""))
        assert await thread.answered() == ["Done."]
    assert not bot.slack.statuses.get(("C1", thread.root))


async def test_where_no_status_is_allowed_the_answer_comes_all_the_same(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        bot.slack.api.is_agent = False
        token = bot.slack.tokens["xoxb-test"]
        token.scopes = tuple(scope for scope in token.scopes if scope != "assistant:write")
        await bot.model.script({"text": "Done."}, {"text": "Done again."})
        thread = await start(bot, "U1", "work")
        await bot.slack.until(lambda: thread.texts == ["Done."])
        await thread.say("U1", "again")
        await bot.slack.until(lambda: thread.texts == ["Done.", "Done again."])
        assert len(bot.slack.calls_of("assistant.threads.setStatus")) == 1


# --- where Slack keeps the bot from looking or writing ---


async def test_an_answer_of_which_it_cannot_be_known_whether_it_is_there_is_posted_with_a_word_on_that(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as bot:
        token = bot.slack.tokens["xoxb-test"]
        token.scopes = tuple(scope for scope in token.scopes if scope != "channels:history")
        bot.slack.fail_next("chat.postMessage", drop="before")
        thread = await ask_for(bot, "A short answer.")
        [text] = await thread.answered()
        assert text.startswith("A short answer.") and "you may see it twice" in text


@pytest.mark.parametrize("fault", ["none", "429", "after"])
async def test_an_answer_is_sent_directly_with_its_reason_and_files_when_the_bot_was_removed_from_the_channel(
    tmp_path: Path, fault: str
) -> None:
    async with open_bot(tmp_path, settings=with_workshop(tmp_path, RELEASE_FILE=str(tmp_path / "released"))) as bot:
        await bot.model.script(calls("shop__everything"), calls("shop__act"), {"text": "Done."})
        thread = await start(bot, "U1", "act")
        await bot.slack.until(lambda: thread.traces and "… act" in thread.traces[0].shown)
        bot.slack.channels["C1"].members.discard("UBOT")
        if fault == "429":
            bot.slack.limit_next("files.completeUploadExternal")
        elif fault == "after":
            bot.slack.fail_next("files.completeUploadExternal", drop="after")
        (tmp_path / "released").touch()
        direct = bot.slack.dm("U1")
        [told] = await bot.slack.until(lambda: bot.slack.bot_messages(direct))
        await bot.slack.until(lambda: len(bot.slack.bot_messages(direct, told.ts)) >= 3)
        bot.slack.channels["C1"].members.add("UBOT")
        await bot.model.script({"text": "Here again."})
        await thread.say("U1", "<@UBOT> and now?")
        await bot.slack.until(lambda: thread.texts == ["Here again."])
        await thread.at_rest()  # with the status and its Stop button, as before
        assert bot.slack.bot_messages(direct) == [told]
        assert "could not be posted there" in told.shown and told.shown.endswith("Done.")
        assert (
            f"<https://team.slack.com/archives/C1/p{thread.root.replace('.', '')}|your message> in <#C1>" in told.shown
        )
        assert [block["type"] for block in told.blocks] == [
            "section",
            "markdown",
        ]  # no button that would not work there
        assert [len(message.files) for message in bot.slack.bot_messages(direct, told.ts)[1:]] == [1, 1]


@pytest.mark.parametrize("code", ["internal_error", "thread_not_found", "not_in_channel"])
async def test_other_answers_stream_when_one_could_not_at_that_moment(tmp_path: Path, code: str) -> None:
    async with open_bot(tmp_path) as bot:
        bot.slack.fail_next("chat.startStream", error=code)
        text = words(200)
        first = await ask_for(bot, text, chunk_s=0.005)
        await check_exactly(first, text)
        second = await ask_for(bot, text, chunk_s=0.005)
        await check_exactly(second, text)
        assert second.answers[0].streamed == text
