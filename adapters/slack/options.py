"""How the bot reaches Slack, as its settings say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.shared.buckets import Rate
from adapters.slack.limits import RATES
from adapters.slack.pace import Pace
from adapters.slack.session import Watch
from adapters.slack.traces import TraceLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackOptions:
    """How to reach Slack. Either `bot_token`, or `client_id` and `client_secret` for several workspaces."""

    bot_token: str = field(default="", repr=False)
    app_token: str = field(default="", repr=False)
    signing_secret: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    api_url: str = "https://slack.com/api/"
    http_address: str = "127.0.0.1:8080"  # where the bot listens, as the doctor says it
    command_prefix: str = ""
    backfill_minutes: float = 15.0
    trace: TraceLevel = "summary"
    rates: Mapping[str, Rate] = field(default_factory=lambda: RATES)
    pace: Pace = field(default_factory=Pace)
    watch: Watch = field(default_factory=Watch)
