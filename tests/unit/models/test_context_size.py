"""The size of the context in an endpoint's own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import ModelContextError
from bot.models.errors import Labels, fault_of
from bot.models.refusals import StreamRefusalError, context_tokens, read_refusal


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        # OpenAI, Azure and vLLM
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 10021 tokens.",
            8_192,
        ),
        ("This endpoint's maximum context length is 131072 tokens. However, you requested about 140000.", 131_072),
        ("'max_tokens' is too large: the model's context length is only 4,096 tokens", 4_096),
        # llama.cpp: https://github.com/ggml-org/llama.cpp/issues/19774
        ("request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it", 4_096),
        # llama-cpp-python: https://github.com/abetlen/llama-cpp-python/issues/416
        ("Requested tokens (2285) exceed context window of 2048", 2_048),
        ("This model's maximum prompt length is 131072 but the request contains 200000 tokens.", 131_072),
        ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", 32_768),
        ("prompt is too long: 210000 tokens > 200000 maximum", 200_000),
        ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1_048_576),
        ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens", 4_096),
        # OpenAI, where one request alone is over the limit of a minute
        ("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 41000.", 30_000),
        ("the request exceeds the available context size. try increasing it", None),
        ("Please reduce the length of the messages or completion.", None),
        ("", None),
    ],
)
def test_the_number_is_read_where_the_endpoint_names_it(message: str, tokens: int | None) -> None:
    assert context_tokens(message) == tokens


def test_llama_cpp_names_it_in_a_field_too() -> None:
    # https://github.com/ggml-org/llama.cpp/pull/15780
    error = {
        "code": 400,
        "message": "the request exceeds the available context size. try increasing the context size",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 1407,
        "n_ctx": 256,
    }
    assert read_refusal(error).context_tokens == 256
    for other in (None, "256", True, -1, 2.5, []):
        assert read_refusal({**error, "n_ctx": other}).context_tokens is None


def test_the_error_of_a_request_that_is_too_long_has_the_number() -> None:
    message = "This model's maximum context length is 8192 tokens."
    refusal = StreamRefusalError({"message": message, "code": "context_length_exceeded"})
    labels = Labels(model="m", access_settings="KEY", model_settings="MODEL")
    error = fault_of(refusal, labels, backoff_s=1.0).error
    assert isinstance(error, ModelContextError) and error.limit_tokens == 8_192


@given(st.text())
@pytest.mark.filterwarnings("error")
def test_no_message_breaks_the_reading(message: str) -> None:
    for text in (message, f"maximum context length is {message}", "context size " + "9" * 5_000):
        found = context_tokens(text)
        assert found is None or 0 <= found < 10**12
