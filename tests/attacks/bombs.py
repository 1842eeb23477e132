"""Bombs: data of one person or tool server, that is made to hold up everyone else.

`measure` sends each to a whole bot (its store, the rehearsal model, real server processes) and says how long its event
loop was held in one go, and how long another person waited for an answer meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.discord.render import command_message, part_message, split_answer
from adapters.slack.render import home_view
from bot.app import App, open_app
from bot.domain.answers import CommandAnswer, Queued
from bot.domain.events import ConversationKey, MessageReceived, SharedFile
from bot.settings import Settings
from bot.text.apart import apart
from tests.attacks.lag import LoopLag, as_served
from tests.fakes.platforms import Crowd, room

BOMBER = Path(__file__).parents[1] / "fakes" / "mcp_servers" / "bomber.py"
NOWHERE = "http://127.0.0.1:9/none"  # the discard port: nothing answers
WAIT_S = 60.0
CALLS = (
    *("blocks", "some_blocks", "images", "links", "rows", "some_rows", "numbers", "nested", "text", "quotes"),
    *("scripts", "half_characters", "picture", "too_large", "storm", "noise"),
)
MB = 1024 * 1024
FILES: Mapping[str, Callable[[], bytes]] = {
    "latin-1": lambda: ("gr\xfc\xdfe, w\xf6rld\n" * 700_000).encode("latin-1"),
    "utf-16": lambda: ("hello w\xf6rld\n" * 400_000).encode("utf-16"),
    "damaged utf-8": lambda: b"\xc3\xa4hello \xff\n" * 900_000,
    "controls": lambda: b"\x01a" * 4_900_000,
    "line ends": lambda: b"\r\n" * 4_900_000,
    "picture": lambda: b"\x89PNG\r\n\x1a\n" + bytes(9 * MB),  # a bomb of pixels has fewer bytes; neither is decoded
    "archive": lambda: b"PK\x03\x04" + bytes(9 * MB),
    "compressed": lambda: b"\x1f\x8b\x08" + bytes(9 * MB),
}
ANSWERS: Mapping[str, str] = {
    "images": "![" * 20_000,
    "brackets": "[" * 40_000,
    "emphasis": "*a_ " * 10_000,
    "fences": "```\n" * 10_000,
    "headings": "# a\n" * 10_000,
    "table": "|a|b|\n|-|-|\n" + "|x|y|\n" * 6_000,
    "quotations": ">" * 40_000,
    "list": "\n".join("  " * depth + "- a" for depth in range(250)),
}


class BombCrowd(Crowd):
    """A crowd that sends files too."""

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        return FILES[file.reference]()


@dataclass
class Field:
    """A bot with people in it."""

    app: App
    crowd: BombCrowd

    async def ask(self, channel: str, text: str, *files: SharedFile) -> str:
        """Return the answer to one person's question in a channel of their own."""
        event = MessageReceived(
            conversation=room(channel, platform=self.crowd.name),
            event_key=uuid.uuid4().hex,
            author_id=f"U{channel}",
            author_name=channel,
            text=text,
            files=files,
            sent_at=datetime.now(UTC),
        )
        answer = self.crowd.expect(event.event_key)
        outcome = await self.app.host.accept(event)
        assert isinstance(outcome, Queued), outcome
        return await asyncio.wait_for(answer, WAIT_S)

    async def call(self, bomb: str) -> str:
        """Return the answer to a person who asks for a tool whose result is a bomb."""
        return await self.ask("attacker", f"call bombs__{bomb} with {{}}")

    async def send(self, bomb: str) -> str:
        """Return the answer to a person who sends a file that is a bomb."""
        file = SharedFile(name=bomb, mime_type="text/plain", size=0, reference=bomb)
        return await self.ask("attacker", "hello", file)


@dataclass(frozen=True)
class Held:
    """What one bomb did."""

    hold_ms: float  # of the loop, in one go
    wait_s: float  # of another person, from a question to its answer
    answer: str  # to the person who sent it

    def __str__(self) -> str:
        return f"{self.hold_ms:.0f} ms, another waited {self.wait_s:.1f} s"


@asynccontextmanager
async def bombed() -> AsyncGenerator[Field]:
    """Yield a bot with a tool server of bombs, whose tools run without asking."""
    with tempfile.TemporaryDirectory() as home:
        config = write_servers(Path(home), "bombs", "calm")
        crowd = BombCrowd()
        async with open_app(_settings(Path(home), config), [lambda _host: nullcontext(crowd)], drain_s=10) as app:
            crew = Field(app, crowd)
            await crew.call("quick")
            await crew.ask("quiet", "call calm__quick with {}")  # all is started
            with as_served():
                yield crew


def write_servers(home: Path, *names: str) -> Path:
    """Return an mcp.json with the bundled server and a server of bombs by each name, whose tools run without asking."""
    server = {"command": sys.executable, "args": [str(BOMBER)], "trusted": True}
    config = home / "mcp.json"
    servers = {"toolbridge": {"bundled": True}, **dict.fromkeys(names, server)}
    config.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return config


async def explode(crew: Field, bomb: Callable[[], Coroutine[Any, Any, str]]) -> Held:
    """Have one person send the bomb and another ask meanwhile; return what the bomb did."""
    loop = asyncio.get_running_loop()
    async with LoopLag() as lag:
        task = asyncio.create_task(bomb())
        await asyncio.sleep(0.02)  # the bomb is under way; nothing shows when it arrives
        asked_at = loop.time()
        answer = await crew.ask("quiet", "call calm__quick with {}")
        wait_s = loop.time() - asked_at
        assert "done" in answer, answer
        said = await task
    return Held(hold_ms=lag.worst_ms, wait_s=wait_s, answer=said)


async def shown(text: str, *, is_apart: bool = True) -> float:
    """Return for how many milliseconds the loop is held by showing a long answer in all of its forms.

    `is_apart` is how the product shows it; otherwise it is rendered on the loop, to compare.
    """
    answer = CommandAnswer(text=text)
    forms: Sequence[Callable[[], object]] = (
        lambda: [part_message(part) for part in split_answer(text)],
        lambda: home_view(answer),
        lambda: command_message(answer, command="tools", argument=""),
    )
    with as_served():
        async with LoopLag() as lag:
            for form in forms:
                await apart(form, size=len(text) if is_apart else 0)
    return lag.worst_ms


async def measure() -> Mapping[str, str]:
    """Return for each bomb how long it held the loop in one go."""
    figures: dict[str, str] = {}
    async with bombed() as crew:
        for name in CALLS:
            figures[f"result: {name}"] = str(await explode(crew, lambda name=name: crew.call(name)))
        for name in FILES:
            figures[f"file: {name}"] = str(await explode(crew, lambda name=name: crew.send(name)))
    for name, text in ANSWERS.items():
        figures[f"answer: {name}"] = f"{await shown(text):.0f} ms"
    return figures


def _settings(home: Path, config: Path) -> Settings:
    return Settings(
        _env_file=None,  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        toolbridge_home=home,
        model_provider="rehearsal",
        mcp_config=config,
        weather_api_url=NOWHERE,
        geocoding_api_url=NOWHERE,
        requests_per_minute=10_000,
    )
