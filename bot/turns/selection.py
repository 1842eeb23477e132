"""Which tools a turn's requests carry: all, or where they are too many, some of them and `find_tools` for the others.

The list grows at its end and is kept for the conversation, so prompt caches keep what comes before its end.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import cast

from bot.domain.messages import AssistantMessage, Message, ToolCall, ToolResult, ToolSpec
from bot.ports.conversation_store import ToolMemory
from bot.ports.tools import READ_RESOURCE, Offer, Tools
from bot.ports.work_store import ToolUse
from bot.text.cleaning import strip_surrogates
from bot.text.redaction import hide_known
from bot.text.split import cut
from bot.turns.context import TOKENS_A_MESSAGE, Window

FIND_TOOLS = "find_tools"  # no server's tool has this name: theirs begin with the server's and two underscores
MAX_TOOLS = 64  # in one request
TOOLS_SHARE = 0.1  # of the window, at most, for the definitions of tools
BASE_TOOLS = 24  # the most used ones, with which a conversation begins
NEWEST_TOOLS = 24  # are kept when the list has grown too long
BASE_SHARE = 0.05  # of the window, for the ones and for the others
MAX_FOUND = 8  # become part of the list after one search
MAX_NAMED = 8  # of those that a question names
MAX_ALSO = 40  # further matches, of which only the names are given
MAX_DESCRIPTION_CHARS = 1_000  # OpenAI takes 1,024
_LINE_CHARS = 300
_SERVER_CHARS = 60
_FOUND = re.compile(r"^- ([a-zA-Z0-9_-]{1,64}): ", re.MULTILINE)


class Selection:
    """The tools of one turn's requests; without an offer, none."""

    def __init__(self, offer: Offer, *, window: Window) -> None:
        self._offer = offer
        self._specs = {tool.name: tool for tool in offer.tools}
        self._window = window
        self._sizes: dict[str, int] = {}
        self._names: list[str] = []
        self._memory = ToolMemory()
        self._own: dict[str, ToolSpec] = {}  # the bot's own tools, where they come before all others
        if self._is_too_much(self._specs):
            self._become_part()

    @property
    def is_part(self) -> bool:
        """Whether there are tools that are not in the list."""
        return bool(self._own)

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """The tools to send, in order."""
        if not self.is_part:
            return self._offer.tools
        return (*self._own.values(), *(self._specs[name] for name in self._names if name in self._specs))

    @property
    def tokens(self) -> int:
        """About how many tokens the definitions take in a request."""
        return self._size([*self._own, *self._names] if self.is_part else self._specs)

    def find(self, name: str) -> ToolSpec | None:
        """Return the tool of that name, whether it is in the list or not."""
        return self._own.get(name) or self._specs.get(name)

    def begin(self, memory: ToolMemory) -> None:
        """Begin with the conversation's list, or where it has none yet, with the most used tools."""
        self._memory = memory
        self._names = list(memory.sent) or self._base(())
        self._keep_within(())

    def add(self, names: Iterable[str]) -> None:
        """Add tools at the end of the list; where it gets too long, it is rebuilt from the most used and the newest.

        A name that is not one of the offered tools, or that is in the list already, changes nothing.
        """
        wanted = [name for name in dict.fromkeys(names) if name in self._specs]
        new = [name for name in wanted if name not in self._names]
        if not new or not self.is_part:
            return
        self._names += new
        self._keep_within(wanted)

    def fit(self) -> bool:
        """Keep to the window, which an endpoint may have named; return whether the list takes less room now."""
        before = self.tokens
        if self.is_part:
            self._keep_within(())
        elif self._is_too_much(self._specs):
            self._become_part()
            self._names = self._base(())
        return self.tokens < before

    def use(self, messages: Sequence[Message]) -> ToolUse:
        """Return what the store is to remember of a turn that led to these messages."""
        called = Counter(
            call.name
            for message in messages
            if isinstance(message, AssistantMessage)
            for call in message.tool_calls
            if call.name in self._specs
        )
        is_new = self.is_part and tuple(self._names) != tuple(self._memory.sent)
        return ToolUse(called=called, sent=tuple(self._names) if is_new else None)

    async def search(self, call: ToolCall, tools: Tools) -> ToolResult:
        """Run a call of `find_tools`."""
        query = _query(call.arguments)
        if query is None:
            text = 'Send one JSON object with the words to look for: {"query": "create invoice"}.'
            return ToolResult(call_id=call.id, text=text, outcome="error")
        found = await tools.search(query, among=self._offer.tools, limit=MAX_FOUND + MAX_ALSO)
        return ToolResult(call_id=call.id, text=hide_known(strip_surrogates(_describe(found, self._offer.tools))))

    def learn(self, call: ToolCall, result: ToolResult) -> None:
        """Add what a call has brought up: the tools that it found, or the one that was called without being listed."""
        if call.name == FIND_TOOLS:
            self.add(_FOUND.findall(result.text))
        else:
            self.add([call.name])

    def _become_part(self) -> None:
        self._own[FIND_TOOLS] = find_tools_spec(self._offer.tools)
        if (reads := self._specs.pop(READ_RESOURCE, None)) is not None:
            self._own[READ_RESOURCE] = reads

    # --- room ---

    def _is_too_much(self, names: Collection[str]) -> bool:
        return len(names) > MAX_TOOLS or self._size(names) > self._max_tokens

    def _keep_within(self, wanted: Sequence[str]) -> None:
        """Rebuild the list where it has grown too long, with all that is wanted now."""
        if self._is_too_much([*self._own, *self._names]):
            newest = self._newest(wanted)
            self._names = [*self._base(newest), *newest]

    @property
    def _max_tokens(self) -> int:
        return int(self._window.max_tokens * TOOLS_SHARE)

    def _base(self, besides: Sequence[str]) -> list[str]:
        """Return the most used tools for which there is room, in the order of the offer."""
        by_use = (name for name in dict.fromkeys([*self._memory.most_used, *self._specs]) if name in self._specs)
        wanted = islice((name for name in by_use if name not in besides), BASE_TOOLS)
        chosen = set(self._fitting(wanted, max_tokens=int(self._window.max_tokens * BASE_SHARE)))
        return [name for name in self._specs if name in chosen]

    def _newest(self, wanted: Sequence[str]) -> list[str]:
        """Return the end of the list with all that is wanted now, and of the others as many as leave room for more."""
        others = [name for name in reversed(self._names) if name in self._specs and name not in wanted]
        room = int(self._window.max_tokens * BASE_SHARE) - self._size(wanted)
        kept = self._fitting(others[: max(0, NEWEST_TOOLS - len(wanted))], max_tokens=room)
        return [*reversed(kept), *wanted]

    def _fitting(self, names: Iterable[str], *, max_tokens: int) -> list[str]:
        kept: list[str] = []
        for name in names:
            if (size := self._size([name])) <= max_tokens:
                max_tokens -= size
                kept.append(name)
        return kept

    def _size(self, names: Iterable[str]) -> int:
        total = 0
        for name in names:
            if (tool := self.find(name)) is not None:
                if name not in self._sizes:
                    self._sizes[name] = self._count(tool)
                total += self._sizes[name]
        return total

    def _count(self, tool: ToolSpec) -> int:
        definition = f"{tool.name} {tool.description} {json.dumps(tool.parameters)}"
        return TOKENS_A_MESSAGE + self._window.count(definition)


