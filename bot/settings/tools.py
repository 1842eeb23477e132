"""Settings of tool servers, and of the bundled one."""

from __future__ import annotations

from pydantic import Field

from bot.settings.values import Group, HomePath


class ToolSettings(Group):
    """Which tool servers there are."""

    mcp_server_url: str | None = Field(
        default=None,
        repr=False,
        description=(
            "HTTP tool servers without an `mcp.json`. Several URLs, separated by commas, are replicas of one server."
        ),
    )
    mcp_config: HomePath = Field(
        default=None,
        description=(
            "The path of an [`mcp.json`](tools.md). Without it, `./mcp.json` if there is one, else the bundled server."
        ),
    )


class WeatherSettings(Group):
    """Where the bundled server's tools for the weather ask."""

    weather_api_url: str | None = Field(
        default=None,
        description="Where the bundled server asks for the weather. Without it, Open-Meteo.",
    )
    geocoding_api_url: str | None = Field(default=None, description="Where it looks places up. Without it, Open-Meteo.")
