"""Where the bot is installed: kept in notes, found by workspace or organisation, renewed once, gone when revoked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web as server
from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from adapters.slack.api import open_client
from adapters.slack.installs import Installations, InstalledTokens, OneToken
from adapters.slack.oauth_states import MAX_STATES, NoteStates
from bot.domain.errors import AdapterError
from tests.fakes.slack import FakeSlack
from tests.unit.adapters.slack.test_api import Gate, Loopback, refusal, serving, status


@dataclass
class MemoryNotes:
    """The core's notes without a file."""

    kept: dict[str, str] = field(default_factory=dict)

    async def notes(self, prefix: str) -> Mapping[str, str]:
        await asyncio.sleep(0)
        return {name: text for name, text in self.kept.items() if name.startswith(prefix)}

    async def put_note(self, name: str, text: str | None) -> None:
        await asyncio.sleep(0)
        if text is None:
            self.kept.pop(name, None)
        else:
            self.kept[name] = text


def installation(team: str | None = "T1", enterprise: str | None = None, **more: Any) -> Installation:
    given: dict[str, Any] = {
        "app_id": "A1",
        "enterprise_id": enterprise,
        "team_id": team,
        "bot_token": f"xoxb-test-{enterprise}-{team}",
        "bot_id": "B1",
        "bot_user_id": "UBOT",
        "bot_scopes": "chat:write,users:read",
        "user_id": "U1",
        "is_enterprise_install": team is None,
        "installed_at": 1_700_000_000.5,
    }
    return Installation(**{**given, **more})


def expiring(in_s: float, **more: Any) -> Installation:
    return installation(
        bot_token="xoxb-test-old",
        bot_refresh_token="xoxe-test-1",
        bot_token_expires_at=int(time.time() + in_s),
        **more,
    )


async def test_what_was_saved_is_found_again_by_a_new_process() -> None:
    notes = MemoryNotes()
    saved = expiring(36_000, custom_values={"colour": "red"})
    await Installations(notes).async_save(saved)
    found = await Installations(notes).async_find_installation(enterprise_id=None, team_id="T1")
    assert found is not None
    assert found.to_dict_for_copying() == saved.to_dict_for_copying()
    bot = await Installations(notes).async_find_bot(enterprise_id=None, team_id="T1")
    assert bot is not None and bot.bot_token == "xoxb-test-old" and list(bot.bot_scopes) == ["chat:write", "users:read"]
    assert list(notes.kept) == ["slack/install/-/T1"]


async def test_a_later_installation_replaces_the_one_before() -> None:
    store = Installations(MemoryNotes())
    await store.async_save(installation())
    await store.async_save(installation(bot_token="xoxb-test-new", user_id="U2"))
    found = await store.async_find_bot(enterprise_id=None, team_id="T1")
    assert found is not None and found.bot_token == "xoxb-test-new"


async def test_a_bots_new_token_leaves_the_rest_of_the_installation() -> None:
    store = Installations(MemoryNotes())
    await store.async_save(installation(user_token="xoxp-test"))
    bot = installation().to_bot()
    bot.bot_token = "xoxb-test-new"
    await store.async_save_bot(bot)
    found = await store.async_find_installation(enterprise_id=None, team_id="T1")
    assert found is not None
    assert (found.bot_token, found.user_token, found.user_id) == ("xoxb-test-new", "xoxp-test", "U1")


async def test_a_bot_alone_can_be_saved_and_found() -> None:
    store = Installations(MemoryNotes())
    bot = Bot(team_id="T1", bot_token="xoxb-test", bot_id="B1", bot_user_id="UBOT", installed_at=1.0)
    await store.async_save_bot(bot)
    found = await store.async_find_bot(enterprise_id=None, team_id="T1")
    assert found is not None and found.bot_token == "xoxb-test"


