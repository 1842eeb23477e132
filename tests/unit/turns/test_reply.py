"""The posts of a reply: in which order, for whom, and with which files."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bot.domain.messages import Attachment
from bot.turns.reply import Reply, make_posts
from tests.fakes.ports import message


def words(text: str) -> Sequence[str]:
    return text.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [("", True, 1)]),
        ("one", [("one", True, 1)]),
        ("one two three", [("one", False, 0), ("two", False, 0), ("three", True, 1)]),
    ],
)
def test_each_post_knows_who_asked_and_the_last_one_that_it_is_the_last_and_has_the_files(
    text: str, expected: list[tuple[str, bool, int]]
) -> None:
    picture = Attachment(name="a.png", mime_type="image/png", data=b"png")
    reply = Reply(state="answered", text=text, messages=(), attachments=(picture,))
    posts = make_posts(reply, message("question"), turn_id=7, split=words)
    assert [(post.text, post.is_last, len(post.attachments)) for post in posts] == expected
    assert {(post.author_id, post.in_reply_to, post.turn_id) for post in posts} == {("U1", "question", 7)}
    again = make_posts(reply, message("question"), turn_id=7, split=words)
    assert [post.key for post in again] == [post.key for post in posts] and len({p.key for p in posts}) == len(posts)
