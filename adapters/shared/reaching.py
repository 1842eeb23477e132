"""Why an address could not be reached, on one line: its host and the reason, never a path, a query or a token."""

from __future__ import annotations

import os
import socket
import ssl

from yarl import URL


def unreached(error: BaseException, address: str) -> str:
    """Return the address's host and port and why it could not be reached, such as "host:443: Connection refused"."""
    return f"{_host(address)}: {_reason(error)}"


def _host(address: str) -> str:
    try:
        url = URL(address)
    except ValueError:
        return "an address that cannot be read"
    return f"{url.host}:{url.port}" if url.port else url.host or "an address without a host"


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    if isinstance(cause, socket.gaierror) or "DNS" in type(error).__name__:
        return "its name cannot be resolved"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "its certificate is not accepted"
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    if isinstance(status := getattr(error, "status", None), int):
        return f"it answered HTTP {status}"
    return "it did not answer in time" if isinstance(cause, TimeoutError) else type(error).__name__
