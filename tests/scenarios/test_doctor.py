"""`toolbridge doctor`: a line for each part, and the cure for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.scenarios.conftest import Endpoint, Toolbridge

FAKES = Path(__file__).parents[1] / "fakes" / "mcp_servers"


async def test_a_healthy_setup_has_a_line_for_each_part_and_ends_with_0(toolbridge: Toolbridge) -> None:
    ran = await toolbridge.run("doctor")
    assert ran.code == 0
    parts = [line.split(":")[0].split(maxsplit=1)[1] for line in ran.out.splitlines()]
    here = ["settings", "home", "redaction", "http", "store"]
    assert parts == [*here, "model", "tools toolbridge", "policy", "slack", "discord"]
    assert "not an AI" in ran.out


async def test_json_says_the_same_for_machines(toolbridge: Toolbridge) -> None:
    checks = json.loads((await toolbridge.run("doctor", "--json")).out)
    assert {check["part"]: check["state"] for check in checks} == {
        "settings": "ok",
        "home": "ok",
        "redaction": "ok",
        "http": "ok",
        "store": "ok",
        "model": "ok",
        "tools toolbridge": "ok",
        "policy": "ok",
        "slack": "off",
        "discord": "off",
    }


async def test_a_model_that_refuses_the_key_is_named_with_the_cure_and_the_rest_is_checked(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    toolbridge.settings |= {"OPENAI_API_KEY": "sk-not-a-real-key-0000"}
    await endpoint.fail("unauthorized")
    ran = await toolbridge.run("doctor")
    assert ran.code == 1
    (line,) = [line for line in ran.out.splitlines() if line.startswith("failed")]
    assert "model" in line
    assert "OPENAI_API_KEY" in line
    assert "tools toolbridge" in ran.out
    assert "sk-not-a-real-key" not in ran.out + ran.err


async def test_the_model_is_asked_with_the_tools_of_a_turn_and_one_that_its_endpoint_refuses_has_a_cure(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    toolbridge.settings |= {"OPENAI_BASE_URL": endpoint.url, "OPENAI_MODEL": "m"}
    stock = {"command": sys.executable, "args": [str(FAKES / "warehouse.py"), "invoice", "200"]}
    toolbridge.write_mcp_json({"toolbridge": {"bundled": True}, "stock": stock})
    await endpoint.fail("tool", tool="toolbridge__calculate", times=9)
    ran = await toolbridge.run("doctor")
    assert ran.code == 1
    (line,) = [line for line in ran.out.splitlines() if line.startswith("failed")]
    assert "model" in line and "`toolbridge/calculate`" in line and "deny patterns in mcp.json" in line
    sent = [tool["function"]["name"] for tool in (await endpoint.requests())[-1]["tools"]]
    assert sent[0] == "find_tools"  # of more than 200 tools, a turn sends some
    assert len(sent) < 64


async def test_values_that_are_not_valid_are_the_only_line(toolbridge: Toolbridge) -> None:
    toolbridge.settings |= {"HTTP_PORT": "99999", "OPENAI_MODLE": "m"}
    ran = await toolbridge.run("doctor")
    assert ran.code == 1
    assert [line[:16] for line in ran.out.splitlines() if line.startswith(("failed", "ok", "off"))] == [
        "failed settings:"
    ]
    assert "HTTP_PORT" in ran.out and "Did you mean OPENAI_MODEL?" in ran.out


async def test_a_model_that_is_only_half_set_up_is_said_once_with_all_else_that_is_wrong(
    toolbridge: Toolbridge,
) -> None:
    toolbridge.settings |= {
        "OPENAI_API_KEY": "sk-not-a-real-key-0000",
        "MODEL_PRICE_INPUT_USD": "1",
        "METRICS": "true",
        "HTTP_HOST": "0.0.0.0",
        "SLACK_BOT_TOKEN": "xoxb-test",
    }
    ran = await toolbridge.run("doctor")
    assert ran.code == 1
    wrong = [line for line in ran.out.splitlines() if line.startswith("failed")]
    for line, said in zip(
        wrong,
        ("OPENAI_MODEL", "MODEL_PRICE_OUTPUT_USD", "METRICS_TOKEN", "SLACK_APP_TOKEN"),
        strict=True,
    ):
        assert said in line
    assert "ok     store: " in ran.out and "ok     tools toolbridge: " in ran.out


async def test_a_database_that_cannot_be_opened_is_said_with_the_cure(toolbridge: Toolbridge) -> None:
    toolbridge.home.write_text("a file where the folder belongs")
    ran = await toolbridge.run("doctor")
    assert ran.code == 1
    assert "TOOLBRIDGE_HOME" in next(line for line in ran.out.splitlines() if "store" in line)


async def test_each_tool_server_that_fails_has_its_line_with_the_cure_and_what_it_said_last(
    toolbridge: Toolbridge,
) -> None:
    dies = toolbridge.folder / "dies.py"
    dies.write_text("import sys\nprint('cannot open the calendar', file=sys.stderr)\nsys.exit(3)\n", encoding="utf-8")
    toolbridge.write_mcp_json(
        {
            "dies": {"command": sys.executable, "args": [str(dies)]},
            "gone": {"command": "no-such-program"},
            "odd": {"command": "x", "env": {"A": "${command:pick}"}},
            "toolbridge": {"bundled": True, "autoApprove": ["*"]},
        }
    )
    ran = await toolbridge.run("doctor")
    assert ran.code == 1
    lines = {line.split(":")[0].split(maxsplit=1)[-1]: line for line in ran.out.splitlines()}
    assert "its process ended" in lines["tools dies"]
    assert "Run its command by hand" in lines["tools dies"]
    assert "| cannot open the calendar" in ran.out
    assert "install the program" in lines["tools gone"]
    assert "server 'odd', key 'env.A': the placeholder ${command:pick} is not understood" in lines["tools odd"]
    assert lines["tools toolbridge"].startswith("ok")
    assert "autoApprove has no effect here" in lines["tools toolbridge"]


async def test_a_tool_server_that_takes_long_to_start_is_waited_for_and_that_is_shown(toolbridge: Toolbridge) -> None:
    slow = toolbridge.folder / "slow.py"
    oldtimer = str(FAKES / "oldtimer.py")
    slow.write_text(f"import time, runpy\ntime.sleep(7)\nrunpy.run_path({oldtimer!r}, run_name='__main__')\n")
    toolbridge.write_mcp_json({"slow": {"command": sys.executable, "args": [str(slow)]}})
    listed = await toolbridge.run("tools")
    assert listed.code == 0
    assert "act" in listed.out
    assert "not ready" not in listed.out
    assert "waiting, slow is starting" in listed.err
    answered = await toolbridge.run("chat", "--model", "rehearsal", "-m", "call slow__act with {}")
    assert answered.code == 0
    assert "waiting, slow is starting" in answered.err


async def test_with_log_content_the_log_has_the_words_and_the_doctor_warns_of_it(toolbridge: Toolbridge) -> None:
    toolbridge.settings |= {"LOG_CONTENT": "true", "LOG_FORMAT": "json"}
    assert (await toolbridge.ask("Calculate 15 * 8, my key is AKIAIOSFODNN7EXAMPLA")).code == 0
    log = (toolbridge.home / "logs" / "toolbridge.log").read_text(encoding="utf-8")
    lines = {line["event"]: line for line in map(json.loads, log.splitlines())}
    call, turn = lines["tool_call"], lines["conversation_turn"]
    assert turn["question"] == "Calculate 15 * 8, my key is [hidden]" and "120" in turn["answer"]
    assert (turn["tools"], turn["history_messages"]) == (["toolbridge__calculate"], 0)
    assert json.loads(call["arguments"]) == {"operation": "multiply", "a": 15, "b": 8}
    assert call["success"] and call["milliseconds"] >= 0 and call["result_chars"] > 0
    assert call["conversation"] == turn["conversation"] and "AKIA" not in log
    said = (await toolbridge.run("doctor")).out
    assert "ok     logs: LOG_CONTENT=true: the log has questions, answers" in said
