"""The words, files and unread parts of any Slack message."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack.words import Words, quoted_message, words_of

BOT = "UBOT"


def words(**message: Any) -> Words:
    return words_of(message, bot_user=BOT)


def text(value: str, **style: bool) -> dict[str, Any]:
    return {"type": "text", "text": value, **({"style": style} if style else {})}


def section(*elements: Any) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def rich_text(*elements: Any) -> dict[str, Any]:
    return {"type": "rich_text", "elements": list(elements)}


def items(style: str, *values: str, **fields: Any) -> dict[str, Any]:
    return {"type": "rich_text_list", "style": style, "elements": [section(text(each)) for each in values], **fields}


def mrkdwn(value: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": value}


def plain(value: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": value, "emoji": True}


# --- blocks ---


@pytest.mark.parametrize(
    ("element", "shown"),
    [
        (text("a < b & c"), "a &lt; b &amp; c"),
        (text("make dist", code=True), "`make dist`"),
        (text("old", strike=True), "~old~"),
        ({"type": "user", "user_id": "U2"}, "<@U2>"),
        ({"type": "channel", "channel_id": "C9"}, "<#C9>"),
        ({"type": "usergroup", "usergroup_id": "S1"}, "<!subteam^S1>"),
        ({"type": "broadcast", "range": "here"}, "<!here>"),
        ({"type": "emoji", "name": "tada", "unicode": "1f389"}, ":tada:"),
        ({"type": "link", "url": "https://example.com/a|b"}, "<https://example.com/a%7Cb>"),
        (
            {"type": "link", "url": "https://example.com", "text": "here > there"},
            "<https://example.com|here &gt; there>",
        ),
        ({"type": "date", "timestamp": 1785747601, "format": "{date}", "fallback": "August 3rd"}, "August 3rd"),
        ({"type": "date", "timestamp": 1785747601, "format": "{date}"}, "2026-08-03 09:00 UTC"),
        ({"type": "color", "value": "#F405B3"}, "#F405B3"),
        ({"type": "user", "user_id": "U2> <!channel"}, "U2&gt; &lt;!channel"),
        ({"type": "of tomorrow", "text": "all the same"}, "all the same"),
    ],
)
def test_every_element_of_rich_text_is_read(element: Any, shown: str) -> None:
    assert words(text="", blocks=[rich_text(section(element))]).text == shown


def test_lists_code_and_quotations_keep_their_form() -> None:
    block = rich_text(
        section(text("Before:\n")),
        items("ordered", "freeze", "build", indent=0),
        items("bullet", "on both", indent=1),
        items("ordered", "ship", indent=0, offset=2),
        {"type": "rich_text_preformatted", "elements": [text("A=1\nB=2")]},
        {"type": "rich_text_quote", "elements": [text("no Fridays\nnever")]},
        section(text("After")),
    )
    assert words(blocks=[block]).text == (
        "Before:\n1. freeze\n2. build\n    • on both\n3. ship\n```\nA=1\nB=2\n```\n&gt; no Fridays\n&gt; never\nAfter"
    )


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        ({"type": "header", "text": plain("Deploy 42")}, "Deploy 42"),
        ({"type": "section", "text": mrkdwn("*why*"), "fields": [mrkdwn("a"), mrkdwn("b")]}, "*why*\na\nb"),
        ({"type": "section", "text": mrkdwn("why"), "accessory": {"type": "button", "text": plain("Go")}}, "why\n[Go]"),
        ({"type": "context", "elements": [mrkdwn("by <@U2>"), plain("today")]}, "by <@U2> today"),
        ({"type": "markdown", "text": "# Title\n**bold**"}, "# Title\n**bold**"),
        ({"type": "image", "alt_text": "a graph", "title": plain("Errors")}, "[Picture: Errors: a graph]"),
        ({"type": "video", "title": plain("Demo"), "description": plain("new"), "alt_text": "x"}, "Demo\nnew\nx"),
        (
            {
                "type": "actions",
                "elements": [
                    {"type": "button", "text": plain("Roll back")},
                    {"type": "button", "text": plain("Log"), "url": "https://example.com/log"},
                    {"type": "static_select", "placeholder": plain("Level"), "options": [{"text": plain("high")}]},
                ],
            },
            "[Roll back] [<https://example.com/log|Log>] [Level]",
        ),
        (
            {"type": "card", "title": mrkdwn("Oak"), "subtitle": mrkdwn("tree"), "body": mrkdwn("tall")},
            "Oak\ntree\ntall",
        ),
        (
            {"type": "carousel", "elements": [{"type": "card", "title": mrkdwn(each)} for each in ("One", "Two")]},
            "One\nTwo",
        ),
        (
            {
                "type": "plan",
                "title": "Plan",
                "tasks": [{"type": "task_card", "title": "Look", "output": rich_text(section(text("found")))}],
            },
            "Plan\nLook\nfound",
        ),
        (
            {"type": "container", "title": plain("Box"), "blocks": [{"type": "section", "text": plain("in it")}]},
            "Box\nin it",
        ),
        ({"type": "divider"}, ""),
        ({"type": "context_actions", "elements": [{"type": "icon_button", "text": plain("Good")}]}, ""),
    ],
)
def test_every_block_is_read_where_there_is_no_text(block: Any, shown: str) -> None:
    assert words(text="", blocks=[block]).text == shown


def test_a_table_has_all_cells_of_all_rows() -> None:
    table = {
        "type": "table",
        "rows": [
            [{"type": "raw_text", "text": "Team"}, rich_text(section(text("Hours", bold=True)))],
            [{"type": "raw_text", "text": "A|B"}, {"type": "raw_number", "value": 36}],
            [{"type": "raw_text", "text": "two\nlines"}, {"type": "raw_number", "value": 41.5, "text": "41.5 h"}],
            [{"type": "raw_text", "text": "Design"}, None],
            [{"type": "raw_text", "text": "Zero"}, {"type": "raw_number", "value": 0}],
            [{"type": "raw_text", "text": ""}, {"type": "raw_text", "text": "<none>"}],
        ],
    }
    assert words(text="sum it up", blocks=[table]).text.splitlines()[2:] == [
        "| Team | Hours |",
        "|---|---|",
        "| A\\|B | 36 |",
        "| two lines | 41.5 |",
        "| Design |  |",
        "| Zero | 0 |",
        "|  | &lt;none&gt; |",
    ]


def test_a_data_table_has_its_caption() -> None:
    cell = {"type": "raw_text", "text": "x"}
    assert words(blocks=[{"type": "data_table", "caption": "All", "rows": [[cell]]}]).text == "All\n| x |\n|---|"


# --- the text and the blocks ---

USER = {"type": "user", "user_id": BOT}
CHANNEL = {"type": "channel", "channel_id": "C9"}
LINK = {"type": "link", "url": "https://example.com", "text": "here"}
DATE = {"type": "date", "timestamp": 1, "fallback": "August 3rd"}


@pytest.mark.parametrize(
    ("said", "block"),
    [
        ("<@UBOT|bot> ask <#C9|general> &amp; go", section(USER, text(" ask "), CHANNEL, text(" & go"))),
        ("• one\n• two", items("bullet", "one", "two")),
        ("1. one\n    a. two", items("ordered", "one", "two")),
        ("see <https://example.com|here>", section(text("see "), LINK)),
        ("*bold* and `code`", section(text("bold", bold=True), text(" and "), text("code", code=True))),
        ("due <!date^1785747601^{date}|August 3rd>", section(text("due "), DATE)),
        ("&gt; never", {"type": "rich_text_quote", "elements": [text("never")]}),
        (":tada:", section({"type": "emoji", "name": "tada"})),
    ],
)
def test_what_the_text_says_already_is_not_said_twice(said: str, block: Any) -> None:
    assert words(text=said, blocks=[rich_text(block)]).text == said


def test_a_short_form_of_the_blocks_is_left_out() -> None:
    blocks = [
        {"type": "header", "text": plain("checkout is down")},
        {"type": "section", "text": mrkdwn("3 of 5 probes failed")},
    ]
    assert words(text="checkout is down", blocks=blocks).text == "checkout is down\n\n3 of 5 probes failed"
    assert (
        words(text="This content can't be displayed.", blocks=blocks).text == "checkout is down\n\n3 of 5 probes failed"
    )


def test_a_text_that_the_blocks_do_not_have_is_kept() -> None:
    blocks = [{"type": "actions", "elements": [{"type": "button", "text": plain("Open")}]}]
    assert words(text="Payments 5xx, E4711", blocks=blocks).text == "Payments 5xx, E4711\n\n[Open]"


# --- attachments ---


def test_a_legacy_attachment_is_read_from_pretext_to_footer() -> None:
    attachment = {
        "fallback": "short form",
        "pretext": "New:",
        "author_name": "Uptime",
        "title": "checkout",
        "title_link": "https://example.com/77",
        "text": "*down*",
        "fields": [{"title": "Region", "value": "eu"}, {"title": "Only a title"}, {"value": 7}],
        "footer": "since 09:12",
        "actions": [{"type": "button", "text": "Silence"}],
    }
    assert words(text="", attachments=[attachment]).text == (
        "New:\nUptime\n<https://example.com/77|checkout>\n*down*\nRegion: eu\nOnly a title\n7\nsince 09:12\n[Silence]"
    )


@pytest.mark.parametrize(
    ("fallback", "shown"),
    [("[no preview available]", "hello"), ("[No Preview Available]", "hello"), ("A chart", "hello\n\nA chart")],
)
def test_a_fallback_is_read_only_where_it_says_something(fallback: str, shown: str) -> None:
    assert words(text="hello", attachments=[{"id": 1, "fallback": fallback}]).text == shown


def forwarded(**fields: Any) -> Any:
    [quoted] = words(
        text="see", attachments=[{"is_share": True, "author_id": "U2", "author_name": "Ben"} | fields]
    ).quoted
    return quoted


def test_a_forward_is_someone_elses_with_its_files() -> None:
    quoted = forwarded(text="the bill", ts="1785746700.000100", files=[{"id": "F1", "name": "a.csv"}])
    assert (quoted.relation, quoted.author, quoted.author_kind, quoted.text) == ("forward", "Ben", "person", "the bill")
    assert quoted.reference == "1785746700.000100"
    assert [file.reference for file in quoted.files] == ["F1 "]


def test_a_forward_without_a_text_is_read_from_its_message() -> None:
    inner = {"blocks": [rich_text(section(text("from the blocks")))], "files": [{"id": "F2"}]}
    quoted = forwarded(text="", message_blocks=[{"message": inner}])
    assert (quoted.text, [file.name for file in quoted.files]) == ("from the blocks", ["F2"])
    assert forwarded(text="from the blocks", message_blocks=[{"message": inner}]).text == "from the blocks"


def test_a_forward_of_a_forward_names_both() -> None:
    inner = {"is_share": True, "author_name": "Cleo", "text": "the first words", "files": [{"id": "F3"}]}
    quoted = forwarded(text="see below", message_blocks=[{"message": {"attachments": [inner]}}])
    assert quoted.text == "see below\n\nCleo wrote: the first words"
    assert [file.name for file in quoted.files] == ["F3"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [({"author_id": "U2"}, "person"), ({"author_id": BOT}, "self"), ({"author_id": "", "bot_id": "B1"}, "app")],
)
def test_a_forward_says_who_wrote_it(fields: Any, kind: str) -> None:
    assert forwarded(text="x", **fields).author_kind == kind


def test_a_forward_that_cannot_be_read_is_named() -> None:
    assert forwarded(text="[no preview available]").unread == ("the forwarded message",)


def test_a_preview_is_the_page_and_not_its_authors_words() -> None:
    preview = {"from_url": "https://example.com", "service_name": "Example", "title": "Outage", "text": "A cable."}
    read = words(text="what is <https://example.com>?", attachments=[preview])
    [quoted] = read.quoted
    assert read.text == "what is <https://example.com>?"
    assert (quoted.relation, quoted.author, quoted.author_kind, quoted.text) == (
        "link",
        "Example",
        "app",
        "Outage\nA cable.",
    )


def test_a_whole_message_is_quoted_with_what_it_shows() -> None:
    shown = {"is_msg_unfurl": True, "author_name": "Cleo", "text": "18,000"}
    message = {"ts": "1785746700.000100", "text": "see this", "attachments": [shown]}
    quoted = quoted_message(message, "earlier", author="Ben", kind="person", bot_user=BOT)
    assert quoted.text == "see this\n\nCleo wrote: 18,000"
    assert quoted.sent_at is not None and quoted.reference == "1785746700.000100"


# --- files ---

CLIP = {"id": "F1", "name": "audio_message.m4a", "subtype": "slack_audio"}


def transcribed(**fields: Any) -> dict[str, Any]:
    return CLIP | {"transcription": {"status": "complete", "preview": {"content": "a < b", "has_more": False}} | fields}


@pytest.mark.parametrize(
    ("file", "said", "unread"),
    [
        (transcribed(), "a &lt; b", ()),
        (transcribed(preview={"content": "first", "has_more": True}), "first", ("the rest of a voice clip",)),
        (transcribed(preview={"content": "first"}), "first", ("the rest of a voice clip",)),
        (transcribed(status="failed"), "", ("a voice clip (it has no transcript)",)),
        (CLIP, "", ("a voice clip (it has no transcript)",)),
        (transcribed() | {"subtype": "slack_video"}, "a &lt; b", ("the pictures of a video clip",)),
        ({"id": "F1", "mode": "tombstone"}, "", ("a file that was deleted",)),
        ({"id": "F1", "mode": "hidden_by_limit"}, "", ("a file that the workspace's plan hides",)),
        ({"id": "F1", "file_access": "access_denied"}, "", ("the file F1, which I may not see",)),
        (
            {"id": "F1", "title": "Sprint", "mimetype": "application/vnd.slack-list", "filetype": "list"},
            "",
            ("the list Sprint",),
        ),
    ],
)
def test_files_that_are_no_files_to_read_say_what_they_are(file: Any, said: str, unread: tuple[str, ...]) -> None:
    read = words(text="", files=[file])
    assert (read.text, read.unread, read.files) == (said, unread, ())


@pytest.mark.parametrize(
    ("file", "reference", "unread"),
    [
        (transcribed(status="processing"), "F1 transcript:", ()),
        (
            transcribed(preview={"content": "first", "has_more": True}) | {"vtt": "https://files.slack.com/a.vtt"},
            "F1 https://files.slack.com/a.vtt",
            (),
        ),
        (
            transcribed(status="processing") | {"subtype": "slack_video"},
            "F1 transcript:",
            ("the pictures of a video clip",),
        ),
    ],
)
def test_a_transcript_that_is_not_in_the_message_is_a_file_of_it(file: Any, reference: str, unread: Any) -> None:
    read = words(text="", files=[file])
    [found] = read.files
    assert (found.name, found.reference) == ("audio_message.m4a (transcript)", reference)
    assert (read.text, read.unread) == ("", unread)


def test_a_picture_comes_with_the_words_that_describe_it() -> None:
    read = words(
        text="see", files=[{"id": "F1", "name": "graph.png", "alt_txt": "errors > 5 %", "mimetype": "image/png"}]
    )
    assert read.text == "see\n\n(graph.png: errors &gt; 5 %)"
    assert [file.name for file in read.files] == ["graph.png"]


def test_a_canvas_is_a_page() -> None:
    private, page = "https://files.slack.com/files-pri/T1-F1/plan", "https://files.slack.com/T1-F1/download/plan"
    canvas = {"id": "F1", "title": "Plan", "mimetype": "application/vnd.slack-docs", "filetype": "quip"}
    [file] = words(text="", files=[canvas | {"url_private": private, "url_private_download": page}]).files
    assert (file.name, file.mime_type, file.reference) == ("Plan", "text/html", f"F1 {private}")


def test_an_email_is_someone_elses_words() -> None:
    email = {"id": "F1", "mode": "email", "subject": "Monday", "plain_text": "at 3 pm", "from": [{"name": "Dora"}]}
    [quoted] = words(text="well?", files=[email]).quoted
    assert (quoted.author, quoted.text) == ("Dora", "Monday\n\nat 3 pm")


@pytest.mark.parametrize(
    ("block", "unread"),
    [
        ({"type": "image", "image_url": "https://example.com/a.png", "alt_text": ""}, ("a picture",)),
        ({"type": "video", "title": plain("Demo")}, ("a video",)),
        ({"type": "call", "call_id": "R1"}, ("a call",)),
        ({"type": "of_tomorrow"}, ("a part that I do not know (of tomorrow)",)),
        ({"type": "section", "text": plain("x"), "accessory": {"type": "image", "alt_text": "y"}}, ("a picture",)),
        ({"type": "context", "elements": [{"type": "image", "alt_text": "logo"}, plain("x")]}, ()),
    ],
)
def test_what_cannot_be_read_is_named(block: Any, unread: tuple[str, ...]) -> None:
    assert words(text="", blocks=[block]).unread == unread


# --- anything ---

WORDS = """
type text blocks attachments elements files rows fields accessory style transcription preview content message_blocks
message is_share is_msg_unfurl from_url author_id author_name ts timestamp fallback title footer value from mode
alt_txt mimetype vtt status has_more subtype offset indent url user_id size id name label tasks output caption
"""
NAMES = st.sampled_from(WORDS.split())
KINDS = """
rich_text rich_text_section rich_text_list rich_text_quote rich_text_preformatted table data_table raw_text raw_number
image context actions section header markdown video text link user date emoji slack_audio email plan
"""
TYPES = st.sampled_from(KINDS.split())
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.builds(pow, st.just(10), st.just(5_000)),
    TYPES,
    st.text(),
    st.just("complete"),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(NAMES, st.text()), inner)),
    max_leaves=40,
)


@given(message=st.dictionaries(NAMES, ANYTHING))
def test_no_message_makes_reading_fail(message: dict[str, Any]) -> None:
    read = words_of(message, bot_user=BOT)
    assert isinstance(read.text, str)
    assert all(isinstance(part, str) for part in read.unread)


def test_blocks_within_blocks_without_end_are_read_as_far_as_people_would() -> None:
    deep: dict[str, Any] = {"type": "container", "title": "innermost"}
    for _ in range(5_000):
        deep = {"type": "container", "title": "outer", "blocks": [deep]}
    assert words(blocks=[deep]).text.startswith("outer\nouter")
    attachment: dict[str, Any] = {"is_share": True, "text": "innermost"}
    for _ in range(500):
        attachment = {"is_share": True, "text": "outer", "message_blocks": [{"message": {"attachments": [attachment]}}]}
    [quoted] = words(attachments=[attachment]).quoted
    assert quoted.text.startswith("outer")
    assert quoted.unread == ("a message within forwarded messages",)


@pytest.mark.parametrize("text", ["\n" * 40_000, "<@" * 20_000, "<!date^" * 6_000, "1. " * 13_000, "|" * 40_000])
def test_a_long_text_is_read_within_a_moment(text: str) -> None:
    began = time.perf_counter()
    words(text=text, blocks=[rich_text(section({"type": "text", "text": text}))], attachments=[{"text": text}])
    assert time.perf_counter() - began < 5.0
