"""What every store keeps to when it shows, forgets and purges what it keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from bot.domain.asks import ApprovalAsk, Vote
from bot.domain.audit import AuditEntry
from bot.domain.events import ConversationKey, MessageReceived, Quoted
from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, ToolResult, Usage, UserMessage
from bot.domain.people import Actor
from bot.domain.turns import CallAsked, CallDecided, CallFinished, CallWaiting, ModelAnswered
from bot.ports.retention_store import Forgotten
from bot.ports.rights_store import Settlement
from bot.ports.store import Store
from bot.ports.work_store import Lease
from tests.contracts.stores import (
    HERE,
    Clock,
    OpenStore,
    accepted,
    begin,
    claim_one,
    finish,
    post,
    question,
    room,
    said,
)

DAY_S = 86_400.0
ANN = Actor(platform="test", space="team", id="u1")
BEN = "u2"


async def talk(store: Store, conversation: str = "room", *, text: str = "hello") -> int:
    lease = await begin(store, conversation, text=text)
    await store.record(lease, [], audit=[call_line(lease, text)])
    await finish(store, lease, *said(text))
    return lease.turn_id


def call_line(lease: Lease, arguments: str) -> AuditEntry:
    return AuditEntry(kind="started", at=1.0, person="test:u1", arguments=arguments, turn_id=lease.turn_id)


def of_ben(
    conversation: ConversationKey, *, text: str = "And this?", quoted: tuple[Quoted, ...] = ()
) -> MessageReceived:
    return replace(question(text=text), conversation=conversation, author_id=BEN, author_name="Ben", quoted=quoted)


async def quoting(store: Store, quoted: Quoted, *, context: str, quotes: tuple[str, ...]) -> int:
    """Have Ben ask in Ann's room about a message, and get an answer."""
    turn_id = await accepted(store, of_ben(room("room"), quoted=(quoted,)))
    turn = await claim_one(store)
    await finish(
        store,
        turn.lease,
        UserMessage(text="And this?", context=context, quotes=quotes),
        AssistantMessage(text="It says so."),
    )
    return turn_id


async def texts(store: Store, name: str = "room") -> list[str]:
    entries = await store.transcript(room(name), limit=100)
    return [entry.message.text for entry in entries]


# --- what is shown ---------------------------------------------------------------------------------------------


async def test_a_timeline_has_each_step_with_its_time_and_all_that_was_asked(store: Store, clock: Clock) -> None:
    lease = await begin(store)
    call = ToolCall(id="c1", name="s__t", arguments="{}")
    began = clock.now
    await store.record(
        lease,
        [
            ModelAnswered(round=0, answer=ModelAnswer(message=AssistantMessage(text="", tool_calls=(call,)))),
            CallAsked(round=0, call=call, server="s", tool="t"),
        ],
    )
    clock.now += 5
    await store.record(lease, [CallFinished(round=0, result=ToolResult(call_id="c1", text="done"))])
    await finish(store, lease, *said("hi"))
    (turn,) = await store.timeline(room("room"))
    assert [step.at for step in turn.steps] == [began, began, began + 5]
    assert turn.event is not None and turn.event.author_name == "Ann"
    assert (turn.state, turn.ended_at, [item.text for item in turn.posts]) == ("answered", began + 5, ["4"])
    assert await store.timeline(room("elsewhere")) == []


async def test_the_events_that_are_kept_are_those_of_turns_that_have_ended(store: Store) -> None:
    await talk(store)
    await accepted(store, question(key="open"))
    (ended,) = await store.kept_events(room("room"))
    assert ended != "open"
    await store.clear(room("room"))
    assert await store.kept_events(room("room")) == []


async def test_clearing_leaves_the_lines_of_the_audit_without_their_arguments(store: Store) -> None:
    await talk(store, text="secret plan")
    await talk(store, "other", text="stays")
    await store.clear(room("room"))
    cleared, kept = await store.audit_lines()
    assert cleared.is_purged and cleared.entry.arguments == "" and cleared.arguments_digest
    assert kept.entry.arguments == "stays"


# --- what is too old ------------------------------------------------------------------------------------------


async def forget_all(store: Store, before: float, *, limit: int = 50) -> Forgotten:
    gone = Forgotten()
    while (part := await store.forget_older(before, limit=limit)) != Forgotten():
        gone += part
    return gone


async def test_turns_that_ended_long_ago_lose_their_texts_and_newer_and_open_ones_keep_them(
    store: Store, clock: Clock
) -> None:
    waiting = await accepted(store, question("waits", text="still open"))
    (turn,) = await store.claim(HERE, serves=("test/",), limit=9)
    old = await talk(store, text="old")
    clock.now += 40 * DAY_S
    await store.heartbeat(HERE, lease_s=15)
    await talk(store, text="new")
    gone = await forget_all(store, clock.now - 30 * DAY_S)
    assert (gone.turns, gone.messages, gone.arguments) == (1, 2, 1)
    assert await texts(store) == ["new?", "new!"]
    assert [item.event is None for item in await store.timeline(room("room"))] == [True, False]
    assert (await store.timeline(room("waits")))[0].event is not None
    assert turn.lease.turn_id == waiting
    assert await store.steps(old) == []


