"""The part of slack-bolt that it does not document and may change in any release; nothing else here uses such a part.

`tests/unit/adapters/slack/test_private_parts.py` names it and fails when it is gone.
"""

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