@pytest.mark.parametrize(
    ("enterprise", "team", "is_org", "token"),
    [
        ("E1", "T1", False, "xoxb-test-E1-T1"),  # the workspace's own goes first
        ("E1", "T9", False, "xoxb-test-E1-None"),
        ("E1", None, True, "xoxb-test-E1-None"),
        ("E1", "T1", True, "xoxb-test-E1-None"),  # an org-wide delivery names a workspace too
        (None, "T2", False, "xoxb-test-None-T2"),
        ("E1", "T2", False, "xoxb-test-None-T2"),  # installed before its workspace joined the organisation
        ("E2", "T1", False, None),
        (None, "T9", False, None),
        (None, None, False, None),
    ],
)
async def test_the_workspaces_installation_is_found_first_and_then_its_organisations(
    enterprise: str | None, team: str | None, is_org: bool, token: str | None
) -> None:
    store = Installations(MemoryNotes())
    for saved in (installation("T1", "E1"), installation(None, "E1"), installation("T2")):
        await store.async_save(saved)
    found = await store.async_find_bot(enterprise_id=enterprise, team_id=team, is_enterprise_install=is_org)
    assert (found.bot_token if found else None) == token


async def test_an_installation_by_another_user_is_not_that_users() -> None:
    store = Installations(MemoryNotes())
    await store.async_save(installation(user_id="U1"))
    assert await store.async_find_installation(enterprise_id=None, team_id="T1", user_id="U1")
    assert await store.async_find_installation(enterprise_id=None, team_id="T1", user_id="U2") is None


async def test_a_user_who_takes_their_grant_back_leaves_the_bot_installed() -> None:
    store = Installations(MemoryNotes())
    await store.async_save(installation(user_token="xoxp-test"))
    await store.async_delete_installation(enterprise_id=None, team_id="T1", user_id="U2")
    await store.async_delete_installation(enterprise_id=None, team_id="T1", user_id="U1")
    found = await store.async_find_installation(enterprise_id=None, team_id="T1")
    assert found is not None and found.bot_token and found.user_token is None


@pytest.mark.parametrize("how", ["async_delete_bot", "async_delete_installation", "async_delete_all"])
async def test_a_deleted_installation_is_gone_and_others_stay(how: str) -> None:
    notes = MemoryNotes()
    store = Installations(notes)
    await store.async_save(installation("T1"))
    await store.async_save(installation("T2"))
    await getattr(store, how)(enterprise_id=None, team_id="T1")
    assert await store.async_find_bot(enterprise_id=None, team_id="T1") is None
    assert await store.async_find_bot(enterprise_id=None, team_id="T2")
    assert list(notes.kept) == ["slack/install/-/T2"]


async def test_the_single_workspaces_token_serves_every_team_and_is_not_shown() -> None:
    tokens = OneToken("xoxb-test-unseen")
    await tokens.forget("T1")
    assert await tokens.bot_token("T1") == "xoxb-test-unseen"
    assert "unseen" not in repr(tokens) + str(tokens)


async def test_an_organisations_token_serves_a_workspace_that_was_seen_in_it_over_a_restart() -> None:
    notes = MemoryNotes()
    await Installations(notes).async_save(installation(None, "E1"))
    tokens = InstalledTokens(Installations(notes))
    with pytest.raises(AdapterError, match="not installed"):
        await tokens.bot_token("T5")
    await tokens.remember("T5", "E1")
    assert await tokens.bot_token("T5") == "xoxb-test-E1-None"
    assert await InstalledTokens(Installations(notes)).bot_token("T5") == "xoxb-test-E1-None"


async def test_a_revoked_installation_has_no_token_any_more() -> None:
    notes = MemoryNotes()
    store = Installations(notes)
    await store.async_save(installation())
    tokens = InstalledTokens(store)
    assert await tokens.bot_token("T1") == "xoxb-test-None-T1"
    await store.async_delete_all(enterprise_id=None, team_id="T1")
    with pytest.raises(AdapterError, match="not installed") as caught:
        await tokens.bot_token("T1")
    assert caught.value.is_permanent


