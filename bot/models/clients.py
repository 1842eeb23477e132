"""Models behind an HTTP endpoint, opened as the settings say: Azure OpenAI, or any OpenAI-compatible endpoint.

Importing this module imports the openai SDK, which takes most of a second.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx2
from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

from bot.domain.errors import ModelAccessError, ModelUnavailableError, SettingsError
from bot.models.chat_completions import ChatCompletions
from bot.models.endpoint import EndpointModel, Patience
from bot.models.errors import Labels
from bot.models.listing import learning_context
from bot.models.responses import Responses
from bot.ports.model import Model
from bot.settings import Settings

_OPENAI_URL = "https://api.openai.com/v1"
_CACHE_KEY_HOSTS = ("api.openai.com", ".openai.azure.com", ".services.ai.azure.com")
_AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"
_CONNECT_TIMEOUT_S = 10.0
_WRITE_TIMEOUT_S = 60.0

_Key = str | Callable[[], Awaitable[str]]


@asynccontextmanager
async def open_endpoint(
    settings: Settings, *, patience: Patience, learn: Callable[[int | None], None] | None = None
) -> AsyncGenerator[Model]:
    """Yield the model behind the endpoint that the settings name; its connections are closed on exit.

    `learn` is called with the size of the model's context once the endpoint has listed it.

    Raises:
        SettingsError: A setting, or a package that it needs, is missing or wrong.
    """
    async with AsyncExitStack() as stack:
        is_azure = settings.provider == "azure"
        client, labels = await _open_azure(stack, settings) if is_azure else _open_openai(settings)
        await stack.enter_async_context(client)
        dialect = (Responses if settings.model_api == "responses" else ChatCompletions)(
            client,
            model=labels.model,
            takes_cache_key=is_azure or client.base_url.host.endswith(_CACHE_KEY_HOSTS),
            reasoning_effort=settings.model_reasoning_effort,
        )
        if learn is not None and not is_azure:  # Azure lists base models, without the size
            await stack.enter_async_context(learning_context(client, labels.model, learn))
        yield EndpointModel(dialect, labels=labels, patience=patience)


async def _open_azure(stack: AsyncExitStack, settings: Settings) -> tuple[AsyncOpenAI, Labels]:
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
    base_url = _checked_url(settings.openai_base_url or _OPENAI_URL, name="OPENAI_BASE_URL")
    secret = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    return _make_client(base_url, secret or "not-needed"), Labels(
        model=settings.openai_model or "",
        access_settings="OPENAI_API_KEY and OPENAI_BASE_URL",
        model_settings="OPENAI_MODEL and OPENAI_BASE_URL",
        secret=secret,
    )


def _make_client(base_url: str, key: _Key) -> AsyncOpenAI:
    # The endpoint model retries by itself: there the chat sees it, and the deadline is known.
    return AsyncOpenAI(
        base_url=base_url, api_key=key, max_retries=0, timeout=_timeout(), http_client=_http_client(base_url)
    )


def _timeout() -> httpx2.Timeout:
    # No limit on reading, nor on the request as a whole: patience and the turn's deadline set those.
    return httpx2.Timeout(None, connect=_CONNECT_TIMEOUT_S, write=_WRITE_TIMEOUT_S)


def _http_client(url: str) -> httpx2.AsyncClient | None:
    # A proxy that the environment names cannot reach servers on this machine.
    return DefaultAsyncHttpxClient(trust_env=False) if _is_loopback(url) else None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _azure_resource(endpoint: str) -> str:
    """Return the endpoint without the path that people tend to copy with it."""
    url = _checked_url(endpoint, name="AZURE_OPENAI_ENDPOINT")
    resource = url.removesuffix("/v1").removesuffix("/openai")
    if "/openai/" in url.removesuffix("/openai/v1") or urlsplit(url).query:
        raise SettingsError(
            "AZURE_OPENAI_ENDPOINT contains more than the resource. Set it to https://NAME.openai.azure.com, and the "
            "rest in AZURE_OPENAI_DEPLOYMENT and AZURE_OPENAI_API_VERSION."
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
    """Return a function that fetches a token of the signed-in identity; `stack` closes the credential."""
    try:
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

        credential = await stack.enter_async_context(DefaultAzureCredential())
    except ImportError:
        raise SettingsError(
            "AZURE_OPENAI_API_KEY is not set, and signing in with Entra ID needs another package. Set the key, or run "
            "pip install 'toolbridge[azure]'."
        ) from None
    fetch = get_bearer_token_provider(credential, _AZURE_SCOPE)

    async def token() -> str:
        try:
            return await fetch()
        except ClientAuthenticationError as error:
            raise ModelAccessError(
                "Entra ID gave the bot no token for the model. The operator should sign in with `az login`, give the "
                "machine a managed identity, set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or set "
                "AZURE_OPENAI_API_KEY."
            ) from error
        except AzureError as error:
            raise ModelUnavailableError(
                f"Entra ID could not be reached for a token ({type(error).__name__}). Please ask again in a moment."
            ) from error

    return token
