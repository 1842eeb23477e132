"""`toolbridge purge`: removes a person's words wherever they are kept. It works while `toolbridge run` does."""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters.registry import terminal_user
from bot.cli.output import report
from bot.cli.servers import interruptible
from bot.cli.start import start
from bot.composition.storage import open_files
from bot.database import open_database
from bot.domain.audit import AuditEntry
from bot.domain.errors import SettingsError
from bot.domain.people import Actor
from bot.intake.commands.phrases import undeleted
from bot.keeping.files import FilesGone, KeptFiles
from bot.ports.retention_store import PersonTraces
from bot.ports.store import Store
from bot.rights.current import policy_of
from bot.rights.notation import ACCOUNT_CURE, account
from bot.settings import Settings
from bot.text.counting import count

STOP_S = 20.0  # for turns of the person that are running, in whichever process
LOOK_S = 0.2
OK, FAILED, BAD_USAGE = 0, 1, 2
_NOT_REMOVED = "Nothing was removed. --yes removes it without asking."
STAYS = (
    "What stays: ids and times (who asked, voted and ran what, and when), what the audit says without its arguments, "
    "sentences of answers to other people that repeat their words, and what the chat platform itself has."
)


async def purge(arguments: Namespace) -> int:
    """Say what would go, ask, and remove it. Without a terminal nothing is removed unless `--yes` is given.

    Returns 1 where something is left: a question that is still being answered, or a file that could not be deleted.

    Raises:
        SettingsError: The person is none.
    """
    person = account(arguments.person)
    if person is None:
        raise SettingsError(f"{arguments.person!r} names no person. {ACCOUNT_CURE}")
    settings = start(arguments, needs_model=False)
    async with open_database(settings) as store:
        traces = await store.traces(person)
        files = await open_files(settings, store)
        saved = sum([await files.count_saved(conversation) for conversation in traces.direct])
        kept = _numbers(traces, saved)
        others = list(_others(settings, person))
        if not (arguments.json or arguments.quiet):
            _say([f"{arguments.person}:", *_found(traces, saved), STAYS, *others])
        told = {"person": str(person), "kept": kept, "open_turns": traces.open_turns, "notes": others}
        if traces == PersonTraces(names=traces.names):
            report(arguments, {**told, "removed": {}}, ())
            return OK
        if not arguments.yes and (arguments.json or arguments.quiet or not _confirmed()):
            report(arguments, {**told, "removed": None}, [_NOT_REMOVED])
            return OK if sys.stdin.isatty() else BAD_USAGE
        removed = await remove(store, files, person)
    report(arguments, {**told, **removed.as_json}, removed.lines)
    for line in removed.left:
        print(line, file=sys.stderr if arguments.json or arguments.quiet else sys.stdout)
    return FAILED if removed.left else OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What went, and sentences on what is left."""

    as_json: Mapping[str, object]
    lines: Sequence[str]
    left: Sequence[str]


async def remove(store: Store, files: KeptFiles, person: Actor, *, patience_s: float = STOP_S) -> Removed:
    """Stop the person's turns, remove their words, and return what went."""
    await _stop(store, person, patience_s=patience_s)
    gone = await store.forget_person(person)
    files_gone = FilesGone()
    for conversation in gone.direct:
        files_gone += await files.forget(conversation, gone.forgotten.event_keys, with_saved=True)
    by = f"console:{terminal_user()}"
    await store.audit([AuditEntry(kind="act", at=time.time(), person=by, place="console", outcome=f"purged {person}")])
    await store.scrub()
    typed, attached = files_gone.typed_lines, files_gone.attachments
    beside = [f"lines typed in the terminal: {typed:,}", f"attachments: {attached:,}"] if typed or attached else []
    removed = {**_numbers(gone, files_gone.saved), "typed_lines": typed, "attachments": attached}
    left = [undeleted(files_gone.undeleted)] if files_gone.undeleted else []
    if gone.open_turns:
        which = count(gone.open_turns, "question")
        left.append(
            f"{which} of theirs did not end within {patience_s:.0f} s and was kept: run this again in a minute."
        )
    return Removed(
        as_json={
            "removed": {name: number for name, number in removed.items() if number},
            "undeleted_files": files_gone.undeleted,
            "open_turns": gone.open_turns,
        },
        lines=["Removed:", *(f"  {line}" for line in (*_found(gone, files_gone.saved), *beside))],
        left=left,
    )


async def _stop(store: Store, person: Actor, *, patience_s: float) -> None:
    for _ in range(int(patience_s / LOOK_S)):
        if not await store.stop_person(person, by=f"console:{terminal_user()}"):
            return
        await asyncio.sleep(LOOK_S)


# --- what is said ---


def _say(lines: Sequence[str]) -> None:
    first, *others = lines
    print(first)
    for line in others:
        print(f"  {line}")


_WHAT = {
    "turns": "turns that they asked for, with answers and tool results",
    "quotations": "quotations of them in questions of others",
    "contexts": "questions of others that quoted them (all that such a question pointed at goes)",
    "summaries": "summaries of conversations in which they spoke (new ones are made of what is kept)",
    "answers": "texts that they filled in or edited in turns of others",
    "audit_lines": "lines of the audit that lose their arguments",
    "ratings": "ratings",
    "grants": "permissions for an hour",
    "notes": "notes on their direct messages",
    "saved_files": "files saved in their direct messages",
}


def _numbers(traces: PersonTraces, saved: int) -> Mapping[str, int]:
    """Return how much there is of each kind; nothing of what there is none."""
    counts = {
        "turns": traces.forgotten.turns,
        "quotations": traces.quotations,
        "contexts": traces.contexts,
        "summaries": traces.summaries,
        "answers": traces.answers,
        "audit_lines": traces.forgotten.arguments,
        "ratings": traces.ratings,
        "grants": traces.grants,
        "notes": traces.notes,
        "saved_files": saved,
    }
    return {name: number for name, number in counts.items() if number}


def _found(traces: PersonTraces, saved: int) -> Iterator[str]:
    lines = [f"{_WHAT[name]}: {number:,}" for name, number in _numbers(traces, saved).items()]
    yield from lines or ["nothing is kept of their words"]
    if traces.open_turns:
        yield f"not answered yet: {count(traces.open_turns, 'question')} (they are stopped first)"


def _others(settings: Settings, person: Actor) -> Iterator[str]:
    """Yield the other accounts of the person, which are purged by themselves."""
    try:
        accounts = policy_of(settings).accounts_of(person)
    except SettingsError:
        yield "toolbridge.toml cannot be read: it may link other accounts of this person."
        return
    if linked := sorted(str(one) for one in accounts if one != person):
        yield f"[people] links other accounts, each of which is purged by itself: {', '.join(linked)}"


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        return False
    print("Remove all this for good? [y/N] ", end="", flush=True)
    with interruptible():
        return sys.stdin.readline().strip().lower() in ("y", "yes")
