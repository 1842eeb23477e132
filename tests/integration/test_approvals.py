"""Calls that people approve: the whole life of an ask, in process, on a real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from structlog.testing import capture_logs

from bot.domain.answers import Decided, Details, Done, Ready, Refused
from bot.domain.asks import AskView
from bot.domain.errors import AdapterError
from bot.domain.events import (
    Choice,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FormAsked,
    FormSubmitted,
    MessageReceived,
    RunRequest,
)
from bot.domain.forms import Form, Invalid
from bot.domain.messages import ToolMessage, ToolResult
from bot.domain.people import Actor
from bot.domain.rights import Facts, PlaceSettings, Ruling, Terms
from bot.domain.turns import CallDecided, CallJudged, CallStarted
from bot.observe.content_log import ContentLog
from bot.ports.model import ModelRequest
from bot.ports.store import Store
from tests.fakes.bots import Bot, open_bot
from tests.fakes.ports import (
    CONVERSATION,
    RecordingAdapter,
    ScriptedModel,
    ScriptedTools,
    calls,
    echoes,
    message,
    returns,
    says,
)
from tests.fakes.rights import Rights, ScriptedPolicy, allows, asks, denies

ADA, BEN, CLEO = "U1", "U2", "U3"
PROD = '{"env": "prod"}'
TWO_OF_ONCALL = Terms(approvers=("@oncall",), approvals=2, asker_may_approve=False)
BY_BEN = Terms(approvers=(f"fake:{BEN}",))


def rights(terms: Terms | None = None, **settings: object) -> Rights:
    oncall = {"@oncall": [f"fake:{ADA}", f"fake:{BEN}", f"fake:{CLEO}"]}
    policy = ScriptedPolicy(rules=asks(terms, only="deploy"), groups=oncall, **settings)  # type: ignore[arg-type]
    return Rights(policy)


def tools() -> ScriptedTools:
    return ScriptedTools({"deploy": echoes(), "look": returns("All is well.")})


def model(*names: str) -> ScriptedModel:
    return ScriptedModel([calls(*(names or ("deploy",)), arguments=PROD), says("Done.")])


async def press(bot: Bot, view: AskView, by: str, choice: Choice = "run", *, digest: str | None = None) -> Decided:
    return await bot.inbox.decide(
        DecisionMade(
            conversation=CONVERSATION,
            event_key=f"press {by} {choice}",
            author_id=by,
            author_name={ADA: "Ada", BEN: "Ben", CLEO: "Cleo"}[by],
            ask_id=view.ask_id,
            choice=choice,
            digest=view.digest if digest is None else digest,
        )
    )


def is_pending(view: AskView) -> bool:
    return view.state == "pending"


async def asked(bot: Bot, adapter: RecordingAdapter, text: str = "deploy it") -> AskView:
    await bot.say(message(text))
    return await adapter.wait_for_ask(is_pending)


def read_by_the_model(request: ModelRequest) -> list[str]:
    return [one.text for one in request.messages if isinstance(one, ToolMessage)]


@asynccontextmanager
async def only_pressed(store: Store, servers: ScriptedTools, rights: Rights) -> AsyncIterator[Bot]:
    """A process that serves another platform: it takes presses, and works on no turn of this one."""
    adapter = RecordingAdapter()
    adapter.serves = "other/"
    async with open_bot(store, model(), adapter, servers, worker="presses", rights=rights) as bot:
        yield bot


# --- one person ------------------------------------------------------------------------------------------------


async def test_a_call_that_asks_runs_once_when_it_is_approved_and_its_message_becomes_the_record(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model()
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights()) as bot:
        view = await asked(bot, adapter)
        assert servers.ran == []
        assert (view.title, view.choices) == (
            "Run fake/deploy?",
            ("run", "run_for_an_hour", "decline", "suggest_rule"),
        )
        assert [(line.name, line.value) for line in view.arguments] == [("env", '"prod"')]
        assert view.lines == (
            "Ada asks for it in this channel.",
            "Why it is asked: It acts (rule: ask first).",
            "Who may decide: Ada.",
        )
        assert await press(bot, view, ADA) == Done()
        assert await adapter.wait_for_posts(1) == ["Done."]
        record = await adapter.wait_for_ask(lambda shown: shown.state == "approved")
        assert isinstance(await press(bot, view, ADA), Refused)
    assert servers.ran == ["deploy"]
    assert record.record.startswith("**Approved** by Ada on ") and record.record.endswith("Rule: ask first.")
    assert (record.choices, record.form_target) == ((), "")
    assert adapter.asks_posted == 1
    assert read_by_the_model(answers.requests[-1]) == [PROD]
    assert adapter.views[-1].trace[0].note == "approved by Ada"


async def test_a_call_that_is_declined_is_never_sent_and_the_model_is_told_by_whom(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model()
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights(BY_BEN)) as bot:
        view = await asked(bot, adapter)
        await press(bot, view, BEN, "decline")
        await adapter.wait_for_posts(1)
        record = await adapter.wait_for_ask(lambda shown: shown.state == "declined")
    assert servers.ran == []
    assert read_by_the_model(answers.requests[-1])[0].startswith("Error: Ben declined this call at ")
    assert record.record.startswith("**Declined** by Ben on ")
    line = adapter.views[-1].trace[0]
    assert (line.state, line.note) == ("denied", "declined by Ben")


async def test_only_who_may_decide_decides_and_the_others_are_told_while_it_stays_pending(store: Store) -> None:
    adapter, servers = RecordingAdapter(), tools()
    async with open_bot(store, model(), adapter, servers, worker="a", rights=rights(BY_BEN)) as bot:
        view = await asked(bot, adapter)
        assert await press(bot, view, CLEO) == Refused(notice="Only fake:U2 may decide on this call.")
        assert await press(bot, view, ADA) == Refused(notice="Only fake:U2 may decide on this call.")
        record = await store.ask(view.ask_id)
        assert record is not None and record.state == "pending" and not record.votes
        refused = [line.entry for line in await store.audit_lines() if line.entry.kind == "refused"]
        assert [(entry.person, entry.outcome) for entry in refused] == [("fake:U3", "run"), ("fake:U1", "run")]
        await press(bot, view, BEN)
        await adapter.wait_for_posts(1)
    assert servers.ran == ["deploy"]


async def test_the_asker_takes_a_call_back_that_others_decide_on(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model()
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights(BY_BEN)) as bot:
        view = await asked(bot, adapter)
        assert isinstance(await press(bot, view, CLEO, "withdraw"), Refused)
        assert await press(bot, view, ADA, "withdraw") == Done()
        await adapter.wait_for_posts(1)
        await adapter.wait_for_ask(lambda shown: shown.state == "withdrawn")
    assert servers.ran == []
    assert "Ada took this call back" in read_by_the_model(answers.requests[-1])[0]


async def test_a_call_that_nobody_approves_expires_and_the_model_answers(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model()
    terms = Terms(expires_s=0.5)
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights(terms)) as bot:
        await bot.say(message("deploy it"))
        assert await adapter.wait_for_posts(1) == ["Done."]
    assert servers.ran == []
    assert "No one approved this call" in read_by_the_model(answers.requests[-1])[0]


async def test_stop_ends_a_turn_that_waits_and_its_ask_is_void(store: Store) -> None:
    adapter, servers = RecordingAdapter(), tools()
    async with open_bot(store, model(), adapter, servers, worker="a", rights=rights()) as bot:
        view = await asked(bot, adapter)
        assert await bot.stop()
        assert await adapter.wait_for_posts(1) == ["Stopped."]
        await adapter.wait_for_ask(lambda shown: shown.state == "void")
        assert isinstance(await press(bot, view, ADA), Refused)
    assert servers.ran == []


async def test_an_hour_is_granted_to_the_same_tool_and_person_in_this_conversation(store: Store) -> None:
    adapter, servers = RecordingAdapter(), tools()
    deploys = calls("deploy", arguments=PROD)
    answers = ScriptedModel([deploys, says("One."), deploys, says("Two."), deploys, says("Three.")])
    elsewhere = ConversationKey(platform="fake", space="team", channel="other")
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights()) as bot:
        view = await asked(bot, adapter)
        await press(bot, view, ADA, "run_for_an_hour")
        await adapter.wait_for_posts(1)
        await bot.say(message("again"))
        assert await adapter.wait_for_posts(2) == ["One.", "Two."]
        assert adapter.views[-1].trace[-1].note == "allowed here for an hour"
        await bot.say(message("there", conversation=elsewhere))
        await adapter.wait_for_ask(lambda shown: is_pending(shown) and shown.ask_id != view.ask_id)
    assert servers.ran == ["deploy", "deploy"]


async def test_an_hour_is_not_for_calls_that_others_approve(store: Store) -> None:
    adapter = RecordingAdapter()
    deploys = calls("deploy", arguments=PROD)
    answers = ScriptedModel([deploys, says("One."), deploys])
    async with open_bot(store, answers, adapter, tools(), worker="a", rights=rights(BY_BEN)) as bot:
        view = await asked(bot, adapter)
        assert "run_for_an_hour" not in view.choices
        await press(bot, view, BEN, "run_for_an_hour")
        await adapter.wait_for_posts(1)
        await bot.say(message("again"))
        await adapter.wait_for_ask(lambda shown: is_pending(shown) and shown.ask_id != view.ask_id)


# --- two people ------------------------------------------------------------------------------------------------


async def test_two_different_people_approve_and_the_asker_is_none_of_them(store: Store) -> None:
    adapter, servers = RecordingAdapter(), tools()
    async with open_bot(store, model(), adapter, servers, worker="a", rights=rights(TWO_OF_ONCALL)) as bot:
        view = await asked(bot, adapter)
        assert view.lines[-1] == "Who may decide: 2 people of @oncall, without Ada."
        assert isinstance(await press(bot, view, ADA), Refused)
        assert await press(bot, view, BEN) == Done(notice="Noted: 1 of 2; one more person has to approve.")
        assert await press(bot, view, BEN) == Done(notice="You have approved this already: 1 of 2.")
        await adapter.wait_for_ask(lambda shown: shown.votes == ("Ben approved (1 of 2)",))
        assert servers.ran == []
        await press(bot, view, CLEO)
        await adapter.wait_for_posts(1)
        record = await adapter.wait_for_ask(lambda shown: shown.state == "approved")
    assert servers.ran == ["deploy"]
    assert record.record.startswith("**Approved** by Ben and Cleo on ")
    started = [line.entry for line in await store.audit_lines() if line.entry.kind == "started"]
    assert [entry.approvers for entry in started] == [("fake:U2", "fake:U3")]


async def test_of_clicks_at_the_same_moment_each_person_counts_once(store: Store) -> None:
    adapter, servers = RecordingAdapter(), tools()
    async with open_bot(store, model(), adapter, servers, worker="a", rights=rights(TWO_OF_ONCALL)) as bot:
        view = await asked(bot, adapter)
        await asyncio.gather(*(press(bot, view, by) for by in (BEN, BEN, CLEO, CLEO, BEN)))
        await adapter.wait_for_posts(1)
    assert servers.ran == ["deploy"]
    [decided] = [step for step in await store.steps(1) if isinstance(step, CallDecided)]
    assert sorted(vote.person for vote in decided.votes) == ["fake:U2", "fake:U3"]


async def test_an_approval_of_somebody_who_may_not_approve_any_more_does_not_count(store: Store) -> None:
    adapter, servers, answers, now = RecordingAdapter(), tools(), model(), rights(TWO_OF_ONCALL)
    async with open_bot(store, answers, adapter, servers, worker="a", rights=now) as bot:
        view = await asked(bot, adapter)
        await press(bot, view, BEN)
        now.now = ScriptedPolicy(rules=asks(TWO_OF_ONCALL, only="deploy"), groups={"@oncall": [f"fake:{CLEO}"]})
        assert await press(bot, view, CLEO) == Done(notice="Noted: 1 of 2; one more person has to approve.")
    assert servers.ran == []


async def test_an_approval_is_spent_only_where_it_still_holds(store: Store) -> None:
    first, second, servers, answers, now = RecordingAdapter(), RecordingAdapter(), tools(), model(), rights(BY_BEN)
    async with open_bot(store, answers, first, servers, worker="a", rights=now) as bot:
        view = await asked(bot, first)
        bot.crash()
    async with only_pressed(store, servers, now) as other:
        assert await press(other, view, BEN) == Done()
    now.change(asks(TWO_OF_ONCALL, only="deploy"))
    async with open_bot(store, answers, second, servers, worker="b", rights=now):
        await second.wait_for_posts(1)
    assert servers.ran == []
    assert "The approval no longer holds" in read_by_the_model(answers.requests[-1])[0]


# --- the current policy -----------------------------------------------------------------------------------------


async def test_a_policy_that_denies_by_now_ends_the_call_at_the_click(store: Store) -> None:
    adapter, servers, answers, now = RecordingAdapter(), tools(), model(), rights()
    async with open_bot(store, answers, adapter, servers, worker="a", rights=now) as bot:
        view = await asked(bot, adapter)
        now.change(denies)
        outcome = await press(bot, view, ADA)
        await adapter.wait_for_posts(1)
    assert isinstance(outcome, Refused) and "Nobody may do that." in outcome.notice
    assert servers.ran == []
    assert "Nobody may do that." in read_by_the_model(answers.requests[-1])[0]


async def test_a_policy_that_allows_by_now_needs_one_click(store: Store) -> None:
    adapter, servers, now = RecordingAdapter(), tools(), rights(TWO_OF_ONCALL)
    async with open_bot(store, model(), adapter, servers, worker="a", rights=now) as bot:
        view = await asked(bot, adapter)
        now.change(allows)
        assert await press(bot, view, BEN) == Done()
        await adapter.wait_for_posts(1)
    assert servers.ran == ["deploy"]


async def test_a_call_that_is_denied_is_not_sent_and_leaves_its_verdict_in_journal_and_audit(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model("deploy", "look")
    policy = ScriptedPolicy(rules=lambda facts: denies(facts) if facts.tool.tool == "deploy" else allows(facts))
    async with open_bot(store, answers, adapter, servers, worker="a", rights=Rights(policy)) as bot:
        await bot.say(message("deploy it"))
        await adapter.wait_for_posts(1)
    assert servers.ran == ["look"]
    assert read_by_the_model(answers.requests[-1]) == ["Error: Not allowed: Nobody may do that.", "All is well."]
    steps = await store.steps(1)
    assert [(step.call_id, step.verdict) for step in steps if isinstance(step, CallJudged)] == [
        ("call_0", "deny"),
        ("call_1", "allow"),
    ]
    assert [step.call_id for step in steps if isinstance(step, CallStarted)] == ["call_1"]
    entries = [line.entry for line in await store.audit_lines()]
    assert [(entry.kind, entry.tool, entry.verdict, entry.rule, entry.outcome) for entry in entries] == [
        ("judged", "deploy", "deny", "never", "denied"),
        ("started", "look", "allow", "tests", ""),
        ("finished", "look", "allow", "tests", "ok"),
    ]


async def test_a_tool_that_is_denied_is_not_offered_and_a_call_of_it_reaches_no_server(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model()
    policy = ScriptedPolicy(rules=denies, denied_tools=frozenset({"deploy"}))
    async with open_bot(store, answers, adapter, servers, worker="a", rights=Rights(policy)) as bot:
        await bot.say(message("deploy it"))
        await adapter.wait_for_posts(1)
    assert [tool.name for tool in answers.requests[0].tools] == ["look"]
    assert servers.ran == []


async def test_a_name_that_no_tool_has_reaches_no_server(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model("deplyo")
    async with open_bot(store, answers, adapter, servers, worker="a") as bot:
        await bot.say(message("deploy it"))
        await adapter.wait_for_posts(1)
    assert servers.ran == []
    assert "There is no tool of the name 'deplyo'. Did you mean deploy?" in read_by_the_model(answers.requests[-1])[0]


async def test_a_dry_run_sends_nothing_and_says_what_would_have_been_sent_and_asked(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model("deploy", "look")
    now = rights(settings=PlaceSettings(dry_run=True, prompt="Be kind.", model="small", trace="full"))
    async with open_bot(store, answers, adapter, servers, worker="a", rights=now) as bot:
        await bot.say(message("deploy it"))
        await adapter.wait_for_posts(1)
    assert servers.ran == []
    assert read_by_the_model(answers.requests[-1]) == [
        "Dry run: nothing was sent. Otherwise it would ask first, by the rule 'ask first'; then fake/deploy would be "
        f"called with: {PROD}",
        f"Dry run: nothing was sent. Otherwise fake/look would be called with: {PROD}",
    ]
    assert [(line.state, line.note) for line in adapter.views[-1].trace] == [
        ("withheld", "dry run: would ask first; it was not sent"),
        ("withheld", "dry run: it was not sent"),
    ]
    assert (answers.requests[0].system, answers.requests[0].model) == ("Be brief.\n\nBe kind.", "small")
    assert adapter.views[-1].trace_style == "full"


class Counting:
    """A store that counts the writes of turns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("accept", "claim", "record", "park", "reply", "mark_posting", "mark_posted", "put_pins", "audit"):
            self.writes.append(name)
        return getattr(self._store, name)


