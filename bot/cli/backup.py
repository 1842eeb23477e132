"""`toolbridge backup FILE`: one archive of what is kept, also while the bot runs."""

from __future__ import annotations

import asyncio
import shlex
import stat
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from adapters.registry import terminal_user
from bot.cli.output import report
from bot.cli.start import start
from bot.database import describe_database, open_database
from bot.domain.audit import AuditEntry
from bot.domain.errors import SettingsError
from bot.keeping.archive import DATABASE, RULES, About, Manifest, files_to_keep, not_kept, write_archive
from bot.keeping.drafts import PREFIX, drafting
from bot.keeping.files import ATTACHMENTS, WORKSPACES
from bot.keeping.replacing import using
from bot.rights.current import policy_file
from bot.settings import Settings
from bot.stores.sqlite.snapshot import Contents, copy_database
from bot.text.counting import count
from bot.text.database_urls import read_database_url, sqlite_path
from bot.text.terminal import visible

T = TypeVar("T")


async def backup(arguments: Namespace) -> int:
    """Write the archive, whole or not at all; return 0.

    Raises:
        SettingsError: The file exists and `--force` is not given, or it cannot be written.
        StoreError: The database cannot be used.
    """
    settings = start(arguments, needs_model=False)
    target = _target(arguments)
    by = f"console:{terminal_user()}"
    with using(settings.toolbridge_home):
        async with open_database(settings) as store:  # brings an old database up to date, too
            await store.audit([AuditEntry(kind="act", at=time.time(), person=by, place="console", outcome="backed up")])
        with problems_of(target):
            manifest = await in_thread(lambda stop: _write(settings, target, stop))
            unread = not_kept(settings.toolbridge_home)
    told = {"file": str(target), **contents(manifest), "left_out": unread}
    if unread:
        print(visible(_left_out(unread, settings)), file=sys.stderr)  # also with --quiet: not all is well
    notes = [*([_dump(settings)] if settings.is_shared else []), _apart(settings)]
    report(arguments, told, [f"{target} has {_contents(manifest)}."], notes=notes)
    return 0


def _target(arguments: Namespace) -> Path:
    target = Path(arguments.file).expanduser().absolute()
    try:
        is_file = stat.S_ISREG(target.stat().st_mode)
    except FileNotFoundError:
        return target
    except OSError as error:
        raise _unwritable(target, error) from error
    if is_file and arguments.force:
        return target
    cure = "Name another one, or give --force to replace it." if is_file else "Name another one, or a file in it."
    raise SettingsError(f"{target} exists. {cure}")


def _unwritable(target: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"{target} cannot be written: {error.strerror or error}. Name a file in a folder that this user may write to."
    )


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Return what the work returns, which runs in a thread; on cancellation its event is set, and its end awaited."""
    stop = threading.Event()
    task = asyncio.create_task(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        raise


@contextmanager
def problems_of(file: Path) -> Generator[None]:
    """Turn errors of the file system into a sentence about the file, or about another one that was read for it."""
    try:
        yield
    except OSError as error:
        where = file if PREFIX in str(error.filename) else error.filename or file
        raise SettingsError(
            f"{where}: {error.strerror or error}. Free some space there, or see to its permissions."
        ) from error


def _write(settings: Settings, target: Path, stop: threading.Event) -> Manifest:
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(drafting(target))
        except OSError as error:
            raise _unwritable(target, error) from error
        database = sqlite_path(settings.store_url)
        found = None if database is None else copy_database(database, folder / DATABASE, stop=stop)
        files = [] if found is None else [(DATABASE, folder / DATABASE)]
        files += files_to_keep(settings.toolbridge_home)
        manifest = write_archive(folder / "archive", files, _about(found), stop=stop)
        (folder / "archive").replace(target)
    return manifest


def _about(found: Contents | None) -> About:
    return About(
        version=metadata.version("toolbridge"),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        database="postgresql" if found is None else "sqlite",
        schema=0 if found is None else found.schema,
        rows={} if found is None else found.rows,
    )


def contents(manifest: Manifest) -> dict[str, object]:
    """Return what an archive has, for scripts; with PostgreSQL it has no turns."""
    about = manifest.about
    return {
        "made_at": about.made_at,
        "version": about.version,
        "database": about.database,
        "schema": about.schema or None,
        "turns": about.rows.get("turn", 0) if about.database == "sqlite" else None,
        "saved_files": manifest.count(WORKSPACES),
        "attachments": manifest.count(ATTACHMENTS),
    }


def _contents(manifest: Manifest) -> str:
    parts = [count(manifest.count(WORKSPACES), "saved file"), count(manifest.count(ATTACHMENTS), "attachment")]
    if manifest.about.database == "sqlite":
        turns = count(manifest.about.rows.get("turn", 0), "turn")
        parts.insert(0, f"the database with {turns} (schema {manifest.about.schema})")
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _dump(settings: Settings) -> str:
    """Return how the rest is backed up, without anything secret."""
    url = read_database_url(settings.store_url).for_commands
    command = ["pg_dump", "--format=custom", f"--schema={settings.database_schema}", "--file=toolbridge.dump", url]
    return (
        f"The texts and saved files are in {describe_database(settings)}, and not in this file. Back them up with "
        f"PostgreSQL's own command, which is not older than the server:\n  (umask 077 && {shlex.join(command)})"
    )


def _left_out(unread: Sequence[str], settings: Settings) -> str:
    return (
        f"toolbridge: Left out, because no file or folder can be read there: {', '.join(unread)} in "
        f"{settings.toolbridge_home}. See where it leads, and write the backup again."
    )


def _apart(settings: Settings) -> str:
    """Return what has to be kept apart from the archive."""
    rules, in_home = policy_file(settings), settings.toolbridge_home.absolute() / RULES
    elsewhere = None if rules is None or rules.absolute() == in_home else rules.absolute()
    files = (settings.mcp_config or "mcp.json", settings.system_prompt_file, elsewhere)
    names = ["secret-key (or TOOLBRIDGE_SECRET_KEY)", ".env", *(str(file) for file in files if file is not None)]
    return (
        f"It has everyone's words: keep it as safe as the home folder. What it does not have: {', '.join(names[:-1])} "
        f"and {names[-1]}. Keep copies of those apart from it."
    )
