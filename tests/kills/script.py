"""What is asked in one history, and the model that answers: a function of the request, so each life says the same."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bot.domain.events import ConversationKey
from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, ToolMessage, Usage, UserMessage
from bot.domain.turns import TextArrived
from bot.ports.model import ModelProgressSink, ModelRequest
from tests.attacks.corpus import leaks

ACTING = frozenset({"act", "slow"})
# May act, read-only, idempotent, may act and takes its time, may act and waits for approval.
TOOLS = ("act", "count", "put", "slow", "approve")
APPROVE = "approve"  # reaches the server as `act`
SERVER = "old"
SLOW_S = 0.02
PIECE_CHARS = 40  # of a streamed answer
SECRET = next(iter(leaks("github", 1, seed=1))).secret  # the model says it in each answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One message: its text is its key. The model calls the tools of one round at once, then those of the next."""

    key: str
    channel: str
    rounds: tuple[tuple[str, ...], ...] = ()
    after: str = ""  # the question whose answer is read before this one is asked
    is_slow: bool = False  # the model answers when all other conversations have their answers

    @property
    def conversation(self) -> ConversationKey:
        return ConversationKey(platform="fake", space="team", channel=self.channel)

    @property
    def waits(self) -> bool:
        """Whether its turn may let later ones pass."""
        return any(APPROVE in tools for tools in self.rounds)

    def mark(self, round_number: int, number: int) -> str:
        """Return what tells this call from all others in the server's file."""
        return f"{self.key}/{round_number}/{number}"


@dataclass(frozen=True)
class Script:
    """What the people of one platform ask."""

    questions: tuple[Question, ...]
    max_chars: int = 4000  # of one post
    can_find: bool = True  # whether the platform can tell if it shows a post
    clears: bool = False  # each conversation is cleared after its first answer, and at the end of each life

    @cached_property
    def by_key(self) -> Mapping[str, Question]:
        return {question.key: question for question in self.questions}

    @property
    def channels(self) -> Sequence[str]:
        return list(dict.fromkeys(question.channel for question in self.questions))

    def of(self, channel: str) -> tuple[Question, ...]:
        """Return the questions of one conversation, in their order."""
        return tuple(question for question in self.questions if question.channel == channel)

    def besides(self, channel: str) -> frozenset[str]:
        """Return the keys of the questions of all other conversations."""
        return frozenset(question.key for question in self.questions if question.channel != channel)


SMALL = Script(
    (
        Question(key="a1", channel="a", rounds=(("act", "count", "put"),)),
        Question(key="a2", channel="a"),
        Question(key="b1", channel="b", rounds=(("slow",),), is_slow=True),
    )
)
WAITING = Script(
    (
        Question(key="a1", channel="a", rounds=(("approve", "count"), ("approve", "approve"))),
        Question(key="a2", channel="a", rounds=(("act",),)),
        Question(key="b1", channel="b", rounds=(("approve",),)),
    )
)
LARGE = Script(
    (
        Question(key="a1", channel="a", rounds=(("act", "count"), ("put", "slow"))),
        Question(key="a2", channel="a", rounds=(("act",),)),
        Question(key="a3", channel="a", after="a1", rounds=(("count",), ("act",))),
        Question(key="b1", channel="b", rounds=(("act", "act", "put"),)),
        Question(key="b2", channel="b", after="b1"),
        Question(key="c1", channel="c", rounds=(("slow",),), is_slow=True),
        Question(key="c2", channel="c", rounds=(("count",),)),
        Question(key="d1", channel="d"),
    ),
    max_chars=150,
)
ASKED = Script(WAITING.of("b"))
CLEARED = Script((*SMALL.questions, *LARGE.of("d")), clears=True)
ALONE = Script(SMALL.of("a"))
BLIND = Script(SMALL.questions, max_chars=150, can_find=False)


def random_script(rng: random.Random) -> Script:
    """Return a script of two to five conversations with one to four questions each."""
    questions: list[Question] = []
    for channel in "abcde"[: rng.randint(2, 5)]:
        for number in range(1, rng.randint(2, 5)):
            earlier = [question.key for question in questions if question.channel == channel]
            rounds = [tuple(rng.choices(TOOLS, k=rng.randint(1, 3))) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
            questions.append(
                Question(
                    key=f"{channel}{number}",
                    channel=channel,
                    rounds=tuple(rounds),
                    after=rng.choice(earlier) if earlier and rng.random() < 0.4 else "",
                    is_slow=channel == "a" and number == 1 and rng.random() < 0.5,
                )
            )
    return Script(
        tuple(questions),
        max_chars=rng.choice((80, 4000)),
        can_find=rng.random() < 0.8,
        clears=rng.random() < 0.2,
    )


Reach = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedModel:
    """Asks for the tools of the question's script, then tells what each of them said, piece by piece."""

    script: Script
    asked: Callable[[str], None]  # is told "key round" of each request
    reach: Reach
    seen: Callable[[frozenset[str]], Awaitable[None]]  # returns when the answers to all these questions are visible
    name: str = "scripted"

    @property
    def refused_tools(self) -> Mapping[str, str]:
        return {}

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        if request.purpose == "summary":
            self.reach("model asked for a summary: before its answer")
            return _answer(_summary(request.messages[0].text))
        place = max(n for n, message in enumerate(request.messages) if isinstance(message, UserMessage))
        question = self.script.by_key[request.messages[place].text]
        added = request.messages[place + 1 :]
        number = sum(isinstance(message, AssistantMessage) for message in added)
        self.asked(f"{question.key} {number}")
        self.reach("model asked: before its answer")
        if number < len(question.rounds):
            calls = tuple(_call(question, number, n, tool) for n, tool in enumerate(question.rounds[number]))
            return _answer(f"Round {number + 1} of {question.key}.", calls)
        if question.is_slow:
            await self.seen(self.script.besides(question.channel))
        text = final_words(question, [message for message in added if isinstance(message, ToolMessage)])
        for start in range(0, len(text), PIECE_CHARS):
            progress(TextArrived(text=text[start : start + PIECE_CHARS]))
            self.reach("model stream: in its middle")
            await asyncio.sleep(0)
        return _answer(text)


def runs_as(tool: str) -> str:
    """Return the name under which the server knows the tool."""
    return "act" if tool == APPROVE else tool


def opening(question: Question) -> str:
    """Return how the model's answer to the question begins."""
    return f"This is the answer to {question.key}."


def final_words(question: Question, results: Sequence[ToolMessage]) -> str:
    """Return the model's answer: it repeats what it was told of each call."""
    told = "".join(f"\n- {result.call_id}: {result.text}" for result in results)
    return f"{opening(question)} The token is {SECRET}, and it arrives in more than one piece.{told}"


def _summary(asked: str) -> str:
    """Return the questions that a summary is to tell of, a line each: those of the one so far, and those since."""
    return "\n".join(f"- {old or new}" for old, new in re.findall(r'^- (\w+)$|"said": "(\w+)"', asked, re.MULTILINE))


def _call(question: Question, round_number: int, number: int, tool: str) -> ToolCall:
    mark = question.mark(round_number, number)
    arguments = {"mark": mark, "text": mark, "seconds": SLOW_S, **({"waits": True} if tool == APPROVE else {})}
    return ToolCall(id=f"call_{number}", name=f"{SERVER}__{runs_as(tool)}", arguments=json.dumps(arguments))


def _answer(text: str, calls: tuple[ToolCall, ...] = ()) -> ModelAnswer:
    return ModelAnswer(
        message=AssistantMessage(text=text, tool_calls=calls), usage=Usage(input_tokens=10, output_tokens=5)
    )
