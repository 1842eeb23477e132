"""Notes that hold tokens: encrypted in the store, in the clear for those who read and write them here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from bot.ports.retention_store import RetentionStore
from bot.ports.store import NoteStore
from bot.stores.secret_key import SecretKeys

log = structlog.stdlib.get_logger(__name__)

SECRET = ("slack/install/", "secret/")  # the names of such notes begin so
MARK = "fernet:"  # before what is encrypted; notes of earlier versions are in the clear
LOST = (
    "encrypted with a key that is missing. Put that key into TOOLBRIDGE_SECRET_KEY, after the one that is used now, or "
    "restore the file secret-key of the home folder. Without it, install the app there again, at /slack/install."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What became of the secret notes: how many were written again, and the names of those that no key reads."""

    renewed: int = 0
    lost: tuple[str, ...] = ()


class SecretNotes:
    """Satisfies `NoteStore`. A note that no key reads is as if it were not there; the log says so once."""

    def __init__(self, notes: NoteStore, keys: SecretKeys) -> None:
        self._notes = notes
        self._keys = keys
        self._reported: set[str] = set()

    async def notes(self, prefix: str) -> Mapping[str, str]:
        """See `NoteStore`."""
        kept = await self._notes.notes(prefix)
        read = {name: self._read(name, text) for name, text in kept.items()}
        return {name: text for name, text in read.items() if text is not None}

    async def put_note(self, name: str, text: str | None) -> None:
        """See `NoteStore`. Raises StoreError where there is no key and none can be made."""
        await self._notes.put_note(name, text if text is None or not is_secret(name) else self._encrypted(text))

    def _encrypted(self, text: str) -> str:
        return f"{MARK}{self._keys.encrypt(text)}"

    def _read(self, name: str, text: str) -> str | None:
        if not is_secret(name) or not text.startswith(MARK):
            return text
        found = self._keys.decrypt(text.removeprefix(MARK))
        if found is None and name not in self._reported:
            self._reported.add(name)
            log.warning("secret_not_readable", note=name, cure=f"It is {LOST}")
        return found


async def renew(store: NoteStore, retention: RetentionStore, keys: SecretKeys) -> Renewal:
    """Encrypt what is in the clear, and with the first key what was encrypted with another.

    A note that another process changes meanwhile is left to it.
    """
    renewed, lost = 0, list[str]()
    for name, text in await _secrets(store):
        if not text.startswith(MARK):
            new = f"{MARK}{keys.encrypt(text)}"
        elif (rotated := keys.rotate(text.removeprefix(MARK))) is None:
            lost.append(name)
            continue
        else:
            new = f"{MARK}{rotated}"
        if new != text:
            renewed += await retention.replace_note(name, old=text, new=new)
    if renewed:
        await retention.scrub()
    return Renewal(renewed=renewed, lost=tuple(lost))


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsKept:
    """How many secret notes there are, how many are in the clear still, and the names of those that no key reads."""

    count: int = 0
    clear: int = 0
    lost: tuple[str, ...] = ()


async def look_at_secrets(store: NoteStore, keys: SecretKeys) -> SecretsKept:
    """Return the state of the secret notes; nothing is changed."""
    found = await _secrets(store)
    encrypted = [(name, text.removeprefix(MARK)) for name, text in found if text.startswith(MARK)]
    lost = tuple(name for name, text in encrypted if keys.decrypt(text) is None)
    return SecretsKept(count=len(found), clear=len(found) - len(encrypted), lost=lost)


async def _secrets(store: NoteStore) -> Sequence[tuple[str, str]]:
    return [item for prefix in SECRET for item in (await store.notes(prefix)).items()]


def is_secret(name: str) -> bool:
    """Return whether the note of that name is to be encrypted."""
    return name.startswith(SECRET)


def lost_sentence(names: Sequence[str]) -> str:
    """Return the sentence for operators on notes that no key reads."""
    is_or_are = "is" if len(names) == 1 else "are"
    return f"{', '.join(names)} {is_or_are} {LOST}"
