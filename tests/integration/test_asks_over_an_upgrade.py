"""An approval that was pending when the bot was upgraded."""

from __future__ import annotations

from pathlib import Path

from bot.domain.asks import ApprovalAsk, Vote
from bot.domain.events import ConversationKey
from bot.domain.rights import Terms
from bot.domain.turns import CallDecided, CallJudged, CallWaiting
from bot.ports.rights_store import Settlement
from bot.stores.sqlite.store import open_sqlite
from tests.integration.test_store_migrations import EVENT, HERE, JOURNAL, schema

FIRST_WITH_ASKS = 8
ELSEWHERE = ConversationKey(platform="console", space="local", channel="approvals")
DIGEST = "5f" * 32
# As version 8 wrote them.
ASK = (
    '{"server":"shop","tool":"act","name":"shop__act","arguments":"{\\"a\\": 2}","digest":"' + DIGEST + '",'
    '"rule":"acts","rule_key":"k","reason":"It acts.","terms":{"approvers":["slack:T1:U2","slack:T1:U3"],'
    '"approvals":2,"asker_may_approve":false,"expires_s":3600.0,"ask_in":"thread"},"change":"","kind":"approval"}'
)
JUDGED = (
    '{"round":0,"call_id":"call_0","verdict":"ask","rule":"acts","reason":"It acts.","note":"","approvers":[],'
    '"kind":"judged"}'
)
WAITING = (
    '{"round":0,"call_id":"call_0","reason":"It waits.","expires_at":4000000000.0,"ask":' + ASK + ',"state":"",'
    '"kind":"waiting"}'
)
TERMS = Terms(approvers=("slack:T1:U2", "slack:T1:U3"), approvals=2, asker_may_approve=False)


async def test_it_is_asked_nowhere_twice_keeps_its_votes_and_is_decided_after_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with schema(path, FIRST_WITH_ASKS) as db:
        db.execute("INSERT INTO conversation (id, key) VALUES (1, ?)", (str(HERE),))
        db.execute(
            "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at, platform, wakes_at)"
            " VALUES ('old-1', 1, ?, 'waiting', '', 1, 'console', 4e9)",
            (EVENT.replace("KEY", "old-1"),),
        )
        steps = enumerate((JOURNAL[0], JUDGED, WAITING), 1)
        db.executemany("INSERT INTO journal (turn_id, step, body) VALUES (1, ?, ?)", list(steps))
        db.execute(
            "INSERT INTO ask (id, turn_id, round, call_id, conversation, asker, asker_id, asker_name, body, version,"
            " is_planned, created_at, expires_at) VALUES (7, 1, 0, 'call_0', ?, 'console:you', 'you', 'You', ?, 2,"
            " 1, 1, 4e9)",
            (str(HERE), ASK),
        )
        db.execute(
            "INSERT INTO ask_vote (ask_id, number, person, author, name, choice, at, digest, content)"
            " VALUES (7, 1, 'ben', 'slack:T1:U2', 'Ben', 'run', 5.0, ?, '')",
            (DIGEST,),
        )
        db.executemany(
            "INSERT INTO ask_post (ask_id, number, place, person, state, reference, shown, is_due)"
            " VALUES (7, ?, ?, '', ?, ?, ?, ?)",
            [(0, str(HERE), "posted", "1.5", 2, 0), (1, str(ELSEWHERE), "posting", "", 0, 1)],
        )
    ask = ApprovalAsk(
        server="shop",
        tool="act",
        name="shop__act",
        arguments='{"a": 2}',
        digest=DIGEST,
        rule="acts",
        rule_key="k",
        reason="It acts.",
        terms=TERMS,
    )
    async with open_sqlite(path) as store:
        await store.heartbeat("us", lease_s=60)
        (record,) = await store.asks()
        assert (record.ask, record.state, record.event_key, record.asker) == (ask, "pending", "old-1", "console:you")
        [ben] = record.votes
        assert list(await store.unplanned_asks(serves=["console/"])) == []
        (looked_for,) = await store.due_ask_posts(serves=["console/"])  # it may be visible: it is not simply posted
        assert (looked_for.place, looked_for.is_posting) == (str(ELSEWHERE), True)

        cleo = Vote(person="cleo", by="slack:T1:U3", name="Cleo", choice="run", at=6.0, digest=DIGEST)
        decision = CallDecided(round=0, call_id="call_0", outcome="approved", votes=(ben, cleo))
        settles = Settlement(state="approved", decision=decision)
        assert await store.vote(7, cleo, version=record.version, settles=settles) == "made"
        assert await store.vote(7, cleo, version=record.version, settles=settles) == "decided_before"
        due = await store.due_ask_posts(serves=["console/"])
        assert [(post.reference, post.is_posting) for post in due] == [("1.5", False), ("", True)]
        (turn,) = await store.claim("us", serves=["console/"], limit=10)
        steps = await store.steps(turn.lease.turn_id)
    judged, waiting, decided = steps[-3:]
    assert isinstance(judged, CallJudged) and judged.verdict == "ask"
    assert isinstance(waiting, CallWaiting) and waiting.ask == ask
    assert decided == decision
