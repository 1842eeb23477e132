"""What Slack's payloads are to the bot."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.shared.arrivals import Unanswered
from adapters.slack.parse import HomeOpened, message_ts, parse_event, parse_slash, team_of
from adapters.slack.presses import json_value, parse_press
from bot.domain.events import CommandInvoked, MessageDeleted, MessageEdited, MessageReceived

BOT = "UBOT"


def delivery(**event: Any) -> dict[str, Any]:
    """An Events API delivery: https://docs.slack.dev/apis/events-api#callback-field."""
    return {"type": "event_callback", "team_id": "T1", "event": event}


def written(text: str, /, **fields: Any) -> dict[str, Any]:
    """A message of Ada's at the top level of a channel."""
    event = {"type": "message", "channel": "C1", "user": "U1", "ts": "1700000000.000100", "text": text}
    return delivery(**event | fields)


def parse(body: dict[str, Any]) -> Any:
    return parse_event(body, bot_user=BOT)


# --- messages ---


def test_both_deliveries_of_a_mention_are_the_same_message() -> None:
    text = "<@UBOT> hello"
    mention, message = parse(written(text, type="app_mention")), parse(written(text))
    assert mention == message
    assert isinstance(message, MessageReceived)
    assert message.event_key == "slack:T1:C1:1700000000.000100"
    assert message_ts(message.event_key) == "1700000000.000100"
    assert str(message.conversation) == "slack/T1/C1/1700000000.000100"
    assert message.sent_at == datetime.fromtimestamp(1700000000.0001, UTC)
    assert message.is_addressed and message.is_shared


def test_a_direct_message_is_addressed_and_not_shared() -> None:
    message = parse(written("hello", channel="D1"))
    assert message.is_addressed and not message.is_shared


def test_a_reply_in_a_thread_without_a_mention_is_a_follow_up() -> None:
    message = parse(written("and then?", thread_ts="1600000000.000100"))
    assert isinstance(message, MessageReceived)
    assert not message.is_addressed
    assert message.conversation.thread == "1600000000.000100"


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "good morning"},
        {"text": "<@U2> what do you think?"},
        {"text": "build 17 has failed", "bot_id": "B7"},
        {"text": "<@UBOTTOM> hello"},
        {"text": "<@UBOT> hello", "user": BOT},
        {"text": "<@UBOT> hello", "user": BOT, "bot_id": "B1", "thread_ts": "1600000000.000100"},
        {"text": "<@UBOT> has joined the channel", "subtype": "channel_join"},
        {"text": "<@UBOT> hello", "ts": ""},
    ],
)
def test_what_is_not_for_the_bot_is_nothing(fields: dict[str, Any]) -> None:
    assert parse(written("", **fields)) is None


MENTION_BLOCK = {
    "type": "rich_text",
    "elements": [{"type": "rich_text_section", "elements": [{"type": "user", "user_id": BOT}]}],
}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user": "USLACKBOT"}, "Slackbot wrote it"),
        ({"user": None}, "it names no author"),
        ({"subtype": "channel_topic"}, "a system message (channel_topic)"),
        ({"subtype": "bot_message", "user": None}, "it names no author"),
        ({"text": "", "blocks": [MENTION_BLOCK], "user": None}, "it names no author"),
        ({"text": "", "blocks": [MENTION_BLOCK], "subtype": "reminder_add"}, "a system message (reminder_add)"),
    ],
)
def test_a_mention_that_gets_no_answer_says_why(fields: dict[str, Any], reason: str) -> None:
    told = parse(written("", **{"text": "<@UBOT> hello"} | fields))
    assert told == Unanswered(event_key="slack:T1:C1:1700000000.000100", reason=reason)


IN_THREAD = {"thread_ts": "1600000000.000100"}


def test_a_reply_says_when_its_thread_began_and_the_first_message_does_not() -> None:
    assert parse(written("and now?", **IN_THREAD)).begun_at == datetime.fromtimestamp(1_600_000_000.0001, UTC)
    assert parse(written("<@UBOT> hello")).begun_at is None


