"""What people point at: the thread that a question is asked in, and every part of a message that carries words."""

from __future__ import annotations

from collections.abc import Sequence

from tests.scenarios.drivers import Alert, Conversation, Driver, File
from tests.scenarios.model import spoken

ALERT = Alert(
    title="checkout is down",
    text="3 of 5 probes failed, first at 09:12 UTC",
    fields={"Region": "eu-west", "Runbook": "RB-77"},
    footer="Uptime",
)


async def read_last(driver: Driver) -> str:
    """Return the last question as the model got it."""
    messages = (await driver.model.requests())[-1]["messages"]
    return [spoken(message["content"]) for message in messages if message["role"] == "user"][-1]


def quoted(text: str) -> list[str]:
    """Return the lines that are marked as words of others."""
    return [line.removeprefix("> ") for line in text.splitlines() if line.startswith("> ")]


def own(text: str) -> str:
    """Return the author's own words."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("> "))


def check_order(lines: Sequence[str], *beginnings: tuple[str, str]) -> None:
    """Check that the lines are these people's, in this order: pairs of a name and of words that follow it."""
    assert len(lines) == len(beginnings), lines
    for line, (name, words) in zip(lines, beginnings, strict=True):
        assert f": {name}⟧: " in line, line
        assert words in line


async def ask_in(driver: Driver, thread: Conversation, text: str = "") -> str:
    """Mention the bot in a thread; return what the model got."""
    before = len(await driver.model.requests())
    await driver.model.script({"text": "Thus."})
    await thread.mention(text, by="cleo")
    await thread.answered()
    assert len(await driver.model.requests()) == before + 1
    return await read_last(driver)


# --- the thread ---


async def test_the_first_question_in_a_thread_brings_along_what_people_said_before(driver: Driver) -> None:
    async with driver.serving():
        thread = await driver.begin("Payments 5xx, error E4711", by="ada")
        await thread.say("since the deploy at noon", by="ben")
        read = await ask_in(driver, thread, "which error was it?")
        check_order(quoted(read), ("Ada", "Payments 5xx, error E4711"), ("Ben", "since the deploy at noon"))
        assert own(read).rstrip().endswith("which error was it?")
        assert "E4711" not in own(read)
        assert read.count("which error was it?") == 1


async def test_below_an_alert_of_another_app_its_words_come_along(driver: Driver) -> None:
    async with driver.serving():
        thread = await driver.begin(ALERT)
        await thread.say("I see timeouts", by="ada")
        read = await ask_in(driver, thread, "what should I check first?")
        shown = "\n".join(quoted(read))
        for words in ("checkout is down", "3 of 5 probes failed", "eu-west", "RB-77"):
            assert shown.count(words) == 1
        assert "from a bot: Uptime⟧: " in quoted(read)[0]
        assert shown.index("RB-77") < shown.index("I see timeouts")


async def test_an_alert_within_a_thread_is_read_at_its_place(driver: Driver) -> None:
    async with driver.serving():
        thread = await driver.begin("deploying now")
        await thread.alert(ALERT)
        await thread.say("rolled back", by="ben")
        shown = "\n".join(quoted(await ask_in(driver, thread, "what happened?")))
        assert shown.index("deploying now") < shown.index("checkout is down") < shown.index("rolled back")


async def test_the_mention_alone_asks_about_the_thread(driver: Driver) -> None:
    async with driver.serving():
        thread = await driver.begin("How many legs does a spider have?", by="ben")
        read = await ask_in(driver, thread)
        check_order(quoted(read), ("Ben", "How many legs does a spider have?"))


async def test_talk_among_people_in_the_bots_thread_is_left_alone_and_known_to_the_next_question(
    driver: Driver,
) -> None:
    async with driver.serving():
        thread = await driver.open("thread")
        await driver.model.script({"text": "Noted."}, {"text": "On Friday."})
        await thread.ask("we plan the release")
        await thread.answered()
        await thread.say("when can you?", by="ada", to="ben")
        await thread.say("on Friday", by="ben")
        await driver.settled()
        assert len(await driver.model.requests()) == 1

        await thread.mention("so, when?")
        await thread.answered(2)
        read = await read_last(driver)
        check_order(quoted(read), ("Ada", "when can you?"), ("Ben", "on Friday"))
        assert "Noted." not in read


