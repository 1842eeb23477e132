"""Budgets under attack, in figures: a flood, calls at the same moment, and what it costs to keep count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.domain.answers import Queued
from bot.domain.budgets import Charge, Spent
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.messages import Usage
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from tests.fakes.ports import says
from tests.integration.attacking import ADA, ALLOWS_ALL, BEN, said, site

TURNS = 20
TEN = replace(says("Ten tokens."), usage=Usage(input_tokens=8, output_tokens=2))
RULES = f"{ALLOWS_ALL}\n[budgets]\nperson = {{ turns_per_day = {TURNS} }}\nplace = {{ tokens_per_day = 1_000_000 }}\n"


async def measure(*, flood: int = 500) -> dict[str, float | str]:
    """Return the figures by name."""
    with TemporaryDirectory() as folder:
        figures = await _flood(Path(folder), flood)
        return figures | await _cost(Path(folder) / "cost.db")


async def _flood(folder: Path, count: int) -> dict[str, float | str]:
    async with site(folder, TEN, text=RULES) as at:
        outcomes = await asyncio.gather(*(at.bot.inbox.accept(_asked(ADA, number)) for number in range(count)))
        began = time.monotonic()
        other = await at.bot.inbox.accept(_asked(BEN, 0))
        seconds = time.monotonic() - began
        await at.adapter.wait_for_posts(TURNS + 1)
        taken = sum(isinstance(outcome, Queued) for outcome in outcomes)
        return {
            "questions of one person at once": count,
            f"taken of them with a budget of {TURNS} turns": taken,
            "another person's question: taken": "yes" if isinstance(other, Queued) else "no",
            "another person's question: taken after (ms)": round(1_000 * seconds, 1),
        }


async def _cost(path: Path, *, rows: int = 10_000, charges: int = 500) -> dict[str, float | str]:
    """Measure a charge with few rows in the ledger, and with as many as years leave there."""
    async with open_sqlite(path) as store:
        early = await _per_charge(store, charges)
        for start in range(0, rows, 500):
            await asyncio.gather(*(store.charge(_charge([f"person:{n}"])) for n in range(start, start + 500)))
        late = await _per_charge(store, charges)
    return {
        "a charge (ms)": round(early, 3),
        f"a charge with {2 * rows:,} rows in the ledger (ms)": round(late, 3),
    }


async def _per_charge(store: Store, count: int) -> float:
    began = time.monotonic()
    await asyncio.gather(*(store.charge(_charge(["person:a", "place:b", "all"])) for _ in range(count)))
    return 1_000 * (time.monotonic() - began) / count


def _charge(ledgers: Sequence[str]) -> Charge:
    return Charge(ledgers=tuple(ledgers), periods=("2026-11-29", "2026-11"), spent=Spent(turns=1))


def _asked(by: str, number: int) -> MessageReceived:
    place = ConversationKey(platform="slack", space="T1", channel=f"C{number}", thread=f"{number}.0")
    return replace(said("now", by=by), conversation=place, event_key=f"{by} {number}")