@pytest.mark.parametrize(
    "to",
    [
        *("<@U2>", " <@U2|ben>", "<!subteam^S1>", "<!subteam^S1|@oncall>", "<!here>", "<!channel|channel>"),
        *("<!everyone>", "*<@U2>*", "_*<@U2>*_", "(<@U2>)", ":wave: <@U2>", ":wave::+1: <@U2>,", "\u2068<@U2>\u2069"),
    ],
)
def test_what_begins_with_other_people_is_talk_in_a_thread_unless_it_mentions_the_bot(to: str) -> None:
    talk = parse(written(f"{to} what do you think?", **IN_THREAD))
    assert talk.is_talk and not talk.is_addressed and talk.has_earlier
    asked = parse(written(f"{to} ask <@UBOT>", **IN_THREAD))
    assert asked.is_addressed and not asked.is_talk
    assert not parse(written(f"so, {to}", **IN_THREAD)).is_talk


@pytest.mark.parametrize("sign", ["_", ":", ":_", ":a", "*: "])
def test_a_message_of_nothing_but_signs_is_read_within_a_moment(sign: str) -> None:
    began = time.monotonic()
    assert not parse(written(sign * 20_000, **IN_THREAD)).is_talk
    assert time.monotonic() - began < 2


def test_what_begins_with_people_in_the_blocks_alone_is_talk_too() -> None:
    section = {"type": "rich_text_section", "elements": [{"type": "user", "user_id": "U2"}]}
    assert parse(written("", blocks=[{"type": "rich_text", "elements": [section]}], **IN_THREAD)).is_talk


def test_another_bots_post_in_a_thread_is_talk_and_its_mention_is_a_message_of_the_app() -> None:
    post = {"user": "U9", "bot_id": "B9", "app_id": "A9", "bot_profile": {"name": "Builds"}}
    assert parse(written("build 17 has failed", **post, **IN_THREAD)).is_talk
    asked = parse(written("<@UBOT> stop", **post))
    assert (asked.author_kind, asked.author_id, asked.author_aliases) == ("app", "A9", ("B9", "U9"))
    assert (asked.author_name, asked.is_addressed, asked.is_talk) == ("Builds", True, False)


def test_a_person_who_posts_through_an_app_is_a_person_where_that_is_known() -> None:
    body = written("and then?", user="U3", bot_id="B5", app_id="A5", **IN_THREAD)
    person = parse_event(body, bot_user=BOT, people={"U3"})
    assert isinstance(person, MessageReceived)
    assert (person.author_kind, person.author_id, person.author_aliases) == ("person", "U3", ())
    assert not person.is_talk
    assert parse(body).is_talk


@pytest.mark.parametrize("text", ["<@U2> and <@UBOT>, hello", "hello <@UBOT|toolbridge>"])
def test_a_mention_of_the_bot_anywhere_addresses_it(text: str) -> None:
    assert parse(written(text)).is_addressed


@pytest.mark.parametrize("subtype", ["file_share", "thread_broadcast", "me_message"])
def test_all_that_people_write_is_taken(subtype: str) -> None:
    assert isinstance(parse(written("<@UBOT> hello", subtype=subtype)), MessageReceived)


def test_files_come_with_where_their_bytes_are() -> None:
    file = {
        "id": "F1",
        "name": "a.txt",
        "mimetype": "text/plain",
        "size": 7,
        "url_private": "https://files.slack.com/a",
    }
    foreign = {"id": "F2", "title": "of another workspace", "file_access": "check_file_info"}
    first, second = parse(written("<@UBOT> read", files=[file, foreign, "no file"])).files
    assert (first.name, first.mime_type, first.size) == ("a.txt", "text/plain", 7)
    assert first.reference == "F1 https://files.slack.com/a"
    assert (second.name, second.size, second.reference) == ("of another workspace", 0, "F2 ")


