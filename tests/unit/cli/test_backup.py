"""`toolbridge backup` and `restore`: what comes back, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bot.cli.main import main
from bot.keeping.archive import open_archive
from bot.keeping.drafts import PREFIX
from bot.stores.sqlite.store import open_sqlite
from tests.fakes.folders import unchangeable

pytestmark = pytest.mark.usefixtures("process_as_before")
WORKSPACE = "c-" + "0a" * 32


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def fill(home: Path, word: str) -> None:
    """Have the word in the database, in a saved file, an attachment and the typed lines of a home."""

    async def put() -> None:
        async with open_sqlite(home / "toolbridge.db") as store:
            await store.put_note("word", word)

    asyncio.run(put())
    saved, attachments = home / "workspaces" / WORKSPACE, home / "attachments"
    for folder in (saved, attachments, home / "logs"):
        folder.mkdir(parents=True)
    (saved / f"{word}.txt").write_text(word, encoding="utf-8")
    os.utime(saved / f"{word}.txt", (1_000_000_000, 1_000_000_000))
    (attachments / "a-1-chart.png").write_bytes(word.encode())
    (home / "console-history").write_text(f"\n+{word}\n", encoding="utf-8")
    (home / "conversation.key").write_text(f"{word.encode().hex():0>64}", encoding="ascii")
    (home / "secret-key").write_text("key", encoding="ascii")
    (home / "logs" / "toolbridge.log").write_text("a line\n", encoding="ascii")


def words(home: Path) -> set[str]:
    """Return the words that the home's database and files have; one where it was filled once."""
    with closing(sqlite3.connect(home / "toolbridge.db")) as connection:
        (noted,) = connection.execute("SELECT text FROM note WHERE name = 'word'").fetchone()
    files = [*home.glob("workspaces/*/*"), *home.glob("attachments/*"), home / "console-history"]
    return {noted, *(file.read_text(encoding="utf-8").strip("\n+") for file in files)}


def everything(home: Path) -> dict[str, bytes]:
    return {str(file.relative_to(home)): file.read_bytes() for file in home.rglob("*") if file.is_file()}


def run(*arguments: str) -> int:
    return main([*arguments, "--trust"])


def test_all_that_was_kept_comes_back_in_an_empty_home_for_its_owner_only(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "plan")
    assert run("backup", "a.zip") == 0
    out = capsys.readouterr().out
    assert "the database with 0 turns (schema 13), 1 saved file and 1 attachment." in out
    assert "secret-key" in out and ".env" in out
    assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o600
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "new"))
    assert run("restore", "a.zip") == 0
    assert words(tmp_path / "new") == {"plan"}
    files = {name for name in everything(tmp_path / "new") if not name.startswith(".")}
    kept = {"toolbridge.db", "console-history", "conversation.key", "attachments/a-1-chart.png"}
    assert files == {*kept, f"workspaces/{WORKSPACE}/plan.txt"}
    saved = tmp_path / "new" / "workspaces" / WORKSPACE / "plan.txt"
    assert saved.stat().st_mtime == 1_000_000_000  # by which it is old, or not
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").rglob("*") if file.is_file()}
    assert modes == {0o600}
    assert run("audit") == 0
    assert "restored the backup of" in capsys.readouterr().out
    assert run("audit", "verify") == 0


def test_a_file_that_exists_is_replaced_only_if_asked_to(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, "plan")
    Path("a.zip").write_text("mine", encoding="ascii")
    assert run("backup", "a.zip") == 2
    assert "a.zip exists. Name another one, or give --force" in capsys.readouterr().err
    assert Path("a.zip").read_text(encoding="ascii") == "mine"
    assert run("backup", "a.zip", "--force") == 0
    with open_archive(Path("a.zip")) as archive:
        assert archive.manifest.about.rows["note"] >= 1
    assert sorted(path.name for path in Path().iterdir()) == ["a.zip", "home"]


def test_a_home_that_is_not_empty_is_replaced_only_if_asked_to_and_then_kept_beside(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "old")
    assert run("backup", "old.zip") == 0
    before = everything(home)
    assert run("restore", "old.zip") == 2
    assert "is not empty: it has toolbridge.db, workspaces, attachments" in capsys.readouterr().err
    assert everything(home) == before
    with closing(sqlite3.connect(home / "toolbridge.db")) as connection, connection:
        connection.execute("UPDATE note SET text = 'newer' WHERE name = 'word'")
    assert run("restore", "old.zip", "--force") == 0
    (beside,) = home.glob("before-restore-*")
    assert words(home) == {"old"} and words(beside) == {"old", "newer"}
    assert str(beside) in capsys.readouterr().out
    assert (home / "secret-key").is_file() and stat.S_IMODE(beside.stat().st_mode) == 0o700


