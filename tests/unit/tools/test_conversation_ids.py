"""The ids of conversations: the same every time, and none that can be worked out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.domain.errors import SettingsError
from bot.domain.events import ConversationKey
from bot.tools.conversation_ids import FILE_NAME, ConversationIds, open_conversation_ids

HERE = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.1")


def test_an_id_is_the_same_after_a_restart_and_another_in_another_home(tmp_path: Path) -> None:
    first, again, other = (open_conversation_ids(tmp_path / home).of(HERE) for home in ("a", "a", "b"))
    assert first == again and len({first, other, HERE.opaque_id}) == 3
    assert len(first) == 32 and int(first, 16)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_the_key_is_its_owners_alone_and_not_shown(tmp_path: Path) -> None:
    ids = open_conversation_ids(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600 and [*tmp_path.iterdir()] == [tmp_path / FILE_NAME]
    assert (tmp_path / FILE_NAME).read_text() not in repr(ids) and repr(ids) == "ConversationIds()"


@pytest.mark.parametrize("damage", ["", "00", "zz" * 32])
def test_a_damaged_key_is_not_replaced(tmp_path: Path, damage: str) -> None:
    (tmp_path / FILE_NAME).write_text(damage)
    with pytest.raises(SettingsError, match="is damaged"):
        open_conversation_ids(tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == damage


def test_without_a_key_an_id_is_the_former_one() -> None:
    assert ConversationIds().of(HERE) == HERE.opaque_id
