"""What is asked of people in the loopback Slack, and how the calls about it fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from tests.failures.slack.world import slack_of
from tests.failures.stage import Ask, Call, Fault
from tests.failures.world import World
from tests.fakes.slack import Message
from tests.fakes.slack.server import Hang
from tests.scenarios.drivers import Person
from tests.scenarios.drivers.slack import USERS
from tests.scenarios.slack.asking import buttons

METHODS: Mapping[Call, str] = {"post": "chat.postMessage", "change": "chat.update"}
# https://docs.slack.dev/reference/methods/chat.update#errors
REFUSALS: Mapping[Call, str] = {"post": "restricted_action_read_only_channel", "change": "edit_window_closed"}


class SlackStage:
    """See `Stage`."""

    no_form = "took too long to open"

    def __init__(self, world: World) -> None:
        self._slack = slack_of(world)
        self._hangs: list[Hang] = []
        self.spoilt = 0

    def account(self, person: Person) -> str:
        return f"slack:T1:{USERS[person]}"

    def group(self) -> str:
        return f"slack:T1:usergroup:{self._slack.add_user_group('S1', USERS['ben']).id}"

    def add_channel(self) -> tuple[str, str]:
        return "slack:T1:C2", self._slack.add_channel("C2", members=list(USERS.values())).id

    @property
    def asks(self) -> Sequence[Ask]:
        return [
            Ask(shown=message.shown, place=message.channel, buttons=tuple(buttons(message.blocks)))
            for message in self._messages()
        ]

    def _messages(self) -> Sequence[Message]:
        rooms = self._slack.channels.values()
        return [message for room in rooms for message in room.messages.values() if _is_ask(message.metadata)]

    def told(self, person: Person) -> Sequence[str]:
        return [message.shown for message in self._slack.ephemerals(USERS[person])]

    async def press(self, label: str, *, by: Person, ask: int = -1) -> None:
        message = self._messages()[ask]
        pressed = buttons(message.blocks)[label]
        delivery = await self._slack.press(message.channel, message.ts, USERS[by], pressed["action_id"])
        assert delivery.acked_at is not None, delivery.faults

    async def edit(self, note: str, *, by: Person) -> None:
        await self.press("Edit arguments", by=by)
        (view,) = await self._slack.until(lambda: self._slack.views(USERS[by]))
        (label,) = [block["label"]["text"] for block in view.content["blocks"] if block["type"] == "input"]
        await self._slack.fill_in(view.id, USERS[by], {label: note})

    def spoil(self, call: Call, fault: Fault, *, channel: str = "") -> None:
        method, where = METHODS[call], self._calls_in(channel)
        match fault:
            case "refused":
                self._slack.refuse(method, error=REFUSALS[call], where=where)
            case "failing":
                self._slack.refuse(method, status=500, where=where)
            case "limited":
                self._slack.limit_next(method, where=where)
            case "lost":
                self._slack.fail_next(method, drop="after", where=where)
            case "held":
                self._hangs.append(self._slack.hang_next(method, where=where))
            case _:
                assert_never(fault)

    def _calls_in(self, channel: str) -> Callable[[Mapping[str, Any]], bool]:
        def is_met(arguments: Mapping[str, Any]) -> bool:
            is_one = "toolbridge_ask" in str(arguments.get("metadata")) and channel in ("", arguments["channel"])
            self.spoilt += is_one
            return is_one

        return is_met

    def spoil_answers(self) -> None:
        self._slack.fail_next("response_url", status=500, times=10)
        self._slack.refuse("chat.postEphemeral", error="user_not_in_channel")

    def spoil_forms(self) -> None:
        self._slack.fail_next("views.open", error="expired_trigger_id")

    def spoil_groups(self) -> None:
        self._slack.refuse("usergroups.users.list", error="missing_scope")

    async def until_held(self) -> None:
        await self._slack.until(lambda: any(hang.reached.is_set() for hang in self._hangs))

    def heal(self) -> None:
        self._slack.clear_faults()

    async def until(self, condition: Callable[[], Any]) -> Any:
        return await self._slack.until(condition)


def _is_ask(metadata: Mapping[str, Any] | None) -> bool:
    return metadata is not None and metadata.get("event_type") == "toolbridge_ask"
