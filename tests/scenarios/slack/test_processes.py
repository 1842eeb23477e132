"""Two processes of the bot on one database, behind one address: any of them takes any delivery of Slack's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.ports.cluster import About
from tests.fakes.slack import FakeSlack
from tests.scenarios.model import Model
from tests.scenarios.slack.pressing import Person
from tests.scenarios.slack.serving import Bot, open_world, serving
from tests.scenarios.slack.test_workspaces import Browser, many, two_workspaces
from tests.scenarios.slack.threads import Thread, start
from tests.scenarios.tools import without_tools


@dataclass
class Balanced:
    """The processes, and the address behind which they are."""

    slack: FakeSlack
    model: Model
    bots: list[Bot]

    def to(self, *numbers: int) -> None:
        """Give what comes now to these processes, in turn."""
        ports = [self.bots[number].adapter.session.port for number in numbers]
        self.slack.balanced_urls = [f"http://127.0.0.1:{port}/slack/events" for port in ports]


@asynccontextmanager
async def balanced(home: Path, *, count: int = 2, **settings: Any) -> AsyncGenerator[Balanced]:
    async with open_world() as (slack, model), AsyncExitStack() as stack:
        bots = [
            await stack.enter_async_context(serving(slack, model, home, mode="http", settings=settings))
            for _ in range(count)
        ]
        for bot in bots:
            await bot.app.store.describe(bot.app.host.cluster.worker, About(platforms=("slack",)))
        yield Balanced(slack, model, bots)


async def test_what_is_asked_at_one_process_is_stopped_changed_deleted_and_rated_at_another(tmp_path: Path) -> None:
    async with balanced(tmp_path, **without_tools(tmp_path)) as behind:
        slack, model = behind.slack, behind.model
        await model.fail("stall")
        behind.to(0)
        thread = await start(behind.bots[0], "U1", "one")
        await slack.until(lambda: slack.status("C1", thread.root) == "processing")
        second = await thread.say("U1", "two")
        third = await thread.say("U1", "three")
        await slack.settled()
        behind.to(1)
        await slack.edit("C1", second, "what can you do?")
        await slack.delete("C1", third)
        await slack.settled()
        await slack.press_stop("C1", thread.root, "U1")
        first, answer = await thread.answered(2)
        assert first == "Stopped."
        assert "I did not understand" not in answer
        await slack.settled()
        assert len(thread.answers) == 2
        shown = thread.answers[1]
        await slack.press("C1", shown.ts, "U1", "tb:feedback", value="good:2")
        rated = await Person(slack=slack).next_answer(after=0)
        assert rated.root == thread.root

        behind.to(0, 1)  # message and app_mention, and what comes twice
        slack.duplicate_next()
        other = await start(behind.bots[0], "U2", "both hear this")
        assert len(await other.answered()) == 1
        await slack.settled()
        assert len(other.answers) == 1


async def test_what_is_installed_removed_and_renewed_at_one_process_holds_at_another(tmp_path: Path) -> None:
    async with (
        two_workspaces() as (slack, model),
        many(slack, model, tmp_path, mode="http") as here,
        many(slack, model, tmp_path, mode="http") as there,
    ):
        behind = Balanced(slack, model, [here, there])
        slack.api.token_life_s = 600
        await Browser(here).install("T1")
        behind.to(1)
        first = await start(there, "U1", "good morning")
        await first.answered()
        # The button is followed at one process, and Slack leads back to the other; once.
        browser = Browser(here)
        back = await browser.allow("T2")
        assert (await Browser(there, browser.cookie).visit(back)).status == 200
        assert (await Browser(here, browser.cookie).visit(back)).status != 200
        behind.to(0)
        root = await slack.say("C9", "U9", "good morning", mention=True)
        await Thread(slack=slack, bot=None, channel="C9", root=root).answered()
        # Both find that the token runs out, and renew it once.
        slack.api.token_life_s = 43_200
        before = len(slack.calls_of("oauth.v2.access"))
        slack.advance(700)
        behind.to(0, 1)
        threads = [await start(here, "U1", f"question {number}") for number in range(6)]
        for thread in threads:
            await thread.answered()
        renewals = slack.calls_of("oauth.v2.access")[before:]
        assert all(call.ok for call in renewals)
        assert len(renewals) <= 2  # of each workspace, one
        behind.to(1)
        for delivery in await slack.uninstall("T1"):
            await slack.ended(delivery)
        assert not [name for name in await here.app.store.notes("slack/install/") if "T1" in name]
        behind.to(0)
        await Browser(there).install("T1")
        slack.teams["T1"].is_installed = True
        again = await start(here, "U1", "back again")
        await again.answered()


async def test_a_linked_message_is_read_also_where_another_process_is_told_of_its_preview(tmp_path: Path) -> None:
    async with balanced(tmp_path, **without_tools(tmp_path)) as behind:
        slack = behind.slack
        link = "https://team.slack.com/archives/C1/p1795000000000100"
        shown = {"is_msg_unfurl": True, "from_url": link, "author_name": "Carla", "text": "the quota is at 18,000"}
        slack.hold()
        thread = await start(behind.bots[0], "U1", f"what does <{link}> say?")
        asked, told = [one.payload for one in slack.held], len(slack.held)
        await slack.unfurl("C1", thread.root, shown)
        changed = [one.payload for one in slack.held][told:]
        await slack.release([])
        behind.to(0)
        for payload in asked:
            slack.deliver("events_api", payload, team="T1")
        behind.to(1)
        for payload in changed:
            await slack.ended(slack.deliver("events_api", payload, team="T1"))
        await thread.answered()
        (request,) = await behind.model.requests()
        assert "the quota is at 18,000" in str(request)


async def test_three_quick_messages_to_three_processes_are_answered_in_the_order_in_which_they_were_said(
    tmp_path: Path,
) -> None:
    async with balanced(tmp_path, count=3, **without_tools(tmp_path)) as behind:
        slack = behind.slack
        await behind.model.pace(first_token_s=1.5)
        behind.to(0)
        thread = await start(behind.bots[0], "U1", "the first")
        await slack.until(lambda: slack.status("C1", thread.root) == "processing")
        slack.hold()
        for text in ("the second", "the third", "the fourth"):
            await thread.say("U1", text)
        held = [delivery.payload for delivery in slack.held]
        await slack.release([])
        for number, payload in ((2, held[2]), (1, held[1]), (0, held[0])):
            behind.to(number)
            await slack.ended(slack.deliver("events_api", payload, team="T1"))
        await behind.model.pace(first_token_s=0.0)
        texts = await thread.answered(4)
        said = ("the first", "the second", "the third", "the fourth")
        assert [next(one for one in said if one in text) for text in texts] == [*said]


async def test_a_follow_up_that_reaches_a_process_before_the_question_reaches_another_is_answered(
    tmp_path: Path,
) -> None:
    async with balanced(tmp_path, **without_tools(tmp_path)) as behind:
        slack = behind.slack
        slack.hold()
        thread = await start(behind.bots[0], "U1", "the question")
        await thread.say("U1", "the follow-up")
        question, follow_up = (
            [one.payload for one in slack.held if (one.event["ts"] == thread.root) is is_root]
            for is_root in (True, False)
        )
        await slack.release([])
        behind.to(1)
        early = slack.deliver("events_api", follow_up[0], team="T1")
        await slack.ended(early)
        assert early.acked_at is not None
        assert len(early.sent_at) == 1
        behind.to(0)
        for payload in question:
            slack.deliver("events_api", payload, team="T1")
        first, second = await thread.answered(2)
        assert "the question" in first
        assert "the follow-up" in second
