"""Every error code that Slack documents for posting: the asker sees the answer or a sentence, and nothing lives on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.shared.buckets import Rate
from adapters.slack.errors import SlackRefusedError
from adapters.slack.own_messages import GROWING, POST
from bot.turns.limits import Patience
from tests.fakes.slack.error_codes import METHODS as POSTING
from tests.fakes.slack.error_codes import PASSING, error_codes
from tests.fakes.slack.world import Message
from tests.scenarios.model import words
from tests.scenarios.slack.serving import Bot, open_bot
from tests.scenarios.tools import with_workshop

PATIENCE = Patience(without_files_s=0.1, elsewhere_s=0.3, outage_s=0.6)
MANY = Rate(calls=100_000, period_s=1.0)
METHODS = (
    *POSTING,
    *("agents.sessions.setStatus", "assistant.threads.setStatus", "chat.delete", "chat.getPermalink"),
    *("chat.postEphemeral", "conversations.history", "conversations.open", "conversations.replies", "users.info"),
)
UNLIMITED: Mapping[str, Any] = {"rates": dict.fromkeys(METHODS, MANY)}
LONG = words(200)
ALL_S = 110.0  # for all codes of a method, on a busy machine
STREAMING = ("chat.startStream", "chat.appendStream", "chat.stopStream")
REFUSED = "My answer could not be posted"


@dataclass(frozen=True)
class Asked:
    """A question in a channel of its own, in which a method is refused."""

    bot: Bot
    code: str
    channel: str
    root: str

    @property
    def thread(self) -> Sequence[Message]:
        return self.bot.slack.bot_messages(self.channel, self.root)

    @property
    def seen(self) -> str:
        """All that the asker sees of the bot about it: in the channel, its threads, directly and in notices."""
        slack = self.bot.slack
        here = [message for message in slack.channels[self.channel].messages.values() if slack.is_own(message)]
        own = [message for message in slack.ephemerals("U1") if message.channel == self.channel]
        direct = slack.bot_messages(slack.dm("U1"))
        at = next((at for at, message in enumerate(direct) if f"<#{self.channel}>" in message.shown), None)
        return "\n".join(message.shown for message in (*here, *own, *(direct[at:] if at is not None else ())))

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing in the thread grows any more; a stream that Slack lets nobody stop expires."""
        slack = self.bot.slack
        tried = {call.arguments["ts"] for call in slack.calls_of("chat.stopStream")}
        live = [one for one in self.thread if one.is_streaming or (one.metadata or {}).get("event_type") == GROWING]
        is_over = slack.sessions.get((self.channel, self.root)) == "active"
        return is_over and all(message.is_streaming and message.ts in tried for message in live)


async def ask_in_each(bot: Bot, codes: Sequence[str], refuse: Callable[[str, str], None], text: str) -> list[Asked]:
    """Have Ada ask in a channel for each code; `refuse` gets the channel and the code."""
    asked: list[Asked] = []
    for number, code in enumerate(codes):
        channel = bot.slack.add_channel(f"C{number + 100}", members=["U1"]).id
        refuse(channel, code)
        asked.append(Asked(bot, code, channel, await bot.slack.say(channel, "U1", text, mention=True)))
    return asked


async def check_each(asked: Sequence[Asked], is_told: Callable[[Asked], bool]) -> None:
    """Check that for each code what has to be seen is seen, and nothing stays live."""
    bot = asked[0].bot
    try:
        await bot.slack.until(lambda: all(is_told(one) and one.is_at_rest for one in asked), ALL_S)
    except TimeoutError:
        left = {one.code: (is_told(one), one.is_at_rest, one.seen[-200:]) for one in asked}
        raise AssertionError({code: each for code, each in left.items() if not all(each[:2])}) from None


def refusing(bot: Bot, *methods: str) -> Callable[[str, str], None]:
    """Return what makes Slack refuse these methods in a channel with a code."""

    def refuse(channel: str, code: str) -> None:
        bot.slack.refuse(
            *methods,
            error=code,
            where=lambda arguments: channel in (arguments.get("channel"), arguments.get("channel_id")),
        )

    return refuse


def is_whole(asked: Asked, text: str) -> bool:
    """Return whether each word of the text is seen."""
    return set(text.split()) <= set(asked.seen.split())


# --- each method refused in one channel ------------------------------------------------------------------------


async def test_whatever_refuses_a_short_answer_the_asker_gets_it_directly(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options=UNLIMITED, patience=PATIENCE) as bot:
        await bot.model.script(*[{"text": "The answer is 42."}] * 100)
        codes = [code for code in error_codes("chat.postMessage") if not code.startswith("rate")]
        asked = await ask_in_each(bot, codes, refusing(bot, "chat.postMessage"), "tell me")
        await check_each(asked, lambda one: "The answer is 42." in one.seen)


@pytest.mark.parametrize("method", ["chat.update", *STREAMING])
async def test_whatever_refuses_a_growing_answer_the_asker_gets_the_whole(tmp_path: Path, method: str) -> None:
    async with open_bot(tmp_path, options=UNLIMITED, patience=PATIENCE) as bot:
        await bot.model.script(*[{"text": LONG}] * 100)
        await bot.model.pace(chunk_s=0.004)
        codes = [code for code in error_codes(method) if not code.startswith("rate")]
        refuse = refusing(bot, method)
        if method == "chat.update":
            bot.slack.refuse("chat.startStream", error="channel_type_not_supported")
        asked = await ask_in_each(bot, codes, refuse, "tell me")
        await check_each(asked, lambda one: is_whole(one, LONG))