def test_nothing_is_restored_while_a_process_lives(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, "old")
    assert run("backup", "a.zip") == 0
    with closing(sqlite3.connect(home / "toolbridge.db")) as connection, connection:
        connection.execute("INSERT INTO worker (id, expires_at) VALUES ('elsewhere', ?)", (time.time() + 60,))
    assert run("restore", "a.zip", "--force") == 2
    assert "One process of the bot is alive on this database. Stop" in capsys.readouterr().err
    with closing(sqlite3.connect(home / "toolbridge.db")) as connection, connection:
        connection.execute("DELETE FROM worker")
    assert run("restore", "a.zip", "--force") == 0


def test_a_database_elsewhere_goes_back_to_its_place(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home, "plan")
    (tmp_path / "data").mkdir()
    (home / "toolbridge.db").rename(tmp_path / "data" / "bot.db")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///data/bot.db")
    assert run("backup", "a.zip") == 0
    assert run("restore", "a.zip", "--force") == 0
    assert not (home / "toolbridge.db").exists()
    files = sorted(file.name.partition("-2")[0] for file in (tmp_path / "data").iterdir())
    assert files == ["before-restore", "bot.db"]


def test_a_damaged_database_can_be_replaced(home: Path) -> None:
    fill(home, "plan")
    assert run("backup", "a.zip") == 0
    (home / "toolbridge.db").write_bytes(b"not a database at all" * 100)
    assert run("backup", "b.zip") == 1
    assert not Path("b.zip").exists()
    assert run("restore", "a.zip", "--force") == 0
    assert words(home) == {"plan"}


def test_a_backup_that_cannot_be_written_names_the_file_that_was_asked_for(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "plan")
    Path("a.zip").write_text("mine", encoding="ascii")
    asked = {"a.zip/b.zip": "Not a directory", "closed/b.zip": "Permission denied", f"{'b' * 300}.zip": "name too long"}
    (tmp_path / "closed").mkdir()
    for name, why in asked.items():
        with unchangeable(tmp_path / "closed"):
            assert run("backup", name) == 2
        err = capsys.readouterr().err
        assert f"{tmp_path / name} cannot be written" in err and why in err
        assert "Name a file in a folder that this user may write to." in err
        assert PREFIX not in err
    assert run("backup", "closed") == 2
    assert "closed exists. Name another one, or a file in it." in capsys.readouterr().err


def test_files_that_are_mounted_as_links_are_in_a_backup_and_links_that_lead_nowhere_are_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "plan")
    mounted = tmp_path / "mounted"
    (mounted / "..2026").mkdir(parents=True)
    (mounted / "..2026" / "toolbridge.toml").write_text("# rules\n", encoding="ascii")
    (mounted / "..data").symlink_to("..2026")  # as Kubernetes mounts a ConfigMap
    (home / "toolbridge.toml").symlink_to(mounted / "..data" / "toolbridge.toml")
    for name in ("conversation.key", "workspaces", "attachments"):
        (home / name).rename(mounted / name)
        (home / name).symlink_to(mounted / name)
    (home / "workspaces" / WORKSPACE / "link.txt").symlink_to(home / "secret-key")  # planted by a tool
    (home / "console-history").unlink()
    (home / "console-history").symlink_to(mounted / "gone")
    assert run("backup", "a.zip", "--json") == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == ["console-history"]
    assert run("backup", "a.zip", "--quiet", "--force") == 0
    out, err = capsys.readouterr()
    assert out == "" and f"no file or folder can be read there: console-history in {home}." in err
    with open_archive(Path("a.zip")) as archive:
        kept = {"toolbridge.db", "conversation.key", "toolbridge.toml", "attachments/a-1-chart.png"}
        assert archive.manifest.files.keys() == {*kept, f"workspaces/{WORKSPACE}/plan.txt"}
    assert run("restore", "a.zip", "--force") == 0
    assert not (home / "toolbridge.toml").is_symlink()
    assert (home / "toolbridge.toml").read_text(encoding="ascii") == "# rules\n"
    assert (mounted / "workspaces" / WORKSPACE / "plan.txt").exists()


def test_rules_and_other_files_from_elsewhere_are_named_as_not_in_a_backup(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "plan")
    (home / "toolbridge.toml").write_text("", encoding="ascii")
    assert run("backup", "a.zip") == 0
    assert "does not have: secret-key (or TOOLBRIDGE_SECRET_KEY), .env and mcp.json." in capsys.readouterr().out
    Path("toolbridge.toml").write_text("", encoding="ascii")  # which comes before that of the home
    assert run("backup", "b.zip") == 0
    assert f".env, mcp.json and {tmp_path}/toolbridge.toml." in capsys.readouterr().out
    Path("prompt.txt").write_text("Be kind.", encoding="ascii")
    set_to = {"TOOLBRIDGE_CONFIG": "r.toml", "MCP_CONFIG": "m.json", "SYSTEM_PROMPT_FILE": "prompt.txt"}
    for name, file in set_to.items():
        monkeypatch.setenv(name, str(tmp_path / file))
    assert run("backup", "c.zip") == 0
    out = capsys.readouterr().out
    assert f".env, {tmp_path}/m.json, {tmp_path}/prompt.txt and {tmp_path}/r.toml. Keep copies" in out


