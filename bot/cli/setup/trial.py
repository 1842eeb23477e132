"""A model tried with a real tool call: it has to call the calculator, which runs, and to answer with the result."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bot.cli.servers import wait_for_servers
from bot.domain.errors import ModelRequestError
from bot.domain.events import ConversationKey
from bot.domain.messages import AssistantMessage, Message, ToolMessage, ToolResult, UserMessage
from bot.domain.people import Actor
from bot.models.factory import open_model
from bot.ports.model import Model, ModelRequest
from bot.ports.tools import Offer
from bot.settings import Settings
from bot.tools.configured import bundled_server
from bot.tools.toolset import Toolset

TRIAL_S = 120.0  # for both answers: a local server may have to load the model first
TOOL = "calculate"
_SYSTEM = "You are a helpful assistant. Use the tool that you have for every calculation."
_QUESTION = "Calculate 1234 * 5678"
_ACTOR = Actor(platform="setup", space="", id="setup")
_CONVERSATION = ConversationKey(platform="setup", space="", channel="")


async def try_tool_call(settings: Settings) -> str:
    """Return in a sentence how it went.

    Raises:
        BotError: The endpoint does not answer, or the model calls no tool.
    """
    server = replace(bundled_server(settings, variables={}), allow=(TOOL,))
    started = asyncio.get_running_loop().time()
    async with Toolset((server,)) as tools, open_model(settings) as model:
        await wait_for_servers(tools)
        offer = await tools.offer(None)
        asked = UserMessage(text=_QUESTION)
        called = await _complete(model, offer, (asked,), deadline=started + TRIAL_S)
        if not called.tool_calls:
            raise ModelRequestError(
                f"{model.name} answered without calling the tool that it was given. Choose a model that supports tool "
                f"calling, and start its server so that it parses tool calls."
            )
        outcomes = [await tools.call(call, actor=_ACTOR, conversation=_CONVERSATION) for call in called.tool_calls]
        results = [each for each in outcomes if isinstance(each, ToolResult)]
        if not any(result.outcome == "ok" for result in results):
            raise ModelRequestError(f"{model.name} called the tool with arguments that it does not take.")
        told = [ToolMessage(call_id=result.call_id, text=result.text) for result in results]
        await _complete(model, offer, (asked, called, *told), deadline=started + TRIAL_S)
        seconds = asyncio.get_running_loop().time() - started
        return f"{model.name} called a tool and answered, {seconds:.1f} s in all."


async def _complete(model: Model, offer: Offer, messages: tuple[Message, ...], *, deadline: float) -> AssistantMessage:
    request = ModelRequest(system=_SYSTEM, messages=messages, tools=offer.tools)
    return (await model.complete(request, deadline=deadline, progress=lambda _: None)).message
