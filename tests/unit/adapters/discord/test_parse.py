"""What Discord's payloads say to the bot: addressed or not, commands, edits, presses, and texts as people read them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.parse import (
    AskedAbout,
    DirectRefused,
    Mark,
    Pressed,
    event_key,
    interaction_key,
    message_id,
    message_place,
    parse_component,
    parse_context_menu,
    parse_delete,
    parse_edit,
    parse_mark,
    parse_message,
    parse_slash,
)
from bot.domain.events import CommandInvoked, ConversationKey, MessageDeleted, MessageReceived, SharedFile

GUILD, CHANNEL, THREAD, BOT = "100", "200", "300", "900"
MESSAGE = "175928847299117063"  # Discord's own example of an id, made at the time below
MADE_AT = datetime(2016, 4, 30, 11, 18, 25, 796000, tzinfo=UTC)
IN_CHANNEL = ConversationKey(platform="discord", space=GUILD, channel=CHANNEL)
IN_THREAD = ConversationKey(platform="discord", space=GUILD, channel=CHANNEL, thread=THREAD)
DIRECT = ConversationKey(platform="discord", space="@me", channel="400")
ANN: dict[str, Any] = {"id": "1", "username": "ann77", "global_name": "Ann"}
BEN: dict[str, Any] = {"id": "2", "username": "ben"}
ME: dict[str, Any] = {"id": BOT, "username": "toolbridge", "bot": True}
NAMES = {"51": "general", "61": "Helpers"}
Payload = dict[str, Any]


def written(content: str, **more: Any) -> Payload:
    """A MESSAGE_CREATE of Ann in the channel; https://docs.discord.com/developers/resources/message#message-object"""
    return {
        "id": MESSAGE,
        "type": 0,
        "channel_id": CHANNEL,
        "guild_id": GUILD,
        "author": ANN,
        "member": {"nick": None},
        "content": content,
        "timestamp": "2016-04-30T11:18:25.796000+00:00",
        "edited_timestamp": None,
        "mentions": [ME] if f"<@{BOT}>" in content else [],
        "mention_roles": [],
        "attachments": [],
        **more,
    }


def in_thread(content: str, **more: Any) -> Payload:
    return written(content, channel_id=THREAD, **more)


def direct(content: str, **more: Any) -> Payload:
    payload = written(content, channel_id="400", **more)
    del payload["guild_id"], payload["member"]
    return payload


def reply(content: str, to: Payload, **more: Any) -> Payload:
    return written(content, type=19, message_reference={"type": 0, "message_id": "7"}, referenced_message=to, **more)


def parsed(payload: Payload, *, parent: str | None = None, allow_dms: bool = True) -> Any:
    if payload.get("channel_id") == THREAD:
        parent = CHANNEL
    return parse_message(payload, bot_user=BOT, parent=parent, allow_dms=allow_dms, names=NAMES)


def text_of(payload: Payload) -> str:
    message = parsed(payload)
    assert isinstance(message, MessageReceived)
    return message.text


# --- whom a message is for ---


def test_a_mention_in_a_channel_is_a_question_in_the_channels_conversation() -> None:
    assert parsed(written(f"<@{BOT}> what is the time?")) == MessageReceived(
        conversation=IN_CHANNEL,
        event_key=f"discord:{CHANNEL}:{MESSAGE}",
        author_id="1",
        author_name="Ann",
        text="what is the time?",
        sent_at=MADE_AT,
        is_shared=True,
        is_addressed=True,
    )


def test_what_is_said_in_a_channel_without_a_mention_is_not_for_the_bot() -> None:
    assert parsed(written("what is the time?")) is None


def test_what_is_said_in_a_thread_is_a_follow_up() -> None:
    message = parsed(in_thread("and in Berlin?"))
    assert message.conversation == IN_THREAD
    assert message.event_key == f"discord:{THREAD}:{MESSAGE}"
    assert not message.is_addressed
    assert parsed(in_thread(f"<@{BOT}> and in Berlin?")).is_addressed


