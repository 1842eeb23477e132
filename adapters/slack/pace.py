"""How eagerly a turn is shown in Slack."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.shared import progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(progress.Pace):
    """How eagerly a turn is shown in Slack; seconds, characters.

    startStream may be called 20 times a minute and workspace, so short answers are posted. A status may be set 50 times
    a minute and workspace, so answers that are there at once get none.
    """

    status_delay_s: float = 0.7
    append_gap_s: float = 0.8  # of a stream
    edit_gap_s: float = 1.5  # where there is none
    # A stream lives for about five minutes, even while it is written to: https://github.com/slackapi/bolt-js/issues/2717
    stream_life_s: float = 240.0
