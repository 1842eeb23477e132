"""What operators read while processes come and go, and while they are not let in: no text of anybody, no password."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Generator
from dataclasses import replace
from urllib.parse import quote

import pytest

from bot.domain.errors import AdapterError, RateLimitError, StoreError
from bot.domain.messages import ToolCall, ToolResult
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.turns.limits import Limits
from tests.fakes import postgres
from tests.fakes.bots import open_bot
from tests.fakes.ports import CONVERSATION, RecordingAdapter, ScriptedModel, ScriptedTools, calls, message, says

MARKER = "MARKERWORD"
PASSWORD = "pass MARKERWORD/@1"
ROLE = "signing_in"
LIMITS = Limits(drain_s=0.5, retry_s=0.01)


@pytest.fixture
def refusing_url() -> Generator[str]:
    """A database's URL with a password that is not the role's."""
    server = postgres.server()
    rules = server.data / "pg_hba.conf"
    before = rules.read_text(encoding="utf-8")
    server.run(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'another'")
    rules.write_text(f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n{before}", encoding="utf-8")
    server.run("SELECT pg_reload_conf()")
    yield f"postgresql://{ROLE}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/postgres"
    rules.write_text(before, encoding="utf-8")
    server.run("SELECT pg_reload_conf()")
    server.run(f"DROP ROLE {ROLE}")


async def test_no_text_of_a_conversation_is_in_the_log_of_a_rolling_upgrade(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def act(call: ToolCall) -> ToolResult:
        begun.set()
        await asyncio.sleep(0.2)
        return ToolResult(call_id=call.id, text=f"{MARKER} result")

    failing, shown = RecordingAdapter(), RecordingAdapter()
    failing.failures.extend(
        [RateLimitError(retry_after_s=60.0), AdapterError("Out of order."), *[RateLimitError(retry_after_s=60.0)] * 9]
    )
    caplog.set_level("DEBUG")
    async with open_postgres(postgres.server().url, PostgresOptions(schema=postgres.new_schema())) as store:
        scripts = [calls("act", text=f"{MARKER} thought"), *[says(f"{MARKER} answer")] * 9]
        tools = ScriptedTools({"act": act})
        async with open_bot(store, ScriptedModel(scripts), shown, tools, worker="new", limits=LIMITS):
            async with open_bot(store, ScriptedModel(scripts), failing, tools, worker="old", limits=LIMITS) as old:
                for number in range(3):
                    place = replace(CONVERSATION, channel=f"c{number}")
                    await old.say(message(f"{MARKER} question {number}", conversation=place))
                async with asyncio.timeout(60):
                    await begun.wait()
                    while len(failing.failures) > 9:  # noqa: ASYNC110  (a list sets no event)
                        await asyncio.sleep(0.01)
                await old.drain()
            assert len(await shown.wait_for_posts(3)) == 3
    said = "".join(capfd.readouterr()) + caplog.text
    assert "turn_handed_over" in said
    assert MARKER not in said


async def test_no_failed_sign_in_shows_a_password(
    refusing_url: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(StoreError, match="Correct its user or password") as caught:
        async with open_postgres(refusing_url, PostgresOptions(schema="never")):
            pass
    said = "".join([*capfd.readouterr(), caplog.text, *traceback.format_exception(caught.value)])
    assert ROLE in said
    assert MARKER not in said and PASSWORD not in said and quote(PASSWORD, safe="") not in said
