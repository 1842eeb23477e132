"""The invite link asks for what the bot uses and for nothing else."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import discord
import pytest

from adapters.discord.invite import NEEDED, PERMISSIONS, application_id_of, invite_url, missing
from bot.domain.errors import SettingsError

APPLICATION = "1234567890123456789"


def token_of(application_id: str) -> str:
    """What looks like a token: its first part is base64 without the signs that fill it up."""
    return f"{base64.urlsafe_b64encode(application_id.encode()).decode().rstrip('=')}.test.test"


def test_the_link_has_exactly_the_scopes_and_permissions_that_are_used() -> None:
    link = urlsplit(invite_url(APPLICATION))
    assert f"{link.scheme}://{link.netloc}{link.path}" == "https://discord.com/oauth2/authorize"
    query = parse_qs(link.query)
    assert query.keys() == {"client_id", "scope", "permissions"}
    assert query["client_id"] == [APPLICATION]
    assert query["scope"] == ["bot applications.commands"]
    assert discord.Permissions(int(query["permissions"][0])) == discord.Permissions(
        view_channel=True,
        send_messages=True,
        send_messages_in_threads=True,
        create_public_threads=True,
        read_message_history=True,
        attach_files=True,
        add_reactions=True,
    )


def test_what_is_missing_is_named_as_the_server_settings_name_it() -> None:
    granted = discord.Permissions(NEEDED)
    granted.update(attach_files=False, send_messages_in_threads=False)
    assert missing(granted.value) == ("Attach Files", "Send Messages in Threads")
    assert missing(NEEDED) == ()
    assert missing(0) == tuple(PERMISSIONS)


def test_an_administrator_lacks_nothing() -> None:
    assert missing(discord.Permissions(administrator=True).value) == ()


@pytest.mark.parametrize("application_id", [APPLICATION, "12345678901234567", "123456789012345678"])
def test_a_bot_token_tells_its_application(application_id: str) -> None:
    assert application_id_of(f" {token_of(application_id)}\n") == application_id


@pytest.mark.parametrize("text", ["", "xoxb-test", "MTIz", "e30.test.test", "é.test", "====.test", ".test"])
def test_what_is_no_token_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(SettingsError, match="DISCORD_BOT_TOKEN") as caught:
        application_id_of(text)
    assert not text or text not in str(caught.value)
