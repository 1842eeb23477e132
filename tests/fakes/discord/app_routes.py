"""The app itself, its commands, guilds and people.

https://discord.com/developers/docs/resources/application and
https://discord.com/developers/docs/interactions/application-commands
"""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.discord.errors import DiscordError, Json, check_count, check_length, form_error
from tests.fakes.discord.gateway import Gateway
from tests.fakes.discord.routes import Request, Route
from tests.fakes.discord.world import Guild

NAME = re.compile(r"[-_'\w]{1,32}")  # https://discord.com/developers/docs/interactions/application-commands
CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
MOST = {CHAT_INPUT: 100, USER_MENU: 15, MESSAGE_MENU: 15}
SUBCOMMAND, SUBCOMMAND_GROUP, STRING = 1, 2, 3
MAX_COMMAND_CHARS = 8000


# --- the app


def get_me(discord: Gateway, _request: Request) -> Json:
    return discord.user_json(discord.bot) | {"verified": True, "mfa_enabled": True, "locale": "en-US", "flags": 0}


def get_application(discord: Gateway, _request: Request) -> Json:
    return discord.application_json()


def get_gateway(discord: Gateway, _request: Request) -> Json:
    return {"url": discord.gateway_url}


def get_gateway_bot(discord: Gateway, _request: Request) -> Json:
    """https://discord.com/developers/docs/events/gateway#get-gateway-bot"""
    return {
        "url": discord.gateway_url,
        "shards": discord.recommended_shards,
        "session_start_limit": {
            "total": discord.session_starts,
            "remaining": max(0, discord.session_starts_left),
            "reset_after": 3_600_000,
            "max_concurrency": discord.max_concurrency,
        },
    }


# --- guilds and people


def get_guild(discord: Gateway, request: Request) -> Json:
    return discord.guild_json(_guild(discord, request), with_channels=False)


def list_my_guilds(discord: Gateway, _request: Request) -> list[Json]:
    return [
        {"id": str(each.id), "name": each.name, "permissions": str(each.bot_permissions)}
        for each in discord.guilds.values()
        if each.has_bot
    ]


def list_channels(discord: Gateway, request: Request) -> list[Json]:
    guild = _guild(discord, request)
    rooms = [room for room in discord.channels.values() if room.guild == guild.id and not room.is_thread]
    return [discord.channel_json(room) for room in rooms]


def list_active_threads(discord: Gateway, request: Request) -> Json:
    guild = _guild(discord, request)
    active = [room for room in discord.channels.values() if room.guild == guild.id and room.is_thread]
    seen = [room for room in active if not room.is_archived and discord.bot_may(room, "VIEW_CHANNEL")]
    return {"threads": [discord.channel_json(room) for room in seen], "members": []}


def get_member(discord: Gateway, request: Request) -> Json:
    guild, user = _guild(discord, request), discord.users.get(request.snowflake("user"))
    if user is None or (user is not discord.bot and user.id not in guild.members):
        raise DiscordError(10007)
    return discord.member_json(guild, user)


def get_user(discord: Gateway, request: Request) -> Json:
    user = discord.users.get(request.snowflake("user"))
    if user is None:
        raise DiscordError(10013)
    return discord.user_json(user)


def _guild(discord: Gateway, request: Request) -> Guild:
    guild = discord.guilds.get(request.snowflake("guild"))
    if guild is None:
        raise DiscordError(10004)
    if not guild.has_bot:
        raise DiscordError(50001)
    return guild


# --- commands


def put_commands(discord: Gateway, request: Request) -> list[Json]:
    """Replace all commands of the guild or the global ones; those of the same name and type keep their id.

    https://discord.com/developers/docs/interactions/application-commands#bulk-overwrite-global-application-commands
    """
    check_count("", request.body.json, most=sum(MOST.values()))
    commands: list[Json] = request.body.json
    check_commands(commands)
    old = {(each["name"], each["type"]): each for each in _stored(discord, request)}
    new = [each for each in commands if (each["name"], each.get("type", CHAT_INPUT)) not in old]
    discord.command_creates += len(new)
    if discord.command_creates > discord.daily_command_creates:
        raise DiscordError(30034)
    stored = [
        _command(discord, request, each, old.get((each["name"], each.get("type", CHAT_INPUT)))) for each in commands
    ]
    _store(discord, request, stored)
    return stored


def post_command(discord: Gateway, request: Request) -> Json:
    """Add a command, or replace that of the same name and type."""
    fields = request.body.fields
    key = (fields.get("name"), fields.get("type", CHAT_INPUT))
    others = [each for each in _stored(discord, request) if (each["name"], each["type"]) != key]
    old = next((each for each in _stored(discord, request) if (each["name"], each["type"]) == key), None)
    check_commands([*others, fields])
    command = _command(discord, request, fields, old)
    _store(discord, request, [*others, command])
    return command


def list_commands(discord: Gateway, request: Request) -> list[Json]:
    return _stored(discord, request)


def delete_command(discord: Gateway, request: Request) -> None:
    stored = _stored(discord, request)
    rest = [each for each in stored if each["id"] != request.parameters["command"]]
    if len(rest) == len(stored):
        raise DiscordError(10063)
    _store(discord, request, rest)


def _stored(discord: Gateway, request: Request) -> list[Json]:
    if request.snowflake("application") != discord.application_id:
        raise DiscordError(50001)
    if "guild" not in request.parameters:
        return discord.global_commands
    guild = discord.guilds.get(request.snowflake("guild"))
    if guild is None or not guild.has_bot:
        raise DiscordError(50001)
    return discord.guild_commands.get(guild.id, [])


