"""The link with which an administrator adds the bot to a server: no scope and no permission that is not used."""

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
    "Add Reactions": 1 << 6,  # the sign on messages that wait
    "View Channels": 1 << 10,
    "Send Messages": 1 << 11,
    "Attach Files": 1 << 15,  # images and files of tools, long answers
    "Read Message History": 1 << 16,  # replies, and messages missed while the bot was away
    "Create Public Threads": 1 << 35,  # for traces
    "Send Messages in Threads": 1 << 38,
}
NEEDED: int = sum(PERMISSIONS.values())


def invite_url(application_id: str) -> str:
    """Return the link that adds the application to a server."""
    query = {"client_id": application_id, "scope": " ".join(SCOPES), "permissions": str(NEEDED)}
    return f"{AUTHORIZE_URL}?{urlencode(query)}"


def missing(permissions: int) -> tuple[str, ...]:
    """Return the names of the needed permissions that are not among these."""
    if permissions & ADMINISTRATOR:
        return ()
    return tuple(name for name, bit in PERMISSIONS.items() if not permissions & bit)


def application_id_of(token: str) -> str:
    """Return the id of the application that a bot token belongs to.

    The token's first part is the id of the bot user in base64; it is the application's id as well, but for a few bots
    from before 2016.

    Raises:
        SettingsError: It is no bot token.
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
