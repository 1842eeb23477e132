"""The link with which an administrator adds the bot to a server; it asks for nothing that the bot does not use."""

from __future__ import annotations

import base64
from urllib.parse import urlencode

from bot.domain.errors import SettingsError

AUTHORIZE_URL = "https://discord.com/oauth2/authorize"
# https://docs.discord.com/developers/topics/oauth2#shared-resources-oauth2-scopes
SCOPES: tuple[str, ...] = ("bot", "applications.commands")

# Names as Discord's server settings show them. Bits: https://docs.discord.com/developers/topics/permissions
ADMINISTRATOR = 1 << 3  # has all others
PERMISSIONS: dict[str, int] = {
    "Add Reactions": 1 << 6,  # the hourglass on queued messages
    "View Channels": 1 << 10,
    "Send Messages": 1 << 11,
    "Attach Files": 1 << 15,  # files that tools return, long answers
    "Read Message History": 1 << 16,  # replies, and messages sent while the bot was offline
    "Create Public Threads": 1 << 35,  # for traces
    "Send Messages in Threads": 1 << 38,
}
NEEDED: int = sum(PERMISSIONS.values())


def invite_url(application_id: str) -> str:
    """Return the link that adds the application to a server."""
    query = {"client_id": application_id, "scope": " ".join(SCOPES), "permissions": str(NEEDED)}
    return f"{AUTHORIZE_URL}?{urlencode(query)}"


def missing(permissions: int) -> tuple[str, ...]:
    """Return the names of the permissions that the bot needs and these lack."""
    if permissions & ADMINISTRATOR:
        return ()
    return tuple(name for name, bit in PERMISSIONS.items() if not permissions & bit)


def application_id_of(token: str) -> str:
    """Return the id of the application that a bot token belongs to.

    The token's first part is the bot user's id in base64. It equals the application's id, except for a few bots made
    before 2016.

    Raises:
        SettingsError: This is not a bot token.
    """
    first, _, rest = token.strip().removeprefix("Bot ").partition(".")
    try:
        application_id = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)).decode("ascii")
    except ValueError:
        application_id = ""
    if not rest or not application_id.isdecimal():
        raise SettingsError(
            "DISCORD_BOT_TOKEN is not a bot token. Copy it from the Bot page of your application at "
            "https://discord.com/developers/applications (Reset Token shows a new one)."
        )
    return application_id
