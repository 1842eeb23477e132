"""`toolbridge usage`: what was used in a day or a month, and by whom; for operators."""

from __future__ import annotations

import dataclasses
import re
import time
from argparse import Namespace
from datetime import date

from bot.cli.output import print_json, print_lines
from bot.cli.start import start
from bot.database import open_database
from bot.domain.budgets import Spent, period_keys
from bot.domain.errors import SettingsError
from bot.intake.commands.phrases import spent_phrase
from bot.rights.current import policy_of
from bot.text.cleaning import clean


async def usage(arguments: Namespace) -> int:
    """Print the ledgers that used most in the period; people, places and `all`, each by its own name.

    Raises:
        SettingsError: It is no day and no month.
    """
    settings = start(arguments, needs_model=False)
    period = arguments.period or period_keys(time.time(), policy_of(settings).budgets.zone)[1]
    if not _is_period(period):
        raise SettingsError(f"--period {period!r} is no period. Write a month or a day: 2026-11, 2026-11-29.")
    async with open_database(settings) as store:
        found = await store.top_ledgers(period, limit=arguments.limit)
    if arguments.json:
        print_json([_as_json(name, period, spent) for name, spent in found])
    elif arguments.quiet:
        print_lines(name for name, _ in found)
    else:
        print("\n".join([f"{clean(name)}: {spent_phrase(spent)}" for name, spent in found] or ["Nothing was used."]))
    return 0


def _is_period(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?", text):
        return False
    try:
        date.fromisoformat(text if len(text) > len("2026-11") else f"{text}-01")
    except ValueError:
        return False
    return True


def _as_json(name: str, period: str, spent: Spent) -> dict[str, object]:
    return {"ledger": name, "period": period, "turns": spent.turns, **dataclasses.asdict(spent.usage)}
