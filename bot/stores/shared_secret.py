"""The secret of which the ids of conversations are made, where several processes share a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bot.domain.errors import SettingsError
from bot.ports.retention_store import RetentionStore
from bot.ports.store import NoteStore
from bot.stores.secret_key import SecretKeys
from bot.stores.secret_notes import MARK

NAME = "secret/conversation-ids"  # a secret note: `renew` encrypts it with the first key, as it does with tokens
UNREADABLE = (
    "TOOLBRIDGE_SECRET_KEY has another key than the one that other processes on this database use: it does not read "
    "the key of the conversations' ids. Give all of them the same keys, while a key is changed both the old and the "
    "new one. docs/data.md says how to change it."
)


class SharedNotes(NoteStore, RetentionStore, Protocol):
    """What of a store is needed here."""


async def shared_secret(store: SharedNotes, keys: SecretKeys, *, make: Callable[[], str]) -> str:
    """Return the secret; the first process makes it, whichever that is, and a change of keys does not change it.

    Raises:
        SettingsError: It is encrypted with a key that this process does not have.
        StoreError: The database failed.
    """
    kept = await _kept(store) or await store.first_note(NAME, f"{MARK}{keys.encrypt(make())}")
    if (secret := keys.decrypt(kept.removeprefix(MARK))) is None:
        raise SettingsError(UNREADABLE)
    return secret


async def can_read(store: NoteStore, keys: SecretKeys) -> bool:
    """Return whether a process with these keys could use the secret; where there is none yet, it would make it."""
    kept = await _kept(store)
    return not kept or keys.decrypt(kept.removeprefix(MARK)) is not None


async def _kept(store: NoteStore) -> str:
    return (await store.notes(NAME)).get(NAME, "")
