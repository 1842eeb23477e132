"""The histories: where each life is killed, and what is counted when all is quiet again."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import psutil

from bot.domain.asks import ApprovalAsk
from bot.domain.messages import AssistantMessage, ToolMessage
from bot.domain.turns import CallDecided, CallFinished, CallJudged, CallStarted, CallWaiting, ModelAnswered
from bot.text.redaction import HIDDEN
from bot.turns.delivery import MAYBE_TWICE
from bot.turns.limits import LEASE_S, Limits
from tests.kills import child
from tests.kills.child import APPROVERS, Death
from tests.kills.script import ACTING, APPROVE, SECRET, Question, Script, opening, random_script, runs_as
from tests.kills.world import StoredTurn, Turns, Visible, World

PAUSED_LEASE_S = 0.3  # of lives that are paused for longer than that
LIFE_S = 20.0  # a life that has not ended by then is held up by something
MAX_KILLS = 5  # in one random history
NOTE_OF_RESTART = "may have run"

Wrong = Literal[
    "lost",
    "doubled",
    "re-run",
    "out of order",
    "results",
    "differs",
    "held up",
    "untold",
    "unapproved",
    "asked again",
    "redone",
    "forgotten",
    "leaked",
    "kept",
    "broken",
]
MEANING: Mapping[Wrong, str] = {
    "lost": "(a) acknowledged, and not answered",
    "doubled": "(b) an answer visible more than once, or with a note that it may be where the platform can tell",
    "out of order": "(c) answers of a conversation not in the order of its questions",
    "re-run": "(d) a tool that may act ran more than once for one call",
    "results": "(e) a call of the stored history without exactly one result",
    "differs": "(f) the stored answer is not the visible text",
    "held up": "(g) a life that did not come to its end",
    "unapproved": "(h, i) a call that reached its server without a verdict that allows it, or two approvals spent once",
    "asked again": "a message of an ask that is visible more than once, or does not show what became of the ask",
    "redone": "a finished step that was done again, or an ended turn that was taken up",
    "untold": "a call that may have run, of which the model or the user was not told",
    "forgotten": "a question that left the model's window and is not in the summary, or more than once",
    "leaked": "a secret that is visible or stored",
    "kept": "words that are stored although they were cleared",
    "broken": "a life that ended with an error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One script, lived in as many lives as there are deaths, and one more."""

    name: str  # finds it again
    row: str  # of the table
    script: Script
    deaths: tuple[Death, ...]
    is_paused: bool = False  # the first life is stopped instead, wakes in the second, and both go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that must not be."""

    wrong: Wrong
    life: int  # after which it was found
    sentence: str

    def __str__(self) -> str:
        return f"after life {self.life}: {self.wrong}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a history."""

    history: History
    lives: int
    kills: int
    answers: int = 0
    faults: tuple[Fault, ...] = ()
    census: Mapping[str, int] = field(default_factory=dict[str, int])  # of the last life
    folder: Path


# --- the histories ---------------------------------------------------------------------------------------------


def enumerate_points(
    name: str,
    script: Script,
    folder: Path,
    *,
    without: Sequence[str] = (),
    only: Sequence[str] = ("",),
    most: int = sys.maxsize,
) -> list[History]:
    """Return an undisturbed history, and one for each point of it, each time it is reached, that dies there.

    `only` and `without` are beginnings of their names. Of a point that is reached more than `most` times there are that
    many, from the first time to the last.
    """
    undisturbed = History(name=f"{name}: undisturbed", row="undisturbed", script=script, deaths=())
    points = _points_of(undisturbed, folder, without, only=only, most=most)
    return [
        undisturbed,
        *(
            History(name=f"{name}: {point}: {nth}", row=point, script=script, deaths=(Death(point=point, nth=nth),))
            for point, nth in points
        ),
    ]


