"""Answers on their way to the platform, and where they go when it refuses them: nobody is left without a word.

The ladder, for any permanent refusal: in place; where the refusal is about the files, in place without them; to the
asker directly, with the reason; one plain sentence wherever it can be shown. What has been shown of the answer in its
place is then brought to an end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import structlog
from cachetools import LRUCache

from adapters.shared.progress import NOT_POSTED, ProgressBoard
from adapters.shared.tasks import RecentKeys
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import Post
from bot.ports.platform import Found
from bot.text.counting import count

log = structlog.stdlib.get_logger(__name__)

MAX_REMEMBERED = 1_000
IN_DIRECT = "The rest of this answer could not be posted here. The person who asked got it in a direct message."

Where = Literal["there", "direct", "said"]


class Posted(NamedTuple):
    """A post that is visible: the platform's reference, and where it is; "said": only a sentence in its place."""

    reference: str
    where: Where = "there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What one platform can do with a post. Each call raises AdapterError where the platform refuses or fails.

    `finish` shows a post in its place of which nothing is shown yet. `find` looks for it there: see
    `bot.ports.platform.Adapter.find`. `is_about_files` returns whether a refusal means the files of a post and not the
    rest; `without_files` returns the post as it is then shown (it gets the reason), with the files left out.

    `directly` sends the post to its asker and returns its reference; with the refusal, its text begins with the reason
    why it is not in its place (None: an earlier part has said so). `say` holds the ways to show one sentence about a
    post, best first: in its thread, in its channel, to the asker only. Both mark their messages with the post's key,
    where the platform has marks; `find_elsewhere` looks for such a message of an earlier try, outside of the place.
    """

    finish: Callable[[Post], Awaitable[str]]
    find: Callable[[Post], Awaitable[Found | None]]
    is_about_files: Callable[[AdapterError], bool]
    without_files: Callable[[Post, str], Post]
    directly: Callable[[Post, AdapterError | None], Awaitable[str]]
    find_elsewhere: Callable[[Post], Awaitable[Posted | None]]
    say: Sequence[Callable[[Post, str], Awaitable[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Posts the answers of one adapter, in its place by `board` where the turn is shown, otherwise by `ways`."""

    board: ProgressBoard
    platform: str
    ways: Ways
    # By turn. A crash forgets these; then the later parts of an answer are tried in their place once more.
    _moved: LRUCache[int, AdapterError] = field(default_factory=lambda: LRUCache(MAX_REMEMBERED), init=False)
    _said: LRUCache[int, str] = field(default_factory=lambda: LRUCache(MAX_REMEMBERED), init=False)
    _sent: LRUCache[str, Posted] = field(default_factory=lambda: LRUCache(MAX_REMEMBERED), init=False)  # by post
    _unsure: RecentKeys[str] = field(default_factory=lambda: RecentKeys(MAX_REMEMBERED), init=False)

    async def post(self, post: Post) -> Posted:
        """Show the post in its final form, in its place or elsewhere; repeating it changes nothing.

        A post whose `way` is "elsewhere" is not tried in its place, and any failure, not only a refusal, makes it go on
        to the next step.

        Raises:
            RateLimitError: The platform asked for a pause; nothing was posted.
            AdapterError: The platform failed, the outcome is unknown, or the adapter is closed. Permanent: it refused
                every way.
        """
        if self.board.is_closed:
            raise AdapterError(
                f"The connection to {self.platform} is closed. The answer is posted after the next start."
            )
        refusal = self._moved.get(post.turn_id)
        if refusal is None:
            try:
                return await self._in_place(post)
            except RateLimitError:
                raise
            except AdapterError as error:
                if not error.is_permanent:
                    raise
                refusal = error
        return await self._elsewhere(post, refusal)

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its place; None also where posting it again does no harm.

        Raises:
            AdapterError: The platform does not show the place.
        """
        self._unsure.add(post.key)
        shown = self.board.get(post.turn_id)
        if post.turn_id in self._moved or (shown is not None and shown.answer.has(post.part)):
            return None
        return await self.ways.find(post)

    # --- the ladder ---

    async def _in_place(self, post: Post) -> Posted:
        if post.way == "elsewhere":
            raise AdapterError(post.trouble or "It could not be posted there.", is_permanent=True)
        return Posted(await self._with_or_without_files(self._show, post))

    async def _show(self, post: Post) -> str:
        shown = self.board.get(post.turn_id)
        return await (shown.post(post) if shown else self.ways.finish(post))

    async def _with_or_without_files(self, send: Callable[[Post], Awaitable[str]], post: Post) -> str:
        if post.attachments and post.way == "without_files":
            return await send(self.ways.without_files(post, post.trouble))
        try:
            return await send(post)
        except RateLimitError:
            raise
        except AdapterError as error:
            are_refused = error.is_permanent and self.ways.is_about_files(error)
            if not post.attachments or not (are_refused or post.way == "elsewhere"):
                raise
            log.warning("files_refused", part=post.part, files=len(post.attachments), error=str(error))
            return await send(self.ways.without_files(post, str(error)))

    async def _elsewhere(self, post: Post, refusal: AdapterError) -> Posted:
        if (reference := self._said.get(post.turn_id)) is not None:
            return Posted(reference, "said")
        if (sent := self._sent.get(post.key)) is not None:
            return sent
        log.warning("answer_refused", part=post.part, error=str(refusal))
        posted = await self._found_elsewhere(post)
        posted = posted or await self._directly(post, refusal) or await self._say(post, refusal)
        if posted is not None:
            self._sent[post.key] = posted
            if posted.where == "said":
                self._said[post.turn_id] = posted.reference
        if posted is None and post.way == "elsewhere":
            raise AdapterError(str(refusal))  # its place may take it yet
        self._moved[post.turn_id] = refusal
        await self._end_live_parts(post, IN_DIRECT if posted and posted.where == "direct" else NOT_POSTED)
        if posted is None:
            log.error("answer_refused_everywhere", part=post.part, error=str(refusal))
            raise AdapterError(str(refusal), is_permanent=True)
        return posted

    async def _directly(self, post: Post, refusal: AdapterError) -> Posted | None:
        if not post.author_id:
            return None
        reason = None if post.turn_id in self._moved else refusal

        async def send(post: Post) -> str:
            return await self.ways.directly(post, reason)

        try:
            return Posted(await self._with_or_without_files(send, post), "direct")
        except AdapterError as error:
            self._pass_on(error, post, way="direct")
            return None

    async def _found_elsewhere(self, post: Post) -> Posted | None:
        if post.key not in self._unsure:
            return None
        try:
            return await self.ways.find_elsewhere(post)
        except AdapterError as error:
            self._pass_on(error, post, way="search")
            return None

    async def _say(self, post: Post, refusal: AdapterError) -> Posted | None:
        for number, say in enumerate(self.ways.say, start=1):
            try:
                return Posted(await say(post, sentence_about(refusal)), "said")
            except AdapterError as error:
                self._pass_on(error, post, way=f"sentence {number}")
        return None

    def _pass_on(self, error: AdapterError, post: Post, *, way: str) -> None:
        """Note that a way is closed. Raises the error where it is worth another try in a while."""
        if isinstance(error, RateLimitError) or not (error.is_permanent or post.way == "elsewhere"):
            raise error
        log.warning("answer_refused_elsewhere", part=post.part, way=way, error=str(error))

    async def _end_live_parts(self, post: Post, note: str) -> None:
        if (shown := self.board.get(post.turn_id)) is not None:
            await shown.answer.abandon(note)


def sentence_about(refusal: AdapterError) -> str:
    """Return what is said of an answer that can be posted nowhere."""
    return f"My answer could not be posted, neither here nor in a direct message. {refusal}"


def without_files(post: Post, reason: str) -> Post:
    """Return the post with a note in place of its files, for a platform that sends both in one message."""
    files = count(len(post.attachments), "file")
    note = f"_{files} could not be posted. {reason}_"
    return replace(post, text=f"{post.text}\n\n{note}", attachments=())
