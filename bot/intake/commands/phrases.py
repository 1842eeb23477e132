"""The words of command answers: counts, and untrusted text made harmless."""

from __future__ import annotations

from bot.domain.budgets import Spent
from bot.text.lines import literal, one_line
from bot.turns.budget_words import dollars

LINE_CHARS = 160


def spent_phrase(spent: Spent) -> str:
    """Return what was used, as a phrase, with money where a price is known."""
    usage = spent.usage
    cached = f" ({usage.cached_tokens / usage.input_tokens:.0%} from the prompt cache)" if usage.input_tokens else ""
    parts = [
        count(spent.turns, "turn"),
        f"{count(usage.input_tokens, 'token')} in{cached}",
        f"{count(usage.output_tokens, 'token')} out",
    ]
    if usage.micro_usd:
        parts.append(dollars(usage.micro_usd))
    if usage.unpriced_tokens and usage.micro_usd:
        parts.append(f"and {count(usage.unpriced_tokens, 'token')} without a known price")
    return ", ".join(parts)


def count(number: int, noun: str) -> str:
    """Return the number with its noun, in the plural where it is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def undeleted(files: int) -> str:
    """Return a sentence on so many files that could not be deleted; "" for none."""
    return f"{count(files, 'file')} could not be deleted; the bot's log says why. Try it again." if files else ""


def plain(text: str) -> str:
    """Return untrusted text as one short line in which no character means anything in Markdown."""
    return literal(short_line(text))


def code(text: str) -> str:
    """Return untrusted text as inline code on one short line."""
    return f"`{short_line(text).replace('`', chr(39)) or ' '}`"


def short_line(text: str) -> str:
    """Return the text as one short line of printable characters."""
    return one_line(text, max_chars=LINE_CHARS)
