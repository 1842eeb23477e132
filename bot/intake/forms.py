"""Forms: what people fill in to change a call's arguments, to answer a tool server, or to make a call of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from bot.domain.answers import Done, Formed, Refused, Submitted
from bot.domain.asks import ApprovalAsk, FormAsk, Vote
from bot.domain.errors import StoreError
from bot.domain.events import FormAsked, FormSubmitted
from bot.domain.forms import Invalid
from bot.domain.messages import ToolSpec
from bot.domain.people import Asker
from bot.domain.rights import Ruling
from bot.domain.turns import CallDecided
from bot.forms.making import form_of
from bot.forms.reading import read_form
from bot.intake.asked import NOT_KNOWN, NOT_YOURS, Asked, AskReader
from bot.intake.commands.running import ready, run_form
from bot.ports.rights_store import Settlement
from bot.ports.tools import ToolDirectory
from bot.rights.approving import voter_name
from bot.rights.facts import digest_of, read_arguments
from bot.text.redaction import redact
from bot.turns.auditing import audited_arguments
from bot.turns.bell import Bell

NOT_HERE = "You cannot use this tool here."
MAX_DIGITS = 19  # of an ask's id
CHANGED = "This has changed meanwhile. Close the form, and look at it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """Makes forms, and takes what was filled in. `tools` says what a person may use where they ask."""

    reader: AskReader
    tools: ToolDirectory
    bell: Bell

    async def form(self, event: FormAsked) -> Formed:
        """See `Host.form`."""
        kind, _, name = event.target.partition(":")
        try:
            if kind == "run":
                return await self._run_form(event.asker, name)
            asked = await self._asked(name, event.asker)
            if isinstance(asked, Refused):
                return asked
            ask = asked.record.ask
            if kind == "edit" and isinstance(ask, ApprovalAsk):
                return await self._edit_form(event, asked, ask)
            if kind == "answer" and isinstance(ask, FormAsk):
                return await self._answer_form(event, asked, ask)
        except StoreError as error:
            return Refused(notice=str(error))
        return Refused(notice=NOT_KNOWN)

    async def submit(self, event: FormSubmitted) -> Submitted:
        """See `Host.submit`."""
        kind, _, name = event.target.partition(":")
        try:
            if kind == "run":
                return await self._run(event, name)
            asked = await self._asked(name, event.asker)
            if isinstance(asked, Refused):
                return asked
            ask = asked.record.ask
            if kind == "edit" and isinstance(ask, ApprovalAsk):
                return await self._edit(event, asked, ask)
            if kind == "answer" and isinstance(ask, FormAsk):
                return await self._answer(event, asked, ask)
        except StoreError as error:
            return Refused(notice=str(error))
        return Refused(notice=NOT_KNOWN)

    async def _asked(self, name: str, by: Asker) -> Asked | Refused:
        is_number = name.isdecimal() and len(name) <= MAX_DIGITS
        return await self.reader.read(int(name), by) if is_number else Refused(notice=NOT_KNOWN)

    # --- changing the arguments of a call that waits ---

    async def _edit_form(self, event: FormAsked, asked: Asked, ask: ApprovalAsk) -> Formed:
        if why := _why_not_edit(asked):
            return await self.reader.refuse(asked, why, act="edit")
        spec = await self.reader.guard.find(ask.name)
        return form_of(
            spec.parameters if spec else {},
            target=event.target,
            title=f"{ask.server}/{ask.tool}",
            values=read_arguments(ask.arguments),
            submit="Change",
        )

    async def _edit(self, event: FormSubmitted, asked: Asked, ask: ApprovalAsk) -> Submitted:
        if event.action != "accept":
            return Done()
        if why := _why_not_edit(asked):
            return await self.reader.refuse(asked, why, act="edit")
        spec = await self.reader.guard.find(ask.name)
        values = read_form(spec.parameters if spec else {}, event.values)
        if isinstance(values, Invalid):
            return values
        arguments = json.dumps(values, ensure_ascii=False)
        digest = digest_of(ask.server, ask.tool, arguments)
        if digest == ask.digest:
            return Done(notice="Nothing was changed.")
        edited = replace(ask, arguments=arguments, digest=digest)
        _facts, ruling = await self.reader.rule(asked.record, edited)
        if ruling.verdict == "deny":
            await self.reader.refuse(asked, ruling.reason, act="edit")
            return Invalid(notice=f"The policy does not allow these arguments: {ruling.reason}")
        return await self._store_edit(event, asked, _asked_again(edited, ruling))

    async def _store_edit(self, event: FormSubmitted, asked: Asked, edited: ApprovalAsk) -> Submitted:
        """Keep the new arguments; the approvals so far are void, and a press on Run approves what it shows."""
        vote = replace(_vote(event, asked, at=self.reader.now()), digest=edited.digest, content=edited.arguments)
        entry = replace(
            asked.entry("decided", vote.at, outcome="edit"),
            arguments=audited_arguments(edited.arguments),
            rule=edited.rule,
        )
        outcome = await self.reader.store.vote(
            asked.record.id, vote, version=asked.record.version, edited=edited, audit=[entry]
        )
        if outcome != "made":
            return Refused(notice=CHANGED)
        self.bell.ring_for_asks()
        return Done(notice="The arguments are changed; the call still has to be approved.")

    # --- answering a tool server ---

    async def _answer_form(self, event: FormAsked, asked: Asked, ask: FormAsk) -> Formed:
        if not asked.is_asker:
            return await self.reader.refuse(asked, NOT_YOURS, act="answer")
        title = f"{ask.server} asks for input"
        return form_of(ask.schema, target=event.target, title=title, message=redact(ask.message), may_decline=True)

    async def _answer(self, event: FormSubmitted, asked: Asked, ask: FormAsk) -> Submitted:
        if not asked.is_asker:
            return await self.reader.refuse(asked, NOT_YOURS, act="answer")
        if event.action == "cancel":
            return Done()  # the form was closed; the question stays
        content = ""
        if event.action == "accept":
            values = read_form(ask.schema, event.values)
            if isinstance(values, Invalid):
                return values
            content = json.dumps(values, ensure_ascii=False)
        return await self._store_answer(event, asked, content)

    async def _store_answer(self, event: FormSubmitted, asked: Asked, content: str) -> Submitted:
        record, is_accepted = asked.record, event.action == "accept"
        vote = replace(
            _vote(event, asked, at=self.reader.now()), choice="answer" if is_accepted else "decline", content=content
        )
        decision = CallDecided(
            round=record.round,
            call_id=record.call_id,
            outcome="accept" if is_accepted else "decline",
            by=str(event.actor),
            votes=(replace(vote, content=""),),
            content=content,
        )
        outcome = await self.reader.store.vote(
            record.id,
            vote,
            version=record.version,
            settles=Settlement(state="answered" if is_accepted else "declined", decision=decision),
            audit=[asked.entry("decided", vote.at, outcome=vote.choice)],
        )
        if outcome != "made":
            return Refused(notice=CHANGED)
        self.bell.ring_for_asks()
        self.bell.ring_for_work()
        return Done()

    # --- a call of one's own ---

    async def _run_form(self, asker: Asker, name: str) -> Formed:
        spec = await self._runnable(asker, name)
        return spec if isinstance(spec, Refused) else run_form(spec)

    async def _run(self, event: FormSubmitted, name: str) -> Submitted:
        if event.action != "accept":
            return Done()
        spec = await self._runnable(event.asker, name)
        if isinstance(spec, Refused):
            return spec
        values = read_form(spec.parameters, event.values)
        return values if isinstance(values, Invalid) else ready(spec, values)

    async def _runnable(self, asker: Asker, name: str) -> ToolSpec | Refused:
        if why := await self.reader.why_not_here(asker, act="run"):
            return Refused(notice=why)
        return (await self.tools.offer(asker)).find(name) or Refused(notice=NOT_HERE)


def _why_not_edit(asked: Asked) -> str:
    """Return why the person may not change the arguments; the asker may, and all who may decide."""
    return "" if asked.is_asker else asked.why_not()


def _asked_again(edited: ApprovalAsk, ruling: Ruling) -> ApprovalAsk:
    """Return the ask as the policy sees the new arguments; where these need no approval, the old terms stay."""
    if ruling.verdict != "ask":
        return edited
    return replace(edited, rule=ruling.rule, rule_key=ruling.rule_key, reason=ruling.reason, terms=ruling.terms)


def _vote(event: FormSubmitted, asked: Asked, *, at: float) -> Vote:
    return Vote(
        person=asked.person.id,
        by=voter_name(event.actor),
        name=event.author_name or event.author_id,
        choice="edit",
        at=at,
    )
