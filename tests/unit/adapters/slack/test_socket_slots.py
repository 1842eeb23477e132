"""How the processes of a bot divide Slack's ten connections."""

from __future__ import annotations

import structlog

from adapters.slack.socket_slots import CONNECTIONS, PATIENCE_S, SocketSlots, app_of, share_of
from bot.ports.cluster import About, LoneCluster, Member, Slot

PREFIX = "slack/A1/socket/"


class Crowd(LoneCluster):
    """This process among others, which hold these slots."""

    def __init__(self, others: int, *, held: dict[int, str] | None = None) -> None:
        super().__init__(worker="me")
        self.others = others
        for number, worker in (held or {}).items():
            name = f"{PREFIX}{number}"
            self.kept[name] = Slot(name=name, worker=worker, fence=1, taken_at=1.0, is_held=True)

    async def members(self, platform: str) -> list[Member]:
        names = ["me", *(f"other-{number}" for number in range(self.others))]
        return [Member(worker=name, expires_at=1e12, about=About(platforms=(platform,))) for name in names]

    async def take(self, name: str, *, rest_s: float = 0.0) -> Slot | None:
        before = self.kept.get(name)
        return None if before and before.is_held and before.worker != "me" else await super().take(name)


def test_up_to_five_processes_keep_two_connections_each_and_more_keep_one() -> None:
    assert [share_of(processes) for processes in range(1, 13)] == [2] * 5 + [1] * 7


def test_an_app_is_known_by_its_id_and_by_nothing_that_opens_it() -> None:
    assert app_of("xapp-1-A0123ABC-456-0011aabb") == "A0123ABC"
    assert app_of("secret") != app_of("another")
    assert "secret" not in app_of("secret")


async def test_one_of_two_goes_only_while_the_other_is_open_and_once_a_newcomer_has_its_own() -> None:
    cluster = Crowd(4, held={number: f"other-{number // 2}" for number in range(8)})
    slots = SocketSlots(cluster, app="A1")
    await slots.look(set())
    assert slots.keeps(0)
    assert slots.keeps(1)
    cluster.others = 5  # all ten are taken, and the newcomer has none
    await slots.look(set())
    assert slots.keeps(0)
    assert slots.keeps(1)  # none is open yet: nothing would come in
    await slots.look({0, 1})
    assert slots.keeps(0)
    assert not slots.keeps(1)
    await slots.leave(1)
    assert [slot.worker for slot in await cluster.slots(PREFIX) if not slot.is_held] == [""]


async def test_where_a_newcomer_can_have_a_free_place_nobody_closes_before_it_has_it() -> None:
    cluster = Crowd(4, held={number: f"other-{number}" for number in range(4)})
    slots = SocketSlots(cluster, app="A1")
    await slots.look(set())
    cluster.others = 5
    await slots.look({0, 1})
    assert slots.keeps(1)
    name = f"{PREFIX}9"
    cluster.kept[name] = Slot(name=name, worker="other-4", fence=1, taken_at=1.0, is_held=True)
    await slots.look({0, 1})
    assert slots.keeps(0)
    assert not slots.keeps(1)


async def test_a_place_that_another_process_has_taken_is_left_and_the_next_free_one_is_taken() -> None:
    cluster = Crowd(1)
    slots = SocketSlots(cluster, app="A1")
    await slots.look(set())
    name = f"{PREFIX}0"
    cluster.kept[name] = Slot(name=name, worker="other-0", fence=2, taken_at=1.0, is_held=True)
    await slots.look({0, 1})
    assert not slots.keeps(0)
    assert slots.keeps(1)
    assert not slots.may_take()  # before the connection is closed
    await slots.leave(0)
    assert slots.may_take()
    await slots.look({1})
    assert slots.keeps(0)


async def test_who_finds_no_place_says_so_once_until_there_was_one() -> None:
    cluster = Crowd(10, held={number: f"other-{number}" for number in range(CONNECTIONS)})
    slots = SocketSlots(cluster, app="A1")
    with structlog.testing.capture_logs() as logs:
        await slots.look(set())
        await slots.look(set())
        assert [entry["event"] for entry in logs] == ["slack_connections_taken"]
        cluster.kept[f"{PREFIX}4"] = Slot(name=f"{PREFIX}4", worker="", fence=1, taken_at=1.0)
        await slots.look(set())
        assert slots.keeps(0)
    assert len(logs) == 1
    assert PATIENCE_S < 30
