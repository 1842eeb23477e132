"""What people are asked on every platform, what they press and fill in there: more words of the shared scenarios."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from adapters.slack.own_messages import ASK
from tests.fakes.discord import FakeDiscord, Interaction, Message, User
from tests.fakes.slack import FakeSlack
from tests.fakes.slack import Message as SlackMessage
from tests.fakes.slack.blocks import elements_of
from tests.fakes.slack.world import View

Person = Literal["ada", "ben", "cleo"]
# Of a field, by its label: a text, the label of an option, several such labels, or whether a box is checked.
Filling = str | Sequence[str] | bool


class Window(Protocol):
    """An open form."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels of its fields, in their order."""
        ...

    async def fill_in(self, **values: Filling) -> str:
        """Fill in the fields with these labels, where a space is `_`, and send it; the others stay as they are.

        Returns what the form says is wrong; after that it can be filled in again.
        """
        ...


class Asked(Protocol):
    """A message about a call that waits."""

    @property
    def shown(self) -> str:
        """What is read of it."""
        ...

    @property
    def buttons(self) -> Sequence[str]:
        """The labels of its buttons, in their order."""
        ...

    async def press(self, label: str, *, by: Person = "ada") -> None:
        """Press the button."""
        ...

    async def told(self, label: str, *, by: Person = "ada") -> str:
        """Press the button; return what only that person sees."""
        ...

    async def open(self, label: str, *, by: Person = "ada") -> Window:
        """Press the button; return the form that opens."""
        ...

    async def becomes(self, *words: str) -> str:
        """Wait until all of these words are read in it; return its text."""
        ...


# --- Slack -----------------------------------------------------------------------------------------------------

SLACK_USERS: Mapping[Person, str] = {"ada": "U1", "ben": "U2", "cleo": "U3"}


class SlackAsked:
    """See `Asked`."""

    def __init__(self, slack: FakeSlack, message: SlackMessage) -> None:
        self.slack = slack
        self.message = message

    @property
    def shown(self) -> str:
        return self.message.shown

    @property
    def buttons(self) -> Sequence[str]:
        return [element["text"]["text"] for _, element in elements_of(self.message.blocks)]

    async def press(self, label: str, *, by: Person = "ada") -> None:
        (action,) = [
            element["action_id"]
            for _, element in elements_of(self.message.blocks)
            if element["type"] == "button" and element["text"]["text"] == label
        ]
        delivery = await self.slack.press(self.message.channel, self.message.ts, SLACK_USERS[by], action)
        assert delivery.acked_at is not None, delivery.faults

    async def told(self, label: str, *, by: Person = "ada") -> str:
        before = len(self.slack.ephemerals(SLACK_USERS[by]))
        await self.press(label, by=by)
        await self.slack.until(lambda: len(self.slack.ephemerals(SLACK_USERS[by])) > before)
        return self.slack.ephemerals(SLACK_USERS[by])[before].shown

    async def open(self, label: str, *, by: Person = "ada") -> SlackWindow:
        await self.press(label, by=by)
        return await opened_in_slack(self.slack, by)

    async def becomes(self, *words: str) -> str:
        await self.slack.until(lambda: all(word in self.shown for word in words))
        return self.shown


class SlackWindow:
    """See `Window`."""

    def __init__(self, slack: FakeSlack, view: View) -> None:
        self.slack = slack
        self.view = view
        self._filled_in: dict[str, str | Sequence[str]] = {}  # Slack's client keeps it where there are errors

    @property
    def labels(self) -> Sequence[str]:
        return [block["label"]["text"] for block in self._inputs]

    @property
    def _inputs(self) -> Sequence[dict[str, Any]]:
        return [block for block in self.view.content["blocks"] if block["type"] == "input"]

    async def fill_in(self, **values: Filling) -> str:
        self._filled_in |= {name.replace("_", " "): _slack_value(value) for name, value in values.items()}
        await self.slack.fill_in(self.view.id, self.view.user, self._filled_in)
        if self.view.errors:
            return " ".join(map(str, self.view.errors.values()))
        assert not self.view.is_open, self.slack.text_of(self.view)
        return ""


def _slack_value(value: Filling) -> str | Sequence[str]:
    return (["Yes"] if value else []) if isinstance(value, bool) else value


async def opened_in_slack(slack: FakeSlack, by: Person) -> SlackWindow:
    """Return the window that opens for the person."""
    views = await slack.until(lambda: slack.views(SLACK_USERS[by]))
    return SlackWindow(slack, views[-1])


def is_slack_ask(message: SlackMessage) -> bool:
    return (message.metadata or {}).get("event_type") == ASK


# --- Discord ---------------------------------------------------------------------------------------------------


class DiscordAsked:
    """See `Asked`; `users` are the people by their names here."""

    def __init__(self, discord: FakeDiscord, message: Message, users: Mapping[Person, User]) -> None:
        self.discord = discord
        self.message = message
        self.users = users

    @property
    def shown(self) -> str:
        return re.sub(r"\\(\W)", r"\1", self.message.shown)  # as Discord's clients draw it

    @property
    def buttons(self) -> Sequence[str]:
        return [str(each["label"]) for each in self.message.elements if "label" in each]

    async def press(self, label: str, *, by: Person = "ada") -> None:
        await self._press(label, by)

    async def _press(self, label: str, by: Person) -> Interaction:
        (custom_id,) = [each["custom_id"] for each in self.message.elements if each.get("label") == label]
        pressed = await self.discord.press(self.message.channel, self.message, self.users[by], custom_id)
        assert pressed.is_acked, self.discord.describe()
        return pressed

    async def told(self, label: str, *, by: Person = "ada") -> str:
        return await told_in_discord(self.discord, await self._press(label, by))

    async def open(self, label: str, *, by: Person = "ada") -> DiscordWindow:
        return DiscordWindow(self.discord, await self._press(label, by))

    async def becomes(self, *words: str) -> str:
        await self.discord.until(lambda: all(word in self.shown for word in words))
        return self.shown


class DiscordWindow:
    """See `Window`; Discord's forms show no errors, so a message has them, with a button that opens the form again."""

    def __init__(self, discord: FakeDiscord, form: Interaction) -> None:
        assert form.modal is not None, form.text
        self.discord = discord
        self.form = form

    @property
    def labels(self) -> Sequence[str]:
        assert self.form.modal is not None
        return [str(each["label"]) for each in self.form.modal["components"] if "label" in each]

    async def fill_in(self, **values: Filling) -> str:
        sent = await self.discord.fill_in(self.form, {name.replace("_", " "): value for name, value in values.items()})
        text = await told_in_discord(self.discord, sent)
        assert sent.original is not None
        again = [each["custom_id"] for each in sent.original.elements if each.get("label") == "Open again"]
        if not again:
            return ""
        self.form = await self.discord.press(sent.channel, sent.original, sent.user, again[0])
        return text


async def told_in_discord(discord: FakeDiscord, interaction: Interaction) -> str:
    """Return what only the person who acted reads."""
    await discord.until(lambda: interaction.original and interaction.text and not interaction.original.is_loading)
    assert interaction.original is not None and interaction.original.ephemeral_to == interaction.user.id
    return interaction.text