def enumerate_pauses(name: str, script: Script, folder: Path) -> list[History]:
    """Return a history for each point of one conversation at which a process can be paused and do no harm later.

    The one pause that no bot can make good is that between its last look at its own lease and the post itself; of an
    ask's message, that look is the mark that it is about to be posted.
    """
    undisturbed = History(name=name, row="undisturbed", script=script, deaths=())
    last_looks = ("post: before", "about to show an ask: after", "ask: before it is shown")
    without = ("statement", "commit", "farewell", *last_looks)
    return [
        History(
            name=f"{name}: {point}: {nth}",
            row=f"paused: {point}",
            script=script,
            deaths=(Death(point=point, nth=nth, is_pause=True),),
            is_paused=True,
        )
        for point, nth in _points_of(undisturbed, folder, without)
    ]


def _points_of(
    undisturbed: History,
    folder: Path,
    without: Sequence[str],
    *,
    only: Sequence[str] = ("",),
    most: int = sys.maxsize,
) -> list[tuple[str, int]]:
    census = live_through(undisturbed, folder).census
    counts = {
        point: count
        for point, count in sorted(census.items())
        if point.startswith(tuple(only)) and not point.startswith(tuple(without))
    }
    if not counts:
        raise RuntimeError(f"{undisturbed.name}: an undisturbed life did not come to its end; see {folder}")
    return [(point, nth) for point, count in counts.items() for nth in _spread(count, most=most)]


