"""What people are asked, as a message: all of it in the core's words, no argument out of sight, and safe buttons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.discord.ask_marks import (
    About,
    Decide,
    FormPress,
    Malformed,
    decide_id,
    form_id,
    key_mark,
    modal_id,
    parse_ask_press,
    parse_modal,
)
from adapters.discord.ask_view import ask_details, ask_message
from adapters.discord.render import Shown
from bot.domain.answers import Details
from bot.domain.asks import ArgumentLine, AskView
from bot.domain.events import Choice
from bot.domain.turns import TraceLine
from tests.fakes.discord.bodies import check_components, check_content

DIGEST = "5f" * 32
VIEW = AskView(
    ask_id=7,
    kind="approval",
    state="pending",
    title="Run deploys/deploy?",
    lines=("Ada asks in this thread.", "Production changes need two people on call."),
    arguments=(ArgumentLine(name="env", value="prod"), ArgumentLine(name="replicas", value="3")),
    choices=("run", "run_for_an_hour", "decline", "withdraw", "suggest_rule"),
    form_target="edit:7",
    expires_at=1_800_000_000.0,
    digest=DIGEST,
)


def buttons(shown: Shown) -> list[dict[str, Any]]:
    return [each for row in shown.rows for each in row["components"]]


def labels(shown: Shown) -> list[str]:
    return [each["label"] for each in buttons(shown)]


def check(shown: Shown) -> None:
    """Discord takes it as a message."""
    assert shown.text.strip()
    check_content(shown.text)
    check_components(list(shown.rows), flags=0)


def test_an_approval_says_what_where_why_and_until_when_with_its_buttons() -> None:
    shown = ask_message(VIEW, key="k")
    check(shown)
    assert shown.text.split("\n") == [
        "**Run deploys/deploy?**",
        "Ada asks in this thread.",
        "Production changes need two people on call.",
        "**env**: prod",
        "**replicas**: 3",
        "-# Expires <t:1800000000:R>, <t:1800000000:f>.",
    ]
    assert labels(shown) == [
        "Run",
        "Run, and for an hour here",
        "Decline",
        "Edit arguments",
        "Details",
        "Withdraw",
        "Suggest rule",
    ]
    assert [each["style"] for each in buttons(shown)][:3] == [1, 2, 4]


def test_once_it_is_decided_the_message_is_the_record_and_only_details_stays() -> None:
    decided = replace(
        VIEW, state="approved", record="**Approved** by Ben, by the rule *deploys*.", votes=("Ben approved",)
    )
    shown = ask_message(decided, key="k")
    check(shown)
    assert labels(shown) == ["Details"]
    assert shown.text.endswith("Ben approved\n**Approved** by Ben, by the rule *deploys*.")
    assert "Expires" not in shown.text and "**env**: prod" in shown.text


def test_a_decision_without_words_is_named() -> None:
    assert ask_message(replace(VIEW, state="expired"), key="k").text.endswith("**Expired**")


def test_a_form_is_filled_in_or_declined_and_a_link_is_opened() -> None:
    form = replace(VIEW, kind="form", form_target="answer:7", choices=("decline", "withdraw"))
    shown = ask_message(replace(form, message="Which *branch*?"), key="k")
    check(shown)
    assert labels(shown) == ["Fill in", "Decline", "Details", "Withdraw"]
    assert [parse_ask_press(each["custom_id"]) for each in buttons(shown)][:2] == [
        FormPress(step="open", target="answer:7"),
        FormPress(step="decline", target="answer:7"),
    ]
    assert r"> Which \*branch\*?" in shown.text

    link = replace(
        VIEW, kind="link", form_target="", has_link=True, host="accounts.example.com", choices=("run", "decline")
    )
    shown = ask_message(link, key="k")
    check(shown)
    assert labels(shown) == ["Open", "Go on", "Decline", "Details"]
    assert "The page is on **accounts.example.com**." in shown.text


def test_a_long_value_pushes_no_later_argument_out_of_sight() -> None:
    first = ArgumentLine(name="note", value="x" * 100_000)
    others = tuple(ArgumentLine(name=f"key_{number}", value="y" * 500) for number in range(20))
    shown = ask_message(replace(VIEW, arguments=(first, *others)), key="k")
    check(shown)
    assert all(rf"**key\_{number}**: yyy" in shown.text for number in range(20))
    assert "Expires" in shown.text


def test_of_very_many_arguments_the_names_are_shown_and_the_rest_is_counted() -> None:
    many = tuple(ArgumentLine(name=f"k{number}", value="v" * 50) for number in range(300))
    shown = ask_message(replace(VIEW, arguments=many), key="k")
    check(shown)
    assert "300 arguments: k0, k1, k2" in shown.text
    assert "more. Details has all of them." in shown.text


@pytest.mark.parametrize("text", ["@everyone <@1> <@&2>", "**bold**\n# heading", "[a](https://evil.example)", "```"])
def test_what_others_wrote_is_shown_as_written(text: str) -> None:
    arguments = (ArgumentLine(name=text, value=text),)
    shown = ask_message(replace(VIEW, arguments=arguments, message=text, kind="form"), key="k")
    check(shown)
    for bare in ("<@1>", "\n# ", "](", "```", "https:"):
        assert bare not in shown.text


texts = st.text(max_size=600) | st.text(alphabet="*_`<@>#:[]()\\ \n", max_size=600)
views = st.builds(
    AskView,
    ask_id=st.integers(1, 10**18 - 1),
    kind=st.sampled_from(["approval", "form", "link"]),
    state=st.sampled_from(["pending", "approved", "declined", "void"]),
    title=texts,
    lines=st.lists(texts, max_size=12).map(tuple),
    arguments=st.lists(st.builds(ArgumentLine, name=texts, value=texts, is_cut=st.booleans()), max_size=40).map(tuple),
    change=texts,
    message=texts,
    host=texts,
    votes=st.lists(texts, max_size=8).map(tuple),
    record=texts,
    choices=st.lists(st.sampled_from(get_args(Choice)), unique=True).map(tuple),
    form_target=st.sampled_from(["", f"edit:{10**18 - 1}", "run:" + "n" * 64]),
    has_link=st.booleans(),
    expires_at=st.floats(allow_nan=True, allow_infinity=True),
    digest=st.just(DIGEST),
)


@settings(max_examples=80, deadline=None)
@given(views)
def test_discord_takes_whatever_is_asked_and_each_button_says_what_it_does(view: AskView) -> None:
    shown = ask_message(view, key="any")
    check(shown)
    presses = [parse_ask_press(each["custom_id"]) for each in buttons(shown)]
    assert not any(press is None or isinstance(press, Malformed) for press in presses)
    assert About(ask_id=view.ask_id, key=key_mark("any")) in presses
    if view.state != "pending":
        assert labels(shown) == ["Details"]


# --- custom ids ---


@pytest.mark.parametrize("choice", get_args(Choice))
def test_a_choice_comes_back_with_its_ask_and_all_of_its_digest(choice: Choice) -> None:
    ask_id = 10**18 - 1
    assert len(decide_id(ask_id, choice, DIGEST)) <= 100
    assert parse_ask_press(decide_id(ask_id, choice, DIGEST)) == Decide(ask_id=ask_id, choice=choice, digest=DIGEST)


@pytest.mark.parametrize("target", ["edit:1", f"answer:{10**18 - 1}", "run:" + "a-_Z" * 16])
def test_a_form_is_known_by_its_target_alone(target: str) -> None:
    assert len(modal_id(target)) <= 100 and len(form_id("decline", target)) <= 100
    assert parse_modal(modal_id(target)) == target
    assert parse_ask_press(form_id("again", target)) == FormPress(step="again", target=target)


@pytest.mark.parametrize(
    "custom_id",
    [
        "tb:decide:",
        "tb:decide:7:run",
        "tb:decide:7:own:ab",
        "tb:decide:-7:run:ab",
        "tb:decide:\u0667:run:ab",
        f"tb:decide:{'9' * 5_000}:run:ab",
        "tb:decide:7:run:a b",
        "tb:about:x:",
        "tb:about:7",
        "tb:fill:open:",
        "tb:fill:open:edit:x",
        "tb:fill:open:run:a/b",
        "tb:fill:steal:edit:1",
    ],
)
def test_a_forged_or_malformed_button_is_known_as_such(custom_id: str) -> None:
    assert parse_ask_press(custom_id) == Malformed()


def test_other_buttons_and_forms_are_not_taken_for_asks() -> None:
    assert parse_ask_press("tb:stop:7:0") is None and parse_ask_press("other") is None
    assert parse_modal("tb:ask:1:2") is None
    assert parse_modal("tb:form:edit:x") == ""


# --- details ---


def test_a_link_is_shown_whole_with_its_host() -> None:
    shown = ask_details(Details(lines=(), link="https://accounts.example.com/path?x=1"))
    check(shown)
    assert "**accounts.example.com**" in shown.text and "https://accounts.example.com/path?x=1" in shown.text
    assert [(each["label"], each["url"]) for each in buttons(shown)] == [
        ("Open accounts.example.com", "https://accounts.example.com/path?x=1")
    ]


def test_a_host_in_letters_that_look_alike_is_named_as_a_name_server_knows_it() -> None:
    shown = ask_details(Details(lines=(), link="https://\u0430ccounts.example.com/path?x=1"))
    check(shown)
    assert "**xn--ccounts-1fg.example.com**" in shown.text
    assert "https://\u0430ccounts.example.com/path?x=1" in shown.text
    assert not shown.rows


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "https://", "https://[", "x" * 5_000, "https://a.example/" + "x" * 5_000]
)
def test_what_is_no_short_address_of_a_page_gets_no_button(link: str) -> None:
    shown = ask_details(Details(lines=(), link=link))
    check(shown)
    assert not shown.rows
    assert (shown.file is not None) == (len(link) > 1_400)


def test_details_of_a_call_are_exact() -> None:
    line = TraceLine(call_id="c", server="deploys", tool="deploy", state="waiting", arguments='{"env": "prod"}')
    assert '{"env": "prod"}' in ask_details(Details(lines=(line,))).text


def test_words_around_many_arguments_are_cut_before_an_argument_or_the_expiry_is_lost() -> None:
    many = tuple(ArgumentLine(name=f"key{number}", value="v" * 200) for number in range(8))
    wordy = replace(
        VIEW, lines=("w_" * 1_000,) * 8, message="m" * 3_000, change="c" * 3_000, arguments=many, kind="form"
    )
    shown = ask_message(wordy, key="k")
    check(shown)
    assert all(f"**key{number}**: vvv" in shown.text for number in range(8))
    assert shown.text.endswith("-# Expires <t:1800000000:R>, <t:1800000000:f>.")
