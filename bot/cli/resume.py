"""Which conversation `toolbridge chat --resume` goes on with."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from adapters.registry import terminal_conversation
from bot.cli.history import UnknownConversationError, conversation_key, unknown_conversation
from bot.cli.servers import interruptible
from bot.database import open_database
from bot.domain.errors import SettingsError
from bot.ports.conversation_store import ConversationStore, ConversationSummary
from bot.settings import Settings
from bot.text.counting import count
from bot.text.terminal import flat

MAX_LISTED = 20
TITLE_CHARS = 60


async def chosen_conversation(settings: Settings, name: str, *, asks: bool) -> str:
    """Return the name of the terminal's conversation of that key or name; without one, that which the person picks.

    Where they are not to be asked, or there is only one, that is the last one.

    Raises:
        SettingsError: It belongs to another platform, or the person picked none.
        UnknownConversationError: There is none, or none of that name.
    """
    async with open_database(settings) as store:
        if name:
            return await _named(store, name)
        own = terminal_conversation("")
        prefix = f"{own.platform}/{own.space}/"
        found = await store.conversations(limit=MAX_LISTED, prefix=prefix)
    if not found:
        raise UnknownConversationError("There are no conversations yet. Start one with `toolbridge chat`.")
    picked = _pick(found) if asks and len(found) > 1 else found[0]
    return picked.conversation.channel


async def _named(store: ConversationStore, name: str) -> str:
    conversation = conversation_key(name)
    if conversation.platform != terminal_conversation("").platform:
        raise SettingsError(
            f"{flat(name)} is no conversation of a terminal. `toolbridge history {flat(name)}` prints it."
        )
    if not await store.transcript(conversation, limit=1):
        raise unknown_conversation(name)
    return conversation.channel


def _pick(found: Sequence[ConversationSummary]) -> ConversationSummary:
    """Ask which of them; Enter takes the first, which is the last one used. Raises SettingsError for none."""
    for number, item in enumerate(found, start=1):
        print(_line(number, item), file=sys.stderr)
    with interruptible():
        while True:
            print("Which one? [1] ", end="", file=sys.stderr, flush=True)
            if not (typed := sys.stdin.readline()):
                raise SettingsError("No conversation was chosen.")
            picked = typed.strip() or "1"
            if picked.isdecimal() and len(picked) < 4 and 1 <= int(picked) <= len(found):
                return found[int(picked) - 1]
            print(f"Type a number from 1 to {len(found)}.", file=sys.stderr)


def _line(number: int, item: ConversationSummary) -> str:
    at = item.last_at.astimezone()
    title = flat(item.title)
    short = title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 3]}..."
    about = f"{at:%Y-%m-%d %H:%M}  {count(item.message_count, 'message')}"
    return f"{number:3}. {flat(item.conversation.channel)}  {about}  {short}".rstrip()
