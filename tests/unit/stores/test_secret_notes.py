"""Tokens are encrypted where they are kept, and keys can be changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from structlog.testing import capture_logs

from bot.domain.errors import SettingsError, StoreError
from bot.stores.secret_key import SecretKeys, secret_keys
from bot.stores.secret_notes import Renewal, SecretNotes, SecretsKept, look_at_secrets, lost_sentence, renew
from bot.stores.sqlite.store import open_sqlite
from tests.attacks.kept import holding

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
TOKEN = '{"bot_token": "xoxb-MARKER"}'
NAME = "slack/install/-/T1"


def keys(*said: str, home: Path) -> SecretKeys:
    return secret_keys(",".join(said), home=home, is_local=True)


async def test_a_token_is_read_as_it_was_written_and_is_nowhere_in_the_files(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        notes = SecretNotes(store, keys(OLD, home=tmp_path))
        await notes.put_note(NAME, TOKEN)
        await notes.put_note("slack/alive/T1", "12.5")
        assert await notes.notes("slack/") == {NAME: TOKEN, "slack/alive/T1": "12.5"}
        assert (await store.notes("slack/alive/"))["slack/alive/T1"] == "12.5"
        assert not holding(tmp_path, b"MARKER")
        await notes.put_note(NAME, None)
        assert await notes.notes(NAME) == {}


async def test_tokens_of_before_are_encrypted_at_the_start_and_nothing_of_them_is_left(
    tmp_path: Path,
) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        await store.put_note(NAME, TOKEN)
        assert await SecretNotes(store, keys(OLD, home=tmp_path)).notes(NAME) == {NAME: TOKEN}
        assert await renew(store, store, keys(OLD, home=tmp_path)) == Renewal(renewed=1)
        assert await SecretNotes(store, keys(OLD, home=tmp_path)).notes(NAME) == {NAME: TOKEN}
        assert not holding(tmp_path, b"MARKER")


async def test_a_new_key_before_the_old_one_takes_over_and_then_the_old_one_can_go(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        await SecretNotes(store, keys(OLD, home=tmp_path)).put_note(NAME, TOKEN)
        both = keys(NEW, OLD, home=tmp_path)
        assert (await renew(store, store, both)).renewed == 1
        assert (await renew(store, store, both)).renewed == 0
        assert await SecretNotes(store, keys(NEW, home=tmp_path)).notes(NAME) == {NAME: TOKEN}


async def test_a_lost_key_costs_only_what_it_encrypted_and_is_said_once_with_the_cure(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        await SecretNotes(store, keys(OTHER, home=tmp_path)).put_note(NAME, TOKEN)
        now = keys(NEW, home=tmp_path)
        notes = SecretNotes(store, now)
        await notes.put_note("slack/install/-/T2", TOKEN)
        with capture_logs() as logs:
            for _ in range(2):
                assert await notes.notes("slack/install/") == {"slack/install/-/T2": TOKEN}
        assert [(line["event"], line["note"]) for line in logs] == [("secret_not_readable", NAME)]
        assert await renew(store, store, now) == Renewal(lost=(NAME,))
        assert await look_at_secrets(store, now) == SecretsKept(count=2, lost=(NAME,))
        assert "TOOLBRIDGE_SECRET_KEY" in lost_sentence([NAME]) and "/slack/install" in lost_sentence([NAME])


async def test_what_an_earlier_version_left_in_the_clear_is_counted_as_such_until_it_is_encrypted(
    tmp_path: Path,
) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        await store.put_note(NAME, TOKEN)
        assert await look_at_secrets(store, keys(NEW, home=tmp_path)) == SecretsKept(count=1, clear=1)
        await renew(store, store, keys(NEW, home=tmp_path))
        assert await look_at_secrets(store, keys(NEW, home=tmp_path)) == SecretsKept(count=1)


async def test_without_a_setting_a_key_is_made_once_it_is_needed_for_its_owner_only(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        made = keys(home=tmp_path / "home")
        assert await renew(store, store, made) == Renewal()
        assert not (tmp_path / "home").exists()
        await SecretNotes(store, made).put_note(NAME, TOKEN)
        file = tmp_path / "home" / "secret-key"
        assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o600
        assert await SecretNotes(store, keys(home=tmp_path / "home")).notes(NAME) == {NAME: TOKEN}
        # A key that is set later comes first, and what the file's key wrote stays readable.
        assert await SecretNotes(store, keys(NEW, home=tmp_path / "home")).notes(NAME) == {NAME: TOKEN}


def test_keys_that_are_none_and_a_missing_one_of_a_shared_database_are_refused_without_showing_any(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError, match="Key 2 of TOOLBRIDGE_SECRET_KEY is no Fernet key") as refused:
        secret_keys(f"{OLD}, not-a-key", home=tmp_path, is_local=True)
    assert "not-a-key" not in str(refused.value) and OLD not in str(refused.value)
    with pytest.raises(SettingsError, match="TOOLBRIDGE_SECRET_KEY is not set"):
        secret_keys("", home=tmp_path, is_local=False)
    (tmp_path / "secret-key").write_text("broken")
    with pytest.raises(StoreError, match="secret-key"):
        secret_keys("", home=tmp_path, is_local=True).encrypt("x")