async def test_judging_costs_no_commit_of_its_own(store: Store) -> None:
    adapter, counting = RecordingAdapter(), Counting(store)
    answers = ScriptedModel([calls("deploy", "look"), says("One."), calls("deploy", "look"), says("Two.")])
    async with open_bot(cast("Store", counting), answers, adapter, tools(), worker="a") as bot:
        await bot.say(message("first"))  # pins the tools
        await adapter.wait_for_posts(1)
        counting.writes.clear()
        await bot.say(message("second"))
        await adapter.wait_for_posts(2)
    writes = [name for name in counting.writes if name != "claim"]  # is tried whenever the bell rings
    assert writes == ["accept", "record", "record", "record", "reply", "mark_posted"]


# --- several calls, edits --------------------------------------------------------------------------------------


async def test_two_identical_calls_are_two_decisions_and_allowed_ones_run_at_once(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model("deploy", "look", "deploy")
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights()) as bot:
        first = await asked(bot, adapter)
        second = await adapter.wait_for_ask(lambda shown: is_pending(shown) and shown.ask_id != first.ask_id)
        assert servers.ran == ["look"]
        await press(bot, first, ADA)
        await adapter.wait_for_ask(lambda shown: shown.ask_id == first.ask_id and shown.state == "approved")
        await press(bot, second, ADA, "decline")
        await adapter.wait_for_posts(1)
    assert servers.ran == ["look", "deploy"]


