"""One person floods a channel of the loopback Slack; what another one sees of the bot meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from adapters.shared.buckets import Rate
from adapters.slack.limits import RATES
from tests.scenarios.slack.pressing import Person
from tests.scenarios.slack.serving import open_bot
from tests.scenarios.slack.threads import start

BUNDLED: dict[str, Any] = {"mcp_config": None}  # the server that comes with the bot
# One message a second in a channel, without much of a burst.
SLOW = {"rates": {**RATES, "chat.postMessage": Rate(calls=300, period_s=60, per_channel=Rate(calls=3, period_s=3))}}
CLICKS = 12


async def test_clicks_on_examples_in_a_channel_do_not_keep_anothers_answer_away(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options=SLOW, **BUNDLED) as bot:
        slack, ada = bot.slack, Person(slack=bot.slack)
        examples = await ada.slash("/examples")
        await asyncio.gather(*(slack.press("C1", examples.ts, "U1", "tb:example:1") for _ in range(CLICKS)))
        thread = await start(bot, "U2", "hello")
        await thread.answered()
        posts = [call for call in slack.calls_of("chat.postMessage") if call.ok]
        answer = next(at for at, call in enumerate(posts) if call.arguments.get("thread_ts") == thread.root)
        # Each click is a question, a trace and an answer, a second each. It is the next but few.
        assert answer <= 9, [call.arguments.get("text") for call in posts]


async def test_a_click_too_many_posts_nothing_and_is_said_once_and_in_private(tmp_path: Path) -> None:
    async with open_bot(tmp_path, requests_per_minute=2, **BUNDLED) as bot:
        slack, ada = bot.slack, Person(slack=bot.slack)
        examples = await ada.slash("/examples")
        for _ in range(8):
            await ada.press(examples, "tb:example:1")
        told = await ada.next_answer(after=1)
        assert "That is more than 2 messages in a minute" in told.shown
        await slack.settled()
        assert len(ada.answers) == 2
        assert len(slack.bot_messages("C1")) == 2
        assert (await Person(slack=slack, user="U2").slash("/examples")).shown == examples.shown


async def test_300_commands_of_one_person_do_not_make_anothers_wait(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        slack, ada, ben = bot.slack, Person(slack=bot.slack), Person(slack=bot.slack, user="U2")
        thread = await start(bot, "U2", "hello")
        await thread.answered()
        for _ in range(90):
            await thread.say("U1", "help", mention=True)
        await ben.slash("/help")
        refusal = "more than 60 commands and buttons in a minute"
        await slack.until(lambda: any(refusal in answer.shown for answer in ada.answers))
        await slack.until(lambda: sum("In Slack" in answer.shown for answer in ada.answers) >= 60)
        await slack.settled()
        shown = [answer.shown for answer in ada.answers]
        assert sum("In Slack" in text for text in shown) < 75  # one more with each second
        assert sum(refusal in text for text in shown) == 1
