"""`toolbridge history`: lists the stored conversations, prints one of them, or deletes it."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adapters.registry import terminal_conversation, terminal_user
from bot.cli.output import print_json, report
from bot.cli.start import start
from bot.composition.storage import open_files
from bot.database import open_database
from bot.domain.audit import AuditEntry
from bot.domain.errors import BotError, SettingsError
from bot.domain.events import ConversationKey
from bot.domain.messages import AssistantMessage, ToolMessage, UserMessage
from bot.intake.commands.phrases import undeleted
from bot.keeping.files import KeptFiles
from bot.ports.conversation_store import ConversationStore, History, HistoryEntry
from bot.ports.store import Store
from bot.text.cleaning import clean
from bot.text.counting import count
from bot.text.lines import flat
from bot.text.marks import plain_id, plain_name
from bot.text.redaction import redact
from bot.text.terminal import visible


class UnknownConversationError(BotError):
    """The store has no messages under that name."""


async def history(arguments: Namespace) -> int:
    """Print the most recent conversations, or the last messages of `arguments.conversation`; or delete one.

    Raises:
        SettingsError: The arguments do not fit together.
        UnknownConversationError: Nothing is stored under that name.
    """
    if arguments.delete is None and arguments.files:
        raise SettingsError("--files goes with --delete KEY: it deletes the conversation's saved files as well.")
    if arguments.delete is not None and arguments.conversation is not None:
        raise SettingsError("--delete takes the conversation itself: `toolbridge history --delete KEY`.")
    if arguments.quiet and arguments.conversation is not None:
        raise SettingsError("--quiet prints the keys of conversations. Leave it out to print what was said in one.")
    settings = start(arguments, needs_model=False)
    async with open_database(settings) as store:
        if arguments.delete is not None:
            files = await open_files(settings, store)
            gone = await delete(store, files, arguments.delete, with_saved=arguments.files)
            report(arguments, gone.as_json, [gone.sentence])
            return 0
        if arguments.json:
            print_json(await as_json(store, arguments.conversation, limit=arguments.limit))
            return 0
        if arguments.quiet:
            lines = [str(item.conversation) for item in await store.conversations(limit=arguments.limit)]
        elif arguments.conversation is None:
            lines = await conversation_lines(store, limit=arguments.limit)
        else:
            lines = await transcript_lines(store, arguments.conversation, limit=arguments.limit)
    if lines:
        print(visible("\n".join(lines)))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What went of a conversation, for people and for scripts."""

    sentence: str
    as_json: Mapping[str, object]


async def delete(store: Store, files: KeptFiles, name: str, *, with_saved: bool) -> Deleted:
    """Delete all that is kept of a conversation's ended turns; return what went.

    Raises:
        UnknownConversationError: Nothing is stored under that name.
    """
    conversation = conversation_key(name)
    turns, saved = await store.kept_events(conversation), await files.count_saved(conversation)
    if not turns and not saved and not await store.timeline(conversation):
        raise unknown_conversation(name)
    gone = await store.clear(conversation)
    files_gone = await files.forget(conversation, turns, with_saved=with_saved)
    await store.audit([_deletion(conversation)])
    await store.scrub()
    said = [f"{count(gone, 'message')} of {conversation} deleted."]
    if files_gone.saved:
        said.append(f"{count(files_gone.saved, 'saved file')} deleted.")
    elif saved and not with_saved:
        said.append(f"{count(saved, 'saved file')} kept: --files deletes them as well.")
    said.extend(filter(None, [undeleted(files_gone.undeleted)]))
    is_open = bool(await store.participants(conversation, is_open=True))
    if is_open:
        said.append("What is not answered yet was kept.")
    told = {
        "conversation": str(conversation),
        "messages": gone,
        "saved_files": files_gone.saved,
        "saved_files_kept": 0 if with_saved else saved,
        "undeleted_files": files_gone.undeleted,
        "has_open_questions": is_open,
    }
    return Deleted(sentence=" ".join(said), as_json=told)


def _deletion(conversation: ConversationKey) -> AuditEntry:
    by = f"console:{terminal_user()}"
    return AuditEntry(kind="act", at=time.time(), person=by, place=conversation.place, outcome="history deleted")


async def conversation_lines(store: ConversationStore, *, limit: int) -> list[str]:
    """Return a line for each of the most recent conversations: when, how many messages, its key."""
    summaries = await store.conversations(limit=limit)
    if not summaries:
        return ["There are no conversations yet. Start one with `toolbridge chat`."]
    return [
        f"{item.last_at:%Y-%m-%d %H:%M}  {count(item.message_count, 'message'):>15}  {item.conversation}"
        for item in summaries
    ]