async def test_edited_arguments_are_what_runs_and_approvals_before_the_edit_are_void(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model()
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights(TWO_OF_ONCALL)) as bot:
        view = await asked(bot, adapter)
        await press(bot, view, BEN)
        form = await bot.inbox.form(_form(view.form_target, BEN))
        assert isinstance(form, Form) and form.submit == "Change"
        values = {field.name: field.value for field in form.fields} | {form.fields[-1].name: '{"env": "dev"}'}
        assert isinstance(await bot.inbox.submit(_filled(view.form_target, BEN, values)), Done)
        edited = await adapter.wait_for_ask(lambda shown: shown.digest != view.digest)
        assert (edited.votes, [line.value for line in edited.arguments]) == ((), ['"dev"'])
        assert edited.lines[-1] == "Ben changed the arguments; the model had asked for others."
        stale = await press(bot, view, CLEO)
        assert isinstance(stale, Refused) and "have changed" in stale.notice
        await press(bot, edited, BEN)
        await press(bot, edited, CLEO)
        await adapter.wait_for_posts(1)
    assert [json.loads(call.arguments) for call in servers.sent] == [{"env": "dev"}]
    text = read_by_the_model(answers.requests[-1])[0]
    assert text.startswith('[Ben changed the arguments of this call before it ran, to: {"env": "dev"}]')
    assert adapter.views[-1].trace[0].note == "approved by Ben and Cleo with changed arguments"
    record = await store.ask(view.ask_id)
    assert record is not None and record.original == PROD


