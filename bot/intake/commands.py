"""The bot's commands: one answer each, in the same Markdown for every platform."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from bot.domain.answers import CommandAnswer, Example, Pick
from bot.domain.commands import COMMANDS, HOW_TO_INVOKE, nearest_command
from bot.domain.events import CommandInvoked, ConversationKey
from bot.domain.messages import AssistantMessage, ToolMessage, ToolSpec, Usage, UserMessage
from bot.ports.store import ConversationSummary, HistoryEntry, Store, UsageTotals, author_key
from bot.ports.tools import ServerStatus, Tools
from bot.text.split import cut

HISTORY_LINES = 20
HISTORY_ROWS = 10 * HISTORY_LINES  # more than are shown: tool calls and results take rows, but no lines of their own
LINE_CHARS = 160
MAX_PICKS = 20  # conversations of a channel to choose from

Stop = Callable[[ConversationKey], Awaitable[bool]]  # stops the running turn; False: nothing was running
_Handler = Callable[[ConversationKey], Awaitable[CommandAnswer]]


class Commands:
    """Answers every command of every platform.

    `about` says which model answers, `limits` are sentences on what a conversation may hold; both are shown by `help`.
    """

    def __init__(
        self, *, store: Store, tools: Tools, model_name: str, about: str, stop: Stop, limits: Sequence[str] = ()
    ) -> None:
        self._store = store
        self._tools = tools
        self._model_name = model_name
        self._about = about
        self._stop = stop
        self._limits = limits

    async def answer(self, event: CommandInvoked) -> CommandAnswer:
        """Return the answer for whoever asked; an unknown command is answered with the nearest one.

        One that is about a conversation, but was asked for in a whole channel, is answered for the only conversation
        that it can be about; where there are several, they are there to pick from. Two are not typed by people:
        "home" is for a platform's start page, and "tool_names" (those with the argument in them, as choices) for
        platforms that complete what is typed.
        """
        match event.name:
            case "tools":
                return CommandAnswer(text=await describe_tools(self._tools, event.argument))
            case "history" | "clear" | "stop":
                return await self._answer_about(event)
            case "examples":
                return await self._answer_examples()
            case "usage":
                return await self._answer_usage(event)
            case "help":
                return self._answer_help()
            case "tool_names":
                return await self._answer_tool_names(event.argument)
            case "home":
                return await self._answer_home(event)
            case unknown:
                return _answer_unknown(unknown)

    # --- about one conversation ---

    async def _answer_about(self, event: CommandInvoked) -> CommandAnswer:
        handlers: dict[str, _Handler] = {
            "history": self._answer_history,
            "clear": self._answer_clear,
            "stop": self._answer_stop,
        }
        handle = handlers[event.name]
        if not event.is_channel_wide:
            return await handle(event.conversation)
        match await self._candidates(event):
            case []:
                return CommandAnswer(text=_NO_CANDIDATE[event.name])
            case [only]:
                answer = await handle(only.conversation)
                return replace(answer, text=f"{_candidate(only)}\n\n{answer.text}")
            case several:
                lines = [f"- {_candidate(summary)}" for summary in several]
                return CommandAnswer(text="\n".join([_WHICH[event.name], "", *lines]), picks=_picks(several))

    async def _candidates(self, event: CommandInvoked) -> Sequence[ConversationSummary]:
        prefix = str(replace(event.conversation, thread=""))
        if event.name == "stop":
            return list(await self._store.open_conversations(prefix=prefix))[:MAX_PICKS]
        return list(await self._store.conversations(limit=MAX_PICKS, prefix=prefix))

    async def _answer_history(self, conversation: ConversationKey) -> CommandAnswer:
        lines = _history_lines(await self._store.transcript(conversation, limit=HISTORY_ROWS))[-HISTORY_LINES:]
        if not lines:
            return CommandAnswer(text="This conversation has no messages yet.")
        heading = f"**The last {_count(len(lines), 'message')}** (times in UTC)"
        return CommandAnswer(text="\n".join([heading, "", *lines]))

    async def _answer_clear(self, conversation: ConversationKey) -> CommandAnswer:
        gone = await self._store.clear(conversation)
        if not gone:
            return CommandAnswer(text="There was nothing to forget. Saved files are kept.")
        return CommandAnswer(text=f"{_count(gone, 'message')} of this conversation deleted. Saved files are kept.")

    async def _answer_stop(self, conversation: ConversationKey) -> CommandAnswer:
        was_running = await self._stop(conversation)
        return CommandAnswer(text="Stopping." if was_running else "Nothing is running in this conversation.")

    # --- about the bot and its use ---

    async def _answer_tool_names(self, typed: str) -> CommandAnswer:
        names = {tool.tool for tool in (await self._tools.offer()).tools}
        wanted = sorted(name for name in names if typed.casefold() in name.casefold())
        return CommandAnswer(text="", choices=tuple(Example(title=name, text=name) for name in wanted))

    async def _answer_examples(self) -> CommandAnswer:
        examples = tuple(await self._tools.examples())
        if not examples:
            return CommandAnswer(text="No tool server that can be reached offers examples.")
        return CommandAnswer(text="**Examples to try**", choices=examples)

    async def _answer_usage(self, event: CommandInvoked) -> CommandAnswer:
        own = await self._own_usage(event)
        lines = [f"- **You**: {_totals(own)}", f"- **All conversations**: {_totals(await self._store.usage())}"]
        if not event.is_channel_wide:
            here = await self._store.usage(event.conversation)
            lines.insert(0, f"- **This conversation**: {_totals(here)}")
        return CommandAnswer(text="\n".join(lines))

    async def _own_usage(self, event: CommandInvoked) -> UsageTotals:
        return await self._store.usage(author=author_key(event.conversation, event.author_id))

    def _answer_help(self) -> CommandAnswer:
        limits = "\n".join(f"- {limit}" for limit in self._limits)
        paragraphs = [
            self._introduction(),
            self._about,
            f"**Commands** ({HOW_TO_INVOKE})\n\n{_command_list()}",
            limits and f"**Limits**\n\n{limits}",
        ]
        return CommandAnswer(text="\n\n".join(paragraph for paragraph in paragraphs if paragraph))

    async def _answer_home(self, event: CommandInvoked) -> CommandAnswer:
        examples = tuple(await self._tools.examples())  # starts servers that were idle: their state is read after it
        paragraphs = [
            self._introduction(),
            self._about,
            f"**How to ask**\n\n{_HOW_TO_ASK}",
            f"**Tool servers**\n\n{_server_list(self._tools.status())}",
            f"**Your use so far**: {_totals(await self._own_usage(event))}",
        ]
        return CommandAnswer(text="\n\n".join(paragraph for paragraph in paragraphs if paragraph), choices=examples)

    def _introduction(self) -> str:
        return f"I answer questions with the tools of your team's MCP servers. Model: {_code(self._model_name)}."


_HOW_TO_ASK = (
    "Write to me directly, or mention me in a channel. In a conversation that I take part in, "
    "no further mention is needed."
)


def _answer_unknown(name: str) -> CommandAnswer:
    near = nearest_command(name, among=(command.name for command in COMMANDS))
    hint = f" Did you mean {_code(near)}?" if near else ""
    return CommandAnswer(text=f"There is no command {_code(name)}.{hint}\n\n{_command_list()}")


def _command_list() -> str:
    return "\n".join(f"- {_code(f'{item.name} {item.argument}')}: {item.description}" for item in COMMANDS)


# --- the conversations of a channel ----------------------------------------------------------------------------

_WHICH = {
    "history": "**The conversations of this channel**, the newest first (times in UTC). Which one do you want to read?",
    "clear": "**Which conversation is to be forgotten?** The newest comes first (times in UTC). Saved files are kept.",
    "stop": "**Which answer is to be stopped?** Several are being worked on (times in UTC).",
}
_NO_CANDIDATE = {
    "history": "There are no conversations in this channel yet.",
    "clear": "There is no conversation in this channel to forget.",
    "stop": "Nothing is running in this channel.",
}


def _candidate(summary: ConversationSummary) -> str:
    count = _count(summary.message_count, "message")
    return f"{summary.last_at:%Y-%m-%d %H:%M} **{_plain(_title(summary))}** ({count})"


def _picks(summaries: Iterable[ConversationSummary]) -> tuple[Pick, ...]:
    return tuple(
        Pick(conversation=summary.conversation, label=_flat(f"{summary.last_at:%Y-%m-%d %H:%M} {_title(summary)}"))
        for summary in summaries
    )


def _title(summary: ConversationSummary) -> str:
    return summary.title or "a conversation without a title"


# --- tools -----------------------------------------------------------------------------------------------------


async def describe_tools(tools: Tools, word: str = "") -> str:
    """Return Markdown on the servers and their tools, or on those tools alone that match `word`."""
    offer = await tools.offer()
    wanted = [tool for tool in offer.tools if _matches(tool, word)]
    if word.strip() and not wanted:
        return f"No tool matches {_code(word)}. `tools` without a word shows all of them."
    paragraphs = _server_paragraphs(tools.status(), wanted, show_all=not word.strip())
    return "\n\n".join([*paragraphs, *map(_plain, offer.notes)]) or "No tool server is set up."


def _matches(tool: ToolSpec, word: str) -> bool:
    return word.strip().casefold() in f"{tool.server} {tool.name} {tool.tool} {tool.description}".casefold()


def _server_paragraphs(statuses: Sequence[ServerStatus], tools: Sequence[ToolSpec], *, show_all: bool) -> Iterable[str]:
    for server in dict.fromkeys([*(status.server for status in statuses), *(tool.server for tool in tools)]):
        replicas = [status for status in statuses if status.server == server]
        offered = [tool for tool in tools if tool.server == server]
        if show_all or offered:
            heading = f"**{_plain(server)}**: {'; '.join(map(_state, replicas)) or 'ready'}"
            yield "\n".join([heading, "", *map(_tool_line, offered)]).rstrip()


def _server_list(statuses: Sequence[ServerStatus]) -> str:
    lines: list[str] = []
    for server in dict.fromkeys(status.server for status in statuses):
        replicas = [status for status in statuses if status.server == server]
        tools = _count(max(status.tool_count for status in replicas), "tool")
        lines.append(f"- **{_plain(server)}**: {'; '.join(map(_state, replicas))}, {tools}")
    return "\n".join(lines) or "No tool server is set up."


def _state(status: ServerStatus) -> str:
    return f"{status.state} ({_plain(status.detail)})" if status.detail else status.state


def _tool_line(tool: ToolSpec) -> str:
    description = _plain(_first_sentence(tool.description))
    return f"- {_code(tool.tool)}: {description}" if description else f"- {_code(tool.tool)}"


def _first_sentence(description: str) -> str:
    first_paragraph = description.strip().partition("\n\n")[0]
    return re.split(r"(?<=[.!?])\s", first_paragraph, maxsplit=1)[0]


# --- history ---------------------------------------------------------------------------------------------------


def _history_lines(entries: Sequence[HistoryEntry]) -> list[str]:
    """Return a line for each question and each answer; what the bot said and used before its answer goes into it."""
    lines: list[str] = []
    said: list[str] = []
    used: list[str] = []
    for entry in entries:
        match entry.message:
            case UserMessage(text=text, speaker=speaker):
                said, used = [], []
                lines.append(_history_line(entry, speaker or "you", text))
            case AssistantMessage(text=text, tool_calls=calls):
                said.append(text)
                used += [call.name for call in calls]
                if not calls:
                    lines.append(_history_line(entry, "bot", " ".join(said), used=used))
            case ToolMessage():
                pass  # its call is named in the answer's line
    return lines


def _history_line(entry: HistoryEntry, speaker: str, text: str, *, used: Sequence[str] = ()) -> str:
    tools = f" (used {', '.join(map(_code, dict.fromkeys(used)))})" if used else ""
    return f"- {entry.at:%Y-%m-%d %H:%M} **{_plain(speaker)}**{tools}: {_plain(text)}"


# --- words -----------------------------------------------------------------------------------------------------


def _totals(totals: UsageTotals) -> str:
    usage = totals.usage
    cached = f" ({_cached_share(usage):.0%} from the prompt cache)" if usage.input_tokens else ""
    return (
        f"{_count(totals.turns, 'turn')}, {usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} tokens out"
    )


def _cached_share(usage: Usage) -> float:
    return usage.cached_tokens / usage.input_tokens


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _plain(text: str) -> str:
    """Return untrusted text as one short line in which no character means anything in Markdown."""
    return re.sub(r"([\\`*_~\[\]<>|#&])", r"\\\1", _flat(text))


def _code(text: str) -> str:
    """Return untrusted text as inline code on one short line."""
    return f"`{_flat(text).replace('`', chr(39)) or ' '}`"


def _flat(text: str) -> str:
    return cut("".join(char if char.isprintable() else " " for char in text), LINE_CHARS)
