"""`toolbridge audit`: prints what was decided and run, and checks that nothing of it was changed."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from bot.cli.output import report
from bot.cli.since import since
from bot.cli.start import start
from bot.database import open_database
from bot.domain.audit import AuditLine
from bot.domain.errors import BotError, SettingsError
from bot.ports.rights_store import RightsStore
from bot.stores.chain import Chain
from bot.text.counting import count
from bot.text.terminal import visible, visible_json

PAGE_LINES = 1_000


class BrokenAuditError(BotError):
    """Lines of the audit were changed, removed or cut off."""


async def audit(arguments: Namespace) -> int:
    """Print the lines that are asked for, or with `verify` check all of them.

    Raises:
        SettingsError: The arguments do not fit together.
        BrokenAuditError: The audit is not as it was written.
    """
    is_filtered = bool(arguments.since or arguments.person or arguments.tool)
    if arguments.act == "verify" and is_filtered:
        raise SettingsError("`audit verify` checks every line: it takes no --since, --person or --tool.")
    if arguments.act != "verify" and (arguments.head or arguments.quiet):
        raise SettingsError("--head and --quiet are for `toolbridge audit verify`.")
    begin = since(arguments.since, now=time.time()) if arguments.since else 0.0
    async with open_database(start(arguments, needs_model=False)) as store:
        if arguments.act == "verify":
            chain = await verify(store, head=arguments.head)
            report(arguments, {"lines": chain.number, "head": chain.head}, [_verified(chain)])
            return 0
        async for line in lines(store, begin=begin, person=arguments.person, tool=arguments.tool):
            print(visible_json(as_json(line)) if arguments.json else as_text(line))
    return 0


async def lines(
    store: RightsStore, *, begin: float = 0.0, person: str = "", tool: str = ""
) -> AsyncGenerator[AuditLine]:
    """Yield the lines since a time, of one person, and of tools that the pattern names, in order."""
    after = 0
    while page := await store.audit_lines(after=after, since=begin, person=person, tool=tool, limit=PAGE_LINES):
        for line in page:
            yield line
        after = page[-1].number


async def verify(store: RightsStore, *, head: str = "") -> Chain:
    """Return the chain of all lines, which fit.

    Raises:
        BrokenAuditError: A line does not fit, or the chain does not contain `head`, which was its head once.
    """
    chain, is_found = Chain(), False
    async for line in lines(store):
        place = chain.number + 1
        if not chain.follow(line):
            raise BrokenAuditError(
                f"Line {place} of the audit does not fit: it, or what was before it, was changed or removed after it "
                f"was written. The {chain.number:,} lines before it fit. Compare the database with a backup."
            )
        is_found = is_found or chain.head == head.lower()
    if head and not is_found:
        raise BrokenAuditError(
            f"No line of the audit has the head {head}: lines were cut off its end, or it was written again. The "
            f"{chain.number:,} lines that are there fit. Compare the database with a backup."
        )
    return chain


def _verified(chain: Chain) -> str:
    return f"{count(chain.number, 'line')} checked; all fit.\nhead: {chain.head or 'none, the audit is empty'}"


# --- how a line is printed ---


def as_json(line: AuditLine) -> str:
    """Return the line as one JSON object; arguments that were purged are null."""
    entry = line.entry
    return json.dumps(
        {
            "at": _time(entry.at),
            "kind": entry.kind,
            "person": entry.person,
            "place": entry.place,
            "server": entry.server,
            "tool": entry.tool,
            "arguments": None if line.is_purged else entry.arguments,
            "verdict": entry.verdict,
            "rule": entry.rule,
            "approvers": entry.approvers,
            "outcome": entry.outcome,
            "turn": entry.turn_id,
            "call": entry.call_id,
            "number": line.number,
            "hash": line.hash,
        },
        ensure_ascii=False,
    )


def as_text(line: AuditLine) -> str:
    """Return the line for people to read; what it does not have is left out."""
    entry = line.entry
    call = f"{entry.server}/{entry.tool}" if entry.server or entry.tool else ""
    arguments = "(arguments purged)" if line.is_purged else entry.arguments
    labelled = {
        "verdict": entry.verdict,
        "rule": entry.rule,
        "approvers": ", ".join(entry.approvers),
        "outcome": entry.outcome,
    }
    parts = (
        _time(entry.at),
        entry.kind,
        entry.person,
        entry.place,
        f"{call} {arguments}".strip(),
        *(f"{label}: {text}" for label, text in labelled.items() if text),
    )
    return "  ".join(_on_one_line(part) for part in parts if part)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _on_one_line(text: str) -> str:
    return visible(text).replace("\n", " ").strip()