async def test_the_log_with_content_has_the_arguments_that_ran_also_after_an_edit_and_a_restart(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model()
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights()) as bot:
        view = await asked(bot, adapter)
        form = await bot.inbox.form(_form(view.form_target, ADA))
        assert isinstance(form, Form)
        values = {field.name: field.value for field in form.fields} | {form.fields[-1].name: '{"env": "dev"}'}
        await bot.inbox.submit(_filled(view.form_target, ADA, values))
        edited = await adapter.wait_for_ask(lambda shown: shown.digest != view.digest)
    with capture_logs() as lines:
        async with open_bot(
            store, answers, adapter, servers, worker="b", rights=rights(), observers=[ContentLog()]
        ) as bot:
            await press(bot, edited, ADA)
            await adapter.wait_for_posts(1)
    (call,) = [line for line in lines if line["event"] == "tool_call"]
    (turn,) = [line for line in lines if line["event"] == "conversation_turn"]
    assert (call["tool"], json.loads(call["arguments"]), call["success"]) == ("fake/deploy", {"env": "dev"}, True)
    assert (turn["question"], turn["answer"], turn["tools"]) == ("deploy it", "Done.", ["deploy"])


async def test_arguments_that_the_policy_denies_are_refused_in_the_form(store: Store) -> None:
    def rules(facts: Facts) -> Ruling:
        return denies(facts) if (facts.arguments or {}).get("env") == "dev" else asks()(facts)

    adapter = RecordingAdapter()
    now = Rights(ScriptedPolicy(rules=rules))
    async with open_bot(store, model(), adapter, tools(), worker="a", rights=now) as bot:
        view = await asked(bot, adapter)
        form = await bot.inbox.form(_form(view.form_target, ADA))
        assert isinstance(form, Form)
        outcome = await bot.inbox.submit(_filled(view.form_target, ADA, {form.fields[-1].name: '{"env": "dev"}'}))
        assert isinstance(await bot.inbox.form(_form(view.form_target, CLEO)), Refused)
    assert outcome == Invalid(notice="The policy does not allow these arguments: Nobody may do that.")


