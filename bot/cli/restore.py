"""`toolbridge restore FILE`: puts back what a backup has. Until all of it was checked, nothing is touched."""

from __future__ import annotations

import shlex
import shutil
import threading
import time
from argparse import Namespace
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from adapters.registry import terminal_user
from bot.cli.backup import contents, in_thread, problems_of
from bot.cli.output import report
from bot.cli.start import start
from bot.database import open_within_restore
from bot.domain.audit import AuditEntry
from bot.domain.errors import SettingsError, StoreError
from bot.keeping.archive import DATABASE, IDS, RULES, Archive, open_archive
from bot.keeping.files import ATTACHMENTS, TYPED, WORKSPACES
from bot.keeping.private import make_folder
from bot.keeping.replacing import PUT_AWAY, gathering, is_decided, replace_all
from bot.settings import Settings
from bot.stores.sqlite.snapshot import living_workers, read_contents
from bot.stores.sqlite.store import open_sqlite
from bot.text.counting import count
from bot.text.database_urls import read_database_url, sqlite_path
from bot.turns.worker import process_of

_SPARE_BYTES = 16_000_000  # that stay free on the disk


async def restore(arguments: Namespace) -> int:
    """Put what the archive has in place, all of it or nothing; return 0.

    Raises:
        SettingsError: The archive cannot be used, a process lives, or the home is not empty and `--force` not given.
        StoreError: The archive's database cannot be used.
    """
    settings = start(arguments, needs_model=False)
    file, home, database = _paths(arguments, settings)
    with problems_of(home), open_archive(file) as archive:
        places = Places(home=home, database=database, archive=archive)
        places.check(is_forced=arguments.force)
        await _refuse_living(settings, database)
        with gathering(home) as folder, _drafting(folder, home, database) as draft:
            await _gather(places, folder, draft)
            await _refuse_living(settings, database)  # it may have taken a while
            away = places.away()
            replace_all(home, away=away, into=places.into(folder, draft))
    _say(arguments, places, settings, away)
    return 0


def _paths(arguments: Namespace, settings: Settings) -> tuple[Path, Path, Path | None]:
    database = sqlite_path(settings.store_url)
    file = Path(arguments.file).expanduser()
    return file, settings.toolbridge_home.absolute(), None if database is None else database.absolute()


async def _refuse_living(settings: Settings, database: Path | None) -> None:
    """Raise SettingsError where a process works with what would be replaced."""
    processes = [process_of(worker) for worker in await _workers(settings, database)]
    # Of PostgreSQL's processes, those on other machines have other homes.
    count_away = database is not None
    living = sum(count_away if process is None else process.is_alive for process in processes)
    if living:
        alive = "One process of the bot is" if living == 1 else f"{living} processes of the bot are"
        raise SettingsError(
            f"{alive} alive on this database. Stop `toolbridge run` and `toolbridge chat` first. One that was killed, "
            f"and ran on another machine or in another container, counts for 15 s."
        )


async def _workers(settings: Settings, database: Path | None) -> Sequence[str]:
    if database is not None:
        return living_workers(database)
    try:
        async with open_within_restore(settings) as store:
            return await store.workers()
    except StoreError:  # it is restored later
        return []


@contextmanager
def _drafting(folder: Path, home: Path, database: Path | None) -> Generator[Path | None]:
    """Yield where the database is put together: on the file system of its place, which need not be that of the home.

    It is gone at the end, unless it was decided that it takes its place.
    """
    if database is None or database.parent == home:
        yield None if database is None else folder / DATABASE
        return
    draft = database.with_name(f".{database.name}.restoring")
    files = [draft, *_side_files(draft)]
    try:
        for file in files:  # of a restore that was killed
            file.unlink(missing_ok=True)
        yield draft
    finally:
        if not is_decided(home):
            for file in files:
                file.unlink(missing_ok=True)


