"""The connection to each tool server: one task per replica owns it, keeps it up and brings it back."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar, cast

import structlog
from mcp import Client, MCPError, types
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from pydantic import ValidationError

from bot.domain.answers import Example
from bot.domain.messages import ToolOutcome
from bot.ports.tools import ServerState, ServerStatus
from bot.tools.config import Command, Endpoint, ServerConfig
from bot.tools.transport import Link, fate_of, open_transport

log = structlog.get_logger(__name__)

CONVERSATION_KEY = "toolbridge/conversation"  # in the _meta of each call: the conversation's opaque id
_Page = TypeVar("_Page", bound=types.PaginatedResult)
_MAX_PAGES = 100  # of one list: a server that never ends it is not followed for ever
_MAX_REASON_CHARS = 300
_PROCESS_ENDED = "its process ended"
_NO_ELICITATION = "Elicitation not supported"  # the SDK's own answer, where no callback is set
_NEEDS_USER = (types.MISSING_REQUIRED_CLIENT_CAPABILITY, types.URL_ELICITATION_REQUIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long is waited for what."""

    connect_process_s: float = 20.0  # the first start of a packaged server downloads it
    connect_http_s: float = 15.0  # the SDK waits 10 s for a server of the older era that ignores its first question
    probe_s: float = 10.0  # a server that does not list its tools within this time is restarted
    first_retry_s: float = 0.1
    last_retry_s: float = 30.0
    hurried_retry_s: float = 1.0  # since the last try, where somebody waits for the server
    stable_s: float = 5.0  # a connection that held so long starts the retries anew
    reconnect_wait_s: float = 5.0  # for a call that was not sent yet
    grace_s: float = 1.0  # for calls under way on a connection that is given up
    keep_s: float = 60.0  # tools of a server that is being reconnected stay offered; prompt caches live by it


class Pulse:
    """Wakes all who wait for a state of the servers, at each change of any of them."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def beat(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait_for(self, condition: Callable[[], bool], *, timeout_s: float) -> bool:
        """Return True as soon as the condition holds, False when it did not within the time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._event.wait()
        except TimeoutError:
            return False
        return True


class CallError(Exception):
    """A call that has no result; `str()` is for the model to read."""

    outcome: ToolOutcome = "error"


class RefusedError(CallError):
    """The server answered with an error of the protocol."""


class TimedOutError(CallError):
    """No answer came in time; the tool may have run."""

    outcome = "timeout"


class LostError(CallError):
    """The connection broke after the call was sent; the tool may have run."""

    outcome = "interrupted"


class UnsentError(CallError):
    """The call did not reach the server."""

    outcome = "unavailable"


class Server:
    """One tool server with all its replicas."""

    def __init__(self, config: ServerConfig, *, timing: Timing, pulse: Pulse) -> None:
        self.config = config
        self.replicas = [Replica(config, endpoint, timing=timing, pulse=pulse) for endpoint in config.endpoints]
        self._timing = timing
        self._pulse = pulse
        self._turn = 0

    @property
    def is_settled(self) -> bool:
        """Whether the first try of each replica is over, or one is ready."""
        return self._ready() != [] or all(replica.state == "down" for replica in self.replicas)

    @property
    def is_offered(self) -> bool:
        """Whether its tools can be called, now or as soon as it is reconnected."""
        return any(replica.is_ready or replica.was_ready_lately for replica in self.replicas)

    @property
    def tools(self) -> tuple[types.Tool, ...]:
        """What it said last that it can do, also while it is down."""
        known = self._ready() or [replica for replica in self.replicas if replica.tools]
        return known[0].tools if known else ()

    @property
    def reason(self) -> str:
        """Why it cannot be called."""
        return next((replica.reason for replica in self.replicas if replica.reason), "it is still starting")

    def hurry(self) -> None:
        """Try to reconnect soon, if no replica is ready."""
        if not self._ready():
            for replica in self.replicas:
                replica.hurry()

    def stop(self) -> None:
        """Let no replica be connected again."""
        for replica in self.replicas:
            replica.stop()

    async def call(self, tool: str, arguments: Mapping[str, Any], *, conversation: str) -> types.CallToolResult:
        """Send the call to the next healthy replica; one that cannot be reached passes it on to the others.

        Raises:
            CallError: There is no result; its class tells whether the tool may have run.
        """
        deadline = asyncio.get_running_loop().time() + self._timing.reconnect_wait_s
        while True:
            replica = await self._pick(tool, deadline)
            try:
                return await replica.call(tool, arguments, conversation=conversation)
            except UnsentError:  # that replica is not ready any more
                continue

    async def examples(self) -> tuple[Example, ...]:
        """Return the prompts that need no arguments; none where the server cannot be asked."""
        ready = self._ready()
        return await ready[0].examples() if ready else ()

    def status(self) -> list[ServerStatus]:
        """Return the state of each replica."""
        return [replica.status() for replica in self.replicas]

    def _ready(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.is_ready]

    async def _pick(self, tool: str, deadline: float) -> Replica:
        def is_reachable() -> bool:
            self.hurry()
            return self._ready() != []

        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0 or not await self._pulse.wait_for(is_reachable, timeout_s=left_s):
            raise UnsentError(
                f"The tool server {self.config.name!r} cannot be reached ({self.reason}). "
                f"The call was not sent. It is tried again in the background."
            )
        ready = self._ready()
        able = [replica for replica in ready if replica.has(tool)] or ready
        self._turn += 1
        return able[self._turn % len(able)]


