"""How many questions may be open at once, and what people read where that is too many."""

from __future__ import annotations

from bot.domain.events import MessageReceived
from bot.ports.intake_store import Full, OwnBounds
from bot.text.counting import count

MAX_WAITING = 20  # open turns in one conversation
# Open turns of this process on one platform: with 200 at once and 10 s for each, about two minutes of work. People who
# would have to wait longer are refused at once.
MAX_OPEN = 2_000
# Of those, one author's: it takes ten people to fill all up. In a conversation of several people half of the turns can
# be one person's; answers there keep the order of the questions, so those who ask after them wait for them.
MAX_OWN_OPEN = MAX_OPEN // 10
MAX_OWN_WAITING = MAX_WAITING // 2
# Turns that wait for a decision, one author's and those of one conversation: each has a message that asks, and is kept
# until it expires. A person with so many must have some decided before asking more.
MAX_OWN_UNDECIDED = 20
MAX_UNDECIDED = 50


def own_bounds(event: MessageReceived) -> OwnBounds:
    """Return how many open questions of its author the message may be one of."""
    waiting = MAX_OWN_WAITING if event.is_shared else None
    return OwnBounds(open=MAX_OWN_OPEN, waiting=waiting, undecided=MAX_OWN_UNDECIDED)


def why_full(full: Full) -> str:
    """Return why the message was not stored, and when to send it again."""
    match full.why:
        case "waiting":
            are = "is" if full.waits_behind == 1 else "are"
            return (
                f"{count(full.waits_behind, 'message')} {are} already waiting here. "
                f"Please send this one again once they are answered."
            )
        case "own_waiting":
            return (
                f"{MAX_OWN_WAITING} messages of yours are already waiting here, and other people want to ask here too. "
                f"Please send this one again once some are answered."
            )
        case "own_open":
            return (
                f"{MAX_OWN_OPEN} messages of yours are already waiting. "
                f"Please send this one again once some are answered."
            )
        case "undecided":
            return _undecided(f"{MAX_UNDECIDED} questions are waiting here for a decision")
        case "own_undecided":
            return _undecided(f"{MAX_OWN_UNDECIDED} questions of yours are waiting for a decision")
        case "open":
            return (
                f"Too much is going on: {MAX_OPEN:,} messages are waiting in all conversations. "
                f"Please send this one again in about two minutes."
            )


def _undecided(which: str) -> str:
    return f"{which}. Please send this one again once some are decided, or end some with `stop`."
