"""An MCP server on the real SDK, over stdio, that sends its own spans where OTEL_EXPORTER_OTLP_ENDPOINT says."""

from __future__ import annotations

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

server = MCPServer("traced", log_level="WARNING")


@server.tool()
def greet(name: str) -> str:
    """Greet someone."""
    return f"Hello, {name}"


@server.tool()
def fail(why: str) -> str:
    """Fail, and say why."""
    raise ToolError(f"failed: {why}")


if __name__ == "__main__":
    tracers = TracerProvider()  # OTEL_SERVICE_NAME names it
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=50))
    trace.set_tracer_provider(tracers)
    server.run()
