"""All settings together, and which of their values are secret."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from bot.settings.conversations import HearingSettings, LimitSettings, ShowingSettings
from bot.settings.data import DataSettings, ProcessSettings
from bot.settings.model import ModelSettings
from bot.settings.platforms import DiscordSettings, SlackSettings
from bot.settings.tools import ToolSettings, WeatherSettings
from bot.settings.watching import WatchingSettings
from bot.text.database_urls import is_postgres, secrets_of_database_url
from bot.text.secret_values import of_named, of_url


class Settings(
    # The last of these comes first in `model_fields`, and so in docs/settings.md and `.env.example`.
    WatchingSettings,
    ShowingSettings,
    HearingSettings,
    LimitSettings,
    WeatherSettings,
    ProcessSettings,
    DataSettings,
    ToolSettings,
    DiscordSettings,
    SlackSettings,
    ModelSettings,
):
    """Everything an operator can set; field names are the environment's names in lower case."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        env_file_encoding="utf-8",
        defer_build=False,  # unlike the groups
    )

    @property
    def secrets(self) -> Iterator[str]:
        """The values that are not to show anywhere: tokens and keys, passwords in URLs, secret headers."""
        for name in type(self).model_fields:
            value: object = getattr(self, name)
            if isinstance(value, SecretStr) and name not in ("model_headers", "otel_exporter_otlp_headers"):
                yield from (part.strip() for part in value.get_secret_value().split(","))
                yield value.get_secret_value()
            elif isinstance(value, str) and is_postgres(value):
                yield from secrets_of_database_url(value)
            elif isinstance(value, str) and "://" in value:
                yield from (secret for url in value.split(",") for secret in of_url(url.strip()))
        yield from of_named(self.extra_headers)
        yield from self.traces_headers.values()
        yield from filter(None, [os.environ.get("PGPASSWORD")])  # which libpq reads by itself
