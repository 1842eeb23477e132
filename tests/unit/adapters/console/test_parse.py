"""What typed lines mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.console.parse import Attach, Detach, Entry, Leave, UnknownCommand, parse_line
from adapters.console.speaker import Speaker
from bot.domain.answers import Example
from bot.domain.commands import COMMANDS
from bot.domain.events import CommandInvoked, ConversationKey, MessageReceived

KEY = ConversationKey(platform="console", space="local", channel="default")
CHOICES = (Example(title="Sum", text="What is 1 + 1?"), Example(title="Time", text="What time is it in Rome?"))


def parse(line: str, choices: tuple[Example, ...] = ()) -> Entry | None:
    return parse_line(line, speaker=Speaker(conversation=KEY, id="jdoe"), choices=choices)


def text_of(entry: Entry | None) -> str:
    assert isinstance(entry, MessageReceived)
    return entry.text


@pytest.mark.parametrize("line", ["", "   ", "\n", "\t \n"])
def test_an_empty_line_is_nothing(line: str) -> None:
    assert parse(line) is None


def test_a_line_is_a_message_of_the_person_with_a_key_of_its_own() -> None:
    first, second = parse(" hello\nthere "), parse("again")
    assert isinstance(first, MessageReceived)
    assert isinstance(second, MessageReceived)
    assert (first.text, str(first.actor), first.author_name) == ("hello\nthere", "console:jdoe", "jdoe")
    assert first.event_key != second.event_key
    assert first.sent_at.tzinfo is not None


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_a_slash_and_a_known_name_is_that_command(name: str) -> None:
    entry = parse(f"/{name}")
    assert isinstance(entry, CommandInvoked)
    assert (entry.name, entry.argument) == (name, "")


def test_a_command_keeps_the_rest_of_the_line_as_its_argument() -> None:
    entry = parse("/TOOLS  text file ")
    assert isinstance(entry, CommandInvoked)
    assert (entry.name, entry.argument) == ("tools", "text file")


def test_files_are_attached_and_left_out_by_commands_of_the_terminal() -> None:
    assert parse("/attach  ~/a b.txt 'c d' ") == Attach(names="~/a b.txt 'c d'")
    assert parse("/attach") == Attach(names="")
    assert parse("/detach") == Detach()


def test_exit_leaves() -> None:
    assert parse("/exit") == Leave()


@pytest.mark.parametrize(
    ("line", "nearest"), [("/tool", "tools"), ("/hlep", "help"), ("/exa", "examples"), ("/xyzzyx", None)]
)
def test_an_unknown_command_gets_the_nearest_one(line: str, nearest: str | None) -> None:
    assert parse(line) == UnknownCommand(name=line[1:], nearest=nearest)


@pytest.mark.parametrize("line", ["/etc/hosts says what?", "/", "// comment", "/-1", "what is /tools"])
def test_other_lines_with_a_slash_are_messages(line: str) -> None:
    assert text_of(parse(line)) == line


def test_a_number_stands_for_its_choice() -> None:
    assert text_of(parse("2", CHOICES)) == "What time is it in Rome?"


@pytest.mark.parametrize("line", ["0", "3", "-1", "1.0", "²", "99999999999999999999", "01"])
def test_any_other_number_is_a_message(line: str) -> None:
    assert text_of(parse(line, CHOICES)) == line


def test_a_number_without_choices_is_a_message() -> None:
    assert text_of(parse("1")) == "1"


@given(line=st.text())
def test_every_line_is_nothing_a_command_or_a_message_with_all_its_text(line: str) -> None:
    match parse(line):
        case None:
            assert not line.strip()
        case MessageReceived(text=text):
            assert text == line.strip()
        case CommandInvoked() | UnknownCommand() | Leave():
            assert line.strip().startswith("/")