async def test_details_show_all_arguments_to_the_conversation_and_to_those_who_decide(store: Store) -> None:
    adapter = RecordingAdapter()
    long = json.dumps({"note": "x" * 5_000, "env": "prod", "password": "hunter2"})
    answers = ScriptedModel([calls("deploy", arguments=long), says("Done.")])
    other = ConversationKey(platform="fake", space="team", channel="other")
    async with open_bot(store, answers, adapter, tools(), worker="a", rights=rights(BY_BEN)) as bot:
        view = await asked(bot, adapter)
        shown = await bot.inbox.details(_details(view, CLEO, CONVERSATION))
        assert isinstance(await bot.inbox.details(_details(view, BEN, other)), Details)
        assert isinstance(await bot.inbox.details(_details(view, CLEO, other)), Refused)
    assert [(line.name, line.is_cut) for line in view.arguments] == [
        ("note", True),
        ("env", False),
        ("password", False),
    ]
    assert view.arguments[2].value == '"[hidden]"'
    assert isinstance(shown, Details) and "x" * 5_000 in shown.lines[0].arguments
    assert "hunter2" not in shown.lines[0].arguments


# --- processes, platforms --------------------------------------------------------------------------------------


async def test_each_step_of_an_approval_survives_the_death_of_its_process(store: Store) -> None:
    servers, answers, now = tools(), model(), rights(TWO_OF_ONCALL)
    first, second = RecordingAdapter(), RecordingAdapter()
    second.asks = first.asks  # one platform
    async with open_bot(store, answers, first, servers, worker="a", rights=now) as bot:
        view = await asked(bot, first)
        bot.crash()
    for by in (BEN, CLEO):
        async with only_pressed(store, servers, now) as other:
            await press(other, view, by)
            other.crash()
    async with open_bot(store, answers, second, servers, worker="b", rights=now):
        await second.wait_for_posts(1)
        await second.wait_for_ask(lambda shown: shown.state == "approved")
    assert servers.ran == ["deploy"]
    assert len(first.asks) == 1, "one message, changed by whichever process"


