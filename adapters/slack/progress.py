"""A running turn in a Slack thread: `adapters.shared.progress.TurnProgress` with Slack's status, trace and answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from adapters.shared.kept import KeptMessages
from adapters.shared.progress import TurnProgress
from adapters.slack.answer import AnswerWriter
from adapters.slack.own_messages import FindOwn, OwnMessage, Place, Slack
from adapters.slack.pace import Pace
from adapters.slack.parse import message_ts
from adapters.slack.refusals import Refusals
from adapters.slack.status import Status
from adapters.slack.traces import TraceLevel, open_trace
from bot.domain.turns import TurnView


def open_progress(
    view: TurnView,
    *,
    slack: Slack,
    place: Place,
    home: str,
    find_own: FindOwn,
    refusals: Refusals,
    pace: Pace,
    trace_level: TraceLevel,
    kept: KeptMessages,
    on_running: Callable[[TurnView], Awaitable[None]],
) -> TurnProgress:
    """Return the turn, ready to run; `find_own` finds the bot's messages in a place from a timestamp on.

    `kept` holds those of the turn that grew; `home` is the workspace that the asker belongs to; the view's own
    `trace_style` goes before `trace_level`.
    """

    async def search() -> Sequence[OwnMessage]:
        return await find_own(place, message_ts(view.in_reply_to))

    async def adopt() -> None:
        growing, elsewhere = await kept.read(), await kept.of_others()
        await trace.adopt_kept()
        streams = elsewhere.union(growing.values())
        try:
            own = await search()
            answer.adopt([message for message in own if message.kind != "unmarked" or message.ts not in streams])
            trace.adopt(own)
        finally:
            answer.adopt_kept(growing)  # where the thread shows how it ended, that is known

    answer = AnswerWriter(
        slack=slack,
        place=place,
        turn_id=view.turn_id,
        author=view.author_id,
        author_team=home,
        refusals=refusals,
        search=search,
        pace=pace,
        kept=kept,
    )
    trace = open_trace(
        view.trace_style or trace_level,
        slack=slack,
        place=place,
        turn_id=view.turn_id,
        search=search,
        kept=replace(kept, kind="trace"),
        is_at_rest=lambda: progress.is_at_rest,
    )
    status = Status(
        slack=slack,
        place=place,
        refusals=refusals,
        session_ended_at=lambda: answer.session_ended_at,
        posted_at=lambda: answer.posted_at,
        kept=replace(kept, kind="session"),
    )
    progress = TurnProgress(
        view=view, status=status, trace=trace, answer=answer, pace=pace, on_running=on_running, adopt=adopt
    )
    return progress
