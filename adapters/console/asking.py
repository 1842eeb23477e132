"""What the core asks, in a chat: shown above the line that is typed, answered at the prompt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol

from adapters.console import ask_view, render
from adapters.console.answering import Reply
from adapters.console.ask_notes import AskNotes
from adapters.console.filling import Action, fill_in
from adapters.console.speaker import Speaker
from bot.domain.answers import Done, Ready, Refused, Submitted
from bot.domain.asks import AskPost
from bot.domain.errors import BotError
from bot.domain.events import Choice
from bot.domain.forms import Form
from bot.ports.platform import Host
from bot.text.terminal import flat

SHOWN_WITHIN_S = 10.0  # the core changes what is shown of an ask once a decision is stored
UNCLEAR = "Type r to run it, d to decline. Anything longer is sent as a message."
STALE = "The question changed while you typed: look at it and answer again."


class Terminal(Protocol):
    """The terminal, as questions need it."""

    @property
    def is_typing(self) -> bool:
        """Whether a line has been begun."""
        ...

    def prompts(self, text: str) -> None:
        """Show this prompt from now on; what was typed before it was there is dropped."""
        ...

    def say(self, sentence: str) -> None:
        """Show a sentence of the program itself."""
        ...

    async def above(self, text: str, *, is_markdown: bool = False) -> None:
        """Show text above the line that is typed."""
        ...

    async def question(self, text: str) -> str | None:
        """Return what is typed after the text; None after Ctrl-C or Ctrl-D."""
        ...


class Asking:
    """What is asked and not decided yet; one of these is the current one, whose keys the prompt offers."""

    def __init__(self, terminal: Terminal, host: Host, speaker: Speaker) -> None:
        self._terminal = terminal
        self._host = host
        self._speaker = speaker
        self._notes = AskNotes(host.notes, speaker.conversation)
        self._open: dict[int, AskPost] = {}  # the first is the current one
        self._decided: dict[int, int] = {}  # versions of those that were decided
        self._prompted: AskPost | None = None  # whose keys the prompt shows
        self._is_stale = False  # the current one changed after the line was begun
        self._changed = asyncio.Event()

    # --- what the core shows ---

    async def restore(self) -> None:
        """Show what was asked before a restart and is not decided yet."""
        for post in await self._notes.pending(now=time.time()):
            if post.view.ask_id not in self._open and post.view.ask_id not in self._decided:
                await self._show(post)

    async def put(self, post: AskPost) -> None:
        """Show what is asked, what changed of it, or what was decided."""
        view = post.view
        if view.state != "pending":
            await self._settle(post)
        elif view.ask_id not in self._decided:
            await self._notes.keep(post)
            await self._show(post)

    async def _show(self, post: AskPost) -> None:
        before, view = self._open.get(post.view.ask_id), post.view
        if before is not None and before.view.version >= view.version:
            return
        self._open[view.ask_id] = post
        self._prompt()  # before it is shown: the prompt is drawn again below it
        if before is not None and before.view.digest == view.digest:
            await self._terminal.above("\n".join(flat(vote) for vote in view.votes))
        else:
            await self._terminal.above(ask_view.block(view, now=time.time()))
            await self._show_link(post)
        self._changed.set()

    async def _settle(self, post: AskPost) -> None:
        view = post.view
        await self._notes.forget(view.ask_id)
        self._open.pop(view.ask_id, None)
        self._prompt()
        if view.version > self._decided.get(view.ask_id, 0):
            self._decided[view.ask_id] = view.version
            title = flat(view.title)
            await self._terminal.above(f"{title}\n\n{view.record}" if view.record else title, is_markdown=True)
        self._changed.set()

    def _prompt(self) -> None:
        current = self._current()
        if current is not self._prompted:
            self._prompted = current
            self._is_stale = self._is_stale or self._terminal.is_typing
        has_others = len(self._open) > 1
        self._terminal.prompts("" if current is None else ask_view.prompt(current.view, has_others=has_others))

    def _current(self) -> AskPost | None:
        return next(iter(self._open.values()), None)

    # --- what is typed ---

    def waits_for(self, event_key: str) -> bool:
        """Return whether something is asked for that question."""
        return any(post.in_reply_to == event_key for post in self._open.values())

    def read(self, line: str) -> Reply | None:
        """Return what the line answers; None: it is a message or a command."""
        is_stale, self._is_stale = self._is_stale, False
        if (post := self._current()) is None:
            return None
        action = ask_view.read_answer(line, post.view, has_others=len(self._open) > 1)
        if action is None:
            return None
        return Reply(post=post, action="stale" if is_stale and line.strip() else action)

    async def act(self, reply: Reply) -> bool:
        """Do what was typed; return whether the ask was decided by it, so that its turn goes on."""
        match reply.action:
            case "stale":
                self._terminal.say(STALE)
            case "unclear":
                self._terminal.say(UNCLEAR)
            case "next":
                self._open[reply.post.view.ask_id] = self._open.pop(reply.post.view.ask_id)
                self._prompt()
            case "details":
                await self._show_details(reply.post)
            case "form":
                return await self._fill_in(reply.post)
            case _:
                return await self._decide(reply.post, reply.action)
        return False

    async def _decide(self, post: AskPost, choice: Choice) -> bool:
        outcome = await self._host.decide(self._speaker.decision(post.view, choice))
        if choice != "suggest_rule":
            return await self._follow_up(outcome, post)
        await self._terminal.above(outcome.notice, is_markdown=isinstance(outcome, Done))
        return False

    async def _fill_in(self, post: AskPost) -> bool:
        form = await self._host.form(self._speaker.form(post.view.form_target))
        outcome = await self.fill_in(form, post) if isinstance(form, Form) else form
        return await self._follow_up(outcome, post) if isinstance(outcome, Done | Refused) else False

    async def fill_in(self, form: Form, post: AskPost | None = None) -> Done | Ready | Refused | None:
        """Have the person fill the form in; None: they closed it. `post` is the ask that it answers."""

        async def submit(values: Mapping[str, str], action: Action) -> Submitted:
            if action == "cancel" and post is not None:  # a form that is only closed leaves the question
                return await self._host.decide(self._speaker.decision(post.view, "withdraw"))
            return await self._host.submit(self._speaker.submission(form.target, values, action=action))

        return await fill_in(form, at=self._terminal, submit=submit)

    async def confirm(self, question: str) -> bool:
        """Return whether the person says yes."""
        answer = await self._terminal.question(f"{flat(question)}? [y/N] ")
        return (answer or "").strip().lower() in ("y", "yes")

    async def _follow_up(self, outcome: Done | Refused, post: AskPost) -> bool:
        """Show the answer to the person, and wait until what is shown of the ask has changed where it was taken."""
        if outcome.notice:
            await self._terminal.above(outcome.notice, is_markdown=isinstance(outcome, Done))
        if isinstance(outcome, Refused):
            return False
        try:
            async with asyncio.timeout(SHOWN_WITHIN_S):
                while (now := self._open.get(post.view.ask_id)) is post:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return now is None

    async def settle(self, event_key: str) -> bool:
        """Decide nothing: the person does."""
        return False

    # --- all of it ---

    async def _show_details(self, post: AskPost) -> None:
        details = await self._host.details(self._speaker.details(post.view))
        if isinstance(details, Refused):
            self._terminal.say(details.notice)
            return
        lines = [render.call_details(line) for line in details.lines]
        await self._terminal.above("\n".join(filter(None, [*lines, details.notice, _link(details.link)])))

    async def _show_link(self, post: AskPost) -> None:
        if not post.view.has_link:
            return
        try:
            await self._show_details(post)
        except BotError as error:
            self._terminal.say(str(error))


def _link(url: str) -> str:
    return f"Open {flat(url)}" if url else ""
