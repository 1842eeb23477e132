"""What a turn, and a process that works on turns, may take."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.domain.backoff import Backoff

LEASE_S = 15.0
RETRY_S = 1.0  # before a failed attempt is repeated; doubled each time
MAX_RETRY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a post may fail, in seconds from its first failure in this process.

    After `without_files_s` each try goes on without its files, after `elsewhere_s` it goes on elsewhere. Then a post is
    given up while others are taken; where none is, that is an outage, which it may outlast for `outage_s`.
    """

    without_files_s: float = 60.0
    elsewhere_s: float = 300.0
    outage_s: float = 2_700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a turn and a process may take."""

    max_tool_rounds: int = 10
    turn_timeout_s: float = 300.0
    max_running: int = 200  # turns at once on each platform: one that is slow takes no room from the others
    max_attempts: int = 3  # a turn that took its process down so often is not tried again
    drain_s: float = 10.0  # what running turns are given when the process ends
    summary_s: float = 0.0  # what summaries are given after that: the next answer leads to one that was not finished
    lease_s: float = LEASE_S  # a process that is silent for so long is taken for dead; at most 60
    retry_s: float = RETRY_S
    patience: Patience = field(default_factory=Patience)
    max_file_bytes: int = 10_000_000  # of each file that comes with a question
    max_thread_messages: int = 50  # that stand before a question in its thread and are read with it

    @property
    def reserved(self) -> int:
        """How many of the turns at once are kept for people who have none, so that no one person takes all places.

        The share is a judgement: a person whose questions wait still gets four places of five, and forty others can
        begin at once.
        """
        return 0 if self.max_running == 1 else max(1, self.max_running // 5)

    def may_read_journal(self, attempt: int) -> bool:
        """Return whether this attempt reads what the ones before did: it may be what breaks the bot."""
        return attempt <= self.max_attempts + 1

    def wait_after(self, attempt: int) -> float:
        """Return the seconds before a turn is tried again whose attempt of this number failed."""
        return Backoff(first_s=self.retry_s, max_s=MAX_RETRY_S).wait_s(attempt)
