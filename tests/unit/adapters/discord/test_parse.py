"""What Discord's payloads say to the bot: addressed or not, commands, edits, presses, and texts as people read them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.parse import (
    DirectRefused,
    Mark,
    Thread,
    Unreadable,
    event_key,
    interaction_key,
    message_id,
    message_place,
    parse_delete,
    parse_edit,
    parse_mark,
    parse_message,
    sent_at,
)
from adapters.discord.presses import AskedAbout, Pressed, parse_component, parse_context_menu, parse_slash
from adapters.discord.readable import Reader
from adapters.discord.words import DELETED, NO_INTENT, NOT_FETCHED
from adapters.shared.arrivals import Unanswered
from bot.domain.events import CommandInvoked, ConversationKey, MessageDeleted, MessageReceived, Quoted, SharedFile

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
READER = Reader(bot_user=BOT, bot_roles=frozenset({"91"}), name_of=lambda number: NAMES.get(number, ""))
BLIND = replace(READER, reads_content=False)
PLANS, OWN, POST = Thread(CHANNEL, owner="1"), Thread(CHANNEL, owner=BOT), Thread(CHANNEL, owner="1", title="VPN")
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


def parsed(payload: Payload, *, thread: Thread = PLANS, allow_dms: bool = True, reader: Reader = READER) -> Any:
    there = thread if payload.get("channel_id") == THREAD else None
    return parse_message(payload, reader=reader, thread=there, allow_dms=allow_dms)


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
    assert message.begun_at == sent_at(THREAD)
    assert parsed(in_thread(f"<@{BOT}> and in Berlin?")).is_addressed


@pytest.mark.parametrize("mention", ["<@2>", "<@!2>", "  <@2>", "<@&61>", "@everyone", "@here"])
def test_what_begins_with_a_mention_of_someone_else_is_talk_in_a_thread(mention: str) -> None:
    talk = parsed(in_thread(f"{mention} look at this", mentions=[BEN]))
    assert (talk.is_talk, talk.is_addressed, talk.has_earlier) == (True, False, True)
    assert not parsed(in_thread(f"look at this, {mention}", mentions=[BEN])).is_talk
    assert parsed(in_thread(f"{mention} look at <@{BOT}>", mentions=[BEN, ME])).is_addressed
    assert parsed(written(f"{mention} look at this", mentions=[BEN])) is None


def test_a_reply_to_the_bot_is_for_the_bot_and_points_at_what_it_said() -> None:
    message = parsed(reply("why?", {"id": "7", "author": ME, "content": "Because."}))
    assert (message.is_addressed, message.text) == (True, "why?")
    [quoted] = message.quoted
    assert (quoted.relation, quoted.author_kind, quoted.reference, quoted.text) == ("reply", "self", "7", "Because.")


def test_a_reply_to_someone_else_is_talk_in_a_thread_and_nothing_elsewhere() -> None:
    to_ben, to_bot = {"id": "7", "author": BEN, "content": "Because."}, {"id": "7", "author": ME, "content": "Because."}
    to_herself = {"id": "7", "author": ANN, "content": "Because."}
    assert parsed(reply("why?", to_ben)) is None
    assert parsed(reply("why?", to_ben, channel_id=THREAD)).is_talk
    assert parsed(reply("stop", to_ben, channel_id=THREAD)).is_talk  # no command either
    assert not parsed(reply("why?", to_herself, channel_id=THREAD)).is_talk
    assert parsed(reply("why?", to_bot, channel_id=THREAD)).is_addressed
    assert parsed(reply(f"<@{BOT}> why?", to_ben, channel_id=THREAD)).is_addressed


def test_whom_a_reply_notifies_tells_whom_it_is_for_where_nothing_else_does() -> None:
    unknown = {k: v for k, v in reply("why?", {}, channel_id=THREAD).items() if k != "referenced_message"}
    assert parsed({**unknown, "mentions": [BEN]}).is_talk
    assert not parsed({**unknown, "mentions": []}).is_talk
    assert parsed({**unknown, "mentions": [ME]}).is_addressed


def test_the_bots_own_role_counts_as_the_bot_and_no_other_role_does() -> None:
    asked = parsed(written("<@&91> list the open tickets", mention_roles=["91"]))
    assert (asked.is_addressed, asked.text) == (True, "list the open tickets")
    assert parsed(written("<@&91> list", mention_roles=["91"], guild_id=GUILD)).text == "list"
    assert isinstance(parsed(written("<@&91> history", mention_roles=["91"])), CommandInvoked)
    assert not parsed(in_thread("list the tickets of <@&61>", mention_roles=["61"])).is_addressed
    assert parsed(in_thread("<@&61> list", mention_roles=["61"])).is_talk


def test_another_bot_is_an_app_that_asks_only_by_a_mention() -> None:
    bot = {**BEN, "bot": True}
    asked = parsed(written(f"<@{BOT}> build 17 failed", author=bot))
    assert (asked.author_kind, asked.author_id, asked.author_aliases) == ("app", "2", ())
    assert asked.is_addressed and not asked.is_talk
    hook = parsed(written(f"<@{BOT}> hm", author={"id": "8", "username": "CI"}, webhook_id="8", application_id="80"))
    assert (hook.author_kind, hook.author_id, hook.author_aliases) == ("app", "8", ("80",))
    assert isinstance(parsed(written(f"<@{BOT}> stop", author=bot)), MessageReceived)  # it is the core that decides
    assert parsed(written("build 17 failed", author=bot)) is None
    assert parsed(in_thread("build 17 failed", author=bot)).is_talk
    to_me = {"id": "7", "author": ME, "content": "Because."}
    assert parsed(reply("why?", to_me, author=bot, mentions=[ME])) is None  # a bot's replies notify as well
    assert parsed(in_thread("stop", author=bot)).is_talk


def test_a_mention_in_a_message_that_nobody_wrote_gets_no_answer_and_a_reason() -> None:
    reason = parsed(written(f"<@{BOT}> joined", type=7))
    assert reason == Unanswered(event_key=f"discord:{CHANNEL}:{MESSAGE}", reason="it is a message of the type 7")
    assert isinstance(parsed(written(f"<@{BOT}> hello", author={**BEN, "system": True})), Unanswered)


def test_a_thread_that_the_bot_began_belongs_to_the_conversation_of_its_channel() -> None:
    message = parsed(in_thread("and now?"), thread=OWN)
    assert (message.conversation, message.event_key) == (IN_CHANNEL, f"discord:{THREAD}:{MESSAGE}")
    assert (message.is_addressed, message.has_earlier) == (False, True)
    stop = parsed(in_thread("stop"), thread=OWN)
    assert (stop.conversation, stop.name) == (IN_CHANNEL, "stop")
    [gone] = parse_delete({"id": "11", "channel_id": THREAD, "guild_id": GUILD}, reader=READER, thread=OWN)
    assert gone.conversation == IN_CHANNEL


def test_the_first_message_of_a_post_in_a_forum_has_its_title() -> None:
    first = parsed(in_thread(f"<@{BOT}> only on Linux", id=THREAD), thread=POST)
    assert (first.text, first.has_earlier) == ("VPN\n\nonly on Linux", False)
    later = parsed(in_thread(f"<@{BOT}> is this known?", position=0), thread=POST)  # as the first one has, or none
    assert (later.text, later.has_earlier) == ("is this known?", True)


def test_without_the_intent_only_what_names_the_bot_can_be_read() -> None:
    unread = Unreadable(conversation=IN_THREAD, event_key=f"discord:{THREAD}:{MESSAGE}", is_addressed=False)
    assert parsed(in_thread(""), reader=BLIND) == unread
    to_me = {"id": "7", "author": ME, "content": "Because."}
    assert parsed(reply("", to_me), reader=BLIND).is_addressed
    assert isinstance(parsed(written("", mention_roles=["91"]), reader=BLIND), Unreadable)
    assert parsed(written(f"<@{BOT}>"), reader=BLIND).text == ""
    assert parsed(direct(""), reader=BLIND).text == ""
    assert parsed(in_thread("", sticker_items=[{"name": "tea"}]), reader=BLIND).text == "[sticker: tea]"
    to_ben = {"id": "7", "author": BEN, "content": ""}
    assert parsed(reply("", to_ben, channel_id=THREAD), reader=BLIND).is_talk
    assert parsed(in_thread("", mentions=[BEN]), reader=BLIND).is_talk
    [quoted] = parsed(reply(f"<@{BOT}> hm?", to_ben), reader=BLIND).quoted
    assert (quoted.text, quoted.unread) == ("", (NO_INTENT,))


def test_a_mention_in_a_code_block_of_everybody_or_of_a_role_is_none_of_the_bot() -> None:
    assert parsed(written(f"`<@{BOT}>`", mentions=[])) is None
    assert parsed(written("@everyone hello", mention_everyone=True)) is None
    assert parsed(written("<@&61> hello", mention_roles=["61"])) is None


@pytest.mark.parametrize(
    "more",
    [
        {"author": {**BEN, "bot": True}, "type": 7},
        {"author": ME},
        {"author": {"id": BOT, "username": "x"}},
        {"type": 7},  # somebody joined
        {"type": 18},  # a thread was begun
        {"type": 21},  # the first message of a thread
    ],
)
def test_what_nobody_wrote_is_dropped(more: Payload) -> None:
    assert parsed(written("hello", **more)) is None
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
    fetched = parse_message(payload, reader=READER, thread=None, allow_dms=False, guild=GUILD)
    assert fetched == delivered


def test_a_follow_up_with_nothing_in_it_is_dropped() -> None:
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


def test_a_question_in_reply_to_someone_else_points_at_what_it_is_about() -> None:
    to = {"id": MESSAGE, "author": BEN, "content": "one <@1>\u2028two\nthree", "mentions": [ANN]}
    message = parsed(reply(f"<@{BOT}> is this true?", to))
    assert message.text == "is this true?"
    assert message.quoted == (
        Quoted(
            relation="reply",
            text="one @Ann (1)\u2028two\nthree",
            author="ben",
            author_id="2",
            sent_at=MADE_AT,
            reference=MESSAGE,
        ),
    )


def test_a_quotation_is_whole_and_may_be_empty() -> None:
    [quoted] = parsed(reply(f"<@{BOT}> hm?", {"id": "7", "author": BEN, "content": "x" * 2_000})).quoted
    assert quoted.text == "x" * 2_000
    [quoted] = parsed(reply(f"<@{BOT}> hm?", {"id": "7", "author": BEN, "content": ""})).quoted
    assert (quoted.text, quoted.unread) == ("", ())


def test_a_reply_to_a_message_that_is_not_there_says_so() -> None:
    gone = parsed(written(f"<@{BOT}> hm?", type=19, referenced_message=None))
    assert (gone.text, gone.quoted, gone.unread) == ("hm?", (), (DELETED,))
    assert parsed(written(f"<@{BOT}> hm?", type=19)).unread == (NOT_FETCHED,)
    assert parsed(written(f"<@{BOT}> hm?")).unread == ()


def test_a_forwarded_message_is_quoted_as_nobodys() -> None:
    snapshot: Payload = {"message": {"content": "the **news** of <#51>", "attachments": [PNG], "mentions": []}}
    payload = direct("", message_reference={"type": 1, "message_id": "7"}, message_snapshots=[snapshot])
    message = parsed(payload)
    assert (message.text, message.files) == ("", ())
    assert message.quoted == (Quoted(relation="forward", text="the **news** of #general (51)", files=(PNG_FILE,)),)


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
    for author in (BEN, ME):
        to = {"id": "7", "author": author, "content": "", "attachments": [PNG]}
        message = parsed(reply(f"<@{BOT}> what is this?", to))
        assert (message.text, message.files) == ("what is this?", ())
        assert [(quoted.text, quoted.files) for quoted in message.quoted] == [("", (PNG_FILE,))]


# --- edits and deletes ---


def edited(payload: Payload, *, thread: Thread = PLANS, allow_dms: bool = True) -> Any:
    payload = {"edited_timestamp": "2016-04-30T13:20:00.500000+02:00"} | payload
    there = thread if payload.get("channel_id") == THREAD else None
    return parse_edit(payload, reader=READER, thread=there, allow_dms=allow_dms)


def changed(content: str, **more: Any) -> Payload:
    payload = written(content, **more)
    return payload if "edited_timestamp" in more else {k: v for k, v in payload.items() if k != "edited_timestamp"}


def test_an_edit_is_the_whole_message_with_the_time_of_the_change() -> None:
    before = parsed(written(f"<@{BOT}> new text"))
    at = datetime(2016, 4, 30, 11, 20, 0, 500000, tzinfo=UTC)
    assert edited(changed(f"<@{BOT}> new text")).message == replace(before, edited_at=at)


def test_an_edit_that_drops_the_mention_still_changes_the_question() -> None:
    message = edited(changed("never mind Berlin")).message
    assert (message.text, message.is_addressed) == ("never mind Berlin", False)
    assert not edited(changed("<@2> never mind", channel_id=THREAD, mentions=[BEN])).message.is_talk


def test_an_edit_that_adds_the_mention_says_so() -> None:
    assert edited(changed(f"<@{BOT}> what is it?")).message.is_addressed
    command = edited(changed(f"<@{BOT}> history"))
    assert command == Unanswered(event_key=f"discord:{CHANNEL}:{MESSAGE}", reason="an edit made it a command")


def test_an_edit_of_an_embed_or_a_file_alone_is_an_edit() -> None:
    bot = {**BEN, "bot": True}
    before, after = ({"type": "rich", "title": f"{number} GB are free"} for number in (980, 890))
    texts = [edited(changed(f"<@{BOT}> enough?", author=bot, embeds=[each])).message.text for each in (before, after)]
    assert texts == ["enough?\n980 GB are free", "enough?\n890 GB are free"]
    assert edited(changed(f"<@{BOT}> read", attachments=[PNG])).message.files == (PNG_FILE,)
    assert edited(changed("build 17 failed", author=bot)) is None


@pytest.mark.parametrize(
    "payload",
    [
        changed(f"<@{BOT}> a link was unfolded", edited_timestamp=None),
        {"id": MESSAGE, "channel_id": CHANNEL, "guild_id": GUILD, "embeds": []},
        changed("stop", channel_id=THREAD),
        changed("an answer that grows", author=ME),
        {k: v for k, v in changed("hello").items() if k != "guild_id"},
    ],
)
def test_what_changes_no_question_is_no_edit(payload: Payload) -> None:
    assert edited(payload, allow_dms=False) is None


def test_deleted_messages_are_told_one_by_one() -> None:
    gone = {"id": "11", "channel_id": THREAD, "guild_id": GUILD}
    assert parse_delete(gone, reader=READER, thread=PLANS) == (
        MessageDeleted(conversation=IN_THREAD, event_key=f"discord:{THREAD}:11"),
    )
    bulk = {"ids": ["12", 13], "channel_id": CHANNEL, "guild_id": GUILD}
    assert parse_delete(bulk, reader=READER, thread=None) == tuple(
        MessageDeleted(conversation=IN_CHANNEL, event_key=f"discord:{CHANNEL}:{number}") for number in (12, 13)
    )
    assert parse_delete({"id": "14", "channel_id": "400"}, reader=READER, thread=None)[0].conversation == DIRECT


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
    assert parse_slash(interaction(2, data), reader=READER, allow_dms=False) == invoked
    assert parse_slash(interaction(2, data, **WITHIN_THREAD), reader=READER, allow_dms=False) == replace(
        invoked, conversation=IN_THREAD
    )
    assert parse_slash(interaction(2, data, **WITHIN_DM), reader=READER, allow_dms=True) == replace(
        invoked, conversation=DIRECT
    )


def test_a_press_says_who_pressed_what_where() -> None:
    data = {"component_type": 3, "custom_id": "tb:example:0", "values": ["0:abc"]}
    pressed = parse_component(
        interaction(3, data, message={"id": "12"}, **WITHIN_THREAD), reader=READER, allow_dms=False
    )
    assert pressed == Pressed(
        conversation=IN_THREAD,
        channel=THREAD,
        event_key=f"discord:interaction:{MESSAGE}",
        message_id="12",
        user_id="1",
        user_name="Annie",
        action="tb:example:0",
        values=("0:abc",),
    )
    assert isinstance(pressed, Pressed)
    assert pressed.channel_conversation == IN_CHANNEL


CHOSEN = Quoted(relation="chosen", text="a\nb", author="ben", author_id="2", reference="12", files=(PNG_FILE,))


def test_the_menu_of_a_message_quotes_it_in_a_question() -> None:
    message = {"id": "12", "author": BEN, "content": "a\nb", "attachments": [PNG]}
    data = {"type": 3, "name": "Ask about this", "target_id": "12", "resolved": {"messages": {"12": message}}}
    asked = parse_context_menu(interaction(2, data), reader=READER, allow_dms=False)
    assert isinstance(asked, AskedAbout)
    assert asked.question("Is that so?", event_key=f"discord:{CHANNEL}:13") == MessageReceived(
        conversation=IN_CHANNEL,
        event_key=f"discord:{CHANNEL}:13",
        author_id="1",
        author_name="Annie",
        text="Is that so?",
        sent_at=MADE_AT,
        is_shared=True,
        quoted=(replace(CHOSEN, sent_at=asked.chosen.sent_at),),
    )


def test_what_is_done_in_a_thread_that_the_bot_began_is_about_its_channel() -> None:
    own = {**WITHIN_THREAD, "channel": {**WITHIN_THREAD["channel"], "owner_id": BOT}}
    invoked = parse_slash(interaction(2, {"type": 1, "name": "stop"}, **own), reader=READER, allow_dms=False)
    assert isinstance(invoked, CommandInvoked) and invoked.conversation == IN_CHANNEL
    pressed = parse_component(interaction(3, {"custom_id": "x"}, **own), reader=READER, allow_dms=False)
    assert isinstance(pressed, Pressed) and (pressed.conversation, pressed.channel) == (IN_CHANNEL, THREAD)
    menu = interaction(2, {"type": 3, "target_id": "12"}, **own)
    asked = parse_context_menu(menu, reader=READER, allow_dms=False)
    assert isinstance(asked, AskedAbout)
    question = asked.question("Why?", event_key=f"discord:{THREAD}:13")
    assert (question.conversation, question.has_earlier) == (IN_CHANNEL, True)


def test_interactions_in_direct_messages_are_refused_like_messages() -> None:
    refused = DirectRefused(channel="400", author_id="1", event_key=f"discord:interaction:{MESSAGE}")
    assert (
        parse_slash(interaction(2, {"type": 1, "name": "help"}, **WITHIN_DM), reader=READER, allow_dms=False) == refused
    )
    assert parse_component(interaction(3, {"custom_id": "x"}, **WITHIN_DM), reader=READER, allow_dms=False) == refused
    menu = interaction(2, {"type": 3, "target_id": "12"}, **WITHIN_DM)
    assert parse_context_menu(menu, reader=READER, allow_dms=False) == refused


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
            parse_slash(kind, reader=READER, allow_dms=True) is not None,
            parse_component(kind, reader=READER, allow_dms=True) is not None,
            parse_context_menu(kind, reader=READER, allow_dms=True) is not None,
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
    for allow_dms, reader, thread in ((True, READER, None), (False, BLIND, POST), (False, READER, OWN)):
        parse_message(payload, reader=reader, thread=thread, allow_dms=allow_dms)
        parse_edit(payload, reader=reader, thread=thread, allow_dms=allow_dms)
        parse_slash(payload, reader=reader, allow_dms=allow_dms)
        parse_component(payload, reader=reader, allow_dms=allow_dms)
        parse_context_menu(payload, reader=reader, allow_dms=allow_dms)
    parse_delete(payload, reader=READER, thread=None)
