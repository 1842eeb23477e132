"""The same calls as a turn's, made with the SDKs and nothing around them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from bot.ports.tools import ServerInstructions
from bot.tools.catalog import tool_name
from bot.tools.configured import URL_SERVER_NAME
from bot.turns.context import SYSTEM_PROMPT
from bot.turns.question import with_instructions

MODEL = "rehearsal"


class Bare:
    """A script that asks a model and runs the tools it asks for: no store, no trace, no repeats, no limits."""

    def __init__(self, model: AsyncOpenAI, server: Client, tools: Sequence[Mapping[str, Any]]) -> None:
        self._model = model
        self._server = server
        self._tools = tools
        said = ServerInstructions(server=URL_SERVER_NAME, text=server.instructions or "")
        self._system = with_instructions(SYSTEM_PROMPT, [said], max_chars=len(said.text) + 1_000)

    async def ask(self, text: str, complete: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> str:
        """Return the answer; `complete` is one of the two ways below to ask the model."""
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": self._system},
            {"role": "user", "content": text},
        ]
        while True:
            body = {"messages": messages, "stream_options": {"include_usage": True}, "tools": self._tools}
            answer = await complete(body)
            if not answer["tool_calls"]:
                return answer["content"]
            messages.append({"role": "assistant", **answer})
            messages += await asyncio.gather(*(self._run(call) for call in answer["tool_calls"]))

    async def ordinary(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask as the SDK's manual shows it: `create(stream=True)`, every event a typed object."""
        text: list[str] = []
        calls: list[dict[str, Any]] = []
        stream = await self._model.chat.completions.create(model=MODEL, stream=True, **body)
        async for chunk in stream:
            for choice in chunk.choices:
                text.append(choice.delta.content or "")
                for call in choice.delta.tool_calls or ():
                    function = (
                        {"name": call.function.name, "arguments": call.function.arguments} if call.function else {}
                    )
                    _add(calls, {"index": call.index, "id": call.id, "function": function})
        return {"content": "".join(text) or None, "tool_calls": calls}

    async def raw(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask as the product does: the SDK's request and connection, the events read as JSON."""
        text: list[str] = []
        calls: list[dict[str, Any]] = []
        async with self._model.chat.completions.with_streaming_response.create(
            model=MODEL, messages=(), stream=True, extra_body=body
        ) as response:
            async for event in httpx2.EventSource(response.http_response):
                for choice in json.loads(event.data)["choices"] if event.data != "[DONE]" else ():
                    text.append(choice["delta"].get("content") or "")
                    for call in choice["delta"].get("tool_calls") or ():
                        _add(calls, call)
        return {"content": "".join(text) or None, "tool_calls": calls}

    async def _run(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function = call["function"]
        name = function["name"].removeprefix(tool_name(URL_SERVER_NAME, ""))
        result = await self._server.call_tool(name, json.loads(function["arguments"]))
        text = "\n".join(block.text for block in result.content if block.type == "text")
        return {"role": "tool", "tool_call_id": call["id"], "content": text}


def _add(calls: list[dict[str, Any]], delta: Mapping[str, Any]) -> None:
    """Take in a piece of a call."""
    if delta["index"] == len(calls):
        calls.append({"id": delta["id"], "type": "function", "function": {"name": "", "arguments": ""}})
    for part in ("name", "arguments"):
        calls[delta["index"]]["function"][part] += delta["function"].get(part) or ""


@asynccontextmanager
async def open_bare(*, model_url: str, tools_url: str) -> AsyncGenerator[Bare]:
    """Yield the script with its connections open and the server's tools listed."""
    async with AsyncExitStack() as stack:
        http = DefaultAsyncHttpxClient(trust_env=False)
        model = await stack.enter_async_context(
            AsyncOpenAI(base_url=model_url, api_key="not-needed", max_retries=0, http_client=http)
        )
        server = await stack.enter_async_context(Client(tools_url))
        listed = sorted((await server.list_tools()).tools, key=lambda tool: tool.name)
        yield Bare(
            model,
            server,
            [
                {
                    "type": "function",
                    "function": {
                        "name": tool_name(URL_SERVER_NAME, tool.name),
                        "description": tool.description or "",
                        "parameters": tool.input_schema,
                    },
                }
                for tool in listed
            ],
        )
