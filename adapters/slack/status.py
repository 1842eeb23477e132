"""The status of a thread while the bot works in it: Slack's agent session with its Stop button, or a line of words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from adapters.slack.errors import SlackRefusedError
from adapters.slack.own_messages import Place, Slack
from adapters.slack.refusals import Refusals
from adapters.slack.render import session_title, status_text
from bot.domain.errors import AdapterError
from bot.domain.turns import TurnView

log = structlog.stdlib.get_logger(__name__)

SESSIONS, WORDS = "sessions", "status words"
WAIT_S = 5.0
LAST_WAIT_S = 120.0  # a status that says "working" forever is worse than one that ends late


@dataclass(slots=True, kw_only=True)
class Status:
    """Shows that the bot is working; `has_ended`: the end of a stream has told Slack already that the work is over.

    https://docs.slack.dev/ai/agent-sessions/
    """

    slack: Slack
    place: Place
    refusals: Refusals
    has_ended: Callable[[], bool]
    _is_in_session: bool = False
    _words: str = ""

    def is_up_to_date(self, view: TurnView) -> bool:
        """Return whether showing the view would change nothing."""
        if self.refusals.are_known(self.place, SESSIONS):
            return self._words == status_text(view) or self.refusals.are_known(self.place, WORDS)
        return self._is_in_session and self._words == (status_text(view) if view.notice else "")

    async def work(self, view: TurnView) -> None:
        """Show that the turn is being worked on, and what it waits for; never fails."""
        if not self.refusals.are_known(self.place, SESSIONS):
            self._is_in_session = await self._try(
                "agents.sessions.setStatus",
                SESSIONS,
                channel_id=self.place.channel,
                status="processing",
                title=session_title(view) or None,
            )
        words = status_text(view) if view.notice or not self._is_in_session else ""
        if (words or self._words) and not self.refusals.are_known(self.place, WORDS):
            await self._try("assistant.threads.setStatus", WORDS, channel_id=self.place.channel, status=words)
        self._words = words

    async def rest(self, view: TurnView) -> None:
        """Show that the work is over, or waits for a decision."""
        # An attempt in a process that died may have begun a session, and this one been too short for it.
        may_be_in_session = view.attempt > 1 and not self.refusals.are_known(self.place, SESSIONS)
        if (self._is_in_session or may_be_in_session) and not self.has_ended():
            await self._try(
                "agents.sessions.setStatus",
                SESSIONS,
                wait_s=LAST_WAIT_S,
                channel_id=self.place.channel,
                status="active",
            )
        may_have_words = bool(self._words) or view.attempt > 1
        if may_have_words and view.state == "waiting":  # otherwise a message follows, which ends them
            await self._try("assistant.threads.setStatus", WORDS, channel_id=self.place.channel, status="")

    async def _try(self, method: str, feature: str, *, wait_s: float = WAIT_S, **arguments: Any) -> bool:
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
            return False
        except AdapterError as error:
            log.info("status_not_shown", error=str(error))
            return False
        return True
