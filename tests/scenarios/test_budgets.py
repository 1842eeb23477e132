"""Budgets as people meet them on every chat platform."""

from __future__ import annotations

import asyncio

from tests.fakes.rights import ALLOW_ALL
from tests.scenarios.drivers import Driver

# Slack's and Discord's ways to show a time in the reader's own time zone.
TIMES = ("<!date^", "<t:")


def write(driver: Driver, budgets: str) -> None:
    (driver.home / "toolbridge.toml").write_text(f"{ALLOW_ALL}\n[budgets]\n{budgets}\n", encoding="utf-8")


async def test_with_a_budget_of_two_turns_the_third_is_refused_with_the_time_at_which_it_opens_again(
    driver: Driver,
) -> None:
    write(driver, "person = { turns_per_day = 2 }")
    async with driver.serving() as conversation:
        await driver.model.script({"text": "One."}, {"text": "Two."}, {"text": "Of Ben."})
        await conversation.ask("first?")
        await conversation.answered()
        await conversation.ask("second?")
        first, second = await conversation.answered(2)
        assert "budget" not in first
        assert second.startswith("Two.") and "Your budget for today is used up (2 turns of 2)." in second
        question = await conversation.ask("third?")
        (told,) = await driver.until(lambda: conversation.notices(question))
        assert "Your budget for today is used up (2 turns of 2). It opens again on " in told
        assert any(time in told for time in TIMES) and "time:" not in told
        shown = await driver.command("usage")
        assert "Budgets" in shown and "used up until" in shown and "time:" not in shown
        assert "2 turns of 2" not in shown and "All conversations" not in shown
        await conversation.ask("and I?", by="ben")
        await driver.until(lambda: "Of Ben." in conversation.texts)
        assert "1 turn of 2 left until" in await driver.command("usage", by="ben")
    assert len(await driver.model.requests()) == 3


async def test_the_budget_of_all_is_warned_of_once_in_the_place_of_the_operators_choice(driver: Driver) -> None:
    write(driver, "")
    async with driver.serving() as conversation:
        await conversation.ask("before?")
        await conversation.answered()
        write(driver, f'warn_in = "{conversation.key.place}"\nall = {{ turns_per_day = 2 }}')
    async with driver.serving() as conversation:
        await conversation.ask("first?")
        await conversation.answered()
        (warning,) = await driver.until(lambda: [text for text in texts(driver) if "all conversations" in text])
        assert "is used up: 2 turns of 2. It opens again on " in warning and "time:" not in warning
        question = await conversation.ask("second?", by="ben")
        (told,) = await driver.until(lambda: conversation.notices(question, to="ben"))
        assert "The bot's budget for today is used up. It opens again on " in told
    async with driver.serving():
        await driver.settled()
    assert len([text for text in texts(driver) if "all conversations" in text]) == 1


async def test_a_call_by_run_over_the_budget_is_refused_in_private_and_posts_nothing(driver: Driver) -> None:
    write(driver, "person = { turns_per_day = 1 }")
    sum_of = '{"operation": "add", "a": 1, "b": 1}'
    async with driver.serving(mcp_config=None):
        first = await driver.run_tool("toolbridge/calculate", sum_of)
        await driver.until(lambda: any("= 2.0" in text for text in first.texts))
        before = len(texts(driver))
        running = asyncio.ensure_future(driver.run_tool("toolbridge/calculate", sum_of))  # it does not begin
        [refused] = await driver.until(lambda: [text for text in driver.private("ada") if "used up" in text])
        running.cancel()
        assert "Your budget for today is used up (1 turn of 1). It opens again on " in refused
        assert any(time in refused for time in (*TIMES, "UTC")) and "time:" not in refused
        await driver.settled()
        assert len(texts(driver)) == before


async def test_where_no_price_of_the_model_is_known_usage_says_that_a_budget_of_money_does_not_count_it(
    driver: Driver,
) -> None:
    write(driver, "person = { usd_per_day = 1.0 }\nplace = { tokens_per_day = 100_000 }\nall = { usd_per_month = 100 }")
    uncounted = "tokens without a known price are not counted"
    async with driver.serving() as conversation:
        assert uncounted not in await driver.command("usage")
        await conversation.ask("what is it?")
        await conversation.answered()
        shown = await driver.command("usage")
        lines = [line for line in shown.splitlines() if " left until " in line]
        assert [uncounted in line for line in lines] == [True, False, True]


def texts(driver: Driver) -> list[str]:
    return [message.shown for message in driver.in_channel]