class Replica:
    """One endpoint of a server. `run` owns its connection; all else may be used from any task."""

    def __init__(self, server: ServerConfig, endpoint: Endpoint, *, timing: Timing, pulse: Pulse) -> None:
        self.state: ServerState = "idle"
        self.reason = ""  # why it is not ready; shown to everybody
        self.tools: tuple[types.Tool, ...] = ()
        self._server = server
        self._endpoint = endpoint
        self._timing = timing
        self._pulse = pulse
        self._log = log.bind(server=server.name, replica=endpoint.label)
        self._doubted = asyncio.Event()  # the connection is looked after, and the lists are read again
        self._hurried = asyncio.Event()
        self._link = Link(endpoint, server=server.name, on_doubt=self._doubted.set)
        self._client: Client | None = None  # set while calls may be sent
        self._last_words = ""  # of its process, for operators
        self._calls = 0  # that are under way
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

    def hurry(self) -> None:
        """End the pause before the next try, but not sooner than `hurried_retry_s` after the last one."""
        self._hurried.set()

    def stop(self) -> None:
        """Let the connection not be opened again; the task of `run` is to be cancelled after this."""
        self._is_stopping = True

    def status(self) -> ServerStatus:
        """Return the state as an operator sees it."""
        wait_s = math.ceil(self._retry_at - asyncio.get_running_loop().time())
        details = [
            self.reason,
            f"its last words: {self._last_words}" if self._last_words else "",
            f"tried again in {wait_s} s" if self.reason and wait_s > 0 else "",
        ]
        return ServerStatus(
            server=self._server.name,
            replica=self._endpoint.label,
            state=self.state,
            tool_count=sum(self._server.offers(tool.name) for tool in self.tools),
            detail="; ".join(filter(None, details)),
        )

    async def call(self, tool: str, arguments: Mapping[str, Any], *, conversation: str) -> types.CallToolResult:
        """Send one call. Raises CallError; after UnsentError this replica is not ready any more."""
        client = self._client
        if client is None or not self.is_ready:
            raise UnsentError(self.reason)
        self._calls += 1
        try:
            async with asyncio.timeout(self._server.timeout_s):
                return await client.call_tool(tool, dict(arguments), meta={CONVERSATION_KEY: conversation})
        except TimeoutError:
            self._doubted.set()  # does this call take long, or does the server hang?
            raise TimedOutError(
                f"The tool {tool!r} gave no answer within {self._server.timeout_s:g} s. It may have run all the same: "
                f"check that before calling it again."
            ) from None
        except MCPError as error:
            raise self._judge(error, tool=tool) from error
        except (RuntimeError, ValidationError) as error:  # how the SDK refuses an answer that breaks the protocol
            said = self._link.hide_secrets(str(error))
            raise RefusedError(f"The tool {tool!r} ran, but its answer is not valid: {said}") from error
        finally:
            self._calls -= 1
            self._pulse.beat()

    async def examples(self) -> tuple[Example, ...]:
        """Return the prompts that need no arguments; none where the server cannot be asked."""
        if self._examples is None and (client := self._client) is not None:
            try:
                async with asyncio.timeout(self._timing.probe_s):
                    self._examples = await _fetch_examples(client)
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
                reason = await self._hold()
                if self._is_stopping:
                    break
                failures = 1 if self._was_stable() else failures + 1
                pause_s = self._plan_retry(failures)
                self._enter("down", reason)
                await self._pause(pause_s)
        finally:
            self._enter("idle")

    async def _hold(self) -> str:
        """Connect and stay connected; return why that ended."""
        self._doubted.clear()
        self._link = Link(self._endpoint, server=self._server.name, on_doubt=self._doubted.set)
        try:
            return await self._connect()
        except asyncio.CancelledError:
            # The SDK cancels the task that owns a broken connection: that is no request to stop. (And closing its
            # client may swallow a real request: that is why there is `stop`.)
            if self._is_stopping or ((task := asyncio.current_task()) is not None and task.cancelling()):
                raise
            return "the connection broke"
        except Exception as error:  # noqa: BLE001  (whatever one server does is kept from the others)
            return self._explain(error)

    async def _connect(self) -> str:
        is_process = isinstance(self._endpoint, Command)
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._timing.connect_process_s if is_process else self._timing.connect_http_s):
                client = await stack.enter_async_context(self._new_client())
                self._learn(await _fetch_tools(client))
            self._go_ready(client)
            async with asyncio.TaskGroup() as group:
                follower = group.create_task(self._follow(client))
                await self._look_after(client)
                follower.cancel()
        return _PROCESS_ENDED

    def _new_client(self) -> Client:
        return Client(
            open_transport(self._endpoint, self._link),
            message_handler=self._hear,
            client_info=types.Implementation(name="toolbridge", version=_version()),
            cache=None,  # lists are read when they changed
        )

    async def _look_after(self, client: Client) -> None:
        """At each doubt ask the server for its tools; return when it has ended, raise when it gives no answer."""
        try:
            while True:
                await self._doubted.wait()
                self._doubted.clear()
                if self._link.has_ended:
                    self._suspend(_PROCESS_ENDED)
                    return
                async with asyncio.timeout(self._timing.probe_s):
                    self._learn(await _fetch_tools(client))
                self._go_ready(client)
        except Exception as error:
            self._suspend(self._explain(error))
            # Closing the client would end calls that are about to learn that they were not sent, or even their result.
            await self._pulse.wait_for(lambda: self._calls == 0, timeout_s=self._timing.grace_s)
            raise
        finally:
            self._client = None

    async def _follow(self, client: Client) -> None:
        """Cast doubt when the server's stream of changes begins or ends: changes may have been missed."""
        pause_s = 1.0
        while True:
            try:
                async with client.listen(tools_list_changed=True, prompts_list_changed=True) as changes:
                    self._doubted.set()
                    async for _ in changes:
                        pass  # `_hear` gets them too
            except ListenNotSupportedError:
                return  # the older era: changes come without being asked for
            except MCPError as error:
                if fate_of(error) == "refused":
                    return  # it does not tell of changes
            except SubscriptionLost:
                pass
            self._doubted.set()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._timing.last_retry_s)

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification | types.PromptListChangedNotification):
            self._doubted.set()

    def _learn(self, tools: tuple[types.Tool, ...]) -> None:
        self._examples = None
        if tools != self.tools:
            self.tools = tools

    def _go_ready(self, client: Client) -> None:
        self._ready_at = self._ready_at or asyncio.get_running_loop().time()
        self._client = client
        self._enter("ready")

    def _suspend(self, reason: str) -> None:
        """Send no more calls until `run` has seen to the connection."""
        if self._client is not None:
            self._client = None
            self._lost_at = asyncio.get_running_loop().time()
            self._enter("down", reason)
        self._doubted.set()

    def _enter(self, state: ServerState, reason: str = "") -> None:
        self.reason = reason
        self._last_words = self._link.last_words if state == "down" else ""
        if state != self.state:
            self.state = state
            if state == "down":
                self._log.warning("tool_server_down", reason=reason, last_words=self._last_words)
            else:
                self._log.info(f"tool_server_{state}", tools=len(self.tools))
        self._pulse.beat()

    def _was_stable(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._ready_at is not None and now - self._ready_at >= self._timing.stable_s

    def _plan_retry(self, failures: int) -> float:
        longest_s = min(self._timing.last_retry_s, self._timing.first_retry_s * 2.0 ** min(failures - 1, 30))
        pause_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads retries, keeps no secret)
        self._retry_at = asyncio.get_running_loop().time() + pause_s
        return pause_s

    async def _pause(self, pause_s: float) -> None:
        self._hurried.clear()
        soonest = asyncio.get_running_loop().time() + self._timing.hurried_retry_s
        try:
            async with asyncio.timeout(pause_s):
                await self._hurried.wait()
                await asyncio.sleep(soonest - asyncio.get_running_loop().time())
        except TimeoutError:
            pass

    def _judge(self, error: MCPError, *, tool: str) -> CallError:
        """Return what to tell of a failed call; where the connection is to blame, it gets no more calls for now."""
        said = self._link.hide_secrets(error.message)
        match fate_of(error):
            case "refused" if error.code in _NEEDS_USER or said == _NO_ELICITATION:
                return RefusedError(
                    f"The tool {tool!r} asks the user something while it runs, which is not supported yet. "
                    f"It did not finish: call it with all it needs, or use another tool."
                )
            case "refused":
                return RefusedError(f"The server {self._server.name!r} refused the call: {said}")
            case "unsent":
                self._suspend(said)
                return UnsentError(said)
            case "lost":
                self._suspend(said)
                return LostError(
                    f"The connection to the server {self._server.name!r} was lost during the call ({said}). The tool "
                    f"{tool!r} may have run all the same: check that before calling it again."
                )

    def _explain(self, error: BaseException) -> str:
        """Return why a connection ended, without secrets."""
        cause = _unwrap(error)
        if isinstance(cause, MCPError) and self._link.has_ended:
            return _PROCESS_ENDED
        return self._link.hide_secrets(_describe(cause))[:_MAX_REASON_CHARS]


