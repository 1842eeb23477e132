"""Files that are named for the next message."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.console.attaching import attached, named_files, read_shared, shared_file
from bot.domain.errors import AdapterError
from bot.domain.events import SharedFile


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("", []),
        ("a.txt", ["a.txt"]),
        ("a.txt  b.txt", ["a.txt", "b.txt"]),
        ("'my notes.txt' \"b c.png\" d\\ e", ["my notes.txt", "b c.png", "d e"]),
        ("it's.txt", ["it's.txt"]),
        ("there is one.txt", ["there is one.txt"]),
        ("~/a.txt", ["~/a.txt"]),
    ],
)
def test_names_are_separated_as_in_a_shell_unless_all_of_it_is_a_files(
    typed: str, names: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there is one.txt").touch()
    assert named_files(typed) == names


def test_a_file_is_found_from_here_and_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "plan.pdf").write_bytes(b"%PDF")
    wanted = SharedFile(name="plan.pdf", mime_type="application/pdf", size=4, reference=str(tmp_path / "plan.pdf"))
    assert shared_file("plan.pdf") == shared_file("~/plan.pdf") == wanted
    assert attached([wanted]) == "Your next message takes along plan.pdf (4 bytes). /detach leaves it out."


def test_what_cannot_be_attached_says_why(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in {
        str(tmp_path / "absent"): f"There is no file {tmp_path / 'absent'}.",
        str(tmp_path): f"{tmp_path} is a folder. Attach the files in it.",
        str(tmp_path / "pipe"): f"{tmp_path / 'pipe'} is no file that can be read to its end.",
        "x" * 5_000: f"{'x' * 5_000} cannot be read: file name too long.",
        "a\0b": "ab cannot be read: its name has a null character.",
    }.items():
        with pytest.raises(AdapterError) as caught:
            shared_file(name)
        assert str(caught.value) == said


def test_a_file_is_read_as_it_is_when_its_turn_runs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    file = shared_file(str(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text("afterwards")
    assert read_shared(file, max_bytes=4) == b"after"
    (tmp_path / "a.txt").unlink()
    with pytest.raises(AdapterError, match=r"^That file is gone\. Attach it again\.$"):
        read_shared(file, max_bytes=4)
