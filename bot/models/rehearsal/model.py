"""The rehearsal model behind the Model port: it answers in process, by the rules, and is reached by no network."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace

from bot.domain.messages import AssistantMessage, Message, ModelAnswer, ToolCall, UserMessage
from bot.domain.turns import TextArrived
from bot.models.chat_completions import render_messages, render_tool
from bot.models.rehearsal.rules import Answer, Call, answer
from bot.models.rehearsal.summary import sum_up
from bot.models.rehearsal.usage import PromptCache, count_tokens
from bot.models.rendering import render_question
from bot.ports.model import ModelProgressSink, ModelRequest
from bot.text.cleaning import strip_surrogates

NAME = "rehearsal"
_WORDS = re.compile(r"\s*(?:\S+\s*){1,3}|\s+")


class RehearsalModel:
    """Fixed rules instead of an AI, to try the tools out."""

    def __init__(self) -> None:
        self._prompts = PromptCache()

    @property
    def name(self) -> str:
        """The name that people see."""
        return NAME

    @property
    def refused_tools(self) -> Mapping[str, str]:
        """It takes every tool."""
        return {}

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the answer at once; its text is reported in groups of words, as an endpoint streams it."""
        reply = _reply(request)
        calls = tuple(as_tool_call(call) for call in reply.calls)
        text = strip_surrogates(reply.text)
        for piece in word_groups(text):
            progress(TextArrived(text=piece))
            await asyncio.sleep(0)  # other turns go on meanwhile, and a stop takes effect
        output_tokens = count_tokens(text) + sum(count_tokens(call.name + call.arguments) for call in calls)
        usage = self._prompts.usage(_prompt(request), output_tokens=output_tokens)
        return ModelAnswer(message=AssistantMessage(text=text, tool_calls=calls), usage=usage)


def _reply(request: ModelRequest) -> Answer:
    if request.purpose == "summary":
        return Answer(text=sum_up(request.messages[-1].text))
    tools = request.tools if request.may_call_tools else ()
    return answer([_as_sent(message) for message in request.messages], tools)


def as_tool_call(call: Call) -> ToolCall:
    """Return the call with its arguments as JSON, under a new id."""
    arguments = strip_surrogates(json.dumps(call.arguments, ensure_ascii=False))
    return ToolCall(id=f"call_{uuid.uuid4().hex[:24]}", name=call.name, arguments=arguments)


def word_groups(text: str) -> list[str]:
    """Split a text into groups of words; joined, they are the text."""
    return _WORDS.findall(text)


def _as_sent(message: Message) -> Message:
    """Return the message as an endpoint would get it: with who wrote it in the text."""
    if isinstance(message, UserMessage):
        return replace(message, text=render_question(message), speaker=None, context="", attached="")
    return message


def _prompt(request: ModelRequest) -> str:
    """Return what an endpoint would count: the tools, which come first in a prompt cache, and the messages."""
    messages = tuple(
        replace(message, images=()) if isinstance(message, UserMessage) else message for message in request.messages
    )
    parts = [render_tool(tool) for tool in request.tools] + render_messages(replace(request, messages=messages))
    return "".join(f"{json.dumps(part)}\n" for part in parts)
