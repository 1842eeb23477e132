"""Why a call to a tool server has no result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from mcp.types import ElicitRequestURLParams

from bot.domain.messages import ToolOutcome


class CallError(Exception):
    """A call that has no result; `str()` is for the model to read."""

    outcome: ToolOutcome = "error"


class CallRefusedError(CallError):
    """The server answered with an error of the protocol."""


class LinksNeededError(CallRefusedError):
    """The server wants pages to be opened before the call is sent again; it did not run."""

    def __init__(self, message: str, links: Sequence[ElicitRequestURLParams]) -> None:
        super().__init__(message)
        self.links = links


class CallTimedOutError(CallError):
    """No answer came in time; the tool may have run."""

    outcome = "timeout"


class CallLostError(CallError):
    """The connection broke after the call was sent; the tool may have run."""

    outcome = "interrupted"


class CallUnsentError(CallError):
    """The call did not reach the server."""

    outcome = "unavailable"


class SessionLostError(CallUnsentError):
    """The server no longer knew the session, so it ran nothing."""


def root_cause(error: BaseException) -> BaseException:
    """Return the first error inside nested groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return root_cause(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
