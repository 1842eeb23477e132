"""`toolbridge usage`: what was used in a day or a month, and by whom; for operators."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from argparse import Namespace

from bot.cli.start import start
from bot.domain.budgets import Spent, periods_at
from bot.domain.errors import SettingsError
from bot.intake.commands.phrases import spent_phrase
from bot.rights.current import open_policy
from bot.stores.factory import open_store
from bot.text.cleaning import clean


async def usage(arguments: Namespace) -> int:
    """Print the ledgers that used most in the period; people, places and `all`, each by its own name.

    Raises:
        SettingsError: It is no day and no month.
    """
    settings = start(arguments, needs_model=False)
    zone = open_policy(settings).now().budgets.zone
    period = arguments.period or periods_at(time.time(), zone)[1].key
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?", period):
        raise SettingsError(f"--period {period!r} is no period. Write a month or a day: 2026-11, 2026-11-29.")
    async with open_store(settings.store_url) as store:
        found = await store.top_ledgers(period, limit=arguments.limit)
    if arguments.json:
        print(json.dumps([_as_json(name, period, spent) for name, spent in found], indent=2))
    else:
        print("\n".join([f"{clean(name)}: {spent_phrase(spent)}" for name, spent in found] or ["Nothing was used."]))
    return 0


def _as_json(name: str, period: str, spent: Spent) -> dict[str, object]:
    return {"ledger": name, "period": period, "turns": spent.turns, **dataclasses.asdict(spent.usage)}
