"""Answers to interactions and follow-ups: https://discord.com/developers/docs/interactions/receiving-and-responding."""

from __future__ import annotations

from typing import Any

from tests.fakes.discord.errors import DiscordError, Json, check_count, check_length, form_error
from tests.fakes.discord.gateway import Gateway
from tests.fakes.discord.modals import check_modal
from tests.fakes.discord.replies import Body, announce_change, change, fill, remove, store
from tests.fakes.discord.routes import Request, Route
from tests.fakes.discord.world import COMMAND, DEFAULT, EPHEMERAL, LOADING, REPLY, Interaction, Message

MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
ANSWERS = {
    "command": {MESSAGE, DEFER, MODAL},
    "component": {MESSAGE, DEFER, DEFER_UPDATE, UPDATE, MODAL},
    "modal": {MESSAGE, DEFER, DEFER_UPDATE, UPDATE},
    "autocomplete": {CHOICES},
}


def respond(discord: Gateway, request: Request) -> Json | None:
    """Take the first answer: within 3 s (10062), once (40060), of a kind that fits the interaction (50035)."""
    interaction = discord.interactions.get(request.snowflake("interaction"))
    late = interaction is not None and discord.now() - interaction.created_at > discord.ack_timeout_s
    if interaction is None or interaction.token != request.parameters["token"]:
        raise DiscordError(10062)
    if interaction.is_acked:
        raise DiscordError(40060)
    if late or interaction.is_failed:
        raise DiscordError(10062)
    fields = request.body.fields
    kind = fields.get("type")
    data: Json = fields.get("data") or {}
    if kind not in ANSWERS[interaction.kind]:
        raise form_error("type", "BASE_TYPE_CHOICES", f"Value must be one of {sorted(ANSWERS[interaction.kind])}.")
    if kind in {DEFER_UPDATE, UPDATE} and interaction.message is None:
        raise form_error("type", "INTERACTION_RESPONSE_NO_MESSAGE", "There is no message to update.")
    _answer(discord, interaction, kind, Body(json=data, files=request.body.files))
    interaction.response_type = kind
    interaction.acked.set()
    discord.touch()
    return discord.callback_json(interaction) if request.query.get("with_response") in {"1", "true"} else None


def _answer(discord: Gateway, interaction: Interaction, kind: int, body: Body) -> None:
    if kind == MESSAGE:
        interaction.original = _post(discord, interaction, body)
    elif kind == DEFER:
        flags = int(body.fields.get("flags") or 0)
        interaction.original = _new_message(discord, interaction, is_ephemeral=bool(flags & EPHEMERAL))
        interaction.original.flags |= LOADING
        store(discord, interaction.original)
    elif kind == DEFER_UPDATE:
        interaction.original = interaction.message
    elif kind == UPDATE and interaction.message is not None:
        interaction.original = interaction.message
        _change(discord, interaction.message, body)
    elif kind == CHOICES:
        interaction.choices = _checked_choices(body.fields.get("choices"))
    elif kind == MODAL:
        check_modal(body.fields)
        interaction.modal = body.fields


def _checked_choices(choices: Any) -> list[Json]:
    """https://discord.com/developers/docs/interactions/application-commands#application-command-object-application-command-option-choice-structure"""
    check_count("data.choices", choices, most=25)
    for number, each in enumerate(choices):
        check_length(f"data.choices.{number}.name", each.get("name"), least=1, most=100)
        if isinstance(each.get("value"), str):
            check_length(f"data.choices.{number}.value", each["value"], least=1, most=100)
    return choices


