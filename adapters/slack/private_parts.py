"""What is used of slack-bolt though it is not documented; each part has a test, and its version range is narrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.request.async_internals import build_async_context
from slack_bolt.request.async_request import AsyncBoltRequest


def set_body(request: AsyncBoltRequest, body: Mapping[str, Any]) -> None:
    """Replace the body that Bolt has parsed, and the workspace and user that Bolt has read from it."""
    request.body = dict(body)
    request.context = build_async_context(AsyncBoltContext(), request.body)
