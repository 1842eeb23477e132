"""Forms that people fill in: opened by a press or a command, sent off, declined. Slack waits three seconds for each."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.shared.tasks import Background
from adapters.slack import render
from adapters.slack.forms import NoRoomError, Submission, errors_answer, form_view, noted_form
from adapters.slack.parse import conversation_key
from adapters.slack.people import People
from adapters.slack.presses import Pressed, json_value
from adapters.slack.questions import Questions
from adapters.slack.replies import Replies
from adapters.slack.standing import Standings
from adapters.slack.windows import Windows, shown_thread
from bot.domain.answers import Done, Formed, Ready, Refused, Submitted
from bot.domain.errors import BotError
from bot.domain.events import ConversationKey, FormAsked, FormSubmitted
from bot.domain.forms import Form, Invalid
from bot.ports.platform import Host

OPEN_WAIT_S = 1.0  # for the form, before a window opens without it
SUBMIT_WAIT_S = 2.0  # for what becomes of it, before the window says that it takes longer
NOT_VALID = "That form is not valid. Nothing was decided."
TOO_OFTEN = "Nothing was done: that was too much at once. Try again in a minute."
LEFT = "You can close this window."
WAITING = "One moment…"


class Forms:
    """Opens forms and takes what people filled in; `questions` makes the calls that are ready."""

    def __init__(
        self,
        host: Host,
        *,
        people: People,
        standings: Standings,
        replies: Replies,
        windows: Windows,
        questions: Questions,
        background: Background,
    ) -> None:
        self._host = host
        self._people = people
        self._standings = standings
        self._replies = replies
        self._windows = windows
        self._questions = questions
        self._background = background

    # --- opening ---

    async def press(self, pressed: Pressed) -> None:
        """Open the form that a button names."""
        value = json_value(pressed.value)
        target, thread = value.get("form"), value.get("thread", shown_thread(pressed))
        if not isinstance(target, str) or not target:
            await self._windows.tell(pressed, NOT_VALID, thread=shown_thread(pressed))
            return
        place = conversation_key(pressed.team, pressed.channel, thread if isinstance(thread, str) else "")
        asking = asyncio.ensure_future(self._form(pressed, target, place))
        await asyncio.wait([asking], timeout=OPEN_WAIT_S)
        if asking.done():
            await self._show(pressed, asking.result(), place)
        elif view_id := await self._windows.open(pressed, render.notice_view("Form", WAITING)):
            await self._windows.change(pressed.team, view_id, _view(await asking, place))

    async def open(self, pressed: Pressed, form: Form, place: ConversationKey) -> bool:
        """Open a form at once; return whether Slack opened it, otherwise the person has read why it did not."""
        return bool(await self._windows.open(pressed, _view(form, place)))

    async def _form(self, pressed: Pressed, target: str, place: ConversationKey) -> Formed:
        asked = FormAsked(conversation=place, event_key=f"slack:{pressed.key}", author_id=pressed.user, target=target)
        return await self._host.form(await self._standings.stamp(asked))

    async def _show(self, pressed: Pressed, formed: Formed, place: ConversationKey) -> None:
        if isinstance(formed, Refused):
            await self._windows.tell(pressed, formed.notice, thread=shown_thread(pressed))
        else:
            await self._windows.open(pressed, _view(formed, place))

    # --- sending off ---

    async def submitted(self, sent: Submission | None) -> dict[str, Any]:
        """Take a form and return Slack's answer, within the time that Slack waits: empty, the window closes."""
        if sent is None:
            return _instead(NOT_VALID)
        submitting = asyncio.ensure_future(self._submit(sent))
        await asyncio.wait([submitting], timeout=SUBMIT_WAIT_S)
        if submitting.done():
            return self._answer(sent, submitting.result())
        self._background.spawn(self._answer_late(sent, submitting), name="form")
        return _instead(WAITING)

    async def _submit(self, sent: Submission, *, declines: bool = False) -> Submitted:
        """Return what becomes of the form; a call that is ready is made, or it is refused where that fails."""
        self._people.meet(sent.team, sent.user, sent.home)
        event = FormSubmitted(
            conversation=sent.place,
            event_key=sent.key,
            author_id=sent.user,
            author_name=await self._people.name(sent.team, sent.user),
            target=sent.target,
            values=sent.values,
            action="decline" if declines else "accept",
        )
        outcome = await self._host.submit(await self._standings.stamp(event))
        return await self._run(sent, outcome) if isinstance(outcome, Ready) else outcome

    async def _run(self, sent: Submission, ready: Ready) -> Done | Refused:
        try:
            await self._questions.run(sent.place, sent.user, ready, key=f"run {sent.key}")
        except BotError as error:
            return Refused(notice=str(error))
        return Done()

    def _answer(self, sent: Submission, outcome: Submitted) -> dict[str, Any]:
        match outcome:
            case Done(notice=notice):
                if notice:
                    self._background.spawn(self._replies.tell(sent.place, sent.user, notice), name="form")
                return {}
            case Invalid():
                return errors_answer(outcome, sent.inputs) or _instead(_sentences(outcome))
            case _:
                return _instead(_said(outcome))

    async def _answer_late(self, sent: Submission, submitting: asyncio.Future[Submitted]) -> None:
        outcome = await submitting
        text = f"{_sentences(outcome)} Open the form again." if isinstance(outcome, Invalid) else _said(outcome)
        await self._windows.change(sent.team, sent.view_id, render.notice_view("Form", text))

    # --- declining ---

    async def decline(self, pressed: Pressed) -> None:
        """Decline the form of the window with the button."""
        note = noted_form(pressed.view_note)
        if note is None:
            text = NOT_VALID
        else:
            target, channel, thread = note
            sent = Submission(
                team=pressed.team,
                user=pressed.user,
                home=pressed.home,
                target=target,
                place=conversation_key(pressed.team, channel, thread),
                values={},
                view_id=pressed.view_id,
                inputs=(),
                key=f"slack:{pressed.key}",
            )
            text = _said(await self._submit(sent, declines=True), otherwise=f"Declined. {LEFT}")
        await self._windows.change(pressed.team, pressed.view_id, render.notice_view("Form", text))


def _view(formed: Formed, place: ConversationKey) -> dict[str, Any]:
    """Return the window of a form, or one that says why there is none."""
    if isinstance(formed, Refused):
        return render.notice_view("Not possible", formed.notice or TOO_OFTEN)
    try:
        return form_view(formed, place)
    except NoRoomError as error:
        return render.notice_view("Not possible", str(error))


def _instead(text: str) -> dict[str, Any]:
    """Return the answer that shows a sentence in place of the form."""
    return {"response_action": "update", "view": render.notice_view("Form", text)}


def _sentences(invalid: Invalid) -> str:
    found = [invalid.notice, *(f"{name}: {sentence}" for name, sentence in invalid.errors.items())]
    return " ".join(filter(None, found)) or "This cannot be taken."


def _said(outcome: Submitted, *, otherwise: str = f"Done. {LEFT}") -> str:
    """Return the core's own sentence; `otherwise` where it has none."""
    if isinstance(outcome, Refused):
        return outcome.notice or TOO_OFTEN
    return (outcome.notice if isinstance(outcome, Done) else "") or otherwise
