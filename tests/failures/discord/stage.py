"""What is asked of people in the loopback Discord, and how the calls about it fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from tests.failures.discord.world import driver_of
from tests.failures.stage import Ask, Call, Fault
from tests.failures.world import World
from tests.fakes.discord import Interaction, Message
from tests.fakes.discord.modals import labels as modal_labels
from tests.fakes.discord.server import Asked
from tests.scenarios.discord.asking import labels
from tests.scenarios.drivers import Person

ROUTES: Mapping[Call, str] = {"post": "create_message", "change": "edit_message"}
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json: missing permissions; no change of that one
REFUSALS: Mapping[Call, int] = {"post": 50013, "change": 50005}
UNKNOWN_INTERACTION, MISSING_ACCESS = 10062, 50001
TITLE = "**Run shop/act"


class DiscordStage:
    """See `Stage`."""

    no_form = ""

    def __init__(self, world: World) -> None:
        self._driver = driver_of(world)
        self._discord = self._driver.discord
        self._pressed: Interaction
        self.spoilt = 0

    def account(self, person: Person) -> str:
        return f"discord:{self._driver.user(person).id}"

    def group(self) -> str:
        guild = self._driver.world.guild
        role = self._discord.add_role(guild, "leads")
        self._discord.add_member(guild, self._driver.user("ben"), roles=[role])
        return f"discord:{guild.id}:role:{role.id}"

    def add_channel(self) -> tuple[str, str]:
        guild = self._driver.world.guild
        channel = self._discord.add_channel(guild, "approvals")
        return f"discord:{guild.id}:{channel.id}", str(channel.id)

    @property
    def asks(self) -> Sequence[Ask]:
        return [
            Ask(shown=message.content, place=str(message.channel), buttons=tuple(labels(message)))
            for message in self._messages()
        ]

    def _messages(self) -> Sequence[Message]:
        rooms = self._discord.channels.values()
        own = [message for room in rooms for message in self._discord.own(room)]
        return sorted((one for one in own if one.content.startswith(TITLE)), key=lambda message: message.id)

    def told(self, person: Person) -> Sequence[str]:
        told = self._discord.ephemerals(self._driver.user(person))
        return [message.content for message in told if not message.is_loading]

    async def press(self, label: str, *, by: Person, ask: int = -1) -> None:
        message = self._messages()[ask]
        (custom_id,) = [each["custom_id"] for each in message.elements if each.get("label") == label]
        self._pressed = await self._discord.press(message.channel, message, self._driver.user(by), custom_id)

    async def edit(self, note: str, *, by: Person) -> None:
        await self.press("Edit arguments", by=by)
        modal = await self._discord.until(lambda: self._pressed.modal)
        (label,) = modal_labels(modal)
        await self._discord.fill_in(self._pressed, {label: note})

    def spoil(self, call: Call, fault: Fault, *, channel: str = "") -> None:
        route, where = ROUTES[call], self._calls_in(channel)
        match fault:
            case "refused":
                self._discord.refuse(route, code=REFUSALS[call], where=where)
            case "failing":
                self._discord.refuse(route, status=500, where=where)
            case "limited":
                self._discord.limit_next(route, where=where)
            case "lost":
                self._discord.fail_next(route, drop="after", where=where)
            case "held":
                self._discord.hang_next(route, where=where)
            case _:
                assert_never(fault)

    def _calls_in(self, channel: str) -> Callable[[Asked], bool]:
        def is_met(asked: Asked) -> bool:
            is_one = asked.text.startswith(TITLE) and channel in ("", str(asked.channel))
            self.spoilt += is_one
            return is_one

        return is_met

    def spoil_answers(self) -> None:
        self._discord.refuse("edit_followup", "create_followup", status=500)

    def spoil_forms(self) -> None:
        self._discord.fail_next("respond", code=UNKNOWN_INTERACTION)

    def spoil_groups(self) -> None:
        self._discord.refuse("get_member", code=MISSING_ACCESS)

    async def until_held(self) -> None:
        await self._discord.until(lambda: self._discord.hung)

    def heal(self) -> None:
        self._discord.clear_faults()

    async def until(self, condition: Callable[[], Any]) -> Any:
        return await self._discord.until(condition)
