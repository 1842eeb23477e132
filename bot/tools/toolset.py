"""All tool servers together: the Tools port."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import structlog
from mcp import types

from bot.domain.answers import Example
from bot.domain.asks import FormAsk, LinkAsk
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult, ToolSpec
from bot.domain.people import Actor, Asker
from bot.ports.store import NoteStore
from bot.ports.tools import Offer, Progress, Resumed, ServerStatus, Wait
from bot.text.arguments import parse_arguments
from bot.text.cleaning import strip_surrogates
from bot.tools.catalog import Catalog, Listing, tool_name
from bot.tools.config import ServerConfig
from bot.tools.conversation_ids import ConversationIds
from bot.tools.inquiries import FORM_OUTCOMES, Pending, links_first, next_round, read_pending, result_of
from bot.tools.live_calls import LiveCalls
from bot.tools.remarks import instructions_of, missing_notes
from bot.tools.resources import READ_RESOURCE, parse_reading, read_resource_spec
from bot.tools.results import read_result
from bot.tools.search import ToolSearch
from bot.tools.servers.calls import RESOURCE
from bot.tools.servers.calls import Outcome as Answer
from bot.tools.servers.errors import CallError, CallLostError, CallRefusedError, CallUnsentError, LinksNeededError
from bot.tools.servers.live import LiveCall
from bot.tools.servers.server import Server
from bot.tools.servers.timing import StateChanges, Timing

log = structlog.get_logger(__name__)

_ROUND_PAUSE_S = 0.05  # before a call that needs no answer of a person is sent again
VOID = (
    "Interrupted: the bot was restarted while the tool waited for an answer, so the form is void. The tool may have "
    "run, its outcome is unknown, and it was not run again. Tell the user, and do not call it again without being "
    "asked to."
)
ENDED = "Stopped while the tool waited for an answer. It may have done a part of its work."
UNOPENED = "The page that the tool needs was not opened, so it did not run."


class Toolset:
    """All servers. Their connections live inside `async with`; each starts when it is first needed.

    `notes` keep, over restarts, in which way each server is to be spoken to.
    """

    def __init__(
        self,
        servers: Sequence[ServerConfig],
        *,
        timing: Timing | None = None,
        offer_wait_s: float = 5.0,
        notes: NoteStore | None = None,
        ids: ConversationIds | None = None,
    ) -> None:
        timing = timing or Timing()
        self._changes = StateChanges()
        self._servers = {
            config.name: Server(config, timing=timing, changes=self._changes, notes=notes) for config in servers
        }
        self._offer_wait_s = offer_wait_s
        self._owners = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._context = contextvars.Context()
        self._catalog = Catalog(())
        self._cataloged: tuple[object, ...] = ()
        self._search = ToolSearch()
        self._live = LiveCalls(self._owners)
        self._ids = ids or ConversationIds()

    async def __aenter__(self) -> Self:
        await self._owners.__aenter__()
        self._context = contextvars.copy_context()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            server.stop()
        self._live.close()
        for task in self._tasks:
            task.cancel()
        await self._owners.__aexit__(None, None, None)  # waits until all processes are gone
        self._search.close()

    def warm_up(self) -> None:
        """Start all servers and return at once."""
        if self._tasks:
            return
        for server in self._servers.values():
            for replica in server.replicas:
                # Not in the context of the first caller, whose log fields are not the server's.
                context = self._context.copy()
                self._tasks.append(self._owners.create_task(replica.run(), name="tool-server", context=context))

    async def settle(
        self, *, timeout_s: float, tell: Callable[[Sequence[ServerStatus]], None], every_s: float = 5.0
    ) -> None:
        """Start all servers and wait, up to the time, until each is ready or has failed.

        `tell` gets those that are still starting, every few seconds.
        """
        self.warm_up()
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        while (left_s := give_up_at - loop.time()) > 0:
            if await self._changes.wait_for(self._is_settled, timeout_s=min(every_s, left_s)):
                return
            tell([status for status in self.status() if status.state in ("idle", "starting")])

    async def offer(self, asker: Asker | None) -> Offer:
        """Return what can be called now, the same for everyone; waits a few seconds for servers that start."""
        await self._reach()
        offered = {name for name, server in self._servers.items() if server.is_offered}
        notes: list[str] = []
        for name, server in self._servers.items():
            notes += missing_notes(server) if name in offered else [f"Server {name!r} is not ready: {server.reason}."]
        offer = self._known().offer(offered, notes=notes)
        linked = [name for name in self._with_resources() if name in offered]
        if linked:
            offer = replace(offer, tools=(*offer.tools, read_resource_spec(linked, trusted=self._trusted(linked))))
        instructions = instructions_of([server for name, server in self._servers.items() if name in offered])
        return replace(offer, instructions=instructions)

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
        """Run one call; any failure but cancellation is a result that the model can read.

        A call that broke off is sent once more only where its tool is repeatable. What its server asks (a form, a link)
        is a `Wait`; with `resumed` the call goes on, unless the outcome is none of a form's ("stopped"): then it ends.
        """
        started_at = time.monotonic()
        live = LiveCall(
            asker=(str(actor), conversation),
            conversation_id=self._ids.of(conversation),
            former_id=conversation.opaque_id,
            progress=progress or _ignore,
            may_repeat=may_repeat,
        )
        if resumed is not None and isinstance(resumed.wait.ask, FormAsk | LinkAsk):
            outcome = await self._resume(call, resumed, live)
        else:
            outcome = await self._live.run(call.id, live, self._outcome(call, live))
        if isinstance(outcome, Wait):
            return outcome
        return replace(outcome, text=strip_surrogates(outcome.text), seconds=time.monotonic() - started_at)

    def newest(self, name: str) -> ToolSpec | None:
        """See `Tools`; the tool that reads resources is no server's, and is not found."""
        return self._known().find(name)

    async def search(self, query: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        """Return the tools that share a word with the query, the best first."""
        return await self._search.search(query, among=among, limit=limit)

    async def named(self, text: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        """Return the tools that the text names, and of servers that it names what fits best."""
        return await self._search.named(text, among=among, limit=limit)

    async def examples(self) -> Sequence[Example]:
        """Return the prompts of all ready servers that need no arguments, in the order of the configuration."""
        await self._reach()
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(server.examples()) for server in self._servers.values()]
        return [example for task in asked for example in task.result()]

    def status(self) -> Sequence[ServerStatus]:
        """Return the state of every replica, in the order of the configuration."""
        return [status for server in self._servers.values() for status in server.status()]

    async def _reach(self) -> None:
        self.warm_up()
        for server in self._servers.values():
            server.retry_soon()
        await self._changes.wait_for(self._is_settled, timeout_s=self._offer_wait_s)

    def _is_settled(self) -> bool:
        return all(server.is_settled for server in self._servers.values())

    def _known(self) -> Catalog:
        listings = [Listing(server=server.config, tools=server.listed.tools) for server in self._servers.values()]
        known = tuple(listing.tools for listing in listings)
        if known != self._cataloged:
            self._catalog, self._cataloged = Catalog(listings), known
        return self._catalog

    async def _resume(self, call: ToolCall, resumed: Resumed, live: LiveCall) -> ToolResult | Wait:
        pending, decision = read_pending(resumed.wait.state), resumed.decision
        inquiry = None if pending is None else pending.open
        if pending is None or inquiry is None:
            return ToolResult(call_id=call.id, text=VOID, outcome="interrupted")
        if decision.outcome not in FORM_OUTCOMES:
            await self._live.end(pending)
            return ToolResult(call_id=call.id, text=ENDED, outcome="stopped")
        server = self._servers.get(pending.server)
        is_complete = server is not None and server.is_complete(inquiry.elicitation_id)
        result = result_of(decision, inquiry, is_complete=is_complete)
        if pending.kind == "live":
            outcome = await self._live.resume(pending, result, progress=live.progress)
            return outcome or ToolResult(call_id=call.id, text=VOID, outcome="interrupted")
        pending = pending.answered(inquiry.key, result)
        if (wait := pending.wait()) is not None:
            return wait
        if pending.kind == "again" and not pending.is_accepted:
            return ToolResult(call_id=call.id, text=UNOPENED, outcome="denied")
        live.replica, live.answers, live.notes = pending.replica, pending.to_send(), list(pending.notes)
        return await self._live.run(call.id, live, self._outcome(call, live, pending))

    async def _outcome(self, call: ToolCall, live: LiveCall, before: Pending | None = None) -> ToolResult | Wait:
        try:
            outcome = await self._run(call, live, before)
        except CallRefusedError as error:
            outcome = ToolResult(call_id=call.id, text=str(error), outcome=error.outcome)
            if before is not None and before.process != live.process:  # what it asked, another process asked
                outcome = ToolResult(call_id=call.id, text=VOID, outcome="interrupted")
        except CallError as error:
            outcome = ToolResult(call_id=call.id, text=str(error), outcome=error.outcome)
        except Exception:  # one call is isolated from the others of its turn
            log.exception("tool_call_failed", tool=call.name, call_id=call.id)
            outcome = ToolResult(call_id=call.id, text="The bot itself failed at this call.", outcome="error")
        if isinstance(outcome, Wait) or not live.notes:
            return outcome
        return replace(outcome, text="\n\n".join([outcome.text, *dict.fromkeys(live.notes)]))

    async def _run(self, call: ToolCall, live: LiveCall, before: Pending | None) -> ToolResult | Wait:
        name, tool, arguments, is_repeatable = await self._target(call)
        live.server, live.tool = name, READ_RESOURCE if tool == RESOURCE else tool
        pending = before or Pending(kind="round", server=name, tool=live.tool)

        def send() -> Awaitable[Answer]:
            return self._servers[name].call(tool, arguments, live)

        while True:
            try:
                answer = await _sent(
                    send, may_repeat=lambda: is_repeatable and live.may_repeat and not live.question_count
                )
            except LinksNeededError as error:
                pending = links_first(error.links, replace(pending, process=live.process))
            else:
                if isinstance(answer, types.CallToolResult):
                    return await read_result(call.id, answer)
                pending = next_round(answer, replace(pending, replica=live.replica, process=live.process))
            live.notes += [note for note in pending.notes if note not in live.notes]
            if (wait := replace(pending, notes=tuple(live.notes)).wait()) is not None:
                return wait
            if pending.kind == "again" and not pending.is_accepted:
                return ToolResult(call_id=call.id, text=UNOPENED, outcome="denied")
            live.answers = pending.to_send()
            await asyncio.sleep(_ROUND_PAUSE_S)

    async def _target(self, call: ToolCall) -> tuple[str, str, dict[str, Any], bool]:
        if call.name == READ_RESOURCE:
            asked = arguments_to_send(call.arguments)
            name, uri = parse_reading(asked, servers=self._with_resources())
            return name, RESOURCE, {"uri": uri}, True
        spec = await self._find(call.name)
        return spec.server, spec.tool, arguments_to_send(call.arguments), spec.is_repeatable

    def _trusted(self, names: Sequence[str]) -> list[str]:
        configs = [self._servers[name].config for name in names]
        return [config.name for config in configs if config.trusted or config.is_bundled]

    def _with_resources(self) -> list[str]:
        """Return the servers whose resources the operator allows to be read, as if that were one of their tools."""
        servers = self._servers.items()
        return [name for name, server in servers if server.has_resources and server.config.offers(READ_RESOURCE)]

    async def _find(self, name: str) -> ToolSpec:
        spec = self._known().find(name)
        if spec is None:
            await self._reach()
            spec = self._known().find(name)
        if spec is not None:
            return spec
        for server in self._servers.values():
            if not server.is_offered and name.startswith(tool_name(server.config.name, "")):
                raise CallUnsentError(f"The tool server {server.config.name!r} is not ready: {server.reason}.")
        near = self._catalog.nearest(name)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Use only the tools that are offered."
        raise CallError(f"There is no tool of the name {name!r}. {hint}")


def arguments_to_send(text: str) -> dict[str, Any]:
    """Return the arguments that a model wrote; an empty text means none.

    Raises:
        CallError: They cannot be sent; the model can correct them.
    """
    try:
        return parse_arguments(text)
    except ValueError as error:
        raise CallError(f"The arguments {error}. Send one JSON object.") from None


async def _sent(send: Callable[[], Awaitable[Answer]], *, may_repeat: Callable[[], bool]) -> Answer:
    """Send a call; where it is unknown whether it ran, send it once more if that does no harm."""
    try:
        return await send()
    except CallLostError as error:
        if not may_repeat():
            raise
        lost = error
    try:
        return await send()
    except CallUnsentError:
        raise lost from None


def _ignore(_said: str) -> None:
    pass
