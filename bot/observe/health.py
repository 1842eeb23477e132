"""Whether the process lives and whether it is ready, for those that start and watch it: `/healthz` and `/readyz`.

Anyone who reaches the listener may ask, so no sentence here names an address, a person or a server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot.domain.errors import BotError
from bot.observe.model_watch import ModelHealth
from bot.ports.http import HttpRoute
from bot.ports.platform import Connection
from bot.ports.tools import ServerStatus
from bot.text.counting import count

log = structlog.stdlib.get_logger(__name__)

LIVE_PATH, READY_PATH = "/healthz", "/readyz"
PASS_S = 0.01
BLOCKED_S = 5.0  # one pass of the event loop that takes this long: nothing is answered in time any more
STORE_S = 2.0
STORE_GAP_S = 1.0  # so often a write is tried at most, however many ask

State = Literal["ready", "degraded", "not_ready"]
Part = Literal["ok", "degraded", "failed"]
STARTING = "It is still starting."
WAITING_FOR_STORE = "It waits for the database, which cannot be reached. The log says why."
DRAINING = "It hands its work over, and ends."


class Platform(Protocol):
    """A chat platform, as far as its health goes."""

    @property
    def name(self) -> str:
        """The platform's name."""
        ...

    @property
    def connection(self) -> Connection:
        """How it is reached now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the health of a process hangs on, once it has started."""

    adapters: Sequence[Platform]
    check_writing: Callable[[], Coroutine[Any, Any, None]]
    servers: Callable[[], Sequence[ServerStatus]]
    is_draining: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How one part is; `reason` is a sentence where it is not well."""

    status: Part
    reason: str = ""


@dataclass(slots=True)
class Health:
    """Answers at both addresses; `model` is to see each call to the model. `waiting` is why it has not started yet."""

    model: ModelHealth = field(default_factory=ModelHealth)
    waiting: str = STARTING
    _parts: Parts | None = field(default=None, init=False)
    _writing: asyncio.Task[str] | None = field(default=None, init=False)
    _written_at: float = field(default=0.0, init=False)  # seconds of the loop's clock, when a write was tried last

    @property
    def routes(self) -> Sequence[HttpRoute]:
        """The addresses to serve."""
        return (
            HttpRoute(method="GET", path=LIVE_PATH, answer=self._answer_live, is_state=True),
            HttpRoute(method="GET", path=READY_PATH, answer=self._answer_ready, is_state=True),
        )

    def watch(self, parts: Parts) -> None:
        """Go by these parts: the process has started."""
        self._parts = parts

    async def state(self) -> tuple[State, str, Mapping[str, Check]]:
        """Return whether it is ready, the first reason why not as a sentence, and how each part is."""
        if self._parts is None:
            return "not_ready", self.waiting, {}
        if self._parts.is_draining():
            return "not_ready", DRAINING, {}
        platforms = {adapter.name: _check_platform(adapter) for adapter in self._parts.adapters}
        store = await self._check_store()
        checks = {"store": store, **platforms, "model": self._check_model(), "tools": _check_tools(self._parts)}
        reason = next((check.reason for check in checks.values() if check.reason), "")
        is_reached = any(check.status == "ok" for check in platforms.values())
        if store.status != "ok" or not is_reached:
            return "not_ready", reason, checks
        return ("degraded" if reason else "ready"), reason, checks

    # --- the parts ---

    async def _check_store(self) -> Check:
        assert self._parts is not None
        now = asyncio.get_running_loop().time()
        if self._writing is None or (self._writing.done() and now - self._written_at >= STORE_GAP_S):
            self._written_at = now
            self._writing = asyncio.create_task(_tried(self._parts.check_writing()), name="health:store")
        await asyncio.wait([self._writing], timeout=STORE_S)  # it is never cut: one at a time is under way
        reason = (
            self._writing.result() if self._writing.done() else f"The database did not answer within {STORE_S:g} s."
        )
        return Check(status="failed" if reason else "ok", reason=reason)

    def _check_model(self) -> Check:
        if not self.model.reason:
            return Check(status="ok")
        reason = f"The model does not answer: {self.model.reason}. Messages are stored; `toolbridge doctor` says more."
        return Check(status="degraded", reason=reason)

    # --- answers ---

    async def _answer_live(self, _request: Request) -> Response:
        lag_s = await _pass_s()
        is_blocked = lag_s >= BLOCKED_S
        content = {"status": "blocked" if is_blocked else "ok", "loop_lag_s": round(lag_s, 3)}
        return _json(content, status=503 if is_blocked else 200)

    async def _answer_ready(self, _request: Request) -> Response:
        state, reason, checks = await self.state()
        shown = {
            name: {"status": check.status} | ({"reason": check.reason} if check.reason else {})
            for name, check in checks.items()
        }
        content = {"status": state} | ({"reason": reason} if reason else {}) | {"checks": shown}
        return _json(content, status=503 if state == "not_ready" else 200)


def _check_platform(adapter: Platform) -> Check:
    if adapter.connection.is_open:
        return Check(status="ok")
    return Check(status="failed", reason=f"{adapter.name.capitalize()} is not connected. The log says why.")


def _check_tools(parts: Parts) -> Check:
    statuses = parts.servers()
    servers = {status.server for status in statuses}
    down = servers - {status.server for status in statuses if status.state != "down"}  # of replicas, one is enough
    if not down:
        return Check(status="ok")
    reason = f"{len(down)} of {count(len(servers), 'tool server')} cannot be reached. `toolbridge tools` says which."
    return Check(status="degraded", reason=reason)


async def _tried(writing: Coroutine[Any, Any, None]) -> str:
    """Return why the database takes no writes, as a sentence; empty where it does."""
    try:
        await writing
    except Exception as error:  # whatever it is, it is the answer to the question
        if isinstance(error, BotError):
            log.warning("store_not_writable", error=str(error))
        else:
            log.exception("store_not_writable")
        return "The database takes no writes. The log says why."
    return ""


async def _pass_s() -> float:
    """Return by how many seconds the event loop is late."""
    loop = asyncio.get_running_loop()
    due_at = loop.time() + PASS_S
    await asyncio.sleep(PASS_S)
    return max(0.0, loop.time() - due_at)


def _json(content: Mapping[str, Any], *, status: int) -> Response:
    return JSONResponse(content, status_code=status, headers={"cache-control": "no-store"})
