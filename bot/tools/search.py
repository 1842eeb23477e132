"""Which of thousands of tools a text may mean: by the words of their names, servers, descriptions and arguments."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from sqlite3 import Connection
from typing import Any, cast

from bot.domain.messages import ToolSpec
from bot.text.cleaning import strip_surrogates
from bot.text.words import words
from bot.tools.ranking import Row, connect, open_ranking

_MAX_QUERY_WORDS = 64
_MAX_TEXT_CHARS = 4_000  # of a question that may name tools
_MAX_DESCRIPTION_CHARS = 4_000  # some servers send whole manuals; what a tool does is said at their beginning
_MAX_ARGUMENTS = 200


class ToolIndex:
    """Some tools, ready to be searched. It may be built in one thread and used in another, not in two at once."""

    def __init__(self, tools: Sequence[ToolSpec], *, connect: Callable[[], Connection] = connect) -> None:
        self._tools = tools
        self._named: defaultdict[frozenset[str], list[int]] = defaultdict(list)  # by the words of their names
        self._begins: defaultdict[str, list[tuple[Sequence[str], int]]] = defaultdict(list)  # by their first words
        self._servers: defaultdict[str, list[tuple[Sequence[str], str]]] = defaultdict(list)  # likewise
        self._ranking = open_ranking([self._row(number, tool) for number, tool in enumerate(tools)], connect=connect)

    def close(self) -> None:
        """Free its memory."""
        self._ranking.close()

    def search(self, query: str, *, limit: int) -> Sequence[ToolSpec]:
        """Return up to `limit` tools that share a word with the query, the best first.

        Those that it names exactly come before all others, so each tool is found by its name.
        """
        name, asked = query.strip(), words(query)
        exact = [number for number, tool in enumerate(self._tools) if tool.name == name]
        exact += [number for number, tool in enumerate(self._tools) if tool.tool == name]
        ranked = chain(exact, self._named.get(frozenset(asked), ()), self._ranked(asked, limit=limit))
        return [self._tools[number] for number in islice(dict.fromkeys(ranked), limit)]

    def named(self, text: str, *, limit: int) -> Sequence[ToolSpec]:
        """Return up to `limit` tools whose names the text contains, and of servers that it names what fits it best."""
        said = words(text[:_MAX_TEXT_CHARS])
        found = [
            (len(name), number)
            for at, word in enumerate(said)
            for name, number in self._begins.get(word, ())
            if said[at : at + len(name)] == name
        ]
        tools = [number for _, number in sorted(found, key=lambda one: -one[0])]  # longer names leave less doubt
        servers = dict.fromkeys(
            server
            for at, word in enumerate(said)
            for name, server in self._servers.get(word, ())
            if said[at : at + len(name)] == name
        )
        of_servers = chain.from_iterable(self._ranked(said, limit=limit, server=server) for server in servers)
        return [self._tools[number] for number in islice(dict.fromkeys(chain(tools, of_servers)), limit)]

    def _ranked(self, asked: Sequence[str], *, limit: int, server: str | None = None) -> Iterable[int]:
        return self._ranking.best(list(dict.fromkeys(asked))[:_MAX_QUERY_WORDS], limit=limit, server=server)

    def _row(self, number: int, tool: ToolSpec) -> Row:
        name, server = words(tool.tool), words(tool.server)
        for known_as in {frozenset(name), frozenset([*server, *name])}:
            self._named[known_as].append(number)
        if name:
            self._begins[name[0]].append((name, number))
        exact_server = strip_surrogates(tool.server)
        if server and (server, exact_server) not in self._servers[server[0]]:
            self._servers[server[0]].append((server, exact_server))
        description = words(tool.description[:_MAX_DESCRIPTION_CHARS])
        parts = (name, server, description, words(" ".join(_said_of_arguments(tool.parameters))))
        return Row(number=number, parts=parts, server=exact_server)


def _said_of_arguments(schema: Mapping[str, Any]) -> Iterable[str]:
    """Yield names and descriptions of the arguments; whatever else a schema holds is passed over."""
    properties: object = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    for name, argument in islice(cast("Mapping[object, object]", properties).items(), _MAX_ARGUMENTS):
        yield str(name)
        if isinstance(argument, Mapping):
            description = cast("Mapping[str, object]", argument).get("description")
            if isinstance(description, str):
                yield description[:_MAX_DESCRIPTION_CHARS]


class ToolSearch:
    """Searches whatever tools it is given; the index of the last ones is kept."""

    def __init__(self) -> None:
        self._among: tuple[ToolSpec, ...] = ()
        self._index: ToolIndex | None = None
        self._building = asyncio.Lock()

    async def search(self, query: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        """See `bot.ports.tools.Tools`."""
        return (await self._of(among)).search(query, limit=limit)

    async def named(self, text: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        """See `bot.ports.tools.Tools`."""
        return (await self._of(among)).named(text, limit=limit)

    async def _of(self, among: tuple[ToolSpec, ...]) -> ToolIndex:
        async with self._building:
            if self._index is None or among != self._among:  # compares the same objects, which is quick
                self.close()
                self._index = await asyncio.to_thread(ToolIndex, among)  # other turns go on meanwhile
                self._among = among
            return self._index

    def close(self) -> None:
        """Free the index."""
        if self._index is not None:
            self._index.close()
        self._index = None
