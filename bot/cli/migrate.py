"""`toolbridge migrate --to postgresql://...`: moves everything from the SQLite database to a PostgreSQL database."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bot.cli.output import report
from bot.cli.start import start
from bot.database import open_database, postgres_options
from bot.domain.errors import BotError, SettingsError
from bot.keeping.files import WORKSPACES
from bot.keeping.replacing import using
from bot.settings import Settings
from bot.stores.factory import describe_store, signed_in
from bot.stores.secret_key import FILE_NAME, SecretKeys, secret_keys
from bot.stores.secret_notes import MARK, look_at_secrets
from bot.stores.shared_secret import NAME as SHARED_IDS
from bot.text.counting import count
from bot.text.database_urls import is_postgres, secrets_of_database_url, sqlite_path
from bot.text.known_values import known
from bot.tools.conversation_ids import key_to_share

LINE_S = 10.0  # from one line to the next while one table is moved, where there is no terminal

Progress = Callable[[str, int, int], None]


async def migrate(arguments: Namespace) -> int:
    """Move everything, or go on with a move that was broken off; return 0 once the counts on both sides agree.

    Raises:
        SettingsError: It cannot be moved, or not to its end; the sentence says what to do.
    """
    url: str = arguments.to
    if not is_postgres(url):
        raise SettingsError("--to must look like postgresql://user@host:5432/database.")
    with known.hiding(secrets_of_database_url(url), mode="on"):
        return await _migrate(arguments, start(arguments, needs_model=False), url)


async def _migrate(arguments: Namespace, settings: Settings, url: str) -> int:
    source = sqlite_path(settings.store_url)
    if source is None:
        raise SettingsError(
            "DATABASE_URL names no SQLite database, so there is nothing to move. Set it to sqlite:///path/to/file.db, "
            "or leave it unset for the one in the home folder."
        )
    if not source.is_file():
        raise SettingsError(f"The database {source} is not there, so there is nothing to move.")
    try:
        with using(settings.toolbridge_home):
            keys = await _keys(settings)
            counts = await _moved(settings, source, url, keys=keys, is_quiet=arguments.quiet)
    except SettingsError:
        raise
    except BotError as error:  # exit code 2 for whatever keeps it from its end
        raise SettingsError(str(error)) from error
    target = describe_store(url, schema=settings.database_schema)
    told = {"from": str(source), "to": target, "rows": sum(counts.values()), "tables": dict(counts)}
    first, *notes = _said_at_end(counts, source, target)
    report(arguments, told, [first], notes=notes)
    return 0


async def _moved(settings: Settings, source: Path, url: str, *, keys: SecretKeys, is_quiet: bool) -> Mapping[str, int]:
    try:
        from bot.stores.moving import Move
    except ImportError:
        raise SettingsError("PostgreSQL needs another package. Run pip install 'toolbridge[postgres]'.") from None
    wanted = replace(postgres_options(settings), listen_url="", setting="The URL of --to")
    with (
        signed_in(url, wanted, settings.database_auth) as (to, options),
        _shown(is_quiet=is_quiet) as progress,
    ):
        home = settings.toolbridge_home
        # Under the ids that are made with this key, conversations find their files.
        notes = {SHARED_IDS: f"{MARK}{keys.encrypt(key_to_share(home))}"}
        move = Move(source=source, url=to, options=options, workspaces=home / WORKSPACES, notes=notes)
        work = asyncio.create_task(asyncio.to_thread(move.run, progress))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            move.stop.set()
            await asyncio.wait([work])  # its batch is committed or not: the connection must not go in between
            raise


# --- keys ------------------------------------------------------------------------------------------------------


async def _keys(settings: Settings) -> SecretKeys:
    """Return the keys of the processes on the new database.

    Raises:
        SettingsError: None are set, or they do not read what is encrypted in the old one.
    """
    file, said = settings.toolbridge_home / FILE_NAME, settings.secret_key
    if not said and file.exists():
        raise SettingsError(
            f"TOOLBRIDGE_SECRET_KEY is not set. Processes on PostgreSQL all need the same one, and this database is "
            f"encrypted with that of the home folder. This sets it: "
            f'export TOOLBRIDGE_SECRET_KEY="$(cat {shlex.quote(str(file))})"'
        )
    secret_keys(said, home=settings.toolbridge_home, is_local=False)  # raises where one is no key, or none is set
    keys = SecretKeys(lambda: [key for part in said.split(",") if (key := part.strip())])
    async with open_database(settings) as store:
        lost = (await look_at_secrets(store, keys)).lost
        if lost and file.exists():
            raise SettingsError(
                f"{count(len(lost), 'token')} in this database cannot be read with TOOLBRIDGE_SECRET_KEY. Add the key "
                f"of the home folder behind yours: "
                f'export TOOLBRIDGE_SECRET_KEY="$TOOLBRIDGE_SECRET_KEY,$(cat {shlex.quote(str(file))})"'
            )
    return keys


# --- what is shown ---------------------------------------------------------------------------------------------


@contextmanager
def _shown(*, is_quiet: bool) -> Generator[Progress]:
    """Show how far it got: bars in a terminal, otherwise a line for each table and every ten seconds."""
    if is_quiet:
        yield lambda _table, _moved, _there_are: None
        return
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:15}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(table: str, moved: int, there_are: int) -> None:
            if table not in tasks:
                tasks[table] = bars.add_task(table, total=there_are)
            bars.update(tasks[table], completed=moved)

        yield show


class _Lines:
    def __init__(self) -> None:
        self._said_at = time.monotonic()
        self._ended: set[str] = set()

    def show(self, table: str, moved: int, there_are: int) -> None:
        now, is_end = time.monotonic(), moved >= there_are
        if not there_are or table in self._ended or (not is_end and now - self._said_at < LINE_S):
            return
        self._said_at = now
        if is_end:
            self._ended.add(table)
        print(f"{table}: {moved:,} of {there_are:,}", file=sys.stderr, flush=True)


def _said_at_end(counts: Mapping[str, int], source: Path, target: str) -> Sequence[str]:
    rows = count(sum(counts.values()), "row")
    return (
        f"{target} has all of it, {rows} in {len(counts)} tables; the counts on both sides are the same.",
        "Set DATABASE_URL to it and TOOLBRIDGE_SECRET_KEY to the same key for every process, then start them.",
        f"The old database {source} is as it was. Nothing uses it once DATABASE_URL is set.",
    )
