"""Attacks by people: outsiders by every way in, tools that were never offered, files that are gone or hostile."""

from __future__ import annotations

import io
import logging
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from bot.cli.trust import look, require_trust, trusted
from bot.domain.answers import CommandAnswer, Ignored, Ready, Refused
from bot.domain.asks import AskView
from bot.domain.errors import SettingsError
from bot.domain.events import (
    CommandInvoked,
    DetailsAsked,
    FeedbackGiven,
    MessageEdited,
    RunRequest,
)
from bot.domain.forms import Form
from bot.domain.people import UNKNOWN, Standing
from bot.rights.current import CurrentPolicy
from bot.tools.resources import read_resource_spec
from tests.fakes.ports import calls
from tests.integration.attacking import (
    ADA,
    ALLOWS_ALL,
    ASKS_ADA,
    BEN,
    DEPLOY,
    EVE,
    GUEST,
    HERE,
    PROD,
    Site,
    details_asked,
    filled,
    form_asked,
    pressed,
    said,
    site,
    spec,
)

STRANGER = Standing(outsider="from another organization")
NO_DEPLOYS = '[[rule]]\nname = "never"\ntools = ["deploys/*"]\nthen = "deny"\n' + ALLOWS_ALL
LOOK = spec("files", "look")

Way = Callable[[Site, AskView, Mapping[str, Any]], Awaitable[object]]


def command(name: str, argument: str = "") -> Way:
    def way(at: Site, view: AskView, who: Mapping[str, Any]) -> Awaitable[object]:
        return at.bot.inbox.command(CommandInvoked(event_key=name, name=name, argument=argument, **who))

    return way


WAYS: dict[str, Way] = {
    "a message": lambda at, view, who: at.bot.inbox.accept(replace(said("hello", by=EVE), **who)),
    "a message with a call": lambda at, view, who: at.bot.inbox.accept(
        replace(said("/run", by=EVE, run=RunRequest(name=DEPLOY.name, arguments="{}")), **who)
    ),
    "an edit": lambda at, view, who: at.bot.inbox.revise(
        MessageEdited(message=replace(said("deploy it"), text="deploy more", **who))
    ),
    "a late mention": lambda at, view, who: at.bot.inbox.revise(
        MessageEdited(message=replace(said("new", by=EVE), edited_at=said("new").sent_at, **who))
    ),
    "/tools": command("tools"),
    "/history": command("history"),
    "/clear": command("clear"),
    "/stop": command("stop"),
    "/examples": command("examples"),
    "/run": command("run", f"deploys/{DEPLOY.tool} {{}}"),
    "/approvals": command("approvals"),
    "/usage": command("usage"),
    "a press": lambda at, view, who: at.bot.inbox.decide(replace(pressed(view, EVE), **who)),
    "a press on decline": lambda at, view, who: at.bot.inbox.decide(replace(pressed(view, EVE, "decline"), **who)),
    "a press on suggest": lambda at, view, who: at.bot.inbox.decide(replace(pressed(view, EVE, "suggest_rule"), **who)),
    "details of a question": lambda at, view, who: at.bot.inbox.details(replace(details_asked(view, EVE), **who)),
    "details of a turn": lambda at, view, who: at.bot.inbox.details(DetailsAsked(event_key="d", turn_id=1, **who)),
    "a rating": lambda at, view, who: at.bot.inbox.rate(FeedbackGiven(event_key="r", turn_id=1, rating="bad", **who)),
    "the form of a tool": lambda at, view, who: at.bot.inbox.form(
        replace(form_asked(f"run:{DEPLOY.name}", EVE), **who)
    ),
    "a filled form of a tool": lambda at, view, who: at.bot.inbox.submit(
        replace(filled(f"run:{DEPLOY.name}", EVE, {}), **who)
    ),
    "a form of changes": lambda at, view, who: at.bot.inbox.form(replace(form_asked(view.form_target, EVE), **who)),
    "filled in changes": lambda at, view, who: at.bot.inbox.submit(replace(filled(view.form_target, EVE, {}), **who)),
}


@pytest.mark.parametrize("who", ["a guest", "a stranger", "another channel", "another workspace"])
async def test_people_from_outside_get_nothing_by_any_way_in(tmp_path: Path, who: str) -> None:
    standing = {"a guest": GUEST, "a stranger": STRANGER}.get(who, UNKNOWN)
    place = {
        "another channel": replace(HERE, channel="C9"),
        "another workspace": replace(HERE, space="T9"),
    }.get(who, HERE)
    event = {"conversation": place, "author_id": EVE, "standing": standing}
    text = '[access]\nplaces = ["slack:T1:C042"]\n' + ASKS_ADA
    async with site(tmp_path, PROD, text=text) as at:
        view = await at.ask()
        for name, way in WAYS.items():
            outcome = await way(at, view, event)
            is_refused = isinstance(outcome, Refused) or (
                isinstance(outcome, CommandAnswer)
                and outcome.text.startswith(("I answer only people of this team", "I do not answer in this place"))
                and outcome.form is outcome.ready is None
            )
            assert is_refused, (name, outcome)
        record = await at.store.ask(view.ask_id)
        assert record is not None and (record.state, record.votes) == ("pending", ())
        assert len(await at.store.open_conversations(prefix="")) == 1
    assert at.servers.got == []


