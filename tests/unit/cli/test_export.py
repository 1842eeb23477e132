"""What `toolbridge export` prints of a conversation."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from markdown_it import MarkdownIt

from bot.cli.export import as_json, as_markdown
from bot.cli.happenings import happenings
from bot.domain.asks import ApprovalAsk, AskRecord, Vote
from bot.domain.events import ConversationKey, MessageReceived, Quoted
from bot.domain.messages import AssistantMessage, Attachment, ModelAnswer, ToolCall, ToolResult
from bot.domain.turns import CallAsked, CallDecided, CallFinished, CallJudged, CallStarted, ModelAnswered, Post
from bot.ports.retention_store import TimedStep, TurnRecord

HERE = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.1")
EVENT = MessageReceived(
    conversation=HERE,
    event_key="e",
    author_id="U1",
    author_name="Ann",
    text="Deploy it.",
    sent_at=datetime(2026, 11, 1, 12, 0, tzinfo=UTC),
)
NOON = EVENT.sent_at.timestamp()
CALL = ToolCall(id="c1", name="deploys__deploy", arguments='{"env": "prod"}')
NASTY = "```\n# Heading\n![x](http://evil.invalid/a.png) <b>x</b> \x1b[2J https://evil.invalid\n~~~\n````\n"
STEPS = (
    ModelAnswered(round=0, answer=ModelAnswer(message=AssistantMessage(text="I deploy.", tool_calls=(CALL,)))),
    CallAsked(round=0, call=CALL, server="deploys", tool="deploy"),
    CallJudged(round=0, call_id="c1", verdict="ask", rule="two people", reason="It acts."),
    CallDecided(round=0, call_id="c1", outcome="approved", by="slack:T1:U2"),
    CallStarted(round=0, call_id="c1"),
    CallFinished(round=0, result=ToolResult(call_id="c1", text="token=xoxb-123456789012-abcdefghijkl done")),
)
ASK = ApprovalAsk(
    server="deploys",
    tool="deploy",
    name="deploys__deploy",
    arguments=CALL.arguments,
    digest="d",
    rule="two people",
    rule_key="k",
    reason="Production.",
)
VOTE = Vote(person="ben", by="slack:T1:U2", name="Ben", choice="run", at=NOON + 2.5)
RECORD = AskRecord(
    id=1,
    turn_id=7,
    round=0,
    call_id="c1",
    conversation=HERE,
    event_key="e",
    asker="slack:T1:U1",
    asker_id="U1",
    asker_name="Ann",
    ask=ASK,
    state="approved",
    created_at=NOON + 2,
    expires_at=NOON + 99,
    votes=(VOTE,),
)
POST = Post(
    key="k.0",
    conversation=HERE,
    turn_id=7,
    part=0,
    text="It is deployed.",
    attachments=(Attachment(name="log.txt", mime_type="text/plain", data=b"12345"),),
)
TURN = TurnRecord(
    turn_id=7,
    author="slack/T1/U1/",
    event=EVENT,
    state="answered",
    accepted_at=NOON,
    ended_at=NOON + 9,
    steps=[TimedStep(step=step, at=NOON + number) for number, step in enumerate(STEPS)],
    asks=[RECORD],
    posts=[POST],
)


def test_the_thread_is_told_in_the_order_in_which_it_happened_with_who_and_what() -> None:
    happened = json.loads(as_json(HERE, happenings(TURN)))["happened"]
    assert [(one["at"][11:19], one["kind"], one["by"]) for one in happened] == [
        ("12:00:00", "question", "slack:T1:U1"),
        ("12:00:00", "model", ""),
        ("12:00:01", "call", ""),
        ("12:00:02", "judged", ""),
        ("12:00:02", "asked", "slack:T1:U1"),
        ("12:00:02", "vote", "slack:T1:U2"),
        ("12:00:03", "decided", "slack:T1:U2"),
        ("12:00:04", "started", ""),
        ("12:00:05", "result", ""),
        ("12:00:09", "answer", ""),
        ("12:00:09", "ended", ""),
    ]
    assert {one["tool"] for one in happened if one["call"]} == {"deploys/deploy"}
    assert happened[-2]["files"] == ["log.txt (5 bytes)"]
    assert (happened[-1]["outcome"], happened[2]["text"]) == ("answered", CALL.arguments)


def test_secrets_are_removed_in_both_formats() -> None:
    happened = happenings(TURN)
    for text in (as_json(HERE, happened), as_markdown(HERE, happened)):
        assert "xoxb-123456789012" not in text and "It is deployed." in text


def test_no_ones_words_are_markup_in_the_export() -> None:
    event = replace(
        EVENT,
        text=NASTY,
        author_name="](http://evil.invalid) <b> `x`\n# y",
        quoted=(Quoted(relation="reply", text=NASTY, author="**https://evil.invalid**"),),
    )
    nasty_post = replace(POST, text=NASTY, attachments=(replace(POST.attachments[0], name="<img src=x>\n- a"),))
    text = as_markdown(HERE, happenings(replace(TURN, event=event, posts=[nasty_post])))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    found = {token.type for token in tokens} | {each.type for token in tokens for each in token.children or ()}
    assert not found & {"link_open", "image", "html_block", "html_inline", "code_inline", "blockquote_open"}
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    assert headings == ["Conversation slack/T1/C1/1.1", "Turn 7"]
    assert "\x1b" not in text and "https://" not in "".join(token.content for token in tokens if token.type == "inline")


def test_nothing_in_the_json_steers_a_terminal() -> None:
    turned = "a\u202e\x9b2Jb"
    call = CallAsked(round=0, call=replace(CALL, id=turned), server="s", tool=turned)
    turn = replace(TURN, steps=[TimedStep(step=call, at=NOON)])
    printed = as_json(HERE, happenings(turn))
    assert "\u202e" not in printed and "\x9b" not in printed
    assert [one["call"] for one in json.loads(printed)["happened"] if one["kind"] == "call"] == [turned]


def test_a_turn_whose_texts_are_gone_says_so_and_one_that_goes_on_says_that() -> None:
    (gone,) = happenings(replace(TURN, event=None, steps=(), asks=(), posts=()))
    assert (gone.kind, gone.by, gone.text) == ("texts deleted", "slack:T1:U1", "")
    *_, last = happenings(replace(TURN, ended_at=None, state="waiting", posts=()))
    assert last.outcome == "not ended: waiting"
