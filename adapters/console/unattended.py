"""What the core asks while one question is answered (`chat -m`): nobody is there, so it is decided at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from adapters.console.answering import Reply
from adapters.console.ask_notes import AskNotes
from adapters.console.ask_view import subject
from adapters.console.filling import missing
from adapters.console.speaker import Speaker
from bot.domain.answers import Done, Ready, Refused
from bot.domain.asks import AskPost, AskView
from bot.domain.events import Choice
from bot.domain.forms import Form, Invalid
from bot.ports.platform import Host
from bot.text.terminal import flat

PATIENCE_S = 10.0  # for what a turn waits for to be shown here; it may be asked elsewhere


class Unattended:
    """Declines what would ask, with the cure; with `says_yes`, runs what the asker alone decides.

    What is asked for other questions than the one being answered is left as it is, for the next chat.
    """

    def __init__(
        self,
        host: Host,
        speaker: Speaker,
        *,
        say: Callable[[str], None],
        says_yes: bool,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._host = host
        self._speaker = speaker
        self._say = say
        self._says_yes = says_yes
        self._patience_s = patience_s
        self._notes = AskNotes(host.notes, speaker.conversation)
        self._asked: dict[str, asyncio.Queue[AskPost]] = {}  # by the question's event key
        self._seen: set[int] = set()

    async def put(self, post: AskPost) -> None:
        """Take what is asked; it is decided by `settle`."""
        if post.view.state != "pending":
            await self._notes.forget(post.view.ask_id)
            return
        await self._notes.keep(post)
        if post.view.ask_id not in self._seen:
            self._seen.add(post.view.ask_id)
            self._of(post.in_reply_to).put_nowait(post)

    async def restore(self) -> None:
        """Show nothing: the next chat does."""

    def waits_for(self, event_key: str) -> bool:
        """Return False: nothing waits for an answer here."""
        return False

    def read(self, line: str) -> Reply | None:
        """Return None: there is one line, the question."""
        return None

    async def act(self, reply: Reply) -> bool:
        """Return False: nothing is typed."""
        return False

    async def settle(self, event_key: str) -> bool:
        """Decide what is asked for that question; return whether something was decided, so that its turn goes on."""
        asked = self._of(event_key)
        try:
            async with asyncio.timeout(self._patience_s):
                first = await asked.get()
        except TimeoutError:
            return False
        outcomes = [await self._decide(first.view)]
        while not asked.empty():
            outcomes.append(await self._decide(asked.get_nowait().view))
        return any(outcomes)

    def _of(self, event_key: str) -> asyncio.Queue[AskPost]:
        return self._asked.setdefault(event_key, asyncio.Queue())

    async def _decide(self, view: AskView) -> bool:
        if view.kind != "approval":
            self._say(f"{flat(view.title)}; with -m nobody is there to do that. Ask in `toolbridge chat`.")
            return await self._take(view, "withdraw")
        what = subject(view)
        if not is_own(view):
            self._say(f"{what} asks other people first, and -m cannot wait for them. Ask in `toolbridge chat`.")
            return await self._take(view, "withdraw")
        if self._says_yes:
            self._say(f"{what} asks first: --yes runs it.")
            if view.change:
                self._say(f"Its server says something else of it than before: {view.change}")
            return await self._take(view, "run") or await self._take(view, "decline")
        reason = " ".join(view.lines)
        self._say(f"{what} asks first. Run it in `toolbridge chat`, write a rule, or add --yes. {reason}")
        return await self._take(view, "decline")

    async def _take(self, view: AskView, choice: Choice) -> bool:
        outcome = await self._host.decide(self._speaker.decision(view, choice))
        if isinstance(outcome, Refused):
            self._say(outcome.notice)
        return isinstance(outcome, Done)

    async def fill_in(self, form: Form) -> Done | Ready | Refused:
        """Send the form off as it is; `Refused` says what is missing or wrong."""
        if lacks := missing(form):
            are = "is" if len(lacks) == 1 else "are"
            return Refused(notice=f"{flat(form.title)}: {', '.join(lacks)} {are} missing.")
        values = {field.name: field.value for field in form.fields}
        outcome = await self._host.submit(self._speaker.submission(form.target, values))
        if not isinstance(outcome, Invalid):
            return outcome
        labels = {field.name: field.label or field.name for field in form.fields}
        errors = [f"{labels.get(name, name)}: {sentence}" for name, sentence in outcome.errors.items()]
        return Refused(notice=" ".join(filter(None, [outcome.notice, *errors])))

    async def confirm(self, question: str) -> bool:
        """Return whether `--yes` was given."""
        if not self._says_yes:
            self._say(f"{flat(question)}: add --yes to confirm that.")
        return self._says_yes


def is_own(view: AskView) -> bool:
    """Return whether the asker alone decides: only where others do can the asker take the call back."""
    return "run" in view.choices and "withdraw" not in view.choices
