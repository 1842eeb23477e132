"""How many secrets are found, what is hidden for nothing, and what looking for them costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from bot.text.holding import HeldText
from bot.text.redaction import redact_prose
from tests.attacks.corpus import SHAPES, leaks
from tests.attacks.ordinary import ordinary_answers

CHUNK_CHARS = 4  # about a token


async def measure(*, each: int = 200, answers: int = 1_000) -> Mapping[str, float | str]:
    """Return the figures: shares in %, times in ms."""
    found = {shape: found_share(shape, each) for shape in SHAPES}
    missed = {shape: share for shape, share in found.items() if share < 100}
    texts = list(ordinary_answers(answers, seed=1))
    hidden = sum(redact_prose(text) != text for text in texts)
    return {
        "shapes of secrets": len(SHAPES),
        "shapes of which at least 95 % are found": sum(share >= 95 for share in found.values()),
        "secrets found, of all (%)": round(sum(found.values()) / len(found), 2),
        "shapes that are not found every time (%)": ", ".join(f"{name} {share:g}" for name, share in missed.items()),
        "false alarms, of ordinary answers (%)": 100 * hidden / answers,
        "a turn's answer redacted (ms)": round(_median_ms(texts, redact_prose), 4),
        "a turn's answer streamed and redacted (ms)": round(_median_ms(texts, lambda text: streamed(text)), 4),
    }


def found_share(shape: str, count: int) -> float:
    """Return the share of secrets of that shape that are hidden whole, in %."""
    return 100 * sum(leak.secret not in redact_prose(leak.text) for leak in leaks(shape, count, seed=1)) / count


def streamed(text: str, *, chars: int = CHUNK_CHARS) -> str:
    """Return what is shown of an answer that comes in pieces."""
    held = HeldText()
    shown = [held.add(text[at : at + chars]) for at in range(0, len(text), chars)]
    return "".join([*shown, held.end()])


def _median_ms(texts: Sequence[str], work: Callable[[str], object]) -> float:
    def once(text: str) -> float:
        began = time.thread_time()
        work(text)
        return (time.thread_time() - began) * 1e3

    return sorted(map(once, texts))[len(texts) // 2]
