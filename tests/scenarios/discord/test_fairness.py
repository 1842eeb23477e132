"""One person floods a channel of the loopback Discord; what another one sees of the bot meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.scenarios.discord.test_commands import open_bot, select_of

BUNDLED: dict[str, Any] = {"mcp_config": None}  # the server that comes with the bot
FLOOD = 12


async def test_commands_of_one_person_in_a_channel_do_not_make_anothers_wait_for_all_of_them(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        discord, channel = here.world.discord, here.world.channel
        discord.rates["create_message"] = (2, 1.0)
        for _ in range(FLOOD):
            await discord.say(channel, here.world.ada, "help", mention=True)
        asked = await discord.say(channel, here.world.ben, "help", mention=True)
        replies = lambda: [each for each in discord.visible(channel) if each.author is discord.bot]  # noqa: E731
        await discord.until(lambda: any(each.reference == asked.id for each in replies()))
        assert len(replies()) <= FLOOD // 2
        await discord.until(lambda: len(replies()) == FLOOD + 1)  # all are answered in the end


async def test_an_example_too_many_posts_nothing_and_is_said_in_private(tmp_path: Path) -> None:
    async with open_bot(tmp_path, requests_per_minute=2, **BUNDLED) as here:
        discord, channel, ada = here.world.discord, here.world.channel, here.world.ada
        examples = await here.slash("examples")
        select = select_of(examples)
        value = select["options"][0]["value"]
        told = [
            await here.answer_to(await discord.choose(channel, examples, ada, select["custom_id"], [value]))
            for _ in range(4)
        ]
        assert [each.content == "Asked below." for each in told] == [True, True, False, False]
        assert "That is more than 2 messages in a minute" in told[2].content
        asked = [each for each in discord.visible(channel) if "asks:" in each.content]
        assert len(asked) == 2


async def test_presses_far_beyond_what_is_taken_do_nothing_and_are_answered_in_private_all_the_same(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as here:
        discord, channel = here.world.discord, here.world.channel
        await asyncio.gather(*(discord.slash(channel, here.world.ada, "help") for _ in range(90)))
        refusal = "more than 60 commands and buttons in a minute"
        await discord.until(lambda: any(refusal in each.content for each in discord.ephemerals(here.world.ada)))
        dropped = [await discord.slash(channel, here.world.ada, "help") for _ in range(20)]
        assert "In Discord" in (await here.slash("help", user=here.world.ben)).content
        # Where nothing answers, Discord shows that the application has failed.
        told = {(await here.answer_to(each)).content for each in dropped}
        assert told == {"Nothing was done: that was too much at once. Try again in a minute."}
        assert "Nothing was done" not in (await here.slash("stop")).content  # an answer can be stopped all the same
