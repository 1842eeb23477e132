"""Traces of turns, as they reach a collector over HTTP: what is in them, and what never is."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

from bot.cli.checks import check_traces as doctor_of_traces
from bot.composition.tracing import check_traces, open_tracing
from bot.domain.answers import Done
from bot.domain.errors import ModelUnavailableError, SettingsError
from bot.domain.messages import ModelAnswer, Usage
from bot.observe.trace_export import Discreet, open_traces
from bot.observe.trace_ids import TurnIds
from bot.ports.observer import Watchers
from bot.settings import load_settings
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import Limits
from tests.fakes.bots import open_bot
from tests.fakes.otlp import Collector, Received, collecting
from tests.fakes.ports import RecordingAdapter, ScriptedModel, ScriptedTools, calls, message, returns, says
from tests.integration.test_approvals import ADA, asked, model, press, rights, tools

SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"
PATIENT = Limits(drain_s=60.0)  # turns come to their ends before the context does


@asynccontextmanager
async def watching(collector: Collector, *, captures: bool = False) -> AsyncGenerator[Watchers]:
    async with open_traces(
        f"{collector.url}/v1/traces", headers={}, provider="openai", captures=captures, are_others_traced=False
    ) as traces:
        yield Watchers(turns=(traces,), models=(traces,), tracing=traces)


async def traced(
    path: Path, model: ScriptedModel, tools: ScriptedTools, text: str = "question", *, captures: bool = False
) -> list[Received]:
    """Return the spans of one turn."""
    adapter = RecordingAdapter()
    async with collecting() as collector:
        async with (
            watching(collector, captures=captures) as watchers,
            open_sqlite(path / "a.db") as store,
            open_bot(store, model, adapter, tools, worker="a", watchers=watchers, limits=PATIENT) as bot,
        ):
            await bot.say(message(text))
            await adapter.wait_for_posts(1)
        return collector.spans


def one(spans: list[Received], name: str) -> Received:
    (span,) = [span for span in spans if span.name == name]
    return span


async def test_spans_have_the_attributes_of_the_conventions(tmp_path: Path) -> None:
    usage = Usage(input_tokens=100, cached_tokens=40, output_tokens=7)
    answer = ModelAnswer(message=says("done").message, usage=usage, model="gpt-4.1-2025-04-14")
    spans = await traced(tmp_path, ScriptedModel([calls("look"), answer]), ScriptedTools({"look": returns("seen")}))
    turn = one(spans, "invoke_agent toolbridge")
    assert (
        turn.attributes.items()
        >= {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "openai",
            "gen_ai.agent.name": "toolbridge",
            "gen_ai.conversation.id": "id of general",
            "gen_ai.request.model": "scripted",
            "gen_ai.usage.input_tokens": 110,  # of both calls
            "gen_ai.usage.output_tokens": 7,
            "toolbridge.turn.state": "answered",
            "toolbridge.turn.attempt": 1,
        }.items()
    )
    first, last = [span for span in spans if span.name == "chat scripted"]
    assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert (
        last.attributes.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.conversation.id": "id of general",
            "gen_ai.request.model": "scripted",
            "gen_ai.request.stream": True,
            "gen_ai.response.model": "gpt-4.1-2025-04-14",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.output_tokens": 7,
        }.items()
    )
    tool = one(spans, "execute_tool look")
    assert (
        tool.attributes.items()
        >= {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.conversation.id": "id of general",
            "gen_ai.tool.name": "look",
            "gen_ai.tool.call.id": "call_0",
            "gen_ai.tool.type": "function",
            "toolbridge.tool.outcome": "ok",
        }.items()
    )
    assert {span.parent for span in (first, last, tool)} == {turn.id}
    assert not any(span.is_error or span.error_text or span.events for span in spans)


@pytest.mark.parametrize(("sampler", "spans"), [("traceidratio", 0), ("always_off", 0), ("parentbased_always_on", 4)])
async def test_a_turn_is_sampled_as_a_whole(
    sampler: str, spans: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.0")  # of traceidratio
    seen = await traced(
        tmp_path, ScriptedModel([calls("look"), says("done")]), ScriptedTools({"look": returns("seen")})
    )
    assert len(seen) == spans


async def test_a_model_that_fails_marks_its_call_and_the_turn_by_the_errors_class(tmp_path: Path) -> None:
    failing = ScriptedModel([ModelUnavailableError("endpoint-17")])
    spans = await traced(tmp_path, failing, ScriptedTools({}))
    for name in ("chat scripted", "invoke_agent toolbridge"):
        assert (one(spans, name).is_error, one(spans, name).attributes["error.type"]) == (True, "ModelUnavailableError")
    assert one(spans, "invoke_agent toolbridge").attributes["toolbridge.turn.state"] == "failed"
    assert "endpoint-17" not in repr(spans)


async def test_what_was_said_is_in_them_only_where_that_is_wanted_and_then_without_secrets(tmp_path: Path) -> None:
    def script() -> tuple[ScriptedModel, ScriptedTools]:
        arguments = json.dumps({"key": SECRET, "city": "Basel"})
        return ScriptedModel([calls("look", arguments=arguments), says("It rains in Basel.")]), ScriptedTools(
            {"look": returns(f"rain, token {SECRET}")}
        )

    text = f"Is it wet in Basel? My key is {SECRET}"
    (tmp_path / "off").mkdir()
    without = repr(await traced(tmp_path / "off", *script(), text))
    assert not [word for word in ("Basel", "rain", "Ada", SECRET) if word in without]
    spans = await traced(tmp_path, *script(), text, captures=True)
    assert SECRET not in repr(spans)
    last = [span for span in spans if span.name == "chat scripted"][-1].attributes
    (instructions,) = json.loads(last["gen_ai.system_instructions"])
    assert instructions["type"] == "text" and instructions["content"].startswith("Be brief.")
    asked, called, result = json.loads(last["gen_ai.input.messages"])
    assert asked["role"] == "user" and asked["parts"][0]["content"].startswith("Is it wet in Basel?")
    assert (called["role"], called["parts"][0]["type"], called["parts"][0]["name"]) == (
        "assistant",
        "tool_call",
        "look",
    )
    assert (result["role"], result["parts"][0]["type"]) == ("tool", "tool_call_response")
    (answer,) = json.loads(last["gen_ai.output.messages"])
    assert answer["parts"] == [{"type": "text", "content": "It rains in Basel."}] and answer["finish_reason"] == "stop"
    tool = one(spans, "execute_tool look").attributes
    assert "Basel" in tool["gen_ai.tool.call.arguments"] and "rain" in tool["gen_ai.tool.call.result"]
    documented = (Path(__file__).parents[3] / "docs" / "traces.md").read_text(encoding="utf-8")
    assert not [name for span in spans for name in span.attributes if f"`{name}`" not in documented]


async def test_a_turn_that_waited_goes_on_in_the_same_trace_linked_with_what_was_before(tmp_path: Path) -> None:
    adapter, answers = RecordingAdapter(), model()
    async with collecting() as collector, open_sqlite(tmp_path / "a.db") as store:
        async with (
            watching(collector) as watchers,
            open_bot(store, answers, adapter, tools(), worker="a", rights=rights(), watchers=watchers) as bot,
        ):
            view = await asked(bot, adapter)
        async with (  # another process
            watching(collector) as watchers,
            open_bot(
                *(store, answers, adapter, tools()), worker="b", rights=rights(), watchers=watchers, limits=PATIENT
            ) as bot,
        ):
            assert await press(bot, view, ADA) == Done()
            await adapter.wait_for_posts(1)
    before, after = collector.named("invoke_agent")
    assert before.attributes["toolbridge.turn.state"] == "waiting" and not before.is_error
    assert after.attributes["toolbridge.turn.state"] == "answered"
    assert (before.trace, before.parent, after.parent) == (after.trace, "", "")
    assert before.links == [] and after.links == [(before.trace, before.id)]
    assert len(collector.named("chat ")) == 2 and {span.trace for span in collector.spans} == {before.trace}


async def test_lines_of_the_log_name_the_trace_and_the_span(tmp_path: Path) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        spans = await traced(tmp_path, ScriptedModel([says("done")]), ScriptedTools({}))
    turn = one(spans, "invoke_agent toolbridge")
    (ended,) = [line for line in lines if line["event"] == "turn_ended"]
    assert (ended["trace_id"], ended["span_id"]) == (turn.trace, turn.id)


async def test_words_of_errors_in_spans_of_others_do_not_reach_the_collector() -> None:
    async with collecting() as collector:
        exporter = Discreet(OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces"))
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(exporter))
        with tracers.get_tracer("mcp-python-sdk").start_as_current_span("MCP send tools/call look") as span:
            span.record_exception(ValueError("Eve was here"))
            span.set_attribute("error.type", "-32000")
            span.set_status(StatusCode.ERROR, "Eve was here")
        await asyncio.to_thread(tracers.shutdown)
    (sent,) = collector.spans
    assert (sent.name, sent.is_error, sent.attributes) == ("MCP send tools/call look", True, {"error.type": "-32000"})
    assert "Eve" not in repr(sent) and sent.events == []


def test_every_process_gives_an_attempt_the_same_ids_and_other_turns_get_others() -> None:
    made = {TurnIds.made_of(named, fence) for named in ("a", "b") for fence in (1, 2)}
    assert TurnIds.made_of("a", 1) in made and len(made) == 4 and len({trace for trace, _ in made}) == 2


# --- settings ---


def test_without_the_extra_the_endpoint_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bot.observe.trace_export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"pip install 'toolbridge\[otel\]', or unset it"):
        check_traces(load_settings(env_file=None, otel_exporter_otlp_endpoint="http://127.0.0.1:4318"))
    assert check_traces(load_settings(env_file=None)) == ""


async def test_a_chat_goes_on_without_traces_where_they_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    settings = load_settings(env_file=None, otel_exporter_otlp_endpoint="http://127.0.0.1:4317")
    async with open_tracing(settings, is_needed=False) as traces:
        assert traces is None
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL=grpc, and traces are sent as http/protobuf"):
        async with open_tracing(settings):
            pass


async def test_doctor_says_where_traces_go_and_whether_anything_answers_there() -> None:
    async with collecting() as collector:
        settings = load_settings(env_file=None, otel_exporter_otlp_endpoint=collector.url)
        (check,) = await doctor_of_traces(settings)
        assert (check.state, check.detail) == ("ok", f"they go to {collector.url}")
    (check,) = await doctor_of_traces(settings)
    assert check.state == "failed" and f"{collector.url} cannot be reached (Connection refused)" in check.detail
    assert await doctor_of_traces(load_settings(env_file=None)) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:pass@collector:99999", "http://collector:99999 cannot be reached (Port out of range 0-65535)"),
        ("http://collector..internal:4318", "http://collector..internal:4318 cannot be reached (no host can have that"),
    ],
)
async def test_doctor_says_of_an_address_that_can_be_none_what_to_correct(url: str, said: str) -> None:
    (check,) = await doctor_of_traces(load_settings(env_file=None, otel_exporter_otlp_endpoint=url))
    assert check.state == "failed" and check.detail.startswith(said)
    assert check.cure == "Correct OTEL_EXPORTER_OTLP_ENDPOINT."


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://collector:4318/otlp/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://other:1/x"}, "http://other:1/x"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://collector:4318/otlp/v1/traces"),
        ({"OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_TRACES_EXPORTER": "none"}, ""),
    ],
)
def test_the_standard_variables_count(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any], url: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings(env_file=None, otel_exporter_otlp_endpoint="http://collector:4318/otlp/").traces_url == url


@pytest.mark.parametrize("given", ["collector:4318", "grpc://collector:4317", "http://", "http://c/v1?token=x"])
def test_an_endpoint_that_is_no_address_for_http_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_ENDPOINT: write the collector's address for HTTP"):
        load_settings(env_file=None, otel_exporter_otlp_endpoint=given)
