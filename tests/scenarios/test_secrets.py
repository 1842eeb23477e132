"""A secret that the model repeats: nobody sees any of it at any time, and it is not in the history."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from bot.text.redaction import HIDDEN_NOTE
from tests.attacks.corpus import leaks
from tests.scenarios.drivers import Driver
from tests.scenarios.model import calls, words
from tests.scenarios.tools import with_workshop


async def test_a_secret_in_a_growing_answer_is_never_sent_and_not_stored(driver: Driver) -> None:
    [block], [token] = leaks("pem", 1, seed=3), leaks("github", 1, seed=3)
    secrets = [block.secret, token.secret, "hunter2hunter2"]
    between = f"I looked it up: password=hunter2hunter2. {words(60)}"
    text = f"{words(150)}\n\nIt is {token.secret}, and the key is\n\n{block.text}\n\n{words(150, start=150)}"
    async with driver.serving(**with_workshop(driver.home)) as conversation:
        await driver.model.pace(chunk_s=0.002)
        await driver.model.script({"text": between, **calls("shop__look")}, {"text": text})
        await conversation.ask("what is the key?")
        shown = "".join(await conversation.answered())
        assert "[hidden]" in shown and "word299" in shown and HIDDEN_NOTE in shown.replace("_", "")
        parts = [secret[at : at + 8] for secret in secrets for at in range(0, len(secret) - 8, 4)]
        assert [part for part in parts if part in driver.sent] == []
    with closing(sqlite3.connect(driver.home / "toolbridge.db")) as database:
        stored = "\n".join(database.iterdump())
    assert "word299" in stored and [secret for secret in secrets if secret in stored] == []