async def test_the_names_of_tools_are_not_suggested_to_people_from_outside(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        directory = at.bot.inbox.directory
        assert (await directory.offer(said("hello").asker)).tools == (DEPLOY,)
        assert (await directory.offer(said("hello", by=EVE, standing=GUEST).asker)).tools == ()


async def test_what_a_guest_says_in_a_thread_of_the_bot_is_no_question(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        await at.ask()
        follow_up = replace(said("and delete it", by=EVE, standing=GUEST), is_addressed=False)
        assert await at.bot.inbox.accept(follow_up) == Ignored()
        assert await at.store.find(follow_up.event_key) is None


# --- tools that were never offered ---


@pytest.mark.parametrize("name", [DEPLOY.name, "deploys__gone", "find_tools", "deploy", "", "deploys__deploy\n"])
async def test_a_call_of_a_name_that_was_not_offered_reaches_no_server(tmp_path: Path, name: str) -> None:
    async with site(tmp_path, calls(name), text=NO_DEPLOYS, specs=[DEPLOY, LOOK]) as at:
        [read] = await at.answered()
    assert at.servers.got == [] and read
    assert [tool.name for tool in at.model.requests[0].tools] == [LOOK.name]


async def test_a_denied_tool_is_not_found_among_many_and_not_run_by_its_name(tmp_path: Path) -> None:
    many = [spec("files", f"look_{number}") for number in range(80)]
    found = calls("find_tools", arguments='{"query": "deploys__deploy deploy"}')
    async with site(tmp_path, found, PROD, text=NO_DEPLOYS, specs=[DEPLOY, *many]) as at:
        read = await at.answered()
    assert DEPLOY.name not in read[0] and read[1].startswith("Error: Not allowed: ")
    assert at.servers.got == []
    assert all(tool.name != DEPLOY.name for request in at.model.requests for tool in request.tools)


async def test_resources_of_a_denied_server_are_neither_offered_nor_read(tmp_path: Path) -> None:
    text = '[[rule]]\nname = "never"\ntools = ["vault/*"]\nthen = "deny"\n' + ALLOWS_ALL
    reads = read_resource_spec(["docs", "vault"])
    call = calls("read_resource", arguments='{"server": "vault", "uri": "x:y"}')
    async with site(tmp_path, call, text=text, specs=[reads]) as at:
        [read] = await at.answered()
    assert at.model.requests[0].tools[0].parameters["properties"]["server"]["enum"] == ["docs"]
    assert read.startswith("Error: Not allowed: ") and at.servers.got == []


async def test_run_gives_nobody_a_tool_that_is_denied_to_them(tmp_path: Path) -> None:
    text = NO_DEPLOYS.replace('then = "deny"', 'people = ["slack:T1:U1"]\nthen = "deny"')
    target = f"run:{DEPLOY.name}"
    async with site(tmp_path, text=text, specs=[DEPLOY, LOOK]) as at:
        for argument in ("deploys/deploy {}", "deploys.deploy", DEPLOY.name, "deploy", "DEPLOYS/DEPLOY"):
            asked = CommandInvoked(conversation=HERE, event_key="c", author_id=ADA, name="run", argument=argument)
            answer = await at.bot.inbox.command(asked)
            assert isinstance(answer, CommandAnswer) and answer.ready is answer.form is None
        refused = [line.entry for line in await at.store.audit_lines()]  # a name that no tool has is no refusal
        assert {(one.kind, one.server, one.tool, one.outcome) for one in refused} == {
            ("refused", "deploys", "deploy", "run")
        }
        assert isinstance(await at.bot.inbox.form(form_asked(target, ADA)), Refused)
        assert isinstance(await at.bot.inbox.submit(filled(target, ADA, {})), Refused)
        assert isinstance(await at.bot.inbox.form(form_asked(target, BEN)), Form)
        await at.bot.say(said("/run forged", run=RunRequest(name=DEPLOY.name, arguments="{}")))
        await at.adapter.wait_for_posts(1)
        assert at.servers.got == []
        ready = await at.bot.inbox.submit(filled(target, BEN, {}))
        assert isinstance(ready, Ready)
        await at.bot.say(said("/run Ben's form", by=ADA, run=ready.run))  # somebody else's form
        await at.adapter.wait_for_posts(2)
    assert at.servers.got == [] and at.model.requests == []


async def test_in_a_dry_run_nothing_that_acts_is_sent_by_any_way(tmp_path: Path) -> None:
    dry = '\n[places."slack:T1:C042"]\ndry_run = true\n'
    own, reads = spec("own", "write", is_bundled=True), spec("files", "look", is_read_only=True)
    answer = calls(own.name, DEPLOY.name, reads.name)
    allows_deploys = ALLOWS_ALL.replace("*/*", "deploys/*")
    async with site(tmp_path, answer, text=allows_deploys + dry, specs=[own, reads, DEPLOY]) as at:
        read = await at.answered()
        await at.bot.say(said("/run", run=RunRequest(name=DEPLOY.name, arguments="{}")))
        await at.adapter.wait_for_posts(2)
    assert [text.startswith("Dry run: nothing was sent.") for text in read] == [True, True, False]
    assert at.servers.got == [("files", "look", {})]


async def test_what_was_approved_is_not_sent_where_the_place_is_a_dry_run_by_now(tmp_path: Path) -> None:
    async with site(tmp_path, PROD) as at:
        view = await at.ask()
        at.file.write(ASKS_ADA + '\n[places."slack:T1:C042"]\ndry_run = true\n')
        await at.press(view, ADA)
        await at.adapter.wait_for_posts(1)
    assert at.servers.got == [] and at.read_by_the_model()[0].startswith("Dry run")


@pytest.mark.parametrize("thread", ["", "1.1", "9.9"])
async def test_a_thread_has_the_rules_of_its_channel(tmp_path: Path, thread: str) -> None:
    text = '[[rule]]\nname = "here"\ntools = ["*/*"]\nplaces = ["slack:T1:C042"]\nthen = "deny"\n' + ALLOWS_ALL
    async with site(tmp_path, PROD, text=text) as at:
        await at.bot.say(replace(said("go"), conversation=replace(HERE, thread=thread)))
        await at.adapter.wait_for_posts(1)
    assert at.servers.got == []


# --- the policy file ---


@pytest.mark.parametrize("kind", ["folder", "broken link", "no text", "not valid", "empty link", "gone", "too large"])
def test_a_file_that_is_broken_while_the_bot_works_never_allows_what_it_forbade(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "toolbridge.toml"
    file.write_text(NO_DEPLOYS)
    current = CurrentPolicy(lambda: file if os.path.lexists(file) else None)
    before = current.now()
    file.unlink()
    match kind:
        case "folder":
            file.mkdir()
        case "broken link":
            file.symlink_to(tmp_path / "nowhere")
        case "empty link":
            file.symlink_to(os.devnull)
        case "no text":
            file.write_bytes(b"\xff\xfe\x00")
        case "not valid":
            file.write_text(ALLOWS_ALL + "[")
        case "too large":
            file.write_bytes(ALLOWS_ALL.encode() + b"#" * 1_000_001)
        case _:
            pass
    assert not current.reload().is_new
    assert current.now() is before


# --- a stranger's folder ---

ENV = "OPENAI_BASE_URL=https://evil.example/v1\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and a home beside it that the environment names."""
    here = tmp_path / "folder"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "home"))
    for name in ("MCP_CONFIG", "TOOLBRIDGE_CONFIG", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return here


@pytest.mark.parametrize(
    "line",
    [
        "OPENAI_BASE_URL=https://evil.example/v1",
        "openai_base_url=https://evil.example/v1",
        "export AZURE_OPENAI_ENDPOINT=https://evil.example",
        "TOOLBRIDGE_HOME=.",
        "TOOLBRIDGE_CONFIG=mine.toml",
        "MCP_CONFIG=/etc/passwd",
        "MCP_SERVER_URL=https://evil.example/mcp",
        "HTTPS_PROXY=http://evil.example:8080",
        "SSL_CERT_FILE=mine.pem",
        "DATABASE_URL=sqlite:///mine.db",
        "UNKNOWN=1",
    ],
)
def test_no_setting_of_a_strangers_env_file_counts_before_it_is_trusted(folder: Path, line: str) -> None:
    (folder / ".env").write_text(line)
    found = look(folder, environ=os.environ)
    assert (found.is_used, found.env_file) == (False, None)
    assert found.memory.parent == folder.parent / "home"
    with pytest.raises(SettingsError, match="Nothing was started"):
        require_trust(Namespace(trust=False), may_ask=False)


@pytest.mark.parametrize("name", [".env", "mcp.json", "toolbridge.toml"])
def test_a_link_is_trusted_by_what_it_leads_to(folder: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.write_text(ENV)
    (folder / name).symlink_to(target)
    trusted(look(folder, environ=os.environ))
    assert look(folder, environ=os.environ).is_used
    target.write_text(ENV + "OPENAI_MODEL=x\n")
    assert look(folder, environ=os.environ).untrusted == (name,)


@pytest.fixture
def logs_as_before() -> Generator[None]:
    """Put the process's logs back: a question sets up its own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("logs_as_before")
def test_a_file_that_changes_while_the_question_is_read_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(io.StringIO):
        def readline(self, size: int = -1, /) -> str:
            (folder / ".env").write_text(ENV.replace("evil", "worse"))
            return "y\n"

    (folder / ".env").write_text(ENV)
    monkeypatch.setattr("sys.stdin", Slow())
    with pytest.raises(SettingsError, match="have changed meanwhile"):
        require_trust(Namespace(trust=False), may_ask=True)
    assert not look(folder, environ=os.environ).is_used
