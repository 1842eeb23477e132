"""What the words, files and unread parts of a Discord message are, whatever carries them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.readable import Reader
from adapters.discord.words import NO_INTENT, NOTICE, own_words, quoted, quoted_by, unread_of_reply
from bot.domain.events import SharedFile

BOT = "900"
NAMES = {"51": "general", "61": "Helpers"}
READER = Reader(bot_user=BOT, bot_roles=frozenset({"91"}), name_of=lambda number: NAMES.get(number, ""))
ANN: dict[str, Any] = {"id": "1", "username": "ann"}
BEN: dict[str, Any] = {"id": "2", "username": "ben", "global_name": "Ben"}
HOOK: dict[str, Any] = {"id": "3", "username": "Alerts", "bot": True}
CDN = "https://cdn.discordapp.com/attachments/1/2/"
Payload = dict[str, Any]


def by_ben(content: str = "", **more: Any) -> Payload:
    return {"id": "7", "type": 0, "author": BEN, "content": content, **more}


def by_hook(**more: Any) -> Payload:
    return {"id": "8", "type": 0, "author": HOOK, "webhook_id": "3", "content": "", **more}


def text_of(message: Payload) -> str:
    """Return its words as a quotation and, where they are the same, as its author's own."""
    words = quoted(message, "reply", READER)
    assert own_words(message, READER).text == words.text
    return words.text


# --- each carrier ---


@pytest.mark.parametrize(
    ("embed", "text"),
    [
        ({"title": "Late", "url": "https://e.org/1"}, "Late (https://e.org/1)"),
        ({"url": "https://e.org/1"}, "https://e.org/1"),
        ({"author": {"name": "Jobs"}, "description": "31 hours", "footer": {"text": "job 5"}}, "Jobs\n31 hours\njob 5"),
        ({"fields": [{"name": "Size", "value": "2 GB"}, {"name": "Log", "value": "a\nb"}]}, "Size: 2 GB\nLog:\na\nb"),
        ({"fields": [{"name": "\u200b", "value": "only this"}, {"value": "or this"}]}, "\u200b: only this\nor this"),
        ({"description": "ask <@2> in <#52>"}, "ask <@2> in #52"),
        ({"title": "a", "type": "rich"}, "a"),
        ({"footer": {"text": "job 5"}, "timestamp": "2026-08-03T11:00:01.5+02:00"}, "job 5 • 2026-08-03T09:00:01Z"),
        ({"title": "a", "timestamp": "2026-08-03T09:00:01Z"}, "a\n2026-08-03T09:00:01Z"),
        ({}, ""),
    ],
)
def test_an_embed_is_read_from_its_author_to_its_footer(embed: Payload, text: str) -> None:
    assert text_of(by_hook(embeds=[embed])) == text


def test_a_quotation_keeps_the_ids_beside_the_names_and_the_authors_own_words_are_plain() -> None:
    message = by_hook(embeds=[{"description": "ask <@&61> in <#51> or <#52>"}])
    assert quoted(message, "reply", READER).text == "ask @Helpers (61) in #general (51) or #52"
    assert own_words(message, READER).text == "ask @Helpers in #general or #52"


def test_a_description_of_a_picture_or_video_in_an_embed_is_read() -> None:
    embed = {"image": {"url": "https://e.org/a.png", "description": "load at 98 %"}, "video": {"description": "a fire"}}
    assert text_of(by_hook(embeds=[embed])) == "(load at 98 %)\n(a fire)"


def test_names_that_come_with_a_message_are_used_for_what_it_does_not_mention() -> None:
    resolved = {
        "users": {"1": ANN},
        "members": {"1": {"nick": "Ann of Ops"}},
        "roles": {"62": {"id": "62", "name": "Duty"}},
        "channels": {"52": {"id": "52", "name": "alerts"}},
    }
    crossposted = [{"id": "53", "guild_id": "4", "type": 5, "name": "big-news"}]
    embed = {"description": "<@1> and <@4> of <@&62> in <#52>, <#53>, <#51>"}
    metadata = {"user": {"id": "4", "username": "dan"}}
    message = by_hook(embeds=[embed], resolved=resolved, mention_channels=crossposted, interaction_metadata=metadata)
    assert quoted(message, "reply", READER).text == (
        "@Ann of Ops (1) and @dan (4) of @Duty (62) in #alerts (52), #big-news (53), #general (51)"
    )