def test_a_channel_that_several_workspaces_share_belongs_to_the_one_that_has_the_app() -> None:
    body = written("<@UBOT> hello") | {"team_id": "T9", "authorizations": [{"team_id": "T1"}]}
    assert parse(body).conversation.space == "T1"
    assert team_of({"user": {"team_id": "T3"}}) == "T3"


# --- changes ---


def change(text: str, before: str, **fields: Any) -> dict[str, Any]:
    message = {"type": "message", "user": "U1", "ts": "1700000000.000100", "text": text}
    edited = {"edited": {"user": "U1", "ts": "1700000009.000000"}}
    return delivery(
        type="message",
        subtype="message_changed",
        channel="C1",
        message=message | edited | fields,
        previous_message=message | {"text": before},
    )


def test_an_edit_has_the_key_of_its_message_and_when_it_was_made() -> None:
    edited = parse(change("<@UBOT> new", "<@UBOT> old"))
    assert isinstance(edited, MessageEdited)
    assert edited.event_key == parse(written("<@UBOT> old")).event_key
    assert edited.message.text == "<@UBOT> new"
    assert edited.message.edited_at == datetime.fromtimestamp(1700000009, UTC)


@pytest.mark.parametrize(
    "body",
    [
        change("<@UBOT> same", "<@UBOT> same"),
        change("<@UBOT> unfolded", "<@UBOT> link", edited=None),
        change("my own answer", "my own", user=BOT, bot_id="B1"),
    ],
)
def test_a_change_that_no_person_made_is_nothing(body: dict[str, Any]) -> None:
    assert parse(body) is None


TABLE = {"type": "table", "rows": [[{"type": "raw_text", "text": "980"}]]}
FORWARD = {"is_share": True, "is_msg_unfurl": True, "author_id": "U2", "text": "the bill"}
PREVIEW = {"from_url": "https://example.com", "title": "A page"}
PERMALINK = {"is_msg_unfurl": True, "author_id": "U2", "text": "the bill"}


@pytest.mark.parametrize(
    ("attachment", "is_edit"),
    [({"blocks": [TABLE]}, True), (FORWARD, True), (PREVIEW, False), (PERMALINK, False)],
)
def test_an_edit_changes_what_its_author_wrote_not_what_slack_shows_below(attachment: Any, is_edit: bool) -> None:
    body = change("<@UBOT> same", "<@UBOT> same", attachments=[attachment])
    edited = parse(body)
    assert isinstance(edited, MessageEdited) is is_edit


def test_an_edit_says_whether_the_message_is_for_the_bot_now() -> None:
    gained = parse(change("<@UBOT> hello", "hello"))
    lost = parse(change("hello", "<@UBOT> hello"))
    assert (gained.message.is_addressed, lost.message.is_addressed) == (True, False)


def test_a_mention_that_slack_sends_again_because_it_was_edited_is_an_edit() -> None:
    edited = {"user": "U1", "ts": "1700000009.000000"}
    again = parse(written("<@UBOT> new", type="app_mention", edited=edited))
    assert again == parse(change("<@UBOT> new", "<@UBOT> old"))
    missed = parse(written("<@UBOT> new", edited=edited))  # as the channel's history has it
    assert isinstance(missed, MessageReceived)


def test_a_mention_that_becomes_a_command_is_left_alone_which_the_log_says_once() -> None:
    change = {"edited": {"ts": "1700000010.000000"}}
    told = parse(written("<@UBOT> stop", type="app_mention", **change))
    key = "slack:T1:C1:1700000000.000100 1700000010.000000"
    assert told == Unanswered(event_key=key, reason="an edit made it a command")


def test_other_apps_change_their_messages_all_the_time() -> None:
    assert parse(change("90 %", "80 %", bot_id="B9")) is None
    assert parse(change("<@UBOT> done", "80 %", bot_id="B9")).message.author_kind == "app"


def test_a_deleted_message_is_known_by_its_key_whether_or_not_it_has_replies() -> None:
    gone = parse(delivery(type="message", subtype="message_deleted", channel="C1", deleted_ts="1700000000.000100"))
    tombstone = parse(change("This message was deleted.", "<@UBOT> hello", subtype="tombstone"))
    assert isinstance(gone, MessageDeleted)
    assert gone == tombstone


