"""The tools as they are sent: fitted to what endpoints take, and without those that this endpoint refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from cachetools import LRUCache

from bot.domain.messages import ToolSpec
from bot.models.refusals import Refusal
from bot.models.rendering import clip_words
from bot.models.schemas import fit_schema
from bot.text.marks import unmarked
from bot.text.redaction import hide_known

# https://developers.openai.com/api/reference/resources/chat: at most 128 tools, descriptions of 1,024 characters (that
# page does not name the latter; the refusal does: https://github.com/langchain-ai/open_deep_research/issues/80)
MAX_TOOLS = 128
MAX_DESCRIPTION_CHARS = 1024
_CUT_MARK = " [cut]"
_CACHED = 2_048
# Gemini counts the functions of its only tool; Anthropic and Bedrock write `tools.3`.
_INDICES = (re.compile(r"function_declarations\[(\d{1,4})\]"), re.compile(r"\btools(?:\.|\[)(\d{1,4})\b"))
_log = structlog.stdlib.get_logger(__name__)


def choose_tools(tools: Sequence[ToolSpec]) -> Sequence[ToolSpec]:
    """Return the tools that one request takes, in their order."""
    return tools[:MAX_TOOLS]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedTool:
    """A tool that the endpoint did not take, with its reason."""

    spec: ToolSpec
    reason: str  # one short line in the endpoint's words, without secrets


class ToolFitter:
    """Fits tools, each once: schemas are large, and the same ones go with every request."""

    def __init__(self) -> None:
        # Under the identity of the tool as it was offered, which the cache keeps alive, so no other can have it.
        self._fitted: LRUCache[int, tuple[ToolSpec, ToolSpec]] = LRUCache(maxsize=_CACHED)

    def fit(self, tools: Iterable[ToolSpec]) -> tuple[ToolSpec, ...]:
        """Return the tools with descriptions and schemas that OpenAI and Azure take; equal tools are fitted alike."""
        return tuple(self._fit(tool) for tool in tools)

    def _fit(self, tool: ToolSpec) -> ToolSpec:
        known = self._fitted.get(id(tool))
        if known is None:
            known = self._fitted[id(tool)] = (tool, fit_tool(tool))
        return known[1]


def fit_tool(tool: ToolSpec) -> ToolSpec:
    """Return the tool with a description and a schema that OpenAI and Azure take."""
    description = clip_words(hide_known(unmarked(tool.description)), max_chars=MAX_DESCRIPTION_CHARS, mark=_CUT_MARK)
    return ToolSpec(
        name=tool.name,
        server=tool.server,
        tool=tool.tool,
        description=description,
        parameters=fit_schema(tool.parameters),
        is_repeatable=tool.is_repeatable,
    )


class Offering:
    """The tools that an endpoint is sent; it remembers those that it refused, for as long as they stay the same."""

    def __init__(self) -> None:
        self._fitter = ToolFitter()
        self._refused: dict[str, RefusedTool] = {}

    @property
    def refused(self) -> Mapping[str, str]:
        """The names of the tools that the endpoint refused, each with its reason."""
        return {name: refused.reason for name, refused in self._refused.items()}

    def offer(self, tools: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
        """Return the tools to send."""
        taken = [tool for tool in tools if not self._is_refused(tool)] if self._refused else tools
        return self._fitter.fit(choose_tools(taken))

    def drop(self, refusal: Refusal, *, sent: Sequence[ToolSpec], tools: Iterable[ToolSpec], reason: str) -> str | None:
        """Leave out the tool that the refusal is about, and return its name; None where it names none of them.

        `sent` are the tools that were refused, in their order: other conversations may have learnt of one meanwhile.
        """
        named = named_tool(refusal, sent)
        tool = next((tool for tool in tools if named is not None and tool.name == named.name), None)
        if tool is None:
            return None
        self.leave_out(tool, code=refusal.code, reason=reason)
        return tool.name

    def leave_out(self, tool: ToolSpec, *, code: str, reason: str) -> None:
        """Leave out this tool, as it was offered, from now on."""
        self._refused[tool.name] = RefusedTool(spec=tool, reason=reason)
        _log.warning("model_tool_refused", tool=tool.name, code=code)

    def _is_refused(self, tool: ToolSpec) -> bool:
        refused = self._refused.get(tool.name)
        return refused is not None and (refused.spec is tool or refused.spec == tool)


def named_tool(refusal: Refusal, tools: Sequence[ToolSpec]) -> ToolSpec | None:
    """Return the tool that a refusal names, by `tools[N]` or by its name."""
    if refusal.status not in (0, 400, 404, 422, 500) or refusal.is_filtered or refusal.is_too_long:
        return None
    if refusal.param.startswith(("messages", "input")):  # about a call in the history
        return None
    for index in _INDICES:
        found = index.search(refusal.param) or index.search(refusal.message)
        if found and int(found[1]) < len(tools):
            return tools[int(found[1])]
    said = set(re.findall(r"[a-zA-Z0-9_-]+", refusal.message))
    named = [tool for tool in tools if tool.name in said]
    return named[0] if len(named) == 1 else None