def test_the_one_who_asks_about_an_embed_is_known_to_it() -> None:
    alert = by_hook(embeds=[{"description": "assigned to <@2>"}])
    [reply] = quoted_by(by_ben("what do I do?", type=19, referenced_message=alert), READER)
    assert reply.text == "assigned to @Ben (2)"


@pytest.mark.parametrize(
    ("filename", "title", "name"),
    [
        ("bersicht.pdf", "Übersicht", "Übersicht.pdf"),
        ("_.txt", "отчёт.txt", "отчёт.txt"),
        ("LICENSE", "LIZENZ", "LIZENZ"),
        ("a.png", None, "a.png"),
    ],
)
def test_a_file_is_called_what_people_called_it(filename: str, title: Any, name: str) -> None:
    [file] = own_words(by_ben(attachments=[{"filename": filename, "title": title, "url": CDN}]), READER).files
    assert file.name == name


def test_several_embeds_follow_the_text_in_their_order() -> None:
    assert text_of(by_hook(content="Two:", embeds=[{"title": "a"}, {"title": "b"}])) == "Two:\na\nb"


def test_what_an_embed_shows_is_a_file_where_it_was_uploaded_and_unread_elsewhere() -> None:
    pictures = {"image": {"url": f"{CDN}chart%201.png?ex=1"}, "thumbnail": {"url": "https://e.org/a.png"}}
    shown = {**pictures, "video": {"x": 1}}
    words = own_words(by_hook(embeds=[shown]), READER)
    assert words.files == (SharedFile(name="chart 1.png", mime_type="", size=0, reference=f"{CDN}chart%201.png?ex=1"),)
    assert words.unread == ("a picture in an embed", "a video in an embed")


@pytest.mark.parametrize("kind", ["link", "article", "rich"])
def test_the_preview_of_a_persons_link_is_not_what_that_person_says(kind: str) -> None:
    preview = {"type": kind, "url": "https://e.org/", "title": "Example", "description": "A page"}
    message = by_ben("see https://e.org", embeds=[{**preview, "provider": {"name": "E"}}])
    assert own_words(message, READER).text == "see https://e.org"
    [link] = quoted_by(message, READER)
    assert (link.relation, link.text, link.author, link.author_kind) == ("link", "Example\nA page", "E", "app")
    assert quoted(message, "reply", READER).text == "see https://e.org\nExample\nA page"


def test_a_preview_without_words_is_nothing() -> None:
    gif = {"type": "gifv", "url": "https://tenor.com/x", "video": {"url": "https://tenor.com/x.mp4"}}
    message = by_ben("https://tenor.com/x", embeds=[gif])
    assert (quoted_by(message, READER), text_of(message)) == ((), "https://tenor.com/x")


def test_an_apps_embed_is_a_preview_where_its_text_has_the_link() -> None:
    embed = {"type": "rich", "url": "https://e.org/1", "title": "One"}
    assert own_words(by_hook(content="see https://e.org/1", embeds=[embed]), READER).text == "see https://e.org/1"
    assert own_words(by_hook(content="see", embeds=[embed]), READER).text == "see\nOne (https://e.org/1)"


def test_components_are_read_in_order_however_deep_they_are_nested() -> None:
    inner: Payload = {"type": 10, "content": "deep"}
    for _ in range(20_000):
        inner = {"type": 17, "components": [inner]}
    embeds = [{"type": "rich", "deep": inner}, {"type": "rich", "deep": inner}]
    assert text_of(by_hook(embeds=embeds)) == ""
    rows = [{"type": 10, "content": "first"}, inner, {"type": 18, "label": "Why?", "component": {"type": 4}}]
    assert text_of(by_hook(components=rows)) == "first\ndeep\n[Why?]"


