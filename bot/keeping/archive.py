"""A backup as one file: a ZIP archive of the home's files, with a manifest that says what each of them has to be."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from bot.domain.errors import BotError, SettingsError
from bot.keeping.files import ATTACHMENTS, TYPED, WORKSPACES
from bot.keeping.folders import files_in
from bot.keeping.private import FILE_MODE, make_folder, open_private

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "toolbridge.db"  # in the archive, however it is called where it is
RULES, IDS = "toolbridge.toml", "conversation.key"
_FILES = frozenset({DATABASE, TYPED, IDS, RULES})
_MOST_MANIFEST_BYTES = 256 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_UNPLAIN = re.compile(r"[\\:\x00]|^\.|^$")  # of a segment of a path: also "." and "..", and drafts
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, KeyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One file of a backup."""

    size: int  # in bytes
    sha256: str
    mtime: float  # when it was written last, in seconds since the epoch: retention goes by it


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a backup is of. `database` says where the texts were; only SQLite's are in the archive."""

    version: Annotated[str, Field(pattern=r"^[\w.+!-]{1,100}$")]  # of Toolbridge, as PEP 440 has it
    made_at: Annotated[str, Field(pattern=r"^[\dT:+-]{1,40}$")]  # ISO 8601, UTC
    database: Literal["sqlite", "postgresql"]
    schema: int = 0  # of the SQLite database
    rows: Mapping[str, int]  # of each of its tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive has to have in it; `files` is by path."""

    format: int
    about: About
    files: Mapping[str, Kept]

    def count(self, folder: str) -> int:
        """Return how many files of that folder of the home it has."""
        return sum(name.startswith(f"{folder}/") for name in self.files)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(kept.size for kept in self.files.values())


_MANIFEST = TypeAdapter(Manifest)


class StoppedError(BotError):
    """It was asked to stop, and nothing came of it."""