# --- commands ---


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("<@UBOT> stop", "stop", ""),
        ("<@UBOT> /History", "history", ""),
        ("tools <@UBOT> weather", "tools", "weather"),
    ],
)
def test_a_known_word_after_the_mention_is_a_command(text: str, name: str, argument: str) -> None:
    command = parse(written(text, thread_ts="1600000000.000100"))
    assert isinstance(command, CommandInvoked)
    assert (command.name, command.argument, command.is_channel_wide) == (name, argument, False)


@pytest.mark.parametrize(
    "text", ["<@UBOT> stop the server", "<@UBOT> clear it", "<@UBOT> tools for my garden", "<@UBOT> x"]
)
def test_a_sentence_that_begins_with_a_command_is_a_question(text: str) -> None:
    assert isinstance(parse(written(text)), MessageReceived)


def test_without_a_mention_stop_is_the_only_word_that_is_a_command() -> None:
    in_thread = {"thread_ts": "1600000000.000100"}
    stop = parse(written("Stop", **in_thread))
    assert isinstance(stop, CommandInvoked) and not stop.is_addressed
    assert isinstance(parse(written("history", **in_thread)), MessageReceived)


def test_a_command_that_opens_a_thread_is_about_the_channel() -> None:
    command = parse(written("<@UBOT> history"))
    assert (command.is_channel_wide, command.conversation.thread) == (True, "")


def test_slacks_stop_button_is_the_command_of_its_thread() -> None:
    body = delivery(type="agent_session_stopped", channel="C1", thread_ts="16.1", user="U1", event_ts="17.2")
    command = parse(body)
    assert (command.name, command.conversation.thread, command.is_channel_wide) == ("stop", "16.1", False)


def test_a_slash_command_is_about_its_channel_whatever_prefix_it_has() -> None:
    body = {
        "team_id": "T1",
        "channel_id": "C1",
        "user_id": "U1",
        "command": "/tb-tools",
        "text": " weather ",
        "trigger_id": "1.2",
        "response_url": "https://hooks.slack.com/commands/1",
    }
    invoked = parse_slash(body, prefix="tb-")
    assert (invoked.command.name, invoked.command.argument) == ("tools", "weather")
    assert invoked.command.is_channel_wide
    assert invoked.response_url == "https://hooks.slack.com/commands/1"


def test_only_the_home_tab_is_drawn() -> None:
    opened = {"type": "app_home_opened", "user": "U1"}
    assert parse(delivery(**opened, tab="home")) == HomeOpened(team="T1", user="U1")
    assert parse(delivery(**opened, tab="messages")) is None


# --- buttons ---


def test_a_pressed_button_knows_its_thread_and_each_press_has_a_key_of_its_own() -> None:
    body = {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": "U1"},
        "channel": {"id": "C1"},
        "message": {"ts": "17.2", "thread_ts": "16.1"},
        "actions": [{"action_id": "tb:details", "value": "7", "action_ts": "18.1"}],
        "trigger_id": "1.2",
    }
    pressed, again = parse_press(body), parse_press(body | {"trigger_id": "1.3"})
    assert pressed is not None and again is not None
    assert (pressed.thread, pressed.message_ts, pressed.action, pressed.value) == ("16.1", "17.2", "tb:details", "7")
    assert pressed.key == again.key  # the same press, delivered again
    later = parse_press(body | {"actions": [{"action_id": "tb:details", "value": "7", "action_ts": "18.2"}]})
    assert later is not None and later.key != pressed.key


def test_a_press_in_a_window_is_for_the_workspace_that_has_the_app_not_for_that_of_the_person() -> None:
    body = {
        "type": "block_actions",
        "team": {"id": "T2"},
        "user": {"id": "U9", "team_id": "T2"},
        "view": {"id": "V1", "team_id": "T2", "app_installed_team_id": "T1", "private_metadata": "{}"},
        "actions": [{"action_id": "tb:run:usage", "value": "usage", "action_ts": "18.1"}],
    }
    pressed = parse_press(body)
    assert pressed is not None and pressed.team == "T1"


