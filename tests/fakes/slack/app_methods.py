"""The methods of the app itself and of files.

The rules of a method are those of its page, https://docs.slack.dev/reference/methods/METHOD.
"""

from __future__ import annotations

from tests.fakes.slack.blocks import as_objects
from tests.fakes.slack.web_api import Arguments, Methods, WebApi
from tests.fakes.slack.world import Json, SlackError, StoredFile, Token

METHODS = Methods()


# --- app and authentication


@METHODS.add("auth.test")
def auth_test(api: WebApi, arguments: Arguments, token: Token) -> Json:
    team = api.world.teams[token.team]
    return {
        "url": f"{api.world.url}/",
        "team": team.id.lower(),
        "user": api.world.users[team.bot_user].name,
        "team_id": None if team.is_org_wide else team.id,
        "user_id": team.bot_user,
        "bot_id": team.bot_id,
        "enterprise_id": team.enterprise,
        "is_enterprise_install": team.is_org_wide,
    }


@METHODS.add("auth.revoke")
def auth_revoke(api: WebApi, arguments: Arguments, token: Token) -> Json:
    if not arguments.flag("test"):
        token.is_revoked = True
    return {"revoked": token.is_revoked}


@METHODS.add("apps.connections.open", "connections:write")
def apps_connections_open(api: WebApi, arguments: Arguments, token: Token) -> Json:
    ticket = api.world.next_id("ticket")
    api.tickets.add(ticket)
    return {"url": f"{api.world.url.replace('http', 'ws', 1)}/link?ticket={ticket}&app_id={api.world.app_id}"}


@METHODS.add("oauth.v2.access")
def oauth_v2_access(api: WebApi, arguments: Arguments, token: Token) -> Json:
    if (arguments.text("client_id"), arguments.text("client_secret")) != api.client:
        known = arguments.text("client_id") == api.client[0]
        raise SlackError("bad_client_secret" if known else "invalid_client_id")
    if arguments.text("grant_type") == "refresh_token":
        team_id = api.refresh_tokens.pop(arguments.text("refresh_token"), None)
        if team_id is None:
            raise SlackError("invalid_refresh_token")
        user = ""
    elif (code := arguments.text("code")) in api.oauth_codes:
        team_id, user = api.oauth_codes.pop(code)
    else:
        raise SlackError("invalid_code")
    team = api.world.teams[team_id]
    for each in api.world.teams.values():
        if api.installs_org_wide and each.enterprise == team.enterprise:
            each.is_org_wide = True
    return _installation(api, team_id) | {
        "ok": True,
        "app_id": api.world.app_id,
        "token_type": "bot",
        "bot_user_id": team.bot_user,
        "team": None if api.installs_org_wide else {"id": team.id, "name": team.id.lower()},
        "enterprise": {"id": team.enterprise, "name": team.enterprise} if team.enterprise else None,
        "is_enterprise_install": api.installs_org_wide,
        "authed_user": {"id": user},
    }


def _installation(api: WebApi, team: str) -> Json:
    """https://docs.slack.dev/authentication/using-token-rotation: a rotating token lives 12 hours."""
    scopes = api.world.tokens[api.world.teams[team].token].scopes
    granted: Json = {"scope": ",".join(scopes)}
    if not api.rotates_tokens:
        return granted | {"access_token": api.world.teams[team].token}
    token = api.world.add_token(
        f"xoxe.xoxb-{api.world.next_id('test-')}",
        team=team,
        scopes=scopes,
        expires_at=api.world.now() + api.token_life_s,
    )
    refresh = f"xoxe-{api.world.next_id('test-')}"
    api.refresh_tokens[refresh] = team
    return granted | {"access_token": token.value, "refresh_token": refresh, "expires_in": api.token_life_s}


# --- files


@METHODS.add("files.getUploadURLExternal", "files:write")
def files_get_upload_url_external(api: WebApi, arguments: Arguments, token: Token) -> Json:
    length = arguments.number("length", 0)
    if length <= 0:
        raise SlackError("missing_argument")
    name = arguments.required("filename")
    stored = api.world.add_file(name, b"", user=api.world.teams[token.team].bot_user, team=token.team)
    stored.declared_length, stored.is_uploaded = length, False
    return {"upload_url": f"{api.world.url}/upload/{stored.id}", "file_id": stored.id}


@METHODS.add("files.completeUploadExternal", "files:write")
def files_complete_upload_external(api: WebApi, arguments: Arguments, token: Token) -> Json:
    files = as_objects(arguments.get("files"))
    if not files:
        raise SlackError("invalid_arguments")
    stored = [_uploaded(api, each, token) for each in files]
    if channel_id := arguments.text("channel_id") or arguments.text("channels"):
        channel = api.find_channel(channel_id, token)
        message = api.bot_message(
            channel,
            token,
            text=arguments.text("initial_comment"),
            files=stored,
            thread_ts=api.check_thread(channel, arguments.text("thread_ts")),
        )
        api.world.store(message)
        api.tell(message, api.world.message_json(message) | {"subtype": "file_share"})
    for each in stored:
        each.is_shared = True
    return {"files": [api.world.file_json(each) for each in stored]}


def _uploaded(api: WebApi, named: Json, token: Token) -> StoredFile:
    stored = api.world.files.get(named.get("id", ""))
    if stored is None or stored.team != token.team or stored.is_shared or not stored.is_uploaded:
        raise SlackError("file_not_found")
    stored.title = named.get("title") or stored.name
    return stored


@METHODS.add("files.info", "files:read")
def files_info(api: WebApi, arguments: Arguments, token: Token) -> Json:
    stored = api.world.files.get(arguments.required("file"))
    if stored is None or stored.team != token.team:
        raise SlackError("file_not_found")
    return {"file": api.world.file_json(stored)}