def _spread(count: int, *, most: int) -> Sequence[int]:
    """Return the numbers from 1 to `count`, or `most` of them that lie evenly apart."""
    if count <= most:
        return range(1, count + 1)
    return [1 + number * (count - 1) // (most - 1) for number in range(most)]


def random_histories(seed: int) -> Iterator[History]:
    """Yield histories without end, the same for the same seed."""
    for number in range(1_000_000):
        rng = random.Random(f"{seed}/{number}")
        script = random_script(rng)
        deaths = tuple(_random_death(rng) for _ in range(rng.randint(1, MAX_KILLS)))
        yield History(name=f"random {seed}: {number}", row=f"random, {len(deaths)} kills", script=script, deaths=deaths)


def _random_death(rng: random.Random) -> Death:
    match rng.randint(0, 2):
        case 0:
            return Death(at_s=rng.uniform(0.0, 0.7))
        case 1:
            return Death(total=rng.randint(1, 500))
        case _:
            point = rng.choice(("call: while it runs", "model stream: in its middle", child.BEFORE_COMMIT))
            return Death(point=point, nth=rng.randint(1, 12))


# --- living them -----------------------------------------------------------------------------------------------


def live_through(history: History, folder: Path, *, keeps: bool = False) -> Outcome:
    """Live all lives of the history in a new folder, and count what is wrong; the folder stays where something is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    world, kills, faults = _live_paused(history, folder) if history.is_paused else _live_all(history, folder)
    _wait_for_servers(folder)
    faults = faults or list(_examine_end(world, history.script))
    outcome = Outcome(
        history=history,
        lives=world.life,
        kills=kills,
        answers=len({visible.question for visible in world.visible()}),
        faults=tuple(faults),
        census=json.loads(world.census_file.read_text()) if world.census_file.exists() else {},
        folder=folder,
    )
    if not faults and not keeps:
        shutil.rmtree(folder)
    return outcome


def _live_all(history: History, folder: Path) -> tuple[World, int, list[Fault]]:
    """Live one life after the other; return the last one's world, how many were killed, and what is wrong."""
    world, kills, faults = World(folder), 0, list[Fault]()
    for number, death in enumerate((*history.deaths, Death()), start=1):
        world = replace(world, life=number)
        before = world.turns()
        with _living(world, history.script, death) as life:
            status = life.wait(kill_at_s=death.at_s)
        kills += status == -signal.SIGKILL
        faults += _examine_life(world, history.script, before, status=status, is_killed=death != Death())
        if faults or status == 0:
            break
    return world, kills, faults


def _live_paused(history: History, folder: Path) -> tuple[World, int, list[Fault]]:
    """Pause the first life past its lease, wake it when the second has taken its turns over, and let both go on."""
    (death,) = history.deaths
    first, second = World(folder, 1), World(folder, 2)
    with _living(first, history.script, death, lease_s=PAUSED_LEASE_S) as paused:
        if not paused.stops():
            return first, 0, []
        time.sleep(1.2 * PAUSED_LEASE_S)  # the lease runs out by the clock: there is nothing else to wait for
        taking_over = Death(point="claim: after", nth=1, is_pause=True)
        with _living(second, history.script, taking_over, lease_s=PAUSED_LEASE_S) as other:
            is_taken_over = other.stops()  # not where the first was stopped in a transaction: it holds the file's lock
            for life in (paused, other) if is_taken_over else (paused,):
                os.kill(life.pid, signal.SIGCONT)
            statuses = [paused.wait(), other.wait() if is_taken_over else 0]
    found = [
        _examine_life(world, history.script, {}, status=status, is_killed=False)
        for world, status in zip((first, second), statuses, strict=True)
    ]
    return second, int(is_taken_over), [fault for faults in found for fault in faults]


@dataclass(slots=True)
class _Life:
    """A running child; `_ended` can be read when it is dead."""

    pid: int
    _ended: int
    status: int | None = None

    def stops(self) -> bool:
        """Return, when it has stopped or ended, whether it has stopped."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait(self, *, kill_at_s: float = 0.0) -> int:
        """Return how it ended: 0, 1 for an error, or the negative number of the signal; SIGTERM is for the slow."""
        if self.status is None:
            is_over, _, _ = select.select([self._ended], [], [], kill_at_s or LIFE_S)
            if not is_over:
                os.kill(self.pid, signal.SIGKILL if kill_at_s else signal.SIGTERM)
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status


@contextmanager
def _living(world: World, script: Script, death: Death, *, lease_s: float = LEASE_S) -> Generator[_Life]:
    ended, alive = os.pipe()
    try:
        pid = child.start(world, script, death, lease_s=lease_s)
        os.close(alive)
        yield _Life(pid, ended)
    finally:
        os.close(ended)


def _wait_for_servers(folder: Path) -> None:
    """Wait for the tool servers of the dead: what they were sent before, they may still run."""
    servers = [
        process for process in psutil.process_iter(["cmdline"]) if str(folder) in (process.info["cmdline"] or ())
    ]
    _, left = psutil.wait_procs(servers, timeout=LIFE_S)
    if left:
        raise TimeoutError(f"tool servers outlive their bot by {LIFE_S:.0f} s: {left}")


# --- what is counted -------------------------------------------------------------------------------------------


def _examine_life(world: World, script: Script, before: Turns, *, status: int, is_killed: bool) -> Iterator[Fault]:
    """Yield what is wrong already after one life."""
    examination = Examination(world, script)
    if status == -signal.SIGTERM:
        yield examination.fault("held up", f"not at its end after {LIFE_S:.0f} s")
    elif status != 0 and not (is_killed and status == -signal.SIGKILL):
        yield examination.fault("broken", f"ended with {status}; see {world.log_file.name}")
    yield from examination.of_acknowledgements()
    yield from examination.of_posts()
    yield from examination.of_calls()
    yield from examination.of_finished_steps(before)
    yield from examination.of_secrets()
    yield from examination.of_cleared()


def _examine_end(world: World, script: Script) -> Iterator[Fault]:
    """Yield what is wrong when nothing is open any more."""
    examination = Examination(world, script)
    for question in script.questions:
        yield from examination.of_question(question)
    yield from examination.of_asks()
    yield from examination.of_costs()
    for channel in script.channels:
        yield from examination.of_order(channel)
        if not script.clears:
            yield from examination.of_summary(channel)


class Examination:
    """Looks at what a life left: the database, the platform, the tool server's file."""

    def __init__(self, world: World, script: Script) -> None:
        self._world = world
        self._script = script
        self._turns = world.turns()
        self._visible = world.visible()
        self._ran = Counter(self._noted("calls"))
        self._pressed = set(self._noted("pressed"))
        self._outdated = self._noted("outdated")

    def _noted(self, name: str) -> Sequence[str]:
        lives = range(1, self._world.life + 1)
        return [line for life in lives for line in replace(self._world, life=life).noted(name)]

    def fault(self, wrong: Wrong, sentence: str) -> Fault:
        return Fault(wrong=wrong, life=self._world.life, sentence=sentence)

    # --- after every life ---

    def of_acknowledgements(self) -> Iterator[Fault]:
        for key in self._world.acknowledged():
            if key not in self._turns:
                yield self.fault("lost", f"{key} was acknowledged and is not stored")

    def of_posts(self) -> Iterator[Fault]:
        for (question, part), count in Counter((visible.question, visible.part) for visible in self._visible).items():
            texts = [v.text for v in self._visible if (v.question, v.part) == (question, part)]
            noted = sum(text.endswith(MAYBE_TWICE) for text in texts)
            if count - noted > 1 or (self._script.can_find and (noted or count > 1)):
                yield self.fault(
                    "doubled", f"{question}, part {part}, is visible {count} times ({noted} with the note)"
                )

    def of_calls(self) -> Iterator[Fault]:
        for line, count in self._ran.items():
            if line.split()[0] in ACTING and count > 1:
                yield self.fault("re-run", f"{line} ran {count} times")
            if not self._script.clears:  # which takes the verdict with it
                yield from self._of_rights(line)

    def _of_rights(self, line: str) -> Iterator[Fault]:
        """Yield a call that the server saw and that the journal does not allow; what waits needs both people."""
        mark = line.split()[1]
        key, number, call = mark.split("/")
        place = int(number), f"call_{call}"
        of_call = [
            step
            for step in self._turns[key].steps
            if isinstance(step, CallJudged | CallWaiting | CallDecided | CallStarted)
            and (step.round, step.call_id) == place
        ]
        if self._script.by_key[key].rounds[int(number)][int(call)] != APPROVE:
            if not any(isinstance(step, CallJudged) and step.verdict == "allow" for step in of_call):
                yield self.fault("unapproved", f"{line} was sent without a verdict that allows it")
            return
        decided = [step for step in of_call if isinstance(step, CallDecided) and step.outcome == "approved"]
        voters = {vote.person for step in decided for vote in step.votes}
        if len(decided) != 1 or len(voters) < len(APPROVERS) or not self._pressed >= {f"{mark} {p}" for p in APPROVERS}:
            yield self.fault("unapproved", f"{line} was sent with the approvals {decided}")
        asks = [step.ask for step in of_call if isinstance(step, CallWaiting)]
        asked = {ask.digest for ask in asks if isinstance(ask, ApprovalAsk)}
        if {vote.digest for step in decided for vote in step.votes} != asked:
            yield self.fault("unapproved", f"{line} was sent with approvals of other arguments: {decided}")
        if sum(isinstance(step, CallStarted) for step in of_call) > 1:
            yield self.fault("unapproved", f"{line} was started twice by one approval")

    def of_finished_steps(self, before: Turns) -> Iterator[Fault]:
        """Yield what this life did that was stored as done before it began."""
        for line in self._world.noted("asked"):
            key, number = line.split()
            if key in before and (before[key].messages or _is_answered(before[key], int(number))):
                yield self.fault("redone", f"the model was asked again for round {number} of {key}")
        for line in self._world.noted("calls"):
            key, number, call = line.split()[1].split("/")
            if key in before and (before[key].messages or _has_result(before[key], int(number), f"call_{call}")):
                yield self.fault("redone", f"the call {line} was sent again")

    def of_secrets(self) -> Iterator[Fault]:
        """Yield where the secret is that the model says in each answer."""
        if any(SECRET in visible.text for visible in self._visible):
            yield self.fault("leaked", "the secret is visible")
        if self._world.holds(SECRET):
            yield self.fault("leaked", "the secret is stored")

    def of_cleared(self) -> Iterator[Fault]:
        """Yield the words that are still stored after the life has cleared everything."""
        if not self._world.noted("cleared"):
            return
        for question in self._script.questions:
            marks = [question.mark(n, call) for n, tools in enumerate(question.rounds) for call in range(len(tools))]
            for words in (opening(question), *(f'"{mark}"' for mark in marks)):
                if self._world.holds(words):
                    yield self.fault("kept", f"{words!r} is stored after it was cleared")

    # --- at the end ---

    def of_question(self, question: Question) -> Iterator[Fault]:
        turn = self._turns.get(question.key)
        posts = self._shown(question)
        if turn is None or not turn.is_ended or not posts:
            state = turn.state if turn else "not stored"
            yield self.fault("lost", f"{question.key} has {len(posts)} posts and is {state}")
            return
        text = "".join(post.text.removesuffix(MAYBE_TWICE) for post in posts)
        if self._script.clears:
            if turn.messages or turn.steps or turn.outbox:
                yield self.fault("kept", f"{question.key} has texts although it was cleared")
            return
        is_given_up = turn.state == "failed" and turn.attempts > Limits().max_attempts
        if not is_given_up and (turn.state != "answered" or opening(question) not in text):
            yield self.fault("lost", f"{question.key} {turn.state} after {turn.attempts} attempts: {text[:200]!r}")
        if turn.state == "answered" and HIDDEN not in text:
            yield self.fault("lost", f"{question.key} does not show that a secret was hidden: {text[:200]!r}")
        if [post.part for post in posts] != list(range(len(turn.outbox))):
            yield self.fault("lost", f"{question.key} shows {len(posts)} of {len(turn.outbox)} parts")
        if any(item.state != "posted" for item in turn.outbox):
            yield self.fault("lost", f"{question.key} has a post that is not recorded as posted")
        if (stored := _stored_text(turn)) != text:
            yield self.fault("differs", f"{question.key}: stored {stored!r}, visible {text!r}")
        yield from self._of_results(question, turn)
        is_unread = turn.attempts > Limits().max_attempts + 1 and not any(
            isinstance(message, ToolMessage) for message in turn.messages
        )
        if not (is_given_up and is_unread):
            yield from self._of_acting(question, turn, text)
        elif turn.steps and NOTE_OF_RESTART not in text:  # given up without its journal
            yield self.fault("untold", f"{question.key}: the user read {text!r}")

    def of_order(self, channel: str) -> Iterator[Fault]:
        keys = [question.key for question in self._script.of(channel) if not question.waits]
        first = [next((n for n, v in enumerate(self._visible) if v.question == key), -1) for key in keys]
        last = [max((n for n, v in enumerate(self._visible) if v.question == key), default=-1) for key in keys]
        if any(after < before for before, after in zip(last, first[1:], strict=False)):
            seen = [f"{v.question}.{v.part}" for v in self._visible if v.question in keys]
            yield self.fault("out of order", f"{channel}: {' '.join(seen)}")
        ids = [self._turns[key].id for key in keys if key in self._turns]
        if any(after <= before for before, after in pairwise(ids)):
            yield self.fault("out of order", f"{channel}: taken up as {ids}")

    def of_costs(self) -> Iterator[Fault]:
        charged, used = self._world.tokens()
        if charged != used:
            yield self.fault("doubled" if charged > used else "lost", f"{charged} tokens were charged and {used} used")

    def of_asks(self) -> Iterator[Fault]:
        """Yield messages of asks that are shown twice where the platform can find them, or do not end as records."""
        for mark in self._outdated:
            yield self.fault("unapproved", f"{mark} was approved on a message that shows other arguments")
        asks = self._world.asks()
        for key, count in Counter(ask.key for ask in asks if ask.is_new).items():
            if count > 1 and self._script.can_find:
                yield self.fault("asked again", f"the message {key} is visible {count} times")
        for ask in {ask.key: ask for ask in asks}.values():
            if ask.state == "pending":
                yield self.fault("asked again", f"the message of {ask.mark} still asks")

    def of_summary(self, channel: str) -> Iterator[Fault]:
        """Yield the summary that does not tell, once, of each question before its end and of no other."""
        summary, turn_ids = self._world.summary(str(self._script.of(channel)[0].conversation))
        keys = [key for key, turn in self._turns.items() if turn.id in turn_ids]
        if Counter(summary.splitlines()) != Counter(f"- {key}" for key in keys):
            yield self.fault("forgotten", f"{channel}: the summary of {keys} is {summary!r}")

    def _shown(self, question: Question) -> Sequence[Visible]:
        """Return each visible part of the answer once."""
        parts = {visible.part: visible for visible in self._visible if visible.question == question.key}
        return [parts[part] for part in sorted(parts)]

    def _of_results(self, question: Question, turn: StoredTurn) -> Iterator[Fault]:
        asked: list[str] = []
        for message in (*turn.messages, AssistantMessage(text="")):
            if isinstance(message, ToolMessage):
                if message.call_id not in asked:
                    yield self.fault("results", f"{question.key} has a result too many for {message.call_id}")
                else:
                    asked.remove(message.call_id)
            elif asked:
                yield self.fault("results", f"{question.key} has no result for {asked}")
                asked.clear()
            if isinstance(message, AssistantMessage):
                asked = [call.id for call in message.tool_calls]
        finished = Counter((s.round, s.result.call_id) for s in turn.steps if isinstance(s, CallFinished))
        for place, count in finished.items():
            if count > 1:
                yield self.fault("results", f"{question.key} has {count} results in its journal for {place}")

    def _of_acting(self, question: Question, turn: StoredTurn, text: str) -> Iterator[Fault]:
        """Yield the calls whose outcome is not what the model and the user were told."""
        results = {(s.round, s.result.call_id): s.result for s in turn.steps if isinstance(s, CallFinished)}
        started = _sent(turn)
        told = iter(message for message in turn.messages if isinstance(message, ToolMessage))
        for number, tools in enumerate(question.rounds):
            if not _is_answered(turn, number):
                break  # given up before
            for n, tool in enumerate(map(runs_as, tools)):
                place, line = (number, f"call_{n}"), f"{tool} {question.mark(number, n)}"
                model_told = next(told, None)
                if model_told is None:
                    yield self.fault("results", f"{line} was asked for and is not in the history")
                    continue
                result = results.get(place)
                if result is not None and result.outcome == "ok":
                    if tool in ACTING and self._ran[line] != 1:
                        yield self.fault("lost", f"{line} has a result and ran {self._ran[line]} times")
                    continue
                if tool not in ACTING and result is not None:
                    yield self.fault("lost", f"{line} can be repeated and was not: {result.text!r}")
                may_have_run = tool in ACTING and (place in started or self._ran[line] > 0)
                if may_have_run and (NOTE_OF_RESTART not in model_told.text or NOTE_OF_RESTART not in text):
                    yield self.fault("untold", f"{line}: the model read {model_told.text!r}, the user {text!r}")


def _sent(turn: StoredTurn) -> set[tuple[int, str]]:
    """Return the calls that may have reached their server: not those that have begun to wait since."""
    sent: set[tuple[int, str]] = set()
    for step in turn.steps:
        if isinstance(step, CallStarted):
            sent.add((step.round, step.call_id))
        elif isinstance(step, CallWaiting):
            sent.discard((step.round, step.call_id))
    return sent


def _is_answered(turn: StoredTurn, number: int) -> bool:
    return any(isinstance(step, ModelAnswered) and step.round == number for step in turn.steps)


def _has_result(turn: StoredTurn, number: int, call_id: str) -> bool:
    return any(
        isinstance(step, CallFinished) and (step.round, step.result.call_id) == (number, call_id) for step in turn.steps
    )


def _stored_text(turn: StoredTurn) -> str:
    said = [message.text for message in turn.messages if isinstance(message, AssistantMessage) and message.text]
    return "\n\n".join(said)
