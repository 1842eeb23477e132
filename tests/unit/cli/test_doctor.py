"""The doctor goes on whatever one of its checks runs into."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bot.cli.doctor import Check, surviving
from bot.domain.errors import AdapterError

OK = Check(part="x", state="ok", detail="fine")


async def check(failure: Exception | None) -> Sequence[Check]:
    if failure is not None:
        raise failure
    return [OK]


async def test_a_check_that_passes_is_as_it_is() -> None:
    assert await surviving("x", check(None)) == [OK]


async def test_a_failure_is_a_line_with_its_sentence() -> None:
    [line] = await surviving("slack", check(AdapterError("Slack cannot be reached.")))
    assert (line.part, line.state, line.detail) == ("slack", "failed", "Slack cannot be reached.")


@pytest.mark.parametrize("fault", [KeyError("token-of-someone"), RecursionError(), UnicodeError("x")])
async def test_a_fault_of_the_check_itself_is_a_line_that_quotes_nothing(fault: Exception) -> None:
    [line] = await surviving("slack", check(fault))
    assert (line.part, line.state) == ("slack", "failed")
    assert type(fault).__name__ in line.detail and "token-of-someone" not in f"{line.detail} {line.cure}"
