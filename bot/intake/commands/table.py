"""The bot's commands: one row each, with one answer in the same Markdown for every platform."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from bot.domain.answers import CommandAnswer, Pick
from bot.domain.commands import COMMANDS, HOW_TO_INVOKE, nearest_command
from bot.domain.events import CommandInvoked
from bot.intake.access import Access
from bot.intake.commands.acting import Acting
from bot.intake.commands.approvals import describe_approvals
from bot.intake.commands.history import history_text
from bot.intake.commands.phrases import code, plain, short_line
from bot.intake.commands.running import answer_run
from bot.intake.commands.tools import Prospects, describe_tools
from bot.intake.commands.usage import describe_usage
from bot.keeping.files import KeptFiles
from bot.ports.conversation_store import ConversationSummary
from bot.ports.store import Store
from bot.ports.tools import ToolDirectory
from bot.text.counting import count
from bot.turns.bell import Bell
from bot.turns.budgets import Budgets

log = structlog.stdlib.get_logger(__name__)

HISTORY_LINES = 20
HISTORY_ROWS = 10 * HISTORY_LINES  # more than are shown: tool calls and results take rows, but no lines of their own
MAX_PICKS = 20  # conversations of a channel to choose from

Answer = Callable[[CommandInvoked], Awaitable[CommandAnswer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is said where a command about one conversation was asked for in a whole channel."""

    which: str  # several conversations can be meant
    none: str  # none can
    is_about_open: bool = False  # only conversations with a turn that has not ended can be meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one command is answered; `choice` where it is about one conversation."""

    answer: Answer
    choice: Choice | None = None


_HISTORY = Choice(
    which="**The conversations of this channel**, the newest first (times in UTC). Which one do you want to read?",
    none="There are no conversations in this channel yet.",
)
_CLEAR = Choice(
    which="**Which conversation should I forget?** The newest comes first (times in UTC).",
    none="There is no conversation in this channel to forget.",
)
_STOP = Choice(
    which="**Which answer should I stop?** I am working on several (times in UTC).",
    none="Nothing is running in this channel.",
    is_about_open=True,
)


