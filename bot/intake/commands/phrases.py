"""The words of command answers: counts, and untrusted text made harmless."""

from __future__ import annotations

from bot.ports.store import UsageTotals
from bot.text.lines import literal, one_line

LINE_CHARS = 160


def total_phrase(totals: UsageTotals) -> str:
    """Return what was used, as a phrase."""
    usage = totals.usage
    cached = f" ({usage.cached_tokens / usage.input_tokens:.0%} from the prompt cache)" if usage.input_tokens else ""
    return (
        f"{count(totals.turns, 'turn')}, {usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} tokens out"
    )


def count(number: int, noun: str) -> str:
    """Return the number with its noun, in the plural where it is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def undeleted(files: int) -> str:
    """Return what people are told of so many files that should be gone and are still there; "" where there are none."""
    return f"{count(files, 'file')} could not be deleted; the bot's log says why. Try it again." if files else ""


def plain(text: str) -> str:
    """Return untrusted text as one short line in which no character means anything in Markdown."""
    return literal(flat(text))


def code(text: str) -> str:
    """Return untrusted text as inline code on one short line."""
    return f"`{flat(text).replace('`', chr(39)) or ' '}`"


def flat(text: str) -> str:
    """Return the text as one short line of printable characters."""
    return one_line(text, max_chars=LINE_CHARS)
