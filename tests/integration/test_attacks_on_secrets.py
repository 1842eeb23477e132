"""Secrets that tools return and models repeat: what people see, what is stored, what the model reads of it later."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from bot.domain.errors import ModelStreamError
from bot.domain.messages import Attachment, ToolCall, ToolMessage, ToolResult, ToolSpec
from bot.forms.making import form_of
from bot.models.offering import fit_tool
from bot.models.redacting import RedactingModel
from bot.ports.model import ModelRequest
from bot.ports.tools import ServerInstructions
from bot.settings import load_settings
from bot.stores.sqlite.store import open_sqlite
from bot.text.known_values import known
from bot.text.redaction import HIDDEN_NOTE
from bot.tools.config import HttpEndpoint, StdioEndpoint
from bot.turns.ask_view import ask_view
from bot.turns.question import with_instructions
from bot.turns.seen_results import without_secrets
from tests.attacks.corpus import SHAPES, leaks
from tests.attacks.lag import LoopLag
from tests.attacks.secrets import found_share, measure
from tests.fakes.bots import ended, open_bot
from tests.fakes.ports import RecordingAdapter, ScriptedModel, ScriptedTools, calls, message, says
from tests.unit.turns.test_ask_view import ASK, RECORD

OWN = "Xy7/own+value=42"


@pytest.mark.parametrize("shape", SHAPES)
def test_secrets_of_published_shapes_are_hidden(shape: str) -> None:
    assert found_share(shape, 60) >= 95


async def test_almost_no_ordinary_answer_is_changed() -> None:
    figures = await measure(each=1, answers=300)
    assert float(figures["false alarms, of ordinary answers (%)"]) < 1


async def test_what_is_stored_is_what_was_seen_and_what_the_model_reads_later(tmp_path: Path) -> None:
    [leak] = leaks("stripe", 1, seed=2)
    adapter = RecordingAdapter()
    model = ScriptedModel([says(f"The first is {leak.secret} here."), says("And more.")])
    async with (
        open_sqlite(tmp_path / "toolbridge.db") as store,
        open_bot(store, RedactingModel(model), adapter, worker="a") as bot,
    ):
        first = await bot.say(message("what is the key?"))
        await ended(bot, adapter, [first])
        second = await bot.say(message("and now?"))
        await ended(bot, adapter, [second])
        posted = [post.text for post in adapter.posts]
    assert posted[0] == f"The first is [hidden] here.\n\n_{HIDDEN_NOTE}_"
    assert leak.secret not in str(adapter.views) + str(model.requests[-1].messages)
    assert posted[0] in [one.text for one in model.requests[-1].messages if not isinstance(one, ToolMessage)]


async def test_files_of_tools_have_no_secrets_and_the_model_reads_all_but_the_bots_own(tmp_path: Path) -> None:
    [leak] = leaks("vault", 1, seed=2)

    async def fetch(call: ToolCall) -> ToolResult:
        files = (
            Attachment(name="env.txt", mime_type="text/plain", data=f"A=1\nVAULT={leak.secret}\n{OWN}\n".encode()),
            Attachment(name="wide.txt", mime_type="text/plain", data=f"VAULT={leak.secret}".encode("utf-16")),
            Attachment(name="x.png", mime_type="image/png", data=b"\x89PNG\0" + leak.secret.encode()),
        )
        return ToolResult(call_id=call.id, text=f"{leak.secret} and {OWN}", attachments=files)

    adapter, model = RecordingAdapter(), ScriptedModel([calls("fetch"), says("Here it is.")])
    async with (
        open_sqlite(tmp_path / "toolbridge.db") as store,
        open_bot(store, RedactingModel(model), adapter, ScriptedTools({"fetch": fetch}), worker="a") as bot,
    ):
        with known.hiding([OWN], mode="on"):
            await ended(bot, adapter, [await bot.say(message("fetch it"))])
    [read] = [one.text for one in model.requests[-1].messages if isinstance(one, ToolMessage)]
    assert read == f"{leak.secret} and [hidden]"
    env, wide, picture = adapter.posts[-1].attachments
    assert env.data == b"A=1\nVAULT=[hidden]\n[hidden]\n"
    assert wide.data.decode("utf-16") == "VAULT=[hidden]"
    assert leak.secret.encode() in picture.data  # what cannot be read is not covered
    assert "A secret was hidden from a file of this answer." in adapter.posts[-1].text


@pytest.mark.parametrize("mode", ["on", "trace", "off"])
async def test_the_bots_own_secrets_show_in_no_answer_however_they_are_written(tmp_path: Path, mode: str) -> None:
    quoted, encoded = quote(OWN, safe=""), base64.b64encode(f"user:{OWN}".encode()).decode()
    model = ScriptedModel([says("\n".join((OWN, quoted, encoded, f'{{"a": "{OWN}"}}')))])
    adapter = RecordingAdapter()
    async with (
        open_sqlite(tmp_path / "toolbridge.db") as store,
        open_bot(store, RedactingModel(model), adapter, worker="a") as bot,
    ):
        with known.hiding([OWN], mode=mode):  # pyright: ignore[reportArgumentType]
            await ended(bot, adapter, [await bot.say(message("say it"))])
    seen = str(adapter.posts) + str(adapter.views)
    assert "[hidden]" in seen
    assert [way for way in (OWN, quoted, encoded[8:]) if way in seen] == []  # the first 6 bytes are "user:X"


def test_what_servers_say_of_themselves_shows_none_of_the_bots_secrets_to_people_or_to_the_model() -> None:
    said = f"Use {OWN}."
    part = {"type": "string", "title": said, "description": said, "default": said}
    schema = {"type": "object", "description": said, "properties": {"x": part}}
    record = replace(RECORD, ask=replace(ASK, change=said))
    tool = ToolSpec(name="a__b", server="a", tool="b", description=said, parameters=schema)
    with known.hiding([OWN], mode="off"):
        shown = [
            str(form_of(schema, target="answer:1", title=said, message=said)),
            str(ask_view(record)),
            str(fit_tool(tool)),
            with_instructions("", [ServerInstructions(server="a", text=said)], max_chars=1_000),
        ]
    assert [OWN in text for text in shown] == [False] * 4
    assert all("[hidden]" in text for text in shown)


async def test_a_result_made_to_be_slow_to_search_holds_up_no_other_conversation() -> None:
    slow = Attachment(name="a.txt", mime_type="text/plain", data=b'password: "' * 17_000)
    async with LoopLag() as lag:
        await without_secrets(ToolResult(call_id="c", text="", attachments=(slow,)))
    assert lag.worst_ms < 300  # the search itself takes longer


async def test_an_answer_that_broke_off_in_a_secret_ends_before_it() -> None:
    [leak] = leaks("github", 1, seed=5)

    async def breaks_off(_: ModelRequest) -> None:
        raise ModelStreamError("It broke off.", partial=f"You asked for {leak.secret[:16]}")

    model = RedactingModel(ScriptedModel([breaks_off]))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ModelStreamError) as caught:
        await model.complete(ModelRequest(system="", messages=()), deadline=1e9, progress=lambda _: None)
    assert caught.value.partial == "You asked for [hidden]"


def test_known_are_the_bots_own_tokens_and_what_servers_are_given_as_secrets() -> None:
    token = "xoxb" + "-1111-2222-abcdef"
    settings = load_settings(
        env_file=None,
        slack_bot_token=token,
        database_url="postgresql://bot:p4ss-of-db@db/x",
        model_headers='{"X-Api-Key": "k3y-of-headers", "Accept": "application/json"}',
    )
    assert {token, "p4ss-of-db", "k3y-of-headers"} <= set(settings.secrets)
    assert "application/json" not in set(settings.secrets)
    web = HttpEndpoint(url="https://x.example/mcp?api_key=q8ery", headers={"Authorization": "Bearer h34der"}, label="x")
    assert {"q8ery", "h34der"} <= set(web.known_values)
    process = StdioEndpoint(
        program="x",
        args=("--token", "arg8ment", "--verbose"),
        env={"DB_PASS": "env1ronment", "MODE": "production"},
        label="x",
    )
    assert set(process.known_values) == {"arg8ment", "env1ronment"}
