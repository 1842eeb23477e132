"""The current policy: which file counts, and what becomes of one that breaks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.domain.errors import SettingsError
from bot.rights.current import CurrentPolicy, open_policy, policy_file
from bot.settings import Settings, load_settings

ALLOW = '[[rule]]\nname = "all"\ntools = ["*/*"]\nthen = "allow"\n'


def settings(tmp_path: Path, **others: Path) -> Settings:
    return load_settings(env_file=None, toolbridge_home=tmp_path / "home", **others)


def test_the_named_file_counts_then_the_one_of_the_folder_then_the_one_of_the_home(tmp_path: Path) -> None:
    here, home, named = tmp_path / "toolbridge.toml", tmp_path / "home" / "toolbridge.toml", tmp_path / "x.toml"
    assert policy_file(settings(tmp_path), folder=tmp_path) is None
    home.parent.mkdir()
    home.touch()
    assert policy_file(settings(tmp_path), folder=tmp_path) == home
    here.touch()
    assert policy_file(settings(tmp_path), folder=tmp_path) == here
    assert policy_file(settings(tmp_path, toolbridge_config=named), folder=tmp_path) == named


def test_a_file_that_is_named_and_missing_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no rule in it would hold"):
        open_policy(settings(tmp_path, toolbridge_config=tmp_path / "x.toml"))


@pytest.mark.parametrize("kind", ["folder", "broken link", "not readable", "not valid", "too large"])
def test_a_file_that_is_there_and_cannot_be_used_refuses_to_start(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "home" / "toolbridge.toml"
    file.parent.mkdir()
    match kind:
        case "folder":
            file.mkdir()
        case "broken link":
            file.symlink_to(tmp_path / "nowhere")
        case "not readable":
            file.write_bytes(b"\xff\xfe\x00")
        case "not valid":
            file.write_text("[acess]")
        case _:
            file.write_bytes(b"#" * 1_000_001)
    with pytest.raises(SettingsError, match=r"toolbridge\.toml"):
        CurrentPolicy(lambda: policy_file(settings(tmp_path), folder=tmp_path))


def test_reading_again_takes_a_good_file_and_keeps_the_policy_where_the_new_one_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "toolbridge.toml"
    current = CurrentPolicy(lambda: file if os.path.lexists(file) else None)
    assert current.now().rules == ()
    file.write_text(ALLOW)
    assert current.reload().is_new
    good = current.now()
    assert [rule.name for rule in good.rules] == ["all"]
    file.write_text(ALLOW.replace("allow", "alow"))
    broken = current.reload()
    assert not broken.is_new and "The old policy is kept" in broken.detail and f"{file}:4" in broken.detail
    file.unlink()
    gone = current.reload()
    assert not gone.is_new and "is gone" in gone.detail
    assert current.now() is good