async def test_after_a_token_was_refused_what_another_process_saved_is_found() -> None:
    notes = MemoryNotes()
    tokens = InstalledTokens(Installations(notes))
    await Installations(notes).async_save(installation())
    await tokens.bot_token("T1")
    await Installations(notes).async_save(installation(bot_token="xoxb-test-new"))
    await tokens.forget("T1")
    assert await tokens.bot_token("T1") == "xoxb-test-new"


@asynccontextmanager
async def rotating(slack: Loopback, notes: MemoryNotes) -> AsyncGenerator[Installations]:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        rotator = AsyncTokenRotator(
            client_id="1.2", client_secret="test-secret", client=open_client(session, base_url=slack.url)
        )
        yield Installations(notes, rotator=rotator)


RENEWED = {
    "ok": True,
    "token_type": "bot",
    "access_token": "xoxb-test-new",
    "refresh_token": "xoxe-test-2",
    "expires_in": 43_200,
}


@pytest.mark.parametrize("left_s", [-60, 3_600])
async def test_a_token_with_under_two_hours_left_is_renewed_once_for_all_and_kept(left_s: float) -> None:
    notes = MemoryNotes()
    await Installations(notes).async_save(expiring(left_s))
    async with serving() as slack, rotating(slack, notes) as store:
        slack.script["oauth.v2.access"] = [RENEWED]
        tokens = InstalledTokens(store)
        assert {await token for token in [tokens.bot_token("T1") for _ in range(3)]} == {"xoxb-test-new"}
        at_once = await asyncio.gather(*(tokens.bot_token("T1") for _ in range(10)))
        assert set(at_once) == {"xoxb-test-new"}
    assert [b"refresh_token=xoxe-test-1" in request.body for request in slack.seen] == [True]
    assert await InstalledTokens(Installations(notes)).bot_token("T1") == "xoxb-test-new"


async def test_a_whole_slack_renews_each_token_with_the_refresh_token_of_the_one_before() -> None:
    notes = MemoryNotes()
    async with asyncio.timeout(30), FakeSlack() as slack, aiohttp.ClientSession() as session:
        slack.api.refresh_tokens["xoxe-test-1"] = "T1"
        client_id, client_secret = slack.api.client
        client = open_client(session, base_url=slack.api_url)
        rotator = AsyncTokenRotator(client_id=client_id, client_secret=client_secret, client=client)
        await Installations(notes).async_save(expiring(60))
        now = time.time()
        store = Installations(notes, rotator=rotator, now=lambda: now)
        first = await InstalledTokens(store).bot_token("T1")
        assert slack.tokens[first].team == "T1"
        again = await store.async_find_installation(enterprise_id=None, team_id="T1")
        assert again is not None
        again.bot_token_expires_at = int(now)  # twelve hours later
        await store.async_save(again)
        assert await InstalledTokens(store).bot_token("T1") not in (first, "xoxb-test-old")
    assert [call.ok for call in slack.calls_of("oauth.v2.access")] == [True, True]


async def test_those_who_ask_at_once_for_a_token_to_renew_share_one_request() -> None:
    notes, gate = MemoryNotes(), Gate()
    await Installations(notes).async_save(expiring(60))

    async def renew(request: server.Request) -> server.StreamResponse:
        await gate(request)
        return server.json_response(RENEWED)

    async with serving() as slack, rotating(slack, notes) as store:
        slack.script["oauth.v2.access"] = [renew]
        tokens = InstalledTokens(store)
        asking = [asyncio.create_task(tokens.bot_token("T1")) for _ in range(10)]
        await gate.arrived.wait()
        asking[
            0
        ].cancel()  # the caller that began it goes away: the refresh token is used up, so the new token must be kept
        gate.let_go.set()
        assert set(await asyncio.gather(*asking[1:])) == {"xoxb-test-new"}
    assert len(slack.seen) == 1
    assert "xoxe-test-2" in notes.kept["slack/install/-/T1"]