def _unwrap(error: BaseException) -> BaseException:
    if isinstance(error, BaseExceptionGroup):
        return _unwrap(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error


def _describe(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "it did not answer in time"
        case OSError():
            return f"its command cannot be started ({error.strerror}): correct command or cwd, or install it"
        case MCPError():
            return error.message
        case ValidationError():
            return "it does not keep to the protocol"
        case _:
            return f"{type(error).__name__}: {error}"


async def _fetch_tools(client: Client) -> tuple[types.Tool, ...]:
    if client.server_capabilities.tools is None:
        return ()
    return tuple(tool for page in await _fetch_pages(client.list_tools) for tool in page.tools)


async def _fetch_examples(client: Client) -> tuple[Example, ...]:
    if client.server_capabilities.prompts is None:
        return ()
    prompts = [prompt for page in await _fetch_pages(client.list_prompts) for prompt in page.prompts]
    found = [await _fetch_example(client, prompt) for prompt in prompts if not _needs_arguments(prompt)]
    return tuple(example for example in found if example.text)


async def _fetch_pages(fetch: Callable[..., Awaitable[_Page]]) -> list[_Page]:
    pages = [await fetch()]
    while (cursor := pages[-1].next_cursor) and len(pages) < _MAX_PAGES:
        pages.append(await fetch(cursor=cursor))
    return pages


def _needs_arguments(prompt: types.Prompt) -> bool:
    return any(argument.required for argument in prompt.arguments or ())


async def _fetch_example(client: Client, prompt: types.Prompt) -> Example:
    messages = (await client.get_prompt(prompt.name)).messages
    texts = (message.content.text for message in messages if message.role == "user" and message.content.type == "text")
    return Example(title=prompt.title or prompt.name, text=next(texts, ""))


def _version() -> str:
    try:
        return metadata.version("toolbridge")
    except metadata.PackageNotFoundError:
        return "0"  # run from a source tree that is not installed
