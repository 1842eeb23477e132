"""One answer read from its stream of server-sent events."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast

import anyio
import httpx2
from openai import AsyncAPIResponse

from bot.domain.messages import ModelAnswer
from bot.models.errors import BrokenStreamError
from bot.models.thoughts import Said

_MAX_EVENT_BYTES = 32 * 1024 * 1024  # the last event of a Responses stream repeats the whole answer
_DONE = "[DONE]"

OnHeaders = Callable[[Mapping[str, str]], None]
OnSaid = Callable[[Said], None]


class Fold(Protocol):
    """One answer, put together from its events."""

    @property
    def has_begun(self) -> bool:
        """Whether a part of the answer has arrived."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether the endpoint reported the answer as complete."""
        ...

    def add(self, event: dict[str, Any]) -> Said:
        """Add an event and return the text that it adds to the answer.

        Raises:
            StreamRefusalError: The event is a refusal.
            ModelContentFilterError: The endpoint's filter ended the answer.
        """
        ...

    def end(self, *, was_announced: bool) -> Said:
        """Add the end of the stream and return the rest of the text; `was_announced`: by `[DONE]`."""
        ...

    def answer(self) -> ModelAnswer:
        """Return the complete answer."""
        ...


async def receive(
    sending: AbstractAsyncContextManager[AsyncAPIResponse[Any]], fold: Fold, *, on_headers: OnHeaders, on_said: OnSaid
) -> None:
    """Send the request and fill the fold; `on_said` gets what each event says, which may be nothing.

    Raises:
        BrokenStreamError: The answer is not complete, or cannot be understood.
    """
    async with sending as response:
        on_headers(response.headers)
        content_type = response.headers.get("content-type", "")
        was_announced = False
        try:
            async for data in _data(response.http_response):
                if data == _DONE:
                    was_announced = True
                elif data:  # empty: a keep-alive, or a retry time
                    on_said(add_event(fold, data))
        except httpx2.SSEError as error:
            raise BrokenStreamError("an event is too long") from error
        except (httpx2.HTTPError, ssl.SSLError, anyio.EndOfStream) as error:
            raise BrokenStreamError("the connection was cut") from error
        on_said(fold.end(was_announced=was_announced))
        if not fold.is_finished:
            raise BrokenStreamError(_unfinished(content_type))


async def _data(response: httpx2.Response) -> AsyncIterator[str]:
    # Some gateways label the stream as another type, or not at all: what counts is that an answer is in it.
    response.headers["content-type"] = "text/event-stream"
    response.encoding = "utf-8-sig"  # the standard's only encoding; a byte order mark may precede it
    async for event in httpx2.EventSource(response, max_event_size=_MAX_EVENT_BYTES):
        yield event.data.strip()


def add_event(fold: Fold, data: str) -> Said:
    """Add an event's data to the fold and return what it says. Raises BrokenStreamError where it is not understood."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenStreamError("an event could not be read") from error
    if not isinstance(event, dict):
        raise BrokenStreamError("an event is not a JSON object")
    try:
        return fold.add(cast("dict[str, Any]", event))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BrokenStreamError("an event has an unknown shape") from error


def _unfinished(content_type: str) -> str:
    if content_type and "event-stream" not in content_type:
        return (
            f"it is {content_type.partition(';')[0]}, not an event stream; the operator should check the endpoint's URL"
        )
    return "it ended in the middle"