@pytest.mark.parametrize("code", sorted({code for method in POSTING for code in error_codes(method)} - PASSING))
def test_every_code_has_a_sentence(code: str) -> None:
    error = SlackRefusedError(method="chat.postMessage", code=code)
    assert error.is_permanent
    assert str(error).endswith(".")


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
async def test_whatever_refuses_a_file_costs_only_the_file(tmp_path: Path, method: str) -> None:
    async with open_bot(tmp_path, options=UNLIMITED, patience=PATIENCE, **with_workshop(tmp_path)) as bot:
        for number, code in enumerate(code for code in error_codes(method) if not code.startswith("rate")):
            bot.slack.clear_faults()
            bot.slack.refuse(method, error=code)
            await bot.model.script({"tool_calls": [{"name": "shop__record", "arguments": {}}]}, {"text": "Listen."})
            channel = bot.slack.add_channel(f"C{number + 100}", members=["U1"]).id
            asked = Asked(bot, code, channel, await bot.slack.say(channel, "U1", "record it", mention=True))
            await check_each([asked], lambda one: "Listen." in one.seen and "could not be posted" in one.seen)
            assert not any(message.files for message in asked.thread)


@pytest.mark.parametrize("code", ["msg_too_long", "msg_blocks_too_long", "invalid_blocks"])
async def test_an_answer_whose_form_is_refused_stays_in_its_thread_as_plain_text(tmp_path: Path, code: str) -> None:
    async with open_bot(tmp_path, options=UNLIMITED, patience=PATIENCE) as bot:
        long = words(900)
        bot.slack.refuse("chat.startStream", error="channel_type_not_supported")
        bot.slack.refuse("chat.postMessage", "chat.update", error=code, where=lambda call: bool(call.get("blocks")))
        await bot.model.script({"text": long})
        root = await bot.slack.say("C1", "U1", "tell me", mention=True)
        asked = Asked(bot, code, "C1", root)
        await check_each([asked], lambda one: is_whole(one, long))
        assert "\n".join(message.text for message in asked.thread).split() == long.split()
        assert bot.slack.bot_messages(bot.slack.dm("U1")) == []


async def test_where_nothing_at_all_can_be_posted_a_notice_says_why(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options=UNLIMITED, patience=PATIENCE) as bot:
        await bot.model.script(*[{"text": LONG}] * 100)
        await bot.model.pace(chunk_s=0.004)
        codes = [code for code in error_codes("chat.postMessage") if not code.startswith("rate")]
        direct = bot.slack.dm("U1")
        bot.slack.refuse("chat.postMessage", error="restricted_action", where=lambda call: call["channel"] == direct)
        asked = await ask_in_each(bot, codes, refusing(bot, "chat.postMessage", "chat.update", *STREAMING), "tell me")
        await check_each(asked, lambda one: REFUSED in one.seen)
        assert all(one.seen.count(REFUSED) == 1 for one in asked)
        assert not any((message.metadata or {}).get("event_type") == POST for one in asked for message in one.thread)


async def test_a_notice_that_is_refused_too_ends_the_turn_and_the_next_question_is_answered(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options=UNLIMITED, patience=PATIENCE) as bot:
        bot.slack.refuse("chat.postMessage", "chat.postEphemeral", error="ekm_access_denied")
        await bot.model.script({"text": "Unheard."}, {"text": "Heard."})
        root = await bot.slack.say("C1", "U1", "tell me", mention=True)
        await bot.slack.until(lambda: bot.slack.sessions.get(("C1", root)) == "active")
        bot.slack.clear_faults()
        await bot.slack.say("C1", "U1", "and now?", root)
        await bot.slack.until(lambda: [one.shown for one in bot.slack.bot_messages("C1", root)] == ["Heard."])


# --- what only one person would see ----------------------------------------------------------------------------


async def test_whatever_refuses_a_notice_its_reader_gets_it_directly(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options=UNLIMITED, patience=PATIENCE, max_input_chars=100) as bot:
        codes = [code for code in [*error_codes("chat.postMessage"), "user_not_in_channel"] if code[:4] != "rate"]
        asked = await ask_in_each(bot, codes, refusing(bot, "chat.postEphemeral"), "word " * 30)
        await bot.slack.until(lambda: all("at most 100 are accepted" in one.seen for one in asked))
        assert len(bot.slack.bot_messages(bot.slack.dm("U1"))) == len(codes)


async def test_an_answer_to_a_command_that_is_refused_reaches_who_asked_directly_without_its_buttons(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path, options=UNLIMITED) as bot:
        bot.slack.refuse("chat.postEphemeral", error="restricted_action_thread_locked")
        await bot.slack.say("C1", "U1", "examples", mention=True)
        direct = bot.slack.dm("U1")
        [answer] = await bot.slack.until(lambda: bot.slack.bot_messages(direct))
        assert "<#C1>" in answer.shown and "This thread is locked." in answer.shown
        assert "xamples" in answer.shown
        assert not any(block["type"] == "actions" for block in answer.blocks)
