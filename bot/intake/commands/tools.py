"""What `/tools` shows: the servers, their state and their tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from bot.domain.messages import ToolSpec
from bot.domain.people import Asker
from bot.intake.commands.phrases import code, plain
from bot.ports.tools import ServerStatus, ToolDirectory


async def describe_tools(
    tools: ToolDirectory, *, asker: Asker | None, word: str = "", refused: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return Markdown on the servers and the tools that the asker may call, or only on tools that match `word`.

    With no asker, an operator asks, who sees all. `refused` are the tools that the model's endpoint does not take, by
    their namespaced names, with its reasons.
    """
    offer = await tools.offer(asker)
    wanted = [tool for tool in offer.tools if _matches(tool, word)]
    if word.strip() and not wanted:
        return f"No tool matches {code(word)}. `tools` without a word shows all of them."
    paragraphs = _server_paragraphs(tools.status(), wanted, refused, show_all=not word.strip())
    return "\n\n".join([*paragraphs, *map(plain, offer.notes)]) or "No tool server is set up."


def _matches(tool: ToolSpec, word: str) -> bool:
    return word.strip().casefold() in f"{tool.server} {tool.name} {tool.tool} {tool.description}".casefold()


def _server_paragraphs(
    statuses: Sequence[ServerStatus], tools: Sequence[ToolSpec], refused: Mapping[str, str], *, show_all: bool
) -> Iterable[str]:
    for server in dict.fromkeys([*(status.server for status in statuses), *(tool.server for tool in tools)]):
        replicas = [status for status in statuses if status.server == server]
        offered = [tool for tool in tools if tool.server == server]
        if show_all or offered:
            heading = f"**{plain(server)}**: {'; '.join(map(_state, replicas)) or 'ready'}"
            yield "\n".join([heading, "", *(_tool_line(tool, refused.get(tool.name)) for tool in offered)]).rstrip()


def _state(status: ServerStatus) -> str:
    return f"{status.state} ({plain(status.detail)})" if status.detail else status.state


def _tool_line(tool: ToolSpec, refusal: str | None) -> str:
    if refusal is not None:
        return f"- {code(tool.tool)}: left out, because the model's endpoint does not take it ({plain(refusal)})"
    description = plain(_first_sentence(tool.description))
    return f"- {code(tool.tool)}: {description}" if description else f"- {code(tool.tool)}"


def _first_sentence(description: str) -> str:
    first_paragraph = description.strip().partition("\n\n")[0]
    return re.split(r"(?<=[.!?])\s", first_paragraph, maxsplit=1)[0]
