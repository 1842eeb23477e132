"""The answer to one request: scripted, or by the rehearsal model's rules; spoilt if a fault says so."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.domain.messages import ToolCall, ToolSpec
from bot.models.rehearsal.model import as_tool_call, word_groups
from bot.models.rehearsal.rules import answer
from bot.models.rehearsal.summary import sum_up
from bot.turns.summary import SUMMARY_PROMPT
from tests.fakes.openai.control import Fault, State
from tests.fakes.openai.wire import DATA_URL, Reply, Wire, as_dict, as_list


def make_reply(body: dict[str, Any], wire: Wire, state: State, fault: Fault | None) -> Reply:
    """Return the next scripted answer, or else the rehearsal model's own; a summary is never scripted.

    It is asked for after an answer, when the test may have scripted the next one already.
    """
    if is_summary(body):
        reply = Reply(text=sum_up(wire.messages(body)[-1].text))
    else:
        reply = _scripted(state.script.popleft()) if state.script else _planned(body, wire)
    if fault:
        reply = _spoilt(reply, fault, _tools(body, wire))
    prompt = "".join(json.dumps(one) + "\n" for name in wire.prompt_fields for one in as_list(body.get(name)))
    prompt = DATA_URL.sub(lambda url: hashlib.sha256(url[0].encode()).hexdigest(), prompt)
    return replace(reply, usage=state.prompts.usage(prompt, output_tokens=reply.output_tokens))


def is_summary(body: Mapping[str, Any]) -> bool:
    """Return whether the request asks for the summary of a conversation."""
    return SUMMARY_PROMPT.partition(".")[0] in json.dumps(body.get("instructions") or body.get("messages"))


def _planned(body: dict[str, Any], wire: Wire) -> Reply:
    may_call = body.get("tool_choice") != "none"
    planned = answer(wire.messages(body), _tools(body, wire) if may_call else [])
    return Reply(text=planned.text, calls=tuple(as_tool_call(call) for call in planned.calls))


def _scripted(script: Mapping[str, Any]) -> Reply:
    """Return a scripted answer; arguments that are a string are sent as they are, JSON or not."""
    calls = [(one["name"], one.get("arguments", {})) for one in script.get("tool_calls", [])]
    as_text = tuple(_call(name, args if isinstance(args, str) else json.dumps(args)) for name, args in calls)
    return Reply(text=script.get("text", ""), calls=as_text)


def _call(name: str, arguments: str) -> ToolCall:
    return ToolCall(id=f"call_{uuid.uuid4().hex[:24]}", name=name, arguments=arguments)


def _tools(body: dict[str, Any], wire: Wire) -> list[ToolSpec]:
    specs: list[ToolSpec] = []
    for tool in as_list(body.get("tools")):
        one = wire.tool(as_dict(tool))
        server, _, bare = str(one["name"]).rpartition("__")
        about, schema = str(one.get("description") or ""), as_dict(one.get("parameters"))
        specs.append(ToolSpec(name=one["name"], server=server, tool=bare, description=about, parameters=schema))
    return specs


def _spoilt(reply: Reply, fault: Fault, tools: Sequence[ToolSpec]) -> Reply:
    """Return the reply with the fault in it, if it is a fault of the content."""
    match fault.kind:
        case "malformed_arguments":
            names = [*(call.name for call in reply.calls), *(tool.name for tool in tools)]
            return replace(reply, text="", calls=(_call(names[0], '{"broken": '),)) if names else reply
        case "unknown_tool":
            return replace(reply, text="", calls=(_call("no_such_tool", "{}"),))
        case "content_filter":
            pieces = word_groups(reply.text)[: fault.after_chunks]
            return replace(reply, text="".join(pieces), calls=(), is_filtered=True)
        case _:
            return reply
