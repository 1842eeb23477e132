"""Which words are a command."""

from __future__ import annotations

import pytest

from bot.domain.commands import spoken_command


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        "Stop!",
        "STOP.",
        "please stop",
        "stop please",
        "Stop, please!",
        "/stop",
        "stop …",
        "*STOP*",
        "**Please stop!**",
    ],
)
@pytest.mark.parametrize("is_addressed", [True, False])
def test_to_stop_may_be_said_politely_or_with_emphasis(text: str, is_addressed: bool) -> None:
    assert spoken_command(text.split(), is_addressed=is_addressed) == ("stop", "")


@pytest.mark.parametrize(
    "text", ["stop the server", "please stop the server", "don't stop", "stop stop", "stop?", "please", ""]
)
def test_a_sentence_with_the_word_stop_is_a_question(text: str) -> None:
    assert spoken_command(text.split(), is_addressed=True) is None


def test_to_clear_something_else_is_a_question() -> None:
    assert spoken_command(["clear", "cache"], is_addressed=True) is None


@pytest.mark.parametrize("text", ["history", "/help", "tools weather", "Usage", "clear files"])
def test_other_commands_need_the_mention(text: str) -> None:
    name, _, argument = text.lower().removeprefix("/").partition(" ")
    assert spoken_command(text.split(), is_addressed=True) == (name, argument)
    assert spoken_command(text.split(), is_addressed=False) is None
