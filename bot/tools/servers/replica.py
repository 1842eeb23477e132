"""One endpoint of a tool server: a single task owns its connection, keeps it up and restores it."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib import metadata
from typing import Any

import structlog
from mcp import Client, MCPError, types
from mcp.client.session import IncomingMessage
from pydantic import ValidationError

from bot.domain.answers import Example
from bot.domain.backoff import Backoff
from bot.ports.store import NoteStore
from bot.ports.tools import ServerState, ServerStatus
from bot.tools.config import Endpoint, ServerConfig, StdioEndpoint
from bot.tools.servers.calls import Outcome, call_error, call_tool
from bot.tools.servers.cures import Trouble, ended, trouble_of
from bot.tools.servers.errors import CallLostError, CallTimedOutError, CallUnsentError, root_cause
from bot.tools.servers.faults import fault_of, words_of
from bot.tools.servers.link import Link
from bot.tools.servers.lists import Listed, fetch_examples, fetch_tools, has_resources
from bot.tools.servers.live import CURRENT, LiveCall
from bot.tools.servers.news import ListNews
from bot.tools.servers.timing import StateChanges, Timing
from bot.tools.servers.transport import open_transport
from bot.tools.servers.ways import SSE_IS_LEGACY, Way, Ways, connect_s

log = structlog.get_logger(__name__)

_MAX_REASON_CHARS = 300


class Replica:
    """One endpoint of a server. `run` owns its connection; everything else may be used from any task."""

    def __init__(
        self,
        server: ServerConfig,
        endpoint: Endpoint,
        *,
        timing: Timing,
        changes: StateChanges,
        notes: NoteStore | None = None,
    ) -> None:
        self.state: ServerState = "idle"
        self.reason = ""  # why it is not ready; everyone may see it
        self.listed = Listed()
        self.instructions = ""  # the server's own words on how to use it
        self.has_resources = False
        self._server = server
        self._endpoint = endpoint
        self._timing = timing
        # Jitter keeps replicas that failed together from returning together.
        self._backoff = Backoff(first_s=timing.first_retry_s, max_s=timing.last_retry_s, jitter=0.5)
        self._changes = changes
        self._log = log.bind(server=server.name, replica=endpoint.label)
        self._is_suspect = asyncio.Event()  # the connection is to be checked, and the lists read again
        self._news = ListNews(timing, on_news=self._is_suspect.set)
        self._wants_retry = asyncio.Event()
        self._link = Link(endpoint, server=server.name, on_suspect=self._is_suspect.set)
        self._client: Client | None = None  # set while calls may be sent
        self._process = ""  # which child process it is, of all there ever were
        self._trouble = Trouble(reason="")
        self._said: tuple[str, ...] = ()  # the error output of the last try that failed
        self._ways = Ways(endpoint, server=server.name, notes=notes)
        self._timeouts = 0  # connections in a row that took too long
        self._calls = 0  # in progress
        self._examples: tuple[Example, ...] | None = None
        self._began_at = 0.0  # when connecting began; times are of the loop's clock
        self._ready_at: float | None = None  # since when this connection is up
        self._lost_at: float | None = None
        self._retry_at = 0.0
        self._is_stopping = False

    @property
    def is_ready(self) -> bool:
        """Whether calls can be sent."""
        return self._client is not None and not self._link.has_ended

    @property
    def label(self) -> str:
        """What tells it apart from the server's other replicas."""
        return self._endpoint.label

    @property
    def was_ready_lately(self) -> bool:
        """Whether its tools may still be offered, because it is likely to come back."""
        return self._lost_at is not None and asyncio.get_running_loop().time() - self._lost_at < self._timing.keep_s

    def has(self, tool: str) -> bool:
        """Return whether its own list names the tool."""
        return any(known.name == tool for known in self.listed.tools)

    def retry_soon(self) -> None:
        """End the pause before the next try, but not sooner than `retry_soon_s` after the last one."""
        self._wants_retry.set()

    def stop(self) -> None:
        """Keep the connection from being opened again; the task of `run` is to be cancelled after this."""
        self._is_stopping = True

    def status(self) -> ServerStatus:
        """Return the state as an operator sees it."""
        lines = self._error_output()
        return ServerStatus(
            server=self._server.name,
            replica=self._endpoint.label,
            state=self.state,
            tool_count=sum(self._server.offers(tool.name) for tool in self.listed.tools),
            detail="; ".join(filter(None, self._details(lines))),
            cure=self._trouble.cure if self.state == "down" else "",
            error_output=lines,
        )

    async def call(self, tool: str, arguments: Mapping[str, Any], live: LiveCall) -> Outcome:
        """Send one call. Raises CallError; after CallUnsentError this replica is not ready any more."""
        client = self._client
        if client is None or not self.is_ready:
            raise CallUnsentError(self.reason)
        self._calls += 1
        live.replica, live.process = self.label, self._process
        token = CURRENT.set(live)
        try:
            return await self._send(client, tool, arguments, live)
        except CallTimedOutError:
            self._is_suspect.set()  # does this call take long, or does the server hang?
            raise
        except MCPError as error:
            said = self._link.hide_secrets(words_of(error))
            failure = call_error(error, server=self._server.name, tool=tool, said=said)
            if fault_of(error) == "unclear":
                self._is_suspect.set()
            elif isinstance(failure, CallUnsentError | CallLostError):
                self._suspend(Trouble(reason=said))
            raise failure from error
        finally:
            CURRENT.reset(token)
            self._link.calls.ended(live)
            self._calls -= 1
            self._changes.notify_all()

    async def _send(self, client: Client, tool: str, arguments: Mapping[str, Any], live: LiveCall) -> Outcome:
        def report(said: str) -> None:
            live.progress(self._link.hide_secrets(said))

        try:
            return await call_tool(client, tool, arguments, server=self._server, live=live, report=report)
        except MCPError as error:
            if error.code != types.HEADER_MISMATCH:
                raise
        # It did not run: the server knows another schema than we do, from which headers are made.
        self._learn(await fetch_tools(client, self._link, page_s=self._timing.page_s))
        return await call_tool(client, tool, arguments, server=self._server, live=live, report=report)

    def is_complete(self, elicitation_id: str) -> bool:
        """Return whether the server said so of what a page was opened for."""
        return self._link.calls.is_complete(elicitation_id)

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ElicitCompleteNotification):
            self._link.calls.complete(message.params.elicitation_id)
        else:
            await self._news.on_message(message)

    async def examples(self) -> tuple[Example, ...]:
        """Return the prompts that need no arguments; none where the server cannot be asked."""
        if self._examples is None and (client := self._client) is not None:
            try:
                async with asyncio.timeout(self._timing.probe_s):
                    self._examples = await fetch_examples(client, page_s=self._timing.page_s)
            except (TimeoutError, MCPError, RuntimeError, ValidationError) as error:
                self._log.info("tool_server_examples_failed", reason=self._explain(error).reason)
        return self._examples or ()

    # --- the connection ---

    async def run(self) -> None:
        """Keep the connection up; ends after `stop` and a cancellation."""
        failures = 0
        self._enter("starting")
        try:
            await self._ways.recall()
            while True:
                trouble = await self._stay_connected()
                if self._is_stopping:
                    break
                await self._keep_words()
                failures = 1 if self._was_stable() else failures + 1
                pause_s = self._backoff.wait_s(failures)
                self._retry_at = asyncio.get_running_loop().time() + pause_s
                self._enter("down", trouble)
                await self._pause(pause_s)
        finally:
            self._enter("idle")

    async def _stay_connected(self) -> Trouble:
        """Connect and stay connected, in the way that worked last or else in another; return why that ended."""
        self._ready_at = None
        error = await self._try(self._ways.best)
        trouble = self._explain(error)
        if self._ready_at is None and not self._is_stopping:
            await self._keep_words()
            other = self._ways.other(error, has_ended=self._link.has_ended)
            if other is not None:
                second = await self._try(other)
                if self._ready_at is not None:
                    return self._explain(second)
        return trouble

    async def _try(self, way: Way) -> BaseException | None:
        self._is_suspect.clear()
        self._link = Link(self._endpoint, server=self._server.name, on_suspect=self._is_suspect.set)
        self._process = secrets.token_hex(8) if isinstance(self._endpoint, StdioEndpoint) else ""
        self._began_at = asyncio.get_running_loop().time()
        try:
            await self._connect(way)
        except asyncio.CancelledError:
            # The SDK cancels the task that owns a broken connection: that is no request to stop. (And closing its
            # client may swallow a real request: that is why there is `stop`.)
            if self._is_stopping or ((task := asyncio.current_task()) is not None and task.cancelling()):
                raise
        except Exception as error:  # noqa: BLE001  (failures are isolated per server)
            is_slow = self._ready_at is None and isinstance(root_cause(error), TimeoutError)
            self._timeouts = self._timeouts + 1 if is_slow else 0
            return error
        return None

    async def _connect(self, way: Way) -> None:
        patience_s = connect_s(self._server, self._endpoint, timing=self._timing, timeouts=self._timeouts)
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(patience_s):
                client = await stack.enter_async_context(self._new_client(way))
                took_s = asyncio.get_running_loop().time() - self._began_at
                self._learn(await fetch_tools(client, self._link, page_s=self._timing.page_s))
                self.has_resources = await has_resources(client, page_s=self._timing.page_s)
            await self._ways.remember(way, protocol_version=client.protocol_version, took_s=took_s)
            self._timeouts = 0
            self.instructions = client.instructions or ""
            self._go_ready(client)
            async with asyncio.TaskGroup() as group:
                followers = [group.create_task(part) for part in (self._news.follow(client), self._news.pass_on())]
                await self._check_when_suspect(client)
                for follower in followers:
                    follower.cancel()

    async def _keep_words(self) -> None:
        """Keep what the process said last: the next try has a connection of its own, which may say nothing."""
        await self._link.read_stderr()
        self._said = self._link.stderr_lines or self._said

    def _new_client(self, way: Way) -> Client:
        return Client(
            open_transport(self._endpoint, self._link, is_legacy_sse=way == "sse"),
            mode="auto" if way == "auto" else "legacy",
            message_handler=self._on_message,
            elicitation_callback=self._link.calls.ask,
            client_info=types.Implementation(name="toolbridge", version=_version()),
            cache=None,  # lists are read when they change
        )

    async def _check_when_suspect(self, client: Client) -> None:
        """Ask for the tools each time the connection is suspect; return when the server ended, raise if it is mute."""
        try:
            while True:
                await self._is_suspect.wait()
                self._is_suspect.clear()
                if self._link.has_ended:
                    await self._keep_words()
                    self._suspend(self._explain(None))
                    return
                async with asyncio.timeout(self._timing.probe_s):
                    self._learn(await fetch_tools(client, self._link, page_s=self._timing.page_s))
                self._go_ready(client)
        except Exception as error:
            self._suspend(self._explain(error))
            # Closing the client would end calls that are about to learn that they were not sent, or even their result.
            await self._changes.wait_for(lambda: self._calls == 0, timeout_s=self._timing.grace_s)
            raise
        finally:
            self._client = None

    # --- the state ---

    def _learn(self, listed: Listed) -> None:
        self._examples = None
        if listed != self.listed:
            self.listed = listed

    def _go_ready(self, client: Client) -> None:
        self._ready_at = self._ready_at or asyncio.get_running_loop().time()
        self._client = client
        self._said = ()
        self._enter("ready")

    def _suspend(self, trouble: Trouble) -> None:
        """Send no more calls until `run` has checked the connection."""
        if self._client is not None:
            self._client = None
            self._lost_at = asyncio.get_running_loop().time()
            self._enter("down", trouble)
        self._is_suspect.set()

    def _enter(self, state: ServerState, trouble: Trouble | None = None) -> None:
        self._trouble = trouble or Trouble(reason="")
        self.reason = self._trouble.reason
        if state != self.state:
            self.state = state
            if state == "down":
                last = "".join(self._error_output()[-1:])
                self._log.warning("tool_server_down", reason=self.reason, stderr_line=last)
            else:
                self._log.info(f"tool_server_{state}", tools=len(self.listed.tools))
        self._changes.notify_all()

    def _error_output(self) -> tuple[str, ...]:
        if self.state == "down":  # also while it is tried again, which may have nothing to say yet
            return self._said or self._link.stderr_lines
        return self._link.stderr_lines or self._said if self.state == "starting" else ()

    def _details(self, lines: tuple[str, ...]) -> list[str]:
        now = asyncio.get_running_loop().time()
        wait_s = math.ceil(self._retry_at - now)
        started_s = math.floor(now - self._began_at) if self.state == "starting" else 0
        return [
            self.reason,
            f"for {started_s} s now; a package may be downloading" if started_s else "",
            f"last line of its error output: {lines[-1]}" if lines else "",
            f"tried again in {wait_s} s" if self.reason and wait_s > 0 else "",
            self.listed.gap if self.state == "ready" else "",
            SSE_IS_LEGACY if self.state == "ready" and self._ways.best == "sse" else "",
        ]

    def _was_stable(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._ready_at is not None and now - self._ready_at >= self._timing.stable_s

    async def _pause(self, pause_s: float) -> None:
        self._wants_retry.clear()
        soonest = asyncio.get_running_loop().time() + self._timing.retry_soon_s
        try:
            async with asyncio.timeout(pause_s):
                await self._wants_retry.wait()
                await asyncio.sleep(soonest - asyncio.get_running_loop().time())
        except TimeoutError:
            pass

    def _explain(self, error: BaseException | None) -> Trouble:
        """Return why a connection ended, without secrets; None where no error says why."""
        cause = None if error is None else root_cause(error)
        if cause is None or (isinstance(cause, MCPError) and self._link.has_ended):
            return ended(self._endpoint, has_ended=self._link.has_ended)
        trouble = trouble_of(cause, endpoint=self._endpoint)
        return replace(trouble, reason=self._link.hide_secrets(trouble.reason)[:_MAX_REASON_CHARS])


def _version() -> str:
    try:
        return metadata.version("toolbridge")
    except metadata.PackageNotFoundError:
        return "0"  # run from a source tree that is not installed
