"""All processes on a database know conversations under the same ids, also while keys are changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from bot.domain.errors import SettingsError
from bot.domain.events import ConversationKey
from bot.stores.secret_key import SecretKeys, secret_keys
from bot.stores.secret_notes import renew
from bot.stores.shared_secret import NAME, can_read, shared_secret
from bot.stores.sqlite.store import open_sqlite
from bot.tools.conversation_ids import key_to_share, open_conversation_ids, shared_conversation_ids

HERE = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.1")
OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


def keys(*said: str) -> SecretKeys:
    return secret_keys(",".join(said), home=Path("nowhere"), is_local=False)


async def test_of_processes_that_start_at_once_the_first_one_makes_it_for_all(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as one, open_sqlite(tmp_path / "a.db") as other:
        made = await asyncio.gather(
            *(shared_secret(store, keys(OLD), make=lambda home=home: key_to_share(tmp_path / home))
              for home, store in (("a", one), ("b", other), ("c", one)))
        )  # fmt: skip
        assert len(set(made)) == 1
        assert await shared_secret(other, keys(OLD), make=lambda: "never") == made[0]
        assert made[0] not in (await one.notes(NAME))[NAME]
    assert len(shared_conversation_ids(made[0]).of(HERE)) == 32


async def test_ids_stay_while_the_key_is_changed_and_after_it(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        said = ((OLD,), (OLD, NEW), (NEW, OLD), (NEW,))
        ids: list[str] = []
        for each in said:
            ids.append(await shared_secret(store, keys(*each), make=lambda: "00" * 32))
            assert not (await renew(store, store, keys(*each))).lost
        assert set(ids) == {"00" * 32}


async def test_a_process_with_another_key_is_refused_with_the_cure_and_changes_nothing(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        await shared_secret(store, keys(OLD), make=lambda: "00" * 32)
        before = await store.notes(NAME)
        with pytest.raises(SettingsError, match=r"TOOLBRIDGE_SECRET_KEY has another key .+ Give all of them the same"):
            await shared_secret(store, keys(OTHER), make=lambda: "11" * 32)
        assert await store.notes(NAME) == before
        assert not await can_read(store, keys(OTHER)) and await can_read(store, keys(OTHER, OLD))


def test_a_home_that_had_a_key_hands_it_on_and_makes_none_otherwise(tmp_path: Path) -> None:
    own = open_conversation_ids(tmp_path / "before")
    assert shared_conversation_ids(key_to_share(tmp_path / "before")).of(HERE) == own.of(HERE)
    assert shared_conversation_ids(key_to_share(tmp_path / "new")).of(HERE) != own.of(HERE)
    assert not (tmp_path / "new").exists()
