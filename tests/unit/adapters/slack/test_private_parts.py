"""The undocumented parts of slack-bolt that are used: they exist and do what is relied on."""

from __future__ import annotations

from typing import Any

import pytest
from slack_bolt.request.async_request import AsyncBoltRequest

from adapters.slack.private_parts import set_body


def test_build_async_context_reads_the_workspace_and_the_user_from_a_body_that_was_set() -> None:
    request = AsyncBoltRequest(body="text=payload", mode="http")
    form = {"command": "/help", "team_id": "T1", "user_id": "U1", "channel_id": "C1", "text": "payload"}
    set_body(request, form)
    assert request.body == form
    assert (request.context.team_id, request.context.user_id, request.context.channel_id) == ("T1", "U1", "C1")


@pytest.mark.parametrize(
    "body",
    [
        {"team": 5},
        {"team_id": ["T1"]},
        {"authorizations": 5},
        {"authorizations": [None]},
        {"type": "event_callback", "event": None},
        {"type": "block_actions", "actions": []},
        {"type": "view_submission", "view": 5},
        {"response_urls": [5]},
    ],
    ids=str,
)
def test_a_body_that_bolt_cannot_read_is_a_value_error(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not valid"):
        set_body(AsyncBoltRequest(body="", mode="http"), body)
