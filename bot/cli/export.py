"""`toolbridge export`: prints a conversation as it happened, as Markdown or JSON, with secrets removed."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict

from bot.cli.happenings import Happening, happenings
from bot.cli.history import conversation_key, unknown_conversation
from bot.cli.start import start
from bot.database import open_database
from bot.domain.events import ConversationKey
from bot.text.lines import flat, literal
from bot.text.terminal import visible_json


async def export(arguments: Namespace) -> int:
    """Print the conversation.

    Raises:
        UnknownConversationError: Nothing is stored under that name.
    """
    conversation = conversation_key(arguments.conversation)
    async with open_database(start(arguments, needs_model=False)) as store:
        turns = await store.timeline(conversation)
    if not turns:
        raise unknown_conversation(arguments.conversation)
    happened = [one for turn in turns for one in happenings(turn)]
    print(as_json(conversation, happened) if arguments.format == "json" else as_markdown(conversation, happened))
    return 0


# --- how it is printed ---


def as_json(conversation: ConversationKey, happened: Sequence[Happening]) -> str:
    """Return one JSON object, in which nothing steers a terminal."""
    document = {"conversation": str(conversation), "happened": [asdict(one) for one in happened]}
    return visible_json(json.dumps(document, indent=2, ensure_ascii=False))


def as_markdown(conversation: ConversationKey, happened: Sequence[Happening]) -> str:
    """Return Markdown in which no one's words are markup: they are in blocks that nothing in them can end."""
    parts = [f"# Conversation {_literal(str(conversation))}", "Times are in UTC. Secrets of known shapes are removed."]
    turn = 0
    for one in happened:
        if one.turn != turn:
            turn = one.turn
            parts.append(f"## Turn {turn}")
        parts.append(_line(one))
        if one.text:
            parts.append(_block(one.text))
    return "\n\n".join(parts)


def _line(one: Happening) -> str:
    name, by = _literal(one.name), _literal(one.by)
    who = f"{name} ({by})" if name and by else name or by
    call = " ".join(filter(None, [_literal(one.tool), f"(call {_literal(one.call)})" if one.call else ""]))
    facts = [
        f"**{one.kind}**",
        who and f"by {who}",
        call,
        one.outcome and f"→ {_literal(one.outcome)}",
        f"files: {_literal(', '.join(one.files))}" if one.files else "",
    ]
    return " · ".join(filter(None, [one.at or "time not known", *facts]))


def _literal(text: str) -> str:
    return literal(flat(text)).replace("://", ":\\//")  # no link by itself either


def _block(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
