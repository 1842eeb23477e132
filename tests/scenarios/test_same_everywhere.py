"""One conversation, on the terminal, in Slack and in Discord: what people see is the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.fakes.openai import serve_openai
from tests.scenarios.drivers import DRIVERS, Place
from tests.scenarios.drivers.console import Terminal
from tests.scenarios.drivers.reading import Call, ended_calls, words
from tests.scenarios.model import Model

# An answer with most of what Markdown has.
SAVED = """## Result

15 times 8 is **120**, saved as `calculation.txt`:

| step | tool |
|------|------|
| product | *calculate* |
| file | save_text_file |

1. Ask for more.
2. Or read the [manual](https://example.com/manual).

```py
print(15 * 8)
```
"""
AGAIN = "It was **120**; half of it is 60."
FAILED = "That cannot be divided."


def calls(*wanted: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An answer of the model that asks for tools of the bundled server."""
    return {"tool_calls": [{"name": f"toolbridge__{name}", "arguments": dict(given)} for name, given in wanted]}


def calculation(operation: str, a: float, b: float) -> tuple[str, Mapping[str, Any]]:
    return "calculate", {"operation": operation, "a": a, "b": b}


ANSWERS: Sequence[Mapping[str, Any]] = (
    calls(calculation("multiply", 15, 8), ("save_text_file", {"filename": "calculation.txt", "content": "120"})),
    {"text": SAVED},
    {"text": AGAIN},
    calls(calculation("divide", 1, 0)),
    {"text": FAILED},
)


@asynccontextmanager
async def on_the_terminal(home: Path) -> AsyncGenerator[tuple[Place, Model]]:
    async with serve_openai(control=True) as url:
        yield Terminal(home, Model(url)), Model(url)


@asynccontextmanager
async def in_chat(platform: str, home: Path) -> AsyncGenerator[tuple[Place, Model]]:
    async with DRIVERS[platform](home) as driver, driver.serving(mcp_config=None) as conversation:
        yield conversation, driver.model


PLACES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[tuple[Place, Model]]]] = {
    "terminal": on_the_terminal,
    **{platform: partial(in_chat, platform) for platform in DRIVERS},
}


@dataclass
class Seen:
    """What a person saw of the conversation, without the way in which it was drawn."""

    answers: list[Sequence[str]] = field(default_factory=list[Sequence[str]])  # their words
    tools: list[Sequence[Call]] = field(default_factory=list[Sequence[Call]])
    commands: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])  # words, by what was asked
    roles: list[Sequence[str]] = field(default_factory=list[Sequence[str]])  # of the messages that the model read

    async def ask(self, place: Place, text: str, *, tools: int = 0) -> None:
        answer, trace = await place.converse(text, tools=tools)
        self.answers.append(words(answer))
        self.tools.append(ended_calls(trace))

    async def command(self, place: Place, name: str, argument: str = "", *, key: str = "") -> None:
        self.commands[key or f"{name} {argument}".strip()] = words(await place.command(name, argument))


async def converse(place: Place, model: Model) -> Seen:
    """Have the conversation, and return what was seen."""
    await model.script(*ANSWERS)
    seen = Seen()
    await seen.ask(place, "Calculate 15 * 8 and save the result to calculation.txt", tools=2)
    await seen.ask(place, "How much was it, and half of it?")
    await seen.command(place, "tools")
    await seen.command(place, "tools", "calc")
    await seen.ask(place, "Now divide 1 by 0", tools=1)
    await seen.command(place, "history")
    await seen.command(place, "clear")
    await seen.command(place, "history", key="history afterwards")
    seen.roles = [[message["role"] for message in request["messages"]] for request in await model.requests()]
    return seen


async def test_the_same_conversation_is_seen_on_the_terminal_in_slack_and_in_discord(tmp_path: Path) -> None:
    everywhere: dict[str, Seen] = {}
    for name, open_place in PLACES.items():
        home = tmp_path / name
        home.mkdir()
        async with open_place(home) as (place, model):
            everywhere[name] = await converse(place, model)
    seen = everywhere["terminal"]
    assert seen.answers == [words(SAVED), words(AGAIN), words(FAILED)]
    calculated, failed = (Call(sign=sign, server="toolbridge", tool="calculate") for sign in "✓✗")
    saved = Call(sign="✓", server="toolbridge", tool="save_text_file")
    assert seen.tools == [[calculated, saved], [], [failed]]
    assert {"save_text_file", "calculate"} <= set(seen.commands["tools"])
    assert "calculate" in seen.commands["tools calc"] and "save_text_file" not in seen.commands["tools calc"]
    history = " ".join(seen.commands["history"])
    assert "used toolbridge__calculate toolbridge__save_text_file" in history and "That cannot be divided" in history
    assert " ".join(seen.commands["clear"]).startswith("11 messages of this conversation deleted")
    for platform in DRIVERS:
        assert everywhere[platform] == seen
