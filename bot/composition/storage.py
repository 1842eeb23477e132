"""The database as the product uses it, with the keys, notes, ids and files that go with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog

from bot.database import open_database
from bot.domain.errors import StoreUnreachableError
from bot.keeping.files import WORKSPACES, KeptFiles
from bot.keeping.folders import SavedFolders
from bot.ports.store import Store
from bot.settings import Settings
from bot.stores.reaching import open_when_reached
from bot.stores.secret_key import SecretKeys, secret_keys
from bot.stores.secret_notes import SecretNotes, lost_sentence, renew
from bot.stores.shared_secret import shared_secret
from bot.tools.conversation_ids import ConversationIds, key_to_share, open_conversation_ids, shared_conversation_ids

log = structlog.stdlib.get_logger(__name__)


def open_store(
    settings: Settings, *, waits: Callable[[StoreUnreachableError], None] | None
) -> AbstractAsyncContextManager[Store]:
    """Open the database; with `waits`, once it can be reached. Raises what `open_database` does."""
    if waits is None:
        return open_database(settings)
    return open_when_reached(lambda: open_database(settings), waits)


def open_secret_keys(settings: Settings) -> SecretKeys:
    """Return the keys of what is kept encrypted. Raises SettingsError."""
    return secret_keys(settings.secret_key, home=settings.toolbridge_home, is_local=not settings.is_shared)


async def open_notes(store: Store, *, keys: SecretKeys) -> SecretNotes:
    """Return the notes, in which tokens are encrypted from here on; those that no key reads cost only themselves."""
    renewal = await renew(store, store, keys)
    if renewal.renewed:
        log.info("secrets_encrypted", notes=renewal.renewed)
    if renewal.lost:
        log.error("secrets_not_readable", cure=lost_sentence(renewal.lost))
    return SecretNotes(store, keys)


async def open_ids(settings: Settings, store: Store, *, keys: SecretKeys) -> ConversationIds:
    """Return the ids of conversations: the same in all processes that share the database. Raises SettingsError."""
    home = settings.toolbridge_home
    if not settings.is_shared:
        return open_conversation_ids(home)
    return shared_conversation_ids(await shared_secret(store, keys, make=lambda: key_to_share(home)))


async def open_files(settings: Settings, store: Store) -> KeptFiles:
    """Return the files kept with the store's texts. Raises SettingsError where their names' key cannot be read."""
    ids = await open_ids(settings, store, keys=open_secret_keys(settings))
    return kept_files(settings, store, ids)


def kept_files(settings: Settings, store: Store, ids: ConversationIds) -> KeptFiles:
    """Return the files kept with the store's texts, which tool servers know by these ids."""
    home = settings.toolbridge_home
    in_folders = SavedFolders(home / WORKSPACES)  # also from before the database had them
    saved = (in_folders,) if store.saved_files is None else (store.saved_files, in_folders)
    return KeptFiles(home, id_of=ids.of, saved=saved)
