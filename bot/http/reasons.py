"""Why an address cannot be used, in words."""

from __future__ import annotations

import os


def bare_reason(error: Exception) -> str:
    """Return why an address cannot be listened on or reached, without the address, which some errors name."""
    if isinstance(error, UnicodeError):  # a part of the name is empty or too long
        return "no host can have that name"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    # Of names that cannot be looked up: their codes are no errno.
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
