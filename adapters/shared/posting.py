"""Answers on their way to the platform: where they were asked for, otherwise in private with the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from adapters.shared.progress import ProgressBoard
from bot.domain.errors import AdapterError
from bot.domain.turns import Post

log = structlog.stdlib.get_logger(__name__)


class Posted(NamedTuple):
    """A post that is visible: the platform's reference, and whether only the asker sees it."""

    reference: str
    is_private: bool = False


class Posting:
    """Posts the answers of one adapter.

    `finish` posts what the board does not show; `post_privately` sends a post to its asker, with the reason why it is
    not where it was asked for; `is_unpostable` returns whether a refusal means that nothing can be posted there.
    """

    def __init__(
        self,
        board: ProgressBoard,
        *,
        platform: str,
        finish: Callable[[Post], Awaitable[str]],
        is_unpostable: Callable[[AdapterError], bool],
        post_privately: Callable[[Post, AdapterError], Awaitable[str]],
    ) -> None:
        self._board = board
        self._platform = platform
        self._finish = finish
        self._is_unpostable = is_unpostable
        self._post_privately = post_privately

    async def post(self, post: Post) -> Posted:
        """Show the post in its final form; repeating it changes nothing.

        Raises:
            AdapterError: The platform refused, the outcome is unknown, or the adapter is closed.
        """
        if self._board.is_closed:
            raise AdapterError(
                f"The connection to {self._platform} is closed. The answer is posted after the next start."
            )
        shown = self._board.get(post.turn_id)
        try:
            return Posted(await (shown.post(post) if shown else self._finish(post)))
        except AdapterError as error:
            if not self._is_unpostable(error) or not post.author_id:
                raise
            log.warning("answer_sent_privately", part=post.part, error=str(error))
            return Posted(await self._post_privately(post, error), is_private=True)

    def is_shown(self, post: Post) -> bool:
        """Return whether the post's message is known here: posting it again changes that message."""
        shown = self._board.get(post.turn_id)
        return shown is not None and shown.answer.has(post.part)
