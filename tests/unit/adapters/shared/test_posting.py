"""Where an answer goes: to the place of its question, otherwise to its asker."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from adapters.shared.posting import Posted, Posting
from adapters.shared.progress import ProgressBoard, TurnProgress
from adapters.shared.tasks import Background
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.events import ConversationKey
from bot.domain.turns import Post, TurnView

CONVERSATION = ConversationKey(platform="fake", space="team", channel="general")
POST = Post(key="p", conversation=CONVERSATION, turn_id=1, part=0, text="Done.", author_id="U1")
ANONYMOUS = Post(key="p", conversation=CONVERSATION, turn_id=1, part=0, text="Done.")


class RoomClosedError(AdapterError):
    """Nothing can be posted there."""


def no_progress(view: TurnView) -> TurnProgress:
    raise AssertionError("no turn is shown here")


@dataclass
class Room:
    """A place to post in, and what its people get in private."""

    refuses: AdapterError | None = None
    private: list[str] = field(default_factory=list[str])
    board: ProgressBoard = field(default_factory=lambda: ProgressBoard(no_progress, Background("test")))

    async def finish(self, post: Post) -> str:
        if self.refuses is not None:
            raise self.refuses
        return "there"

    async def privately(self, post: Post, error: AdapterError) -> str:
        self.private.append(f"{post.text} {error}")
        return "private"

    def posting(self) -> Posting:
        return Posting(
            self.board,
            platform="Fake",
            finish=self.finish,
            is_unpostable=lambda error: isinstance(error, RoomClosedError),
            post_privately=self.privately,
        )


async def test_an_answer_is_posted_where_it_was_asked_for() -> None:
    room = Room()
    assert await room.posting().post(POST) == Posted("there")
    assert not room.posting().is_shown(POST)


async def test_an_answer_that_cannot_be_posted_there_reaches_its_asker_with_the_reason() -> None:
    room = Room(refuses=RoomClosedError("The room is closed."))
    assert await room.posting().post(POST) == Posted("private", is_private=True)
    assert room.private == ["Done. The room is closed."]


@pytest.mark.parametrize(
    ("post", "error"), [(POST, RateLimitError(retry_after_s=1)), (ANONYMOUS, RoomClosedError("The room is closed."))]
)
async def test_any_other_refusal_is_raised(post: Post, error: AdapterError) -> None:
    room = Room(refuses=error)
    with pytest.raises(type(error)):
        await room.posting().post(post)
    assert room.private == []


async def test_nothing_is_posted_once_the_platform_is_closed() -> None:
    room = Room()
    room.board.close()
    with pytest.raises(AdapterError, match="connection to Fake is closed"):
        await room.posting().post(POST)