def test_what_is_written_meanwhile_is_in_a_backup_whole_or_not_at_all(home: Path) -> None:
    fill(home, "plan")
    code = (
        "import sqlite3, sys, time\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "print('ready', flush=True)\n"
        "for number in range(10**9):\n"
        "    connection.execute('BEGIN IMMEDIATE')\n"
        "    connection.execute('INSERT INTO note VALUES (?, 1)', (f'a/{number}',))\n"
        "    connection.execute('INSERT INTO note VALUES (?, 1)', (f'b/{number}',))\n"
        "    connection.execute('COMMIT')\n"
        "    time.sleep(0.002)\n"  # others get their turn, too
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home / "toolbridge.db")], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None and writer.stdout.readline()
            counts = [backed_up_notes() for _ in range(3)]
        finally:
            writer.kill()
    assert counts[0] < counts[1] < counts[2]
    assert len({count % 2 for count in counts}) == 1


def backed_up_notes() -> int:
    assert run("backup", "a.zip", "--force") == 0
    with open_archive(Path("a.zip")) as archive:
        return archive.manifest.about.rows["note"]


# --- what is no backup -----------------------------------------------------------------------------------------


def changed(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Write the archive again, with other files."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def smuggle(name: str) -> Callable[[dict[str, bytes]], None]:
    """Return what adds a file of that path, with its line in the manifest."""

    def change(files: dict[str, bytes]) -> None:
        manifest = json.loads(files["manifest.json"])
        manifest["files"][name] = manifest["files"]["console-history"]
        files["manifest.json"], files[name] = json.dumps(manifest).encode(), files["console-history"]

    return change


def rewrite(**changes: object) -> Callable[[dict[str, bytes]], None]:
    """Return what changes the manifest."""

    def change(files: dict[str, bytes]) -> None:
        files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | changes).encode()

    return change


def swap(name: str, data: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({name: data})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (smuggle("../evil"), "a file that no backup has ('../evil')"),
        (smuggle("workspaces/../../evil"), "a file that no backup has"),
        (smuggle("/evil"), "a file that no backup has"),
        (smuggle("C:\\evil"), "a file that no backup has"),
        (smuggle("workspaces/c-1/..\\evil"), "a file that no backup has"),
        (smuggle("logs/toolbridge.log"), "a file that no backup has"),
        (smuggle("secret-key"), "a file that no backup has"),
        (swap("workspaces/c-1/extra", b"x"), "its files are not those of its manifest.json"),
        (swap("console-history", b"\n+pla\n"), "console-history is not what was backed up"),
        (swap("console-history", b"\n+plan\n" * 1_000_000), "console-history is not what was backed up"),
        (swap("manifest.json", b"{}"), "its manifest.json is not one of `toolbridge backup`"),
        (
            rewrite(about={"version": "1", "made_at": "\x1b[2J", "database": "sqlite", "rows": {}}),
            "its manifest.json is not one of `toolbridge backup`",
        ),
        (rewrite(format=2), "was written by a newer version of Toolbridge (0.1.0). Upgrade."),
        (lambda files: files.pop("manifest.json"), "its manifest.json cannot be read"),
    ],
)
def test_an_archive_that_was_changed_is_refused_and_nothing_is_touched(
    change: Callable[[dict[str, bytes]], None],
    said: str,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(home, "plan")
    assert run("backup", "a.zip") == 0
    changed(Path("a.zip"), change)
    before = everything(tmp_path)
    assert run("restore", "a.zip", "--force") == 2
    assert said in capsys.readouterr().err
    assert everything(tmp_path) == before


@pytest.mark.parametrize("kept", [0, 10, 1_000, -30])
def test_a_file_that_is_cut_off_is_refused(kept: int, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, "plan")
    assert run("backup", "a.zip") == 0
    Path("a.zip").write_bytes(Path("a.zip").read_bytes()[:kept])
    assert run("restore", "a.zip", "--force") == 2
    assert "a.zip is damaged, or no backup of Toolbridge: it is no ZIP archive" in capsys.readouterr().err
    assert run("restore", "missing.zip") == 2
    assert "missing.zip cannot be read: No such file" in capsys.readouterr().err


def test_a_backup_of_a_newer_version_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, "plan")
    with closing(sqlite3.connect(home / "toolbridge.db")) as connection, connection:
        connection.execute("PRAGMA user_version = 9999")
    assert run("backup", "a.zip") == 0  # as the file says that this version may use it
    with closing(sqlite3.connect(home / "toolbridge.db")) as connection, connection:
        connection.execute("UPDATE note SET text = '9999' WHERE name = 'store/usable_from'")
    with zipfile.ZipFile("a.zip") as archive:
        about = json.loads(archive.read("manifest.json"))
    assert about["about"]["schema"] == 9999
    assert run("backup", "b.zip") == 1
    assert "written by a newer version of Toolbridge (schema 9999" in capsys.readouterr().err
