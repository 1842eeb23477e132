"""What `/tools` shows: the servers, their state and their tools."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from bot.domain.messages import ToolSpec
from bot.domain.people import Asker
from bot.domain.rights import Verdict
from bot.intake.commands.phrases import code, plain
from bot.ports.tools import ServerStatus, ToolDirectory

Prospect = Verdict | Literal["depends"]
# What the policy says of tools before their arguments are known, by their namespaced names.
Prospects = Callable[[Asker, Sequence[ToolSpec]], Awaitable[Mapping[str, Prospect]]]
_NOTHING: Mapping[str, str] = MappingProxyType({})
_PHRASES: Mapping[Prospect, str] = {
    "allow": "",
    "ask": " (asks first)",
    "depends": " (may ask first, depending on its arguments)",
    "deny": "",
}


async def describe_tools(
    tools: ToolDirectory,
    *,
    asker: Asker | None,
    word: str = "",
    refused: Mapping[str, str] = _NOTHING,
    prospects: Prospects | None = None,
) -> str:
    """Return Markdown on the servers and the tools that the asker may call, or only on tools that match `word`.

    With no asker, an operator asks, who sees all. `refused` are the tools that the model's endpoint does not take, by
    their namespaced names, with its reasons. With `prospects`, tools that ask first are marked, and those that are not
    for the asker here are named at the end.
    """
    offer = await tools.offer(None)
    known: Mapping[str, Prospect] = await prospects(asker, offer.tools) if prospects and asker else {}
    denied = [tool for tool in offer.tools if known.get(tool.name) == "deny"]
    wanted = [tool for tool in offer.tools if tool not in denied and matches(tool, word)]
    if word.strip() and not wanted:
        return f"No tool matches {code(word)}. `tools` without a word shows all of them."
    marks = {name: _PHRASES[prospect] for name, prospect in known.items()}
    paragraphs = [*_server_paragraphs(tools.status(), wanted, refused, marks, show_all=not word.strip())]
    if denied and not word.strip():
        paragraphs.append("**Not for you here**: " + ", ".join(code(f"{tool.server}/{tool.tool}") for tool in denied))
    return "\n\n".join([*paragraphs, *map(plain, offer.notes)]) or "No tool server is set up."


def matches(tool: ToolSpec, word: str) -> bool:
    """Return whether the word is in what people see of the tool."""
    return word.strip().casefold() in f"{tool.server} {tool.name} {tool.tool} {tool.description}".casefold()


def _server_paragraphs(
    statuses: Sequence[ServerStatus],
    tools: Sequence[ToolSpec],
    refused: Mapping[str, str],
    marks: Mapping[str, str],
    *,
    show_all: bool,
) -> Iterable[str]:
    for server in dict.fromkeys([*(status.server for status in statuses), *(tool.server for tool in tools)]):
        replicas = [status for status in statuses if status.server == server]
        offered = [tool for tool in tools if tool.server == server]
        if show_all or offered:
            heading = f"**{plain(server)}**: {'; '.join(map(_state, replicas)) or 'ready'}"
            lines = [_tool_line(tool, refused.get(tool.name), marks.get(tool.name, "")) for tool in offered]
            yield "\n".join([heading, "", *lines]).rstrip()


def _state(status: ServerStatus) -> str:
    return f"{status.state} ({plain(status.detail)})" if status.detail else status.state


def _tool_line(tool: ToolSpec, refusal: str | None, mark: str) -> str:
    if refusal is not None:
        return f"- {code(tool.tool)}: left out, because the model's endpoint does not take it ({plain(refusal)})"
    description = plain(_first_sentence(tool.description))
    return f"- {code(tool.tool)}{mark}: {description}" if description else f"- {code(tool.tool)}{mark}"


def _first_sentence(description: str) -> str:
    first_paragraph = description.strip().partition("\n\n")[0]
    return re.split(r"(?<=[.!?])\s", first_paragraph, maxsplit=1)[0]