async def test_a_token_with_more_than_two_hours_left_is_used_as_it_is() -> None:
    notes = MemoryNotes()
    await Installations(notes).async_save(expiring(7_300))
    async with serving() as slack, rotating(slack, notes) as store:
        assert await InstalledTokens(store).bot_token("T1") == "xoxb-test-old"
    assert slack.seen == []


@pytest.mark.parametrize("fault", [refusal("invalid_refresh_token"), status(503)])
async def test_a_token_that_cannot_be_renewed_is_used_while_it_lives_and_slack_is_not_pressed(fault: Any) -> None:
    notes = MemoryNotes()
    await Installations(notes).async_save(expiring(3_600))
    async with serving() as slack, rotating(slack, notes) as store:
        slack.script["oauth.v2.access"] = [fault]
        tokens = InstalledTokens(store)
        with structlog.testing.capture_logs() as logged:
            assert [await tokens.bot_token("T1") for _ in range(3)] == ["xoxb-test-old"] * 3
    assert len(slack.seen) == 1
    assert [line["event"] for line in logged] == ["slack_token_not_renewed"]


async def test_no_secret_is_logged_while_a_token_is_renewed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    notes = MemoryNotes()
    await Installations(notes).async_save(expiring(60))
    async with serving() as slack, rotating(slack, notes) as store:
        slack.script["oauth.v2.access"] = [refusal("invalid_client"), RENEWED]
        with structlog.testing.capture_logs() as logged:
            await InstalledTokens(store).bot_token("T1")
        fresh = Installations(notes, rotator=store._rotator)
        with structlog.testing.capture_logs() as logged_later:
            await InstalledTokens(fresh).bot_token("T1")
    assert logged and logged_later
    written = f"{logged} {logged_later} {caplog.text} {store!r} {fresh!r}"
    assert not [secret for secret in ("xoxb-test", "xoxe-test", "test-secret") if secret in written]


async def test_a_state_is_good_once_over_a_restart() -> None:
    notes = MemoryNotes()
    state = await NoteStates(notes).async_issue()
    after_restart = NoteStates(notes)
    assert await after_restart.async_consume(state)
    assert not await after_restart.async_consume(state)
    assert notes.kept == {}


async def test_a_state_used_twice_at_once_is_good_for_one() -> None:
    states = NoteStates(MemoryNotes())
    state = await states.async_issue()
    assert sorted(await asyncio.gather(*(states.async_consume(state) for _ in range(5)))) == [False] * 4 + [True]


async def test_a_state_ends_after_ten_minutes_and_leaves_nothing() -> None:
    notes, now = MemoryNotes(), 1_000.0
    states = NoteStates(notes, now=lambda: now)
    early, late = await states.async_issue(), await states.async_issue()
    now += 599
    assert await states.async_consume(early)
    now += 1
    assert not await states.async_consume(late)
    await states.async_issue()
    now += 700
    last = await states.async_issue()
    (kept,) = notes.kept
    assert last not in kept
    assert await states.async_consume(last)
    assert not notes.kept


async def test_of_very_many_states_the_newest_are_good_and_the_others_leave_nothing() -> None:
    notes, now = MemoryNotes(), 1_000.0
    states = NoteStates(notes, now=lambda: now)
    issued: list[str] = []
    for _ in range(MAX_STATES + 1):
        issued.append(await states.async_issue())
        now += 0.01
    assert len(notes.kept) == MAX_STATES
    assert not await states.async_consume(issued[0])
    assert await states.async_consume(issued[1])
    assert await states.async_consume(issued[-1])


@pytest.mark.parametrize("state", ["", "made-up", "../install/-/T1", "%"])
async def test_a_state_that_was_not_issued_is_refused(state: str) -> None:
    notes = MemoryNotes()
    states = NoteStates(notes)
    await states.async_issue()
    assert not await states.async_consume(state)
    assert len(notes.kept) == 1
