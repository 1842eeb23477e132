"""What watches a process that serves a team: its health always, metrics and traces where they are on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bot.composition.tracing import PROVIDERS, open_tracing
from bot.domain.errors import AdapterError
from bot.observe.health import WAITING_FOR_STORE, Health, Parts
from bot.observe.model_watch import WatchedModel
from bot.ports.http import HttpListener
from bot.ports.observer import Watchers
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.app import App
    from bot.observe.metrics import Metrics
    from bot.observe.traces import Traces


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """See `open_watching`."""

    health: Health
    metrics: Metrics | None
    watchers: Watchers

    def waits_for_store(self) -> None:
        """Take note that the process waits for its database."""
        self.health.waiting = WAITING_FOR_STORE

    def started(self, app: App) -> None:
        """Take note that all parts are open."""
        self.health.watch(
            Parts(
                adapters=app.adapters,
                check_writing=app.store.check_writing,
                servers=app.tools.status,
                is_draining=lambda: app.presence.is_draining,
            )
        )
        if self.metrics is not None:
            _measure(self.metrics, app)


@asynccontextmanager
async def open_watching(settings: Settings, http: HttpListener) -> AsyncGenerator[Watching]:
    """Serve the health of the process, and its metrics and traces where they are on, while the context is open.

    Raises:
        SettingsError: The settings of the metrics contradict the listener's, or traces cannot be sent.
    """
    settings.check_metrics()
    health, metrics = Health(), _open_metrics(settings)
    async with AsyncExitStack() as stack:
        with suppress(AdapterError):  # the listener has said that it is not open
            stack.enter_context(http.serve(*health.routes, *([metrics.route] if metrics else [])))
        if metrics is not None:
            await stack.enter_async_context(metrics.measuring())
        traces = await stack.enter_async_context(open_tracing(settings))
        yield Watching(health=health, metrics=metrics, watchers=traced(_watchers(health, metrics), traces))


def _open_metrics(settings: Settings) -> Metrics | None:
    if not settings.metrics:
        return None
    from bot.observe.metrics import Metrics  # late: its library is loaded by nobody else

    token = settings.metrics_token.get_secret_value() if settings.metrics_token else ""
    return Metrics(provider=PROVIDERS[settings.provider], token=token)


def _watchers(health: Health, metrics: Metrics | None) -> Watchers:
    if metrics is None:
        return Watchers(models=(health.model,))
    return Watchers(
        turns=(metrics.turns,),
        models=(health.model, metrics.models),
        settled=metrics.settled,
        withdrew=metrics.turns.withdrew,
    )


def traced(watchers: Watchers, traces: Traces | None) -> Watchers:
    """Return the watchers with the traces, if there are any, among them."""
    if traces is None:
        return watchers
    return replace(watchers, turns=(*watchers.turns, traces), models=(*watchers.models, traces), tracing=traces)


def _measure(metrics: Metrics, app: App) -> None:
    from bot.observe.readings import Sources

    pulse, model = app.runner.resources.pulse, app.model
    app.store.measure(metrics.committed)
    metrics.watch(
        Sources(
            adapters=app.adapters,
            servers=app.tools.status,
            posts=lambda: {(platform, tried): count for (platform, tried), count in pulse.tries.items()},
            model_rate_limits=lambda: model.rate_limits if isinstance(model, WatchedModel) else 0,
            open_turns=app.store.open_turns,
            now=app.store.now,
        )
    )