@pytest.mark.parametrize("mention", ["<@2>", "<@!2>", "  <@2>", "<@&61>"])
def test_what_begins_with_a_mention_of_somebody_else_is_not_for_the_bot(mention: str) -> None:
    assert parsed(in_thread(f"{mention} look at this", mentions=[BEN])) is None
    assert parsed(in_thread(f"look at this, {mention}", mentions=[BEN])) is not None
    assert parsed(in_thread(f"{mention} look at <@{BOT}>", mentions=[BEN, ME])).is_addressed


def test_a_reply_to_the_bot_is_for_the_bot_and_does_not_repeat_what_it_said() -> None:
    message = parsed(reply("why?", {"id": "7", "author": ME, "content": "Because."}))
    assert (message.is_addressed, message.text) == (True, "why?")


def test_a_reply_to_somebody_else_is_not_for_the_bot() -> None:
    assert parsed(reply("why?", {"id": "7", "author": BEN, "content": "Because."})) is None


def test_a_mention_in_a_code_block_of_everybody_or_of_a_role_is_none_of_the_bot() -> None:
    assert parsed(written(f"`<@{BOT}>`", mentions=[])) is None
    assert parsed(written("@everyone hello", mention_everyone=True)) is None
    assert parsed(written("<@&61> hello", mention_roles=["61"])) is None


@pytest.mark.parametrize(
    "more",
    [
        {"author": {**BEN, "bot": True}},
        {"author": {**BEN, "system": True}},
        {"author": ME},
        {"author": {"id": BOT, "username": "x"}},
        {"webhook_id": "5"},
        {"type": 7},  # somebody joined
        {"type": 18},  # a thread was begun
        {"type": 21},  # the first message of a thread
        {"type": 20},  # an answer to a slash command
    ],
)
def test_what_no_person_wrote_is_dropped(more: Payload) -> None:
    assert parsed(written(f"<@{BOT}> hello", **more)) is None
    assert parsed(in_thread("hello", **more)) is None
    assert parsed(direct("hello", **more)) is None


def test_a_direct_message_needs_no_mention_and_is_not_shared() -> None:
    message = parsed(direct("hello"))
    assert (message.conversation, message.is_addressed, message.is_shared) == (DIRECT, True, False)


def test_a_direct_message_is_refused_where_the_operator_does_not_allow_it() -> None:
    refused = DirectRefused(channel="400", author_id="1", event_key=f"discord:400:{MESSAGE}")
    assert parsed(direct("hello"), allow_dms=False) == refused
    assert parsed(direct("help"), allow_dms=False) == refused
    assert parsed(direct("hello", author=ME), allow_dms=False) is None
    assert isinstance(parsed(written(f"<@{BOT}> hello"), allow_dms=False), MessageReceived)


def test_a_message_of_a_channels_history_is_of_the_guild_that_is_given() -> None:
    payload = written(f"<@{BOT}> hello")
    delivered = parsed(payload)
    del payload["guild_id"], payload["member"]
    fetched = parse_message(payload, bot_user=BOT, parent=None, allow_dms=False, guild=GUILD, names=NAMES)
    assert fetched == delivered


def test_a_follow_up_that_the_bot_may_not_read_is_dropped() -> None:
    assert parsed(in_thread("")) is None
    assert parsed(in_thread(" \n")) is None
    assert parsed(in_thread("", attachments=[{"id": "1", "filename": "a.txt", "url": "https://x"}])) is not None


# --- commands as words ---