@pytest.mark.parametrize(
    ("action", "value", "decides"),
    [
        ("tb:ask:run", "", True),
        ("tb:asked", "", True),
        ("tb:decline", "", True),
        ("tb:run:stop", "stop", True),
        ("tb:run:clear", "clear", False),
        ("tb:pick", '{"c": "stop", "t": "1.2"}', True),
        ("tb:pick", '{"c": "clear", "t": "1.2"}', False),
        ("tb:details", "1", False),
    ],
)
def test_presses_that_stop_an_answer_or_decide_something_are_counted_as_decisions(
    action: str, value: str, *, decides: bool
) -> None:
    body = {"type": "block_actions", "actions": [{"action_id": action, "value": value}]}
    pressed = parse_press(body)
    assert pressed is not None and pressed.decides == decides


def test_the_value_of_a_button_that_is_no_object_is_empty() -> None:
    assert json_value('{"turn": 7}') == {"turn": 7}
    assert json_value("[7]") == json_value("7 of") == json_value("") == json_value("[" * 100_000) == {}


# --- anything ---

FIELDS = """
type event user text ts channel subtype files thread_ts message previous_message edited deleted_ts actions action_id
blocks attachments elements rows is_share value selected_option view container team id authorizations team_id tab
command trigger_id size bot_id
"""
KINDS = """
message app_mention app_home_opened agent_session_stopped event_callback block_actions message_action message_changed
message_deleted tombstone file_share home
"""
NAMES = st.sampled_from(FIELDS.split())
TYPES = st.sampled_from(KINDS.split())
TEXTS = st.one_of(TYPES, st.text(), st.sampled_from(["<@UBOT> stop", "UBOT", "D1", "1700000000.1", "nan", "-1e400"]))
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(NAMES, st.text()), inner)),
    max_leaves=30,
)
BODIES = st.dictionaries(st.one_of(NAMES, st.text()), ANYTHING)


def event_of(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A delivery that is nearer to what comes: an event of a known type, with any fields."""
    return {"event": {**fields, "type": kind}}


@given(body=st.one_of(BODIES, st.builds(event_of, TYPES, BODIES)))
def test_no_payload_makes_parsing_fail(body: dict[str, Any]) -> None:
    arrived = parse_event(body, bot_user=BOT)
    if isinstance(arrived, MessageReceived | MessageEdited | MessageDeleted):
        assert arrived.event_key.startswith("slack:")
    pressed = parse_press(body)
    assert pressed is None or isinstance(pressed.value, str)
    assert parse_slash(body, prefix="").command.is_channel_wide


@given(text=st.text())
def test_whatever_a_button_holds_reads_as_an_object(text: str) -> None:
    assert isinstance(json_value(text), dict)


@pytest.mark.parametrize(
    ("body", "team"),
    [
        ({"team_id": "T1", "authorizations": [{"enterprise_id": "E1", "team_id": None}]}, "T1"),
        ({"team_id": "T9", "context_team_id": "T1", "authorizations": [{"team_id": None}]}, "T1"),
        ({"team_id": "T9", "authorizations": [{"team_id": "T1"}]}, "T1"),
        ({"team": None, "user": {"team_id": "T1"}, "view": {"app_installed_team_id": "E1"}}, "T1"),
        ({"team": None, "view": {"app_installed_team_id": "T1"}, "user": {"team_id": "T9"}}, "T1"),
        ({"team_id": "E1", "context_team_id": "E1", "authorizations": [{"team_id": None}]}, "E1"),
        ({"team_id": None, "authorizations": [], "view": [], "team": "T1"}, ""),
    ],
)
def test_the_workspace_of_a_delivery_is_the_one_that_has_the_app(body: dict[str, Any], team: str) -> None:
    """For an installation in a whole organization the authorization has no `team_id`."""
    assert team_of(body) == team
