"""Forms at a terminal: what each kind of field takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.console.filling import Action, fill_in, missing
from bot.domain.answers import Done, Submitted
from bot.domain.forms import Field, FieldKind, Form, Invalid, Option

OPTIONS = (Option(value="r", label="red"), Option(value="g", label="green"), Option(value="b", label="blue"))


@dataclass
class Person:
    """Types these lines, one after the other; None is Ctrl-C."""

    lines: list[str | None]
    shown: list[str] = field(default_factory=list[str])
    sent: list[tuple[Action, Mapping[str, str]]] = field(default_factory=list[tuple[Action, Mapping[str, str]]])
    outcomes: list[Submitted] = field(default_factory=list[Submitted])

    async def question(self, text: str) -> str | None:
        self.shown.append(text)
        return self.lines.pop(0)

    def say(self, sentence: str) -> None:
        self.shown.append(sentence)

    async def submit(self, values: Mapping[str, str], action: Action) -> Submitted:
        self.sent.append((action, dict(values)))
        return self.outcomes.pop(0) if self.outcomes else Done()

    async def fills(self, *fields: Field, **parts: Any) -> None:
        await fill_in(Form(target="run:x", title="x", fields=fields, **parts), at=self, submit=self.submit)
        assert self.lines == []


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        ("text", ["  words "], "words"),
        ("text", ['"cancel"'], "cancel"),
        ("long_text", ["one\ntwo"], "one\ntwo"),
        ("integer", ["3"], "3"),
        ("number", ["nonsense"], "nonsense"),  # the core says what is wrong with it
        ("checkbox", ["maybe", "Y"], "true"),
        ("checkbox", ["no"], "false"),
        ("choice", ["0", "4", "²", "2"], "g"),
        ("choice", ["Blue"], "b"),
        ("choices", ["1, blue, 1"], "r\nb"),
        ("choices", ["1, 9", "b"], "b"),
        ("date", ["2026-11-29"], "2026-11-29"),
        ("json", ['{"a": [1]}'], '{"a": [1]}'),
        ("text", [""], ""),
    ],
)
async def test_each_kind_of_field_takes_what_people_type(kind: FieldKind, typed: list[str | None], value: str) -> None:
    person = Person(typed)
    await person.fills(Field(name="it", label="It", kind=kind, options=OPTIONS if "choice" in kind else ()))
    assert person.sent == [("accept", {"it": value})]


@pytest.mark.parametrize(
    ("is_required", "typed", "value"),
    [(True, [""], "old"), (True, ["-"], "-"), (False, [""], "old"), (False, ["-"], ""), (False, ["new"], "new")],
)
async def test_an_empty_line_keeps_the_value_and_a_dash_empties_what_is_optional(
    is_required: bool, typed: list[str | None], value: str
) -> None:
    person = Person(typed)
    await person.fills(Field(name="it", label="It", kind="text", value="old", is_required=is_required))
    assert person.sent == [("accept", {"it": value})]
    assert "[old]:" in person.shown[-1]


async def test_what_is_needed_is_asked_for_until_it_is_there() -> None:
    person = Person(["", "here"])
    await person.fills(Field(name="it", label="It", kind="text", is_required=True))
    assert "This is needed." in person.shown
    assert person.sent == [("accept", {"it": "here"})]


async def test_only_the_fields_at_fault_are_asked_again_and_a_fault_of_the_whole_asks_for_all() -> None:
    person = Person(["1", "2", "3", "4", "5"])
    person.outcomes = [Invalid(errors={"b": "Too small."}), Invalid(notice="They differ.")]
    await person.fills(Field(name="a", label="A", kind="integer"), Field(name="b", label="B", kind="integer"))
    assert [values for _, values in person.sent] == [{"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {"a": "4", "b": "5"}]
    assert {"B: Too small.", "They differ."} <= set(person.shown)


@pytest.mark.parametrize("closing", [None, "cancel"])
async def test_a_form_of_ones_own_is_closed_without_a_word_to_anybody(closing: str | None) -> None:
    person = Person(["1", closing])
    await person.fills(Field(name="a", label="A", kind="text"), Field(name="b", label="B", kind="text"))
    assert person.sent == []


@pytest.mark.parametrize(("typed", "sent"), [("y", ["accept"]), ("", []), (None, [])])
async def test_a_form_without_fields_is_confirmed(typed: str | None, sent: list[str]) -> None:
    person = Person([typed])
    await person.fills(submit="Run")
    assert [action for action, _ in person.sent] == sent


async def test_a_servers_words_cannot_steer_the_terminal() -> None:
    bad = "\x1b]0;owned\x07\x1b[2J"
    person = Person(["1"])
    await person.fills(
        Field(name="a", label=bad, kind="choice", hint=bad, options=(Option(value="x", label=bad),)), message=bad
    )
    assert "\x1b" not in "".join(person.shown)


def test_what_is_missing_is_what_is_needed_and_empty() -> None:
    fields = (
        Field(name="a", label="A", kind="text", is_required=True),
        Field(name="b", label="", kind="text", is_required=True),
        Field(name="c", label="C", kind="text", is_required=True, value="1"),
        Field(name="d", label="D", kind="text"),
    )
    assert missing(Form(target="run:x", title="x", fields=fields)) == ["A", "b"]
