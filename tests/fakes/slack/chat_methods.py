"""The chat methods: messages, streams, and what a response_url takes.

The rules of a method are those of its page, https://docs.slack.dev/reference/methods/METHOD.
"""

from __future__ import annotations

from tests.fakes.slack.blocks import as_objects
from tests.fakes.slack.web_api import MAX_MARKDOWN_TEXT_CHARS, SESSION_STATUSES, Arguments, Methods, WebApi
from tests.fakes.slack.world import Channel, Json, Message, ResponseUrl, SlackError, Token, World

MAX_CHUNK_TEXT_CHARS = 256  # https://docs.slack.dev/reference/methods/chat.appendStream: task and plan texts
METHODS = Methods()


# --- messages


@METHODS.add("chat.postMessage", "chat:write")
def chat_post_message(api: WebApi, arguments: Arguments, token: Token) -> Json:
    channel = api.find_writable(arguments, token)
    text, blocks = api.content(arguments)
    message = api.bot_message(
        channel,
        token,
        text=text,
        blocks=blocks,
        metadata=api.metadata(arguments),
        thread_ts=api.check_thread(channel, arguments.text("thread_ts")),
        is_broadcast=arguments.flag("reply_broadcast"),
    )
    api.world.store(message)
    api.tell(message)
    shape = api.world.message_json(message, with_metadata=True)
    return {"channel": channel.id, "ts": message.ts, "message": shape}


@METHODS.add("chat.update", "chat:write")
def chat_update(api: WebApi, arguments: Arguments, token: Token) -> Json:
    """Replaces the content; metadata stays unless given, `{}` removes it. A message that streams cannot be changed."""
    channel = api.find_writable(arguments, token)
    message = api.own_message(channel, arguments.required("ts"), token, otherwise="cant_update_message")
    if message.is_streaming:
        raise SlackError("streaming_state_conflict")
    text, blocks = api.content(arguments, max_text_chars=api.max_update_text_chars)
    metadata = api.metadata(arguments)
    previous = api.world.message_json(message)
    message.text, message.blocks, message.streamed, message.chunks = text, blocks, None, []
    message.metadata = metadata if "metadata" in arguments else message.metadata
    message.edits += 1
    if not blocks:  # the page says: with blocks the message is not marked as edited
        message.edited = {"user": message.user, "ts": api.world.next_ts()}
    api.world.touch()
    api.tell(message, changed_event(api.world, message, previous))
    return {
        "channel": channel.id,
        "ts": message.ts,
        "text": text,
        "message": api.world.message_json(message, with_metadata=True),
    }


def changed_event(world: World, message: Message, previous: Json) -> Json:
    """https://docs.slack.dev/reference/events/message/message_changed."""
    return {
        "type": "message",
        "subtype": "message_changed",
        "hidden": True,
        "ts": world.next_ts(),
        "message": world.message_json(message),
        "previous_message": previous,
    }


def deleted_event(world: World, message: Message) -> Json:
    """https://docs.slack.dev/reference/events/message/message_deleted."""
    return {
        "type": "message",
        "subtype": "message_deleted",
        "hidden": True,
        "ts": world.next_ts(),
        "deleted_ts": message.ts,
        "previous_message": world.message_json(message),
    }


@METHODS.add("chat.postEphemeral", "chat:write")
def chat_post_ephemeral(api: WebApi, arguments: Arguments, token: Token) -> Json:
    channel = api.find_writable(arguments, token)
    user = arguments.required("user")
    if user not in channel.members:
        raise SlackError("user_not_in_channel")
    text, blocks = api.content(arguments)
    message = api.bot_message(
        channel,
        token,
        text=text,
        blocks=blocks,
        thread_ts=api.check_thread(channel, arguments.text("thread_ts")),
        ephemeral_to=user,
    )
    api.world.store(message)
    return {"message_ts": message.ts}


@METHODS.add("chat.delete", "chat:write")
def chat_delete(api: WebApi, arguments: Arguments, token: Token) -> Json:
    channel = api.find_writable(arguments, token)
    message = api.own_message(channel, arguments.required("ts"), token, otherwise="cant_delete_message")
    if message.is_streaming:
        raise SlackError("cant_delete_message")
    event = deleted_event(api.world, message)
    api.world.remove(message)
    api.tell(message, event)
    return {"channel": channel.id, "ts": message.ts}


# --- streams


@METHODS.add("chat.startStream", "chat:write")
def chat_start_stream(api: WebApi, arguments: Arguments, token: Token) -> Json:
    channel = api.find_writable(arguments, token)
    root = api.check_thread(channel, arguments.required("thread_ts"))
    if channel.kind != "im":
        for name in ("recipient_team_id", "recipient_user_id"):
            if not arguments.text(name):
                raise SlackError(f"missing_{name}")
        recipient = api.world.users.get(arguments.text("recipient_user_id"))
        if recipient is None:
            raise SlackError("user_not_found")
        if arguments.text("recipient_team_id") != recipient.team:  # the team of the user who receives the stream
            raise SlackError("team_not_found")  # https://github.com/vercel/chat/issues/313
    if arguments.text("task_display_mode", "timeline") not in {"timeline", "plan"}:
        raise SlackError("invalid_arguments")
    message = api.bot_message(channel, token, thread_ts=root, streamed="", stream_started_at=api.world.now())
    message.is_streaming = True
    _append(api, message, arguments)
    api.world.store(message)
    api.tell(message)
    return {"channel": channel.id, "ts": message.ts}