def find_tools_spec(tools: Sequence[ToolSpec]) -> ToolSpec:
    """Return the tool that finds others; its description says how many there are and where."""
    servers = Counter(tool.server for tool in tools)
    begin = (
        f"Find tools by words. You see only some of {len(tools):,} tools: before you say that something cannot be "
        "done, look here. What is found can be called at once and stays in your list. Query with words of what the "
        "tool does, its name, its arguments or its server. Servers with their number of tools: "
    )
    return ToolSpec(
        name=FIND_TOOLS,
        server="",
        tool=FIND_TOOLS,
        description=strip_surrogates(begin + _counted(servers, max_chars=MAX_DESCRIPTION_CHARS - len(begin))),
        parameters={
            "type": "object",
            "properties": {"query": {"type": "string", "description": "For example: create invoice for a customer"}},
            "required": ["query"],
        },
        is_repeatable=True,
    )


def _counted(servers: Counter[str], *, max_chars: int) -> str:
    """Return the servers with their numbers; where not all have room, the last words count the others."""
    said, room = list[str](), max_chars - len(", and 10,000 more servers.")
    for server, count in servers.items():
        part = f"{cut(server, _SERVER_CHARS)} {count:,}"
        room -= len(part) + 2
        if room < 0:
            return f"{', '.join(said)}, and {len(servers) - len(said):,} more servers."
        said.append(part)
    return f"{', '.join(said)}."


def _query(arguments: str) -> str | None:
    try:
        sent: object = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None
    query = cast("dict[str, object]", sent).get("query") if isinstance(sent, dict) else None
    return query if isinstance(query, str) and query.strip() else None


def _describe(found: Sequence[ToolSpec], tools: Sequence[ToolSpec]) -> str:
    """Return what the model reads of a search; `Selection.learn` reads the names in it, after a restart too."""
    if not found:
        servers = _counted(Counter(tool.server for tool in tools), max_chars=MAX_DESCRIPTION_CHARS)
        return f"None of the {len(tools):,} tools matches. Try other words, or the name of a server: {servers}"
    lines = [f"- {tool.name}: {cut(_summary(tool), _LINE_CHARS)}" for tool in found[:MAX_FOUND]]
    text = "\n".join(["These tools match best and can be called now:", *lines])
    if also := [tool.name for tool in found[MAX_FOUND:]]:
        more = " and perhaps more" if len(also) == MAX_ALSO else ""
        text += f"\nThese{more} match too; search for one by its name to see it: {', '.join(also)}"
    return text


def _summary(tool: ToolSpec) -> str:
    properties: object = tool.parameters.get("properties")
    names = [str(name) for name in cast("dict[object, object]", properties)] if isinstance(properties, dict) else []
    return f"({', '.join(names)[:100]}) {tool.description}"
