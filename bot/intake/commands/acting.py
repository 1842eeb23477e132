"""`/clear` and `/stop`: who may do what to a conversation of several people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from bot.domain.answers import CommandAnswer
from bot.domain.commands import FILES
from bot.domain.events import CommandInvoked
from bot.intake.access import Access
from bot.intake.commands.phrases import code, undeleted
from bot.keeping.files import FilesGone, KeptFiles
from bot.ports.store import Store, author_key, author_keys
from bot.text.counting import count
from bot.turns.bell import Bell

log = structlog.stdlib.get_logger(__name__)

FILES_STAY = "Saved files are kept."
OLD_STOP = "That answer is not being worked on any more. `stop` ends the one that is."


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Clears and stops conversations, for those who may."""

    store: Store
    bell: Bell
    access: Access
    files: KeptFiles | None = None  # of the home folder

    async def clear(self, event: CommandInvoked) -> CommandAnswer:
        """Forget the conversation: at once where one person has spoken, otherwise after a confirmation.

        With the argument `files`, it also deletes what was saved in the conversation. A turn that has not ended stays.
        """
        if event.argument.strip().lower() not in ("", FILES):
            return CommandAnswer(text=f"{code('clear')} takes nothing, or {code(FILES)}. Nothing was deleted.")
        people = await self.store.participants(event.conversation)
        is_shared = not set(people) <= set(author_keys(event.actor))
        if is_shared and not await self._may_clear(event, began=people[0]):
            await self.access.note(event.asker, kind="refused", outcome="clear")
            may = _those_who_may("The person who began this conversation", event)
            return CommandAnswer(text=f"Other people have spoken here as well. {may} can clear it.")
        if is_shared and not event.is_confirmed:
            return CommandAnswer(
                text=f"You are not the only one who spoke here. Clearing forgets what everyone said"
                f"{' and deletes the files that were saved here.' if _with_files(event) else f'. {FILES_STAY}'}",
                confirms="Clear it for everyone",
            )
        return CommandAnswer(text=await self._forget(event))

    async def _forget(self, event: CommandInvoked) -> str:
        """Delete what was asked for, and return the sentences that report it."""
        turns = await self.store.kept_events(event.conversation)
        gone = await self.store.clear(event.conversation)
        if turns or gone:
            await self.store.scrub()
        files = await self._forget_files(event, turns)
        if gone or files.saved:
            await self.access.note(event.asker, kind="act", outcome="clear files" if files.saved else "clear")
            log.info("conversation_cleared", conversation=str(event.conversation), by=str(event.actor), messages=gone)
        said = [
            _about_messages(gone, files.saved or files.undeleted),
            await self._about_files(event, files),
            await self._about_open(event),
        ]
        return " ".join(filter(None, said))

    async def _forget_files(self, event: CommandInvoked, turns: Sequence[str]) -> FilesGone:
        if self.files is None:
            return FilesGone()
        return await self.files.forget(event.conversation, turns, with_saved=_with_files(event))

    async def _about_files(self, event: CommandInvoked, files: FilesGone) -> str:
        said = [await self._about_saved(event, files), undeleted(files.undeleted)]
        return " ".join(filter(None, said))

    async def _about_saved(self, event: CommandInvoked, files: FilesGone) -> str:
        if _with_files(event) and (files.saved or files.undeleted):
            return f"{count(files.saved, 'saved file')} deleted." if files.saved else ""
        if _with_files(event):
            return "No files were saved here."
        if self.files is None or not await self.files.count_saved(event.conversation):
            return FILES_STAY
        return f"{FILES_STAY} {code('clear files')} deletes them as well."

    async def _about_open(self, event: CommandInvoked) -> str:
        is_open = await self.store.participants(event.conversation, is_open=True)
        return "Questions that are not answered yet stay: stop them, then clear again." if is_open else ""

    async def _may_clear(self, event: CommandInvoked, *, began: str) -> bool:
        return began in author_keys(event.actor) or await self.access.is_in_charge(event.asker)

    async def stop(self, event: CommandInvoked) -> CommandAnswer:
        """Stop what the asker has asked for here; moderators and operators stop what anyone has.

        A press on a Stop button stops that button's turn or none.
        """
        is_in_charge = await self.access.is_in_charge(event.asker)
        people = await self.store.participants(event.conversation, is_open=True, turn_id=event.turn_id)
        own = [one for one in people if one in author_keys(event.actor)]
        author = "" if is_in_charge else author_key(event.actor)
        turn_id = await self.store.request_stop(
            event.conversation, by=str(event.actor), author=author, turn_id=event.turn_id
        )
        if turn_id is not None:
            self.bell.ring_for_stop(turn_id)
            if is_in_charge and own != people:
                await self.access.note(event.asker, kind="act", outcome="stop")
            return CommandAnswer(text="Stopping.")
        if people and not own and not is_in_charge:  # one's own may be about to be posted
            await self.access.note(event.asker, kind="refused", outcome="stop")
            may = _those_who_may("The person who asked", event)
            return CommandAnswer(text=f"Someone else asked for what runs here. {may} can stop it.")
        return CommandAnswer(text=OLD_STOP if event.turn_id else "Nothing is running in this conversation.")


def _about_messages(gone: int, saved: int) -> str:
    if gone:
        return f"{count(gone, 'message')} of this conversation deleted."
    return "There were no messages to forget." if saved else "There was nothing to forget."


def _with_files(event: CommandInvoked) -> bool:
    return event.argument.strip().lower() == FILES


def _those_who_may(first: str, event: CommandInvoked) -> str:
    """Return who may act on what others asked for, beginning with `first`; only Discord knows moderators."""
    is_moderated = event.conversation.platform == "discord"
    return f"{first}, anyone who may manage messages here or an operator" if is_moderated else f"{first} or an operator"
