"""Turns as traces of OpenTelemetry: one trace for each turn, whoever works on it. Imported only where traces are on.

Names are those of the conventions for generative AI (https://github.com/open-telemetry/semantic-conventions-genai, of
which all spans are in development): `invoke_agent` around an attempt, in it `chat` for each call to the model and
`execute_tool` for each call to a tool. The MCP SDK adds its own spans below, and passes the context on to servers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import structlog
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TraceFlags, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

from bot.domain.messages import ToolCall, ToolResult, Usage
from bot.domain.turns import StateChanged, TurnEvent, TurnState
from bot.observe.trace_content import arguments_of, messages_of, result_of
from bot.observe.trace_ids import TurnIds
from bot.observe.traced_tools import TracedTools
from bot.ports.observer import ModelCall
from bot.ports.tools import Tools, Wait
from bot.ports.work_store import ClaimedTurn

AGENT = "toolbridge"
SCOPE = "toolbridge"  # of our spans; those of others have their own
INVOKE_AGENT = "invoke_agent"
MAX_DESCRIPTION_CHARS = 500
OTHER = "_OTHER"  # the conventions' own, where nothing better is known
# How `error.type` calls the outcomes of calls; the first is the conventions' own for what a tool reports.
_ERRORS = {"error": "tool_error", "denied": "", "ok": "", "withheld": ""}

Attributes = Mapping[str, AttributeValue]


@dataclass(slots=True)
class _Attempt:
    """What is known of an attempt while it goes on."""

    conversation_id: str
    state: TurnState = "queued"
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    error: str = ""  # of the last call to the model


_current: ContextVar[_Attempt | None] = ContextVar("_current", default=None)


class Traces:
    """Satisfies `Tracing`, `TurnObserver` and `ModelObserver`.

    `provider` is what the conventions call the endpoint; with `captures`, spans have what was said, without secrets.
    """

    def __init__(self, tracer: Tracer, *, ids: TurnIds, provider: str, captures: bool = False) -> None:
        self._tracer = tracer
        self._ids = ids
        self._provider = provider
        self._captures = captures
        self._attempts: dict[tuple[int, int], _Attempt] = {}  # by turn and fence

    # --- turns ---

    @contextmanager
    def enclose(self, turn: ClaimedTurn, *, conversation_id: str) -> Generator[None]:
        """See `Tracing`. Attempts at one turn share its trace, and each is linked with the one before."""
        attempt = _Attempt(conversation_id)
        key = turn.lease.turn_id, turn.lease.fence
        span = self._begin(turn, conversation_id)
        self._attempts[key] = attempt
        token = _current.set(attempt)
        try:
            with _within(span, trace_id=f"{span.get_span_context().trace_id:032x}"):
                yield
        finally:
            _current.reset(token)
            del self._attempts[key]
            _end(span, attempt)

    def _begin(self, turn: ClaimedTurn, conversation_id: str) -> Span:
        number, fence = turn.lease.turn_id, turn.lease.fence
        named = f"{conversation_id}/{turn.event.event_key}/{number}"
        attributes = self._attributes(INVOKE_AGENT, conversation_id) | {
            "gen_ai.agent.name": AGENT,
            "toolbridge.platform": turn.event.conversation.platform,
            "toolbridge.turn.id": number,
            "toolbridge.turn.attempt": fence,
        }
        with self._ids.of(named, fence):
            return self._tracer.start_span(
                f"{INVOKE_AGENT} {AGENT}",
                context=Context(),  # it is below nothing
                kind=SpanKind.INTERNAL,
                attributes=attributes,
                links=[_link(self._ids, named, fence - 1)] if fence > 1 else (),
            )

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        """Take note of the turn's state."""
        if isinstance(event, StateChanged):
            attempt = self._attempts.get((turn.lease.turn_id, turn.lease.fence))
            if attempt is not None:
                attempt.state = event.state

    # --- the model ---

    def called(self, call: ModelCall) -> None:
        """Add a span for the call, which has ended by now, to the current turn."""
        attempt = _current.get()
        if attempt is None:
            return
        attempt.model, attempt.error = call.model, call.error
        attempt.usage += call.usage
        ended_at = time.time_ns()
        span = self._tracer.start_span(
            f"chat {call.model}",
            kind=SpanKind.CLIENT,
            attributes={
                **self._attributes("chat", attempt.conversation_id),
                **_request_of(call),
                **_response_of(call),
                **({"error.type": call.error} if call.error else {}),
            },
            start_time=ended_at - round(call.seconds * 1e9),
        )
        if self._captures and span.is_recording():
            span.set_attributes(messages_of(call))
        if call.error:
            span.set_status(StatusCode.ERROR)
        span.end(ended_at)

    # --- tools ---

    def enclosing(self, tools: Tools) -> Tools:
        """See `Tracing`."""
        return TracedTools(tools, enclose=self._enclose_call)

    @contextmanager
    def _enclose_call(
        self, call: ToolCall, *, server: str, description: str
    ) -> Generator[Callable[[ToolResult | Wait], None]]:
        attempt = _current.get()  # None: of no turn, so its span goes nowhere
        conversation_id = attempt.conversation_id if attempt else ""
        attributes = self._attributes("execute_tool", conversation_id, is_of_model=False) | {
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": call.id,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": description[:MAX_DESCRIPTION_CHARS],
            "toolbridge.tool.server": server,
        }
        span = self._tracer.start_span(f"execute_tool {call.name}", kind=SpanKind.INTERNAL, attributes=attributes)

        def saw(outcome: ToolResult | Wait) -> None:
            result = outcome if isinstance(outcome, ToolResult) else None
            span.set_attribute("toolbridge.tool.outcome", result.outcome if result else "waiting")
            if result is not None:
                _fail(span, _ERRORS.get(result.outcome, result.outcome))
            if self._captures and span.is_recording():
                span.set_attributes({**arguments_of(call), **(result_of(result) if result else {})})

        with _within(span):
            try:
                yield saw
            except BaseException as error:
                _fail(span, type(error).__name__)
                raise
            finally:
                span.end()

    def _attributes(
        self, operation: str, conversation_id: str, *, is_of_model: bool = True
    ) -> dict[str, AttributeValue]:
        provider = {"gen_ai.provider.name": self._provider} if is_of_model else {}
        return {"gen_ai.operation.name": operation, "gen_ai.conversation.id": conversation_id, **provider}


