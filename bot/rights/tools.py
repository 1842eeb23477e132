"""The Tools port behind the policy: it offers only what may be called, and calls of unknown names reach no server."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult, ToolSpec
from bot.domain.people import Actor, Asker
from bot.domain.rights import Person, Verdict
from bot.ports.delegating_tools import DelegatingTools
from bot.ports.rights import People, Policy
from bot.ports.tools import READ_RESOURCE, Offer, Progress, Resumed, Tools, Wait
from bot.rights.facts import tool_of
from bot.rights.pinning import Pins


class GuardedTools(DelegatingTools):
    """Satisfies `Tools`; every call that comes here was judged by the guard."""

    def __init__(self, tools: Tools, *, policy: Callable[[], Policy], people: People, pins: Pins) -> None:
        super().__init__(tools)
        self._policy = policy
        self._people = people
        self._pins = pins
        self._known: dict[str, ToolSpec] = {}  # every tool that could be judged, by its namespaced name

    async def offer(self, asker: Asker | None) -> Offer:
        """Return what the asker may call where they ask, with their rights; with None, all. Pins what it sees."""
        offer = await self._tools.offer(asker)
        self._know(offer.tools)
        await self._pins.see(offer.tools)
        if asker is None:
            return offer
        person = await self._people.person(asker)
        policy = self._policy()
        if policy.may_write(person, asker.place) and not (person.unknown or person.problem):
            return replace(offer, tools=(), instructions=())  # also as suggestions: names of tools are nothing for them
        kept = [self._for(spec, person, asker.place, policy) for spec in offer.tools]
        tools = tuple(spec for spec in kept if spec is not None)
        servers = {spec.server for spec in tools}
        instructions = tuple(one for one in offer.instructions if one.server in servers)
        return replace(offer, tools=tools, instructions=instructions)

    async def prospects(self, asker: Asker, specs: Sequence[ToolSpec]) -> Mapping[str, Verdict | Literal["depends"]]:
        """Return what a call of each tool by the asker would be met with, by the tools' namespaced names."""
        person = await self._people.person(asker)
        policy = self._policy()
        found: dict[str, Verdict | Literal["depends"]] = {}
        for spec in specs:
            if spec.name == READ_RESOURCE:
                continue
            tool = tool_of(spec, None, change=await self._pins.change_of(spec))
            found[spec.name] = policy.prospect(person, asker.place, tool)
        return found

    async def find(self, name: str) -> ToolSpec | None:
        """Return the tool of that namespaced name, even if no one may call it; as it was last if its server is away."""
        offer = await self._tools.offer(None)
        self._know(offer.tools)
        return self._known.get(name)

    async def call(
        self,
        call: ToolCall,
        *,
        actor: Actor,
        conversation: ConversationKey,
        resumed: Resumed | None = None,
        progress: Progress | None = None,
        may_repeat: bool = True,
    ) -> ToolResult | Wait:
        """Pass the call on. One of an unknown name was not judged: it reaches no server."""
        if call.name not in self._known:
            return ToolResult(call_id=call.id, text=self.unknown(call.name), outcome="error")
        return await super().call(
            call, actor=actor, conversation=conversation, resumed=resumed, progress=progress, may_repeat=may_repeat
        )

    # --- what is offered ---

    def _know(self, tools: Sequence[ToolSpec]) -> None:
        self._known.update((spec.name, spec) for spec in tools)

    def _for(self, spec: ToolSpec, person: Person, place: str, policy: Policy) -> ToolSpec | None:
        """Return the tool as it is offered to the person there, None where no call of it would be allowed."""
        if spec.name != READ_RESOURCE:
            return spec if _is_offered(spec, None, person, place, policy) else None
        servers = _servers_of(spec)
        if not servers:
            return spec
        kept = [server for server in servers if _is_offered(spec, server, person, place, policy)]
        if not kept:
            return None
        return spec if kept == servers else _with_servers(spec, kept)

    def unknown(self, name: str) -> str:
        """Return what the model reads where there is no tool of that name."""
        for status in self._tools.status():
            if status.state != "ready" and name.startswith(f"{status.server}__"):
                return f"The tool server {status.server!r} is not ready. {status.detail}".strip()
        near = difflib.get_close_matches(name, self._known, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Use only the tools that are offered."
        return f"There is no tool of the name {name!r}. {hint}"


def _is_offered(spec: ToolSpec, server: str | None, person: Person, place: str, policy: Policy) -> bool:
    tool = tool_of(spec, None if server is None else {"server": server})
    return policy.prospect(person, place, tool) != "deny"


def _servers_of(spec: ToolSpec) -> list[str]:
    """Return the servers whose resources can be read, where the tool names them."""
    properties = cast("Mapping[str, Any]", spec.parameters.get("properties", {}))
    return list(properties.get("server", {}).get("enum", ()))


def _with_servers(spec: ToolSpec, servers: Sequence[str]) -> ToolSpec:
    properties = cast("Mapping[str, Any]", spec.parameters["properties"])
    server = {**properties["server"], "enum": list(servers)}
    return replace(spec, parameters={**spec.parameters, "properties": {**properties, "server": server}})