def _store(discord: Gateway, request: Request, commands: list[Json]) -> None:
    if "guild" in request.parameters:
        discord.guild_commands[request.snowflake("guild")] = commands
    else:
        discord.global_commands = commands
    discord.touch()


def _command(discord: Gateway, request: Request, fields: Json, old: Json | None) -> Json:
    shape: Json = {
        "type": CHAT_INPUT,
        "description": "",
        "default_member_permissions": None,
        "nsfw": False,
        "options": [],
        **fields,
        "id": old["id"] if old else str(discord.next_id()),
        "application_id": str(discord.application_id),
        "version": str(discord.next_id()),
    }
    return shape | {"guild_id": request.parameters["guild"]} if "guild" in request.parameters else shape


def check_commands(commands: list[Json]) -> None:
    """Refuse a set of commands: names, descriptions, options, how many of each type."""
    for number, each in enumerate(commands):
        _check_command(str(number), each)
    keys = [(each["name"], each.get("type", CHAT_INPUT)) for each in commands]
    if len(keys) != len(set(keys)):
        raise form_error("name", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
    for kind, most in MOST.items():
        if sum(each_kind == kind for _, each_kind in keys) > most:
            raise DiscordError(30032)


def _check_command(path: str, command: Json) -> None:
    kind = command.get("type", CHAT_INPUT)
    if kind not in MOST:
        raise form_error(f"{path}.type", "BASE_TYPE_CHOICES", "Unknown type.")
    if kind != CHAT_INPUT:
        check_length(f"{path}.name", command.get("name"), least=1, most=32)
        if command.get("description"):
            raise form_error(f"{path}.description", "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_NOT_ALLOWED", "None.")
        return
    _check_named(path, command)
    _check_options(f"{path}.options", command.get("options") or [])
    if _count_chars(command) > MAX_COMMAND_CHARS:
        raise form_error(path, "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (8000)")


def _check_named(path: str, each: Json) -> None:
    name = each.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or name != name.lower():
        raise form_error(f"{path}.name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    check_length(f"{path}.description", each.get("description"), least=1, most=100)


def _check_options(path: str, options: list[Json]) -> None:
    check_count(path, options, most=25)
    was_optional = False
    for number, option in enumerate(options):
        here = f"{path}.{number}"
        _check_named(here, option)
        if option.get("type") in {SUBCOMMAND, SUBCOMMAND_GROUP}:
            _check_options(f"{here}.options", option.get("options") or [])
            continue
        if option.get("required") and was_optional:
            raise form_error(
                here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", "Required options must be placed before others"
            )
        was_optional = was_optional or not option.get("required")
        _check_choices(here, option)
    names = [option["name"] for option in options]
    if len(names) != len(set(names)):
        raise form_error(path, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option names must be unique")


def _check_choices(path: str, option: Json) -> None:
    choices: list[Json] = option.get("choices") or []
    check_count(f"{path}.choices", choices, most=25)
    if choices and option.get("autocomplete"):
        raise form_error(path, "APPLICATION_COMMAND_OPTION_CHOICES_AND_AUTOCOMPLETE", "Choices exclude autocomplete.")
    for number, each in enumerate(choices):
        check_length(f"{path}.choices.{number}.name", each.get("name"), least=1, most=100)
        if option.get("type") == STRING:
            check_length(f"{path}.choices.{number}.value", each.get("value"), least=1, most=100)


def _count_chars(each: Json) -> int:
    own = len(each.get("name") or "") + len(each.get("description") or "") + len(str(each.get("value") or ""))
    inner: list[Any] = [*(each.get("options") or []), *(each.get("choices") or [])]
    return own + sum(_count_chars(part) for part in inner)


COMMANDS = "/applications/{application}/commands"
GUILD_COMMANDS = "/applications/{application}/guilds/{guild}/commands"
ROUTES = (
    Route("get_me", "GET", "/users/@me", get_me),
    Route("get_application", "GET", "/oauth2/applications/@me", get_application),
    Route("get_application", "GET", "/applications/@me", get_application),
    Route("get_gateway", "GET", "/gateway", get_gateway, needs_token=False),
    Route("get_gateway_bot", "GET", "/gateway/bot", get_gateway_bot),
    Route("list_my_guilds", "GET", "/users/@me/guilds", list_my_guilds),
    Route("get_user", "GET", "/users/{user}", get_user),
    Route("get_guild", "GET", "/guilds/{guild}", get_guild),
    Route("list_channels", "GET", "/guilds/{guild}/channels", list_channels),
    Route("list_active_threads", "GET", "/guilds/{guild}/threads/active", list_active_threads),
    Route("get_member", "GET", "/guilds/{guild}/members/{user}", get_member),
    Route("put_commands", "PUT", COMMANDS, put_commands),
    Route("post_command", "POST", COMMANDS, post_command),
    Route("list_commands", "GET", COMMANDS, list_commands),
    Route("delete_command", "DELETE", COMMANDS + "/{command}", delete_command),
    Route("put_commands", "PUT", GUILD_COMMANDS, put_commands),
    Route("post_command", "POST", GUILD_COMMANDS, post_command),
    Route("list_commands", "GET", GUILD_COMMANDS, list_commands),
    Route("delete_command", "DELETE", GUILD_COMMANDS + "/{command}", delete_command),
)