@pytest.mark.parametrize(
    ("words", "name", "argument"),
    [("history", "history", ""), ("tools time", "tools", "time"), ("/Help", "help", ""), ("stop", "stop", "")],
)
def test_a_command_is_written_to_the_bot_as_a_word(words: str, name: str, argument: str) -> None:
    for text in (f"<@{BOT}> {words}", f"{words} <@!{BOT}>"):
        assert parsed(written(text, mentions=[ME])) == CommandInvoked(
            conversation=IN_CHANNEL,
            event_key=f"discord:{CHANNEL}:{MESSAGE}",
            author_id="1",
            name=name,
            argument=argument,
        )


def test_stop_alone_stops_in_a_thread_and_no_other_word_does_anything_there() -> None:
    stop = parsed(in_thread("Stop"))
    assert isinstance(stop, CommandInvoked)
    assert (stop.conversation, stop.name, stop.is_addressed) == (IN_THREAD, "stop", False)
    assert isinstance(parsed(in_thread("history")), MessageReceived)
    assert isinstance(parsed(in_thread(f"<@{BOT}> stop the server")), MessageReceived)
    assert parsed(written("stop")) is None


def test_a_command_can_be_a_reply_to_the_bot() -> None:
    assert isinstance(parsed(reply("history", {"id": "7", "author": ME, "content": "Hi"})), CommandInvoked)


# --- texts ---


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"<@{BOT}>", ""),
        (f"Hey <@{BOT}>, hello", "Hey, hello"),
        (f"Hey <@!{BOT}> hello", "Hey hello"),
        (f"<@{BOT}> ask <@2> or <@!2>", "ask @ben or @ben"),
        (f"<@{BOT}> is `<@3>` an id?", "is `<@3>` an id?"),
        (f"<@{BOT}> in <#51> and <#52>", "in #general and #52"),
        (f"<@{BOT}> tell <@&61> and <@&62>", "tell @Helpers and @62"),
        (f"<@{BOT}> nice <:blob:77> <a:dance:78>", "nice :blob: :dance:"),
        (f"<@{BOT}> try </tools:88> and </a b:89>", "try /tools and /a b"),
        (f"<@{BOT}> at <t:1618953630> or <t:1618953630:R>", "at 2021-04-20T21:20:30Z or 2021-04-20T21:20:30Z"),
        (f"<@{BOT}> at <t:9999999999999>", "at <t:9999999999999>"),
        (f"<@{BOT}> a < b and <https://example.com>", "a < b and <https://example.com>"),
        (f"<@{BOT}> ```\n  code\n```", "```\n  code\n```"),
    ],
)
def test_markup_becomes_words(content: str, text: str) -> None:
    assert text_of(written(content, mentions=[ME, BEN])) == text


def test_names_are_those_of_the_guild_on_one_line() -> None:
    member = {"nick": "Ann\nof\u202e the\tHill"}
    payload = written(
        f"<@{BOT}> ask <@2>", member=member, mentions=[ME, {**BEN, "member": {"nick": "Big\r\nBen\u2028> x"}}]
    )
    message = parsed(payload)
    assert (message.author_name, message.text) == ("Ann of the Hill", "ask @Big Ben > x")
    nameless = written(f"<@{BOT}> hi", author={"id": "3", "username": "cy", "global_name": " \n"}, member=None)
    assert parsed(nameless).author_name == "cy"


def test_a_reply_to_somebody_else_quotes_what_it_is_about() -> None:
    to = {"id": "7", "author": BEN, "content": "one <@1>\u2028two\nthree", "mentions": [ANN]}
    assert text_of(reply(f"<@{BOT}> is this true?", to)) == "> ben: one @Ann\n> two\n> three\n\nis this true?"


def test_a_long_quotation_is_cut_and_an_empty_one_left_out() -> None:
    quote = text_of(reply(f"<@{BOT}> hm?", {"id": "7", "author": BEN, "content": "x" * 2_000}))
    assert quote == f"> ben: {'x' * 499}…\n\nhm?"
    assert text_of(reply(f"<@{BOT}> hm?", {"id": "7", "author": BEN, "content": ""})) == "hm?"
    assert text_of(written(f"<@{BOT}> hm?", type=19, referenced_message=None)) == "hm?"


