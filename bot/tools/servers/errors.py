"""Why a call to a tool server has no result, and why a connection ended."""

from __future__ import annotations

from typing import cast

from mcp import MCPError
from pydantic import ValidationError

from bot.domain.messages import ToolOutcome


class CallError(Exception):
    """A call that has no result; `str()` is for the model to read."""

    outcome: ToolOutcome = "error"


class CallRefusedError(CallError):
    """The server answered with an error of the protocol."""


class CallTimedOutError(CallError):
    """No answer came in time; the tool may have run."""

    outcome = "timeout"


class CallLostError(CallError):
    """The connection broke after the call was sent; the tool may have run."""

    outcome = "interrupted"


class CallUnsentError(CallError):
    """The call did not reach the server."""

    outcome = "unavailable"


def root_cause(error: BaseException) -> BaseException:
    """Return the first error inside nested groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return root_cause(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error


def describe_failure(error: BaseException) -> str:
    """Return why a connection failed, as a phrase that may still hold secrets of the endpoint."""
    match error:
        case TimeoutError():
            return "it did not answer in time"
        case OSError():
            return f"its command cannot be started ({error.strerror}): correct command or cwd, or install it"
        case MCPError():
            return error.message
        case ValidationError():
            return "it does not keep to the protocol"
        case _:
            return f"{type(error).__name__}: {error}"
