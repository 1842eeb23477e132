"""What the rehearsal model answers: fixed rules instead of an AI, and no state, so equal messages get equal answers.

It parses a request clause by clause into steps, each of which calls one tool. Every round starts from nothing but the
messages: it parses the steps again, finds the calls that were already made with their results, and asks for all calls
that are possible now. When no calls are left, it puts the results into words. It never computes anything itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal, cast
from zoneinfo import available_timezones

from bot.domain.messages import AssistantMessage, Message, ToolCall, ToolMessage, ToolSpec, UserMessage
from bot.models.rehearsal.arithmetic import LastResult, Operand, Operation, read_arithmetic
from bot.models.rehearsal.finding import FINDER, choose, first_found


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool to call, by the name under which it was offered."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Text, or tools to call now, all at once."""

    text: str = ""
    calls: tuple[Call, ...] = ()


def answer(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Answer:
    """Answer the last user message with calls of offered tools, or with text once there is nothing left to call.

    A result that begins like an error ("Error: ...", "Denied ...", "Interrupted ...") counts as a failed call.
    """
    asked_at = max((at for at, message in enumerate(messages) if isinstance(message, UserMessage)), default=-1)
    if asked_at < 0:
        return Answer(text=_abilities(tools))
    finished = _finished(messages)
    draft = Draft(earlier=[one for one in finished if one.asked_at < asked_at])
    _understand(cast(UserMessage, messages[asked_at]), draft)
    outcomes = _carry_out(draft.steps, [one for one in finished if one.asked_at == asked_at], tools)
    calls = tuple(outcome.call for group in outcomes for outcome in group if outcome.call)
    return Answer(calls=calls) if calls else Answer(text=_in_words(draft, outcomes, tools))


# --- what was done already ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A call that has its result; `asked_at` is the index of the user message that led to it."""

    name: str
    arguments: Mapping[str, Any] | None  # None: they were not a JSON object
    text: str
    asked_at: int

    @property
    def tool(self) -> str:
        return _bare(self.name)


_FAILURE = re.compile(
    r"\W{0,3}(?:error|failed|failure|denied|refused|declined|rejected|interrupted|cancell?ed|stopped|unavailable"
    r"|timed? ?out|unknown tool|not (?:run|allowed|available)|(?:the|this) (?:tool|call))\b",
    re.IGNORECASE,
)
_ADVICE = re.compile(r"\n\[The limit of [^\n]*\]$")  # addressed to the model, not part of the result
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_SOLE_NUMBER = re.compile(rf"(?:.*=)?\s*({_NUMBER})\s*", re.IGNORECASE)
_WRITES = ("save_text_file", "delete_text_file")
_FILE_TOOLS = (*_WRITES, "read_text_file", "list_text_files")


def _bare(name: str) -> str:
    return name.rpartition("__")[2]


def _finished(messages: Sequence[Message]) -> list[Finished]:
    found: list[Finished] = []
    open_calls: dict[str, ToolCall] = {}
    asked_at = -1
    for at, message in enumerate(messages):
        match message:
            case UserMessage():
                asked_at = at
            case AssistantMessage():
                open_calls = {call.id: call for call in message.tool_calls}
            case ToolMessage() if call := open_calls.get(message.call_id):
                arguments = _json_object(call.arguments)
                text = _ADVICE.sub("", message.text)
                found.append(Finished(name=call.name, arguments=arguments, text=text, asked_at=asked_at))
            case ToolMessage():
                pass
    return found


def _json_object(text: str) -> dict[str, Any] | None:
    value = _json_prefix(text.strip(), 0)
    return value[0] if value and value[1] == len(text.strip()) else None


def _json_prefix(text: str, start: int) -> tuple[dict[str, Any], int] | None:
    """Return the JSON object that begins at `start`, and the index after it."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return (cast("dict[str, Any]", value), end) if isinstance(value, dict) else None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _number(text: str) -> float | None:
    """Return the number that a result is, or that its equation ends with."""
    match = _SOLE_NUMBER.fullmatch(text)
    value = float(match[1]) if match else math.nan
    return value if math.isfinite(value) else None


# --- steps -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NumberOf:
    """The number that results from an earlier step of the same request."""

    step: int


@dataclass(frozen=True, slots=True)
class TextOf:
    """The results of earlier steps of the same request, as lines of text."""

    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FilesOf:
    """One call for each file that an earlier step lists."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One tool to call once, or with `FilesOf` several times."""

    tool: str
    arguments: Mapping[str, Any]  # JSON values, and references to earlier steps
    clause: str  # the user's own words for it
    waits_for: frozenset[int]
    is_result: bool = True  # False: an intermediate step, which "save both results" leaves out
    is_direct: bool = False  # the user named the tool, and is responsible for the arguments
    description: str = ""  # of the tool, where the user did not name it
    withheld: str = ""  # why it is not carried out


@dataclass(slots=True, kw_only=True)
class Draft:
    """What a request asks for, as far as it has been parsed."""

    earlier: Sequence[Finished]
    speaker: str = ""
    clause: str = ""
    is_after: bool = False  # the clause began with "then"
    steps: list[Step] = field(default_factory=list[Step])
    remarks: list[str] = field(default_factory=list[str])
    unknown: list[str] = field(default_factory=list[str])
    wants_abilities: bool = False
    wants_hint: bool = False

    def add(self, tool: str, *, is_result: bool = True, **arguments: Any) -> int:
        """Add a step and return its index. Steps that use files keep their order relative to steps that write."""
        before = _before(tool, self.steps)
        needed = {ref.step for ref in arguments.values() if isinstance(ref, NumberOf | FilesOf)}
        needed.update(at for ref in arguments.values() if isinstance(ref, TextOf) for at in ref.steps)
        waits_for = frozenset(before | needed)
        is_result = is_result and tool not in _WRITES
        step = Step(tool=tool, arguments=arguments, clause=self.clause, waits_for=waits_for, is_result=is_result)
        self.steps.append(step)
        return len(self.steps) - 1

    def last_number(self) -> NumberOf | float:
        """Return the last number of this request or, failing that, of the conversation."""
        for at in reversed(range(len(self.steps))):
            if self.steps[at].tool == "calculate" or self.steps[at].is_direct:
                return NumberOf(at)
        numbers = (_number(one.text) for one in reversed(self.earlier) if not _FAILURE.match(one.text))
        if (number := next((one for one in numbers if one is not None), None)) is None:
            raise UnmetError("there is no earlier result to go on with")
        return number

    def last_file(self) -> str:
        """Return the file that was mentioned last."""
        now = (step.arguments for step in reversed(self.steps) if step.tool in _FILE_TOOLS)
        before = (one.arguments or {} for one in reversed(self.earlier) if one.tool in _FILE_TOOLS)
        names = (arguments.get("filename") for group in (now, before) for arguments in group)
        if (name := next((one for one in names if isinstance(one, str)), None)) is None:
            raise UnmetError("no file has been named yet")
        return name

    def results(self, tool: str, *, everything: bool) -> TextOf | str:
        """Return the last result (of `tool`, if given), or all: of this request or, failing that, the last turn."""
        now = [at for at, step in enumerate(self.steps) if step.is_result and tool in ("", step.tool)]
        if now:
            return TextOf(tuple(now if everything else now[-1:]))
        good = [one for one in self.earlier if one.tool not in _WRITES and not _FAILURE.match(one.text)]
        good = [one for one in good if tool in ("", one.tool)]
        if not good:
            raise UnmetError("there is no earlier result to save")
        chosen = [one for one in good if one.asked_at == good[-1].asked_at] if everything else good[-1:]
        return "\n".join(_plain(one.tool, one.text) for one in chosen)


class UnmetError(Exception):
    """A step needs something that is missing; the message says what."""


def _before(tool: str, steps: Sequence[Step]) -> set[int]:
    if tool not in _FILE_TOOLS:
        return set()
    blocking = _FILE_TOOLS if tool in _WRITES else _WRITES
    return {at for at, step in enumerate(steps) if step.tool in blocking}


# --- carrying steps out ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The state of one call of a step; `call` is set until the call is made."""

    step: Step
    state: Literal["done", "failed", "skipped", "asked", "waiting"]
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text: str = ""
    call: Call | None = None


def _carry_out(steps: Sequence[Step], made: list[Finished], tools: Sequence[ToolSpec]) -> list[list[Outcome]]:
    """Return the outcomes of each step, given the calls made so far in this turn; removes those from `made`."""
    outcomes: list[list[Outcome]] = []
    for step in steps:
        pending = (one for at in step.waits_for for one in outcomes[at] if one.state in ("asked", "waiting"))
        if any(pending):
            outcomes.append([Outcome(step=step, state="waiting")])
            continue
        try:
            outcomes.append([_outcome(step, one, made, tools) for one in _resolved(step, outcomes)])
        except UnmetError as reason:
            outcomes.append([Outcome(step=step, state="skipped", text=str(reason))])
    return outcomes


def _resolved(step: Step, outcomes: Sequence[Sequence[Outcome]]) -> list[dict[str, Any]]:
    """Return the arguments of each call of the step, with references replaced. Raises UnmetError."""
    if step.withheld:
        raise UnmetError(step.withheld)
    files = step.arguments.get("filename")
    if isinstance(files, FilesOf):
        return [{"filename": name} for one in outcomes[files.step] for name in _file_names(one)]
    return [{name: _value(argument, outcomes) for name, argument in step.arguments.items()}]


def _value(argument: object, outcomes: Sequence[Sequence[Outcome]]) -> object:
    match argument:
        case NumberOf(step):
            number = _number(outcomes[step][0].text) if outcomes[step][0].state == "done" else None
            if number is None:
                raise UnmetError("the number it needs is missing")
            return number
        case TextOf(steps):
            sources = [one for at in steps for one in outcomes[at]]
            if not any(one.state == "done" for one in sources):
                raise UnmetError("there is nothing to save")
            return "\n".join(_for_a_file(one) for one in sources)
        case _:
            return argument


def _for_a_file(outcome: Outcome) -> str:
    if outcome.state == "done":
        return _plain(outcome.step.tool, outcome.text)
    return f"{outcome.step.clause}: not available ({_reason(outcome)})"


def _file_names(listing: Outcome) -> list[str]:
    """Return the files of a listing, which has one per line, sometimes followed by its size."""
    if listing.state != "done":
        raise UnmetError("the list of files is missing")
    found = (_LISTED.match(line) for line in listing.text.splitlines())
    return [match["file"] for match in found if match][:_MAX_PARTS]


_LISTED = re.compile(r"\W{0,2}(?P<file>\S.*?)(?: \([\d,.]+ \w+\)|(?<=\.\w{3}))$")


def _outcome(step: Step, arguments: dict[str, Any], made: list[Finished], tools: Sequence[ToolSpec]) -> Outcome:
    search = Call(name=FINDER, arguments={"query": step.description or step.tool})
    searched = next((one for one in made if (one.name, one.arguments) == (search.name, search.arguments)), None)
    if step.description:
        chosen = choose(step.description, tools) or first_found(searched.text if searched else "", tools)
        step = replace(step, tool=chosen.name if chosen else "")
    done = next((one for one in made if step.tool in (one.name, one.tool) and one.arguments == arguments), None)
    if done:
        made.remove(done)
        state = "failed" if _FAILURE.match(done.text) else "done"
        return Outcome(step=step, state=state, arguments=arguments, text=done.text)
    if offered := _find(step, arguments, tools):
        call = Call(name=offered.name, arguments=arguments)
        return Outcome(step=step, state="asked", arguments=arguments, call=call)
    if searched is None and any(tool.name == FINDER for tool in tools):
        return Outcome(step=step, state="asked", arguments=arguments, call=search)
    return Outcome(
        step=step, state="skipped", text=f"no fitting {f'`{step.tool}` ' if step.tool else ''}tool is offered to me now"
    )


def _find(step: Step, arguments: Mapping[str, Any], tools: Sequence[ToolSpec]) -> ToolSpec | None:
    if step.is_direct:
        exact = (tool for tool in tools if tool.name == step.tool)
        return next(exact, next((tool for tool in tools if _bare(tool.name) == step.tool), None))
    return next((tool for tool in tools if _bare(tool.name) == step.tool and _fits(arguments, tool.parameters)), None)


def _fits(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    known, required = schema.get("properties", {}), schema.get("required", [])
    return arguments.keys() <= known.keys() and arguments.keys() >= set(required)


# --- reading a request -------------------------------------------------------------------------------------------

_MAX_PARTS = 60
_MAX_JOINED = 12  # parts of one clause
_SPEAKER = re.compile(r"⟦from (?P<id>\S+): (?P<speaker>[^⟦⟧\n]*)⟧\n")
# What the bot itself writes around the files of a question; the text of the files is part of the question.
_QUOTED_FILE = re.compile(
    r"^⟦The file `[^`\n]+` was sent with (?:this message|a message quoted above):⟧\n"
    r"(?P<fence>`{3,})\w*\n(?P<text>.*?)\n(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_AROUND_FILES = re.compile(r"^⟦[^\n]*⟧$", re.MULTILINE)
# Before these lines of the bot's own is what the question points at, and the summary: no part of what is asked.
_BEGINNING = re.compile(r"^⟦(?:The message itself:|End of the summary)⟧\n", re.MULTILINE)
_QUOTES = r"\"[^\"\n]*\"|“[^”\n]*”|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w)"
_BOUNDARY = re.compile(
    r"\n+|[.!?;]+(?=\s|$)\s*|,\s+(?:(?:and|then|but|also|so)\s+)*"
    r"|(?<!hundred)(?<!thousand)\s+(?:and|then|but)\s+(?:(?:then|also)\s+)*",
    re.IGNORECASE,
)
_THEN = re.compile(r"\bthen\b|\bafter that\b|\bafterwards\b", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:(?:(?:can|could|would|will) you(?: please)?|please|i(?:['\u2019]d| would) like (?:you )?to"
    r"|i (?:want|need)(?: (?:you )?to)?|let(?:['\u2019]s| us)|now|then|also|and|so|but|ok(?:ay)?|next|first|finally"
    r"|after that|afterwards)(?:[\s,:]+|$)|[-*•]\s+(?=[A-Za-z]))+",
    re.IGNORECASE,
)
_TRAILING = re.compile(r"(?:[\s,]+(?:please|for me|too|as well|afterwards|thanks|thank you))+$", re.IGNORECASE)

Reading = Callable[[Draft], None]  # adds what a clause asks for to the draft


def _understand(message: UserMessage, draft: Draft) -> None:
    draft.remarks += [f"You sent an image: {len(image.data):,} bytes of {image.mime_type}." for image in message.images]
    tag = _SPEAKER.match(message.text)
    draft.speaker = tag["speaker"] if tag else message.speaker or ""
    text = message.text[tag.end() :] if tag else message.text
    text = _BEGINNING.split(text)[-1]
    text = _AROUND_FILES.sub("", _QUOTED_FILE.sub(r"\g<text>\n", text))
    parts = _parts(text)
    if len(parts) > _MAX_PARTS:
        draft.unknown.append(_clip(text, 80))
        return
    for clause, is_after, reading in _clauses(text, parts):
        draft.clause, draft.is_after = _clean(clause), is_after
        try:
            reading(draft)
        except UnmetError as reason:
            draft.remarks.append(f"“{_clip(draft.clause, 80)}” was not done: {reason}.")
    if draft.unknown:
        draft.steps = [_withhold(step) for step in draft.steps]


def _withhold(step: Step) -> Step:
    if step.tool != "delete_text_file":
        return step
    return replace(step, withheld="nothing is deleted while I did not understand the whole request")


def _parts(text: str) -> list[tuple[int, int, bool]]:
    """Split where a clause may end, outside quotes and JSON: (start, end, whether "then" precedes it)."""
    masked = _masked(text)
    parts: list[tuple[int, int, bool]] = []
    start, is_after = 0, False
    for boundary in _BOUNDARY.finditer(masked):
        parts.append((start, boundary.start(), is_after))
        start, is_after = boundary.end(), bool(_THEN.search(boundary[0]))
    parts.append((start, len(text), is_after))
    return [(one, end, after or bool(_THEN.match(text, one))) for one, end, after in parts if text[one:end].strip()]


def _masked(text: str) -> str:
    masked = text
    for found in re.finditer(r"\bwith\s+(?=\{)", text):
        if value := _json_prefix(text, found.end()):
            masked = masked[: found.end()] + "\0" * (value[1] - found.end()) + masked[value[1] :]
    return re.sub(_QUOTES, lambda quote: "\0" * len(quote[0]), masked)


def _clauses(text: str, parts: Sequence[tuple[int, int, bool]]) -> Iterable[tuple[str, bool, Reading]]:
    """Join parts into clauses that a rule knows: as few as it takes, then those that only make sense with them."""

    @cache
    def read(first: int, last: int) -> Reading | None:
        return _reading(_clean(text[parts[first][0] : parts[last][1]]))

    at = 0
    while at < len(parts):
        last, end = at, min(len(parts), at + _MAX_JOINED) - 1
        while not read(at, last) and last < end and (read(at, last + 1) or not read(last + 1, last + 1)):
            last += 1
        if not read(at, last):
            last = end = at
        while last < end and not read(last + 1, last + 1) and read(at, last + 1):
            last += 1
        yield text[parts[at][0] : parts[last][1]], parts[at][2], read(at, last) or _not_understood
        at = last + 1


def _clean(clause: str) -> str:
    stripped = clause.strip(" \t\r\n.,;!?")
    leading = _LEADING.match(stripped)
    return _TRAILING.sub("", stripped[leading.end() :] if leading else stripped).strip()


def _not_understood(draft: Draft) -> None:
    draft.unknown.append(draft.clause)


def _reading(clause: str) -> Reading | None:
    """Find the rule for a clause: a call by name, one of the patterns, or arithmetic."""
    if not clause:
        return lambda draft: None
    for pattern, read in _RULES:
        if match := pattern.fullmatch(clause):
            return partial(read, match)
    tree = read_arithmetic(clause)
    return partial(_read_arithmetic, tree) if tree else None


Match = re.Match[str]


def _read_direct(match: Match, draft: Draft) -> None:
    arguments = _json_object(match["json"] or "{}")
    if arguments is None:
        raise UnmetError("what follows “with” is not a JSON object")
    waits_for = frozenset(range(len(draft.steps)) if draft.is_after else ())
    step = Step(tool=match["tool"], arguments=arguments, clause=draft.clause, waits_for=waits_for, is_direct=True)
    draft.steps.append(step)


def _read_described(match: Match, draft: Draft) -> None:
    _read_direct(match, draft)
    draft.steps[-1] = replace(draft.steps[-1], description=draft.steps[-1].tool, tool="")


def _read_save(match: Match, draft: Draft) -> None:
    content = _content(match["text"].strip(), draft)
    draft.add("save_text_file", filename=_unquoted(match["file"]), content=content)


def _content(phrase: str, draft: Draft) -> TextOf | str:
    """Return what to save: results that the phrase refers to, results of steps that come first, or the words."""
    if _unquoted(phrase) != phrase:
        return _unquoted(phrase)
    if reference := _REFERENCE.fullmatch(phrase):
        tool = next((tool for word, tool in _KINDS.items() if word in (reference["kind"] or "").lower()), "")
        return draft.results(tool, everything=bool(reference["all"]))
    first = len(draft.steps)
    reading = _reading(_clean(phrase))
    if isinstance(reading, partial) and reading.func in (_read_arithmetic, _read_weather, _read_time):
        reading(draft)
    if steps := tuple(at for at in range(first, len(draft.steps)) if draft.steps[at].is_result):
        return TextOf(steps)
    return _unquoted(_LABEL.sub("", phrase))


_KINDS = {
    "weather": "get_weather",
    "forecast": "get_weather",
    "temperature": "get_weather",
    "time": "get_current_time",
    "date": "get_current_time",
    "greeting": "greet",
    "system": "get_system_info",
    "calculation": "calculate",
    "list": "list_text_files",
}
_LABEL = re.compile(r"(?:the )?(?:text|words?|sentence|line|message|note|content)(?::\s*| (?=[\"“`']))", re.IGNORECASE)
_REFERENCE = re.compile(
    r"(?P<all>both(?: of (?:them|these|those))?(?: the)?(?: results| answers)?|all(?: of)? (?:it|them|this|that)"
    r"|(?:the |these |those |all )*(?:results|answers)|everything|them|these|those)"
    rf"|(?:the |that |this |your )(?:current |file )?(?P<kind>{'|'.join(_KINDS)})(?: info(?:rmation)?| report)?"
    r"|it|that|this|(?:the |that |this |my |your )?(?:last |previous |final )?(?:result|answer|number|total|sum|value)",
    re.IGNORECASE,
)


def _read_arithmetic(tree: Operation, draft: Draft) -> None:
    that = draft.last_number() if tree.uses_last_result else 0
    _calculate(tree, draft, that=that, is_result=True)


def _calculate(tree: Operand, draft: Draft, *, that: NumberOf | float, is_result: bool) -> NumberOf | float:
    match tree:
        case Operation(name, left, right):
            a = _calculate(left, draft, that=that, is_result=False)
            b = _calculate(right, draft, that=that, is_result=False)
            return NumberOf(draft.add("calculate", is_result=is_result, operation=name, a=a, b=b))
        case LastResult():
            return that
        case _:
            return tree


def _on_file(tool: str, match: Match, draft: Draft) -> None:
    draft.add(tool, filename=_unquoted(match["file"]) if match["file"] else draft.last_file())


def _plainly(tool: str, match: Match, draft: Draft) -> None:
    draft.add(tool)


def _read_each_file(match: Match, draft: Draft) -> None:
    lists = [at for at, step in enumerate(draft.steps) if step.tool == "list_text_files"]
    draft.add("read_text_file", filename=FilesOf(lists[-1] if lists else draft.add("list_text_files")))


def _read_weather(match: Match, draft: Draft) -> None:
    if not match["place"]:
        raise UnmetError("tell me a city, as in “weather in Paris”")
    for place in re.split(r"\s+and\s+(?:in\s+)?", match["place"]):
        draft.add("get_weather", city=_SHORT_CITIES.get(place.casefold(), _unquoted(place)))


def _read_time(match: Match, draft: Draft) -> None:
    for place in re.split(r"\s+and\s+(?:in\s+)?", match["place"] or "UTC"):
        draft.add("get_current_time", timezone=_zone(_unquoted(place)))


def _read_greet(match: Match, draft: Draft) -> None:
    names = draft.speaker if match["names"].lower() == "me" else match["names"]
    if not names:
        raise UnmetError("tell me your name, as in “greet me, I am Ada”")
    for name in re.split(r"\s*,\s+(?:and\s+)?|\s+and\s+", names):
        draft.add("greet", name=_unquoted(name))


def _read_abilities(match: Match, draft: Draft) -> None:
    draft.wants_abilities = True


def _read_hello(match: Match, draft: Draft) -> None:
    draft.remarks.append("Hello!")
    draft.wants_hint = True


def _say(text: str, match: Match, draft: Draft) -> None:
    draft.remarks.append(text)


_SHORT_CITIES = {"nyc": "New York", "la": "Los Angeles", "sf": "San Francisco", "dc": "Washington"}
_ALIASES = {
    **dict.fromkeys(("utc", "gmt"), "UTC"),
    **dict.fromkeys(("nyc", "new york city", "boston", "washington", "dc", "miami", "atlanta"), "America/New_York"),
    **dict.fromkeys(("la", "sf", "san francisco", "seattle", "california"), "America/Los_Angeles"),
    **dict.fromkeys(("beijing", "china"), "Asia/Shanghai"),
    **dict.fromkeys(("india", "mumbai", "delhi", "new delhi", "bangalore"), "Asia/Kolkata"),
    **dict.fromkeys(("germany", "munich", "hamburg", "frankfurt"), "Europe/Berlin"),
    **dict.fromkeys(("uk", "england", "edinburgh"), "Europe/London"),
    **dict.fromkeys(("france",), "Europe/Paris"),
    **dict.fromkeys(("spain", "barcelona"), "Europe/Madrid"),
    **dict.fromkeys(("italy", "milan"), "Europe/Rome"),
    **dict.fromkeys(("osaka", "kyoto"), "Asia/Tokyo"),
}


def _zone(place: str) -> str:
    """Return the IANA name for a zone or city; an unknown place goes to the tool unchanged."""
    key = place.casefold().replace("_", " ")
    return _ALIASES.get(key) or _zones().get(key, place)


@cache
def _zones() -> dict[str, str]:
    zones: dict[str, str] = {}
    # Etc/GMT+5 lies west of Greenwich, the opposite of what people mean by GMT+5.
    for zone in sorted(one for one in available_timezones() if not re.search(r"[+-]\d", one)):
        zones.setdefault(zone.casefold().replace("_", " "), zone)
        zones.setdefault(zone.rpartition("/")[2].casefold().replace("_", " "), zone)
    return zones


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and re.fullmatch(_QUOTES, text) else text


# --- the rules ---------------------------------------------------------------------------------------------------

_IS = r"(?:['\u2019]s| is| are)?"
_ASK = (
    rf"(?:(?:(?:what|how){_IS}|tell me|give me|show me|show|check|get|fetch|look up|find out|find|report) (?:about )?)?"
    r"(?:(?:the|this|your|my|our|some|current|local|latest|today's|all|of) )*"
)
_FILE = (
    r"(?:(?:a|an|the|my) )?(?:new )?(?:text )?(?:file )?(?:called |named )?"
    rf"(?P<file>{_QUOTES}|(?:(?<=called )|(?<=named )|(?=\S*[./\\]))[^\s\"'`“”,;:]+)"
)
_FILE_OR_IT = rf"(?:{_FILE}|it|that|(?:the|that|this) file)"
_NOW = r"(?: (?:right now|now|today|currently|like|is it|it is))*"
_PLACE = rf"{_NOW}(?: (?:in|at|for|of) (?P<place>[^\n]{{1,100}}?))?{_NOW}"
_I_AM = r"(?:i am|i['\u2019]m|my name is)"
_NAMES = r"(?P<names>[^\n]{1,80}?)"


def _rule(pattern: str, read: Callable[[Match, Draft], None]) -> tuple[re.Pattern[str], Callable[[Match, Draft], None]]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL), read


_RULES = (
    _rule(r"call (?P<tool>[\w./-]+)(?: with\s+(?P<json>.+))?", _read_direct),
    _rule(r"use (?:a|some|the right) tool (?:to|for|that) (?P<tool>.+?)(?: with\s+(?P<json>\{.+))?", _read_described),
    _rule(rf"(?:save|write|put|store|record) (?P<text>.+?) (?:to|in|into|as) {_FILE}", _read_save),
    _rule(rf"(?:save|write) (?:this )?(?:to|in|into) {_FILE}:?\s+(?P<text>.+)", _read_save),
    _rule(rf"(?:create|make|write|save) {_FILE} (?:with|containing|saying)(?: the)? (?P<text>.+)", _read_save),
    _rule(rf"(?:delete|remove|erase) {_FILE_OR_IT}", partial(_on_file, "delete_text_file")),
    _rule(rf"what{_IS} in (?:them|these|those|each|all)(?: of them)?", _read_each_file),
    _rule(
        r"(?:read|show(?: me)?|open) (?:them(?: all)?|(?:all|each)(?: of)? (?:them|(?:my |the )?files))",
        _read_each_file,
    ),
    _rule(
        rf"(?:(?:tell me )?what{_IS} (?:in|inside)|read|open|show(?: me)?|print|cat|{_ASK}(?:contents?|text) of)"
        rf" {_FILE_OR_IT}(?: (?:back|again))*",
        partial(_on_file, "read_text_file"),
    ),
    _rule(rf"what does {_FILE_OR_IT} (?:say|contain)", partial(_on_file, "read_text_file")),
    _rule(
        rf"(?:list |which )?{_ASK}(?:saved |text )*files(?: (?:do i have|do we have|are there|exist|now|here))*",
        partial(_plainly, "list_text_files"),
    ),
    _rule(rf"{_ASK}(?:weather|temperature|forecast)(?: forecast| report)?{_PLACE}", _read_weather),
    _rule(rf"(?:how (?:hot|cold|warm)|is it (?:hot|cold|warm|raining|snowing|sunny)){_PLACE}", _read_weather),
    _rule(rf"{_ASK}(?:time|date|day)(?: and (?:time|date))?{_PLACE}", _read_time),
    _rule(
        rf"{_ASK}(?:(?:system|machine|computer|server)(?: (?:info|information|status|details|doing|running))+"
        r"|(?:cpu|memory|ram|disk|uptime)(?: (?:space|usage|load|left|free))*)",
        partial(_plainly, "get_system_info"),
    ),
    _rule(rf"greet me[,.!]* (?:and )?{_I_AM} {_NAMES}", _read_greet),
    _rule(rf"{_I_AM} {_NAMES}[,.!]* (?:and )?greet me", _read_greet),
    _rule(
        rf"(?:greet|welcome|say (?:hello|hi) to) (?:(?:a |the )?(?:user|person) )?(?:(?:called|named) )?{_NAMES}",
        _read_greet,
    ),
    _rule(
        r"help|(?:what|who) (?:can you do|do you do|are you)(?: for me)?|are you (?:an? )?(?:ai|bot|human)",
        _read_abilities,
    ),
    _rule(rf"{_ASK}(?:list )?(?:your |what )?tools(?: (?:do you have|are there))?", _read_abilities),
    _rule(r"(?:hi|hello|hey|good (?:morning|afternoon|evening))(?: (?:there|again|all|everyone))?", _read_hello),
    _rule(
        r"(?:many )?(?:thanks?|thx|cheers)(?: you)?(?: so much| very much| a lot)?", partial(_say, "You are welcome.")
    ),
    _rule(r"(?:good ?)?bye|good night", partial(_say, "Goodbye.")),
)


# --- words -------------------------------------------------------------------------------------------------------

_SKILLS = {
    "calculate": ("do arithmetic", "what is 25 * 8?"),
    "save_text_file": ("save files", "save that result to math.txt"),
    "read_text_file": ("read files", "what's in math.txt?"),
    "list_text_files": ("list files", "what files do I have?"),
    "delete_text_file": ("delete files", "delete math.txt"),
    "get_weather": ("tell the weather", "weather in New York"),
    "get_current_time": ("tell the time", "time in Tokyo"),
    "get_system_info": ("describe this machine", "how is this machine doing?"),
    "greet": ("greet people", "greet Ada"),
}
_OPERATORS = {
    "add": "+",
    "subtract": "-",
    "multiply": "\u00d7",
    "divide": "/",
    "power": "^",
    "modulo": "mod",
    "percent": "% of",
}
_EQUATION = re.compile(rf"\s*(?:result:)?\s*({_NUMBER}) (\w+) ({_NUMBER}) = ({_NUMBER})\s*", re.IGNORECASE)
_MAX_SHOWN = 2000  # characters of one result


def _in_words(draft: Draft, outcomes: Sequence[Sequence[Outcome]], tools: Sequence[ToolSpec]) -> str:
    done = [_said(one) for group in outcomes for one in group if one.state == "done"]
    undone = dict.fromkeys(_undone(one) for group in outcomes for one in group if one.state != "done")
    items = [*draft.remarks, *done, *undone]
    items += [f"I did not understand “{_clip(one, 80)}”." for one in draft.unknown]
    if len(items) > 1 and not any("\n" in item for item in items):
        items = ["\n".join(f"- {item}" for item in items)]
    if draft.wants_abilities:
        items.append(_abilities(tools))
    elif not draft.steps and (draft.wants_hint or draft.unknown or not items):
        items.append(_hint(tools))
    return "\n\n".join(items)


def _said(outcome: Outcome) -> str:
    text, tool = outcome.text.strip(), _bare(outcome.step.tool)
    if tool == "calculate" and (equation := _equation(text)):
        return f"{equation[0]} = **{equation[1]}**"
    if tool == "read_text_file":
        heading, colon, content = text.partition(":\n")
        return f"{heading}:\n{_fenced(content)}" if colon else _clip(text, _MAX_SHOWN)
    if tool in _SKILLS:
        return _clip(text, _MAX_SHOWN)
    return f"`{tool}`:\n{_fenced(text)}" if "\n" in text else f"`{tool}`: {_clip(text, _MAX_SHOWN)}"


def _undone(outcome: Outcome) -> str:
    verb = "did not work" if outcome.state == "failed" else "was not done"
    return f"“{_clip(outcome.step.clause, 80)}” {verb}: {_reason(outcome)}"


def _reason(outcome: Outcome) -> str:
    return _clip(re.sub(r"^Error(?: executing tool [\w-]+)?: ", "", outcome.text.strip()), _MAX_SHOWN)


def _plain(tool: str, text: str) -> str:
    """Return a result as it is written to a file."""
    equation = _equation(text) if tool == "calculate" else None
    return " = ".join(equation) if equation else text.strip()


def _equation(text: str) -> tuple[str, str] | None:
    """Return both sides of the equation in a result of `calculate`, without superfluous zeros."""
    match = _EQUATION.fullmatch(text)
    if not match or match[2].lower() not in _OPERATORS:
        return None
    a, b, result = (re.sub(r"\.0+$", "", number) for number in match.group(1, 3, 4))
    operator = _OPERATORS[match[2].lower()]
    return f"{a}{'' if operator.startswith('%') else ' '}{operator} {b}", result


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{_clip(text, _MAX_SHOWN)}\n{fence}"


def _clip(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[:max_chars]}… ({len(text) - max_chars} more characters)"


def _hint(tools: Sequence[ToolSpec]) -> str:
    offered = {_bare(tool.name) for tool in tools}
    skills = [what for name, (what, _) in _SKILLS.items() if name in offered]
    can = f"With the tools offered to me I can {', '.join(skills)}. " if skills else ""
    return f"I am the rehearsal model: fixed rules, not an AI. {can}Ask “what can you do?” for more."


def _abilities(tools: Sequence[ToolSpec]) -> str:
    offered = {_bare(tool.name) for tool in tools}
    lines = [f"- {what}: “{example}”" for name, (what, example) in _SKILLS.items() if name in offered]
    others = [f"`{tool.name}`" for tool in tools if _bare(tool.name) not in _SKILLS]
    if others:
        more = f" and {len(others) - 20} more" if len(others) > 20 else ""
        lines.append(f'- call a tool by name, `call NAME with {{"argument": "value"}}`: {", ".join(others[:20])}{more}')
    can = "With the tools offered to me I can:" if lines else "No tools are offered to me now, so I can only say so."
    return "\n".join(("I am the rehearsal model: a small set of fixed rules, **not an AI**.", can, *lines))