class Commands:
    """Answers every command of every platform.

    `about` says which model answers, `limits` are sentences on what a conversation may hold; both are shown by `help`.
    `refused_tools` returns the tools that the model does not take now, with the reasons; `prospects`, what the policy
    says of tools before their arguments are known; `files` are those of the home folder.
    """

    def __init__(
        self,
        *,
        store: Store,
        tools: ToolDirectory,
        bell: Bell,
        access: Access,
        files: KeptFiles | None = None,
        budgets: Budgets,
        model_name: str,
        about: str,
        limits: Sequence[str] = (),
        refused_tools: Callable[[], Mapping[str, str]] = dict,
        prospects: Prospects | None = None,
    ) -> None:
        self._store = store
        self._tools = tools
        self._access = access
        self._budgets = budgets
        self._prospects = prospects
        self._limits = limits
        self._refused_tools = refused_tools
        acting = Acting(store=store, bell=bell, access=access, files=files)
        what = f"I answer questions with the tools of your team's MCP servers. Model: {code(model_name)}."
        self.introduction = "\n\n".join(filter(None, [what, about]))  # what the bot is, for people
        self._rows: Mapping[str, Row] = {
            "tools": Row(answer=self._answer_tools),
            "history": Row(answer=self._answer_history, choice=_HISTORY),
            "clear": Row(answer=acting.clear, choice=_CLEAR),
            "examples": Row(answer=self._answer_examples),
            "stop": Row(answer=acting.stop, choice=_STOP),
            "usage": Row(answer=self._answer_usage),
            "run": Row(answer=self._answer_run),
            "approvals": Row(answer=self._answer_approvals),
            "help": Row(answer=self._answer_help),
        }

    async def answer(self, event: CommandInvoked) -> CommandAnswer:
        """Return the answer for the person who asked; an unknown command is answered with the nearest one.

        One that is about a conversation, but was asked for in a whole channel, is answered for the only conversation
        that it can be about; where there are several, they are there to pick from.
        """
        row = self._rows.get(event.name)
        if row is None:
            return _answer_unknown(event.name)
        if row.choice is None or not event.is_channel_wide:
            return await row.answer(event)
        match await self._candidates(event, row.choice):
            case []:
                return CommandAnswer(text=row.choice.none)
            case [only]:
                answer = await row.answer(replace(event, conversation=only.conversation, is_channel_wide=False))
                return replace(answer, text=f"{_candidate(only)}\n\n{answer.text}")
            case several:
                lines = [f"- {_candidate(summary)}" for summary in several]
                return CommandAnswer(text="\n".join([row.choice.which, "", *lines]), picks=_picks(several))

    async def _candidates(self, event: CommandInvoked, choice: Choice) -> Sequence[ConversationSummary]:
        prefix = str(replace(event.conversation, thread=""))
        if choice.is_about_open:
            return list(await self._store.open_conversations(prefix=prefix))[:MAX_PICKS]
        return list(await self._store.conversations(limit=MAX_PICKS, prefix=prefix))

    # --- about one conversation ---

    async def _answer_history(self, event: CommandInvoked) -> CommandAnswer:
        entries = await self._store.transcript(event.conversation, limit=HISTORY_ROWS)
        text = history_text(entries, limit=HISTORY_LINES)
        return CommandAnswer(text=text or "This conversation has no messages yet.")

    # --- about the bot and its use ---

    async def _answer_tools(self, event: CommandInvoked) -> CommandAnswer:
        refused = self._refused_tools()
        text = await describe_tools(
            self._tools, asker=event.asker, word=event.argument, refused=refused, prospects=self._prospects
        )
        return CommandAnswer(text=text)

    async def _answer_run(self, event: CommandInvoked) -> CommandAnswer:
        return await answer_run(self._tools, access=self._access, asker=event.asker, argument=event.argument)

    async def _answer_approvals(self, event: CommandInvoked) -> CommandAnswer:
        return CommandAnswer(text=await describe_approvals(self._store, access=self._access, asker=event.asker))

    async def _answer_examples(self, event: CommandInvoked) -> CommandAnswer:
        examples = tuple(await self._tools.examples())
        if not examples:
            return CommandAnswer(text="No reachable tool server offers examples.")
        return CommandAnswer(text="**Examples to try**", choices=examples)

    async def _answer_usage(self, event: CommandInvoked) -> CommandAnswer:
        return await describe_usage(self._store, budgets=self._budgets, access=self._access, event=event)

    async def _answer_help(self, event: CommandInvoked) -> CommandAnswer:
        limits = "\n".join(f"- {limit}" for limit in self._limits)
        paragraphs = [
            self.introduction,
            f"**Commands** ({HOW_TO_INVOKE})\n\n{_command_list()}",
            limits and f"**Limits**\n\n{limits}",
        ]
        return CommandAnswer(text="\n\n".join(filter(None, paragraphs)))


def _answer_unknown(name: str) -> CommandAnswer:
    near = nearest_command(name, among=(command.name for command in COMMANDS))
    hint = f" Did you mean {code(near)}?" if near else ""
    return CommandAnswer(text=f"There is no command {code(name)}.{hint}\n\n{_command_list()}")


def _command_list() -> str:
    return "\n".join(f"- {code(f'{item.name} {item.argument}')}: {item.description}" for item in COMMANDS)


def _candidate(summary: ConversationSummary) -> str:
    messages = count(summary.message_count, "message")
    return f"{summary.last_at:%Y-%m-%d %H:%M} **{plain(_title(summary))}** ({messages})"


def _picks(summaries: Iterable[ConversationSummary]) -> tuple[Pick, ...]:
    return tuple(
        Pick(conversation=summary.conversation, label=short_line(f"{summary.last_at:%Y-%m-%d %H:%M} {_title(summary)}"))
        for summary in summaries
    )


def _title(summary: ConversationSummary) -> str:
    return summary.title or "a conversation without a title"
