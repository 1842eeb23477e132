"""What answers cost: by the list, by the operator's own prices, and what is estimated where nothing is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from bot.domain.errors import SettingsError
from bot.domain.messages import AssistantMessage, ModelAnswer, Usage, UserMessage
from bot.domain.turns import TextArrived, TokensSpent
from bot.models.billing import Bill
from bot.models.chat_fold import read_usage
from bot.models.factory import open_model
from bot.models.prices import Price, Prices, own_price, price_problem
from bot.ports.model import Model, ModelProgress, ModelRequest
from bot.settings import Settings
from tests.fakes.openai.server import serve_openai

MILLION = Usage(input_tokens=1_000_000, cached_tokens=200_000, output_tokens=100_000)
OWN = Price(input=Decimal(2), cached=Decimal("0.5"), output=Decimal(10))


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)


def loaded(prices: Prices) -> Prices:
    prices.load()
    return prices


def test_a_model_of_the_list_costs_what_the_list_says_also_from_the_prompt_cache() -> None:
    priced = loaded(Prices({"provider_id": "azure"}, own=OWN)).priced(MILLION, model="gpt-4o-2024-08-06")
    # 0.8 million tokens at $2.50, 0.2 at $1.25, 0.1 at $10: https://azure.microsoft.com/pricing/details/azure-openai/
    assert (priced.micro_usd, priced.unpriced_tokens) == (3_250_000, 0)


def test_a_model_that_the_list_does_not_have_costs_what_the_operator_says() -> None:
    prices = loaded(Prices({"provider_api_url": "http://127.0.0.1:11434/v1"}, own=OWN))
    assert prices.priced(MILLION, model="gpt-4o").micro_usd == 800_000 * 2 + 100_000 + 1_000_000


def test_tokens_without_a_price_cost_nothing_and_are_counted() -> None:
    for model in ("llama3:8b", "", "x" * 5_000):
        priced = loaded(Prices({"provider_id": "openai"}, own=None)).priced(MILLION, model=model)
        assert (priced.micro_usd, priced.unpriced_tokens) == (0, 1_100_000)


def test_what_costs_less_than_a_millionth_of_a_dollar_costs_one() -> None:
    assert Prices({}, own=OWN).priced(Usage(input_tokens=1, cached_tokens=1), model="").micro_usd == 1


def test_half_of_the_operators_prices_is_refused_and_the_cache_costs_as_other_input_by_default() -> None:
    with pytest.raises(SettingsError, match="MODEL_PRICE_OUTPUT_USD"):
        own_price(settings(model_price_input_usd=1.0))
    price = own_price(settings(model_price_input_usd=0.1, model_price_output_usd=0.4))
    assert price == Price(input=Decimal("0.1"), cached=Decimal("0.1"), output=Decimal("0.4"))
    assert own_price(settings()) is None


def test_a_doctor_can_say_that_no_price_is_known() -> None:
    local: dict[str, Any] = {"openai_base_url": "http://127.0.0.1:1/v1", "openai_model": "llama3:8b"}
    assert "llama3:8b" in price_problem(settings(**local))
    assert price_problem(settings(**local, model_price_input_usd=0.0, model_price_output_usd=0.0)) == ""
    assert price_problem(settings(openai_api_key="k", openai_model="gpt-5-mini")) == ""


@pytest.mark.parametrize("odd", [-5, "7", 1.5, None, [1], 10**30, True])
def test_counts_that_are_none_never_lower_a_sum(odd: Any) -> None:
    usage = read_usage(
        {"prompt_tokens": odd, "prompt_tokens_details": {"cached_tokens": 9}}, names=("prompt_tokens", "x")
    )
    assert 0 <= usage.cached_tokens <= usage.input_tokens <= 1_000_000_000


# --- calls that give no answer ---


async def test_an_answer_costs_also_what_was_thrown_away_before_it() -> None:
    bill = Bill(Prices({}, own=OWN), "m")
    bill.begin({})
    bill.run()
    bill.waste(await bill.take(answer(Usage(input_tokens=10, output_tokens=1))))
    bill.begin({})
    bill.run()
    whole = bill.close(await bill.take(answer(Usage(input_tokens=10, output_tokens=2))))
    assert whole.usage == Usage(input_tokens=20, output_tokens=3, micro_usd=70)


async def test_an_endpoint_that_counts_nothing_is_estimated_without_the_bytes_of_pictures() -> None:
    bill = Bill(Prices({}, own=OWN), "m")
    bill.begin({"messages": ["a" * 400, f"data:image/png;base64,{'A' * 100_000}"]})
    bill.run()
    usage = (await bill.take(answer(Usage()))).usage
    assert 100 <= usage.input_tokens < 200 and usage.output_tokens == 2 and usage.micro_usd


def answer(usage: Usage) -> ModelAnswer:
    return ModelAnswer(message=AssistantMessage(text="Hello."), usage=usage)


@asynccontextmanager
async def endpoint() -> AsyncGenerator[tuple[Model, str]]:
    async with serve_openai(control=True) as url:
        values: dict[str, Any] = {"openai_base_url": url, "openai_model": "rehearsal"}
        async with open_model(settings(**values, model_price_input_usd=1.0, model_price_output_usd=1.0)) as model:
            yield model, url


REQUEST = ModelRequest(system="Be brief.", messages=(UserMessage(text="hello " * 100),))


async def test_an_answer_names_its_model_and_what_it_cost() -> None:
    async with endpoint() as (model, _):
        deadline = asyncio.get_running_loop().time() + 30
        given = await model.complete(REQUEST, deadline=deadline, progress=lambda _: None)
    assert given.model == "rehearsal"
    assert given.usage.micro_usd == given.usage.input_tokens + given.usage.output_tokens > 0


async def test_an_answer_that_is_stopped_costs_what_was_sent_and_heard() -> None:
    heard, told = asyncio.Event(), list[ModelProgress]()

    def progress(event: ModelProgress) -> None:
        told.append(event)
        if isinstance(event, TextArrived):
            heard.set()

    async with endpoint() as (model, url):
        async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
            for what, body in (("pace", {"chunk_s": 0.2}), ("script", {"answers": [{"text": "word " * 500}]})):
                (await client.post(url.removesuffix("/v1") + f"/control/{what}", json=body)).raise_for_status()
        deadline = asyncio.get_running_loop().time() + 30
        asking = asyncio.create_task(model.complete(REQUEST, deadline=deadline, progress=progress))
        async with asyncio.timeout(20):
            await heard.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    (spent,) = [event for event in told if isinstance(event, TokensSpent)]
    assert spent.usage.input_tokens >= 150 and spent.usage.output_tokens >= 1