async def test_it_goes_in_batches_of_the_size_that_was_asked_for(store: Store, clock: Clock) -> None:
    for number in range(5):
        await talk(store, f"room-{number}")
    clock.now += DAY_S
    assert [(await store.forget_older(clock.now, limit=2)).turns for _ in range(4)] == [2, 2, 1, 0]


async def test_a_summary_goes_with_what_it_tells_of_and_what_is_kept_is_to_be_summed_up_again(
    store: Store, clock: Clock
) -> None:
    first = await talk(store, text="old")
    clock.now += 2 * DAY_S
    await store.heartbeat(HERE, lease_s=15)
    second = await talk(store, text="middle")
    await talk(store, text="newest")
    assert await store.put_summary(
        room("room"), "old and middle", past_turn_id=second, summary_end=0, turn_id=second, usage=Usage()
    )
    await forget_all(store, clock.now - DAY_S)
    known = await store.unsummarised(room("room"))
    assert known.summary == "" and known.is_behind
    assert [message.text for _, message in known.left] == ["middle?", "middle!"]
    assert [message.text for _, message in known.turns] == ["newest?", "newest!"]
    assert first < second


async def test_what_is_said_after_everything_was_forgotten_is_in_the_history(store: Store, clock: Clock) -> None:
    last = await talk(store, text="old")
    await store.move_window(room("room"), past_turn_id=last)
    clock.now += DAY_S
    await store.heartbeat(HERE, lease_s=15)
    await forget_all(store, clock.now)
    await talk(store, text="new")
    assert [message.text for _, message in (await store.history(room("room"))).turns] == ["new?", "new!"]


async def test_old_arguments_that_belong_to_no_turn_go_too(store: Store, clock: Clock) -> None:
    old = AuditEntry(kind="refused", at=10.0, person="test:u1", arguments="words")
    await store.audit([old, replace(old, at=clock.now)])
    assert (await forget_all(store, clock.now - 1)).arguments == 1
    assert [line.is_purged for line in await store.audit_lines()] == [True, False]


# --- a person --------------------------------------------------------------------------------------------------


async def test_a_persons_turns_go_whole_and_those_of_others_stay(store: Store) -> None:
    await talk(store, text="mine")
    await accepted(store, of_ben(room("room"), text="Ben's own"))
    turn = await claim_one(store)
    await finish(store, turn.lease, *said("Ben's own"))
    found = (await store.traces(ANN)).forgotten
    assert (found.turns, found.arguments) == (1, 1)
    assert len(await texts(store)) == 4
    gone = await store.forget_person(ANN)
    assert gone.forgotten == found
    assert (gone.forgotten.turns, gone.forgotten.messages, gone.names) == (1, 2, ("Ann",))
    assert await texts(store) == ["Ben's own?", "Ben's own!"]
    assert (await store.traces(ANN)).forgotten == Forgotten()
    assert [line.is_purged for line in await store.audit_lines(person="test:u1")] == [True]


async def test_quotations_of_the_person_go_by_their_id_whatever_name_they_have(store: Store) -> None:
    await talk(store, text="mine")
    anns = Quoted(relation="reply", text="my words", author="Annie", author_id="u1")
    others = Quoted(relation="reply", text="not mine", author="Ann", author_id="u7")
    await quoting(store, anns, context="> Annie: my words", quotes=("u1",))
    await quoting(store, others, context="> Ann: not mine", quotes=("u7",))
    gone = await store.forget_person(ANN)
    assert (gone.quotations, gone.contexts) == (1, 1)
    _, first, second = await store.timeline(room("room"))
    assert first.event is not None and first.event.quoted == ()
    assert second.event is not None and second.event.quoted == (others,)
    contexts = [message.context for _, message in (await store.history(room("room"))).turns if message.kind == "user"]
    assert contexts == ["[What this message pointed at was removed.]", "> Ann: not mine"]


async def test_quotations_within_quotations_and_those_without_an_id_go_too(store: Store) -> None:
    await talk(store, text="mine")
    nested = Quoted(relation="forward", text="Ann wrote: mine", author="Cleo", author_id="u3", nested_ids=("u1",))
    unnamed = Quoted(relation="reply", text="mine", author="Ann")
    await quoting(store, nested, context="> Cleo: Ann wrote: mine", quotes=("u3", "u1"))
    await quoting(store, unnamed, context="> Ann at noon: mine", quotes=())
    gone = await store.forget_person(ANN)
    assert (gone.quotations, gone.contexts) == (2, 2)


async def test_a_summary_goes_where_the_person_spoke(store: Store) -> None:
    mine = await talk(store, text="mine")
    await store.put_summary(room("room"), "she said", past_turn_id=mine, summary_end=0, turn_id=mine, usage=Usage())
    assert (await store.traces(ANN)).summaries == 1
    await store.forget_person(ANN)
    assert (await store.history(room("room"))).summary == ""


