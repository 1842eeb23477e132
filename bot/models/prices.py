"""What tokens cost: by the price list of genai-prices, which needs no network, or by the operator's own prices."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

import structlog

from bot.domain.errors import SettingsError
from bot.domain.messages import Usage
from bot.settings import Settings

log = structlog.stdlib.get_logger(__name__)

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars for a million tokens, which is micro-dollars for one."""

    input: Decimal
    cached: Decimal
    output: Decimal

    def of(self, usage: Usage) -> Decimal:
        """Return what the tokens cost, in micro-dollars."""
        fresh = usage.input_tokens - usage.cached_tokens
        return fresh * self.input + usage.cached_tokens * self.cached + usage.output_tokens * self.output


class Prices:
    """Prices of one endpoint's models. `own` counts for models that the list does not have.

    `where` is what the list knows the endpoint by: `{"provider_id": "azure"}` or `{"provider_api_url": URL}`.
    """

    def __init__(self, where: Mapping[Literal["provider_id", "provider_api_url"], str], *, own: Price | None) -> None:
        self._where = where
        self._own = own
        self._loading: asyncio.Task[None] | None = None
        self._library: Any = None
        self._unknown: set[str] = set()

    def begin_loading(self) -> None:
        """Load the list in a thread, once, while the model is thinking: that takes a fifth of a second."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self.load), name="prices")

    async def loaded(self) -> None:
        """Return when the list is there."""
        self.begin_loading()
        if self._loading is not None:
            await asyncio.shield(self._loading)

    def load(self) -> None:
        """Load the list here and now."""
        import genai_prices

        self._library = genai_prices

    def priced(self, usage: Usage, *, model: str) -> Usage:
        """Return the usage with what it cost; where no price is known, its tokens are `unpriced_tokens`."""
        micro_usd = self._listed(usage, model)
        if micro_usd is None and self._own is not None:
            micro_usd = self._own.of(usage)
        if micro_usd is None:
            self._note_unknown(model)
            return replace(usage, unpriced_tokens=usage.input_tokens + usage.output_tokens)
        return replace(usage, micro_usd=int(micro_usd.to_integral_value(ROUND_CEILING)))

    def _listed(self, usage: Usage, model: str) -> Decimal | None:
        if self._library is None or not model or model in self._unknown:
            return None
        tokens = self._library.Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._library.calc_price(tokens, model, **self._where).total_price * _MICRO
        except (LookupError, ValueError):
            return None

    def _note_unknown(self, model: str) -> None:
        if self._library is not None and model not in self._unknown:
            self._unknown.add(model)
            log.warning("model_price_unknown", model=model)


def prices_of(settings: Settings) -> Prices:
    """Return the prices of the endpoint that the settings name.

    Raises:
        SettingsError: Only one of the operator's own prices is set.
    """
    own = own_price(settings)
    if settings.provider == "azure":
        return Prices({"provider_id": "azure"}, own=own)
    if settings.openai_base_url:
        return Prices({"provider_api_url": settings.openai_base_url}, own=own)
    return Prices({"provider_id": "openai"}, own=own)


def own_price(settings: Settings) -> Price | None:
    """Return the operator's own prices, None where none are set. Raises SettingsError where they are half set."""
    given, answered = settings.model_price_input_usd, settings.model_price_output_usd
    cached = settings.model_price_cached_input_usd
    if given is None and answered is None and cached is None:
        return None
    if given is None or answered is None:
        raise SettingsError("Set both MODEL_PRICE_INPUT_USD and MODEL_PRICE_OUTPUT_USD, or neither.")
    return Price(input=_decimal(given), cached=_decimal(given if cached is None else cached), output=_decimal(answered))


def _decimal(number: float) -> Decimal:
    return Decimal(str(number))


def price_problem(settings: Settings) -> str:
    """Return why budgets of money may not be enforceable, as a sentence; empty where a price is known.

    On Azure the model behind a deployment is known only from its answers.
    """
    if settings.provider != "openai" or own_price(settings) is not None:
        return ""
    prices, model = prices_of(settings), settings.openai_model or ""
    prices.load()
    return unpriced(model) if prices.priced(Usage(input_tokens=1), model=model).unpriced_tokens else ""


def unpriced(model: str) -> str:
    """Return the sentence on a model without a price."""
    return f"No price is known of the model {model}, so budgets in usd do not count what it costs."


CURE = "Set MODEL_PRICE_INPUT_USD and MODEL_PRICE_OUTPUT_USD, or give budgets in tokens."
