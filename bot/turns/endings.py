"""How answers end that were broken off, as sentences for the person who asked."""

from __future__ import annotations

from bot.text.counting import count


def ended_with(sentence: str, *, partial: str) -> str:
    """Return what was seen of an answer, followed by the sentence that says why there is no more of it."""
    return f"{partial.rstrip()}\n\n_{sentence}_" if partial.strip() else sentence


def spent(*, attempts: int, is_journal_read: bool) -> str:
    """Return what is said of a turn that failed in all of its attempts; without its journal, tools may have run."""
    return _SPENT.format(attempts=count(attempts, "time")) + ("" if is_journal_read else _UNREAD)


def timed_out(limit_s: float) -> str:
    """Return what is said of a turn that took longer than it may."""
    return _TIMED_OUT.format(seconds=limit_s)


_SPENT = (
    "This question was started {attempts} and the bot failed each time, so it is not tried again. "
    "Please ask in another way, and tell your operator."
)
_UNREAD = " Tools that it asked for may have run; their results were not kept."
_TIMED_OUT = (
    "This took longer than the {seconds:.0f} s that one question may take (TURN_TIMEOUT_S), so it was ended. "
    "Please ask again, perhaps for less at once."
)
