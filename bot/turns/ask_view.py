"""What people see of an ask: the core's own words, with all that others wrote cut, flat and redacted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, assert_never, cast
from urllib.parse import urlsplit

from bot.domain.asks import ApprovalAsk, ArgumentLine, AskRecord, AskView, FormAsk, LinkAsk, Vote
from bot.domain.events import Choice, ConversationKey
from bot.domain.people import Actor
from bot.domain.rights import Terms
from bot.text.lines import NAME_CHARS, literal, one_line, printable
from bot.text.redaction import HIDDEN, hide_known, redact

VALUE_CHARS = 200  # of one argument: a long one cannot push a later one out of sight
KEY_CHARS = 60
MESSAGE_CHARS = 1_000  # of what a server says
REASON_CHARS = 500
_BEYOND_CHARS = 2_000  # are searched for secrets as well: half of one would not be recognised as a secret
# A model that was misled could put what it wants to run where a secret is expected.
_HIDES = (
    f"{HIDDEN} is a part that looks like a secret. Those who decide see it with Edit arguments: anything can be in it."
)
APPROVES: frozenset[str] = frozenset({"run", "run_for_an_hour"})


def ask_view(record: AskRecord, *, shown_in: str = "") -> AskView:
    """Return what can be seen of the ask now; `shown_in` is the place of the message, in the notation of rules."""
    match record.ask:
        case ApprovalAsk():
            return _approval_view(record, record.ask, shown_in=shown_in)
        case FormAsk() | LinkAsk():
            return _server_view(record, record.ask)
        case _:
            assert_never(record.ask)


def valid_votes(record: AskRecord) -> Sequence[Vote]:
    """Return the approvals that count: one of each person, given to the arguments as they are now."""
    votes = record.votes
    edits = [index for index, vote in enumerate(votes) if vote.choice == "edit"]
    since = votes[edits[-1] + 1 :] if edits else votes
    digest = record.ask.digest if isinstance(record.ask, ApprovalAsk) else ""
    given = (vote for vote in since if vote.choice in APPROVES and vote.digest == digest)
    return list({vote.person: vote for vote in given}.values())


def edited_by(record: AskRecord) -> str:
    """Return the name of the person who changed the arguments last, empty where they are the model's."""
    return next((_name(vote) for vote in reversed(record.votes) if vote.choice == "edit"), "")


def waiting_reason(ask: ApprovalAsk, *, asker: Actor) -> str:
    """Return what a call waits for, as a sentence for the chat."""
    return f"{_call_name(ask)} waits for approval by {deciders(ask.terms, asker_name=asker.name or asker.id)}."


def deciders(terms: Terms, *, asker_name: str) -> str:
    """Return who decides, as a phrase: "Ada", "2 people of @oncall, without Ada"."""
    asker = one_line(asker_name, max_chars=NAME_CHARS) or "the person who asked"
    if not terms.approvers:
        return asker
    named = " or ".join(terms.approvers)
    people = named if terms.approvals == 1 else f"{terms.approvals} people of {named}"
    return people if terms.asker_may_approve else f"{people}, without {asker}"


def argument_lines(arguments: str) -> Sequence[ArgumentLine]:
    """Return each argument by itself, as people may see it; what is no JSON object is one line."""
    try:
        parsed: object = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        return (_line("", redact(arguments[: VALUE_CHARS + _BEYOND_CHARS])),)
    return tuple(_argument(name, value) for name, value in cast("dict[str, Any]", parsed).items())


def record_line(record: AskRecord) -> str:
    """Return how the ask ended, as Markdown of the core: who, when, by which rule; empty while it is pending."""
    said = _ENDED.get(record.state)
    if said is None:
        return ""
    votes = _deciding(record)
    by = f" by {_plain_names(votes)}" if votes else ""
    at = votes[-1].at if votes else record.expires_at if record.state == "expired" else 0.0
    when = f" on {datetime.fromtimestamp(at, UTC):%Y-%m-%d at %H:%M} UTC" if at else ""
    rule = f" Rule: {_plain(record.ask.rule)}." if isinstance(record.ask, ApprovalAsk) else ""
    return f"**{said}**{by}{when}.{rule}"


# --- approvals -------------------------------------------------------------------------------------------------


def _approval_view(record: AskRecord, ask: ApprovalAsk, *, shown_in: str) -> AskView:
    is_pending = record.state == "pending"
    return AskView(
        ask_id=record.id,
        kind="approval",
        state=record.state,
        title=f"Run {_call_name(ask)}" + ("?" if is_pending else ""),
        lines=tuple(_lines(record, ask, shown_in=shown_in)),
        place=record.conversation.place,
        arguments=tuple(argument_lines(ask.arguments)),
        change=hide_known(ask.change),
        votes=tuple(_vote_lines(record, ask)),
        record=record_line(record),
        choices=_approval_choices(ask) if is_pending else (),
        form_target=f"edit:{record.id}" if is_pending else "",
        expires_at=record.expires_at,
        digest=ask.digest,
        version=record.version,
    )


