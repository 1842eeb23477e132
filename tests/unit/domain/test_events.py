"""Conversation keys: one text for each, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.events import ConversationKey
from bot.domain.people import Actor
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
    assert (author_key(here.person(ann)) == author_key(there.person(bo))) == same


def test_asking_in_another_channel_makes_no_other_person() -> None:
    one = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.2")
    other = ConversationKey(platform="slack", space="T1", channel="D9")
    assert author_key(one.person("U1")) == author_key(other.person("U1")) != author_key(one.person("U2"))


@pytest.mark.parametrize("text", ["", "a", "a/b/c", "a/b/c/d/e"])
def test_other_texts_are_no_keys(text: str) -> None:
    with pytest.raises(ValueError, match="not a conversation key"):
        ConversationKey.parse(text)


def test_the_id_that_others_get_is_stable_distinct_and_tells_nothing() -> None:
    room = ConversationKey(platform="test", space="team", channel="room")
    other = ConversationKey(platform="test", space="team", channel="room2")
    assert room.opaque_id == ConversationKey(platform="test", space="team", channel="room").opaque_id
    assert room.opaque_id != other.opaque_id
    assert len(room.opaque_id) == 32 and int(room.opaque_id, 16)


@pytest.mark.parametrize(
    ("platform", "space", "text"),
    [("slack", "T1", "slack:T1:U1"), ("discord", "900", "discord:U1"), ("console", "local", "console:U1")],
)
def test_an_actor_is_written_as_rules_write_people(platform: str, space: str, text: str) -> None:
    assert str(Actor(platform=platform, space=space, id="U1", name="Ada")) == text
