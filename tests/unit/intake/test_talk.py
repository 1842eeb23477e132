"""Whom people speak to is expected to answer; the bot is not."""

from __future__ import annotations

from dataclasses import replace

from bot.intake.talk import EXPECTED_S, ExpectedAnswers
from tests.fakes.ports import CONVERSATION
from tests.unit.intake.test_admission import message

TO_BEN = replace(message("@Ben when can you?"), is_addressed=False, is_talk=True, talks_to=("U2",))
ANSWER = replace(message("on Friday"), author_id="U2", is_addressed=False, event_key="answer")


def test_the_first_message_of_who_was_asked_is_the_answer_however_often_it_is_delivered() -> None:
    expected = ExpectedAnswers()
    assert not expected.is_one(ANSWER)
    expected.note(TO_BEN)
    assert not expected.is_one(replace(ANSWER, author_id="U3", event_key="by another"))
    assert expected.is_one(ANSWER) and expected.is_one(ANSWER)
    assert not expected.is_one(replace(ANSWER, event_key="what he says next"))


def test_who_turns_to_the_bot_or_answers_late_or_elsewhere_is_heard() -> None:
    now = 0.0
    expected = ExpectedAnswers(now=lambda: now)
    expected.note(TO_BEN)
    assert not expected.is_one(replace(ANSWER, conversation=replace(CONVERSATION, thread="elsewhere")))
    assert not expected.is_one(replace(ANSWER, is_addressed=True))
    assert not expected.is_one(ANSWER)
    expected.note(TO_BEN)
    now = EXPECTED_S + 1
    assert not expected.is_one(ANSWER)
