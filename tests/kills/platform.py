"""A chat platform in files, which several lives may share, at once or one after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zlib import crc32

from bot.domain.answers import Decided, Done
from bot.domain.asks import AskPost
from bot.domain.budgets import Notice
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, DecisionMade, Earlier, MessageReceived, SharedFile
from bot.domain.people import Actor
from bot.domain.turns import Post, TurnView
from bot.intake.inbox import Inbox
from bot.ports.platform import Found
from bot.ports.rights import Memberships
from bot.ports.store import Store
from tests.fakes.ports import message
from tests.kills.script import Question, Script
from tests.kills.world import Visible, VisibleAsk, World

APPROVERS = ("U2", "U3")  # of each call that waits, both of them
OTHER_ARGUMENTS = "0" * 64  # the digest of arguments that nobody asked for
POLL_S = 0.01  # how often it is looked for what other processes show
OWN_ASK_S = 0.5  # before someone presses the button of an ask at the process that showed it


@dataclass(frozen=True, slots=True)
class Seat:
    """Which deliveries a process gets: all where it is alone, else its part, and some that another one gets too."""

    number: int = 0
    of: int = 1

    def takes(self, question: Question, script: Script) -> bool:
        """Return whether the question is delivered here. Questions of one conversation go to different processes."""
        questions = script.of(question.channel)
        place = (ord(question.channel) + questions.index(question)) % self.of
        is_twice = crc32(question.key.encode()) % 3 == 0
        return self.number == place or (is_twice and self.number == (place + 1) % self.of)


ALONE = Seat()


class FilePlatform:
    """Keeps in files what it shows and what was acknowledged; what was not, it delivers again in the next life."""

    name = "fake"
    serves = "fake/"

    def __init__(self, world: World, script: Script, reach: Callable[[str], None], *, seat: Seat = ALONE) -> None:
        self._world = world
        self._script = script
        self._reach = reach
        self._seat = seat
        self._seen = {visible.question for visible in world.visible()}
        self._asks = {ask.key: ask for ask in world.asks()}
        self._asked_at: dict[int, float] = {}
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Not used: `take_all` hands over what is to be delivered in this life."""

    async def take_all(self, inbox: Inbox) -> None:
        """Return when all messages that are delivered here are acknowledged."""
        taken = set(self._world.acknowledged(self._seat.number))
        async with asyncio.TaskGroup() as group:
            for channel in self._script.channels:
                questions = [question for question in self._script.of(channel) if question.key not in taken]
                here = [question for question in questions if self._seat.takes(question, self._script)]
                group.create_task(self._deliver(here, inbox))

    async def look(self) -> None:
        """Look for what the other processes show, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            async with self._changed:
                self._seen = {visible.question for visible in self._world.visible()}
                self._asks = {ask.key: ask for ask in self._world.asks()}
                self._changed.notify_all()

    async def approve_all(self, inbox: Inbox) -> None:
        """Press Run below each ask that is visible, whichever life showed it, as two people at once, until cancelled.

        Before that one of them presses it on a message that shows other arguments, and then twice.
        """
        pressed: set[tuple[int, str]] = set()

        def unpressed() -> list[tuple[VisibleAsk, str]]:
            asks = [ask for ask in self._asks.values() if ask.state == "pending" and self._is_pressed_here(ask)]
            return [(ask, by) for ask in asks for by in APPROVERS if (ask.ask_id, by) not in pressed]

        while True:
            async with self._changed:
                await self._changed.wait_for(unpressed)
            presses = unpressed()
            pressed.update((ask.ask_id, person) for ask, person in presses)
            for ask in {ask.key: ask for ask, _ in presses}.values():
                outdated = await self._press(inbox, replace(ask, digest=OTHER_ARGUMENTS), APPROVERS[0])
                if isinstance(outdated, Done):
                    self._world.note("outdated", ask.mark)
            twice = [(ask, person) for ask, person in presses if person == APPROVERS[0]]
            await asyncio.gather(*(self._approve(inbox, ask, person) for ask, person in (*presses, *twice)))

    def _is_pressed_here(self, ask: VisibleAsk) -> bool:
        """Return whether it is time to press: at another process than the one that shows it, as long as there is one.

        Where several can, all of them do.
        """
        if self._seat.of == 1 or ask.shown_by != self._world.life:
            return True
        now = asyncio.get_running_loop().time()
        return now - self._asked_at.setdefault(ask.ask_id, now) > OWN_ASK_S

    async def clear_each(self, store: Store) -> None:
        """Clear each conversation, where the script has that, once its first question is answered."""
        if self._script.clears:
            first = [self._script.of(channel)[0] for channel in self._script.channels]
            await asyncio.gather(*(self._clear_after(question, store) for question in first))

    async def _clear_after(self, question: Question, store: Store) -> None:
        await self.seen(frozenset({question.key}))
        await store.clear(question.conversation)
        await store.scrub()

    async def clear_all(self, store: Store) -> None:
        """Clear all conversations; what was said in them is gone when this returns."""
        for channel in self._script.channels:
            await store.clear(self._script.of(channel)[0].conversation)
        while not await _is_scrubbed(self._world, store):  # noqa: ASYNC110  (a reader's end sets no event)
            await asyncio.sleep(0.002)
        self._world.note("cleared", "all")

    async def _approve(self, inbox: Inbox, ask: VisibleAsk, person: str) -> None:
        self._world.note("pressed", f"{ask.mark} {person}")
        await self._press(inbox, ask, person)

    async def _press(self, inbox: Inbox, ask: VisibleAsk, person: str) -> Decided:
        return await inbox.decide(
            DecisionMade(
                conversation=ConversationKey.parse(ask.place),
                event_key=f"approve {ask.mark} {person}",
                author_id=person,
                ask_id=ask.ask_id,
                choice="run",
                digest=ask.digest,
            )
        )

    async def put_ask(self, post: AskPost) -> str:
        self._reach("ask: before it is shown")
        marks = [json.loads(line.value) for line in post.view.arguments if line.name == "mark"]
        # Of a call whose texts were cleared meanwhile, only what was shown before says which it is.
        mark = marks[0] if marks else next(ask.mark for ask in self._world.asks() if ask.key == post.key)
        ask = VisibleAsk(
            key=post.key,
            ask_id=post.view.ask_id,
            mark=mark,
            state=post.view.state,
            digest=post.view.digest,
            place=str(post.place),
            is_new=not post.reference,
            shown_by=self._world.life,
        )
        self._world.show_ask(ask)
        async with self._changed:
            self._asks[ask.key] = ask
            self._changed.notify_all()
        self._reach("ask: after, visible")
        return f"reference of {post.key}"

    async def post_notice(self, notice: Notice) -> str:
        raise AssertionError("nobody has a budget here")

    async def find_notice(self, notice: Notice) -> Found | None:
        return None

    async def settle(self, turn_id: int) -> None:
        pass

    async def find_ask(self, post: AskPost) -> Found | None:
        if not self._script.can_find:
            raise AdapterError("This platform cannot search.")
        is_there = any(ask.key == post.key for ask in self._world.asks())
        return Found(reference=f"reference of {post.key}") if is_there else None

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        return Memberships()

    async def members(self, group: str) -> Sequence[str]:
        return ()

    def show(self, view: TurnView) -> None:
        """Show nothing: progress is no answer."""

    def split(self, text: str) -> Sequence[str]:
        size = self._script.max_chars
        return [text[start : start + size] for start in range(0, len(text), size)]

    async def post(self, post: Post) -> str:
        self._reach("post: before")
        self._world.show(Visible(question=post.in_reply_to, part=post.part, text=post.text, key=post.key))
        async with self._changed:
            self._seen.add(post.in_reply_to)
            self._changed.notify_all()
        self._reach("post: after, visible")
        return f"reference of {post.key}"

    async def find(self, post: Post) -> Found | None:
        if not self._script.can_find:
            raise AdapterError("This platform cannot search.")
        is_there = any(visible.key == post.key for visible in self._world.visible())
        return Found(reference=f"reference of {post.key}") if is_there else None

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        return Earlier()

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        raise AdapterError("No message has files here.")

    async def seen(self, questions: frozenset[str]) -> None:
        """Return when something is visible in answer to each of the questions."""
        async with self._changed:
            await self._changed.wait_for(lambda: questions <= self._seen)

    async def _deliver(self, questions: Sequence[Question], inbox: Inbox) -> None:
        async with asyncio.TaskGroup() as group:
            for question in questions:
                if question.after:
                    await self.seen(frozenset({question.after}))
                group.create_task(self._hand_over(question, inbox))

    async def _hand_over(self, question: Question, inbox: Inbox) -> None:
        said = message(question.key, conversation=question.conversation)
        at = said.sent_at + timedelta(seconds=self._script.questions.index(question))
        await inbox.accept(replace(said, sent_at=at))
        self._world.acknowledge(question.key, self._seat.number)
        self._reach("accept: acknowledged")


async def _is_scrubbed(world: World, store: Store) -> bool:
    await store.scrub()
    return world.database.is_scrubbed
