"""Draws the README's pictures of a team's own tools: docs/team-slack-*.svg and docs/team-discord-*.svg.

The conversations are real ones, between a loopback platform and `toolbridge run`, a process that is killed on the way.
Times would differ each time, so the pictures have fixed ones. Run it from the repository's folder:
`python -m docs.team_pictures`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import textwrap
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from docs.approval_pictures import FOLDER, PLAYER, Story, discord_entry, slack_ask, slack_ask_entry, write_rules
from docs.drawing import DISCORD, SLACK, SMALL, Caption, Entry, draw
from docs.thread_picture import COLOURS, answered, kind_of, slack_entry
from tests.failures.world import World
from tests.fakes.mcp_servers.processes import lines, until
from tests.fakes.slack.world import View
from tests.scenarios.discord.rooms import Room, is_ask
from tests.scenarios.drivers import DRIVERS
from tests.scenarios.drivers.discord import DiscordDriver
from tests.scenarios.drivers.slack import SlackDriver

PRIVATE = "Only Ada can see this"
CODE_CHARS = 90  # of a line

# --- the team's tools: a tracker, and a server that deploys -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool as its server lists it, and what it answers, after some seconds."""

    name: str
    arguments: Sequence[str]
    result: str
    reads: bool = False
    fails: bool = False
    takes_s: float = 0.0

    @property
    def definition(self) -> Mapping[str, Any]:
        schema = {"type": "object", "properties": {name: {"type": "string"} for name in self.arguments}}
        return {"name": self.name, "inputSchema": schema, "annotations": {"readOnlyHint": self.reads}}

    @property
    def reply(self) -> Sequence[str | float]:
        result = {"content": [{"type": "text", "text": self.result}], "isError": self.fails}
        return [self.takes_s, '{"jsonrpc": "2.0", "id": @ID@, "result": ' + json.dumps(result) + "}"]