async def test_a_call_that_had_started_after_its_approval_is_not_run_again(store: Store) -> None:
    first, second, now = RecordingAdapter(), RecordingAdapter(), rights()
    is_running = asyncio.Event()

    async def hangs(call: object) -> ToolResult:
        is_running.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    servers = ScriptedTools({"deploy": hangs}, repeatable=frozenset({"deploy"}))
    answers = ScriptedModel([calls("deploy", arguments=PROD), says("Done.")])
    async with open_bot(store, answers, first, servers, worker="a", rights=now) as bot:
        view = await asked(bot, first)
        await press(bot, view, ADA)
        async with asyncio.timeout(20):
            await is_running.wait()
        bot.crash()
    await store.expire("a")
    async with open_bot(store, answers, second, servers, worker="b", rights=now):
        await second.wait_for_posts(1)
    assert servers.ran == ["deploy"]
    assert "It may have run" in read_by_the_model(answers.requests[-1])[0]


async def test_an_approved_call_is_sent_once_and_another_one_as_often_as_its_tool_allows(store: Store) -> None:
    adapter, servers = RecordingAdapter(), tools()
    async with open_bot(store, model(), adapter, servers, worker="a", rights=rights()) as bot:
        await press(bot, await asked(bot, adapter), ADA)
        await adapter.wait_for_posts(1)
    async with open_bot(store, model(), adapter, servers, worker="b") as bot:
        await bot.say(message("again"))
        await adapter.wait_for_posts(2)
    assert servers.may_repeat == [False, True]


