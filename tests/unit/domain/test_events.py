"""Conversation keys: one text for each, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.events import ConversationKey
from bot.ports.store import author_key

parts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.builds(ConversationKey, platform=parts, space=parts, channel=parts, thread=parts)


@given(keys)
def test_a_key_comes_back_from_its_text(key: ConversationKey) -> None:
    assert ConversationKey.parse(str(key)) == key


@given(keys, keys)
def test_two_keys_never_share_a_text_and_none_begins_with_another(one: ConversationKey, other: ConversationKey) -> None:
    assert (str(one) == str(other)) == (one == other)
    if one.thread == "" and one != other:
        same_channel = (one.platform, one.space, one.channel) == (other.platform, other.space, other.channel)
        assert str(other).startswith(str(one)) == same_channel


def test_the_text_of_a_key_is_readable_and_stable() -> None:
    key = ConversationKey(platform="slack", space="T1", channel="C/2", thread="1700000000.000100")
    assert str(key) == "slack/T1/C%2F2/1700000000.000100"
    assert str(ConversationKey(platform="console", space="local", channel="my chat")) == "console/local/my%20chat/"


@given(keys, parts, keys, parts)
def test_two_people_share_a_name_in_the_store_only_where_they_are_one_on_one_platform(
    here: ConversationKey, ann: str, there: ConversationKey, bo: str
) -> None:
    same = (here.platform, here.space, ann) == (there.platform, there.space, bo)
    assert (author_key(here, ann) == author_key(there, bo)) == same


def test_where_somebody_asks_makes_no_other_person_of_them() -> None:
    one = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.2")
    other = ConversationKey(platform="slack", space="T1", channel="D9")
    assert author_key(one, "U1") == author_key(other, "U1") != author_key(one, "U2")


@pytest.mark.parametrize("text", ["", "a", "a/b/c", "a/b/c/d/e"])
def test_other_texts_are_no_keys(text: str) -> None:
    with pytest.raises(ValueError, match="not a conversation key"):
        ConversationKey.parse(text)
