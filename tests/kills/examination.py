"""What is counted when a life is over, and when all is quiet again."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

from bot.domain.asks import ApprovalAsk
from bot.domain.messages import AssistantMessage, ToolMessage
from bot.domain.turns import CallDecided, CallFinished, CallJudged, CallStarted, CallWaiting, ModelAnswered
from bot.text.redaction import HIDDEN
from bot.turns.delivery import MAYBE_TWICE
from bot.turns.limits import Limits
from tests.kills.fate import LEFT
from tests.kills.platform import APPROVERS
from tests.kills.script import ACTING, APPROVE, SECRET, Question, Script, opening, runs_as
from tests.kills.world import StoredTurn, Turns, Visible, World

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
class Fault:
    """Something that must not be."""

    wrong: Wrong
    life: int  # after which it was found
    sentence: str

    def __str__(self) -> str:
        return f"after life {self.life}: {self.wrong}: {self.sentence}"


def examine_life(
    world: World, script: Script, before: Turns, *, status: int, is_killed: bool = False, is_herd: bool = False
) -> Iterator[Fault]:
    """Yield what is wrong already after one life; of a herd, what can be seen while others go on."""
    examination = Examination(world, script)
    if status == -signal.SIGALRM:
        yield examination.fault("held up", "not at its end in good time")
    elif status not in (0, LEFT if is_herd else 0) and not ((is_killed or is_herd) and status == -signal.SIGKILL):
        yield examination.fault("broken", f"ended with {status}; see {world.log_file.name}")
    yield from examination.of_finished_steps(before)
    if not is_herd:
        yield from examination.of_acknowledgements()
        yield from examination.of_posts()
        yield from examination.of_calls()
        yield from examination.of_secrets()
        yield from examination.of_cleared()


def examine_end(world: World, script: Script, *, is_herd: bool = False) -> Iterator[Fault]:
    """Yield what is wrong when nothing is open any more."""
    examination = Examination(world, script)
    for question in script.questions:
        yield from examination.of_question(question)
    yield from examination.of_asks()
    yield from examination.of_costs()
    for channel in script.channels:
        # Whoever accepts one message at a time stores them in their order.
        is_strict = not is_herd and not world.url
        yield from examination.of_order(channel) if is_strict else examination.of_order_among_waiting(channel)
        if not script.clears:
            yield from examination.of_summary(channel)


class Examination:
    """Looks at what a life left: the database, the platform, the tool server's file."""

    def __init__(self, world: World, script: Script) -> None:
        self._world = world
        self._script = script
        self._turns = world.turns()
        self._visible = world.visible()
        self._ran = Counter(world.noted_by_all("calls"))
        self._pressed = set(world.noted_by_all("pressed"))
        self._outdated = world.noted_by_all("outdated")

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
        if self._world.database.holds(SECRET):
            yield self.fault("leaked", "the secret is stored")

    def of_cleared(self) -> Iterator[Fault]:
        """Yield the words that are still stored after the life has cleared everything."""
        if not self._world.noted("cleared"):
            return
        for question in self._script.questions:
            marks = [question.mark(n, call) for n, tools in enumerate(question.rounds) for call in range(len(tools))]
            for words in (opening(question), *(f'"{mark}"' for mark in marks)):
                if self._world.database.holds(words):
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

    def of_order_among_waiting(self, channel: str) -> Iterator[Fault]:
        """Yield a question that was answered after a later one, though it was stored when that one was taken up."""
        stored, taken, claims, claimed = (
            _first_times(self._world.noted_by_all(name)) for name in ("stored", "taken", "claims", "claimed")
        )
        # What a process took that died, or was told to leave, before it knew of it, was taken up then.
        unsure_ns = min((at for key, at in claims.items() if key not in claimed), default=None)
        keys = [question.key for question in self._script.of(channel) if not question.waits]
        places = {key: [n for n, visible in enumerate(self._visible) if visible.question == key] for key in keys}
        for earlier, later in combinations(keys, 2):
            if not (places[earlier] and places[later]) or max(places[earlier]) < min(places[later]):
                continue
            if earlier not in stored or later not in taken:
                continue
            if stored[earlier] < (taken[later] if unsure_ns is None else min(unsure_ns, taken[later])):
                seen = [f"{v.question}.{v.part}" for v in self._visible if v.question in keys]
                yield self.fault("out of order", f"{channel}: {later} was taken before {earlier}: {' '.join(seen)}")

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


def _first_times(lines: Sequence[str]) -> Mapping[str, int]:
    """Return the earliest time of each key; a line has both."""
    times: dict[str, int] = {}
    for line in lines:
        key, at = line.split()
        times[key] = min(int(at), times.get(key, int(at)))
    return times


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
