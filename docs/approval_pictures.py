"""Draws the pictures of approvals: docs/approval-slack.svg and docs/approval-discord.svg.

The conversations are real ones, with the loopback platforms, by the README's own rules. Times and ids would differ each
time, so the pictures have fixed ones. Run it from the repository's folder: `python -m docs.approval_pictures`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.drawing import DISCORD, SLACK, SMALL, Button, Caption, Entry, draw
from docs.thread_picture import COLOURS, answered, kind_of, slack_entry
from tests.fakes.discord import Message as DiscordMessage
from tests.fakes.slack import FakeSlack
from tests.fakes.slack import Message as SlackMessage
from tests.scenarios.discord import serving as discord_bot
from tests.scenarios.discord.rooms import Room, general
from tests.scenarios.slack import serving as slack_bot

FOLDER = Path(__file__).parent
PLAYER = FOLDER.parent / "tests" / "fakes" / "mcp_servers" / "player.py"
RECORDED = "on 2027-03-09 at 10:05 UTC"
Story = list[Entry | Caption]

# --- what both have: a server that deploys, the README's rules, the model's part ---------------------------------

SCHEMA = {"type": "object", "properties": {"env": {"type": "string"}, "version": {"type": "string"}}}
DISCORD_COLOURS = {"Ada": "#2b7a78", "Ben": "#8e5572", "Toolbridge": "#5865f2"}


def write_rules(home: Path) -> None:
    """Write the README's rules, for the loopback Slack's workspace."""
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    rules = readme.partition("<!-- policy -->\n```toml\n")[2].partition("```")[0].replace("T024BE7LD", "T1")
    (home / "toolbridge.toml").write_text(rules, encoding="utf-8")


def set_up(home: Path) -> Mapping[str, Any]:
    """Write the rules, and return the settings of a bot whose tools are those of a server `deploys`."""
    write_rules(home)
    tools = [{"name": "deploy", "description": "Deploys a version.", "inputSchema": SCHEMA}]
    done = {"content": [{"type": "text", "text": "deployed, 3 of 3 instances healthy"}]}
    reply = '{"jsonrpc": "2.0", "id": @ID@, "result": ' + json.dumps(done) + "}"
    script = home / "script.json"
    script.write_text(json.dumps({"tools": {"tools": tools}, "replies": {"deploy": reply}}), encoding="utf-8")
    servers = {"deploys": {"command": sys.executable, "args": [str(PLAYER), str(script)]}}
    config = home / "mcp.json"
    config.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return {"mcp_config": config}


def model_answers(env: str, said: str) -> Sequence[Any]:
    call = {"name": "deploys__deploy", "arguments": {"env": env, "version": "4.2.0"}}
    return ({"tool_calls": [call]}, {"text": said})


# --- Slack: two people on call, without the one who asks ---------------------------------------------------------


async def in_slack(home: Path) -> Story:
    """Return what a thread shows while two people approve a call, and then."""
    settings = set_up(home)
    async with slack_bot.open_world() as (slack, model):
        slack.add_user_group("S0614TZR7", "U2", "U3")
        async with slack_bot.serving(slack, model, home, settings=settings):
            await model.script(*model_answers("prod", "Version 4.2.0 is in production; all 3 instances are healthy."))
            root = await slack.say("C1", "U1", "deploy 4.2.0 to prod, please", mention=True)
            story: Story = [slack_entry(slack, slack.message("C1", root))]

            asked = await slack_ask(slack, root, lambda message: "Run" in str(message.blocks))
            await slack.press("C1", asked.ts, "U2", "tb:ask:run")
            await slack_ask(slack, root, lambda message: "(1 of 2)" in message.shown)
            story += [slack_ask_entry(asked), Caption("Cleo presses Run. The same message becomes the record:")]

            await slack.press("C1", asked.ts, "U3", "tb:ask:run")
            await slack_ask(slack, root, lambda message: "Approved" in message.shown)
            story.append(slack_ask_entry(asked))
            await answered(slack, root, answers=1)
            await slack.until(lambda: any("approved by" in message.shown for message in slack.bot_messages("C1", root)))
            rest = [message for message in slack.bot_messages("C1", root) if kind_of(message) != "toolbridge_ask"]
            return [*story, *(slack_entry(slack, message) for message in rest)]


async def slack_ask(slack: FakeSlack, root: str, shows: Callable[[SlackMessage], bool]) -> SlackMessage:
    """Return the message of what is asked, once it shows that."""

    def found() -> SlackMessage | None:
        own = (message for message in slack.bot_messages("C1", root) if kind_of(message) == "toolbridge_ask")
        return next(filter(shows, own), None)

    return await slack.until(found)


def slack_ask_entry(message: SlackMessage) -> Entry:
    return Entry(
        name="Toolbridge",
        colour=COLOURS["UBOT"],
        is_app=True,
        lines=[line for block in message.blocks for line in _slack_lines(block)],
        rows=[
            [Button(label=each["text"]["text"], style=each.get("style", "")) for each in block["elements"]]
            for block in message.blocks
            if block["type"] == "actions"
        ],
    )


def _slack_lines(block: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a block of an ask shows, line by line."""
    match block["type"]:
        case "section":
            bold = re.sub(r"(?m)\*(.+?)\*", r"**\1**", block["text"]["text"])
            yield from _still(bold).splitlines()
        case "context":
            texts = (_still(each["text"]) for each in block["elements"])
            yield from (SMALL + line for text in texts for line in text.splitlines())
        case "rich_text":
            yield from "".join(_slack_span(each) for each in block["elements"][0]["elements"]).strip().splitlines()
        case _:
            pass


