"""What people are asked before a call runs: it cannot be shown, found, changed or answered, and the bot dies meanwhile.

In each row the call runs at most once, and never without an approval; what is asked is to be seen once, and ends as
the record of what was decided, unless the row says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tests.failures.kills import MAY_HAVE_RUN
from tests.failures.refusals import HASTE
from tests.failures.stage import Ask, Fault, Stage
from tests.failures.table import ACT, Case, served
from tests.failures.world import WAIT_S, World
from tests.fakes.mcp_servers.processes import until
from tests.scenarios.drivers import Conversation

Open = Callable[[World], Stage]
RULES = """
[[rule]]
name = "acts"
tools = ["shop/act"]
then = "ask"
approvers = [{approvers}]
{more}

[[rule]]
name = "the rest"
tools = ["*/*"]
then = "allow"
"""
RECORD = "asked once; the call runs once; its message is the record"


@dataclass(frozen=True, slots=True)
class Play:
    """One row's world, and what is done in it."""

    world: World
    stage: Stage

    def rule(self, *approvers: str, more: str = "") -> None:
        """Write the rule that has `act` approved, by Ben unless someone else is named."""
        named = ", ".join(f'"{one}"' for one in approvers or [self.stage.account("ben")])
        text = RULES.format(approvers=named, more=more)
        (self.world.home / "toolbridge.toml").write_text(text, encoding="utf-8")

    async def ask(self) -> Conversation:
        """Have Ada ask for what has to be approved."""
        conversation = await self.world.driver.open()
        await conversation.ask(ACT)
        return conversation

    async def asked(self) -> Ask:
        """Wait until it can be approved; return what is shown. Nothing has run by then."""
        (ask,) = await self.stage.until(lambda: [ask for ask in self.stage.asks if "Run" in ask.buttons])
        assert self.world.calls == []
        return ask

    async def answered(self, conversation: Conversation, text: str = "did act") -> None:
        """Wait for the one answer, which has this text; see that the call ran once."""
        await conversation.answered()
        assert any(text in message.shown for message in conversation.messages), conversation.messages
        assert self.world.calls == ["act"]

    async def recorded(self) -> None:
        """Wait until the one message is the record."""
        await self.stage.until(lambda: all(ask.is_record for ask in self.stage.asks))
        assert len(self.stage.asks) == 1, self.stage.asks

    async def approved(self, conversation: Conversation) -> None:
        """Have Ben approve it; see the record and the answer."""
        await self.stage.press("Run", by="ben")
        await self.answered(conversation)
        await self.recorded()