def _side_files(database: Path) -> Sequence[Path]:
    return [database.with_name(f"{database.name}{end}") for end in ("-wal", "-shm", "-journal")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What an archive has, and where it goes; `database` is None with PostgreSQL."""

    home: Path
    database: Path | None
    archive: Archive

    def check(self, *, is_forced: bool) -> None:
        """Raise SettingsError where the archive cannot be restored here."""
        has_database = DATABASE in self.archive.manifest.files
        if has_database and self.database is None:
            raise SettingsError(
                "This backup has an SQLite database, and DATABASE_URL names PostgreSQL. Restore it without "
                "DATABASE_URL, then move it with `toolbridge migrate --to`."
            )
        if not has_database and self.database is not None:
            raise SettingsError(
                "This backup is of a bot whose database is PostgreSQL's, and DATABASE_URL names none. Set it first."
            )
        if not is_forced and (there := [source.name for source in self._replaced() if source.exists()]):
            raise SettingsError(
                f"{self.home} is not empty: it has {', '.join(there)}. Set TOOLBRIDGE_HOME to another folder, or give "
                f"--force: what is there is then kept beside."
            )
        make_folder(self.home)
        needed, free = self.archive.manifest.size + _SPARE_BYTES, shutil.disk_usage(self.home).free
        if needed > free:
            raise SettingsError(
                f"This needs {needed / 1e6:,.0f} MB in {self.home}, and {free / 1e6:,.0f} MB are free. Nothing was "
                f"changed."
            )

    def away(self) -> Sequence[tuple[Path, Path]]:
        """Return where each old file goes: into a folder of the home, a database from elsewhere beside itself."""
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        number = next(n for n in range(100) if not (self.home / f"{PUT_AWAY}{stamp}-{n}").exists())
        folder = Path(f"{PUT_AWAY}{stamp}-{number}")
        return [
            (
                source,
                folder / source.name if source.parent == self.home else source.with_name(f"{folder}-{source.name}"),
            )
            for source in self._replaced()
            if source.exists()
        ]

    def into(self, folder: Path, draft: Path | None) -> Sequence[tuple[Path, Path]]:
        """Return where each new file goes: those that were gathered in the folder, and the database."""
        names = [name for name in (WORKSPACES, ATTACHMENTS, TYPED, IDS, RULES) if (folder / name).exists()]
        moves = [(folder / name, self.home / name) for name in names]
        return [*moves, (draft, self.database)] if draft and self.database else moves

    def _replaced(self) -> Iterator[Path]:
        """Yield what the archive replaces, there or not; rules and the key of ids stay where it has none."""
        if self.database is not None:
            yield self.database
            yield from _side_files(self.database)
        yield from (self.home / name for name in (WORKSPACES, ATTACHMENTS, TYPED))
        yield from (self.home / name for name in (IDS, RULES) if name in self.archive.manifest.files)


async def _gather(places: Places, folder: Path, draft: Path | None) -> None:
    """Have all files in the folder, each as the manifest says, and the database at `draft`, ready to be used."""
    about = places.archive.manifest.about

    def extract(stop: threading.Event) -> None:
        places.archive.extract(folder, stop=stop)
        if draft is not None:
            if dict(read_contents(folder / DATABASE).rows) != dict(about.rows):
                raise SettingsError("The database of this backup does not have what it says. Nothing was changed.")
            if draft != folder / DATABASE:
                make_folder(draft.parent)
                shutil.move(folder / DATABASE, draft)

    await in_thread(extract)
    if draft is not None:
        by, outcome = f"console:{terminal_user()}", f"restored the backup of {about.made_at}"
        async with open_sqlite(draft) as store:  # raises where a newer version wrote it
            await store.audit([AuditEntry(kind="act", at=time.time(), person=by, place="console", outcome=outcome)])


def _say(arguments: Namespace, places: Places, settings: Settings, away: Iterable[tuple[Path, Path]]) -> None:
    manifest, folders = places.archive.manifest, sorted({str((places.home / to).parent) for _, to in away})
    rows = f"{count(manifest.about.rows.get('turn', 0), 'turn')}, " if places.database is not None else ""
    files = f"{count(manifest.count(WORKSPACES), 'saved file')} and {count(manifest.count(ATTACHMENTS), 'attachment')}"
    told = {"home": str(places.home), **contents(manifest), "put_away": folders}
    notes: list[str] = []
    if folders:
        there = ", ".join(folders)
        notes.append(f"What was there before is in {there}. Nothing deletes it: do so once you need it no more.")
    if RULES in manifest.files:
        notes.append(f"{RULES} is that of the backup: check that its rules are still what you want.")
    if settings.is_shared:
        url = read_database_url(settings.store_url).for_commands
        # In one transaction it is all of the dump or nothing, as here; otherwise it goes on after errors.
        whole = ["--clean", "--if-exists", "--single-transaction"]
        command = ["pg_restore", *whole, f"--dbname={url}", "toolbridge.dump"]
        notes.append(
            f"The texts and saved files are in PostgreSQL. With a dump of it, and all processes stopped:\n"
            f"  {shlex.join(command)}"
        )
    notes.append("Run `toolbridge doctor --trust` before you start the bot.")
    report(arguments, told, [f"The backup of {manifest.about.made_at} is in place: {rows}{files}."], notes=notes)
