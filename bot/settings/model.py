"""Settings of the model: whose it is, what goes with every request, what it costs."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from bot.domain.errors import SettingsError
from bot.settings.values import Group, HeaderSecret, HomePath, json_object

ModelProvider = Literal["azure", "openai", "rehearsal"]

_OWN_PARAMETERS = frozenset({"messages", "input", "instructions", "tools", "stream", "model", "store"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class ModelSettings(Group):
    """The endpoint, its model, and the prompt that it gets."""

    azure_openai_endpoint: str | None = Field(
        default=None,
        description="The resource of Azure OpenAI or Foundry, in any of Azure's clouds; a whole pasted URL will do.",
    )
    azure_openai_api_key: HeaderSecret = Field(
        default=None,
        description="Its key. Without one, Entra ID signs in (extra `azure`).",
    )
    azure_openai_deployment: str | None = Field(default=None, description="The name of the deployment.")
    azure_openai_api_version: str | None = Field(
        default=None,
        description="Only for the older, versioned API. Without it, the `/openai/v1/` endpoint is used.",
    )

    openai_api_key: HeaderSecret = Field(
        default=None,
        description="The key of OpenAI, or of a server with the same API; local servers often need none.",
    )
    openai_base_url: str | None = Field(  # may carry a password, as every URL here
        default=None,
        repr=False,
        description="The server's base URL, such as `http://127.0.0.1:11434/v1`. Without it, OpenAI's.",
    )
    openai_model: str | None = Field(default=None, description="The name of the model.")

    model_provider: ModelProvider | None = Field(
        default=None,
        description="Which model answers, if both groups above are set; `--model` does the same.",
    )
    model_api: Literal["chat", "responses"] = Field(
        default="chat",
        description=(
            "`chat` is Chat Completions, `responses` the Responses API, which newer reasoning models need for tools."
        ),
    )
    model_context_tokens: int = Field(
        default=128_000,
        ge=2_000,
        description="How many tokens the model can read; fewer where the endpoint says so.",
    )
    model_reasoning_effort: str | None = Field(
        default=None,
        description=(
            "`none`, `low`, `medium`, `high`, or what else the endpoint knows: passed on unchanged. Without it, it is "
            "not sent."
        ),
    )
    model_max_output_tokens: int | None = Field(
        default=None,
        ge=1,
        description="The most tokens of one answer. Without it, the endpoint's own limit holds.",
    )
    model_extra_body: str | None = Field(
        default=None,
        repr=False,
        description=(
            "A JSON object with parameters that go with every request; `null` leaves one of the bot's own parameters "
            "out."
        ),
    )
    model_headers: SecretStr | None = Field(
        default=None,
        description="A JSON object with headers that go with every request.",
    )
    model_requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description=(
            "The model's own limit, shared fairly between people. Without it, it is learnt from the endpoint's headers."
        ),
    )
    model_tokens_per_minute: int | None = Field(default=None, ge=1, description="The same for tokens.")
    model_price_input_usd: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description=(
            "Dollars per million tokens, for a model that is not in the built-in price list; set input and output "
            "together."
        ),
    )
    model_price_cached_input_usd: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="The same for cached input. Without it, it costs what other input costs.",
    )
    model_price_output_usd: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="The same for output.",
    )
    system_prompt_file: HomePath = Field(
        default=None,
        description="A text file that replaces the built-in system prompt.",
    )

    @field_validator("model_extra_body")
    @classmethod
    def _check_extra_body(cls, value: str | None) -> str | None:
        if taken := sorted(_OWN_PARAMETERS.intersection(json_object(value or "{}"))):
            raise ValueError(f"the bot sets {', '.join(taken)} itself: leave it out")
        return value

    @field_validator("model_headers")
    @classmethod
    def _check_headers(cls, value: SecretStr | None) -> SecretStr | None:
        for name, text in json_object(value.get_secret_value() if value else "{}").items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError("a name is no header: write letters, digits and hyphens")
            if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
                raise ValueError(f"the value of {name} is no text of printable ASCII characters in quotes")
        return value

    @property
    def extra_body(self) -> dict[str, Any]:
        """The parameters of MODEL_EXTRA_BODY; one that is null is left out of every request."""
        return json_object(self.model_extra_body or "{}")

    @property
    def extra_headers(self) -> dict[str, str]:
        """The headers of MODEL_HEADERS."""
        return json_object(self.model_headers.get_secret_value() if self.model_headers else "{}")

    @property
    def provider(self) -> ModelProvider:
        """Which model answers. Raises SettingsError where the settings are incomplete or name several."""
        if self.model_provider is not None:
            chosen = self.model_provider
        else:
            named: list[ModelProvider] = []
            if self._any_set("azure_openai_"):
                named.append("azure")
            if self._any_set("openai_"):
                named.append("openai")
            if len(named) > 1:
                raise SettingsError(
                    "Both AZURE_OPENAI_* and OPENAI_* are set. Unset one group, or choose with "
                    "MODEL_PROVIDER=azure or MODEL_PROVIDER=openai."
                )
            chosen = named[0] if named else "rehearsal"
        self._require_complete(chosen)
        return chosen

    def _any_set(self, prefix: str) -> bool:
        return any(name.startswith(prefix) and getattr(self, name) is not None for name in type(self).model_fields)

    def _require_complete(self, provider: ModelProvider) -> None:
        if provider == "azure":
            needed = ("azure_openai_endpoint", "azure_openai_deployment")
            missing = [name.upper() for name in needed if getattr(self, name) is None]
        elif provider == "openai":
            missing = [] if self.openai_model else ["OPENAI_MODEL"]
            if self.openai_api_key is None and self.openai_base_url is None:
                missing.append("OPENAI_API_KEY (or OPENAI_BASE_URL for a server that needs no key)")
        else:
            missing = []
        if missing:
            raise SettingsError(
                f"The {provider} model is only half set up: set {' and '.join(missing)}, "
                f"or unset the rest of its settings to use the built-in rehearsal model."
            )
