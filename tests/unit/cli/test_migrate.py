"""`toolbridge migrate`: from the home's database to a PostgreSQL that wants a password."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from bot.cli.main import main
from bot.composition.storage import open_files
from bot.database import open_database
from bot.domain.events import ConversationKey
from bot.keeping.files import workspace_name
from bot.settings import load_settings
from bot.stores.secret_key import secret_keys
from bot.stores.secret_notes import SecretNotes
from bot.stores.sqlite.store import open_sqlite
from bot.tools.conversation_ids import open_conversation_ids
from tests.fakes import postgres

pytestmark = pytest.mark.usefixtures("process_as_before")
PASSWORD = "pw-0f-the-database"
KEY = Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path))
    monkeypatch.setenv("TOOLBRIDGE_SECRET_KEY", KEY)
    monkeypatch.setenv("DATABASE_SCHEMA", postgres.new_schema())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def keep(home: Path, *, token: bool = False) -> None:
    """Have the home's database with a note, and with a token that is encrypted with the key of the home."""

    async def put() -> None:
        async with open_sqlite(home / "toolbridge.db") as store:
            await store.put_note("a", "b")
            if token:
                notes = SecretNotes(store, secret_keys("", home=home, is_local=True))
                await notes.put_note("slack/install/T1", "xoxb-1")

    asyncio.run(put())


def target() -> str:
    return postgres.server().url.replace("postgres@", f"postgres:{PASSWORD}@")


def test_it_says_how_much_was_moved_and_what_to_do_next_but_no_password(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(home)
    assert main(["migrate", "--to", target()]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("postgresql://127.0.0.1:") and "has all of it, 1 row in 20 tables; the counts on both" in out
    assert "Set DATABASE_URL to it and TOOLBRIDGE_SECRET_KEY" in out and "note: 1 of 1\n" in err
    assert PASSWORD not in out + err
    assert main(["migrate", "--to", target()]) == 2
    assert "Everything was moved to this database before. Set DATABASE_URL to it" in capsys.readouterr().err


def test_what_was_used_after_it_was_moved_is_not_taken_for_moved(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(home)
    assert main(["migrate", "--to", target(), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")

    async def use() -> None:
        async with open_sqlite(home / "toolbridge.db") as store:
            await store.put_note("c", "d")

    asyncio.run(use())
    assert main(["migrate", "--to", target()]) == 2
    assert "not empty: it has rows in note" in capsys.readouterr().err


def test_where_the_home_has_the_key_it_says_how_to_set_it(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(home, token=True)
    assert main(["migrate", "--to", target()]) == 2  # another key is set
    assert f'$TOOLBRIDGE_SECRET_KEY,$(cat {home}/secret-key)"' in capsys.readouterr().err
    monkeypatch.delenv("TOOLBRIDGE_SECRET_KEY")
    assert main(["migrate", "--to", target()]) == 2
    assert f'export TOOLBRIDGE_SECRET_KEY="$(cat {home}/secret-key)"' in capsys.readouterr().err
    monkeypatch.setenv("TOOLBRIDGE_SECRET_KEY", f"{KEY},{(home / 'secret-key').read_text().strip()}")
    assert main(["migrate", "--to", target()]) == 0


def test_conversations_find_their_files_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(home)
    ids = open_conversation_ids(home)
    conversation = ConversationKey(platform="console", space="local", channel="main")
    folder = home / "workspaces" / workspace_name(ids.of(conversation))
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"saved")
    assert main(["migrate", "--to", target(), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"] == 2 and "The old database" in err and PASSWORD not in out + err

    async def found() -> int:
        settings = load_settings(database_url=target())
        async with open_database(settings) as store:
            (home / "conversation.key").unlink()  # as on another machine
            (folder / "a.txt").unlink()
            return await (await open_files(settings, store)).count_saved(conversation)

    assert asyncio.run(found()) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///a.db", "--to must look like postgresql://"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1:1/d", "cannot be reached"),
        (f"postgresql://u:{PASSWORD}@x@127.0.0.1:1/d", "write %40 for @"),
    ],
)
def test_what_cannot_be_moved_to_ends_with_2_and_the_cure(
    url: str, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(home)
    assert main(["migrate", "--to", url]) == 2
    err = capsys.readouterr().err
    assert said in err and PASSWORD not in err


def test_without_a_database_or_a_key_nothing_is_moved(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["migrate", "--to", target()]) == 2
    assert "is not there, so there is nothing to move" in capsys.readouterr().err
    assert not (home / "toolbridge.db").exists()
    keep(home)
    monkeypatch.delenv("TOOLBRIDGE_SECRET_KEY")
    assert main(["migrate", "--to", target()]) == 2
    assert "TOOLBRIDGE_SECRET_KEY is not set" in capsys.readouterr().err
