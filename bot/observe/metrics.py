"""The metrics of one process, for Prometheus. Imported only where METRICS is on."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from ipaddress import ip_address

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from bot.domain.asks import AskState
from bot.domain.errors import BotError
from bot.domain.turns import AT_REST
from bot.observe.families import Families
from bot.observe.readings import Readings, Sources
from bot.observe.turn_metrics import ModelMetrics, TurnMetrics
from bot.ports.cluster_store import OpenTurns
from bot.ports.http import HttpRoute
from bot.ports.tasks import running

log = structlog.stdlib.get_logger(__name__)

METRICS_PATH = "/metrics"
LAG_EVERY_S = 0.5
STORE_S = 2.0  # for the database; a scrape has ten seconds by default
OUTCOMES = ("approved", "declined", "withdrawn", "void", "expired", "stopped")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


class Metrics:
    """Counts what it is told, and serves it. Without a `token` it answers only to this machine itself."""

    def __init__(self, *, provider: str, token: str = "", now: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.families = Families(self.registry)
        self.turns = TurnMetrics(self.families, now=now)
        self.models = ModelMetrics(self.families, provider=provider)
        self._readings = Readings()
        self.registry.register(self._readings)
        self._token = token
        self._looking: asyncio.Task[OpenTurns | None] | None = None
        self.families.build.info({"version": metadata.version("toolbridge")})
        for outcome in OUTCOMES:
            self.families.approvals.labels(outcome)

    @property
    def route(self) -> HttpRoute:
        """The address to serve."""
        return HttpRoute(method="GET", path=METRICS_PATH, answer=self._answer)

    def watch(self, sources: Sources) -> None:
        """Read from these, too. Each state of their turns begins at 0, so that the first one is an increase."""
        self._readings.sources = sources
        for adapter in sources.adapters:
            for state in AT_REST:
                self.families.turns.labels(adapter.name, state)

    def settled(self, state: AskState) -> None:
        """Count an approval that people have ended."""
        self.families.approvals.labels(state).inc()

    def committed(self, writes: int) -> None:
        """Count a commit of the database."""
        self.families.batch.observe(writes)

    def measuring(self) -> AbstractAsyncContextManager[None]:
        """Measure the event loop while the context is open."""
        return running(self._measure_loop(), name="metrics:loop")

    async def _measure_loop(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due_at = clock() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.families.lag.observe(max(0.0, clock() - due_at))

    # --- scrapes ---

    async def _answer(self, request: Request) -> Response:
        if (refused := self._refusal(request)) is not None:
            return refused
        await self._look()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self.registry), headers={"content-type": content_type})

    def _refusal(self, request: Request) -> Response | None:
        if not self._token:
            if _is_local(request):
                return None
            return PlainTextResponse("Only this machine may read the metrics: set METRICS_TOKEN.", status_code=403)
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        is_same = hmac.compare_digest(shown.strip().encode(), self._token.encode())
        if scheme.lower() == "bearer" and is_same:
            return None
        return PlainTextResponse(
            "Show METRICS_TOKEN as the bearer token.", status_code=401, headers={"www-authenticate": "Bearer"}
        )

    async def _look(self) -> None:
        """Read what is open from the database; scrapes that come meanwhile share one look."""
        sources = self._readings.sources
        if sources is None:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(_tried(sources), name="metrics:store")
        await asyncio.wait([self._looking], timeout=STORE_S)
        self._readings.open_turns = self._looking.result() if self._looking.done() else None


async def _tried(sources: Sources) -> OpenTurns | None:
    try:
        return await sources.open_turns()
    except BotError as error:
        log.warning("open_turns_not_read", error=str(error))
    except Exception:  # the rest of the scrape is worth having
        log.exception("open_turns_not_read")
    return None


def _is_local(request: Request) -> bool:
    """Return whether the request comes from this machine, and not from elsewhere by a proxy on it."""
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
