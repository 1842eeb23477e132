"""The bot's commands in Slack: typed with a slash, written as a mention in a thread, or chosen at a message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
from slack_sdk.oauth.installation_store import Installation

from adapters.slack.installs import Installations
from bot.domain.events import ConversationKey
from bot.stores.factory import open_store
from tests.fakes.slack import View
from tests.scenarios.model import calls
from tests.scenarios.slack.pressing import Person, labels, options, pressable, remember
from tests.scenarios.slack.serving import Mode, open_bot, open_world, serving
from tests.scenarios.slack.threads import start
from tests.scenarios.tools import with_workshop, without_tools

WAYS = pytest.mark.parametrize("mode", ["socket", "http"])
BUNDLED: dict[str, Any] = {"mcp_config": None}  # the server that comes with the bot
TOKYO = "What time is it in Tokyo?"


# --- slash commands ---


async def test_history_lists_this_channels_conversations_with_a_picker_and_the_picked_one_is_shown(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as bot:
        bot.slack.add_channel("C2", members=["U1", "U2"])
        ada = Person(slack=bot.slack)
        assert "no conversations in this channel yet" in (await ada.slash("/history")).shown

        await bot.model.script({"text": "It is red."}, {"text": "A secret one."}, {"text": "It is blue."})
        for user, text, channel in (("U2", "Which <colour>?", "C1"), ("U2", "And hidden?", "C2")):
            await (await start(bot, user, text, channel=channel)).answered()
        only = await ada.slash("/history")
        assert "It is red." in only.shown and not options(only)

        await (await start(bot, "U1", "Which colour now?")).answered()
        several = await ada.slash("/history")
        assert [option["text"]["text"].partition(" ")[2].partition(" ")[2] for option in options(several)] == [
            "Which colour now?",
            "Which <colour>?",
        ]
        assert "hidden" not in str(several.blocks)
        shown = await ada.pick(several, "Which <colour>?")
        assert "**Ben**: Which \\<colour\\>?" in shown and "It is red." in shown
        assert "blue" not in shown and not options(several)
        assert len(ada.answers) == 3  # it took the place of the list


async def test_clear_asks_which_of_several_to_forget_asks_again_and_forgets_only_that_one(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        ada = Person(slack=bot.slack)
        assert "no conversation in this channel to forget" in (await ada.slash("/clear")).shown
        threads = [await start(bot, "U1", question) for question in ("Keep me", "Forget me")]
        for thread in threads:
            await thread.answered()
        asked = await ada.slash("/clear")
        assert "Which conversation should I forget?" in asked.shown
        confirm = pressable(asked.blocks)["tb:pick"]["confirm"]
        assert confirm["title"]["text"] == "Forget this conversation?" and confirm["style"] == "danger"
        assert "2 messages of this conversation deleted" in await ada.pick(asked, "Forget me")
        assert [len(await thread.stored()) for thread in threads] == [2, 0]
        left = await ada.slash("/clear")  # one is left: it is that one
        assert "Keep me" in left.shown and "2 messages of this conversation deleted" in left.shown
        assert await threads[0].stored() == []


async def test_clear_files_asks_which_of_several_to_forget_and_deletes_the_files_of_that_one(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        ada = Person(slack=bot.slack)
        save = calls("toolbridge__save_text_file", filename="a.txt", content="words")
        await bot.model.script(save, {"text": "Saved."}, save, {"text": "Saved."})
        for question in ("Keep me", "Forget me"):
            await (await start(bot, "U1", question)).answered()
        asked = await ada.slash("/clear", "files")
        confirm = pressable(asked.blocks)["tb:pick"]["confirm"]
        assert confirm["text"]["text"] == "Its messages and saved files are deleted for everyone."
        assert "files are kept" not in asked.shown
        assert "4 messages of this conversation deleted. 1 saved file deleted." in await ada.pick(asked, "Forget me")
        assert len(list((tmp_path / "workspaces").rglob("a.txt"))) == 1


async def test_stop_stops_ones_only_answer_at_once_and_asks_which_where_several_are_worked_on(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        ada, ben = Person(slack=bot.slack), Person(slack=bot.slack, user="U2")
        assert "Nothing is running in this channel." in (await ada.slash("/stop")).shown
        await bot.model.fail("stall", times=2)
        first, second = await start(bot, "U1", "One"), await start(bot, "U2", "Two")
        for thread in (first, second):
            await bot.slack.until(lambda root=thread.root: bot.slack.status("C1", root) == "processing")
        asked = await ada.slash("/stop")
        assert "Which answer should I stop?" in asked.shown
        assert "Someone else asked for what runs here." in await ada.pick(asked, "Two")
        assert "Stopping." in await ben.pick(await ben.slash("/stop"), "Two")
        await second.answered()
        assert "stopped" in second.texts[-1].lower()
        assert bot.slack.status("C1", first.root) == "processing"
        assert "Stopping." in (await ada.slash("/stop")).shown
        await first.answered()
        assert "stopped" in first.texts[-1].lower()


async def test_help_tells_both_ways_to_use_commands_with_the_prefix_of_this_workspace(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options={"command_prefix": "tb-"}) as bot:
        ada = Person(slack=bot.slack)
        shown = (await ada.slash("/tb-help")).shown
        for name in ("tools", "history", "clear", "examples", "stop", "usage", "help"):
            assert f"`/tb-{name}`" in shown
        assert "`@toolbridge history`" in shown and "*Tools and history*" in shown
        assert "write `/tb-` before the name" in shown
        assert "No tool matches" in (await ada.slash("/tb-tools", "calc")).shown
        assert "write `/` before the name" not in shown


async def test_a_command_that_is_not_known_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        shown = (await Person(slack=bot.slack).slash("/histry")).shown
        assert "There is no command `histry`. Did you mean `history`?" in shown


async def test_in_a_direct_message_commands_are_about_it(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        ada, room = Person(slack=bot.slack), bot.slack.dm("U1")
        await bot.model.script({"text": "Between us."}, {"text": "Loud."})
        thread = await start(bot, "U1", "A quiet word", channel=room)
        await thread.answered()
        await (await start(bot, "U1", "A loud word")).answered()
        shown = (await ada.slash("/history", channel=room)).shown
        assert "Between us." in shown and "Loud" not in shown
        assert "2 messages of this conversation deleted" in (await ada.slash("/clear", channel=room)).shown
        assert await thread.stored() == []

        await bot.model.fail("stall")
        running = await start(bot, "U1", "Take your time", channel=room)
        await bot.slack.until(lambda: bot.slack.status(room, running.root) == "processing")
        await bot.slack.say(room, "U1", "stop")  # not in its thread
        assert "Stopping." in (await ada.next_answer(after=2)).shown
        await running.answered()


async def test_in_each_of_several_workspaces_a_command_may_have_any_text(tmp_path: Path) -> None:
    options = {"bot_token": "", "client_id": "client-test", "client_secret": "client-secret-test"}
    installed = Installation(user_id="U7", team_id="T2", bot_token="xoxb-test-2", bot_id="B2", bot_user_id="UBOT2")
    async with open_store(f"sqlite:///{tmp_path / 'toolbridge.db'}") as store:
        await Installations(store).async_save(installed)
    async with open_world() as (slack, model):
        slack.add_team("T2", token="xoxb-test-2", bot_user="UBOT2", bot_id="B2")
        slack.add_user("U7", display_name="Gil", team="T2")
        slack.add_channel("C7", members=["U7"], team="T2")
        async with serving(slack, model, tmp_path, mode="http", options=options, settings=without_tools(tmp_path)):
            gil = Person(slack=slack, user="U7")
            for text in ("calc", "payload", "my payload=1"):
                assert f"No tool matches `{text}`" in (await gil.slash("/tools", text, channel="C7")).shown


async def test_all_of_many_conversations_can_be_picked_and_turning_pages_never_clears_anything(tmp_path: Path) -> None:
    for number in range(25):
        await remember(tmp_path, thread=f"{number}.5", texts=[f"Number {number} {'*_*' * 30}"])
    async with open_bot(tmp_path) as bot:
        ada = Person(slack=bot.slack)
        history, clear = await ada.slash("/history"), await ada.slash("/clear")
        for message in (history, clear):
            assert [option["text"]["text"].split()[3] for option in options(message)] == [
                str(number) for number in range(24, 4, -1)
            ]
        assert labels(history.blocks) == ["Next"] and labels(clear.blocks) == []


# --- examples ---


@WAYS
async def test_an_example_is_started_in_a_new_thread_in_the_name_of_who_pressed_it(tmp_path: Path, mode: Mode) -> None:
    async with open_bot(tmp_path, mode=mode, **BUNDLED) as bot:
        ben = Person(slack=bot.slack, user="U2")
        message = await ben.slash("/examples")
        assert labels(message.blocks)[:2] == ["Time somewhere else", "Two tools at once"]
        pressed = await bot.slack.press("C1", message.ts, "U2", "tb:example:1")
        bot.slack.deliver("interactive", pressed.payload, team="T1")  # Slack delivers it once more
        await bot.slack.settled()
        await bot.slack.until(lambda: bot.slack.bot_messages("C1"))
        (question,) = bot.slack.bot_messages("C1")
        assert question.text == f"<@U2> asks: {TOKYO}"
        await bot.slack.until(lambda: "Tokyo" in bot.slack.visible("C1", question.ts)[-1].shown)
        await bot.slack.until(lambda: bot.slack.status("C1", question.ts) == "active")
        assert [m.shown for m in bot.slack.bot_messages("C1")] == [f"<@U2> asks: {TOKYO}"]
        assert len(bot.slack.visible("C1", question.ts)) == 3  # the question, the trace, the answer
        assert "**You**: today 1 turn," in (await ben.slash("/usage")).shown
        history = (await ben.slash("/history")).shown
        assert f"**Ben**: {TOKYO}" in history

        await bot.slack.say("C1", "U2", "And in Paris?", question.ts)  # it goes on without a mention
        await bot.slack.until(lambda: "Paris" in bot.slack.visible("C1", question.ts)[-1].shown)


async def test_an_example_that_is_asked_for_in_a_thread_is_started_in_it(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        ada = Person(slack=bot.slack)
        thread = await start(bot, "U1", "hello")
        await thread.answered()
        await thread.say("U1", "examples", mention=True)
        message = await ada.next_answer(after=0)
        assert message.thread_ts == thread.root
        await ada.press(message, "tb:example:1")
        await thread.answered(2)
        assert any(each.text == f"<@U1> asks: {TOKYO}" for each in thread.messages)
        assert "Tokyo" in thread.texts[-1]
        assert bot.slack.bot_messages("C1") == []


async def test_an_example_in_a_direct_message_is_started_there(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        ada, room = Person(slack=bot.slack), bot.slack.dm("U1")
        await ada.press(await ada.slash("/examples", channel=room), "tb:example:1")
        await bot.slack.until(lambda: bot.slack.bot_messages(room))
        (question,) = bot.slack.bot_messages(room)
        await bot.slack.until(lambda: "Tokyo" in bot.slack.visible(room, question.ts)[-1].shown)


async def test_in_a_channel_without_the_bot_commands_work_and_an_example_says_how_to_invite_it(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        bot.slack.add_channel("C9", members=["U1"], bot_is_member=False)
        ada = Person(slack=bot.slack)
        message = await ada.slash("/examples", channel="C9")
        await ada.press(message, "tb:example:1")
        told = await ada.next_answer(after=1)
        assert "/invite" in told.shown
        assert "Examples to try" in message.shown  # it stays, to be pressed again
        assert bot.slack.visible("C9") == []


async def test_the_press_of_an_example_is_acknowledged_once_its_question_is_stored(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        ada = Person(slack=bot.slack)
        message = await ada.slash("/examples")
        await bot.model.fail("stall")
        bot.slack.latency_s = 0.2
        await ada.press(message, "tb:example:1")
        (question,) = bot.slack.bot_messages("C1")
        conversation = ConversationKey(platform="slack", space="T1", channel="C1", thread=question.ts)
        assert await bot.app.store.takes_part(conversation)


async def test_an_example_waits_for_a_pause_that_slack_asks_for_and_its_press_is_acknowledged_in_time(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        ada = Person(slack=bot.slack)
        message = await ada.slash("/examples")
        bot.slack.limit_next("chat.postMessage", retry_after_s=2)
        await ada.press(message, "tb:example:1")
        assert bot.slack.bot_messages("C1") == []
        await bot.slack.until(lambda: bot.slack.bot_messages("C1"))
        assert len(ada.answers) == 1


# --- in a thread ---


async def test_in_a_thread_a_mention_with_a_commands_word_is_the_command_answered_once_to_the_asker(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path, **with_workshop(tmp_path)) as bot:
        ada, ben = Person(slack=bot.slack), Person(slack=bot.slack, user="U2")
        await bot.model.script({"text": "Here."}, {"text": "Rome was not built in a day."})
        thread = await start(bot, "U1", "hello")
        await thread.answered()
        await thread.say("U2", "history", mention=True)
        history = await ben.next_answer(after=0)
        assert history.thread_ts == thread.root and "**Ada**: hello" in history.shown
        await thread.say("U2", "Tools look", mention=True)
        assert "`look`" in (await ben.next_answer(after=1)).shown
        await thread.say("U2", "history of Rome?", mention=True)  # a question
        assert await thread.answered(2) == ["Here.", "Rome was not built in a day."]
        await thread.say("U1", "clear", mention=True)
        asked = await ada.next_answer(after=0)
        assert "You are not the only one who spoke here." in asked.shown
        assert "4 messages of this conversation deleted" in await ada.turn(asked, "tb:confirm")
        await bot.slack.settled()
        await ada.slash("/usage")
        assert (len(ada.answers), len(ben.answers)) == (2, 2)
        assert len(thread.answers) == 2
        assert await thread.stored() == []


async def test_a_command_that_is_written_in_the_channel_is_about_the_channel(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        ada = Person(slack=bot.slack)
        await bot.slack.say("C1", "U1", "help", mention=True)
        told = await ada.next_answer(after=0)
        assert told.thread_ts is None and "`/history`" in told.shown
        await bot.slack.say("C1", "U1", "history", mention=True)
        assert "no conversations in this channel yet" in (await ada.next_answer(after=1)).shown
        assert bot.slack.bot_messages("C1") == [] and await bot.model.requests() == []


async def test_stop_in_the_thread_stops_its_answer_without_a_mention(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        ada = Person(slack=bot.slack)
        await bot.model.fail("stall")
        thread = await start(bot, "U1", "hello")
        await bot.slack.until(lambda: bot.slack.status("C1", thread.root) == "processing")
        await thread.say("U1", "stop")
        assert (await ada.next_answer(after=0)).shown == "Stopping."
        await thread.answered()


# --- the message shortcut ---


async def opened_window(person: Person, channel: str, ts: str) -> View:
    """Choose "Tools and history" at a message; return the window once it shows them."""
    delivery = await person.slack.shortcut(channel, ts, person.user, "tools_and_history")
    assert delivery.acked_at is not None, delivery.faults
    await person.slack.until(lambda: any("Tools" in text_of(view) for view in person.slack.views(person.user)))
    return person.slack.views(person.user)[-1]


def text_of(view: View) -> str:
    return "\n".join(str(block) for block in view.content["blocks"])


@WAYS
async def test_the_shortcut_shows_the_threads_history_and_tools_and_its_buttons_act_on_that_thread(
    tmp_path: Path, mode: Mode
) -> None:
    async with open_bot(tmp_path, mode=mode, **with_workshop(tmp_path)) as bot:
        ada = Person(slack=bot.slack)
        other = await start(bot, "U1", "elsewhere")
        thread = await start(bot, "U1", "hello")
        for each in (other, thread):
            await each.answered()
        view = await opened_window(ada, "C1", thread.answers[0].ts)
        assert view.content["title"]["text"] == "Tools and history"
        assert "*Ada*: hello" in text_of(view) and "`look`" in text_of(view) and "elsewhere" not in text_of(view)
        assert labels(view.content["blocks"]) == ["Stop", "Clear", "Usage"]
        assert pressable(view.content["blocks"])["tb:run:clear"]["confirm"]

        await bot.slack.press_in_view(view.id, "U1", "tb:run:usage")
        await bot.slack.until(lambda: "*This conversation*: 1 turn" in text_of(view))
        assert "*Ada*: hello" in text_of(view) and "`look`" in text_of(view)  # they stay

        await bot.slack.press_in_view(view.id, "U1", "tb:run:stop")
        await bot.slack.until(lambda: "Nothing is running in this conversation." in text_of(view))
        await bot.model.fail("stall")
        await thread.say("U1", "slowly")
        await bot.slack.until(lambda: bot.slack.status("C1", thread.root) == "processing")
        await bot.slack.press_in_view(view.id, "U1", "tb:run:stop")
        await bot.slack.until(lambda: "Stopping." in text_of(view))
        await thread.answered(2)

        await thread.say("U2", "me too")
        await thread.answered(3)
        await bot.slack.press_in_view(view.id, "U1", "tb:run:clear")  # Slack has asked whether to, for everybody
        await bot.slack.until(lambda: "6 messages of this conversation deleted" in text_of(view))
        assert "This conversation has no messages yet." in text_of(view)
        assert await thread.stored() == [] and len(await other.stored()) == 2
        assert ada.answers == []


async def test_the_shortcut_at_a_question_means_its_thread(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        thread = await start(bot, "U2", "hello")
        await thread.answered()
        assert "*Ben*: hello" in text_of(await opened_window(Person(slack=bot.slack), "C1", thread.root))


# --- when it does not work ---


async def test_a_window_that_slack_no_longer_opens_is_explained_in_private(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        ada = Person(slack=bot.slack)
        thread = await start(bot, "U1", "hello")
        await thread.answered()
        bot.slack.fail_next("views.open", error="expired_trigger_id")
        await bot.slack.shortcut("C1", thread.answers[0].ts, "U1", "tools_and_history")
        told = await ada.next_answer(after=0)
        assert "Press the button again" in told.shown and told.thread_ts == thread.root
        assert bot.slack.calls_of("response_url")[-1].arguments["thread_ts"] == thread.root
        assert bot.slack.views("U1") == []
        await opened_window(ada, "C1", thread.answers[0].ts)


@pytest.mark.parametrize("status", [404, 500])
async def test_an_answer_that_slack_does_not_take_at_the_response_url_comes_all_the_same(
    tmp_path: Path, status: int
) -> None:
    async with open_bot(tmp_path) as bot:
        ada = Person(slack=bot.slack)
        with structlog.testing.capture_logs() as logged:
            bot.slack.fail_next("response_url", status=status)
            assert "no conversations in this channel yet" in (await ada.slash("/history")).shown
        assert [entry["status"] for entry in logged if entry["event"] == "not_responded"] == [status]


async def test_a_response_url_that_is_used_up_and_a_channel_without_the_bot_leave_the_rest_working(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as bot:
        bot.slack.add_channel("C9", members=["U1"], bot_is_member=False)
        bot.slack.fail_next("response_url", status=404)
        delivery = await bot.slack.slash("C9", "U1", "/help")
        assert delivery.acked_at is not None
        await bot.slack.until(lambda: bot.slack.calls_of("chat.postEphemeral"))
        assert "I answer questions" in (await Person(slack=bot.slack).slash("/help", channel="C9")).shown


async def test_a_scope_that_is_missing_is_named_to_who_pressed(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        ada = Person(slack=bot.slack)
        message = await ada.slash("/examples")
        token = bot.slack.tokens["xoxb-test"]
        token.scopes = tuple(scope for scope in token.scopes if scope != "chat:write")
        await ada.press(message, "tb:example:1")
        assert "lacks the permission chat:write" in (await ada.next_answer(after=1)).shown
