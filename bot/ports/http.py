"""The port to the bot's HTTP listener: the core owns it, and platforms answer at addresses of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from bot.domain.errors import AdapterError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoute:
    """One address; `answer` gets requests whose size is bounded, and whose body comes within a bounded time."""

    method: Literal["GET", "POST"]
    path: str
    answer: Callable[[Request], Awaitable[Response]]
    is_state: bool = False  # its status says how the process is: with 503, nothing is refused
    is_signed: bool = False  # it takes only what is signed: who sends that is no stranger from then on


class HttpListener(Protocol):
    """What listens at HTTP_HOST:HTTP_PORT."""

    @property
    def port(self) -> int:
        """The port; 0 where it is not open."""
        ...

    def serve(self, *routes: HttpRoute) -> AbstractContextManager[None]:
        """Answer at the routes while the context is open; afterwards they say that they are away (503).

        Raises:
            AdapterError: It is not open; the sentence says why, and what to do.
        """
        ...


@dataclass(frozen=True, slots=True)
class NoListener:
    """Satisfies `HttpListener` where it is not open."""

    reason: str = "The bot does not listen for HTTP here."

    @property
    def port(self) -> int:
        """Return 0."""
        return 0

    def serve(self, *_routes: HttpRoute) -> AbstractContextManager[None]:
        """Raise AdapterError."""
        raise AdapterError(self.reason, is_permanent=True)