async def test_a_message_that_may_be_visible_already_is_found_and_not_posted_again(store: Store) -> None:
    adapter = RecordingAdapter()
    adapter.loses_references = True
    adapter.ask_failures.append(AdapterError("the connection broke"))
    async with open_bot(store, model(), adapter, tools(), worker="a", rights=rights()) as bot:
        view = await asked(bot, adapter)
        await press(bot, view, ADA)
        await adapter.wait_for_posts(1)
        await adapter.wait_for_ask(lambda shown: shown.state == "approved")
    assert adapter.asks_posted == 1


async def test_of_two_processes_that_serve_a_place_one_shows_the_ask(store: Store) -> None:
    adapter, servers, answers, now = RecordingAdapter(), tools(), model(), rights()
    async with (
        open_bot(store, answers, adapter, servers, worker="a", rights=now) as bot,
        open_bot(store, answers, adapter, servers, worker="b", rights=now) as other,
    ):
        view = await asked(bot, adapter)
        await press(other, view, ADA)
        await adapter.wait_for_posts(1)
        await adapter.wait_for_ask(lambda shown: shown.state == "approved")
    assert adapter.asks_posted == 1
    assert servers.ran == ["deploy"]


async def test_what_is_asked_on_one_platform_is_decided_on_another(store: Store) -> None:
    here, there, servers = RecordingAdapter(), RecordingAdapter(), tools()
    there.name, there.serves = "other", "other/"
    now = rights(Terms(approvers=("other:U9",), ask_in="other:team:ops"))
    async with open_bot(store, model(), here, servers, worker="a", rights=now, more_adapters=[there]) as bot:
        await bot.say(message("deploy it"))
        view = await there.wait_for_ask(is_pending)
        ops = ConversationKey(platform="other", space="team", channel="ops")
        click = DecisionMade(
            conversation=ops,
            event_key="click",
            author_id="U9",
            author_name="Ops",
            ask_id=view.ask_id,
            choice="run",
            digest=view.digest,
        )
        assert await bot.inbox.decide(click) == Done()
        await here.wait_for_posts(1)
        record = await there.wait_for_ask(lambda shown: shown.state == "approved")
    assert servers.ran == ["deploy"]
    assert (here.asks, record.record.partition(" on ")[0]) == ({}, "**Approved** by Ops")


async def test_an_ask_whose_place_refuses_it_is_shown_in_the_thread(store: Store) -> None:
    adapter = RecordingAdapter()
    adapter.refuses_places.add("fake/team/closed/")
    now = rights(Terms(ask_in="fake:team:closed"))
    async with open_bot(store, model(), adapter, tools(), worker="a", rights=now) as bot:
        await asked(bot, adapter)
    [post] = adapter.asks.values()
    assert (post.place, post.in_reply_to) == (CONVERSATION, "deploy it")


