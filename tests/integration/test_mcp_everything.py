"""The reference server of the protocol's authors, in Node.js."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bot.domain.asks import FormAsk
from bot.domain.messages import ToolCall, ToolResult
from bot.forms.folding import fold
from bot.forms.making import form_of
from bot.forms.reading import read_form
from bot.ports.tools import Wait
from bot.settings import load_settings
from bot.tools.configured import load_servers
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.processes import ACTOR, CONVERSATION, QUICK, call, go_on

EVERYTHING = os.environ.get("SERVER_EVERYTHING_JS")


@pytest.mark.skipif(
    EVERYTHING is None,
    reason="SERVER_EVERYTHING_JS is not set to index.js of npm @modelcontextprotocol/server-everything",
)
async def test_the_reference_server_in_node_works(tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    entry = {"command": "node", "args": [str(EVERYTHING), "stdio"], "repeatable": ["echo"]}
    config.write_text(json.dumps({"mcpServers": {"every.thing": entry}}), encoding="utf-8")
    settings = load_settings(env_file=None, mcp_config=config, toolbridge_home=tmp_path)
    async with Toolset(load_servers(settings), timing=QUICK, offer_wait_s=30) as tools:
        offer = await tools.offer(None)
        assert offer.notes == ()
        echo = offer.find("every_thing__echo")
        assert echo is not None and echo.is_repeatable
        assert "hello" in (await call(tools, echo.name, '{"message": "hello"}')).text
        picture = await call(tools, "every_thing__get-tiny-image")
        assert [attachment.mime_type for attachment in picture.attachments] == ["image/png"]
        structured = await call(tools, "every_thing__get-structured-content", '{"location": "New York"}')
        assert structured.outcome == "ok" and "temperature" in structured.text
        wrong = await call(tools, echo.name, '{"message": 1}')
        assert wrong.outcome == "error"
        assert len(await tools.examples()) > 0
        # A form with every type of the specification.
        asked = ToolCall(id="call-1", name="every_thing__trigger-elicitation-request", arguments="{}")
        wait = await tools.call(asked, actor=ACTOR, conversation=CONVERSATION)
        assert isinstance(wait, Wait) and isinstance(wait.ask, FormAsk)
        form = form_of(wait.ask.schema, target="answer:1", title="")
        kinds = ["text", "choice", "text", "text", "text", "date", "integer", "number"]
        kinds += ["choice", "choices", "choice", "choices", "choice"]
        assert [field.kind for field in form.fields] == kinds
        values = {field.name: field.value for field in fold(form, 5).fields} | {"name": "Ada Lovelace"}
        content = read_form(wait.ask.schema, values)
        assert isinstance(content, dict)
        result = await go_on(tools, asked.name, wait, "accept", content)
        assert isinstance(result, ToolResult)
        assert '"titledSingleSelectEnum": "hero-1"' in result.text
