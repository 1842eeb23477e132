"""What watches a process: nothing of the metrics where they are off, and no metrics for everybody."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.composition.watching import open_watching
from bot.domain.answers import Done
from bot.domain.errors import SettingsError
from bot.domain.events import MessageDeleted
from bot.domain.messages import ModelAnswer
from bot.http.listener import open_listener
from bot.observe.metrics import Metrics
from bot.ports.http import NoListener
from bot.ports.model import ModelRequest
from bot.ports.observer import Watchers
from bot.settings import load_settings
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import Limits
from tests.fakes.bots import open_bot
from tests.fakes.ports import RecordingAdapter, ScriptedModel, message, says
from tests.integration.test_approvals import ADA, asked, model, press, rights, tools


async def test_where_metrics_and_traces_are_off_only_the_model_is_watched_for_the_health() -> None:
    async with open_watching(load_settings(env_file=None), NoListener()) as watching:
        assert watching.metrics is None and watching.watchers.tracing is None
        assert watching.watchers == Watchers(models=(watching.health.model,))


LATE = ("prometheus_client", "opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf")


def test_run_and_chat_load_the_libraries_only_where_metrics_or_traces_are_on() -> None:
    code = f"import sys, bot.cli.run, bot.cli.chat; print(any(name.startswith({LATE}) for name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "False\n"


async def test_the_metrics_are_served_beside_the_health_where_they_are_on() -> None:
    settings = load_settings(env_file=None, metrics=True)
    async with open_listener("127.0.0.1", 0) as listener, open_watching(settings, listener):
        for path in ("/metrics", "/healthz"):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: bot\r\nconnection: close\r\n\r\n".encode())
            async with asyncio.timeout(60):
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"http_host": "0.0.0.0"}, "Set METRICS_TOKEN"),
        ({"http_host": ""}, "Set METRICS_TOKEN"),
        ({"http_host": "bot.example"}, "Set METRICS_TOKEN"),
        ({"trusted_proxies": "10.0.0.1"}, "Set METRICS_TOKEN"),
        ({"http_port": "off"}, "HTTP_PORT=off switches that off"),
        ({"http_port": "off", "metrics_token": "token"}, "HTTP_PORT=off switches that off"),
    ],
)
async def test_metrics_that_everybody_or_nobody_could_read_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        async with open_watching(load_settings(env_file=None, metrics=True, **given), NoListener()):
            pass
    load_settings(env_file=None, metrics=False, **given).check_metrics()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"http_host": "localhost"},
        {"http_host": "::1"},
        {"http_host": "127.0.0.2"},
        {"http_host": "0.0.0.0", "metrics_token": "token"},
    ],
)
def test_metrics_for_this_machine_or_with_a_token_are_taken(given: dict[str, Any]) -> None:
    load_settings(env_file=None, metrics=True, **given).check_metrics()


async def test_an_approval_is_counted_from_its_question_to_its_press_and_so_is_the_call(tmp_path: Path) -> None:
    metrics, adapter = Metrics(provider="openai"), RecordingAdapter()
    watchers = Watchers(turns=(metrics.turns,), models=(metrics.models,), settled=metrics.settled)
    async with (
        open_sqlite(tmp_path / "a.db") as store,
        open_bot(
            store,
            model(),
            adapter,
            tools(),
            worker="a",
            rights=rights(),
            watchers=watchers,
            limits=Limits(drain_s=60.0),  # the turn comes to its end before the context does
        ) as bot,
    ):
        view = await asked(bot, adapter)
        assert await press(bot, view, ADA) == Done()
        await adapter.wait_for_posts(1)
        await adapter.wait_for_ask(lambda shown: shown.state == "approved")

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert value("toolbridge_approvals_requested_total") == 1
    assert value("toolbridge_approvals_total", outcome="approved") == 1
    assert value("toolbridge_tool_calls_total", server="fake", outcome="ok") == 1
    assert value("toolbridge_turns_total", platform="fake", state="waiting") == 1
    assert value("toolbridge_turns_total", platform="fake", state="answered") == 1
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "scripted"}
    assert value("gen_ai_client_operation_duration_seconds_count", error_type="", **labels) == 2


async def test_a_question_that_was_deleted_before_its_turn_began_is_counted_once_and_one_that_is_answered_is_not(
    tmp_path: Path,
) -> None:
    metrics, adapter = Metrics(provider="openai"), RecordingAdapter()
    watchers = Watchers(turns=(metrics.turns,), withdrew=metrics.turns.withdrew)
    asked_model, may_answer = asyncio.Event(), asyncio.Event()

    async def when_it_may(_request: ModelRequest) -> ModelAnswer:
        asked_model.set()
        await may_answer.wait()
        return says("done")

    def value(state: str) -> float | None:
        return metrics.registry.get_sample_value("toolbridge_turns_total", {"platform": "fake", "state": state})

    async with (
        open_sqlite(tmp_path / "a.db") as store,
        open_bot(
            *(store, ScriptedModel([when_it_may]), adapter), worker="a", watchers=watchers, limits=Limits(drain_s=60.0)
        ) as bot,
    ):
        first, second = message("first"), message("waits behind it")
        for question in (first, second):
            await bot.say(question)
        async with asyncio.timeout(60):
            await asked_model.wait()
        for question in (second, second, first):  # the deletion is delivered twice; the first one is being answered
            await bot.receive(MessageDeleted(conversation=question.conversation, event_key=question.event_key))
        may_answer.set()
        await adapter.wait_for_posts(1)
    assert (value("withdrawn"), value("answered")) == (1, 1)