Scene = Callable[[Play], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is arranged before the bot starts, and what happens then."""

    happens: str
    seen: str
    scene: Scene
    approvers: Callable[[Stage], Sequence[str]] = lambda stage: [stage.account("ben")]
    more: Callable[[Stage], str] = lambda stage: ""
    is_spoilt: bool = True  # by a call of an ask that fails
    is_killed: bool = False  # the scene starts the bot as a process


def asks(platform: str, open_stage: Open, *, in_suite: Collection[str]) -> Iterator[Case]:
    """Yield the rows; those named are played with the other tests."""
    for row in ROWS:
        yield Case(
            platform=platform,
            happens=row.happens,
            seen=row.seen,
            play=partial(_play, row, open_stage),
            is_in_suite=row.happens in in_suite,
        )


async def _play(row: Row, open_stage: Open, world: World) -> None:
    play = Play(world, open_stage(world))
    play.rule(*row.approvers(play.stage), more=row.more(play.stage))
    if row.is_killed:
        await row.scene(play)
    else:
        await served(lambda _: row.scene(play), patience=HASTE)(world)
    assert bool(play.stage.spoilt) == row.is_spoilt, play.stage.spoilt


async def approved_by_group(open_stage: Open, world: World) -> None:
    """Have a call approved by someone of a group."""
    play = Play(world, open_stage(world))
    play.rule(play.stage.group())
    async with world.serve():
        conversation = await play.ask()
        await play.asked()
        await play.approved(conversation)


# --- it cannot be shown ----------------------------------------------------------------------------------------


def _elsewhere(stage: Stage) -> str:
    name, channel = stage.add_channel()
    stage.spoil("post", "refused", channel=channel)
    return f'ask_in = "{name}"'


async def _asked_in_place(play: Play) -> None:
    conversation = await play.ask()
    assert (await play.asked()).place in str(conversation.key)
    await play.approved(conversation)


async def _asked_nowhere(play: Play) -> None:
    play.stage.spoil("post", "refused")
    conversation = await play.ask()
    await conversation.answered()
    assert any("could not be approved" in message.shown for message in conversation.messages)
    assert play.world.calls == [] and play.stage.asks == []


async def _spoilt_post(play: Play, fault: Fault) -> None:
    play.stage.spoil("post", fault)
    conversation = await play.ask()
    await play.asked()
    await play.approved(conversation)


# --- it cannot be changed --------------------------------------------------------------------------------------


async def _spoilt_record(play: Play, fault: Fault) -> None:
    conversation = await play.ask()
    await play.asked()
    play.stage.spoil("change", fault)
    await play.approved(conversation)


async def _late_record(play: Play) -> None:
    """The message does not show yet what was decided; Ben presses its button again."""
    conversation = await play.ask()
    await play.asked()
    play.stage.spoil("change", "failing")
    await play.stage.press("Run", by="ben")
    await play.answered(conversation)
    before = len(play.stage.told("ben"))
    await play.stage.press("Run", by="ben")
    await play.stage.until(lambda: any("approved" in told.lower() for told in play.stage.told("ben")[before:]))
    play.stage.heal()
    await play.recorded()
    assert play.world.calls == ["act"]


async def _fixed_message(play: Play) -> None:
    """The message cannot be changed any more: the record is one of its own."""
    conversation = await play.ask()
    await play.asked()
    play.stage.spoil("change", "refused")
    await play.stage.press("Run", by="ben")
    await play.answered(conversation)
    await play.stage.until(lambda: [ask.is_record for ask in play.stage.asks] == [False, True])
    await play.stage.press("Run", by="ben", ask=0)
    await play.stage.until(lambda: play.stage.told("ben"))
    assert play.world.calls == ["act"]


# --- clicks ----------------------------------------------------------------------------------------------------


def _ben_and_cleo(stage: Stage) -> Sequence[str]:
    return [stage.account("ben"), stage.account("cleo")]


async def _untold(play: Play) -> None:
    conversation = await play.ask()
    await play.asked()
    play.stage.spoil_answers()
    await play.stage.press("Run", by="cleo")
    await play.stage.until(lambda: any("1 of 2" in ask.shown for ask in play.stage.asks))
    assert play.stage.told("cleo") == []
    await play.approved(conversation)


async def _at_once(play: Play) -> None:
    conversation = await play.ask()
    await play.asked()
    await asyncio.gather(*(play.stage.press("Run", by=person) for person in ("ben", "cleo")))
    await play.answered(conversation)
    await play.recorded()
    await play.stage.until(lambda: play.stage.told("ben") or play.stage.told("cleo"))


async def _unknown_group(play: Play) -> None:
    conversation = await play.ask()
    await play.asked()
    play.stage.spoil_groups()
    await play.stage.press("Run", by="ben")
    (told,) = await play.stage.until(lambda: play.stage.told("ben"))
    assert "not say" in told or "lacks the permission" in told, told
    assert play.world.calls == [] and play.stage.told("ada") == play.stage.told("cleo") == []
    play.stage.heal()
    await play.approved(conversation)


async def _unlisted_group(play: Play) -> None:
    """Its people are to be asked directly."""
    play.stage.spoil_groups()
    conversation = await play.ask()
    assert (await play.asked()).place in str(conversation.key)
    play.stage.heal()
    await play.approved(conversation)


async def _unopened_form(play: Play) -> None:
    conversation = await play.ask()
    await play.asked()
    play.stage.spoil_forms()
    await play.stage.press("Edit arguments", by="ben")
    await play.stage.until(lambda: not play.stage.no_form or play.stage.no_form in "".join(play.stage.told("ben")))
    await play.stage.edit("carefully", by="ben")
    await play.stage.until(lambda: any("carefully" in ask.shown for ask in play.stage.asks))
    await play.approved(conversation)


# --- the store -------------------------------------------------------------------------------------------------


async def _unrecorded(play: Play) -> None:
    """The message is visible, and the store does not know it."""
    with play.world.database_that_refuses("UPDATE ON ask_post WHEN NEW.state = 'posted'"):
        conversation = await play.ask()
        await play.asked()
        await play.stage.press("Run", by="ben")
        await play.answered(conversation)
    await play.recorded()


async def _uncounted(play: Play) -> None:
    conversation = await play.ask()
    await play.asked()
    with play.world.database_that_refuses("INSERT ON ask_vote"):
        await play.stage.press("Run", by="ben")
        (told,) = await play.stage.until(lambda: play.stage.told("ben"))
        assert "database" in told and play.world.calls == [], told
    await play.approved(conversation)


# --- the bot dies ----------------------------------------------------------------------------------------------


async def _killed_after_post(play: Play) -> None:
    """It dies between the post and the platform's answer."""
    play.stage.spoil("post", "held")
    async with play.world.run() as life:
        conversation = await play.ask()
        await play.stage.until_held()
        await play.world.kill(life)
    async with play.world.run():
        await play.asked()
        await play.approved(conversation)


async def _killed_after_change(play: Play) -> None:
    """It dies when all is done, but for the platform's answer to the change."""
    play.stage.spoil("change", "held")
    async with play.world.run() as life:
        conversation = await play.ask()
        await play.asked()
        await play.stage.press("Run", by="ben")
        await play.stage.until_held()
        await conversation.answered()
        await play.world.kill(life)
    async with play.world.run():
        await play.world.until_shown()
        await play.recorded()
    await play.answered(conversation)


async def _killed_while_it_waits(play: Play) -> None:
    async with play.world.run() as life:
        conversation = await play.ask()
        await play.asked()
        await play.world.kill(life)
    async with play.world.run():
        await play.approved(conversation)


async def _killed_while_it_runs(play: Play) -> None:
    async with play.world.run() as life:
        conversation = await play.ask()
        await play.asked()
        play.world.hold_tools()
        await play.stage.press("Run", by="ben")
        await until(lambda: play.world.calls, timeout_s=WAIT_S)
        await play.world.kill(life)
    play.world.release_tools()
    async with play.world.run():
        await play.answered(conversation, MAY_HAVE_RUN)
        await play.recorded()


REFUSED_ELSEWHERE = "the channel where an approval is to be asked for refuses it for good"
LOST_POST = "the connection is lost after an ask was posted"
FIXED = "a platform refuses for good to change the message of an ask"
AT_ONCE = "two people approve at the same moment"
UNKNOWN_GROUP = "the platform does not say who is in the group of those who approve"
LATE_FORM = "a form that changes the arguments opens too late"
ROWS = (
    Row(happens=REFUSED_ELSEWHERE, seen=f"in the thread, {RECORD}", scene=_asked_in_place, more=_elsewhere),
    Row(
        happens="each place refuses for good what is asked",
        seen="one answer, which says that the call could not be approved and was not run",
        scene=_asked_nowhere,
    ),
    Row(
        happens="429 on the post of an ask",
        seen=f"a little later, {RECORD}",
        scene=partial(_spoilt_post, fault="limited"),
    ),
    Row(happens=LOST_POST, seen=RECORD, scene=partial(_spoilt_post, fault="lost")),
    Row(
        happens="429 on the change of an ask to its record",
        seen=RECORD,
        scene=partial(_spoilt_record, fault="limited"),
    ),
    Row(
        happens="the connection is lost after an ask became its record",
        seen=RECORD,
        scene=partial(_spoilt_record, fault="lost"),
    ),
    Row(
        happens="each change of an ask fails with 500, and someone approves it again",
        seen="the call runs once; people who press again read that it was approved; later the message is the record",
        scene=_late_record,
    ),
    Row(
        happens=FIXED,
        seen="the call runs once; the record is a message of its own; people who press the old one read that",
        scene=_fixed_message,
    ),
    Row(
        happens="what only the presser would see cannot be shown",
        seen=f"the vote counts all the same; {RECORD}",
        scene=_untold,
        is_spoilt=False,
        approvers=_ben_and_cleo,
        more=lambda stage: "approvals = 2",
    ),
    Row(
        happens=AT_ONCE,
        seen=f"{RECORD}; the other one reads that it was decided",
        scene=_at_once,
        is_spoilt=False,
        approvers=_ben_and_cleo,
    ),
    Row(
        happens=UNKNOWN_GROUP,
        seen=f"a no with the reason, to the presser alone; once it says it, {RECORD}",
        scene=_unknown_group,
        is_spoilt=False,
        approvers=lambda stage: [stage.group()],
    ),
    Row(
        happens="the platform does not list the group whose people are to be asked directly",
        seen=f"in the thread, {RECORD}",
        scene=_unlisted_group,
        is_spoilt=False,
        approvers=lambda stage: [stage.group()],
        more=lambda stage: 'ask_in = "dm"',
    ),
    Row(
        happens=LATE_FORM,
        seen=f"the platform's or the bot's word that it failed; the next press opens it; {RECORD}",
        scene=_unopened_form,
        is_spoilt=False,
    ),
    Row(
        happens="the database cannot record that an ask was posted",
        seen=RECORD,
        scene=_unrecorded,
        is_spoilt=False,
    ),
    Row(
        happens="the database cannot store a vote",
        seen=f"a sentence to the presser; at the next press, {RECORD}",
        scene=_uncounted,
        is_spoilt=False,
    ),
    Row(
        happens="`kill -9` between the post of an ask and the platform's answer",
        seen=RECORD,
        scene=_killed_after_post,
        is_killed=True,
    ),
    Row(
        happens="`kill -9` while a call waits for its approval",
        seen=RECORD,
        scene=_killed_while_it_waits,
        is_spoilt=False,
        is_killed=True,
    ),
    Row(
        happens="`kill -9` between the change of an ask to its record and the platform's answer",
        seen=RECORD,
        scene=_killed_after_change,
        is_killed=True,
    ),
    Row(
        happens="`kill -9` while an approved call runs",
        seen="the record, and one answer, which says that the tool may have run",
        scene=_killed_while_it_runs,
        is_spoilt=False,
        is_killed=True,
    ),
)
IN_SUITE = (REFUSED_ELSEWHERE, FIXED, UNKNOWN_GROUP)
