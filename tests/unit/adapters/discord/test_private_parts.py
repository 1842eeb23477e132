"""The undocumented parts of discord.py that the adapter uses are there, and mean what it takes them to mean.

When one of these tests fails with a new release, `adapters/discord/private_parts.py` is what has to change.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import discord
from discord.gateway import DiscordWebSocket, ReconnectWebSocket
from discord.http import HTTPClient, Route

from adapters.discord import private_parts
from adapters.discord.shards import TAKEN

NO_INTENTS = discord.Intents.none()


def test_the_version_of_the_library_is_one_that_these_parts_were_read_in() -> None:
    assert discord.version_info[:2] == (2, 7)


def test_no_other_file_of_the_adapter_uses_such_a_part() -> None:
    here = Path(private_parts.__file__)
    undocumented = re.compile(r"discord\.(http|gateway|state)\b.*import|import discord\.|reportPrivateUsage")
    users = [file.name for file in here.parent.glob("*.py") if undocumented.search(file.read_text(encoding="utf-8"))]
    assert users == [here.name]


def test_route_base_is_where_requests_go() -> None:
    before = Route.BASE
    try:
        private_parts.use_api("http://127.0.0.1:1/api")
        assert Route("GET", "/users/{user_id}", user_id="1").url == "http://127.0.0.1:1/api/users/1"
    finally:
        Route.BASE = before


def test_default_gateway_is_where_sessions_begin() -> None:
    before = DiscordWebSocket.DEFAULT_GATEWAY
    assert "DEFAULT_GATEWAY" in inspect.getsource(DiscordWebSocket.from_client)
    try:
        private_parts.use_gateway("ws://127.0.0.1:1/")
        assert str(DiscordWebSocket.DEFAULT_GATEWAY) == "ws://127.0.0.1:1/"
    finally:
        DiscordWebSocket.DEFAULT_GATEWAY = before


async def test_http_client_takes_the_longest_pause_and_logs_in_by_token() -> None:
    http = private_parts.make_http(longest_pause_s=30.0)
    assert http.max_ratelimit_timeout == 30.0
    assert list(inspect.signature(http.static_login).parameters) == ["token"]
    assert {"form", "files", "kwargs"} <= set(inspect.signature(http.request).parameters)
    await http.close()


async def test_global_over_is_the_event_that_requests_wait_for() -> None:
    source = inspect.getsource(HTTPClient.request)
    assert "self._global_over.is_set()" in source and "self._global_over.clear()" in source
    http = private_parts.make_http(longest_pause_s=30.0)
    over = http._global_over = asyncio.Event()  # pyright: ignore[reportPrivateUsage]  (the login makes it)
    private_parts.end_global_pause(http)
    assert over.is_set()


async def test_connection_parsers_hold_a_function_for_each_dispatch_that_is_taken() -> None:
    client = discord.Client(intents=NO_INTENTS)
    parsers = private_parts.event_parsers(client)
    assert set(TAKEN) <= set(parsers)
    seen: list[Any] = []
    parsers["MESSAGE_CREATE"] = seen.append
    assert private_parts.event_parsers(client)["MESSAGE_CREATE"] == seen.append


def test_dispatch_is_what_the_library_calls_with_each_event() -> None:
    assert list(inspect.signature(discord.Client.dispatch).parameters) == ["self", "event", "args", "kwargs"]


def test_the_library_has_warnings_about_voice_that_can_be_switched_off() -> None:
    private_parts.hide_voice_warnings()
    assert discord.VoiceClient.warn_nacl is False
    assert discord.VoiceClient.warn_dave is False


def test_the_loggers_are_named_after_the_library_and_its_http_module() -> None:
    assert HTTPClient.__module__ == private_parts.HTTP_LOGGER
    assert private_parts.HTTP_LOGGER.startswith(f"{private_parts.LOGGER}.")


async def test_a_request_takes_a_context_for_its_trace_and_the_statuses_it_repeats_are_known() -> None:
    source = inspect.getsource(HTTPClient.request)
    assert "self.__session.request(method, url, **kwargs)" in source
    assert f"response.status in {{{', '.join(map(str, sorted(private_parts.REPEATED)))}}}" in source


def test_a_refusal_keeps_what_it_says_of_the_fields() -> None:
    class Response:
        status, reason = 400, "Bad Request"

    response: Any = Response()
    error = discord.HTTPException(response, {"code": 50035, "errors": {"content": {"_errors": []}}})
    assert private_parts.form_errors(error) == {"content": {"_errors": []}}
    assert private_parts.form_errors(discord.HTTPException(response, "page")) is None


def test_a_websocket_is_made_from_a_client_and_may_resume_a_session() -> None:
    parameters = inspect.signature(DiscordWebSocket.from_client).parameters
    assert {"initial", "gateway", "shard_id", "session", "sequence", "resume"} <= set(parameters)
    assert "before_identify" in inspect.getsource(DiscordWebSocket.identify)
    assert {"session_id", "seq"} <= set(inspect.getsource(DiscordWebSocket.resume).split("'"))
    assert list(inspect.signature(DiscordWebSocket.close).parameters) == ["self", "code"]


def test_the_sequence_is_known_before_a_dispatch_is_parsed() -> None:
    source = inspect.getsource(DiscordWebSocket.received_message)
    assert source.index("self.sequence = seq") < source.index("func(data)")


def test_a_connection_that_ends_says_whether_its_session_can_be_resumed() -> None:
    assert ReconnectWebSocket(0).resume is True
    assert ReconnectWebSocket(0, resume=False).resume is False


def test_a_client_that_never_connected_has_come_nowhere() -> None:
    assert private_parts.position_of(discord.Client(intents=NO_INTENTS)) is None


def test_a_server_can_be_made_of_what_describes_it() -> None:
    me = {"user": {"id": "7", "username": "bot", "discriminator": "0", "avatar": None}, "roles": [], "flags": 0}
    roles = [{"id": "5", "name": "@everyone", "permissions": "1024", "color": 0, "position": 0}]
    guild = private_parts.make_guild({"id": "5", "name": "Team", "roles": roles, "members": [me]})
    assert (guild.name, guild.me.id, guild.default_role.permissions.value) == ("Team", 7, 1024)
