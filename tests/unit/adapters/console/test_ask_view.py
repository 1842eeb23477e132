"""What is asked as lines, keys and notes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.console import ask_notes
from adapters.console.ask_view import block, expiry, prompt, read_answer
from adapters.console.render import call_line
from adapters.console.speaker import Speaker, user_name
from bot.domain.asks import ArgumentLine, AskPost
from bot.domain.events import ConversationKey
from bot.domain.turns import CallState, TraceLine
from tests.unit.adapters.console.asked import approval

KEY = ConversationKey(platform="console", space="local", channel="main")
WORDS = {*"rhedsyn?", "run", "hour", "edit", "decline", "suggest", "suggest rule", "details", "yes", "no"}
NOON = datetime(2026, 11, 29, 12, 0).timestamp()  # noqa: DTZ001  (the person's own time)


def test_each_argument_has_a_line_of_its_own_and_a_long_one_hides_none() -> None:
    arguments = (ArgumentLine(name="body", value="x" * 200, is_cut=True), ArgumentLine(name="env", value='"prod"'))
    lines = block(approval(arguments=arguments), now=NOON).splitlines()
    assert lines[0] == "Run deploys/deploy?"
    assert f"    body: {'x' * 200}  (cut; ? shows all)" in lines
    assert '    env: "prod"' in lines


def test_what_is_asked_is_read_in_the_order_in_which_it_was_written() -> None:
    evil = "a\u202eb\u2066c\u200fd\x9b2J\x90"
    arguments = (ArgumentLine(name=evil, value=evil),)
    view = approval(title=evil, lines=(evil,), arguments=arguments, message=evil, host=evil, change=evil)
    shown = block(view, now=NOON) + prompt(view, has_others=True)
    assert shown.count("abcd") >= 6 and shown.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("left_s", "words"),
    [
        (60, "It expires in 1 minute, at 12:01."),
        (3600, "It expires in 60 minutes, at 13:00."),
        (3 * 3600, "It expires in 3 hours, at 15:00."),
        (30 * 3600, "It expires in 30 hours, at 2026-11-30 18:00."),
        (3 * 86_400, "It expires in 3 days, at 2026-12-02 12:00."),
        (-5, "It expires in 0 minutes, at 11:59."),
    ],
)
def test_until_when_it_can_be_decided(left_s: float, words: str) -> None:
    assert expiry(NOON + left_s, now=NOON) == words


def test_the_prompt_offers_only_what_can_be_chosen() -> None:
    view = approval(choices=("run", "decline", "withdraw"), form_target="")
    assert prompt(view, has_others=False) == "Run deploys/deploy? [r]un, [d]ecline, [w]ithdraw, [?] details: "
    assert read_answer("h", view, has_others=False) is None
    assert read_answer("n", view, has_others=True) == "next"
    assert prompt(approval(title="x" * 99), has_others=False).startswith("x" * 59 + "… [r]un")


@given(line=st.text(max_size=20))
@settings(max_examples=100)
def test_only_a_bare_key_or_word_is_an_answer(line: str) -> None:
    action = read_answer(line, approval(), has_others=False)
    assert (action is None) == (line.strip().lower() not in WORDS)


# --- over a restart --------------------------------------------------------------------------------------------


def test_what_is_remembered_is_the_same_over_a_restart() -> None:
    post = AskPost(key="k", view=approval(votes=("Ada approved (1 of 2)",)), place=KEY, in_reply_to="q")
    assert ask_notes.read(ask_notes.write(post)) == post


@given(
    text=st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["view", "place", "key", "lines"]), inner),
    ).map(json.dumps)
)
@settings(max_examples=100)
def test_a_note_of_any_other_shape_is_none(text: str) -> None:
    assert ask_notes.read(text) is None


def test_a_note_of_a_later_version_is_none() -> None:
    written: dict[str, Any] = json.loads(ask_notes.write(AskPost(key="k", view=approval(), place=KEY)))
    assert ask_notes.read(json.dumps({**written, "new": 1})) is None
    assert ask_notes.read(json.dumps({**written, "place": "nowhere"})) is None


# --- who, and what became of a call ----------------------------------------------------------------------------


def test_the_person_is_the_user_of_the_operating_system_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = user_name()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert user_name() == before != "somebody-else"
    assert str(Speaker(conversation=KEY, id=before).message("hello").actor) == f"console:{before}"


@pytest.mark.parametrize(
    ("state", "note", "end"),
    [
        ("ok", "approved by Ben", "0.5 s  approved by Ben"),
        ("denied", "", "not allowed"),
        ("denied", "denied: rule freeze", "denied: rule freeze"),
        ("withheld", "", "not sent (dry run)"),
    ],
)
def test_a_call_shows_what_was_decided_about_it(state: CallState, note: str, end: str) -> None:
    line = TraceLine(call_id="c", server="s", tool="t", state=state, arguments="{}", seconds=0.5, note=note)
    assert call_line(line, width=100).split("s.t", 1)[1].strip() == end
    assert "\x1b" not in call_line(replace(line, note="\x1b[2J"), width=100)