def test_the_bots_own_buttons_are_no_words() -> None:
    ours, other = {"type": 2, "custom_id": "tb:good:7:0", "label": "Good"}, {"type": 2, "label": "No"}
    row = {"type": 1, "components": [ours, other]}
    select = {"type": 1, "components": [{"type": 3, "custom_id": "tb:example:0", "placeholder": "Choose"}]}
    assert text_of(by_hook(components=[row, select])) == "[No]"


def test_a_picture_that_is_attached_and_shown_is_one_file() -> None:
    attachment = {"filename": "a.png", "url": f"{CDN}a.png?ex=1", "size": 3, "content_type": "image/png"}
    item = {"media": {"url": f"{CDN}a.png?ex=2"}, "description": "a cat"}
    message = by_hook(components=[{"type": 12, "items": [item]}], attachments=[attachment])
    words = own_words(message, READER)
    assert ([file.name for file in words.files], words.text, words.unread) == (["a.png"], "(a cat)", ())


def test_two_attachments_without_an_address_are_two_files() -> None:
    assert len(own_words(by_ben(attachments=[{"id": "1"}, {"id": "2"}]), READER).files) == 2


@pytest.mark.parametrize(
    ("results", "votes"),
    [
        ({}, ["", ""]),
        ({"answer_counts": []}, ["", ""]),
        ({"answer_counts": [{"id": 1, "count": 1}]}, [": 1 vote", ": 0 votes"]),
        ({"answer_counts": [{"id": 2, "count": 12}, None]}, [": 0 votes", ": 12 votes"]),
    ],
)
def test_a_poll_has_its_choices_with_the_votes_that_are_known(results: Payload, votes: list[str]) -> None:
    answers = [
        {"answer_id": 1, "poll_media": {"text": "yes", "emoji": {"name": "👍"}}},
        {"answer_id": 2, "poll_media": {"text": "no"}},
    ]
    poll = {"question": {"text": "Tea?"}, "answers": answers, "results": results}
    assert text_of(by_ben(poll=poll)) == f"Poll: Tea?\n- 👍 yes{votes[0]}\n- no{votes[1]}"


def test_stickers_invitations_and_calls_are_named() -> None:
    assert text_of(by_ben("hm", sticker_items=[{"name": "tea\nfirst"}, {}])) == (
        "hm\n[sticker: tea first]\n[sticker: without a name]"
    )
    assert text_of(by_ben(activity={"type": 3}, application={"name": "Chess"})) == "[invitation to Chess]"
    assert own_words(by_ben(activity={"type": 3}), READER).unread == ("an invitation",)
    assert own_words(by_ben(call={"participants": ["1"]}), READER).unread == ("a call",)
    theme = {"colors": ["5865F2"], "gradient_angle": 0, "base_mix": 50}
    assert own_words(by_ben(shared_client_theme=theme), READER).unread == ("a theme for the app",)


@pytest.mark.parametrize(("seconds", "said"), [(7.4, " of 7 s"), (None, ""), (float("inf"), ""), (-1, "")])
def test_a_voice_message_is_a_file_that_nobody_has_read(seconds: Any, said: str) -> None:
    voice = {"filename": "voice-message.ogg", "content_type": "audio/ogg", "duration_secs": seconds, "url": f"{CDN}v"}
    words = own_words(by_ben(attachments=[voice], flags=1 << 13), READER)
    assert (words.text, words.unread, words.files[0].name) == ("", (f"a voice message{said}",), "voice-message.ogg")


# --- quotations ---


def test_a_forward_within_a_quotation_is_part_of_it_with_its_files() -> None:
    snapshot = {"content": "of <@1> in <#51>", "attachments": [{"filename": "a.txt", "url": CDN}], "mentions": [ANN]}
    message = by_ben(message_snapshots=[{"message": snapshot}])
    outer = by_ben("what?", mentions=[], referenced_message=message, type=19)
    [reply] = quoted_by(outer, READER)
    assert reply.text == "[forwarded]\nof @ann (1) in #general (51)"
    assert [file.name for file in reply.files] == ["a.txt"]
    assert (reply.author, reply.author_kind) == ("Ben", "person")


