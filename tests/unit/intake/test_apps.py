"""Which questions by other bots are taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.events import ConversationKey, MessageReceived
from bot.intake.apps import CHANNEL_WINDOW_S, MAX_IN_A_ROW, MAX_IN_CHANNEL, AppGate
from tests.fakes.bots import Clock
from tests.fakes.ports import message

THREAD = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.0")
ROOM = ConversationKey(platform="discord", space="9", channel="77")


def ask(key: str, *, conversation: ConversationKey = THREAD, author: str = "A1", **facts: object) -> MessageReceived:
    event = replace(message("go", key=key, conversation=conversation), author_id=author, author_kind="app")
    return replace(event, **facts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def gate(clock: Clock | None = None, *listed: str) -> AppGate:
    return AppGate(listed or ("slack:T1:A1", "discord:5"), clock=(clock or Clock()).steady)


def test_an_app_that_is_listed_may_ask_by_a_mention() -> None:
    assert gate().why_not(ask("1")) == ""
    assert gate().why_not(ask("1", conversation=ROOM, author="5")) == ""


@pytest.mark.parametrize("other", ["A2", "U1", ""])
def test_an_app_that_is_not_listed_may_not(other: str) -> None:
    assert "ALLOWED_APPS" in gate().why_not(ask("1", author=other))


def test_an_app_may_be_listed_under_any_of_its_ids_in_its_own_workspace_only() -> None:
    assert gate(None, "slack:T1:B1").why_not(ask("1", author_aliases=("B1", "U9"))) == ""
    assert gate(None, "slack:T2:A1").why_not(ask("1"))


def test_an_app_has_to_mention_the_bot() -> None:
    assert "mention" in gate().why_not(ask("1", is_addressed=False))


def test_two_bots_that_answer_each_other_end_after_a_few_questions_until_a_person_speaks() -> None:
    apps = gate()
    assert [bool(apps.why_not(ask(str(n)))) for n in range(MAX_IN_A_ROW + 2)] == [False] * MAX_IN_A_ROW + [True] * 2
    apps.note_person(message("and?", conversation=THREAD))
    assert apps.why_not(ask("later")) == ""


def test_a_question_that_is_delivered_again_counts_once() -> None:
    apps = gate()
    assert [apps.why_not(ask("1")) for _ in range(20)] == [""] * 20
    assert apps.why_not(ask("2")) == ""


def test_bots_that_begin_a_new_thread_each_time_end_as_well_and_go_on_after_a_while() -> None:
    clock = Clock()
    apps = gate(clock)
    threads = [replace(THREAD, thread=f"{n}.0") for n in range(MAX_IN_CHANNEL + 1)]
    outcomes = [bool(apps.why_not(ask(str(n), conversation=thread))) for n, thread in enumerate(threads)]
    assert outcomes == [False] * MAX_IN_CHANNEL + [True]
    clock.pass_time(CHANNEL_WINDOW_S + 1)
    assert apps.why_not(ask("later", conversation=replace(THREAD, thread="99.0"))) == ""


def test_another_channel_is_not_concerned() -> None:
    apps = gate()
    for n in range(MAX_IN_A_ROW + 1):
        apps.why_not(ask(str(n)))
    assert apps.why_not(ask("x", conversation=replace(THREAD, channel="C2"))) == ""
