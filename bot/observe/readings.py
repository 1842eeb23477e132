"""What is read only when somebody asks for the metrics: what other parts count by themselves, and the database."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bot.observe.health import Platform
from bot.ports.cluster_store import OpenTurns
from bot.ports.tools import ServerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where they come from. `posts` are by platform and by how each try ended; `now` is the database's clock."""

    adapters: Sequence[Platform]
    servers: Callable[[], Sequence[ServerStatus]]
    posts: Callable[[], Mapping[tuple[str, str], int]]
    model_rate_limits: Callable[[], int]
    open_turns: Callable[[], Coroutine[Any, Any, OpenTurns]]
    now: Callable[[], float]


class Readings:
    """A collector of the registry. `open_turns` are those of the last look; None where the database did not answer."""

    def __init__(self) -> None:
        self.sources: Sources | None = None
        self.open_turns: OpenTurns | None = None

    def describe(self) -> Iterator[Metric]:
        """Yield the families without their values."""
        yield from _Made().all

    def collect(self) -> Iterator[Metric]:
        """Yield the families with their values."""
        made = _Made()
        if self.sources is not None:
            made.read(self.sources)
            made.read_turns(self.open_turns, now=self.sources.now)
        yield from made.all


class _Made:
    def __init__(self) -> None:
        self.connected = GaugeMetricFamily(
            "toolbridge_platform_connected", "Whether the platform is connected (1) or not (0).", labels=["platform"]
        )
        self.reconnects = CounterMetricFamily(
            "toolbridge_reconnects",
            "Connections to a platform that were opened in place of one that had ended.",
            labels=["platform"],
        )
        self.rate_limited = CounterMetricFamily(
            "toolbridge_rate_limited",
            "Requests that a platform or the model's endpoint refused with a pause (HTTP 429).",
            labels=["service"],
        )
        self.posts = CounterMetricFamily(
            "toolbridge_posts",
            "Tries to post a part of an answer.",
            labels=["platform", "outcome"],
        )
        self.servers = GaugeMetricFamily(
            "toolbridge_tool_server_up",
            "Whether the tool server, or one of its replicas, is ready (1) or not (0).",
            labels=["server"],
        )
        self.store = GaugeMetricFamily(
            "toolbridge_store_up", "Whether the database answered this scrape (1) or not (0)."
        )
        self.turns = GaugeMetricFamily(
            "toolbridge_turns_open",
            "Turns in the database that have not ended, of all processes: queued, in work, or waiting for people.",
            labels=["state"],
        )
        self.oldest = GaugeMetricFamily(
            "toolbridge_oldest_open_turn_age_seconds",
            "Age of the oldest turn in the database that is queued or in work; 0 where there is none.",
        )
        self.oldest_waiting = GaugeMetricFamily(
            "toolbridge_oldest_waiting_turn_age_seconds",
            "Age of the oldest turn in the database that waits for people; 0 where there is none.",
        )

    @property
    def all(self) -> Sequence[Metric]:
        return (
            *(self.connected, self.reconnects, self.rate_limited, self.posts, self.servers),
            *(self.store, self.turns, self.oldest, self.oldest_waiting),
        )

    def read(self, sources: Sources) -> None:
        posts = sources.posts()
        for adapter in sources.adapters:
            connection = adapter.connection
            self.connected.add_metric([adapter.name], connection.is_open)
            self.reconnects.add_metric([adapter.name], connection.reconnects)
            self.rate_limited.add_metric([adapter.name], connection.rate_limits)
            for outcome in ("posted", "rate_limited", "failed"):
                self.posts.add_metric([adapter.name, outcome], posts.get((adapter.name, outcome), 0))
        self.rate_limited.add_metric(["model"], sources.model_rate_limits())
        statuses = sources.servers()
        ready = {status.server for status in statuses if status.state == "ready"}
        for server in dict.fromkeys(status.server for status in statuses):
            self.servers.add_metric([server], server in ready)

    def read_turns(self, turns: OpenTurns | None, *, now: Callable[[], float]) -> None:
        self.store.add_metric([], turns is not None)
        if turns is None:
            return
        self.turns.add_metric(["queued"], turns.queued)
        self.turns.add_metric(["in_work"], turns.count - turns.queued)
        self.turns.add_metric(["waiting"], turns.waiting)
        self.oldest.add_metric([], _age_s(turns.oldest_at, now))
        self.oldest_waiting.add_metric([], _age_s(turns.oldest_waiting_at, now))


def _age_s(since: float | None, now: Callable[[], float]) -> float:
    return 0.0 if since is None else max(0.0, now() - since)