class Silent(RecordingAdapter):
    """A platform that never says who has a role."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.is_asked = "discord", asyncio.Event()

    async def members(self, group: str) -> list[str]:
        self.is_asked.set()
        await asyncio.Event().wait()
        return []


async def test_no_ask_waits_for_what_a_platform_does_not_say_of_another_one(store: Store) -> None:
    adapter, now = Silent(), rights(Terms(approvers=("discord:1:role:7",), ask_in="dm"))
    answers = ScriptedModel([calls("deploy", arguments=PROD), calls("deploy", arguments=PROD)])
    async with open_bot(store, answers, adapter, tools(), worker="a", rights=now) as bot:
        await bot.say(message("deploy it"))
        await adapter.is_asked.wait()
        now.change(asks(only="deploy"))
        view = await asked(bot, adapter, "deploy it too")
    assert view.ask_id == 2


async def test_an_ask_that_no_place_takes_is_void_and_the_model_is_told(store: Store) -> None:
    adapter, answers = RecordingAdapter(), model()
    adapter.refuses_places.update({"fake/team/closed/", str(CONVERSATION)})
    now = rights(Terms(ask_in="fake:team:closed"))
    async with open_bot(store, answers, adapter, tools(), worker="a", rights=now) as bot:
        await bot.say(message("deploy it"))
        await adapter.wait_for_posts(1)
    assert "does not let the bot ask" in read_by_the_model(answers.requests[-1])[0]


# --- a call of one's own ---------------------------------------------------------------------------------------


async def test_a_call_that_a_person_makes_asks_no_model_and_passes_the_same_policy(store: Store) -> None:
    adapter, servers, answers = RecordingAdapter(), tools(), model()
    async with open_bot(store, answers, adapter, servers, worker="a", rights=rights()) as bot:
        await bot.say(_run("look", "{}"))
        assert await adapter.wait_for_posts(1) == ["All is well."]
        await bot.say(_run("deploy", PROD))
        view = await adapter.wait_for_ask(is_pending)
        await press(bot, view, ADA)
        assert await adapter.wait_for_posts(2) == ["All is well.", PROD]
    assert answers.requests == [] and answers.summary_requests == []
    assert servers.ran == ["look", "deploy"]
    assert (await store.usage()).usage.input_tokens == 0


async def test_the_form_of_a_tool_makes_a_call_that_is_ready(store: Store) -> None:
    adapter = RecordingAdapter()
    policy = ScriptedPolicy(denied_tools=frozenset({"deploy"}))
    async with open_bot(store, model(), adapter, tools(), worker="a", rights=Rights(policy)) as bot:
        assert isinstance(await bot.inbox.form(_form("run:look", ADA)), Form)
        ready = await bot.inbox.submit(_filled("run:look", ADA, {}))
        assert isinstance(await bot.inbox.submit(_filled("run:deploy", ADA, {})), Refused)
    assert ready == Ready(run=RunRequest(name="look", arguments="{}"), text="/run fake/look")


async def test_targets_of_any_shape_are_refused(store: Store) -> None:
    async with open_bot(store, model(), RecordingAdapter(), tools(), worker="a") as bot:
        for target in ("", "edit:", "edit:x", "answer:99", f"edit:{'9' * 5_000}", "run:nothing", "edit:²", "what:1"):
            assert isinstance(await bot.inbox.form(_form(target, ADA)), Refused)
            assert isinstance(await bot.inbox.submit(_filled(target, ADA, {})), Refused)


def _run(name: str, arguments: str) -> MessageReceived:
    received = message(f"/run fake/{name}")
    return MessageReceived(
        conversation=received.conversation,
        event_key=f"run {name}",
        author_id=ADA,
        author_name="Ada",
        text=received.text,
        sent_at=received.sent_at,
        run=RunRequest(name=name, arguments=arguments),
    )


def _form(target: str, by: str) -> FormAsked:
    return FormAsked(conversation=CONVERSATION, event_key=f"form {by}", author_id=by, target=target)


def _filled(target: str, by: str, values: dict[str, str]) -> FormSubmitted:
    return FormSubmitted(
        conversation=CONVERSATION,
        event_key=f"submit {by}",
        author_id=by,
        author_name={ADA: "Ada", BEN: "Ben", CLEO: "Cleo"}[by],
        target=target,
        values=values,
    )


def _details(view: AskView, by: str, where: ConversationKey) -> DetailsAsked:
    return DetailsAsked(conversation=where, event_key=f"details {by}", author_id=by, ask_id=view.ask_id)


def test_an_actor_of_the_stand_in_platform_is_named_as_these_tests_name_them() -> None:
    assert str(Actor(platform="fake", space="team", id=BEN)) == f"fake:{BEN}"
