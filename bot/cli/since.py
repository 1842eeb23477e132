"""What operators write after `--since`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from bot.domain.errors import SettingsError

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def since(text: str, *, now: float) -> float:
    """Return the time in seconds since the epoch: so long before `now` (`30d`, `12h`, `5m`), or that of a date.

    A date is in UTC, and may have a time, which may name another zone.

    Raises:
        SettingsError: It is none of them.
    """
    if ago := re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip()):
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise SettingsError(f"--since {text!r} is no time. Write 30d, 12h, or a date such as 2026-11-01.") from None
