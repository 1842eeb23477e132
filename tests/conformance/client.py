"""The client under test: a toolset that lists one server's tools and calls each of them once.

The suite starts it as `python -m tests.conformance.client URL` and may give it the calls to make in
MCP_CONFORMANCE_CONTEXT.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bot.domain.asks import FormAsk
from bot.domain.events import ConversationKey
from bot.domain.forms import Field, Invalid
from bot.domain.messages import ToolCall, ToolResult, ToolSpec
from bot.domain.turns import CallDecided, CallWaiting
from bot.forms.making import form_of
from bot.forms.reading import read_form
from bot.ports.tools import Resumed, Tools, Wait
from bot.tools.catalog import tool_name
from bot.tools.config import HttpEndpoint, ServerConfig
from bot.tools.toolset import Toolset

_NAME = "suite"
_CONVERSATION = ConversationKey(platform="conformance", space="", channel="suite")
_ACTOR = _CONVERSATION.person("suite")
# How the bot reports errors of the protocol.
_UNDERSTOOD = ("refused the call",)
_TEXTS: Mapping[str, str] = {"integer": "1", "number": "1.5", "date": "2026-11-29", "json": "[]"}
_SAMPLES: Mapping[str, object] = {
    "string": "text",
    "number": 1.5,
    "integer": 1,
    "boolean": True,
    "object": {},
    "array": [],
}


async def use(url: str, *, context: Mapping[str, Any]) -> bool:
    """Use the server as a turn would; return whether each call had an answer that the bot understood."""
    server = ServerConfig(name=_NAME, endpoints=(HttpEndpoint(url=url, label=_NAME),), timeout_s=10)
    async with Toolset([server], offer_wait_s=20) as tools:
        offer = await tools.offer(None)
        await tools.examples()
        results = [await _result(tools, call) for call in planned_calls(offer.tools, context)]
    for result in results:
        print(f"{result.call_id}: {result.outcome}: {result.text}")
    return offer.notes == () and all(map(_is_understood, results))


async def _result(tools: Tools, call: ToolCall) -> ToolResult:
    """Return the result of a call whose forms are sent off as they are, as a person may do who agrees to all."""
    outcome = await tools.call(call, actor=_ACTOR, conversation=_CONVERSATION)
    while isinstance(outcome, Wait):
        wait = CallWaiting(
            round=0, call_id=call.id, reason=outcome.reason, expires_at=0, ask=outcome.ask, state=outcome.state
        )
        content = _filled_in(outcome.ask.schema) if isinstance(outcome.ask, FormAsk) else ""
        decision = CallDecided(round=0, call_id=call.id, outcome="accept", by=str(_ACTOR), content=content)
        resumed = Resumed(wait=wait, decision=decision)
        outcome = await tools.call(call, actor=_ACTOR, conversation=_CONVERSATION, resumed=resumed)
    return outcome


def _filled_in(schema: Mapping[str, Any]) -> str:
    form = form_of(schema, target="", title="")
    texts = {field.name: field.value or (_sample(field) if field.is_required else "") for field in form.fields}
    content = read_form(schema, texts)
    assert not isinstance(content, Invalid), content.errors
    return json.dumps(content)


def _sample(field: Field) -> str:
    return field.options[0].value if field.options else _TEXTS.get(field.kind, "text")


def planned_calls(specs: Sequence[ToolSpec], context: Mapping[str, Any]) -> list[ToolCall]:
    """Return the calls that the suite wants, or one call of each tool with what its schema requires."""
    wanted = [(tool_name(_NAME, call["name"]), call["arguments"]) for call in context.get("toolCalls", ())]
    calls = wanted or [(spec.name, _arguments(spec, specs)) for spec in specs]
    return [
        ToolCall(id=f"call-{number}", name=name, arguments=json.dumps(arguments))
        for number, (name, arguments) in enumerate(calls, start=1)
    ]


def _is_understood(result: ToolResult) -> bool:
    return result.outcome == "ok" or any(words in result.text for words in _UNDERSTOOD)


def _arguments(spec: ToolSpec, specs: Sequence[ToolSpec]) -> Mapping[str, object]:
    if spec.tool == "json_schema_echo":  # wants to see the schema of the other tool as it arrived
        return {"schema": next(other.parameters for other in specs if other is not spec)}
    properties = spec.parameters.get("properties", {})
    return {name: _argument(properties[name]) for name in spec.parameters.get("required", ())}


def _argument(described: Mapping[str, Any]) -> object:
    return next(iter(described.get("enum", ())), _SAMPLES.get(described.get("type", "")))


if __name__ == "__main__":
    given = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    sys.exit(0 if asyncio.run(use(sys.argv[-1], context=given)) else 1)
