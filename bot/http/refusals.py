"""What was refused, counted: one line a minute in the log, however much there is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import structlog

log = structlog.stdlib.get_logger(__name__)

GAP_S = 60.0
MAX_PEERS = 1_000  # counted one by one; anyone can come from very many addresses


class Refusals:
    """Counts refusals by reason; neither bodies nor headers reach the log, only the address that sent the most."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._reasons: Counter[str] = Counter()
        self._peers: Counter[str] = Counter()
        self._not_before = now()

    def count(self, reason: str, *, peer: str = "") -> None:
        """Count one refusal."""
        self._reasons[reason] += 1
        if peer and (peer in self._peers or len(self._peers) < MAX_PEERS):
            self._peers[peer] += 1

    def tell(self, *, at_once: bool = False) -> None:
        """Log what was refused since the last line, which was at least a minute ago unless `at_once`."""
        if not self._reasons or (self._now() < self._not_before and not at_once):
            return
        most = self._peers.most_common(1)
        log.warning(
            "http_refused", reasons=dict(self._reasons), peers=len(self._peers), most_from=most[0][0] if most else ""
        )
        self._reasons.clear()
        self._peers.clear()
        self._not_before = self._now() + GAP_S
