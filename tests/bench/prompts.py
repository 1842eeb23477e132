"""What is sent to the model: how much of each prompt its cache knows already, and how many tokens in all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bot.turns.tokens import estimate_tokens
from tests.bench.measure import Row
from tests.bench.product import open_product
from tests.bench.servers import serve_model, serve_tools
from tests.bench.turn import ANSWERS, QUESTION
from tests.fakes.openai.reply import is_summary


async def prompt_prefix(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare each prompt of a conversation with the one before: what is the same from its start is cheap and fast."""
    turns = 4 if quick else 60
    async with (
        serve_model() as endpoint,
        serve_tools(folder / "workspaces") as tools_url,
        open_product(home=folder, model_url=endpoint.url, tools_url=tools_url) as product,
    ):
        for number in range(turns):
            await endpoint.script(ANSWERS)
            await product.ask(f"{QUESTION} ({number})", conversation="one")
        prompts = [_parts(body) for body in await endpoint.requests() if not is_summary(body)]
    assert len(prompts) == len(ANSWERS) * turns
    shares = [_shared(earlier, later) for earlier, later in pairwise(prompts)]
    moves = [at for at, (earlier, later) in enumerate(pairwise(prompts)) if len(later) < len(earlier)]
    unmoved = shares[: moves[0]] if moves else shares
    sent = sum(map(_tokens, prompts))
    known = sum(share * _tokens(earlier) for share, earlier in zip(shares, prompts, strict=False))
    return [
        Row(
            figure="shared prefix of consecutive prompts of a conversation, until the window moves (the smallest)",
            value=100 * min(unmoved),
            unit="%",
            goal=100,
            is_floor=True,
            beside=f"{len(unmoved) + 1} prompts; the window moved {len(moves)} times in {turns} turns",
        ),
        Row(
            figure=f"tokens of {turns} turns that the model had read before, of all that were sent",
            value=100 * known / sent,
            unit="%",
            beside=f"{sent:,} tokens sent in {len(prompts)} requests; {_tokens(prompts[0]):,} in the first",
        ),
    ]


def _parts(body: Mapping[str, Any]) -> Sequence[str]:
    """Return the pieces of a prompt in the order in which a model reads them."""
    return [json.dumps(part) for name in ("tools", "messages") for part in body[name]]


def _shared(earlier: Sequence[str], later: Sequence[str]) -> float:
    """Return the share of the earlier prompt's characters that the later one begins with."""
    same = 0
    for one, other in zip(earlier, later, strict=False):
        if one != other:
            break
        same += len(one)
    return same / sum(map(len, earlier))


def _tokens(prompt: Sequence[str]) -> int:
    return sum(map(estimate_tokens, prompt))