def files_to_keep(home: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a home that a backup has besides the database, each with its path there.

    What stands in the home itself may be a link, as those of mounted secrets and configuration are; no other link is
    followed. Keys of tokens, logs, `.env` and `mcp.json` are none of them.
    """
    for name in sorted(_FILES - {DATABASE}):
        if (home / name).is_file():
            yield name, home / name
    workspaces, attachments = home / WORKSPACES, home / ATTACHMENTS
    folders = [(f"{WORKSPACES}/{each.name}", each) for each in _sorted(workspaces)]
    for path, folder in (*folders, (ATTACHMENTS, Path(os.path.realpath(attachments)))):
        for file in sorted(files_in(folder)):
            if is_expected(name := f"{path}/{file.name}"):
                yield name, file


def _sorted(folder: Path) -> Sequence[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def not_kept(home: Path) -> Sequence[str]:
    """Return what is in the home under the name of something that a backup has, and is no file or folder to be read."""
    files = [name for name in sorted(_FILES - {DATABASE}) if not (home / name).is_file()]
    folders = [name for name in (WORKSPACES, ATTACHMENTS) if not (home / name).is_dir()]
    return [name for name in (*files, *folders) if os.path.lexists(home / name)]


def is_expected(name: str) -> bool:
    """Return whether a backup may have a file of that path: it can lead nowhere else."""
    segments = name.split("/")
    if any(map(_UNPLAIN.search, segments)) or not _is_unicode(name):
        return False
    match segments:
        case [single]:
            return single in _FILES
        case [folder, _]:
            return folder == ATTACHMENTS
        case [folder, _, _]:
            return folder == WORKSPACES
        case _:
            return False


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- writing ---------------------------------------------------------------------------------------------------


def write_archive(path: Path, files: Iterable[tuple[str, Path]], about: About, *, stop: threading.Event) -> Manifest:
    """Write the archive to a file that is not there yet, for its owner only; return its manifest. Blocks.

    What is deleted meanwhile is left out.

    Raises:
        StoppedError: `stop` was set.
        OSError: A file cannot be read or written.
    """
    with open(path, "xb", opener=open_private) as raw:
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            found = ((name, _add(archive, name, file, stop)) for name, file in files)
            manifest = Manifest(format=FORMAT, about=about, files={name: kept for name, kept in found if kept})
            archive.writestr(MANIFEST, _MANIFEST.dump_json(manifest, indent=1))
        raw.flush()
        os.fsync(raw.fileno())
    return manifest


def _add(archive: zipfile.ZipFile, name: str, file: Path, stop: threading.Event) -> Kept | None:
    try:
        source = file.open("rb")
    except FileNotFoundError:
        return None
    digest, size = hashlib.sha256(), 0
    info = zipfile.ZipInfo(name)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, FILE_MODE << 16
    with source, archive.open(info, "w", force_zip64=True) as target:
        while chunk := source.read(_CHUNK_BYTES):
            _heed(stop)
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
        return Kept(size=size, sha256=digest.hexdigest(), mtime=os.fstat(source.fileno()).st_mtime)


def _heed(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppedError("It was stopped.")


# --- reading ---------------------------------------------------------------------------------------------------


class Archive:
    """An archive whose manifest was read and agrees with the names in it."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest, *, path: Path) -> None:
        self._archive = archive
        self._path = path
        self.manifest = manifest

    def extract(self, folder: Path, *, stop: threading.Event) -> None:
        """Write all files to the folder, for their owner only, where each is what the manifest says. Blocks.

        Raises:
            SettingsError: The archive is damaged or was changed.
            StoppedError: `stop` was set.
            OSError: A file cannot be written.
        """
        for name, kept in self.manifest.files.items():
            try:
                with self._archive.open(name) as source:
                    self._extract(source, folder / name, kept, stop)
            except _DAMAGES as error:
                raise _damaged(self._path, f"{name} cannot be read") from error

    def _extract(self, source: IO[bytes], target: Path, kept: Kept, stop: threading.Event) -> None:
        make_folder(target.parent)
        digest, left = hashlib.sha256(), kept.size
        with open(target, "xb", opener=open_private) as file:
            while chunk := source.read(min(_CHUNK_BYTES, left + 1)):  # one byte more would be one too many
                _heed(stop)
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if left or digest.hexdigest() != kept.sha256:
            raise _damaged(self._path, f"{target.name} is not what was backed up")
        os.utime(target, (kept.mtime, kept.mtime))


@contextmanager
def open_archive(path: Path) -> Generator[Archive]:
    """Open a backup and check what it says of itself; its files are checked as they are extracted.

    Raises:
        SettingsError: It is no backup, it is damaged, or a newer version wrote it.
    """
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except _DAMAGES as error:
        raise _damaged(path, "it is no ZIP archive, or its end is missing") from error
    with archive:
        yield Archive(archive, _read_manifest(archive, path), path=path)


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    names = archive.namelist()
    try:
        if archive.getinfo(MANIFEST).file_size > _MOST_MANIFEST_BYTES:
            raise _damaged(path, "its manifest is too large")
        manifest = _MANIFEST.validate_json(archive.read(MANIFEST))
    except ValidationError as error:
        raise _damaged(path, f"its {MANIFEST} is not one of `toolbridge backup`") from error
    except _DAMAGES as error:
        raise _damaged(path, f"its {MANIFEST} cannot be read") from error
    if manifest.format > FORMAT:
        raise SettingsError(f"{path} was written by a newer version of Toolbridge ({manifest.about.version}). Upgrade.")
    if sorted(names) != sorted([MANIFEST, *manifest.files]):
        raise _damaged(path, f"its files are not those of its {MANIFEST}")
    if wrong := [name for name in manifest.files if not is_expected(name)]:
        raise _damaged(path, f"it has a file that no backup has ({wrong[0]!r})")
    return manifest


def _damaged(path: Path, why: str) -> SettingsError:
    return SettingsError(f"{path} is damaged, or no backup of Toolbridge: {why}. Nothing was changed.")
