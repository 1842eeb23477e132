"""The status of a thread while the bot works in it: Slack's agent session with its Stop button, or a line of words."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from adapters.shared.fence import OutdatedError
from adapters.shared.kept import KeptMessages
from adapters.slack.errors import SlackRefusedError
from adapters.slack.own_messages import Place, Slack
from adapters.slack.refusals import Refusals
from adapters.slack.render import session_title, status_text
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import TurnView

log = structlog.stdlib.get_logger(__name__)

SESSIONS, WORDS = "sessions", "status words"
WAIT_S = 5.0
Outcome = Literal["done", "not done", "unknown"]
END_WAIT_S = 1.0  # after that, the end of a session is left to the next process, should this one die
LAST_WAIT_S = 120.0  # a status that says "working" forever is worse than one that ends late


@dataclass(slots=True, kw_only=True)
class Status:
    """Shows that the bot is working. What Slack got after the end of the work would stay: it is taken back.

    `session_ended_at` returns when the end of a stream told Slack that the work is over, `posted_at` when the bot's
    newest message in the thread was sent, which ends words; both in seconds of the steady clock, 0 where it was not.
    https://docs.slack.dev/ai/agent-sessions/, https://docs.slack.dev/reference/methods/assistant.threads.setStatus
    """

    slack: Slack
    place: Place
    refusals: Refusals
    session_ended_at: Callable[[], float]
    posted_at: Callable[[], float]
    kept: KeptMessages  # for the next process, where the end of a session waits for its rate
    _is_in_session: bool = False
    _words: str = ""
    _session_at: float = 0.0  # when Slack may have learnt of it last; 0: never
    _words_at: float = 0.0

    def is_up_to_date(self, view: TurnView) -> bool:
        """Return whether showing the view would change nothing."""
        if self.refusals.are_known(self.place, SESSIONS):
            return self._words == status_text(view) or self.refusals.are_known(self.place, WORDS)
        return self._is_in_session and self._words == (status_text(view) if view.notice else "")

    async def work(self, view: TurnView) -> None:
        """Show that the turn is being worked on, and what it waits for; never fails."""
        if not self.refusals.are_known(self.place, SESSIONS):
            await self._begin_session(view)
        words = status_text(view) if view.notice or not self._is_in_session else ""
        if (words or self._words) and not self.refusals.are_known(self.place, WORDS):
            await self._show_words(words)
        self._words = words

    async def rest(self, view: TurnView) -> None:
        """Show that the work is over, or waits for a decision."""
        # An attempt in a process that died may have begun a session, and this one been too short for it.
        may_be_in_session = view.attempt > 1 and not self.refusals.are_known(self.place, SESSIONS)
        if self._session_at > self.session_ended_at() or (may_be_in_session and not self.session_ended_at()):
            await self._end_session(is_later_attempt=view.attempt > 1)
        may_have_words = view.attempt > 1 and view.state == "waiting"  # otherwise a message follows, which ends them
        if self._words_at > self.posted_at() or may_have_words:
            await self._show_words("")

    async def _begin_session(self, view: TurnView) -> None:
        outcome = await self._try(
            "agents.sessions.setStatus",
            SESSIONS,
            channel_id=self.place.channel,
            status="processing",
            title=session_title(view) or None,
        )
        self._is_in_session = outcome == "done"
        if outcome != "not done":
            self._session_at = time.monotonic()

    async def _end_session(self, *, is_later_attempt: bool) -> None:
        try:
            if is_later_attempt:
                await self.kept.read()  # a process before this one may have kept it
            if await self._set_active(wait_s=END_WAIT_S) != "done" and not self.refusals.are_known(
                self.place, SESSIONS
            ):
                await self.kept.keep(0, self.place.thread)
                await self._set_active(wait_s=LAST_WAIT_S)
        except AdapterError as error:
            log.warning("session_not_kept", error=str(error))
        await self.kept.forget()

    async def _set_active(self, *, wait_s: float) -> Outcome:
        return await self._try(
            "agents.sessions.setStatus", SESSIONS, wait_s=wait_s, channel_id=self.place.channel, status="active"
        )

    async def _show_words(self, words: str) -> None:
        outcome = await self._try("assistant.threads.setStatus", WORDS, channel_id=self.place.channel, status=words)
        if outcome == "done" and not words:
            self._words_at = 0.0
        elif outcome != "not done":
            self._words_at = time.monotonic()

    async def _try(self, method: str, feature: str, *, wait_s: float = WAIT_S, **arguments: Any) -> Outcome:
        try:
            await self.slack.call(
                method,
                team=self.place.team,
                may_repeat=True,
                wait_s=wait_s,
                thread_ts=self.place.thread,
                **arguments,
            )
        except SlackRefusedError as error:
            self.refusals.remember(self.place, feature, error)
            return "not done"
        except (RateLimitError, OutdatedError) as error:
            log.info("status_not_shown", error=str(error))
            return "not done"
        except AdapterError as error:
            log.info("status_not_shown", error=str(error))
            return "unknown"
        return "done"