SERVERS = {
    "tracker": (Tool(name="blockers", arguments=["release"], result="No open blockers for 4.2.0.", reads=True),),
    "deploys": (
        Tool(name="status", arguments=["env"], result="4.1.3, 3 of 3 instances healthy", reads=True),
        Tool(name="deploy", arguments=["env", "version"], result="4.2.0 deployed, 3 of 3 instances healthy"),
        Tool(name="restart", arguments=["env", "service"], result="restarted", takes_s=600.0),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Team(World):
    """A bot of which the team's servers are the tools, by the README's rules."""

    servers: Mapping[str, Sequence[Tool]] = field(default_factory=lambda: SERVERS)

    def write_mcp_json(self) -> Path:
        write_rules(self.home)
        servers = {name: self._server(name, tools) for name, tools in self.servers.items()}
        file = self.home / "mcp.json"
        file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        return file

    def _server(self, name: str, tools: Sequence[Tool]) -> Mapping[str, Any]:
        script = self.home / f"{name}.json"
        parts = {
            "tools": {"tools": [tool.definition for tool in tools]},
            "replies": {tool.name: tool.reply for tool in tools},
            "log": str(self.home / "methods.txt"),
        }
        script.write_text(json.dumps(parts), encoding="utf-8")
        return {"command": sys.executable, "args": [str(PLAYER), str(script)], "trusted": True}

    async def until_running(self) -> None:
        """Wait until a tool was called that has not answered."""
        await until(lambda: "tools/call" in lines(self.home / "methods.txt"), timeout_s=60.0)


@asynccontextmanager
async def open_team(home: Path, platform: Literal["slack", "discord"]) -> AsyncGenerator[Team]:
    async with DRIVERS[platform](home) as driver:
        yield Team(driver=driver)


def call(tool: str, **arguments: str) -> Mapping[str, Any]:
    return {"name": tool, "arguments": arguments}


def asks_for(*calls: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"tool_calls": list(calls)}


# --- Slack: two people approve, and the process is killed between them ------------------------------------------------


async def in_slack(home: Path) -> Story:
    """Return what a thread shows."""
    async with open_team(home, "slack") as team:
        slack = cast("SlackDriver", team.driver).slack
        slack.add_user_group("S0614TZR7", "U2", "U3")
        await team.model.script(
            asks_for(call("tracker__blockers", release="4.2.0"), call("deploys__status", env="prod")),
            asks_for(call("deploys__deploy", env="prod", version="4.2.0")),
            {"text": "There were no blockers. Version **4.2.0** is in production; all 3 instances are healthy."},
        )
        async with team.run() as life:
            conversation = await cast("SlackDriver", team.driver).open()
            await conversation.ask("is anything in the way of 4.2.0? If not, deploy it to prod")
            root = conversation.thread.root
            story: Story = [slack_entry(slack, slack.message("C1", root))]
            asked = await slack_ask(slack, root, lambda message: "Run" in str(message.blocks))
            await slack.press("C1", asked.ts, "U2", "tb:ask:run")
            await slack_ask(slack, root, lambda message: "(1 of 2)" in message.shown)
            story += [slack_ask_entry(asked), Caption("kill -9: the process dies, and starts again. Cleo presses Run:")]
            await team.kill(life)
        async with team.run():
            await slack.press("C1", asked.ts, "U3", "tb:ask:run")
            await slack_ask(slack, root, lambda message: "Approved" in message.shown)
            await answered(slack, root, answers=1)
            await slack.until(lambda: any("approved by" in message.shown for message in slack.bot_messages("C1", root)))
            rest = [message for message in slack.bot_messages("C1", root) if kind_of(message) != "toolbridge_ask"]
            story += [slack_ask_entry(asked), *(still(slack_entry(slack, message)) for message in rest)]
            trace = next(message for message in rest if kind_of(message) == "toolbridge_trace")
            await slack.press("C1", trace.ts, "U1", "tb:details")
            [view] = await slack.until(lambda: slack.views("U1"))
            return [*story, Caption("Ada presses Details, and sees what ran, exactly:"), details(view)]


def details(view: View) -> Entry:
    """Return the window of a trace."""
    lines: list[str] = []
    for block in view.content["blocks"]:
        if block["type"] == "section":
            lines.append(re.sub(r"\*(.+?)\*", r"**\1**", block["text"]["text"]))
        elif block["type"] == "rich_text":
            label, value = ("".join(each["text"] for each in part["elements"]) for part in block["elements"])
            lines.append(f"{label.strip()}  `{value}`")
    return still(Entry(name=view.content["title"]["text"], colour=COLOURS["UBOT"], lines=lines, note=PRIVATE))


SAID_AFTER = "I was restarted while this ran, so I cannot tell whether search came back. Shall I look at its status?"


# --- Discord: killed while the tool runs ------------------------------------------------------------------------------


async def in_discord(home: Path) -> Story:
    """Return what a channel shows."""
    async with open_team(home, "discord") as team:
        driver = cast("DiscordDriver", team.driver)
        await team.model.script(
            asks_for(call("deploys__restart", env="staging", service="search")),
            {"text": SAID_AFTER},
        )
        async with team.run() as life:
            conversation = await driver.open()
            question = await conversation.ask("restart search on staging, please")
            room = conversation.room
            asked = await driver.discord.until(lambda: next(filter(is_ask, room.messages), None))
            story: Story = [
                discord_entry(room, question.message),
                discord_entry(room, asked),
                Caption("Ada presses Run:"),
            ]
            run = next(each for each in asked.custom_ids if ":run:" in each)
            await driver.discord.press(room.channel, asked, driver.world.ada, run)
            await driver.discord.until(lambda: "**Approved**" in asked.content)
            await team.until_running()
            story.append(discord_entry(room, asked))
            await team.kill(life)
        async with team.run():
            await room.answered()
            said = [still(discord_entry(room, message)) for message in room.answers]
            thread = Room(world=room.world, bot=None, channel=driver.discord.threads(room.channel)[0])
            await driver.discord.until(lambda: "interrupted" in thread.traces[0].content)
            trace = discord_entry(room, thread.traces[0])
            pressed = await thread.press(thread.traces[0], driver.world.ada, "details")
            assert pressed.original is not None
            return [
                *story,
                Caption("kill -9 while it runs: the process dies, and starts again."),
                *said,
                Caption("In the thread on the question. Ada presses Details:"),
                still(trace),
                still(replace(discord_entry(room, pressed.original, note=PRIVATE), rows=())),
            ]


def still(entry: Entry) -> Entry:
    """Return it with a fixed duration of each call, notes below answers as small, and fenced lines as code."""
    text = re.sub(r"\b\d+\.\d s\b", "0.4 s", "\n".join(entry.lines))
    text = re.sub(r"(?m)^_(.+)_$", rf"{SMALL}\1", text)
    text = re.sub(r"(?ms)^`+\n(.*?)\n`+$", lambda fenced: _code(fenced[1]), text)
    return replace(entry, lines=text.splitlines())


def _code(text: str) -> str:
    return "\n".join(f"`{part}`" for line in text.splitlines() for part in textwrap.wrap(line, CODE_CHARS))


def main() -> None:
    for name, converse, heading, themes in (
        ("slack", in_slack, ("Thread", "# general"), SLACK),
        ("discord", in_discord, ("Team", "# general"), DISCORD),
    ):
        with tempfile.TemporaryDirectory() as home:
            story = asyncio.run(converse(Path(home)))
        for look, theme in themes.items():
            picture = draw(story, heading=heading, theme=theme)
            FOLDER.joinpath(f"team-{name}-{look}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