async def test_ratings_and_edits_of_the_person_go_and_that_they_decided_stays(store: Store, clock: Clock) -> None:
    turn_id = await accepted(store, of_ben(room("room")))
    turn = await claim_one(store)
    ask = ApprovalAsk(
        server="s",
        tool="t",
        name="s__t",
        arguments='{"by": "ben"}',
        digest="d",
        rule="r",
        rule_key="k",
        reason="It acts.",
    )
    await store.record(
        turn.lease, [CallWaiting(round=0, call_id="c1", reason="asks", expires_at=clock.now + 99, ask=ask)]
    )
    (record,) = await store.asks(turn_id=turn_id)
    vote = Vote(person="test:u1", by="test:u1", name="Ann", choice="edit", at=clock.now, content='{"by": "ann"}')
    edited = replace(ask, arguments='{"by": "ann"}')
    assert await store.vote(record.id, vote, version=1, edited=edited) == "made"
    decision = CallDecided(
        round=0, call_id="c1", outcome="approved", by="test:u1", arguments='{"by": "ann"}', votes=(vote,)
    )
    run = replace(vote, choice="run", content="")
    assert (
        await store.vote(record.id, run, version=2, settles=Settlement(state="approved", decision=decision)) == "made"
    )
    await finish(store, turn.lease, *said("done"))
    await store.rate(turn_id, author_id="u1", rating="good")
    gone = await store.forget_person(ANN)
    assert (gone.answers, gone.ratings) == (1, 1)
    (kept,) = await store.asks(turn_id=turn_id, is_pending=False)
    assert [(vote.by, vote.choice, vote.content) for vote in kept.votes] == [
        ("test:u1", "edit", ""),
        ("test:u1", "run", ""),
    ]
    assert isinstance(kept.ask, ApprovalAsk) and kept.ask.arguments == ""
    decided = [step for step in await store.steps(turn_id) if isinstance(step, CallDecided)]
    assert [(step.by, step.arguments, step.votes[0].content) for step in decided] == [("test:u1", "", "")]


async def test_open_turns_of_the_person_are_stopped_where_they_run_and_ended_where_nobody_has_them(
    store: Store, opened: OpenStore, clock: Clock
) -> None:
    running = await begin(store, text="running")
    assert await store.stop_person(ANN, by="console:op") == 1
    (signal,) = await store.signals(HERE)
    assert (signal.turn_id, signal.kind, signal.by) == (running.turn_id, "stop", "console:op")
    assert (await store.forget_person(ANN)).open_turns == 1
    assert (await store.timeline(room("room")))[0].event is not None
    clock.now += 120  # its worker is gone, with everybody else
    async with opened() as other:
        assert await other.stop_person(ANN, by="console:op") == 0
        assert (await other.forget_person(ANN)).forgotten.turns == 1
    (turn,) = await store.timeline(room("room"))
    assert (turn.event, turn.state) == (None, "stopped")


async def test_a_discord_account_is_meant_in_every_server_unless_one_is_named(store: Store) -> None:
    for server in ("G1", "G2"):
        place = ConversationKey(platform="discord", space=server, channel="77")
        await store.accept(replace(question(), conversation=place, author_id="300"), worker=HERE, max_waiting=9)
        (turn,) = await store.claim(HERE, serves=("discord/",), limit=9)
        await store.reply(turn.lease, state="answered", messages=said("x"), posts=[post(turn.lease)], usage=Usage())
        await store.mark_posted(turn.lease, 0, reference="r", ends_turn=True)
    everywhere = Actor(platform="discord", space="", id="300")
    assert (await store.traces(everywhere)).forgotten.turns == 2
    assert (await store.traces(replace(everywhere, space="G2"))).forgotten.turns == 1


async def test_the_direct_conversations_of_the_person_are_named_and_the_notes_on_them_go(store: Store) -> None:
    direct = ConversationKey(platform="slack", space="T1", channel="D9", thread="1.1")
    event = replace(question(), conversation=direct, author_id="U1", sent_at=datetime(2026, 11, 1, tzinfo=UTC))
    await store.accept(event, worker=HERE, max_waiting=9)
    (turn,) = await store.claim(HERE, serves=("slack/",), limit=9)
    await store.reply(turn.lease, state="answered", messages=said("x"), posts=[post(turn.lease)], usage=Usage())
    await store.mark_posted(turn.lease, 0, reference="r", ends_turn=True)
    await store.put_note("slack/channel/T1/D9", "[]")
    await store.put_note("slack/channel/T1/C9", "[]")
    gone = await store.forget_person(Actor(platform="slack", space="T1", id="U1"))
    assert (gone.direct, gone.notes) == ((direct,), 1)
    assert list(await store.notes("slack/")) == ["slack/channel/T1/C9"]


async def test_a_note_is_replaced_only_where_it_is_as_it_was_read(store: Store) -> None:
    await store.put_note("n", "old")
    assert await store.first_note("n", "late") == "old"
    assert await store.first_note("first", "made") == "made"
    assert await store.replace_note("n", old="old", new="new")
    assert not await store.replace_note("n", old="old", new="newer")
    assert not await store.replace_note("missing", old="", new="newer")
    assert await store.notes("n") == {"n": "new"}
