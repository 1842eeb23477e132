"""What the doctor says of the processes that share the database: which live, what each holds, and how they differ."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from bot.cli.checks import Check
from bot.ports.cluster import Member, Slot
from bot.ports.cluster_store import ClusterStore, OpenTurns
from bot.text.cleaning import clean, clean_name
from bot.text.counting import count

# How adapters call what one process holds at a time: platform, app, what, and which.
_SHARD = re.compile(r"[^/]+/[^/]+/shard/(?P<number>\d+)/of/(?P<all>\d+)")
_SOCKET = re.compile(r"[^/]+/[^/]+/socket/\d+")
_DIFFERENT = {
    "settings": "Give them the same settings, mcp.json and TOOLBRIDGE_SECRET_KEY, and restart one after the other.",
    "policy": "Give them the same toolbridge.toml, and send each SIGHUP or restart it.",
}


async def check_processes(store: ClusterStore, *, served: Collection[str], now: float) -> Sequence[Check]:
    """Return which are alive and what is open, and each way in which those that serve a platform of `served` differ.

    There is nothing to say where no process lives and nothing is open.
    """
    members, turns = await store.members(), await store.open_turns()
    if not members and turns == OpenTurns():
        return []
    slots = await store.slots("")
    lines = [_line(member, [slot for slot in slots if slot.worker == member.worker], now=now) for member in members]
    alive = "1 process alive" if len(members) == 1 else f"{len(members):,} processes alive"
    detail = f"{alive if members else 'none alive'}; {_open(turns, now=now)}"
    serving = [member for member in members if not set(served).isdisjoint(member.about.platforms)]
    return [Check(part="processes", state="ok", detail=detail, output=tuple(lines)), *_differences(serving)]


def _line(member: Member, slots: Sequence[Slot], *, now: float) -> str:
    about = member.about
    parts = [
        _name(member),
        f"version {about.version}" if about.version else "",
        " and ".join(about.platforms),
        f"since {datetime.fromtimestamp(about.started_at, UTC):%Y-%m-%d %H:%M} UTC" if about.started_at else "",
        *_held(slots),
        f"lease for {max(0.0, member.expires_at - now):.0f} s more",
        "it is ending" if about.is_draining else "",
    ]
    return clean(", ".join(filter(None, parts)))


def _name(member: Member) -> str:
    return clean_name(member.about.name or member.worker)


def _held(slots: Sequence[Slot]) -> Iterator[str]:
    shards = [shard for slot in slots if (shard := _SHARD.fullmatch(slot.name))]
    if shards:
        numbers = sorted(int(shard["number"]) for shard in shards)
        yield f"{'shard' if len(shards) == 1 else 'shards'} {', '.join(map(str, numbers))} of {shards[0]['all']}"
    if sockets := sum(_SOCKET.fullmatch(slot.name) is not None for slot in slots):
        yield count(sockets, "socket")


def _open(turns: OpenTurns, *, now: float) -> str:
    parts = [f"{count(turns.count, 'question')} open"]
    if turns.oldest_at is not None:
        parts.append(f"the oldest for {max(0.0, now - turns.oldest_at):,.0f} s")
    if turns.waiting:
        parts.append(f"{turns.waiting:,} more {'waits' if turns.waiting == 1 else 'wait'} for people")
    return ", ".join(parts)


def _differences(members: Sequence[Member]) -> Iterator[Check]:
    """Yield a check for each digest that is not the same in all, but for those that say none or are ending."""
    for what, cure in _DIFFERENT.items():
        groups = _by_digest(members, what)
        if len(groups) > 1:
            named = "; ".join(f"{', '.join(names)} ({digest})" for digest, names in groups.items())
            detail = clean(f"these processes do not have the same {what}: {named}.")
            yield Check(part="processes", state="failed", detail=detail, cure=cure)


def _by_digest(members: Sequence[Member], what: str) -> Mapping[str, Sequence[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for member in members:
        digest: str = getattr(member.about, what)
        if digest and not member.about.is_draining:
            groups[digest].append(_name(member))
    return groups
