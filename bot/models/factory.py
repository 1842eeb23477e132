"""Opening the model that the settings name."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bot.domain.errors import ModelAccessError, ModelUnavailableError, SettingsError
from bot.ports.model import Model
from bot.settings import Settings

# The SDK takes most of a second to import, so what needs it is imported where a model is opened: commands that ask no
# model do without it.
if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

    from bot.models.endpoint import Patience
    from bot.models.errors import Labels

REHEARSAL_MODEL = "rehearsal"
_OPENAI_URL = "https://api.openai.com/v1"
_CACHE_KEY_HOSTS = ("api.openai.com", ".openai.azure.com", ".services.ai.azure.com")
_AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"
_CONNECT_TIMEOUT_S = 10.0
_WRITE_TIMEOUT_S = 60.0

_Key = str | Callable[[], Awaitable[str]]


@asynccontextmanager
async def open_model(
    settings: Settings, *, rehearsal_url: str | None, patience: Patience | None = None
) -> AsyncGenerator[Model]:
    """Yield the model that `settings.provider` names; its connections are closed on exit.

    `rehearsal_url` is the base URL of the running rehearsal server; no other provider needs it.

    Raises:
        SettingsError: A setting, or a package that it needs, is missing or wrong.
    """
    from bot.models.chat_completions import ChatCompletions
    from bot.models.endpoint import EndpointModel, Patience
    from bot.models.responses import Responses

    async with AsyncExitStack() as stack:
        match settings.provider:
            case "azure":
                client, labels = await _open_azure(stack, settings)
            case "openai":
                client, labels = _open_openai(settings)
            case "rehearsal":
                client, labels = _open_rehearsal(rehearsal_url)
        await stack.enter_async_context(client)
        speak = Responses if settings.model_api == "responses" else ChatCompletions
        dialect = speak(
            client,
            model=labels.model,
            knows_cache_key=settings.provider == "azure" or client.base_url.host.endswith(_CACHE_KEY_HOSTS),
            reasoning_effort=settings.model_reasoning_effort,
        )
        yield EndpointModel(dialect, labels=labels, patience=patience or Patience())


def describe_model(settings: Settings) -> str:
    """Return in a sentence which model answers; for the rehearsal model, what it is not."""
    match settings.provider:
        case "rehearsal":
            return (
                "The built-in rehearsal model answers. It is not an AI: it follows fixed rules, to try the tools out. "
                "The README says how to connect a real model."
            )
        case "azure":
            return f"Answers come from the Azure OpenAI deployment {settings.azure_openai_deployment}."
        case "openai":
            return f"Answers come from the model {settings.openai_model}."


async def _open_azure(stack: AsyncExitStack, settings: Settings) -> tuple[AsyncOpenAI, Labels]:
    from openai import AsyncAzureOpenAI

    from bot.models.errors import Labels

    resource = _azure_resource(settings.azure_openai_endpoint or "")
    deployment = settings.azure_openai_deployment or ""
    secret = settings.azure_openai_api_key.get_secret_value() if settings.azure_openai_api_key else ""
    key = secret or await _open_entra_id(stack)
    if settings.azure_openai_api_version is None:
        client = _make_client(f"{resource}/openai/v1/", key)
    else:
        client = AsyncAzureOpenAI(
            azure_endpoint=resource,
            azure_deployment=deployment,
            api_version=settings.azure_openai_api_version,
            api_key=key if isinstance(key, str) else None,
            azure_ad_token_provider=None if isinstance(key, str) else key,
            max_retries=0,
            timeout=_timeout(),
            http_client=_http_client(resource),
        )
    return client, Labels(
        model=deployment,
        access_settings="AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT"
        if secret
        else "the identity's role on the Azure resource (Cognitive Services OpenAI User) and AZURE_OPENAI_ENDPOINT",
        model_settings="AZURE_OPENAI_DEPLOYMENT, AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_VERSION",
        secret=secret,
    )


def _open_openai(settings: Settings) -> tuple[AsyncOpenAI, Labels]:
    from bot.models.errors import Labels

    base_url = _checked_url(settings.openai_base_url or _OPENAI_URL, name="OPENAI_BASE_URL")
    secret = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    return _make_client(base_url, secret or "not-needed"), Labels(
        model=settings.openai_model or "",
        access_settings="OPENAI_API_KEY and OPENAI_BASE_URL",
        model_settings="OPENAI_MODEL and OPENAI_BASE_URL",
        secret=secret,
    )


def _open_rehearsal(url: str | None) -> tuple[AsyncOpenAI, Labels]:
    from bot.models.errors import Labels

    if url is None:
        raise SettingsError("No model is set up. Set AZURE_OPENAI_* or OPENAI_*, or MODEL_PROVIDER=rehearsal.")
    return _make_client(url, "not-needed"), Labels(
        model=REHEARSAL_MODEL,
        access_settings="that nothing blocks the loopback address 127.0.0.1",
        model_settings="MODEL_PROVIDER",
    )


def _make_client(base_url: str, key: _Key) -> AsyncOpenAI:
    from openai import AsyncOpenAI

    # Repeats are made where the chat sees them and the deadline is known.
    return AsyncOpenAI(
        base_url=base_url, api_key=key, max_retries=0, timeout=_timeout(), http_client=_http_client(base_url)
    )


def _timeout() -> httpx2.Timeout:
    import httpx2

    # Reading and the whole have no limit here: the model's patience and the turn's deadline set them.
    return httpx2.Timeout(None, connect=_CONNECT_TIMEOUT_S, write=_WRITE_TIMEOUT_S)


def _http_client(url: str) -> httpx2.AsyncClient | None:
    from openai import DefaultAsyncHttpxClient

    # A proxy from the environment cannot reach this machine's own servers.
    return DefaultAsyncHttpxClient(trust_env=False) if _is_loopback(url) else None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _azure_resource(endpoint: str) -> str:
    """Return the endpoint without the paths that people copy along."""
    url = _checked_url(endpoint, name="AZURE_OPENAI_ENDPOINT")
    resource = url.removesuffix("/v1").removesuffix("/openai")
    if "/openai/" in url.removesuffix("/openai/v1") or urlsplit(url).query:
        raise SettingsError(
            "AZURE_OPENAI_ENDPOINT has more than the resource in it. Set it to https://NAME.openai.azure.com and the "
            "rest by AZURE_OPENAI_DEPLOYMENT and AZURE_OPENAI_API_VERSION."
        )
    return resource


def _checked_url(url: str, *, name: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise SettingsError(f"{name} is not a URL of the form https://host/path. Correct it.")
    return url.rstrip("/")


async def _open_entra_id(stack: AsyncExitStack) -> Callable[[], Awaitable[str]]:
    """Return a function that gives a token of the signed-in identity; the credential is closed with `stack`."""
    try:
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

        credential = await stack.enter_async_context(DefaultAzureCredential())
    except ImportError:
        raise SettingsError(
            "AZURE_OPENAI_API_KEY is not set, and Entra ID needs one more package: pip install 'toolbridge[azure]'. "
            "Install it or set the key."
        ) from None
    fetch = get_bearer_token_provider(credential, _AZURE_SCOPE)

    async def token() -> str:
        try:
            return await fetch()
        except ClientAuthenticationError as error:
            raise ModelAccessError(
                "Entra ID gives the bot no token for the model. The operator signs in with `az login`, gives the "
                "machine a managed identity, sets AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or sets "
                "AZURE_OPENAI_API_KEY."
            ) from error
        except AzureError as error:
            raise ModelUnavailableError(
                f"Entra ID cannot be reached for a token ({type(error).__name__}). Please ask again in a moment."
            ) from error

    return token
