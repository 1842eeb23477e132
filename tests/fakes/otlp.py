"""A collector of OpenTelemetry on loopback: OTLP over HTTP, as protobuf.

As strict as https://opentelemetry.io/docs/specs/otlp/#otlphttp-request says: the path, the type and the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class Received:
    """One span, as it came; ids are hexadecimal, `parent` of a root is empty."""

    service: str
    scope: str
    name: str
    trace: str
    id: str
    parent: str
    kind: str
    is_error: bool
    error_text: str
    attributes: Mapping[str, Any]
    events: Sequence[str]
    links: Sequence[tuple[str, str]]


@dataclass
class Collector:
    """See `collecting`. While it `hangs`, no request gets its answer."""

    url: str = ""
    spans: list[Received] = field(default_factory=list[Received])
    headers: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _runner: web.AppRunner | None = None

    async def receive(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        await self.goes_on.wait()
        if request.content_type != PROTOBUF:
            return web.Response(status=415)
        message = ExportTraceServiceRequest.FromString(await request.read())
        async with self._news:
            self.spans.extend(_read(message))
            self._news.notify_all()
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=PROTOBUF)

    async def until(self, is_enough: Callable[[Sequence[Received]], bool], *, within_s: float = 60.0) -> None:
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(lambda: is_enough(self.spans))

    async def close(self) -> None:
        """Go away: no later connection is taken."""
        self.goes_on.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def serve(self) -> None:
        """Take spans at a port of its own, and know its address."""
        application = web.Application()
        application.router.add_post("/v1/traces", self.receive)
        self._runner = web.AppRunner(application, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def named(self, beginning: str) -> list[Received]:
        return [span for span in self.spans if span.name.startswith(beginning)]


@asynccontextmanager
async def collecting(*, hangs: bool = False) -> AsyncGenerator[Collector]:
    """Receive spans while the context is open."""
    collector = Collector()
    if not hangs:
        collector.goes_on.set()
    try:
        await collector.serve()
        yield collector
    finally:
        await collector.close()


def _read(message: ExportTraceServiceRequest) -> Iterable[Received]:
    for resource in message.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    service=service,
                    scope=scope.scope.name,
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    is_error=span.status.code == Status.STATUS_CODE_ERROR,
                    error_text=span.status.message,
                    attributes=_attributes(span.attributes),
                    events=[event.name for event in span.events],
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