async def test_a_follow_up_without_anything_said_between_looks_at_nothing(driver: Driver) -> None:
    async with driver.serving():
        thread = await driver.open("thread")
        await driver.model.script({"text": "One."}, {"text": "Two."})
        await thread.ask("first")
        await thread.answered()
        await thread.say("second")
        await thread.answered(2)
        assert quoted(await read_last(driver)) == []


async def test_a_thread_that_cannot_be_read_is_said_and_the_question_is_answered(driver: Driver) -> None:
    async with driver.serving():
        thread = await driver.begin("Payments 5xx, error E4711")
        driver.hide_threads()
        read = await ask_in(driver, thread, "which error was it?")
        assert quoted(read) == []
        assert "could not be read" in read
        assert "which error was it?" in read


async def test_of_a_long_thread_the_beginning_and_the_last_messages_come_along_and_the_cut_is_said(
    driver: Driver,
) -> None:
    async with driver.serving():
        thread = await driver.begin("Number zero")
        for number in range(1, 54):
            await thread.say(f"Number {number}.", by="ada" if number % 2 else "ben", deliver=False)
        read = await ask_in(driver, thread, "which was the last number?")
        lines = quoted(read)
        assert "Number zero" in lines[0]
        assert "Number 53." in lines[-1]
        assert 50 <= len(lines) <= 51
        assert "Number 1." not in "".join(lines)
        assert "left out" in own(read)


# --- what a message carries ---


async def test_a_forwarded_message_is_read_with_its_file_as_someone_elses(driver: Driver) -> None:
    async with driver.serving() as conversation:
        await driver.model.script({"text": "Thus."})
        invoice = File(name="invoice.csv", content=b"order,amount\n0815,42\n")
        await conversation.forward("Charged twice, see the file.", "what do we write?", of="ben", files=[invoice])
        await conversation.answered()
        read = await read_last(driver)
        assert any("Charged twice, see the file." in line for line in quoted(read))
        assert "Charged twice" not in own(read)
        assert "0815,42" in read
        assert "what do we write?" in own(read)


async def test_a_long_quotation_is_read_whole(driver: Driver) -> None:
    words = " ".join(f"item{number}" for number in range(200))
    async with driver.serving() as conversation:
        await driver.model.script({"text": "Thus."})
        await conversation.forward(words, "how many items?", of="ben")
        await conversation.answered()
        shown = " ".join(quoted(await read_last(driver)))
        assert words in shown


async def test_a_pasted_table_is_read_cell_by_cell_as_the_authors_words(driver: Driver) -> None:
    rows = [["Room", "Seats"], ["Linden", "12"], ["Ahorn", ""], ["Eiche", "30"]]
    async with driver.serving() as conversation:
        await driver.model.script({"text": "Eiche."})
        await conversation.mention("which room takes 25 people?", table=rows)
        await conversation.answered()
        read = await read_last(driver)
        assert quoted(read) == []
        places = [read.index(cell) for row in rows for cell in row if cell]
        assert places == sorted(places)
        assert "no preview" not in read


async def test_an_edit_of_only_the_table_changes_a_question_that_waits(driver: Driver) -> None:
    async with driver.serving() as conversation:
        await driver.model.pace(first_token_s=1.0)
        await driver.model.script({"text": "One."}, {"text": "South."})
        await conversation.ask("wait for me")
        await conversation.at_work()
        asked = await conversation.mention("which is cheapest?", table=[["Offer", "EUR"], ["South", "980"]])
        await driver.until(lambda: asked.is_waiting)
        await asked.edit_table([["Offer", "EUR"], ["South", "890"]])
        await conversation.answered(2)
        read = await read_last(driver)
        assert "890" in read
        assert "980" not in read
        assert "which is cheapest?" in read