def test_a_forwarded_message_has_no_author_and_the_time_that_it_had() -> None:
    said = {"content": "of <@1>", "timestamp": "2026-08-03T09:00:00+00:00", "mentions": [ANN]}
    snapshot = {**said, "embeds": [{"title": "T"}]}
    [forward] = quoted_by(by_ben(message_snapshots=[{"message": snapshot}]), READER)
    assert (forward.relation, forward.text, forward.author, forward.reference) == ("forward", "of @ann (1)\nT", "", "")
    assert forward.sent_at == datetime(2026, 8, 3, 9, tzinfo=UTC)


def test_who_wrote_a_quoted_message_is_said() -> None:
    kinds = [quoted(each, "earlier", READER).author_kind for each in (by_ben("a"), by_hook(content="a"))]
    assert kinds == ["person", "app"]
    own = quoted(by_ben("a", author={"id": BOT, "username": "me", "bot": True}), "earlier", READER)
    assert (own.author_kind, own.reference) == ("self", "7")


def test_the_mention_of_the_bot_stays_in_what_others_said() -> None:
    message = by_ben(f"<@{BOT}> what is it?", mentions=[{"id": BOT, "username": "toolbridge"}])
    assert quoted(message, "earlier", READER).text == "@toolbridge (900) what is it?"
    assert own_words(message, READER).text == "what is it?"


def test_a_message_without_words_says_why() -> None:
    blind = replace(READER, reads_content=False)
    assert quoted(by_ben(), "reply", READER).unread == ()
    assert quoted(by_ben(), "reply", blind).unread == (NO_INTENT,)
    assert quoted(by_ben(author={"id": BOT}), "reply", blind).unread == ()
    assert quoted(by_ben(type=6), "reply", READER).unread == (NOTICE,)
    forward = by_ben(message_snapshots=[{"message": {"content": ""}}])
    assert quoted(forward, "reply", READER).unread == ()
    assert quoted(forward, "reply", blind).unread == (NO_INTENT,)


# --- whatever arrives ---

FIELDS = [
    "type", "content", "author", "embeds", "components", "component", "accessory", "items", "media", "file", "poll",
    "question", "answers", "results", "answer_counts", "poll_media", "emoji", "name", "value", "fields", "title", "url",
    "description", "footer", "image", "thumbnail", "video", "label", "placeholder", "options", "custom_id", "flags",
    "sticker_items", "stickers", "attachments", "filename", "size", "duration_secs", "message_snapshots", "message",
    "referenced_message", "message_reference", "mentions", "mention_roles", "id", "timestamp", "activity", "call",
    "application", "webhook_id", "bot", "provider", "resolved", "users", "members", "channels", "roles", "nick",
    "mention_channels", "interaction_metadata", "user", "shared_client_theme",
]  # fmt: skip
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["9" * 5_000, f"<@{'9' * 5_000}>", "<t:99999999999999>", "\ud800", "poll_result"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=25,
)


@given(message=st.dictionaries(st.sampled_from(FIELDS), junk, max_size=8), reads=st.booleans())
def test_no_message_makes_the_reading_fail(message: Payload, reads: bool) -> None:
    reader = replace(READER, reads_content=reads)
    own_words(message, reader)
    unread_of_reply(message)
    assert all(isinstance(one.text, str) for one in quoted_by(message, reader))
    assert isinstance(quoted(message, "chosen", reader).text, str)


def test_numbers_and_ids_of_any_length_are_read() -> None:
    long, huge = "9" * 5_000, 10**5_000
    message = by_ben(f"<@&{long}> <#{long}> <@{long}>", id=long, flags=huge, mention_roles=[long, huge])
    message |= {"poll": {"answers": [{"answer_id": huge}]}, "attachments": [{"size": huge, "duration_secs": huge}]}
    assert own_words(message, READER).text.startswith(f"<@&{long}>")
    assert quoted(message, "reply", READER).sent_at is None
    assert not READER.is_mentioned_in(message)
