"""The person at the terminal, and what they do as events: named as the operating system names them."""

from __future__ import annotations

import getpass
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from bot.domain.asks import AskView
from bot.domain.events import (
    Choice,
    CommandInvoked,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FormAsked,
    FormSubmitted,
    MessageReceived,
    RunRequest,
)
from bot.domain.people import Standing

OWNER = Standing(is_moderator=True)  # a conversation at a terminal is the person's own to stop and to clear
NOBODY = "user"  # where the system has no name for the person, as in a container that runs as a bare user id


def user_name() -> str:
    """Return the name of the operating system's user; variables such as USER only count where it has none."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name or NOBODY
    except (ImportError, KeyError):  # Windows; a user id without an entry
        pass
    try:
        return getpass.getuser() or NOBODY
    except (OSError, KeyError, ImportError):  # which of them depends on the version of Python
        return NOBODY


def new_key() -> str:
    """Return an event key that was never used."""
    return f"console:{uuid.uuid4()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """One person in one conversation; every method returns an event under a key of its own."""

    conversation: ConversationKey
    id: str

    def message(self, text: str, *, run: RunRequest | None = None) -> MessageReceived:
        """Say something; with `run`, ask for that call."""
        return MessageReceived(
            conversation=self.conversation,
            event_key=new_key(),
            author_id=self.id,
            author_name=self.id,
            text=text,
            sent_at=datetime.now(UTC),
            standing=OWNER,
            run=run,
        )

    def command(self, name: str, argument: str = "", *, is_confirmed: bool = False) -> CommandInvoked:
        """Invoke a command."""
        return CommandInvoked(
            conversation=self.conversation,
            event_key=new_key(),
            author_id=self.id,
            name=name,
            argument=argument,
            is_confirmed=is_confirmed,
            standing=OWNER,
        )

    def decision(self, view: AskView, choice: Choice) -> DecisionMade:
        """Decide what is asked, as it is shown."""
        return DecisionMade(
            conversation=self.conversation,
            event_key=new_key(),
            author_id=self.id,
            author_name=self.id,
            ask_id=view.ask_id,
            choice=choice,
            digest=view.digest,
            standing=OWNER,
        )

    def details(self, view: AskView) -> DetailsAsked:
        """Want to see all of what is asked."""
        return DetailsAsked(
            conversation=self.conversation,
            event_key=new_key(),
            author_id=self.id,
            ask_id=view.ask_id,
            standing=OWNER,
        )

    def form(self, target: str) -> FormAsked:
        """Want to fill in a form."""
        return FormAsked(
            conversation=self.conversation, event_key=new_key(), author_id=self.id, target=target, standing=OWNER
        )

    def submission(
        self,
        target: str,
        values: Mapping[str, str] | None = None,
        *,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> FormSubmitted:
        """Send a form off, or close it."""
        return FormSubmitted(
            conversation=self.conversation,
            event_key=new_key(),
            author_id=self.id,
            author_name=self.id,
            target=target,
            values=values or {},
            action=action,
            standing=OWNER,
        )
