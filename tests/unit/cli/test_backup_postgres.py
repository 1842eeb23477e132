"""`toolbridge backup` and `restore` with PostgreSQL: the files of the home, and the commands for the rest."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.fakes import postgres
from tests.unit.cli.test_backup import fill, run

pytestmark = pytest.mark.usefixtures("process_as_before")
PASSWORD = "pw-0f-the-database"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_with_postgresql_the_home_is_backed_up_and_it_says_how_the_rest_is(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "plan")
    assert run("backup", "sqlite.zip") == 0
    schema = postgres.new_schema()
    url = postgres.server().url.replace("postgres@", f"postgres:{PASSWORD}@")
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DATABASE_SCHEMA", schema)
    capsys.readouterr()
    assert run("backup", "a.zip") == 0
    out = capsys.readouterr().out
    assert "a.zip has 1 saved file and 1 attachment." in out
    assert f"pg_dump --format=custom --schema={schema} --file=toolbridge.dump postgresql://postgres@127.0.0.1:" in out
    assert PASSWORD not in out
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "new"))
    assert run("restore", "sqlite.zip") == 2
    assert "Restore it without DATABASE_URL" in capsys.readouterr().err
    assert run("restore", "a.zip") == 0
    out = capsys.readouterr().out
    assert "pg_restore --clean --if-exists" in out and PASSWORD not in out
    assert (tmp_path / "new" / "attachments" / "a-1-chart.png").read_bytes() == b"plan"
    monkeypatch.delenv("DATABASE_URL")
    assert run("restore", "a.zip", "--force") == 2
    assert "DATABASE_URL names none. Set it first." in capsys.readouterr().err


def test_the_commands_for_postgresql_bring_everything_back_as_printed_or_change_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = postgres.new_schema()
    monkeypatch.setenv("DATABASE_URL", postgres.server().url)
    monkeypatch.setenv("DATABASE_SCHEMA", schema)
    monkeypatch.setenv("PATH", f"{postgres.embedded()}{os.pathsep}{os.environ['PATH']}")
    audited = f"SELECT outcome FROM {schema}.audit ORDER BY number"

    def printed(program: str) -> int:
        (line,) = [line for line in capsys.readouterr().out.splitlines() if f"{program} -" in line]
        return subprocess.run(line, shell=True, capture_output=True, timeout=60).returncode

    assert run("backup", "a.zip") == 0 and printed("pg_dump") == 0
    assert stat.S_IMODE(Path("toolbridge.dump").stat().st_mode) == 0o600
    assert run("backup", "b.zip") == 0
    assert postgres.server().run(audited) == [("backed up",)] * 2
    for _ in range(2):  # where more was written since, then where all of it is lost
        assert run("restore", "a.zip", "--force") == 0 and printed("pg_restore") == 0
        assert postgres.server().run(audited) == [("backed up",)]
        postgres.server().run(f"DROP SCHEMA {schema} CASCADE")
    assert run("backup", "c.zip") == 0
    postgres.server().run(f"CREATE TABLE {schema}.newer (number int)")
    assert run("restore", "a.zip", "--force") == 0 and printed("pg_restore") == 1
    assert postgres.server().run(f"SELECT count(*) FROM {schema}.newer") == [(0,)]
