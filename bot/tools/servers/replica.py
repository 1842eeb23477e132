"""One endpoint of a tool server: a single task owns its connection, keeps it up and restores it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib import metadata
from typing import Any

import structlog
from mcp import Client, MCPError, types
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from pydantic import ValidationError

from bot.domain.answers import Example
from bot.domain.backoff import Backoff
from bot.ports.tools import ServerState, ServerStatus
from bot.tools.config import Endpoint, ServerConfig, StdioEndpoint
from bot.tools.servers.errors import (
    CallError,
    CallLostError,
    CallRefusedError,
    CallTimedOutError,
    CallUnsentError,
    describe_failure,
    root_cause,
)
from bot.tools.servers.lists import fetch_examples, fetch_tools
from bot.tools.servers.timing import StateChanges, Timing
from bot.tools.servers.transport import Link, fault_of, open_transport

log = structlog.get_logger(__name__)

CONVERSATION_KEY = "toolbridge/conversation"  # in the _meta of each call: the conversation's opaque id
_MAX_REASON_CHARS = 300
_PROCESS_ENDED = "its process ended"
_NO_ELICITATION = "Elicitation not supported"  # the SDK's own answer, where no callback is set
_NEEDS_USER = (types.MISSING_REQUIRED_CLIENT_CAPABILITY, types.URL_ELICITATION_REQUIRED)


class Replica:
    """One endpoint of a server. `run` owns its connection; everything else may be used from any task."""

    def __init__(self, server: ServerConfig, endpoint: Endpoint, *, timing: Timing, changes: StateChanges) -> None:
        self.state: ServerState = "idle"
        self.reason = ""  # why it is not ready; everyone may see it
        self.tools: tuple[types.Tool, ...] = ()
        self._server = server
        self._endpoint = endpoint
        self._timing = timing
        # Jitter keeps replicas that failed together from returning together.
        self._backoff = Backoff(first_s=timing.first_retry_s, max_s=timing.last_retry_s, jitter=0.5)
        self._changes = changes
        self._log = log.bind(server=server.name, replica=endpoint.label)
        self._is_suspect = asyncio.Event()  # the connection is to be checked, and the lists read again
        self._wants_retry = asyncio.Event()
        self._link = Link(endpoint, server=server.name, on_suspect=self._is_suspect.set)
        self._client: Client | None = None  # set while calls may be sent
        self._stderr_line = ""  # the last one of its process, for operators
        self._calls = 0  # in progress
        self._examples: tuple[Example, ...] | None = None
        self._ready_at: float | None = None  # since when this connection is up; times are of the loop's clock
        self._lost_at: float | None = None
        self._retry_at = 0.0
        self._is_stopping = False

    @property
    def is_ready(self) -> bool:
        """Whether calls can be sent."""
        return self._client is not None and not self._link.has_ended

    @property
    def was_ready_lately(self) -> bool:
        """Whether its tools may still be offered, because it is likely to come back."""
        return self._lost_at is not None and asyncio.get_running_loop().time() - self._lost_at < self._timing.keep_s

    def has(self, tool: str) -> bool:
        """Return whether its own list names the tool."""
        return any(known.name == tool for known in self.tools)

    def retry_soon(self) -> None:
        """End the pause before the next try, but not sooner than `retry_soon_s` after the last one."""
        self._wants_retry.set()

    def stop(self) -> None:
        """Keep the connection from being opened again; the task of `run` is to be cancelled after this."""
        self._is_stopping = True

    def status(self) -> ServerStatus:
        """Return the state as an operator sees it."""
        wait_s = math.ceil(self._retry_at - asyncio.get_running_loop().time())
        details = [
            self.reason,
            f"last line of its error output: {self._stderr_line}" if self._stderr_line else "",
            f"tried again in {wait_s} s" if self.reason and wait_s > 0 else "",
        ]
        return ServerStatus(
            server=self._server.name,
            replica=self._endpoint.label,
            state=self.state,
            tool_count=sum(self._server.offers(tool.name) for tool in self.tools),
            detail="; ".join(filter(None, details)),
        )

    async def call(self, tool: str, arguments: Mapping[str, Any], *, conversation_id: str) -> types.CallToolResult:
        """Send one call. Raises CallError; after CallUnsentError this replica is not ready any more."""
        client = self._client
        if client is None or not self.is_ready:
            raise CallUnsentError(self.reason)
        self._calls += 1
        try:
            async with asyncio.timeout(self._server.timeout_s):
                return await client.call_tool(tool, dict(arguments), meta={CONVERSATION_KEY: conversation_id})
        except TimeoutError:
            self._is_suspect.set()  # does this call take long, or does the server hang?
            raise CallTimedOutError(
                f"The tool {tool!r} gave no answer within {self._server.timeout_s:g} s. It may have run all the same: "
                f"check that before calling it again."
            ) from None
        except MCPError as error:
            raise self._call_error(error, tool=tool) from error
        except (RuntimeError, ValidationError) as error:  # how the SDK refuses an answer that breaks the protocol
            said = self._link.hide_secrets(str(error))
            raise CallRefusedError(f"The tool {tool!r} ran, but its answer is not valid: {said}") from error
        finally:
            self._calls -= 1
            self._changes.notify_all()

    async def examples(self) -> tuple[Example, ...]:
        """Return the prompts that need no arguments; none where the server cannot be asked."""
        if self._examples is None and (client := self._client) is not None:
            try:
                async with asyncio.timeout(self._timing.probe_s):
                    self._examples = await fetch_examples(client)
            except (TimeoutError, MCPError, RuntimeError, ValidationError) as error:
                self._log.info("tool_server_examples_failed", reason=self._explain(error))
        return self._examples or ()

    async def run(self) -> None:
        """Keep the connection up; ends after `stop` and a cancellation."""
        failures = 0
        self._enter("starting")
        try:
            while True:
                self._ready_at = None
                reason = await self._stay_connected()
                if self._is_stopping:
                    break
                await self._link.read_stderr()
                failures = 1 if self._was_stable() else failures + 1
                pause_s = self._backoff.wait_s(failures)
                self._retry_at = asyncio.get_running_loop().time() + pause_s
                self._enter("down", reason)
                await self._pause(pause_s)
        finally:
            self._enter("idle")

    async def _stay_connected(self) -> str:
        """Connect and stay connected; return why that ended."""
        self._is_suspect.clear()
        self._link = Link(self._endpoint, server=self._server.name, on_suspect=self._is_suspect.set)
        try:
            return await self._connect()
        except asyncio.CancelledError:
            # The SDK cancels the task that owns a broken connection: that is no request to stop. (And closing its
            # client may swallow a real request: that is why there is `stop`.)
            if self._is_stopping or ((task := asyncio.current_task()) is not None and task.cancelling()):
                raise
            return "the connection broke"
        except Exception as error:  # noqa: BLE001  (failures are isolated per server)
            return self._explain(error)

    async def _connect(self) -> str:
        is_process = isinstance(self._endpoint, StdioEndpoint)
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._timing.connect_process_s if is_process else self._timing.connect_http_s):
                client = await stack.enter_async_context(self._new_client())
                self._learn(await fetch_tools(client))
            self._go_ready(client)
            async with asyncio.TaskGroup() as group:
                follower = group.create_task(self._follow_changes(client))
                await self._check_when_suspect(client)
                follower.cancel()
        return _PROCESS_ENDED

    def _new_client(self) -> Client:
        return Client(
            open_transport(self._endpoint, self._link),
            message_handler=self._on_message,
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
                    self._suspend(_PROCESS_ENDED)
                    return
                async with asyncio.timeout(self._timing.probe_s):
                    self._learn(await fetch_tools(client))
                self._go_ready(client)
        except Exception as error:
            self._suspend(self._explain(error))
            # Closing the client would end calls that are about to learn that they were not sent, or even their result.
            await self._changes.wait_for(lambda: self._calls == 0, timeout_s=self._timing.grace_s)
            raise
        finally:
            self._client = None

    async def _follow_changes(self, client: Client) -> None:
        """Mark the connection suspect when the server's stream of changes begins or ends: some may have been missed."""
        backoff = Backoff(first_s=1.0, max_s=self._timing.last_retry_s)
        ends = 0
        while True:
            try:
                async with client.listen(tools_list_changed=True, prompts_list_changed=True) as changes:
                    self._is_suspect.set()
                    async for _ in changes:
                        pass  # `_on_message` gets them too
            except ListenNotSupportedError:
                return  # the older era: changes come without a subscription
            except MCPError as error:
                if fault_of(error) == "refused":
                    return  # it reports no changes
            except SubscriptionLost:
                pass
            self._is_suspect.set()
            ends += 1
            await asyncio.sleep(backoff.wait_s(ends))

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification | types.PromptListChangedNotification):
            self._is_suspect.set()

    def _learn(self, tools: tuple[types.Tool, ...]) -> None:
        self._examples = None
        if tools != self.tools:
            self.tools = tools

    def _go_ready(self, client: Client) -> None:
        self._ready_at = self._ready_at or asyncio.get_running_loop().time()
        self._client = client
        self._enter("ready")

    def _suspend(self, reason: str) -> None:
        """Send no more calls until `run` has checked the connection."""
        if self._client is not None:
            self._client = None
            self._lost_at = asyncio.get_running_loop().time()
            self._enter("down", reason)
        self._is_suspect.set()

    def _enter(self, state: ServerState, reason: str = "") -> None:
        self.reason = reason
        self._stderr_line = self._link.stderr_line if state == "down" else ""
        if state != self.state:
            self.state = state
            if state == "down":
                self._log.warning("tool_server_down", reason=reason, stderr_line=self._stderr_line)
            else:
                self._log.info(f"tool_server_{state}", tools=len(self.tools))
        self._changes.notify_all()

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

    def _call_error(self, error: MCPError, *, tool: str) -> CallError:
        """Return what the model reads of a failed call; a connection that is to blame gets no more calls for now."""
        said = self._link.hide_secrets(error.message)
        match fault_of(error):
            case "refused" if error.code in _NEEDS_USER or said == _NO_ELICITATION:
                return CallRefusedError(
                    f"The tool {tool!r} asks the user something while it runs, which is not supported yet. "
                    f"It did not finish: call it with all it needs, or use another tool."
                )
            case "refused":
                return CallRefusedError(f"The server {self._server.name!r} refused the call: {said}")
            case "unsent":
                self._suspend(said)
                return CallUnsentError(said)
            case "lost":
                self._suspend(said)
                return CallLostError(
                    f"The connection to the server {self._server.name!r} was lost during the call ({said}). The tool "
                    f"{tool!r} may have run all the same: check that before calling it again."
                )

    def _explain(self, error: BaseException) -> str:
        """Return why a connection ended, without secrets."""
        cause = root_cause(error)
        if isinstance(cause, MCPError) and self._link.has_ended:
            return _PROCESS_ENDED
        return self._link.hide_secrets(describe_failure(cause))[:_MAX_REASON_CHARS]


def _version() -> str:
    try:
        return metadata.version("toolbridge")
    except metadata.PackageNotFoundError:
        return "0"  # run from a source tree that is not installed
