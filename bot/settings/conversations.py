"""Settings of conversations: how much, who is heard, what is shown."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from bot.settings.values import Group, listed

_APP = re.compile(r"slack:[A-Z][A-Z0-9]*:[A-Z][A-Z0-9]*|discord:\d+")


class LimitSettings(Group):
    """The most of everything that one person, question or conversation may have."""

    max_conversation_length: int = Field(  # stores read a few thousand at most
        default=50,
        ge=2,
        le=2_000,
        description="How many messages of a conversation the model reads at most.",
    )
    max_input_chars: int = Field(default=10_000, ge=1, description="How many characters one message may have.")
    max_file_mb: float = Field(
        default=10.0,
        ge=0,
        description="How large one attached file may be, in megabytes of 1,000,000 bytes.",
    )
    max_tool_rounds: int = Field(
        default=10,
        ge=1,
        description="How many times one question may go from the model to tools and back.",
    )
    turn_timeout_s: float = Field(
        default=300.0,
        gt=0,
        description="How many seconds one question may take, without the time in which it waits for people.",
    )
    requests_per_minute: int = Field(
        default=60,
        ge=1,
        description="How many messages, and how many commands and buttons, one person may send in a minute.",
    )


class HearingSettings(Group):
    """Whose messages are questions, and what is read with them."""

    follow_ups: Literal["always", "mention"] = Field(
        default="always",
        description=(
            "In a thread where the bot takes part: `always` answers follow-ups without a mention, `mention` waits for "
            "one."
        ),
    )
    allowed_apps: str = Field(
        default="",
        description=(
            "Other bots, apps and workflows that may ask, by a mention only, separated by commas: `slack:TEAM:ID` with"
            " an app, bot or user ID, `discord:ID` with a user or application ID. `[access] apps` of the rules adds to"
            " them."
        ),
    )
    max_thread_messages: int = Field(
        default=50,
        ge=0,
        le=200,
        description="How many messages before a question in its thread are read with it. 0 reads none.",
    )

    @field_validator("allowed_apps")
    @classmethod
    def _check_apps(cls, value: str) -> str:
        for app in listed(value):
            if not _APP.fullmatch(app):
                raise ValueError(f"{app} is no app: write slack:TEAM:ID or discord:ID, separated by commas")
        return value

    @property
    def apps(self) -> frozenset[str]:
        """The apps of ALLOWED_APPS, in the notation of rules."""
        return frozenset(listed(self.allowed_apps))


class ShowingSettings(Group):
    """What people see besides the answer, and what is hidden from them."""

    trace: Literal["summary", "full", "off"] = Field(
        default="summary",
        description=(
            "How much of the tools is shown beside the answer; with `full`, *Details* has the model's thoughts too."
        ),
    )
    redact: Literal["on", "trace", "off"] = Field(
        default="on",
        description=(
            "Where [secrets](data.md#secrets-in-answers) are hidden: in answers, files and what is shown of tools "
            "(`on`), only in what is shown of tools (`trace`), or nowhere (`off`). The bot's own never show."
        ),
    )
