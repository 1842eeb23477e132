"""Admission: what is cleaned, what is refused, and what the refused are told."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.answers import Refused
from bot.domain.events import ConversationKey, MessageReceived
from bot.intake.admission import Admission
from bot.text.cleaning import clean
from tests.unit.intake.counting import LateCount


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def message(text: str = "Hello", *, key: str = "k1", author: str = "u1", space: str = "team") -> MessageReceived:
    return MessageReceived(
        conversation=ConversationKey(platform="test", space=space, channel="room"),
        event_key=key,
        author_id=author,
        author_name="Ann",
        text=text,
        sent_at=datetime(2026, 11, 1, tzinfo=UTC),
    )


def in_slack(*, key: str, author: str = "u1", space: str = "team") -> MessageReceived:
    written = message(key=key, author=author)
    return replace(written, conversation=ConversationKey(platform="slack", space=space, channel="room"))


def admission(clock: Clock | None = None, *, max_input_chars: int = 100, requests_per_minute: int = 3) -> Admission:
    return Admission(max_input_chars=max_input_chars, requests_per_minute=requests_per_minute, clock=clock or Clock())


def refusal(gate: Admission, event: MessageReceived) -> str:
    refused = gate.admit(event)
    assert isinstance(refused, Refused)
    return refused.notice


def told_wait_s(sentence: str) -> int:
    found = re.search(r"again in (\d+) s", sentence)
    assert found is not None
    return int(found[1])


# --- cleaning --------------------------------------------------------------------------------------------------


def test_an_ordinary_message_is_admitted_as_it_is() -> None:
    event = message("Grüße 日本 👍 \u202bRTL\u202c\n\ttab")
    assert admission().admit(event) == event


def test_control_characters_are_taken_out_and_line_ends_become_newlines() -> None:
    assert clean("a\x00b\x1b[31mc\x7fd\x85e\r\nf\rg\n\th") == "ab[31mcde\nf\ng\n\th"


def test_halves_of_characters_that_no_encoding_can_store_are_taken_out() -> None:
    assert clean("a\ud83db\udc00") == "ab"


def test_an_authors_name_is_one_line_without_control_characters() -> None:
    admitted = admission().admit(replace(message(), author_name=" Ann\n[Bob]: \x00\ud83dhi\t "))
    assert admitted.author_name == "Ann [Bob]: hi"


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text())
def test_what_is_cleaned_can_be_stored_and_has_no_controls(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert not [char for char in cleaned if char not in "\n\t" and (ord(char) < 32 or 127 <= ord(char) < 160)]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_cleaning_keeps_every_printing_character(text: str) -> None:
    assert clean(text) == text.strip()


# --- refusing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "  \n\t ", "\x00\x07", "\r\n"])
def test_a_message_with_nothing_in_it_is_refused(text: str) -> None:
    assert "empty" in refusal(admission(), message(text))


def test_a_message_at_the_limit_is_taken_and_one_beyond_it_is_told_the_limit() -> None:
    gate = admission(max_input_chars=1_000)
    assert gate.admit(message("x" * 1_000 + "\n\x00")).text == "x" * 1_000
    sentence = refusal(gate, message("x" * 1_001))
    assert "1,001" in sentence and "1,000" in sentence


# --- how often -------------------------------------------------------------------------------------------------


def test_an_author_who_asks_too_often_is_told_how_long_to_wait_and_that_wait_is_enough() -> None:
    clock = Clock()
    gate = admission(clock)
    for number in range(3):
        gate.admit(message(key=f"k{number}"))
        clock.now += 10.3
    sentence = refusal(gate, message(key="k3"))
    assert "3 messages in a minute" in sentence
    wait_s = told_wait_s(sentence)
    assert 29 < wait_s < 31

    clock.now += wait_s
    gate.admit(message(key="k3"))
    assert told_wait_s(refusal(gate, message(key="k4"))) < 12  # the second of them leaves 10.3 s after the first


def test_the_wait_is_never_told_shorter_than_it_is() -> None:
    for elapsed_s in (0.0, 0.1, 0.6, 33.4, 59.5, 59.99):
        clock = Clock()
        gate = admission(clock, requests_per_minute=1)
        gate.admit(message(key="first"))
        clock.now += elapsed_s
        clock.now += told_wait_s(refusal(gate, message(key="second")))
        gate.admit(message(key="second"))


def test_a_redelivery_is_not_counted_and_not_refused() -> None:
    gate = admission(requests_per_minute=2)
    for _ in range(5):
        gate.admit(message(key="same"))
    gate.admit(message(key="another"))
    gate.admit(message(key="same"))
    refusal(gate, message(key="a third"))


def test_what_is_refused_does_not_count() -> None:
    clock = Clock()
    gate = admission(clock, requests_per_minute=1)
    gate.admit(message(key="k0"))
    for number in range(20):
        clock.now += 2
        refusal(gate, message(key=f"refused-{number}"))
    refusal(gate, message("", key="empty"))
    clock.now += 20
    gate.admit(message(key="k1"))


def test_authors_are_counted_apart_also_where_workspaces_use_the_same_ids() -> None:
    gate = admission(requests_per_minute=1)
    gate.admit(in_slack(key="k1"))
    gate.admit(in_slack(key="k2", author="u2"))
    gate.admit(in_slack(key="k3", space="another team"))
    refusal(gate, in_slack(key="k4"))


def test_an_account_that_is_the_same_in_many_servers_is_counted_once() -> None:
    gate = admission(requests_per_minute=1)
    gate.admit(message(key="k1", space="111"))
    assert "more than one message" in refusal(gate, message(key="k2", space="@me"))
    pressed = [gate.why_not(message(space=str(number)).actor, str(number), act="act") for number in range(70)]
    assert pressed.count(None) == 60


def test_who_is_told_to_wait_hears_nothing_more_until_then() -> None:
    clock = Clock()
    gate = admission(clock, requests_per_minute=1)
    gate.admit(message(key="k0"))
    assert "one message in a minute" in refusal(gate, message(key="k1"))
    assert [refusal(gate, message(key=f"k{number}")) for number in range(2, 1_000)] == [""] * 998


def test_empty_and_overlong_messages_count_as_well() -> None:
    gate = admission(requests_per_minute=2)
    assert "empty" in refusal(gate, message("", key="k1"))
    assert "characters" in refusal(gate, message("x" * 101, key="k2"))
    assert "messages in a minute" in refusal(gate, message("x" * 101, key="k3"))


def test_a_message_that_was_admitted_before_it_was_posted_counts_once() -> None:
    gate = admission(requests_per_minute=1)
    gate.admit(message(key="press"))
    assert isinstance(gate.admit(replace(message(key="post"), admitted_as="press")), MessageReceived)
    refusal(gate, message(key="another"))


def test_changes_have_an_allowance_of_their_own() -> None:
    gate = admission(requests_per_minute=1)
    gate.admit(message(key="k0"))
    changes = [
        replace(message(f"change {number}", key="k0"), edited_at=datetime(2026, 11, 2, 0, 0, number, tzinfo=UTC))
        for number in range(60)
    ]
    assert all(isinstance(gate.revise(change), MessageReceived) for change in changes)
    late = replace(changes[0], edited_at=datetime(2026, 11, 3, tzinfo=UTC))
    refused = [gate.revise(replace(late, text=f"more {number}")) for number in range(2)]
    assert isinstance(refused[0], Refused) and "60 changes to messages in a minute" in refused[0].notice


# --- over all processes ----------------------------------------------------------------------------------------


async def test_a_message_that_was_counted_is_taken_although_a_later_one_was_refused_before_that_was_known() -> None:
    common = LateCount()
    gate = Admission(max_input_chars=100, requests_per_minute=3, clock=Clock(), common=common)
    first = asyncio.create_task(gate.admit_of_all(message(key="first")))
    async with asyncio.timeout(20):
        await common.was_asked.wait()
        assert isinstance(await gate.admit_of_all(message(key="second")), Refused)
        common.arrive.set()
        assert await first == message(key="first")
        assert await gate.admit_of_all(message(key="first")) == message(key="first")  # it came again


async def test_a_press_that_was_counted_is_taken_although_a_later_one_was_refused_before_that_was_known() -> None:
    common, ann = LateCount(), message().actor
    gate = Admission(max_input_chars=100, requests_per_minute=3, clock=Clock(), common=common)
    first = asyncio.create_task(gate.why_not_of_all(ann, "first", act="act"))
    async with asyncio.timeout(20):
        await common.was_asked.wait()
        assert await gate.why_not_of_all(ann, "second", act="act") is not None
        common.arrive.set()
        assert await first is None
        assert await gate.why_not_of_all(ann, "first", act="act") is None
