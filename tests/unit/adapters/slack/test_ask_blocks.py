"""What people are asked, as one Slack message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.shared.asks import CHOICE_LABELS
from adapters.slack.ask_blocks import ask_blocks, link_blocks
from adapters.slack.deciding import asked_by, host_of
from adapters.slack.presses import Pressed
from bot.domain.asks import ArgumentLine, AskView
from tests.fakes.slack.blocks import check_blocks, elements_of, readable_text

VIEW = AskView(
    ask_id=7,
    kind="approval",
    state="pending",
    title="Run deploys/deploy?",
    lines=("Ada asks.",),
    choices=tuple(CHOICE_LABELS),
    form_target="edit:7",
    expires_at=1_798_000_000.0,
    digest="d" * 64,
)
TEXTS = st.text(max_size=400) | st.sampled_from(["<!channel>", "*b*", "x" * 5_000, "\n" * 50, "```", "&" * 900, ""])
VIEWS = st.builds(
    AskView,
    ask_id=st.integers(1, 2**63 - 1),
    kind=st.sampled_from(["approval", "form", "link"]),
    state=st.sampled_from(["pending", "approved", "declined", "expired", "void"]),
    title=TEXTS,
    lines=st.lists(TEXTS, max_size=80).map(tuple),
    arguments=st.lists(st.builds(ArgumentLine, name=TEXTS, value=TEXTS), max_size=70).map(tuple),
    change=TEXTS,
    message=TEXTS,
    host=TEXTS,
    votes=st.lists(TEXTS, max_size=30).map(tuple),
    record=TEXTS,
    choices=st.lists(st.sampled_from(list(CHOICE_LABELS)), unique=True).map(tuple),
    form_target=st.sampled_from(["", "edit:7"]),
    has_link=st.booleans(),
    expires_at=st.floats(0, 1e18),
    digest=st.text("0123456789abcdef", max_size=64),
    version=st.integers(1, 9),
)


@settings(max_examples=100)
@given(VIEWS)
def test_slack_takes_every_ask(view: AskView) -> None:
    blocks, text = ask_blocks(view)
    check_blocks(blocks)
    assert text


@settings(max_examples=50)
@given(st.lists(st.builds(ArgumentLine, name=st.from_regex(r"[a-z]{1,9}", fullmatch=True), value=TEXTS), max_size=50))
def test_a_long_value_hides_no_later_argument(arguments: list[ArgumentLine]) -> None:
    shown = readable_text(ask_blocks(replace(VIEW, arguments=tuple(arguments)))[0])
    assert all(f"{argument.name}: " in shown for argument in arguments)


def test_what_does_not_fit_is_said_to_be_left_out() -> None:
    many = tuple(ArgumentLine(name=f"a{number}", value="v" * 300) for number in range(60))
    shown = readable_text(ask_blocks(replace(VIEW, arguments=many))[0])
    assert "a0: " in shown and "(cut)" in shown and "… and 10 more: see Details" in shown


@pytest.mark.parametrize("name", ["title", "lines", "arguments", "message", "votes"])
def test_texts_of_others_are_shown_literally(name: str) -> None:
    evil = "<!channel> <@U1> <https://evil.example|safe> *bold* `code` \u202eover\nnext"
    values: dict[str, Any] = {
        "lines": (evil,),
        "votes": (evil,),
        "arguments": (ArgumentLine(name=evil, value=evil),),
    }
    blocks, text = ask_blocks(replace(VIEW, **{name: values.get(name, evil)}))
    marked = [str(block) for block in blocks if block["type"] != "rich_text"]
    assert all("<!channel>" not in each and "<@U1>" not in each and "<https" not in each for each in (*marked, text))
    assert all("*bold*" not in each and "\u202e" not in each for each in (*marked, text))
    assert all(element["type"] == "text" for element in _inline(blocks))


def _inline(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rich = [part for block in blocks if block["type"] == "rich_text" for part in block["elements"]]
    return [element for part in rich for element in part["elements"]]


def test_each_version_has_new_ids_and_a_decided_one_keeps_only_details() -> None:
    first, second = (ask_blocks(replace(VIEW, version=version))[0] for version in (1, 2))
    assert _ids(first).isdisjoint(_ids(second))
    done, text = ask_blocks(replace(VIEW, state="approved", record="**Approved** by <@U1>"))
    assert [element["text"]["text"] for _, element in elements_of(done)] == ["Details"]
    assert "*Approved*" in readable_text(done) and "<@U1>" not in readable_text(done)
    assert "Open until" not in readable_text(done) and text == "Run deploys/deploy? (approved)"


def _ids(blocks: list[dict[str, Any]]) -> set[str]:
    return {block["block_id"] for block in blocks if "block_id" in block}


@settings(max_examples=100)
@given(st.text(max_size=60) | st.builds(str, st.dictionaries(st.sampled_from(["ask", "digest"]), st.none())))
def test_a_value_of_any_kind_is_an_ask_or_is_not(value: str) -> None:
    assert asked_by(pressed(value)) is None


@pytest.mark.parametrize("ask", ["true", "0", "-1", "1.0", "null", "[]", "9" * 5_000, str(2**63)])
def test_an_id_that_no_ask_has_is_none(ask: str) -> None:
    assert asked_by(pressed(f'{{"ask":{ask},"digest":""}}')) is None
    assert asked_by(pressed('{"ask":7,"digest":"d"}')) == (7, "d")


def pressed(value: str) -> Pressed:
    texts = ("team", "channel", "thread", "message_ts", "user", "action", "trigger_id", "response_url", "view_id")
    return Pressed(**dict.fromkeys((*texts, "view_note", "key"), ""), value=value)


@pytest.mark.parametrize(
    ("link", "host"),
    [
        ("https://login.example.com/a?b=c", "login.example.com"),
        ("https://good.example@evil.example/", "evil.example"),
        ("javascript:alert(1)", ""),
        ("https://a b", ""),
        ("https://[", ""),
        ("https://e.example/" + "x" * 3_000, ""),
        ("", ""),
    ],
)
def test_a_link_is_named_by_the_host_that_it_leads_to(link: str, host: str) -> None:
    assert host_of(link) == host
    if host:
        check_blocks(link_blocks(host, link)[0])
