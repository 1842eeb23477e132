"""What people point at in Slack, where only Slack has it: apps, strangers, previews, stubs, and what it all costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from adapters.slack.backfill import ALIVE
from tests.fakes.rights import allow_all
from tests.fakes.slack import FakeSlack, typed
from tests.scenarios.model import spoken, words
from tests.scenarios.slack.serving import Bot, open_bot, open_world, serving
from tests.scenarios.slack.threads import Thread, start
from tests.scenarios.tools import without_tools

OF_THE_CONNECTION = {"auth.test", "apps.connections.open", "conversations.history"}


async def read_last(bot: Bot) -> str:
    """Return the last question as the model got it."""
    messages = (await bot.model.requests())[-1]["messages"]
    return [spoken(message["content"]) for message in messages if message["role"] == "user"][-1]


def calls_since(slack: FakeSlack, before: int) -> Sequence[str]:
    return [call.method for call in slack.calls[before:] if call.method not in OF_THE_CONNECTION]


def not_answered(logs: Sequence[Any]) -> list[str]:
    """Return the reasons that the log names."""
    return [line["reason"] for line in logs if line["event"] == "mention_not_answered"]


# --- what it costs ---


async def test_a_first_question_in_a_foreign_thread_costs_one_call_more_and_a_thread_of_the_bots_own_none(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as bot:
        slack = bot.slack
        await bot.model.script({"text": "One."}, {"text": "Two."}, {"text": "Three."})
        own = await start(bot, "U1", "are you there?")  # Ada's name is known from now on
        await own.answered()
        before = len(slack.calls)
        await own.say("U1", "and now?")
        await own.answered(2)
        usual = calls_since(slack, before)
        assert "conversations.replies" not in usual

        root = await slack.say("C1", "U1", "Payments 5xx, error E4711")
        before = len(slack.calls)
        foreign = Thread(slack=slack, bot=bot, channel="C1", root=root)
        await foreign.say("U1", "which error?", mention=True)
        await foreign.answered()
        assert sorted(calls_since(slack, before)) == sorted([*usual, "conversations.replies"])


async def test_talk_of_hundreds_of_other_bots_costs_no_call(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "One."}, {"text": "Two."})
        thread = await start(bot, "U1", "are you there?")
        await thread.answered()
        before = len(bot.slack.calls)
        for number in range(220):
            await bot.slack.say_as_other_bot("C1", f"build {number}", thread.root, is_integration=True)
        await bot.slack.settled()
        assert calls_since(bot.slack, before) == []
        await thread.say("U1", "and now?")
        assert (await thread.answered(2))[1].startswith("Two.")  # and that not all of the talk was read
        assert "build 219" in await read_last(bot)


# --- deliveries ---


async def test_talk_that_is_delivered_before_the_question_that_it_followed_is_known_to_the_next_one(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as bot:
        slack = bot.slack
        await bot.model.script({"text": "Here."}, {"text": "On Friday."})
        slack.hold()
        thread = await start(bot, "U1", "are you there?")
        await thread.say("U1", "<@U2> when can you?")
        await thread.say("U2", "<@U1> on Friday")
        mentions, talk = (
            [n for n, held in enumerate(slack.held) if ("U2" in str(held.event)) == is_talk]
            for is_talk in (False, True)
        )
        held = slack.held
        for delivery in await slack.release(talk):
            await slack.ended(delivery)
        for number in mentions:
            slack.deliver("events_api", held[number].payload, team="T1")
        await thread.answered()
        await slack.settled()
        await thread.say("U1", "so, when?", mention=True)
        await thread.answered(2)
        assert ": Ben⟧: " in await read_last(bot) and "on Friday" in await read_last(bot)


async def test_an_alert_whose_author_slack_is_slow_to_tell_is_known_to_the_question_right_after_it(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Here."}, {"text": "checkout is."})
        thread = await start(bot, "U1", "are you there?")
        await thread.answered()
        bot.slack.hang_next("users.info", where=lambda call: call["user"] == "UOTHERBOT")
        await bot.slack.say_as_other_bot("C1", "checkout is down", thread.root)
        await thread.say("U1", "what is down?")
        await thread.answered(2)
        assert "from a bot: Other⟧: " in await read_last(bot) and "checkout is down" in await read_last(bot)


async def test_names_that_slack_does_not_tell_keep_no_acknowledgement_back(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script(*({"text": f"Answer {number}."} for number in range(6)))
        for _ in range(40):
            bot.slack.hang_next("users.info")
        thread = await start(bot, "U1", "are you there?")
        for user in ("U2", "U3", "U1", "U2", "U3"):
            await thread.say(user, "and now?")
        await bot.slack.settled()
        assert len(await thread.answered(6)) == 6
        slowest_s = max(delivery.latency_s or 0.0 for delivery in bot.slack.acks if delivery.kind == "events_api")
        assert slowest_s < 3.0  # https://docs.slack.dev/apis/events-api/#responding


# --- who asks ---


async def test_a_person_who_posts_through_an_app_is_answered_as_that_person(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Ja."}, {"text": "Noch etwas."})
        root = await bot.slack.say("C1", "U3", "translate yes", mention=True, through="BDICTATION")
        thread = Thread(slack=bot.slack, bot=bot, channel="C1", root=root)
        await thread.answered()
        assert await read_last(bot) == "[Cleo] translate yes"
        await thread.say("U3", "and more?", through="BDICTATION")  # a follow-up like anyone's
        assert await thread.answered(2) == ["Ja.", "Noch etwas."]


async def test_a_direct_message_that_a_person_writes_through_an_app_is_answered(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Ja."})
        channel = bot.slack.dm("U3")
        root = await bot.slack.say(channel, "U3", "translate yes", through="BDICTATION")
        assert await Thread(slack=bot.slack, bot=bot, channel=channel, root=root).answered() == ["Ja."]


async def test_another_bots_mention_is_answered_only_where_it_is_listed(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        with capture_logs() as logs:
            await bot.slack.say_as_other_bot("C1", "<@UBOT> build 17 has failed")
            await bot.slack.settled()
        assert await bot.model.requests() == []
        assert not_answered(logs) == ["neither ALLOWED_APPS nor [access] apps lists the app"]
        assert bot.slack.bot_messages("C1") == []
        assert bot.slack.ephemeral_messages == []


async def test_a_listed_workflow_gets_even_a_long_answer(tmp_path: Path) -> None:
    text = words(600)
    async with open_bot(tmp_path, allowed_apps="slack:T1:AOTHER") as bot:
        await bot.model.pace(chunk_s=0.01)
        await bot.model.script({"text": text})
        root = await bot.slack.say_as_other_bot("C1", "<@UBOT> sum it up", app="Access requests", is_integration=True)
        thread = Thread(slack=bot.slack, bot=bot, channel="C1", root=root)
        assert "".join(await thread.answered()) == text
        assert "Access requests" in await read_last(bot)


async def test_a_mention_that_nobody_wrote_is_one_line_of_the_log(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        slack = bot.slack
        with capture_logs() as logs:
            event = {"type": "message", "subtype": "channel_topic", "user": "U1", "text": "set the topic: ask <@UBOT>"}
            for _ in range(2):
                slack.announce("C1", event | {"ts": "1700000000.000100"})
            await slack.settled()
        assert not_answered(logs) == ["a system message (channel_topic)"]
        assert await bot.model.requests() == []


async def test_a_stranger_is_called_by_name_and_streamed_to_in_their_own_workspace(tmp_path: Path) -> None:
    text = words(600)
    allow_all(tmp_path)
    with (tmp_path / "toolbridge.toml").open("a", encoding="utf-8") as rules:
        rules.write("[access]\noutsiders = true\n")
    async with open_bot(tmp_path) as bot:
        slack = bot.slack
        slack.add_user("U21", name="carla", display_name="carla", team="T2", is_stranger=True)
        slack.add_channel("C7", members=["U1", "U21"])
        await bot.model.pace(chunk_s=0.01)
        await bot.model.script({"text": text})
        thread = await start(bot, "U21", "when is the next window?", channel="C7")
        assert "".join(await thread.answered()) == text
        assert await read_last(bot) == "[carla] when is the next window?"
        assert slack.calls_of("users.info") == []
        [stream] = slack.calls_of("chat.startStream")
        assert stream.ok and stream.arguments["recipient_team_id"] == "T2"


# --- what a message carries ---


async def test_a_preview_that_slack_adds_is_no_edit(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "A cable was cut."})
        thread = await start(bot, "U1", "what does https://example.com/blog say?")
        await thread.answered()
        page = typed.preview("https://example.com/blog", title="Outage", text="A cable was cut")
        await bot.slack.unfurl("C1", thread.root, page)
        await bot.slack.settled()
        assert bot.slack.ephemeral_messages == []
        assert len(await bot.model.requests()) == 1


async def test_a_message_behind_a_link_is_read_though_slack_shows_it_after_the_question(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "It is."})
        link = "https://example.slack.com/archives/C3/p1785744000000100"
        thread = await start(bot, "U1", f"is this still going on? <{link}>")
        shown = {"is_msg_unfurl": True, "from_url": link, "author_name": "Carla", "text": "mail-out is at 18,000"}
        await bot.slack.unfurl("C1", thread.root, shown)
        await thread.answered()
        assert "Carla" in await read_last(bot) and "mail-out is at 18,000" in await read_last(bot)
        assert len(await bot.model.requests()) == 1


async def test_words_that_are_only_in_the_blocks_are_read_in_order(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Done."})
        slack, dm = bot.slack, bot.slack.dm("U1")
        items = [{"type": "rich_text_section", "elements": [{"type": "text", "text": text}]} for text in ("one", "two")]
        elements = [
            {"type": "rich_text_section", "elements": [{"type": "user", "user_id": "U2"}]},
            {"type": "rich_text_list", "style": "ordered", "indent": 0, "elements": items},
        ]
        blocks = [{"type": "rich_text", "block_id": "b1", "elements": elements}]
        await Thread(slack=slack, bot=bot, channel=dm, root=await slack.say(dm, "U1", "", blocks=blocks)).answered()
        assert await read_last(bot) == "@Ben\n1. one\n2. two"


async def test_a_file_that_another_organisation_does_not_show_is_named_by_its_id(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        slack = bot.slack
        stub = slack.add_file("contract.txt", b"Clause 7 has changed.")
        stub.is_hidden = True
        await bot.model.script({"text": "Clause 7."}, {"text": "I cannot say."})
        thread = await start(bot, "U1", "what changed?", files=[stub])
        await thread.answered()
        read = await read_last(bot)
        assert "contract.txt" in read and "Clause 7 has changed." in read

        slack.fail_next("files.info", times=10, error="file_not_found")
        thread = await start(bot, "U1", "what changed?", files=[stub])
        await thread.answered()
        assert f"`{stub.id}`" in await read_last(bot)


async def test_names_in_a_quotation_are_those_that_people_read(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        slack = bot.slack
        await bot.model.script({"text": "Thus."})
        root = await slack.say("C1", "U2", "<@U3> and <@UBOT> look after <#C9>, <!subteam^S1> knows", deliver=False)
        thread = Thread(slack=slack, bot=bot, channel="C1", root=root)
        await thread.say("U1", "who?", mention=True)
        await thread.answered()
        assert ": @Cleo (U3) and @toolbridge (UBOT) look after #C9, @S1 knows" in await read_last(bot)


async def test_a_mention_that_an_edit_adds_is_answered_and_a_later_change_of_a_preview_is_not(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        slack = bot.slack
        await bot.model.script({"text": "At noon."})
        root = await slack.say("C1", "U1", "when do we meet?")
        await slack.settled()
        assert await bot.model.requests() == []
        await slack.edit("C1", root, "<@UBOT> when do we meet?")
        thread = Thread(slack=slack, bot=bot, channel="C1", root=root)
        assert await thread.answered() == ["At noon."]
        await slack.unfurl("C1", root, typed.preview("https://example.com", title="A page", text="Words"))
        await slack.settled()
        assert len(await bot.model.requests()) == 1
        assert slack.ephemeral_messages == []


async def test_what_was_missed_is_read_with_its_table_and_its_thread(tmp_path: Path) -> None:
    async with open_world() as (slack, model):
        settings = without_tools(tmp_path)
        async with serving(slack, model, tmp_path, settings=settings) as bot:
            await model.script({"text": "One."}, {"text": "South."})
            await (await start(bot, "U1", "are you there?")).answered()
            await bot.app.store.put_note(f"{ALIVE}T1", f"{time.time():.3f}")
        root = await slack.say("C1", "U2", "three offers came in", deliver=False)
        table = typed.pasted_table([["Offer", "EUR"], ["South", "890"]], "t1")
        await slack.say("C1", "U1", "cheapest?", root, mention=True, attachments=[table], deliver=False)
        async with serving(slack, model, tmp_path, settings=settings) as bot:
            await Thread(slack=slack, bot=bot, channel="C1", root=root).answered()
            read = await read_last(bot)
        assert ": Ben⟧: " in read and "three offers came in" in read
        assert "| South | 890 |" in read