def _new_message(
    discord: Gateway, interaction: Interaction, *, is_ephemeral: bool, is_followup: bool = False
) -> Message:
    by_command = interaction.kind == "command" and not is_followup
    reply_to = interaction.message if interaction.kind == "component" else None
    if is_followup:
        reply_to = interaction.original
    kind = COMMAND if by_command else DEFAULT
    if reply_to is not None:
        kind = REPLY
    return Message(
        id=discord.next_id(),
        channel=interaction.channel.id,
        author=discord.bot,
        created_at=discord.now(),
        type=kind,
        flags=EPHEMERAL if is_ephemeral else 0,
        ephemeral_to=interaction.user.id if is_ephemeral else None,
        reference=None if reply_to is None else reply_to.id,
        reference_channel=None if reply_to is None else reply_to.channel,
        webhook=discord.application_id,
        interaction=interaction,
    )


def _post(discord: Gateway, interaction: Interaction, body: Body, *, is_followup: bool = False) -> Message:
    is_ephemeral = bool(int(body.fields.get("flags") or 0) & EPHEMERAL)
    message = _new_message(discord, interaction, is_ephemeral=is_ephemeral, is_followup=is_followup)
    fill(discord, message, body)
    store(discord, message)
    return message


def _change(discord: Gateway, message: Message, body: Body) -> None:
    change(discord, message, body)
    if not message.is_ephemeral:
        discord.pings += discord.pings_of(message, is_edit=True)
    announce_change(discord, message)


# --- follow-ups


def _interaction(discord: Gateway, request: Request) -> Interaction:
    """Return the interaction of the token: 50027 after 15 minutes, 10015 before the first answer."""
    token = request.parameters["token"]
    found = next((each for each in discord.interactions.values() if each.token == token), None)
    if request.snowflake("application") != discord.application_id:
        raise DiscordError(10015)
    if found is None or discord.now() - found.created_at > discord.token_life_s:
        raise DiscordError(50027)
    if not found.is_acked:
        raise DiscordError(10015)
    return found


def create_followup(discord: Gateway, request: Request) -> Json:
    """Post a follow-up; the first after a deferral takes the place of "is thinking" and stays as visible as that."""
    interaction = _interaction(discord, request)
    waiting = interaction.original
    if interaction.response_type == DEFER and waiting is not None and waiting.is_loading and not waiting.is_deleted:
        _change(discord, waiting, _without_ephemeral(request.body))
        return discord.message_json(waiting)
    message = _post(discord, interaction, request.body, is_followup=True)
    interaction.followups.append(message)
    return discord.message_json(message)


def _without_ephemeral(body: Body) -> Body:
    fields = {name: value for name, value in body.fields.items() if name != "flags"}
    flags = int(body.fields.get("flags") or 0) & ~EPHEMERAL
    return Body(json=fields | ({"flags": flags} if flags else {}), files=body.files)


def _target(discord: Gateway, request: Request) -> Message:
    """Return the message of the path: @original or one that this interaction made; otherwise 10008."""
    interaction = _interaction(discord, request)
    name = request.parameters["message"]
    message = interaction.original
    if name != "@original":
        own = [*interaction.followups, *([interaction.original] if interaction.original else [])]
        message = next((each for each in own if str(each.id) == name), None)
    if message is None or message.is_deleted:
        raise DiscordError(10008)
    return message


def get_followup(discord: Gateway, request: Request) -> Json:
    return discord.message_json(_target(discord, request))


def edit_followup(discord: Gateway, request: Request) -> Json:
    message = _target(discord, request)
    _change(discord, message, request.body)
    return discord.message_json(message)


def delete_followup(discord: Gateway, request: Request) -> None:
    remove(discord, _target(discord, request))


HOOK = "/webhooks/{application}/{token}"
ROUTES = (
    Route("respond", "POST", "/interactions/{interaction}/{token}/callback", respond, needs_token=False),
    Route("create_followup", "POST", HOOK, create_followup, needs_token=False),
    Route("get_followup", "GET", HOOK + "/messages/{message}", get_followup, needs_token=False),
    Route("edit_followup", "PATCH", HOOK + "/messages/{message}", edit_followup, needs_token=False),
    Route("delete_followup", "DELETE", HOOK + "/messages/{message}", delete_followup, needs_token=False),
)