def _slack_span(element: Mapping[str, Any]) -> str:
    style = element.get("style", {})
    sign = "**" if style.get("bold") else "`" if style.get("code") else ""
    text = str(element["text"])
    return f"{sign}{text.rstrip()}{sign}{' ' * (len(text) - len(text.rstrip(' ')))}" if sign else text


def _still(text: str) -> str:
    """Return the text with fixed times, as a person in the zone of the record reads them."""
    text = re.sub(r"<!date\^[^>]*>", "today at 11:02", text)
    return re.sub(r"on \d{4}-\d\d-\d\d at \d\d:\d\d UTC", RECORDED, text)


# --- Discord: no rule matches, so the one who asks decides ---------------------------------------------------------


async def in_discord(home: Path) -> Story:
    """Return what a channel shows while someone else presses, and then the one who asked."""
    settings = set_up(home)
    async with discord_bot.open_world() as world, discord_bot.serving(world, home, settings=settings) as bot:
        room = general(world, bot)
        await world.model.script(*model_answers("staging", "Version 4.2.0 is on staging; all 3 instances are healthy."))
        question = await room.ask(world.ada, "deploy 4.2.0 to staging, please")
        asked = await world.discord.until(lambda: next((each for each in room.messages if _run(each)), None))
        story: Story = [discord_entry(room, question), discord_entry(room, asked), Caption("Ben presses Run:")]

        refused = await world.discord.press(world.channel, asked, world.ben, _run(asked))
        await world.discord.until(lambda: refused.text)
        assert refused.original is not None
        story.append(discord_entry(room, refused.original, note="Only Ben can see this"))
        story.append(Caption("Ada presses Run. The message becomes the record:"))

        await world.discord.press(world.channel, asked, world.ada, _run(asked))
        await world.discord.until(lambda: "**Approved**" in asked.content)
        story.append(discord_entry(room, asked))
        await room.answered()
        return [*story, *(discord_entry(room, each) for each in room.answers if each is not asked)]


def _run(message: DiscordMessage) -> str:
    return next((each for each in message.custom_ids if each.startswith("tb:decide:") and ":run:" in each), "")


def discord_entry(room: Room, message: DiscordMessage, *, note: str = "") -> Entry:
    is_app = message.author is room.world.discord.bot
    name = "Toolbridge" if is_app else message.author.name
    return Entry(
        name=name,
        colour=DISCORD_COLOURS[name],
        is_app=is_app,
        note=note,
        lines=[_discord_line(room, line) for line in message.content.splitlines()],
        rows=[
            [_discord_button(each) for each in row["components"]] for row in message.components if "components" in row
        ],
    )


def _discord_line(room: Room, line: str) -> str:
    world = room.world
    line = line.replace(world.discord.bot.mention, "@Toolbridge")
    line = line.replace(str(world.guild.id), "300200100").replace(str(world.channel.id), "7002")
    line = re.sub(r"<t:\d+:R>, <t:\d+:f>", "in an hour, 9 March 2027 11:02", line)
    return _still(re.sub(r"\\(.)", r"\1", line))


def _discord_button(button: Mapping[str, Any]) -> Button:
    label = button.get("label") or button.get("emoji", {}).get("name", "")
    return Button(label=label, style={1: "primary", 4: "danger"}.get(button.get("style", 2), ""))


def main() -> None:
    for name, converse, heading, theme in (
        ("slack", in_slack, ("Thread", "# general"), SLACK["light"]),
        ("discord", in_discord, ("Team", "# general"), DISCORD["dark"]),
    ):
        with tempfile.TemporaryDirectory() as home:
            story = asyncio.run(converse(Path(home)))
        FOLDER.joinpath(f"approval-{name}.svg").write_text(draw(story, heading=heading, theme=theme), encoding="utf-8")


if __name__ == "__main__":
    main()
