"""Settings of the chat platforms."""

from __future__ import annotations

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from bot.settings.values import Group, HeaderSecret

_SLACK_TOKENS = {
    "xoxb-": "a bot token",
    "xapp-": "an app-level token",
    "xoxp-": "a user's token",
    "xoxe-": "a refresh token",
}


class SlackSettings(Group):
    """Slack, over Socket Mode or HTTP, in one workspace or several."""

    slack_bot_token: HeaderSecret = Field(
        default=None,
        description="The *Bot User OAuth Token* (`xoxb-...`) of one workspace or organization.",
    )
    slack_app_token: HeaderSecret = Field(
        default=None,
        description="The app-level token (`xapp-...`) for Socket Mode.",
    )
    slack_signing_secret: HeaderSecret = Field(
        default=None,
        description="For [Slack over HTTP](slack.md#over-http), in place of the app token.",
    )
    slack_client_id: str | None = Field(
        default=None,
        description=(
            "In place of the bot token, for [several workspaces](slack.md#for-several-workspaces) that install the app"
            " themselves."
        ),
    )
    slack_client_secret: HeaderSecret = Field(default=None, description="Goes with `SLACK_CLIENT_ID`.")
    slack_command_prefix: str = Field(
        default="",
        max_length=24,
        pattern=r"^[a-z0-9_-]*$",
        description="Prefix of the slash commands, if `/tools` and the others are taken: `tb-` makes `/tb-tools`.",
    )
    slack_backfill_minutes: float = Field(
        default=15.0,
        ge=0,
        description="How old a message may be that arrived while the bot was away, and still be answered.",
    )
    slack_api_url: str = Field(default="https://slack.com/api/", description="The base URL of Slack's API.")

    @field_validator("slack_bot_token", "slack_app_token")
    @classmethod
    def _check_kind_of_token(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Refuse a token of another kind: https://docs.slack.dev/authentication/tokens"""
        if value is None:
            return None
        wanted = "xoxb-" if info.field_name == "slack_bot_token" else "xapp-"
        given = next((kind for kind in _SLACK_TOKENS if value.get_secret_value().startswith(kind)), wanted)
        if given != wanted:
            raise ValueError(
                f"it is {_SLACK_TOKENS[given]}, which begins with {given}; wanted is {_SLACK_TOKENS[wanted]}, which "
                f"begins with {wanted}. SLACK_BOT_TOKEN and SLACK_APP_TOKEN may be swapped"
            )
        return value


class DiscordSettings(Group):
    """Discord."""

    discord_bot_token: HeaderSecret = Field(default=None, description="The bot's token.")
    discord_allow_dms: bool = Field(default=False, description="Whether the bot answers direct messages.")
    discord_message_content: bool = Field(
        default=True,
        description="Whether the app has the Message Content intent. Without it, follow-ups in threads need a mention.",
    )
    discord_dev_guild: int | None = Field(
        default=None,
        description="The ID of a server in which changed commands appear at once, for development.",
    )
    discord_backfill_minutes: float = Field(
        default=15.0,
        ge=0,
        description="How old a message may be that arrived while the bot was away, and still be answered.",
    )
    discord_api_url: str = Field(default="https://discord.com/api/v10", description="The base URL of Discord's API.")
    discord_gateway_url: str = Field(default="wss://gateway.discord.gg/", description="The URL of Discord's gateway.")
