"""What all methods of the Web API share: arguments, tokens, scopes, and the checks of what a message holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.fakes.slack.blocks import BlockError, as_object, check_blocks, with_ids
from tests.fakes.slack.world import Channel, Json, Message, SlackError, Token, World

MAX_TEXT_CHARS = (
    40_000  # https://docs.slack.dev/reference/methods/chat.postMessage: longer text is cut; here it is refused
)
MAX_UPDATE_TEXT_CHARS = 4_000  # https://docs.slack.dev/reference/methods/chat.update (msg_too_long)
MAX_MARKDOWN_TEXT_CHARS = 12_000  # markdown_text of postMessage and of each stream call
MAX_STREAM_CHARS = 3 * 12_000  # all of a stream; no number is documented, reports are of 12k to 39k
JSON_ARGUMENTS = {
    "blocks": "invalid_blocks_format",
    "metadata": "invalid_metadata_format",
    "view": "invalid_arguments",
    "files": "invalid_arguments",
    "chunks": "invalid_chunks",
    "loading_messages": "invalid_arguments",
}
SESSION_STATUSES = {"active", "processing", "suspended", "closed"}
# https://docs.slack.dev/apis/web-api/rate-limits: calls a minute and workspace of each method's tier
TIERS = {1: 1, 2: 20, 3: 50, 4: 100}
METHOD_TIERS = {
    "auth.test": 4,
    "apps.connections.open": 1,
    "chat.update": 3,
    "chat.delete": 3,
    "chat.postEphemeral": 4,
    "chat.startStream": 2,
    "chat.appendStream": 4,
    "chat.stopStream": 2,
    "conversations.history": 3,
    "conversations.replies": 3,
    "conversations.open": 3,
    "conversations.info": 3,
    "reactions.add": 3,
    "reactions.remove": 2,
    "usergroups.users.list": 2,
    "users.info": 4,
    "views.open": 4,
    "views.update": 4,
    "views.publish": 4,
    "agents.sessions.setStatus": 3,
    "files.getUploadURLExternal": 4,
    "files.completeUploadExternal": 4,
}


class Arguments(dict[str, Any]):
    """The arguments of a call, from its query, form or JSON body."""

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Arguments:
        """Decode the arguments that hold JSON, which forms carry as text."""
        parsed = cls(raw)
        for name, code in JSON_ARGUMENTS.items():
            if isinstance(value := raw.get(name), str):
                try:
                    parsed[name] = json.loads(value)
                except ValueError:
                    raise SlackError(code) from None
        return parsed

    def text(self, name: str, default: str = "") -> str:
        value = self.get(name, default)
        if value is None:
            return default
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise SlackError("invalid_arguments", response_metadata={"messages": [f"[ERROR] {name} must be a string"]})
        return str(value)

    def required(self, name: str) -> str:
        if not (value := self.text(name)):
            raise SlackError(
                "invalid_arguments", response_metadata={"messages": [f"[ERROR] missing required field: {name}"]}
            )
        return value

    def flag(self, name: str) -> bool:
        return str(self.get(name, "")).lower() in {"1", "true", "t", "yes"}

    def number(self, name: str, default: int) -> int:
        try:
            return int(self.get(name) or default)
        except (TypeError, ValueError):
            raise SlackError(f"invalid_{name}") from None


Handler = Callable[["WebApi", Arguments, Token], Json]


class Methods(dict[str, tuple[Handler, str]]):
    """Handlers by the name of their method, each with the scope that it needs."""

    def add(self, name: str, scope: str = "") -> Callable[[Handler], Handler]:
        """Register the decorated handler."""

        def register(handler: Handler) -> Handler:
            self[name] = (handler, scope)
            return handler

        return register


class WebApi:
    """Answers calls from the state of the world; `announce` is told what the app's subscription would tell it."""

    def __init__(self, world: World, announce: Callable[[str, Json], Any], *methods: Methods) -> None:
        self.methods = {name: entry for each in methods for name, entry in each.items()}
        self.world = world
        self.announce = announce
        self.max_stream_chars = MAX_STREAM_CHARS
        # Clients are known that expect `stopped_by_user` here; the documentation names neither.
        self.user_stop_error = "message_not_in_streaming_state"
        self.max_update_text_chars = MAX_UPDATE_TEXT_CHARS
        self.max_history_items = 999
        self.takes_markdown = True  # False: a workspace that does not have the markdown block
        self.is_agent = True  # False: agents.sessions.setStatus is refused, the app is not declared an agent
        self.echo = True  # tell the app of its own messages, as message.* subscriptions do
        self.client = ("client-test", "client-secret-test")
        self.rotates_tokens = True
        self.token_life_s = 43_200  # https://docs.slack.dev/authentication/using-token-rotation
        self.installs_org_wide = False  # an installation is for all workspaces of the team's enterprise
        self.oauth_codes: dict[str, tuple[str, str]] = {}  # code -> (team, user)
        self.refresh_tokens: dict[str, str] = {}  # refresh token -> team
        self.tickets: set[str] = set()

    def answer(self, name: str, arguments: Arguments, token: Token | None) -> Json:
        """Return the answer of a call whose token was accepted.

        Raises:
            SlackError: Slack refuses it.
        """
        if name not in self.methods:
            raise SlackError("unknown_method", req_method=name)
        handler, scope = self.methods[name]
        if name == "oauth.v2.access":
            return handler(self, arguments, Token(value="", team="", kind="bot", scopes=()))
        if token is None:
            raise SlackError("not_authed")
        if (token.kind == "app") != (name == "apps.connections.open"):
            raise SlackError("not_allowed_token_type")
        self.need(token, scope)
        self.world.expire_streams()
        return {"ok": True} | handler(self, arguments, token)

    def accept_token(self, value: str) -> Token | None:
        """Return the token of a call: https://docs.slack.dev/authentication/tokens, None where none was sent.

        Raises:
            SlackError: invalid_auth, token_revoked or token_expired.
        """
        if not value:
            return None
        token = self.world.tokens.get(value)
        if token is None:
            raise SlackError("invalid_auth")
        if token.is_revoked:
            raise SlackError("token_revoked")
        if token.expires_at is not None and token.expires_at <= self.world.now():
            raise SlackError("token_expired")
        return token

    def need(self, token: Token, scope: str) -> None:
        if scope and scope not in token.scopes:
            raise SlackError("missing_scope", needed=scope, provided=",".join(token.scopes))

    # --- what handlers share

    def find_channel(self, channel: str, token: Token, *, must_be_member: bool = True) -> Channel:
        """Return the channel as this token sees it; private ones that the bot is not in do not exist for it."""
        if channel.startswith("U") and channel in self.world.users:
            channel = self.world.dm(channel)  # a user id opens the DM, says chat.postMessage
        found = self.world.channels.get(channel)
        bot = self.world.teams[token.team].bot_user
        if found is None or found.team != token.team or (found.kind != "channel" and bot not in found.members):
            raise SlackError("channel_not_found")
        if must_be_member and bot not in found.members:
            raise SlackError("not_in_channel")
        return found

    def find_writable(self, arguments: Arguments, token: Token, name: str = "channel") -> Channel:
        channel = self.find_channel(arguments.required(name), token)
        if channel.is_archived:
            raise SlackError("is_archived")
        return channel

    def check_thread(self, channel: Channel, thread_ts: str) -> str | None:
        """Return the root of the thread to post into; a reply's ts stands for its thread."""
        if not thread_ts:
            return None
        if (parent := channel.messages.get(thread_ts)) is None:
            raise SlackError("thread_not_found")
        return parent.root

    def content(self, arguments: Arguments, *, max_text_chars: int = MAX_TEXT_CHARS) -> tuple[str, list[Json]]:
        """Return the checked text and blocks of a message."""
        text, blocks = arguments.text("text"), arguments.get("blocks") or list[Json]()
        if markdown := arguments.text("markdown_text"):
            if text or blocks:
                raise SlackError("markdown_text_conflict")
            self.check_markdown(markdown)
            blocks = [{"type": "markdown", "text": markdown}]
        elif not text and not blocks and not arguments.get("attachments"):
            raise SlackError("no_text")
        if len(text) > max_text_chars:
            raise SlackError("msg_too_long")
        return text, self.checked_blocks(blocks)

    def checked_blocks(self, blocks: Any) -> list[Json]:
        if not self.takes_markdown and any(block["type"] == "markdown" for block in blocks):
            raise SlackError("invalid_blocks")
        try:
            check_blocks(blocks)
        except BlockError as error:
            raise refusal(error) from None
        return with_ids(blocks, self.world.next_id)

    def check_markdown(self, text: str) -> None:
        if len(text) > MAX_MARKDOWN_TEXT_CHARS:
            raise SlackError("msg_too_long")

    def metadata(self, arguments: Arguments) -> Json | None:
        """https://docs.slack.dev/messaging/message-metadata: a non-empty event_type and an event_payload object."""
        if not (given := arguments.get("metadata")):
            return None
        metadata = as_object(given)
        kind = metadata.get("event_type") if metadata else None
        if (
            metadata is None
            or not isinstance(kind, str)
            or not kind
            or as_object(metadata.get("event_payload")) is None
        ):
            raise SlackError("invalid_metadata_format")
        return metadata

    def own_message(self, channel: Channel, ts: str, token: Token, *, otherwise: str) -> Message:
        message = channel.messages.get(ts)
        if message is None:
            raise SlackError("message_not_found")
        if message.user != self.world.teams[token.team].bot_user:
            raise SlackError(otherwise)
        return message

    def bot_message(self, channel: Channel, token: Token, **fields: Any) -> Message:
        team = self.world.teams[token.team]
        return Message(
            channel=channel.id,
            ts=self.world.next_ts(),
            user=team.bot_user,
            bot_id=team.bot_id,
            team=team.id,
            **fields,
        )

    def tell(self, message: Message, event: Json | None = None) -> None:
        """Tell the app of its own message, or of the change to it."""
        if self.echo:
            self.announce(message.channel, event or self.world.message_json(message))


def refusal(error: BlockError) -> SlackError:
    """Return the refusal of a call whose blocks or view are not valid, with Slack's list of problems."""
    return SlackError(error.code, errors=error.problems, response_metadata={"messages": error.problems})
