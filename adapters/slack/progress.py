"""A running turn in a Slack thread: `adapters.shared.progress.LiveTurn` with Slack's status, trace and answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from adapters.shared import progress as live
from adapters.shared.progress import LiveTurn
from adapters.slack.answer import AnswerWriter
from adapters.slack.own_messages import OwnMessage, Place, Slack
from adapters.slack.parse import message_ts
from adapters.slack.refusals import Refusals
from adapters.slack.status import Status
from adapters.slack.traces import TraceLevel, open_trace
from bot.domain.turns import TurnView

FindOwn = Callable[[Place, str], Awaitable[Sequence[OwnMessage]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(live.Pace):
    """How eagerly a turn is shown in Slack; seconds, characters.

    startStream may be called 20 times a minute and workspace, so short answers are posted.
    """

    append_gap_s: float = 0.8  # of a stream
    edit_gap_s: float = 1.5  # where there is none
    # A stream lives for about five minutes, even while it is written to: https://github.com/slackapi/bolt-js/issues/2717
    stream_life_s: float = 240.0


def open_live(
    view: TurnView,
    *,
    slack: Slack,
    place: Place,
    find_own: FindOwn,
    refusals: Refusals,
    pace: Pace,
    trace_level: TraceLevel,
    on_running: Callable[[TurnView], Awaitable[None]],
) -> LiveTurn:
    """Return the turn, ready to run; `find_own` finds the bot's messages in a place from a timestamp on."""

    async def search() -> Sequence[OwnMessage]:
        return await find_own(place, message_ts(view.in_reply_to))

    async def adopt() -> None:
        own = await search()
        answer.adopt(own)
        trace.adopt(own)

    answer = AnswerWriter(
        slack=slack,
        place=place,
        turn_id=view.turn_id,
        author=view.author_id,
        refusals=refusals,
        search=search,
        append_gap_s=pace.append_gap_s,
        edit_gap_s=pace.edit_gap_s,
        stream_life_s=pace.stream_life_s,
    )
    trace = open_trace(trace_level, slack=slack, place=place, turn_id=view.turn_id, search=search)
    status = Status(slack=slack, place=place, refusals=refusals, is_told=lambda: answer.has_ended_session)
    return LiveTurn(view=view, status=status, trace=trace, answer=answer, pace=pace, on_running=on_running, adopt=adopt)