@METHODS.add("chat.appendStream", "chat:write")
def chat_append_stream(api: WebApi, arguments: Arguments, token: Token) -> Json:
    channel, message = _streaming(api, arguments, token)
    if not arguments.text("markdown_text") and not arguments.get("chunks"):
        raise SlackError("no_text")
    _append(api, message, arguments)
    api.world.touch()
    return {"channel": channel.id, "ts": message.ts}


@METHODS.add("chat.stopStream", "chat:write")
def chat_stop_stream(api: WebApi, arguments: Arguments, token: Token) -> Json:
    channel, message = _streaming(api, arguments, token)
    blocks = api.checked_blocks(arguments.get("blocks") or list[Json]())
    metadata = api.metadata(arguments)
    status = arguments.text("session_status")
    if status and status not in SESSION_STATUSES:
        raise SlackError("invalid_arguments")
    previous = api.world.message_json(message)
    _append(api, message, arguments)
    message.blocks = [*message.blocks, *blocks]
    message.metadata = metadata
    api.world.end_stream(message, by="app")
    if status and api.is_agent:
        api.world.sessions[channel.id, message.root] = status
    api.world.touch()
    api.tell(message, changed_event(api.world, message, previous))
    shape = api.world.message_json(message, with_metadata=True)
    return {"channel": channel.id, "ts": message.ts, "message": shape}


def _streaming(api: WebApi, arguments: Arguments, token: Token) -> tuple[Channel, Message]:
    channel = api.find_writable(arguments, token)
    message = api.own_message(channel, arguments.required("ts"), token, otherwise="message_not_owned_by_app")
    if not message.is_streaming:
        raise SlackError(api.user_stop_error if message.stream_ended_by == "user" else "message_not_in_streaming_state")
    return channel, message


def _append(api: WebApi, message: Message, arguments: Arguments) -> None:
    """Add markdown_text or chunks to the stream, all or nothing."""
    text, chunks = arguments.text("markdown_text"), _chunks(arguments)
    if text and chunks:
        raise SlackError(
            "invalid_arguments", response_metadata={"messages": ["markdown_text and chunks exclude each other"]}
        )
    api.check_markdown(text)
    blocks: list[Json] = []
    for chunk in chunks:
        if chunk["type"] == "markdown_text":
            text += chunk["text"]
        elif chunk["type"] == "blocks":
            blocks += api.checked_blocks(chunk.get("blocks"))
    if len(message.streamed or "") + len(text) > api.max_stream_chars:
        raise SlackError("msg_too_long")
    message.streamed = (message.streamed or "") + text
    message.blocks += blocks
    message.chunks += [chunk for chunk in chunks if chunk["type"] not in {"markdown_text", "blocks"}]


def _chunks(arguments: Arguments) -> list[Json]:
    given = arguments.get("chunks") or list[Json]()
    chunks = as_objects(given)
    if chunks is None:
        raise SlackError("invalid_chunks")
    for chunk in chunks:
        _check_chunk(chunk)
    return chunks


def _check_chunk(chunk: Json) -> None:
    needs = {
        "markdown_text": ["text"],
        "task_update": ["id", "title", "status"],
        "plan_update": ["title"],
        "blocks": [],
    }
    kind = chunk.get("type")
    if kind not in needs:
        raise SlackError("invalid_chunks")
    if any(not isinstance(chunk.get(name), str) for name in needs[kind]):
        raise SlackError("invalid_chunks")
    if kind == "task_update" and chunk["status"] not in {"pending", "in_progress", "complete", "error"}:
        raise SlackError("invalid_chunks")
    texts = [chunk.get(name) or "" for name in ("title", "details", "output")] if kind != "markdown_text" else []
    if any(isinstance(text, str) and len(text) > MAX_CHUNK_TEXT_CHARS for text in texts):
        raise SlackError("invalid_chunks")
    if kind == "markdown_text" and len(chunk["text"]) > MAX_MARKDOWN_TEXT_CHARS:
        raise SlackError("msg_too_long")


# --- response_url


def answer_response_url(api: WebApi, url: ResponseUrl, body: Json) -> None:
    """Post, replace or delete: https://docs.slack.dev/interactivity/handling-user-interaction.

    Raises:
        SlackError: used_url after 5 uses, expired_url after 30 minutes, or what chat.postMessage would refuse.
    """
    if api.world.now() - url.made_at > 1_800:
        raise SlackError("expired_url")
    if url.uses >= 5:
        raise SlackError("used_url")
    team = api.world.teams[api.world.channels[url.channel].team]
    token = Token(value="", team=team.id, kind="bot", scopes=())
    arguments = Arguments.parse(body)
    if arguments.flag("delete_original") or arguments.flag("replace_original"):
        _change_original(api, url, arguments)
    else:
        text, blocks = api.content(arguments)
        is_public = arguments.text("response_type") == "in_channel"
        message = api.bot_message(
            api.world.channels[url.channel],
            token,
            text=text,
            blocks=blocks,
            thread_ts=arguments.text("thread_ts") or url.thread_ts,
            ephemeral_to=None if is_public else url.user,
        )
        api.world.store(message)
        url.message_ts = url.message_ts or message.ts  # what replace_original means after a command
        if is_public:
            api.tell(message)
    url.uses += 1
    api.world.touch()


def _change_original(api: WebApi, url: ResponseUrl, arguments: Arguments) -> None:
    if url.message_ts is None:
        raise SlackError("no_original_message")
    message = api.world.message(url.channel, url.message_ts)
    if arguments.flag("delete_original"):
        api.world.remove(message)
        return
    message.text, message.blocks = api.content(arguments)
    message.edits += 1