def test_a_forwarded_message_is_quoted() -> None:
    snapshot: Payload = {"message": {"content": "the **news**", "attachments": [], "mentions": []}}
    payload = direct("", message_reference={"type": 1, "message_id": "7"}, message_snapshots=[snapshot])
    assert text_of(payload) == "> forwarded: the **news**"


PNG = {
    "id": "9",
    "filename": "a.png",
    "content_type": "image/png",
    "size": 12,
    "url": "https://cdn.discordapp.com/attachments/1/9/a.png?ex=1",
}
PNG_FILE = SharedFile(name="a.png", mime_type="image/png", size=12, reference=str(PNG["url"]))


def test_attachments_are_files_with_their_type_and_size() -> None:
    text = {"id": "8", "filename": "a.txt", "content_type": "text/plain; charset=utf-8", "size": 3, "url": "https://u"}
    message = parsed(written(f"<@{BOT}> read", attachments=[PNG, text, {"id": "7"}]))
    assert message.files == (
        PNG_FILE,
        SharedFile(name="a.txt", mime_type="text/plain", size=3, reference="https://u"),
        SharedFile(name="file", mime_type="", size=0, reference=""),
    )


def test_the_files_of_the_message_that_is_replied_to_come_along() -> None:
    message = parsed(reply(f"<@{BOT}> what is this?", {"id": "7", "author": BEN, "content": "", "attachments": [PNG]}))
    assert (message.text, message.files) == ("> ben: (a.png)\n\nwhat is this?", (PNG_FILE,))
    own = parsed(reply("what is this?", {"id": "7", "author": ME, "content": "", "attachments": [PNG]}))
    assert own.files == ()


# --- edits and deletes ---


def edited(payload: Payload, *, parent: str | None = None, allow_dms: bool = True) -> Any:
    payload = {"edited_timestamp": "2016-04-30T13:20:00.500000+02:00"} | payload
    return parse_edit(payload, bot_user=BOT, parent=parent, allow_dms=allow_dms, names=NAMES)


def changed(content: str, **more: Any) -> Payload:
    payload = written(content, **more)
    return payload if "edited_timestamp" in more else {k: v for k, v in payload.items() if k != "edited_timestamp"}


def test_an_edit_is_the_whole_message_with_the_time_of_the_change() -> None:
    before = parsed(written(f"<@{BOT}> new text"))
    at = datetime(2016, 4, 30, 11, 20, 0, 500000, tzinfo=UTC)
    assert edited(changed(f"<@{BOT}> new text")).message == replace(before, edited_at=at)


def test_an_edit_that_drops_the_mention_still_changes_the_question() -> None:
    assert edited(changed("never mind Berlin")).message.text == "never mind Berlin"


@pytest.mark.parametrize(
    "payload",
    [
        changed(f"<@{BOT}> a link was unfolded", edited_timestamp=None),
        {"id": MESSAGE, "channel_id": CHANNEL, "guild_id": GUILD, "embeds": []},
        changed(f"<@{BOT}> stop"),
        changed("an answer that grows", author=ME),
        {k: v for k, v in changed("hello").items() if k != "guild_id"},
    ],
)
def test_what_changes_no_question_is_no_edit(payload: Payload) -> None:
    assert edited(payload, allow_dms=False) is None


def test_deleted_messages_are_told_one_by_one() -> None:
    gone = {"id": "11", "channel_id": THREAD, "guild_id": GUILD}
    assert parse_delete(gone, parent=CHANNEL) == (
        MessageDeleted(conversation=IN_THREAD, event_key=f"discord:{THREAD}:11"),
    )
    bulk = {"ids": ["12", 13], "channel_id": CHANNEL, "guild_id": GUILD}
    assert parse_delete(bulk, parent=None) == tuple(
        MessageDeleted(conversation=IN_CHANNEL, event_key=f"discord:{CHANNEL}:{number}") for number in (12, 13)
    )
    assert parse_delete({"id": "14", "channel_id": "400"}, parent=None)[0].conversation == DIRECT


