"""What a call waits for, as the store keeps it: what its server asked, and the answers it has so far."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from mcp.types import ElicitRequest, ElicitRequestURLParams, ElicitResult, InputRequiredResult, InputResponses
from pydantic import TypeAdapter, ValidationError

from bot.domain.asks import FormAsk, LinkAsk
from bot.domain.turns import CallDecided
from bot.ports.tools import Wait
from bot.tools.servers.errors import CallError
from bot.tools.servers.live import MAX_QUESTIONS, Answers, Inquiry, inquiry_of

FORM_OUTCOMES = ("accept", "decline", "cancel", "expired")  # of `CallDecided`; others end the call
EXPIRES_S = 3600.0  # people have an hour to answer, as for approvals
_UNSUPPORTED = (
    "The tool {tool!r} of server {server!r} asks its client for something other than a form or a link ({method}), "
    "which is not supported. It did not finish."
)
_TOO_MANY = "The tool {tool!r} of server {server!r} has asked {count} times and is not done: the call was given up."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What a call waits for.

    "round": the server answered with questions, and the call is sent again with all `answers` and `request_state`.
    "again": it wants pages to be opened first, then the same call. "live": it keeps the call going meanwhile; `live`
    says which of the calls of this process that is. `process` is the server's, where it is a child process.
    """

    kind: Literal["round", "again", "live"]
    server: str
    tool: str
    inquiries: tuple[Inquiry, ...] = ()
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    request_state: str | None = None
    rounds: int = 0
    replica: str = ""
    live: str = ""
    process: str = ""
    notes: tuple[str, ...] = ()

    @property
    def open(self) -> Inquiry | None:
        """The next question without an answer."""
        return next((inquiry for inquiry in self.inquiries if inquiry.key not in self.answers), None)

    @property
    def is_accepted(self) -> bool:
        """Whether the person agreed to everything."""
        return all(answer.get("action") == "accept" for answer in self.answers.values())

    def answered(self, key: str, result: ElicitResult) -> Pending:
        """Return it with one more answer; who closes one question is not asked the others."""
        content = {} if result.content is None else {"content": result.content}
        answers: dict[str, Mapping[str, Any]] = {**self.answers, key: {"action": result.action, **content}}
        if result.action != "accept":
            answers |= {left.key: {"action": "cancel"} for left in self.inquiries if left.key not in answers}
        return replace(self, answers=answers)

    def to_send(self) -> Answers:
        """Return what goes with the call when it is sent again."""
        responses: InputResponses = {key: ElicitResult.model_validate(answer) for key, answer in self.answers.items()}
        return Answers(responses=responses or None, request_state=self.request_state)

    def wait(self) -> Wait | None:
        """Return what is to be asked next; None where nothing is."""
        if (inquiry := self.open) is None:
            return None
        return Wait(
            reason=f"The tool {self.tool!r} of server {self.server!r} asks something and waits for the answer.",
            expires_in_s=EXPIRES_S,
            ask=self._link(inquiry) if inquiry.url else self._form(inquiry),
            state=_PENDING.dump_json(self).decode(),
            is_local=self.kind == "live" or self.process != "",
        )

    def _form(self, asked: Inquiry) -> FormAsk:
        return FormAsk(
            server=self.server, tool=self.tool, message=asked.message, schema=dict(asked.schema), key=asked.key
        )

    def _link(self, asked: Inquiry) -> LinkAsk:
        return LinkAsk(server=self.server, tool=self.tool, message=asked.message, url=asked.url, key=asked.key)


_PENDING = TypeAdapter(Pending)


def read_pending(state: str) -> Pending | None:
    """Return what `Wait.state` holds; None where it is not ours."""
    try:
        return _PENDING.validate_json(state)
    except ValidationError:
        return None


def next_round(asked: InputRequiredResult, before: Pending) -> Pending:
    """Return what the server wants to know before the call is sent again; secrets are declined at once.

    Raises:
        CallError: It wants something else, or has asked too often.
    """
    inquiries: list[Inquiry] = []
    for key, request in (asked.input_requests or {}).items():
        if not isinstance(request, ElicitRequest):
            raise CallError(_UNSUPPORTED.format(tool=before.tool, server=before.server, method=request.method))
        inquiries.append(inquiry_of(key, request.params))
    return _without_refused(_next(before, "round", inquiries, request_state=asked.request_state))


def links_first(links: Sequence[ElicitRequestURLParams], before: Pending) -> Pending:
    """Return the pages that are to be opened before the call is sent again. Raises CallError: it asked too often."""
    asked = [inquiry_of(f"{number}", link) for number, link in enumerate(links)]
    return _without_refused(_next(before, "again", asked))


def _next(
    before: Pending, kind: Literal["round", "again"], inquiries: Sequence[Inquiry], *, request_state: str | None = None
) -> Pending:
    if before.rounds >= MAX_QUESTIONS:
        raise CallError(_TOO_MANY.format(tool=before.tool, server=before.server, count=MAX_QUESTIONS))
    return replace(
        before,
        kind=kind,
        inquiries=tuple(inquiries),
        answers={},
        request_state=request_state,
        rounds=before.rounds + 1,
    )


def _without_refused(pending: Pending) -> Pending:
    """Return it with an answer to each question that no one is to be asked."""
    refused = {each.key: note for each in pending.inquiries if (note := each.refusal(server=pending.server))}
    answers = {key: {"action": "decline"} for key in refused}
    return replace(pending, answers=answers, notes=(*pending.notes, *dict.fromkeys(refused.values())))


def result_of(decision: CallDecided, inquiry: Inquiry, *, is_complete: bool) -> ElicitResult:
    """Return what the server gets of a person's decision, or of time's.

    `is_complete`: the server said that what the page was opened for is done, so no one has to say that it was opened.
    """
    if decision.outcome == "decline":
        return ElicitResult(action="decline")
    if inquiry.url and (is_complete or decision.outcome == "accept"):
        return ElicitResult(action="accept")
    if decision.outcome != "accept":
        return ElicitResult(action="cancel")
    try:
        content: object = json.loads(decision.content or "{}")
        return ElicitResult(action="accept", content=cast("dict[str, Any]", content))
    except (ValueError, RecursionError):  # no form of ours: nested values are not part of the protocol
        return ElicitResult(action="cancel")
