"""One question on its way to an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.domain.events import ConversationKey
from bot.domain.messages import AssistantMessage, Attachment, Message, ToolCall, ToolMessage, ToolResult, UserMessage
from bot.domain.people import Actor, Asker
from bot.ports.model import ModelRequest
from bot.text.counting import count
from bot.turns.context import Turns, Window, cut_result, with_summary
from bot.turns.handing_over import HandOver
from bot.turns.selection import Selection

LAST_ROUND = "[The limit of {rounds} is reached. Answer now in words, with what you have, and say what is missing.]"
RESTARTED = (
    "Interrupted: the bot was restarted while this tool was running. It may have run, its outcome is unknown, and it "
    "was not run again. Tell the user, and do not call it again without being asked to."
)


@dataclass(slots=True, kw_only=True)
class Turn:
    """One question on its way to an answer: what the model gets, and what has been added so far."""

    turn_id: int
    asker: Asker
    conversation: ConversationKey
    system: str
    history: Turns
    question: UserMessage
    selection: Selection
    max_rounds: int
    window: Window
    model: str = ""  # another one of the endpoint; empty: the one that is set up
    added: list[Message] = field(default_factory=list[Message])
    attachments: list[Attachment] = field(default_factory=list[Attachment])
    notes: list[str] = field(default_factory=list[str])  # what the user reads beside the answer
    summary: str = ""  # of what was said before the history
    is_behind: bool = False  # whether something was said before the history of which the summary does not tell
    fixed_tokens: int = 0  # of the system prompt and the tools
    window_past: int | None = None  # the turn after which the history has to begin from now on
    hand_over: HandOver = field(default_factory=HandOver)
    is_heard: Callable[[], bool] = lambda: False  # whether part of an answer has arrived that is not in the journal
    read_until: datetime | None = None  # what was said in the thread before that time is known, once the turn has ended

    @property
    def actor(self) -> Actor:
        """Who asked."""
        return self.asker.actor

    @property
    def texts(self) -> list[str]:
        """What the model has said to the user between its tool calls."""
        return [message.text for message in self.added if isinstance(message, AssistantMessage) and message.text]

    def learn(self, call: ToolCall, result: ToolResult) -> None:
        """Carry what the call has brought up in the next requests."""
        before = self.selection.tokens
        self.selection.learn(call, result)
        self.fixed_tokens += self.selection.tokens - before

    def fit_tools(self) -> bool:
        """Carry no more tools than the window has room for; return whether they are fewer now."""
        before = self.selection.tokens
        is_less = self.selection.fit()
        self.fixed_tokens += self.selection.tokens - before
        return is_less

    def request(self, *, may_call_tools: bool) -> ModelRequest:
        """Return the next request to the model."""
        added = list(self.added)
        if not may_call_tools and added and isinstance(last := added[-1], ToolMessage):
            said = LAST_ROUND.format(rounds=count(self.max_rounds, "tool round"))
            added[-1] = replace(last, text=f"{last.text}\n{said}")
        return ModelRequest(
            system=self.system,
            messages=with_summary((*(message for _, message in self.history), self.question, *added), self.summary),
            tools=self.selection.tools,
            may_call_tools=may_call_tools,
            cache_key=self.conversation.opaque_id,
            asker=str(self.actor),
            model=self.model,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The turn cannot go on before something is decided, or before `wakes_at` (seconds since the epoch)."""

    wakes_at: float


def add_round(turn: Turn, message: AssistantMessage, results: Sequence[ToolResult]) -> None:
    """Add the model's calls and their results, in the order of the calls."""
    turn.added.append(message)
    calls = {call.id: call for call in message.tool_calls}
    for result in results:
        turn.learn(calls[result.call_id], result)
        if result.text == RESTARTED:
            turn.notes.append(
                f"`{calls[result.call_id].name}` was running when the bot was restarted. It may have run; "
                f"it was not run again."
            )
        text = cut_result(_as_read_by_the_model(result), max_chars=turn.window.max_result_chars)
        turn.added.append(ToolMessage(call_id=result.call_id, text=text))
        turn.attachments.extend(result.attachments)


def _as_read_by_the_model(result: ToolResult) -> str:
    """Return the result's text; failures start with "Error:", so the model can tell them from data."""
    is_plain = result.outcome in ("ok", "withheld") or result.text.lower().startswith("error")
    return result.text if is_plain else f"Error: {result.text}"
