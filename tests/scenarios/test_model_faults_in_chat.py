"""Each fault of a model endpoint, as its user reads it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.scenarios.conftest import Endpoint, Toolbridge


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "quota"}, "quota"),
        ({"kind": "unauthorized"}, "OPENAI_API_KEY"),
        ({"kind": "not_found"}, "OPENAI_MODEL"),
        ({"kind": "content_filter"}, "content filter"),
        ({"kind": "content_filter", "after_chunks": 1}, "content filter"),
        ({"kind": "rate_limit", "retry_after_s": 400, "times": 9}, "400 s"),
        ({"kind": "context_too_long", "times": 9}, "/clear"),
    ],
    ids=lambda value: value["kind"] + str(value.get("after_chunks", "")) if isinstance(value, dict) else "",
)
async def test_a_fault_that_ends_the_turn_is_said_with_what_to_do(
    toolbridge: Toolbridge, endpoint: Endpoint, fault: dict[str, object], said: str
) -> None:
    toolbridge.write_mcp_json({})
    await endpoint.post("/control/faults", {"faults": [fault]})
    ran = await toolbridge.ask("What is 6 * 7?")
    assert ran.code == 1
    assert said in ran.out
    await endpoint.post("/control/faults", {"faults": []})


@pytest.mark.parametrize("kind", ["server_error", "cut", "unfinished", "malformed_chunk"])
async def test_a_fault_before_any_text_is_got_over(toolbridge: Toolbridge, endpoint: Endpoint, kind: str) -> None:
    await endpoint.fail(kind, after_chunks=0)
    ran = await toolbridge.ask("What is 6 * 7?")
    assert (ran.code, "42" in ran.out) == (0, True)


@pytest.mark.parametrize("kind", ["cut", "unfinished"])
async def test_an_answer_that_breaks_off_is_asked_for_again_and_nobody_reads_its_half(
    toolbridge: Toolbridge, endpoint: Endpoint, kind: str
) -> None:
    toolbridge.write_mcp_json({})
    await endpoint.post("/control/script", {"answers": [{"text": "one two three " * 30}, {"text": "Whole."}]})
    await endpoint.fail(kind, after_chunks=12)
    ran = await toolbridge.ask("hello")
    assert (ran.code, ran.out.strip()) == (0, "Whole.")
    assert "broke off. Trying again" in ran.err


async def test_an_answer_that_always_breaks_off_keeps_the_most_of_it_with_a_true_sentence(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    toolbridge.write_mcp_json({})
    await endpoint.post("/control/script", {"answers": [{"text": "one two three " * 30}] * 3})
    await endpoint.fail("cut", after_chunks=12, times=3)
    ran = await toolbridge.ask("hello")
    assert ran.code == 1 and ran.out.startswith("one two three")
    assert "The model's answer broke off (the connection was cut)" in ran.out


async def test_a_short_rate_limit_is_waited_for_and_shown(toolbridge: Toolbridge, endpoint: Endpoint) -> None:
    await endpoint.fail("rate_limit", retry_after_s=1)
    ran = await toolbridge.ask("What is 6 * 7?")
    assert (ran.code, "42" in ran.out) == (0, True)
    assert "1 s" in ran.err


@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
async def test_a_call_that_cannot_be_run_goes_back_to_the_model(
    toolbridge: Toolbridge, endpoint: Endpoint, kind: str
) -> None:
    await endpoint.fail(kind)
    ran = await toolbridge.ask("What is 6 * 7?")
    assert ran.code == 0
    assert ran.out.strip()
    last = (await endpoint.requests())[-1]["messages"]
    assert any(message["role"] == "tool" and "Error" in message["content"] for message in last)


async def test_an_endpoint_that_is_not_there_is_said_with_what_to_do(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({})
    toolbridge.settings |= {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_MODEL": "any", "TURN_TIMEOUT_S": "20"}
    ran = await toolbridge.ask("hello")
    assert ran.code == 1
    assert "OPENAI_BASE_URL" in ran.out


async def test_the_key_is_in_no_output_and_no_log(toolbridge: Toolbridge, endpoint: Endpoint) -> None:
    toolbridge.write_mcp_json({})
    toolbridge.settings |= {"OPENAI_API_KEY": "sk-not-a-real-key-0000"}
    await endpoint.fail("unauthorized")
    ran = await toolbridge.ask("hello")
    logged = "".join(path.read_text() for path in (toolbridge.home / "logs").iterdir())
    assert "sk-not-a-real-key" not in ran.out + ran.err + logged


async def test_the_responses_api_answers_the_same_question(toolbridge: Toolbridge, endpoint: Endpoint) -> None:
    toolbridge.settings |= {"MODEL_API": "responses"}
    ran = await toolbridge.ask("Calculate 15 * 8 and save the result to a file called calculation.txt")
    assert (ran.code, "120" in ran.out) == (0, True)
    assert "120" in toolbridge.files()["calculation.txt"]
    assert "input" in (await endpoint.requests())[-1]


async def test_azures_endpoint_answers_with_its_key(toolbridge: Toolbridge, endpoint: Endpoint) -> None:
    azure = {
        "MODEL_PROVIDER": "azure",
        "AZURE_OPENAI_ENDPOINT": endpoint.url.removesuffix("/v1"),
        "AZURE_OPENAI_API_KEY": "not-a-real-key",
        "AZURE_OPENAI_DEPLOYMENT": "team",
    }
    toolbridge.settings |= azure
    assert "42" in (await toolbridge.ask("What is 6 * 7?")).out
    toolbridge.settings |= {"AZURE_OPENAI_API_VERSION": "2024-10-21"}
    assert "42" in (await toolbridge.ask("What is 6 * 7?")).out


async def test_a_turn_with_tools_sends_the_same_beginning_again(toolbridge: Toolbridge, endpoint: Endpoint) -> None:
    await toolbridge.ask("What is 6 * 7?")
    await toolbridge.ask("then multiply that by 2")
    requests = await endpoint.requests()
    assert len(requests) == 4
    for before, after in pairwise(requests):
        assert after["messages"][: len(before["messages"])] == before["messages"]
        assert after["tools"] == before["tools"]
    usage = await toolbridge.ask("/usage")
    assert "2 turns" in usage.out
    assert "prompt cache" in usage.out