# --- interactions ---


def interaction(kind: int, data: Payload, **more: Any) -> Payload:
    """https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object"""
    return {
        "id": MESSAGE,
        "application_id": "5",
        "type": kind,
        "token": "test",
        "guild_id": GUILD,
        "channel_id": CHANNEL,
        "channel": {"id": CHANNEL, "type": 0, "parent_id": "999"},  # the parent of a channel is a category
        "member": {"nick": "Annie", "user": ANN},
        "data": data,
        **more,
    }


WITHIN_THREAD: Payload = {
    "channel_id": THREAD,
    "channel": {"id": THREAD, "type": 11, "parent_id": CHANNEL},
}
WITHIN_DM: Payload = {
    "guild_id": None,
    "member": None,
    "user": ANN,
    "channel_id": "400",
    "channel": {"id": "400", "type": 1},
}


def test_a_slash_command_is_about_where_it_is_used() -> None:
    data = {"id": "6", "type": 1, "name": "tools", "options": [{"name": "word", "type": 3, "value": " time "}]}
    invoked = CommandInvoked(
        conversation=IN_CHANNEL,
        event_key=f"discord:interaction:{MESSAGE}",
        author_id="1",
        name="tools",
        argument="time",
    )
    assert parse_slash(interaction(2, data), allow_dms=False) == invoked
    assert parse_slash(interaction(2, data, **WITHIN_THREAD), allow_dms=False) == replace(
        invoked, conversation=IN_THREAD
    )
    assert parse_slash(interaction(2, data, **WITHIN_DM), allow_dms=True) == replace(invoked, conversation=DIRECT)


def test_a_press_says_who_pressed_what_where() -> None:
    data = {"component_type": 3, "custom_id": "tb:example:0", "values": ["0:abc"]}
    pressed = parse_component(interaction(3, data, message={"id": "12"}, **WITHIN_THREAD), allow_dms=False)
    assert pressed == Pressed(
        conversation=IN_THREAD,
        event_key=f"discord:interaction:{MESSAGE}",
        message_id="12",
        user_id="1",
        user_name="Annie",
        action="tb:example:0",
        values=("0:abc",),
    )
    assert isinstance(pressed, Pressed)
    assert pressed.channel_conversation == IN_CHANNEL


def test_the_menu_of_a_message_quotes_it_in_a_question() -> None:
    message = {"id": "12", "author": BEN, "content": "a\nb", "attachments": [PNG]}
    data = {"type": 3, "name": "Ask about this", "target_id": "12", "resolved": {"messages": {"12": message}}}
    asked = parse_context_menu(interaction(2, data), bot_user=BOT, allow_dms=False)
    assert isinstance(asked, AskedAbout)
    assert asked.question("Is that so?", event_key=f"discord:{CHANNEL}:13") == MessageReceived(
        conversation=IN_CHANNEL,
        event_key=f"discord:{CHANNEL}:13",
        author_id="1",
        author_name="Annie",
        text="> ben: a\n> b\n\nIs that so?",
        sent_at=MADE_AT,
        is_shared=True,
        files=(PNG_FILE,),
    )


def test_interactions_in_direct_messages_are_refused_like_messages() -> None:
    refused = DirectRefused(channel="400", author_id="1", event_key=f"discord:interaction:{MESSAGE}")
    assert parse_slash(interaction(2, {"type": 1, "name": "help"}, **WITHIN_DM), allow_dms=False) == refused
    assert parse_component(interaction(3, {"custom_id": "x"}, **WITHIN_DM), allow_dms=False) == refused
    menu = interaction(2, {"type": 3, "target_id": "12"}, **WITHIN_DM)
    assert parse_context_menu(menu, bot_user=BOT, allow_dms=False) == refused


