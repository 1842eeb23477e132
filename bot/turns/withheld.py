"""Messages that a content filter refused as questions: they do not come back to the model as what others point at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.domain.events import ConversationKey, Earlier, MessageReceived, Quoted
from bot.domain.messages import UserMessage
from bot.ports.store import Store
from bot.text.cleaning import clean

LOOK_BACK = 200  # messages of the conversation among which refused questions are looked for
REFUSED = "all of it, which the model's content filter refused when it was asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """The refused questions of one conversation: the ids of their turns, and their words."""

    store: Store
    event: MessageReceived  # the question that is being prepared
    turns: frozenset[int] = frozenset()
    words: frozenset[str] = frozenset()

    async def emptied(self, messages: Sequence[Quoted]) -> tuple[Quoted, ...]:
        """Return the messages; of those that were refused, only who wrote them and when, and that they are left out."""
        return tuple([_emptied(one) if await self._is_refused(one) else one for one in messages])

    async def emptied_earlier(self, earlier: Earlier) -> tuple[Earlier, str]:
        """Return the earlier messages likewise, and a note for people where one was left out, otherwise ""."""
        kept = await self.emptied(earlier.messages)
        left_out = sum(one is not before for one, before in zip(kept, earlier.messages, strict=True))
        return replace(earlier, messages=kept), _note(left_out)

    async def _is_refused(self, one: Quoted) -> bool:
        if not self.turns or one.author_kind == "self":
            return False
        said = _plain(one.text)
        # A platform may show the mention of the bot, with which a question begins, in other words.
        if said in self.words or (said.startswith("@") and any(said.endswith(f" {words}") for words in self.words)):
            return True
        return bool(one.reference) and await self.store.find(self._key_of(one)) in self.turns

    def _key_of(self, one: Quoted) -> str:
        """Return the event key that the message would have as a question in the same place.

        Keys of one place differ in their last part, the platform's reference of the message.
        """
        return f"{self.event.event_key.rpartition(':')[0]}:{one.reference}"


async def withheld_questions(store: Store, event: MessageReceived) -> Withheld:
    """Return the refused questions in the conversation of this one."""
    refused = await _refused(store, event.conversation)
    words = frozenset(_plain(message.text) for message in refused.values()) - {""}
    return Withheld(store=store, event=event, turns=frozenset(refused), words=words)


async def _refused(store: Store, conversation: ConversationKey) -> dict[int, UserMessage]:
    entries = await store.transcript(conversation, limit=LOOK_BACK)
    questions = ((entry.turn_id, entry.message) for entry in entries)
    return {turn: message for turn, message in questions if isinstance(message, UserMessage) and message.is_withheld}


def _emptied(one: Quoted) -> Quoted:
    return replace(one, text="", files=(), whole_chars=0, unread=(REFUSED,))


def _note(left_out: int) -> str:
    if not left_out:
        return ""
    which = "One earlier message of this thread was" if left_out == 1 else f"{left_out} earlier messages were"
    return f"{which} left out: the model's content filter had refused what was asked there."


def _plain(text: str) -> str:
    return " ".join(clean(text).split()).casefold()
