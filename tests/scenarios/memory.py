"""What the bot has stored of a conversation, and a conversation that it has stored before it starts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.messages import AssistantMessage, Message, Usage, UserMessage
from bot.domain.turns import Post
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite


async def stored_messages(store: Store, conversation: ConversationKey) -> list[Message]:
    """Return the conversation's messages in the store."""
    return [entry.message for entry in await store.transcript(conversation, limit=1_000)]


async def stored_answers(store: Store, conversation: ConversationKey) -> list[str]:
    """Return the text of each stored answer: all that the model said in its turn."""
    texts: dict[int, list[str]] = {}
    for entry in await store.transcript(conversation, limit=1_000):
        if isinstance(entry.message, AssistantMessage) and entry.message.text:
            texts.setdefault(entry.turn_id, []).append(entry.message.text)
    return ["\n\n".join(each) for each in texts.values()]


async def remember(home: Path, conversation: ConversationKey, *, questions: dict[str, str], author_id: str) -> None:
    """Put a conversation into the memory of a bot that has not started: Ada asked, the bot repeated each question.

    `questions` are the texts by their event keys.
    """
    platform = conversation.platform
    async with open_sqlite(home / "toolbridge.db") as store:
        await store.heartbeat("before", lease_s=60.0)
        for event_key, text in questions.items():
            event = MessageReceived(
                conversation=conversation,
                event_key=event_key,
                author_id=author_id,
                author_name="Ada",
                text=text,
                sent_at=datetime.now(UTC),
            )
            await store.accept(event, worker="before", max_waiting=1)
            (turn,) = await store.claim("before", serves=(f"{platform}/",), limit=1)
            post = Post(key=event_key, conversation=conversation, turn_id=turn.lease.turn_id, part=0, text=text)
            messages = (UserMessage(text=text, speaker="Ada"), AssistantMessage(text=text))
            await store.reply(turn.lease, state="answered", messages=messages, posts=(post,), usage=Usage())
            await store.mark_posting(turn.lease, 0)
            await store.mark_posted(turn.lease, 0, reference="1.5", ends_turn=True)
        await store.release("before")