async def transcript_lines(store: ConversationStore, name: str, *, limit: int) -> list[str]:
    """Return the last `limit` messages of a conversation, named by its key, or by its name in the terminal.

    Where the model knows older ones only by its summary, that is between them.

    Raises:
        UnknownConversationError: Nothing is stored under that name.
    """
    conversation = conversation_key(name)
    entries = await store.transcript(conversation, limit=limit)
    if not entries:
        raise unknown_conversation(name)
    known = await store.history(conversation)
    older = sum(entry.recall != "words" for entry in entries)  # they are the first ones
    between = _border(known, has_older=older > 0)
    before, after = ([line for entry in part for line in _lines(entry)] for part in (entries[:older], entries[older:]))
    return [*before, *between, *after]


async def as_json(store: ConversationStore, name: str | None, *, limit: int) -> object:
    """Return the most recent conversations, or the last messages of one, for scripts.

    Raises:
        UnknownConversationError: Nothing is stored under that name.
    """
    if name is None:
        return [
            {
                "conversation": str(item.conversation),
                "messages": item.message_count,
                "last_at": item.last_at.isoformat(),
            }
            for item in await store.conversations(limit=limit)
        ]
    conversation = conversation_key(name)
    if not (entries := await store.transcript(conversation, limit=limit)):
        raise unknown_conversation(name)
    known = await store.history(conversation)
    messages = [_message(entry) for entry in entries]
    return {"conversation": str(conversation), "summary": redact(known.summary), "messages": messages}


def _message(entry: HistoryEntry) -> dict[str, object]:
    shared = {"at": entry.at.isoformat(), "turn": entry.turn_id, "known_by": entry.recall}
    match entry.message:
        case UserMessage(text=text, attached=attached, speaker=speaker, speaker_id=speaker_id):
            who = {"speaker": speaker, "speaker_id": speaker_id} if speaker is not None else {}
            return {**shared, "kind": "question", "text": text, "attached": attached, **who}
        case AssistantMessage(text=text, tool_calls=calls):
            asked = [{"id": call.id, "tool": call.name, "arguments": redact(call.arguments)} for call in calls]
            return {**shared, "kind": "answer", "text": text, "calls": asked}
        case ToolMessage(text=text, call_id=call_id):
            return {**shared, "kind": "result", "call": call_id, "text": redact(text)}


def _border(known: History, *, has_older: bool) -> Iterator[str]:
    if known.summary:
        yield "--- the model knows what came before only by its summary:"
        yield from (f"    {redact(clean(line))}" for line in known.summary.splitlines())
        yield "---"
    elif has_older:
        yield "--- the model no longer knows what came before ---"


def unknown_conversation(name: str) -> UnknownConversationError:
    """Return the error for a name under which nothing is stored."""
    return UnknownConversationError(
        f"No messages are stored for {name!r}. `toolbridge history` lists the conversations."
    )


def conversation_key(name: str) -> ConversationKey:
    """Return the conversation of that key, or of that name in the terminal."""
    try:
        return ConversationKey.parse(name)
    except ValueError:
        return terminal_conversation(name)


def _lines(entry: HistoryEntry) -> Iterator[str]:
    at = f"{entry.at:%Y-%m-%d %H:%M:%S}"
    match entry.message:
        case UserMessage(text=text, attached=attached):
            words = "\n\n".join(filter(None, [text, attached]))
            yield f"{at}  {_who(entry.message)}: {_indented(words)}"
        case AssistantMessage(text=text, tool_calls=calls):
            if text:
                yield f"{at}  bot: {_indented(text)}"
            for call in calls:
                yield f"{at}    calls {flat(call.name)} {redact(_indented(call.arguments))}"
        case ToolMessage(text=text):
            yield f"{at}    result {redact(_indented(text))}"


def _who(message: UserMessage) -> str:
    """Return the speaker as the terminal shows them, with the id where several people write."""
    if message.speaker is None:
        return "you"
    name = plain_name(message.speaker) or "someone"
    return f"{name} ({plain_id(message.speaker_id)})" if message.speaker_id else name


def _indented(text: str) -> str:
    """Return the text with its further lines below the first one, so that none looks like another message."""
    return clean(text).replace("\n", "\n    ")