@contextmanager
def _within(span: Span, **names: str) -> Generator[None]:
    """Have what happens belong to the span, also the lines of the log."""
    names["span_id"] = f"{span.get_span_context().span_id:016x}"
    token, bound = attach(set_span_in_context(span)), structlog.contextvars.bind_contextvars(**names)
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**bound)
        detach(token)


def _link(ids: TurnIds, named: str, fence: int) -> Link:
    trace_id, span_id = ids.made_of(named, fence)
    flags = TraceFlags(TraceFlags.SAMPLED)
    return Link(SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags))


def _end(span: Span, attempt: _Attempt) -> None:
    of_model = {"gen_ai.request.model": attempt.model, **_tokens(attempt.usage)} if attempt.model else {}
    span.set_attributes({"toolbridge.turn.state": attempt.state, **of_model})
    if attempt.state == "failed":
        _fail(span, attempt.error or OTHER)
    elif attempt.state == "undelivered":
        _fail(span, "undelivered")
    span.end()


def _fail(span: Span, error: str) -> None:
    """Mark the span as failed, where there is an error; its sentence may have words of people, and is left out."""
    if error:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)


def _request_of(call: ModelCall) -> Attributes:
    purpose = {"toolbridge.model.purpose": call.purpose} if call.purpose != "answer" else {}
    return {"gen_ai.request.model": call.model, "gen_ai.request.stream": True, **purpose}


def _response_of(call: ModelCall) -> Attributes:
    found: dict[str, AttributeValue] = {**_tokens(call.usage)}
    if call.first_chunk_s is not None:
        found["gen_ai.response.time_to_first_chunk"] = call.first_chunk_s
    if call.answer is not None:
        found["gen_ai.response.finish_reasons"] = [_finish_reason(call)]
        if call.answer.model:
            found["gen_ai.response.model"] = call.answer.model
    return found


def _finish_reason(call: ModelCall) -> str:
    if call.answer is not None and call.answer.is_cut:
        return "length"
    return "tool_calls" if call.answer is not None and call.answer.message.tool_calls else "stop"


def _tokens(usage: Usage) -> Attributes:
    cached = {"gen_ai.usage.cache_read.input_tokens": usage.cached_tokens} if usage.cached_tokens else {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        **cached,
    }
