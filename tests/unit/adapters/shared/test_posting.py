"""Where an answer goes: to the place of its question, otherwise to its asker, otherwise one sentence is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.shared.posting import IN_DIRECT, Posted, Posting, Ways, without_files
from adapters.shared.progress import NOT_POSTED, Pace, ProgressBoard, TurnProgress
from adapters.shared.tasks import Background
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.events import ConversationKey
from bot.domain.messages import Attachment
from bot.domain.turns import Post, TraceLine, TurnView
from bot.ports.platform import Found

CONVERSATION = ConversationKey(platform="fake", space="team", channel="general")
POST = Post(key="p.0", conversation=CONVERSATION, turn_id=1, part=0, text="Done.", author_id="U1", is_last=False)
SECOND = replace(POST, key="p.1", part=1, text="And more.", is_last=True)
FILE = Attachment(name="a.csv", mime_type="text/csv", data=b"1")
WITH_FILE = replace(POST, attachments=(FILE,))
REFUSED = AdapterError("The room is closed.", is_permanent=True)
NO_FILES = AdapterError("Files are not allowed here.", is_permanent=True)
BROKEN = AdapterError("It failed. Try again in a minute.")
PAUSE = RateLimitError(retry_after_s=1)

Check = Callable[[Post], AdapterError | None]


def refusing(error: AdapterError | None) -> Check:
    return lambda post: error


@dataclass
class Room:
    """A place to post in, the direct messages of its people, and what is said there; each can refuse."""

    here: Check = field(default_factory=lambda: refusing(None))
    direct: Check = field(default_factory=lambda: refusing(None))
    sayings: Sequence[Check] = ()
    posted: list[str] = field(default_factory=list[str])  # "WHERE: TEXT"
    elsewhere: dict[str, Posted] = field(default_factory=dict[str, Posted])  # by the key of the post
    searches: int = 0
    is_lost: bool = False  # what is sent arrives, and its answer does not
    board: ProgressBoard = field(init=False)

    def __post_init__(self) -> None:
        self.board = ProgressBoard(self.open_progress, Background("test"))
        self.writers: dict[int, Writer] = {}

    def open_progress(self, view: TurnView) -> TurnProgress:
        writer = self.writers[view.turn_id] = Writer(self)

        async def nothing(*_: object) -> None:
            pass

        return TurnProgress(
            view=view, status=NoStatus(), trace=NoTrace(), answer=writer, pace=Pace(), on_running=nothing, adopt=nothing
        )

    def send(self, post: Post, where: str, check: Check) -> str:
        if (error := check(post)) is not None:
            raise error
        self.posted.append(f"{where}: {post.text}{''.join(f' [{file.name}]' for file in post.attachments)}")
        if self.is_lost:
            self.is_lost = False
            raise BROKEN
        return where

    async def finish(self, post: Post) -> str:
        return self.send(post, "here", self.here)

    async def find(self, post: Post) -> Found | None:
        return None

    async def directly(self, post: Post, refusal: AdapterError | None) -> str:
        text = f"({refusal}) {post.text}" if refusal else post.text
        self.elsewhere.setdefault(post.key, Posted("direct", "direct")) if self.direct(post) is None else None
        return self.send(replace(post, text=text), "direct", self.direct)

    async def find_elsewhere(self, post: Post) -> Posted | None:
        self.searches += 1
        return self.elsewhere.get(post.key)

    def saying(self, number: int, check: Check) -> Callable[[Post, str], Awaitable[str]]:
        async def say(post: Post, sentence: str) -> str:
            return self.send(replace(post, text=sentence, attachments=()), f"said {number}", check)

        return say

    def posting(self) -> Posting:
        """Return what posts here, as after a start of the process."""
        ways = Ways(
            finish=self.finish,
            find=self.find,
            is_about_files=lambda error: error is NO_FILES,
            without_files=without_files,
            directly=self.directly,
            find_elsewhere=self.find_elsewhere,
            say=[self.saying(number, check) for number, check in enumerate(self.sayings)],
        )
        return Posting(board=self.board, platform="Fake", ways=ways)


@dataclass
class Writer:
    """An answer that grows, and can be abandoned."""

    room: Room
    abandoned: list[str] = field(default_factory=list[str])
    is_final: bool = False
    gap_s: float = 0.0

    def has(self, part: int) -> bool:
        return False

    async def grow(self, text: str) -> None:
        pass

    async def finish(self, post: Post) -> str:
        return await self.room.finish(post)

    async def abandon(self, note: str) -> None:
        self.abandoned.append(note)


class NoTrace:
    is_begun = True

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        return True

    async def write(self, lines: Sequence[TraceLine]) -> None:
        pass

    async def forget(self) -> None:
        pass


class NoStatus:
    def is_up_to_date(self, view: TurnView) -> bool:
        return True

    async def work(self, view: TurnView) -> None:
        pass

    async def rest(self, view: TurnView) -> None:
        pass


async def test_an_answer_is_posted_where_it_was_asked_for() -> None:
    room = Room()
    assert await room.posting().post(WITH_FILE) == Posted("here")
    assert room.posted == ["here: Done. [a.csv]"]


async def test_files_that_are_refused_cost_only_the_files_and_a_note_says_so() -> None:
    room = Room(here=lambda post: NO_FILES if post.attachments else None)
    assert await room.posting().post(WITH_FILE) == Posted("here")
    assert room.posted == ["here: Done.\n\n_1 file could not be posted. Files are not allowed here._"]


async def test_an_answer_that_is_refused_there_reaches_its_asker_with_the_reason_and_the_rest_follows() -> None:
    room = Room(here=lambda post: None if post is SECOND else REFUSED)
    posting = room.posting()
    assert await posting.post(POST) == Posted("direct", "direct")
    assert await posting.post(SECOND) == Posted("direct", "direct")  # although its place would take it
    assert room.posted == ["direct: (The room is closed.) Done.", "direct: And more."]


async def test_a_rest_that_is_refused_follows_with_the_reason_although_the_beginning_is_in_its_place() -> None:
    room = Room(here=lambda post: REFUSED if post is SECOND else None)
    posting = room.posting()
    assert [(await posting.post(post)).where for post in (POST, SECOND)] == ["there", "direct"]
    assert room.posted[-1] == "direct: (The room is closed.) And more."


async def test_in_a_direct_message_too_files_that_are_refused_cost_only_the_files() -> None:
    room = Room(here=refusing(REFUSED), direct=lambda post: NO_FILES if post.attachments else None)
    assert (await room.posting().post(WITH_FILE)).where == "direct"
    assert room.posted[0].startswith("direct: (The room is closed.) Done.\n\n_1 file could not be posted.")


async def test_where_that_is_refused_too_one_sentence_says_why_in_the_first_place_that_takes_it() -> None:
    room = Room(here=refusing(REFUSED), direct=refusing(REFUSED), sayings=[refusing(REFUSED), refusing(None)])
    posting = room.posting()
    assert [await posting.post(post) for post in (POST, SECOND)] == [Posted("said 1", "said")] * 2
    sentence = "My answer could not be posted, neither here nor in a direct message. The room is closed."
    assert room.posted == [f"said 1: {sentence}"]  # once for both parts


async def test_an_answer_without_an_asker_is_not_sent_to_anyone() -> None:
    room = Room(here=refusing(REFUSED), sayings=[refusing(None)])
    assert (await room.posting().post(replace(POST, author_id=""))).where == "said"


async def test_where_nothing_can_be_shown_the_refusal_is_raised_for_good() -> None:
    room = Room(here=refusing(REFUSED), direct=refusing(REFUSED), sayings=[refusing(REFUSED)])
    with pytest.raises(AdapterError, match="The room is closed") as caught:
        await room.posting().post(POST)
    assert caught.value.is_permanent
    assert room.posted == []


@pytest.mark.parametrize(("direct", "note"), [(None, IN_DIRECT), (REFUSED, NOT_POSTED)])
async def test_what_was_shown_of_the_answer_is_brought_to_an_end(direct: AdapterError | None, note: str) -> None:
    room = Room(here=refusing(REFUSED), direct=refusing(direct))
    room.board.show(TurnView(turn_id=1, conversation=CONVERSATION, state="running"))
    with suppress(AdapterError):
        await room.posting().post(POST)
    room.board.close()
    await asyncio.sleep(0)
    assert room.writers[1].abandoned == [note]


# --- failures that may pass ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [PAUSE, BROKEN])
@pytest.mark.parametrize("way", ["here", "direct", "said"])
async def test_a_failure_that_may_pass_is_raised_and_the_next_way_is_not_tried(error: AdapterError, way: str) -> None:
    refusals = {"here": [error, None], "direct": [REFUSED, error], "said": [REFUSED, REFUSED]}[way]
    room = Room(refusing(refusals[0]), refusing(refusals[1]), sayings=[refusing(error), refusing(None)])
    with pytest.raises(type(error)) as caught:
        await room.posting().post(POST)
    assert caught.value is error
    assert room.posted == []


async def test_a_post_that_failed_for_long_comes_without_its_files() -> None:
    room = Room()
    late = replace(WITH_FILE, way="without_files", trouble="It failed.")
    assert await room.posting().post(late) == Posted("here")
    assert room.posted == ["here: Done.\n\n_1 file could not be posted. It failed._"]


@pytest.mark.parametrize("error", [REFUSED, BROKEN])
async def test_a_post_that_failed_for_longer_goes_wherever_it_can(error: AdapterError) -> None:
    late = replace(WITH_FILE, way="elsewhere", trouble="It failed.")
    room = Room()
    assert (await room.posting().post(late)).where == "direct"
    room = Room(direct=lambda post: error if post.attachments else None)
    assert (await room.posting().post(late)).where == "direct"
    room = Room(direct=refusing(error), sayings=[refusing(error), refusing(None)])
    assert (await room.posting().post(late)).where == "said"
    assert room.posted == ["said 1: My answer could not be posted, neither here nor in a direct message. It failed."]


@pytest.mark.parametrize("error", [REFUSED, BROKEN])
async def test_a_post_that_goes_nowhere_after_a_long_failure_may_still_be_tried_in_its_place(
    error: AdapterError,
) -> None:
    room = Room(direct=refusing(error), sayings=[refusing(error)])
    posting = room.posting()
    with pytest.raises(AdapterError, match="It failed") as caught:
        await posting.post(replace(POST, way="elsewhere", trouble="It failed."))
    assert not caught.value.is_permanent
    assert (await posting.post(POST)).where == "there"


async def test_nothing_is_posted_once_the_platform_is_closed() -> None:
    room = Room()
    room.board.close()
    with pytest.raises(AdapterError, match="connection to Fake is closed"):
        await room.posting().post(POST)


# --- repetitions -----------------------------------------------------------------------------------------------


async def test_a_direct_message_whose_outcome_is_unknown_is_looked_for_before_it_is_sent_again() -> None:
    room = Room(here=refusing(REFUSED), is_lost=True)
    posting = room.posting()
    with pytest.raises(AdapterError):
        await posting.post(POST)
    assert await posting.find(POST) is None  # as the core does before it posts again
    assert await posting.post(POST) == Posted("direct", "direct")
    assert len(room.posted) == 1


async def test_a_post_that_is_repeated_is_sent_once() -> None:
    room = Room(here=refusing(REFUSED))
    posting = room.posting()
    assert [await posting.post(POST) for _ in range(2)] == [Posted("direct", "direct")] * 2
    assert len(room.posted) == 1


async def test_after_a_crash_a_direct_message_is_looked_for_and_without_one_nothing_is() -> None:
    room = Room(here=refusing(REFUSED))
    await room.posting().post(POST)
    assert room.searches == 0
    after_crash = room.posting()
    await after_crash.find(POST)
    assert await after_crash.post(POST) == Posted("direct", "direct")
    assert (len(room.posted), room.searches) == (1, 1)


@given(
    here=st.sampled_from([None, REFUSED, NO_FILES]),
    direct=st.sampled_from([None, REFUSED, NO_FILES]),
    sayings=st.lists(st.sampled_from([None, REFUSED]), max_size=3),
)
async def test_whatever_is_refused_the_answer_or_one_sentence_is_seen_wherever_anything_can(
    here: AdapterError | None, direct: AdapterError | None, sayings: Sequence[AdapterError | None]
) -> None:
    room = Room(refusing(here), refusing(direct), sayings=[refusing(error) for error in sayings])
    posting = room.posting()
    results: list[str] = []
    for post in (POST, SECOND):
        with suppress(AdapterError):
            results.append((await posting.post(post)).where)
    ways = {"there": here is None, "direct": direct is None, "said": None in sayings}
    best = next((way for way, is_open in ways.items() if is_open), None)
    assert results == ([best] * 2 if best else [])
    assert len(room.posted) == {None: 0, "said": 1}.get(best, 2)
