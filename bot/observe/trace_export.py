"""Where spans go: OTLP over HTTP, by the SDK's own thread: no turn waits for it. Imported only where traces are on."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import metadata

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, Status, TraceState
from opentelemetry.util.types import Attributes

from bot.observe.trace_ids import TurnIds
from bot.observe.traces import INVOKE_AGENT, SCOPE, Traces

log = structlog.stdlib.get_logger(__name__)

FLUSH_S = 2.0  # for what is left at the end of the process
TELL_EVERY_S = 60.0  # of a collector that is away


@asynccontextmanager
async def open_traces(
    endpoint: str,
    *,
    headers: Mapping[str, str],
    provider: str,
    captures: bool = False,
    process: str = "",
    are_others_traced: bool = True,
) -> AsyncGenerator[Traces]:
    """Send the spans of turns to the `endpoint`, a URL with its path, while the context is open.

    What the SDK reads from the environment by itself (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and others) counts. The
    last spans get two seconds at the end. `are_others_traced`: spans of the MCP SDK go there too; no later call in this
    process can have that as well.
    """
    ids, exporter = TurnIds(), OTLPSpanExporter(endpoint=endpoint, headers=headers)
    sampler = OnlyTurns(TracerProvider(shutdown_on_exit=False).sampler)
    tracers = TracerProvider(sampler, _resource(process), shutdown_on_exit=False, id_generator=ids)
    tracers.add_span_processor(BatchSpanProcessor(Discreet(exporter)))
    _quiet(logging.getLogger(OTLPSpanExporter.__module__))
    if are_others_traced:
        trace.set_tracer_provider(tracers)
    tracer = tracers.get_tracer(SCOPE, metadata.version("toolbridge"))
    try:
        yield Traces(tracer, ids=ids, provider=provider, captures=captures)
    finally:
        await _shut_down(tracers)


async def _shut_down(tracers: TracerProvider) -> None:
    """Send what is left, for two seconds at most. The SDK's own bounds are longer: its thread is left behind then."""
    loop, is_done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        tracers.shutdown()
        if not loop.is_closed():
            loop.call_soon_threadsafe(is_done.set)

    threading.Thread(target=shut_down, name="traces:flush", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_S):
            await is_done.wait()
    except TimeoutError:
        log.warning("last_spans_not_sent", seconds=FLUSH_S)


def _quiet(logger: logging.Logger) -> None:
    """Have it say only what was lost, once a minute, and nothing of each try."""
    logger.setLevel(logging.ERROR)
    if not logger.filters:
        logger.addFilter(_Seldom())


class _Seldom(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._told_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        is_due = time.monotonic() - self._told_at >= TELL_EVERY_S
        self._told_at = time.monotonic() if is_due else self._told_at
        return is_due


def _resource(process: str) -> Resource:
    ours = {
        "service.name": SCOPE,
        "service.version": metadata.version("toolbridge"),
        "service.instance.id": process,
    }
    return _Resource(Resource.create({**ours, **OTELResourceDetector().detect().attributes}))


class _Resource(Resource):
    """Another resource, with its hash made once: encoding asks for it with each span, and it is made of JSON."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __hash__(self) -> int:
        return self._hash


class OnlyTurns(Sampler):
    """Drops what belongs to no turn: connections of tool servers, and what these list. Another one decides on turns."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler`."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if parent.is_valid:  # decided with its root, for the whole turn
            decision = Decision.RECORD_AND_SAMPLE if parent.trace_flags.sampled else Decision.DROP
            return SamplingResult(decision, attributes, parent.trace_state)
        if (attributes or {}).get("gen_ai.operation.name") != INVOKE_AGENT:
            return SamplingResult(Decision.DROP)
        return self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """See `Sampler`."""
        return f"OnlyTurns({self._sampler.get_description()})"


class Discreet(SpanExporter):
    """Another exporter, which gets spans of others without the words of their errors: they may be those of messages."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        return self._exporter.export([_discreet(span) for span in spans])

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


def _discreet(span: ReadableSpan) -> ReadableSpan:
    scope = span.instrumentation_scope
    if (scope is not None and scope.name == SCOPE) or not (span.status.description or span.events):
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=scope,
    )