def _lines(record: AskRecord, ask: ApprovalAsk, *, shown_in: str) -> Sequence[str]:
    reason = one_line(ask.reason, max_chars=REASON_CHARS).rstrip(".")
    lines = [
        f"{_asker_name(record)} asks for it {_where(record.conversation, shown_in)}.",
        f"Why it is asked: {reason} (rule: {one_line(ask.rule, max_chars=NAME_CHARS)}).",
    ]
    if record.state == "pending":
        lines.append(f"Who may decide: {deciders(ask.terms, asker_name=record.asker_name or record.asker_id)}.")
    if ask.change:
        lines.append("The server has changed what it says of this tool since an operator accepted it.")
    if name := edited_by(record):
        lines.append(f"{name} changed the arguments; the model had asked for others.")
    if record.state == "pending" and any(HIDDEN in line.value for line in argument_lines(ask.arguments)):
        lines.append(_HIDES)
    return lines


def _where(asked_in: ConversationKey, shown_in: str) -> str:
    """Return where the call was asked for, as a phrase for those who read of it in `shown_in`."""
    if asked_in.platform == "console":
        return "at the terminal"
    if asked_in.is_direct:
        return "in direct messages"
    return "in this channel" if asked_in.place == shown_in else f"in {asked_in.place}"


def _approval_choices(ask: ApprovalAsk) -> tuple[Choice, ...]:
    """Return the buttons; where only the asker decides, an hour is offered, and Decline also withdraws the call."""
    if not ask.terms.is_own:
        return ("run", "decline", "withdraw", "suggest_rule")
    return ("run", "decline", "suggest_rule") if ask.change else ("run", "run_for_an_hour", "decline", "suggest_rule")


def _vote_lines(record: AskRecord, ask: ApprovalAsk) -> Sequence[str]:
    needed = ask.terms.approvals
    return [f"{_name(vote)} approved ({number} of {needed})" for number, vote in enumerate(valid_votes(record), 1)]


def _argument(name: str, value: object) -> ArgumentLine:
    shown = json.dumps(value, ensure_ascii=False)[: VALUE_CHARS + _BEYOND_CHARS]
    prefix = f"{json.dumps(name, ensure_ascii=False)}: "
    redacted = redact(prefix + shown)  # the name can show that a value is a secret
    return _line(name, redacted[len(prefix) :] if redacted.startswith(prefix) else HIDDEN)


def _line(name: str, value: str) -> ArgumentLine:
    flat = printable(value)
    return ArgumentLine(
        name=one_line(name, max_chars=KEY_CHARS),
        value=flat if len(flat) <= VALUE_CHARS else f"{flat[: VALUE_CHARS - 1]}…",
        is_cut=len(flat) > VALUE_CHARS,
    )


# --- what a server asks ----------------------------------------------------------------------------------------


def _server_view(record: AskRecord, ask: FormAsk | LinkAsk) -> AskView:
    is_pending, is_form = record.state == "pending", isinstance(ask, FormAsk)
    server = one_line(ask.server, max_chars=NAME_CHARS)
    wish = "asks for input" if is_form else "asks to open a page"
    choices: tuple[Choice, ...] = ("decline",) if is_form else ("run", "decline")
    return AskView(
        ask_id=record.id,
        kind=ask.kind,
        state=record.state,
        title=f"The tool server {server} {wish}",
        lines=(
            f"Its tool {one_line(ask.tool, max_chars=NAME_CHARS)} needs it to go on. "
            f"Only {_asker_name(record)} can answer.",
        ),
        message=one_line(redact(ask.message), max_chars=MESSAGE_CHARS),
        host="" if isinstance(ask, FormAsk) else link_host(ask.url),
        record=record_line(record),
        choices=choices if is_pending else (),
        form_target=f"answer:{record.id}" if is_pending and is_form else "",
        has_link=is_pending and not is_form,
        expires_at=record.expires_at,
        version=record.version,
    )


def link_host(url: str) -> str:
    """Return the host of the address as a browser would go to it, in ASCII: no letter can look like another one."""
    try:
        host = urlsplit(url).hostname or ""
        return one_line(host.encode("idna").decode("ascii"), max_chars=253)
    except ValueError:  # UnicodeError is one
        return "an address that cannot be read"


# --- words -----------------------------------------------------------------------------------------------------

_ENDED = {
    "approved": "Approved",
    "answered": "Answered",
    "declined": "Declined",
    "withdrawn": "Withdrawn",
    "expired": "Expired: nobody decided in time",
    "void": "No longer asked",
}


def _deciding(record: AskRecord) -> Sequence[Vote]:
    if record.state == "approved":
        return valid_votes(record)
    return record.votes[-1:] if record.state in ("declined", "withdrawn", "answered") else ()


def _plain_names(votes: Sequence[Vote]) -> str:
    return " and ".join(dict.fromkeys(_plain(_name(vote)) for vote in votes))


def _plain(text: str) -> str:
    """Return the text on one line in which no character means anything in Markdown."""
    return literal(one_line(text, max_chars=NAME_CHARS))


def _name(vote: Vote) -> str:
    return one_line(vote.name or vote.by, max_chars=NAME_CHARS)


def _asker_name(record: AskRecord) -> str:
    return one_line(record.asker_name or record.asker_id, max_chars=NAME_CHARS)


def _call_name(ask: ApprovalAsk) -> str:
    server, tool = one_line(ask.server, max_chars=NAME_CHARS), one_line(ask.tool, max_chars=NAME_CHARS)
    return f"{server}/{tool}"
