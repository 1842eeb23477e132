"""The part of slack-bolt that it does not document and may change in any release; nothing else here uses such a part.

`tests/unit/adapters/slack/test_private_parts.py` names it and fails when it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.request.async_internals import build_async_context
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.request.payload_utils import (
    to_action,
    to_command,
    to_event,
    to_options,
    to_shortcut,
    to_step,
    to_view,
)


def set_body(request: AsyncBoltRequest, body: Mapping[str, Any]) -> None:
    """Replace the body that Bolt has parsed, and the workspace and user that Bolt has read from it.

    Raises:
        ValueError: Bolt could not read it, where a part is of another type than Slack's.
    """
    request.body = dict(body)
    try:
        request.context = build_async_context(AsyncBoltContext(), request.body)
        for read in (to_event, to_command, to_action, to_options, to_shortcut, to_view, to_step):
            read(request.body)  # as it does before it hands the body on
    except (AttributeError, LookupError, TypeError, RecursionError):
        raise ValueError("not valid") from None
    context = cast("dict[str, Any]", request.context)
    if not all(isinstance(context.get(name), str | None) for name in _IDS):
        raise ValueError("not valid")


_IDS = ("enterprise_id", "team_id", "user_id", "actor_enterprise_id", "actor_team_id", "actor_user_id", "channel_id")
