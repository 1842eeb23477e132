"""The metrics as Prometheus reads them: what is counted, who may read it, and that docs/metrics.md lists them all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.domain.asks import ApprovalAsk
from bot.domain.errors import StoreError
from bot.domain.messages import ToolCall, ToolOutcome, ToolResult, Usage
from bot.domain.turns import CallAsked, CallDecided, CallFinished, CallWaiting, StateChanged, TurnEvent
from bot.http.listener import open_listener
from bot.observe.metrics import Metrics
from bot.observe.readings import Sources
from bot.ports.cluster_store import OpenTurns
from bot.ports.observer import ModelCall
from bot.ports.platform import Connection
from bot.ports.tools import ServerStatus
from bot.ports.work_store import ClaimedTurn, Lease
from tests.fakes.platforms import Platform
from tests.fakes.ports import message

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
NOW = 1_800_000_000.0
Labels = Mapping[str, str]
OPEN = OpenTurns(count=5, queued=3, waiting=2, oldest_at=NOW - 60, oldest_waiting_at=NOW - 600)
SLACK = Connection(is_open=True, reconnects=3, rate_limits=4)
REPLICAS = [("deploys", "a", "down"), ("deploys", "b", "ready"), ("wiki", "a", "starting")]


@dataclass
class World:
    """The metrics of a process, with what it reads them from."""

    metrics: Metrics = field(default_factory=lambda: Metrics(provider="openai"))
    platform: Platform = field(default_factory=lambda: Platform("slack"))
    posts: Counter[tuple[str, str]] = field(default_factory=Counter)
    store_error: Exception | None = None
    looks: int = 0
    url: str = ""

    def watch(self) -> None:
        self.platform.connection = SLACK
        self.metrics.watch(
            Sources(
                adapters=[self.platform],
                servers=lambda: [ServerStatus(server=name, replica=one, state=state) for name, one, state in REPLICAS],
                posts=lambda: self.posts,
                model_rate_limits=lambda: 7,
                open_turns=self.open_turns,
                now=lambda: NOW,
            )
        )

    async def open_turns(self) -> OpenTurns:
        self.looks += 1
        if self.store_error:
            raise self.store_error
        return OPEN

    async def get(self, **headers: str) -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await client.get(self.url, headers=headers)

    async def samples(self) -> Mapping[str, float]:
        """Return all that is served, by name and labels as Prometheus writes them."""
        return {_key(name, labels): value for _, _, name, labels, value in _read((await self.get()).text)}


def _read(text: str) -> list[tuple[str, str, str, Labels, float]]:
    """Return each sample with the name and type of its family."""
    return [
        (family.name, family.type, sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def _key(name: str, labels: Labels) -> str:
    return name + "".join(f" {value}" for _, value in sorted(labels.items()))


@asynccontextmanager
async def serving(metrics: Metrics | None = None, *, watches: bool = True) -> AsyncGenerator[World]:
    world = World() if metrics is None else World(metrics)
    if watches:
        world.watch()
    async with open_listener("127.0.0.1", 0) as listener:
        world.url = f"http://127.0.0.1:{listener.port}/metrics"
        with listener.serve(world.metrics.route):
            yield world


def turn(*, fence: int = 1, wakes: int = 0, number: int = 7) -> ClaimedTurn:
    event = message("hi", conversation=replace(message("").conversation, platform="slack"))
    event = replace(event, sent_at=datetime.fromtimestamp(NOW - 3, UTC))
    lease = Lease(turn_id=number, conversation_id=1, fence=fence, attempt=1)
    return ClaimedTurn(lease=lease, event=event, state="running", wakes=wakes)


def asked(call_id: str = "a", *, server: str = "deploys") -> CallAsked:
    return CallAsked(round=0, call=ToolCall(id=call_id, name="x", arguments="{}"), server=server, tool="x")


def finished(call_id: str = "a", outcome: ToolOutcome = "ok") -> CallFinished:
    return CallFinished(round=0, result=ToolResult(call_id=call_id, text="", outcome=outcome, seconds=0.5))


APPROVAL = ApprovalAsk(
    server="deploys", tool="x", name="deploys__x", arguments="{}", digest="", rule="", rule_key="", reason=""
)


def waits(call_id: str = "a") -> CallWaiting:
    return CallWaiting(round=0, call_id=call_id, reason="", expires_at=NOW, ask=APPROVAL)


def see(world: World, *events: TurnEvent, of: ClaimedTurn | None = None) -> None:
    for event in events:
        world.metrics.turns.saw(of or turn(), event)


ANSWERED = (StateChanged(state="running"), StateChanged(state="delivering"), StateChanged(state="answered"))


def do_everything(world: World) -> None:
    """Have each metric count something."""
    see(world, ANSWERED[0], asked(), waits(), finished(), *ANSWERED[1:])
    world.metrics.settled("approved")
    world.metrics.committed(3)
    world.metrics.families.lag.observe(0.001)
    for purpose in ("answer", "summary"):
        usage = Usage(input_tokens=100, cached_tokens=40, output_tokens=7, micro_usd=1_500, unpriced_tokens=1)
        world.metrics.models.called(
            ModelCall(model="gpt", purpose=purpose, seconds=1.0, first_chunk_s=0.2, usage=usage)
        )


async def test_the_docs_list_every_metric_with_its_type_and_labels() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    listed = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    async with serving() as world:
        do_everything(world)
        served: dict[str, tuple[str, frozenset[str]]] = {}
        for family, kind, _, labels, _ in _read((await world.get()).text):
            if not family.startswith("process_"):
                name = f"{family}_total" if kind == "counter" else family
                served[name] = (kind, served.get(name, ("", frozenset[str]()))[1] | labels.keys() - {"le"})
    assert served == listed


async def test_a_turn_counts_by_its_end_with_the_time_since_its_message() -> None:
    async with serving(_at(NOW)) as world:
        assert (await world.samples())["toolbridge_turns_total slack failed"] == 0
        see(world, *ANSWERED)
        samples = await world.samples()
    assert samples["toolbridge_turns_total slack answered"] == 1
    assert samples["toolbridge_turn_answer_seconds_sum slack answered"] == pytest.approx(3)
    assert samples["toolbridge_turn_first_sign_seconds_sum slack"] == pytest.approx(3)


def _at(now: float) -> Metrics:
    return Metrics(provider="openai", now=lambda: now)


async def test_what_goes_on_after_a_wait_gives_no_first_sign_and_no_time_of_an_answer() -> None:
    async with serving() as world:
        see(world, StateChanged(state="running"), StateChanged(state="waiting"))
        see(world, *ANSWERED, of=turn(fence=2, wakes=1))
        samples = await world.samples()
    assert samples["toolbridge_turns_total slack waiting"] == samples["toolbridge_turns_total slack answered"] == 1
    assert samples["toolbridge_turn_first_sign_seconds_count slack"] == 1
    assert "toolbridge_turn_answer_seconds_count slack answered" not in samples


async def test_a_call_counts_by_its_server_also_where_an_earlier_attempt_or_process_asked_for_it() -> None:
    async with serving() as world:
        see(world, asked("a"), finished("a"), asked("b", server=""), finished("b", "error"), asked("c"))
        see(world, finished("c", "denied"), StateChanged(state="waiting"))
        world.metrics.turns.took_up(turn(fence=2, wakes=1), [asked("d", server="wiki"), waits("d")])
        see(world, finished("d", "timeout"), of=turn(fence=2, wakes=1))
        samples = await world.samples()
    counts = {
        name.partition(" ")[2]: count for name, count in samples.items() if name.startswith("toolbridge_tool_calls")
    }
    assert counts == {"ok deploys": 1, "error unknown": 1, "denied deploys": 1, "timeout wiki": 1}
    assert samples["toolbridge_tool_call_duration_seconds_count deploys"] == 1  # what is denied was not sent


async def test_an_approval_that_nobody_decided_counts_once_and_a_form_that_ran_out_does_not() -> None:
    async with serving() as world:
        see(world, waits("a"), CallWaiting(round=0, call_id="b", reason="", expires_at=NOW))
        see(world, StateChanged(state="waiting"))
        world.metrics.turns.took_up(turn(fence=2), [waits("a")])
        for call_id in ("a", "b"):
            see(world, CallDecided(round=0, call_id=call_id, outcome="expired"))
        world.metrics.settled("declined")
        samples = await world.samples()
    assert samples["toolbridge_approvals_requested_total"] == 1
    assert [samples[f"toolbridge_approvals_total {outcome}"] for outcome in ("expired", "declined", "approved")] == [
        1,
        1,
        0,
    ]


async def test_the_model_counts_calls_tokens_and_dollars_by_model_and_error() -> None:
    async with serving() as world:
        do_everything(world)
        world.metrics.models.called(ModelCall(model="gpt", purpose="answer", seconds=2.0, error="ModelAccessError"))
        samples = await world.samples()
    gpt = "chat openai gpt"
    assert samples[f"gen_ai_client_operation_duration_seconds_count  {gpt}"] == 2
    assert samples[f"gen_ai_client_operation_duration_seconds_count ModelAccessError {gpt}"] == 1
    assert samples[f"gen_ai_client_token_usage_sum {gpt} input"] == 200
    assert samples[f"gen_ai_client_token_usage_sum {gpt} output"] == 14
    assert samples["toolbridge_model_cost_usd_total gpt"] == pytest.approx(0.003)
    assert samples["toolbridge_model_cached_input_tokens_total gpt"] == 80


async def test_what_others_count_and_the_database_are_read_with_one_query_a_scrape() -> None:
    async with serving() as world:
        world.posts.update({("slack", "posted"): 5, ("slack", "failed"): 1})
        samples = await world.samples()
        assert world.looks == 1
    expected = {
        "toolbridge_turns_open queued": 3,
        "toolbridge_turns_open in_work": 2,
        "toolbridge_turns_open waiting": 2,
        "toolbridge_oldest_open_turn_age_seconds": 60,
        "toolbridge_oldest_waiting_turn_age_seconds": 600,
        "toolbridge_posts_total posted slack": 5,
        "toolbridge_posts_total rate_limited slack": 0,
        "toolbridge_rate_limited_total slack": 4,
        "toolbridge_rate_limited_total model": 7,
        "toolbridge_reconnects_total slack": 3,
        "toolbridge_platform_connected slack": 1,
        "toolbridge_tool_server_up deploys": 1,
        "toolbridge_tool_server_up wiki": 0,
        "toolbridge_store_up": 1,
    }
    assert {name: samples[name] for name in expected} == expected


@pytest.mark.parametrize("error", [StoreError("gone"), ValueError("a fault of ours")])
async def test_a_database_that_is_away_leaves_the_rest_readable(error: Exception) -> None:
    async with serving() as world:
        world.store_error = error
        samples = await world.samples()
    assert samples["toolbridge_store_up"] == 0
    assert samples["toolbridge_platform_connected slack"] == 1
    assert not [name for name in samples if name.startswith("toolbridge_turns_open")]


async def test_a_process_that_still_starts_can_be_read() -> None:
    async with serving(watches=False) as world:
        samples = await world.samples()
    assert "toolbridge_build_info 0.1.0" in samples and "toolbridge_store_up" not in samples


# --- who may read them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer right-token"}, 200),
        ({"authorization": "bearer right-token"}, 200),
        ({"authorization": "Bearer wrong-token"}, 401),
        ({"authorization": "Bearer right-token2"}, 401),
        ({"authorization": "Basic right-token"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({}, 401),
    ],
)
async def test_with_a_token_only_those_are_answered_who_show_it(headers: dict[str, str], status: int) -> None:
    async with serving(Metrics(provider="openai", token="right-token")) as world:
        answer = await world.get(**headers)
        assert answer.status_code == status
        assert world.looks == (status == 200)
        assert "right-token" not in answer.text


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
async def test_without_a_token_what_a_proxy_of_this_machine_forwards_is_refused(header: str) -> None:
    async with serving() as world:
        assert (await world.get()).status_code == 200
        assert (await world.get(**{header: "203.0.113.9"})).status_code == 403