def test_each_interaction_is_taken_by_one_parser_alone() -> None:
    kinds = [
        interaction(2, {"type": 1, "name": "help"}),
        interaction(3, {"custom_id": "tb:stop:1:0"}),
        interaction(2, {"type": 3, "target_id": "12"}),
        interaction(4, {"type": 1, "name": "tools"}),  # somebody types an argument
        interaction(5, {"custom_id": "form"}),
    ]
    taken = [
        [
            parse_slash(kind, allow_dms=True) is not None,
            parse_component(kind, allow_dms=True) is not None,
            parse_context_menu(kind, bot_user=BOT, allow_dms=True) is not None,
        ]
        for kind in kinds
    ]
    assert taken == [[True, False, False], [False, True, False], [False, False, True], [False] * 3, [False] * 3]


# --- keys and marks ---


def test_a_message_is_found_again_by_its_key_and_an_interaction_is_no_message() -> None:
    assert message_place(event_key("300", "12")) == ("300", "12")
    assert message_id(event_key("300", "12")) == "12"
    for other in (interaction_key("12"), "slack:T1:C1:1.2", "", "discord:300:12:13"):
        assert message_place(other) == ("", "")


@pytest.mark.parametrize(
    ("custom_id", "mark"),
    [
        ("tb:good:7:2", Mark("good", 7, 2)),
        ("tb:stop:7:0", Mark("stop", 7, 0)),
        ("tb:details:7:3", Mark("details", 7, 3)),
        ("tb:page:1:tools:", None),
        ("tb:stop:7", None),
        ("tb:stop:seven:0", None),
        ("x:stop:7:0", None),
    ],
)
def test_a_custom_id_tells_turn_and_part(custom_id: str, mark: Mark | None) -> None:
    assert parse_mark(custom_id) == mark


# --- whatever arrives ---

FIELDS = [
    "id", "type", "channel_id", "guild_id", "author", "member", "content", "mentions", "attachments", "data", "user",
    "referenced_message", "message_reference", "message_snapshots", "edited_timestamp", "ids", "channel", "message",
]  # fmt: skip
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)


@given(payload=st.dictionaries(st.sampled_from(FIELDS), junk), base=st.sampled_from(["message", "interaction", "none"]))
def test_no_payload_makes_a_parser_fail(payload: Payload, base: str) -> None:
    menu = interaction(2, {"type": 3, "target_id": "12", "resolved": {"messages": {"12": payload}}})
    bases = {"message": reply(f"<@{BOT}> hi", payload), "interaction": menu, "none": {}}
    payload = bases[base] | payload
    for allow_dms in (True, False):
        parse_message(payload, bot_user=BOT, parent=None, allow_dms=allow_dms)
        parse_edit(payload, bot_user=BOT, parent=CHANNEL, allow_dms=allow_dms)
        parse_slash(payload, allow_dms=allow_dms)
        parse_component(payload, allow_dms=allow_dms)
        parse_context_menu(payload, bot_user=BOT, allow_dms=allow_dms)
    parse_delete(payload, parent=None)


hostile = st.lists(
    st.sampled_from(["\n", "\r", "\u2028", "\x85", "\x0b", "> ", "<@1>", "<t:1>", "```"]) | st.text(max_size=9)
).map("".join)


@given(name=hostile, content=hostile, question=hostile)
def test_nothing_that_others_wrote_leaves_its_quotation(name: str, content: str, question: str) -> None:
    to = {"id": "7", "author": {"id": "2", "username": name}, "content": content, "mentions": [ANN]}
    asked = text_of(written(f"<@{BOT}> {question}", mentions=[ME]))
    quote, text = text_of(reply(f"<@{BOT}> {question}", to, mentions=[ME])), asked
    assert quote.endswith(text)
    quoted = quote.removesuffix(text).strip()
    assert all(line.startswith("> ") for line in quoted.splitlines())
