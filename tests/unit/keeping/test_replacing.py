"""Files that are replaced all together: one process at a time, and brought to an end by the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.domain.errors import SettingsError
from bot.keeping.replacing import DECIDED, GATHERED, finish_replacing, gathering, replace_all, using


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def decide(home: Path) -> None:
    """Leave what a process leaves that is killed once it has decided."""
    put(home / GATHERED / "a" / "1", "new")
    moves = {"away": [["a", "old/a"]], "into": [[f"{GATHERED}/a", "a"]]}
    put(home / DECIDED, json.dumps(moves))


def test_what_was_gathered_takes_the_places_and_the_old_ones_are_put_away(tmp_path: Path) -> None:
    put(tmp_path / "a" / "1", "old")
    with gathering(tmp_path) as folder:
        put(folder / "a" / "1", "new")
        put(folder / "b", "new")
        replace_all(
            tmp_path,
            away=[(tmp_path / "a", Path("old/a"))],
            into=[(folder / "a", tmp_path / "a"), (folder / "b", tmp_path / "b")],
        )
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in ("a/1", "b", "old/a/1")] == ["new", "new", "old"]
    assert not (tmp_path / GATHERED).exists() and not (tmp_path / DECIDED).exists()


def test_two_at_once_are_one_too_many(tmp_path: Path) -> None:
    with (
        gathering(tmp_path),
        pytest.raises(SettingsError, match="Another process is replacing files"),
        gathering(tmp_path),
    ):
        pass


def test_many_use_a_home_together_and_nothing_of_it_is_replaced_meanwhile(tmp_path: Path) -> None:
    with using(tmp_path):
        with using(tmp_path):
            pass
        with pytest.raises(SettingsError, match=r"is in use: .* Stop `toolbridge run`"), gathering(tmp_path):
            pass
    with gathering(tmp_path), pytest.raises(SettingsError, match="is replacing files of"), using(tmp_path):
        pass


def test_a_home_that_cannot_be_made_is_no_reason_not_to_start(tmp_path: Path) -> None:
    put(tmp_path / "file", "")
    with using(tmp_path / "file" / "home"):
        pass


def test_what_was_decided_is_carried_out_once_by_whoever_comes_next(tmp_path: Path) -> None:
    put(tmp_path / "a" / "1", "old")
    decide(tmp_path)
    for _ in range(2):
        finish_replacing(tmp_path)
        assert (tmp_path / "a" / "1").read_text(encoding="utf-8") == "new"
        assert (tmp_path / "old" / "a" / "1").read_text(encoding="utf-8") == "old"


def test_what_was_only_gathered_is_removed_unless_someone_still_gathers(tmp_path: Path) -> None:
    with gathering(tmp_path) as folder:
        put(folder / "a", "new")
        finish_replacing(tmp_path)
        assert (folder / "a").exists()
    put(tmp_path / GATHERED / "a", "new")
    finish_replacing(tmp_path)
    assert not (tmp_path / GATHERED).exists()


def test_what_is_in_the_way_is_never_overwritten_and_nothing_is_lost(tmp_path: Path) -> None:
    put(tmp_path / "old" / "a" / "1", "old")
    put(tmp_path / "a" / "2", "of someone who did not wait")
    decide(tmp_path)
    for _ in range(2):
        with pytest.raises(SettingsError, match="was interrupted, and its end cannot be made up for"):
            finish_replacing(tmp_path)
    assert (tmp_path / GATHERED / "a" / "1").read_text(encoding="utf-8") == "new"
    assert (tmp_path / "a" / "2").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"away": [["a"]], "into": []}', '{"away": [[1, 2]], "into": []}'])
def test_a_list_that_cannot_be_read_is_said_and_left(text: str, tmp_path: Path) -> None:
    put(tmp_path / DECIDED, text)
    with pytest.raises(SettingsError, match=rf"its end cannot be made up for \({DECIDED} cannot be read\)"):
        finish_replacing(tmp_path)
    assert (tmp_path / DECIDED).read_text(encoding="utf-8") == text


def test_a_home_that_is_not_there_has_nothing_to_finish(tmp_path: Path) -> None:
    finish_replacing(tmp_path / "none")
    assert not (tmp_path / "none").exists()
