"""Models behind an HTTP endpoint, opened as the settings say: Azure OpenAI, or any OpenAI-compatible endpoint.

Importing this module imports the openai SDK, which takes most of a second.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import blake2s
from urllib.parse import parse_qsl, urlsplit

import httpx2
from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

from bot.domain.errors import ModelAccessError, ModelUnavailableError, SettingsError
from bot.models.azure import AzurePlace, Cloud, cloud_of, is_azure, read_place
from bot.models.chat_completions import ChatCompletions, Options
from bot.models.endpoint import EndpointModel, Patience
from bot.models.errors import Labels
from bot.models.listing import learning_context
from bot.models.pacing import Pacer
from bot.models.prices import prices_of
from bot.models.responses import Responses
from bot.ports.cluster import Cluster
from bot.settings import Settings

_OPENAI_URL = "https://api.openai.com/v1"
_CONNECT_TIMEOUT_S = 10.0
_WRITE_TIMEOUT_S = 60.0
_OPERATION = re.compile(r"/(?:chat/completions|completions|responses|models)/?$")

_Key = str | Callable[[], Awaitable[str]]


@asynccontextmanager
async def open_endpoint(
    settings: Settings,
    *,
    patience: Patience,
    learn: Callable[[int | None], None] | None = None,
    cluster: Cluster | None = None,
) -> AsyncGenerator[EndpointModel]:
    """Yield the model behind the endpoint that the settings name; its connections are closed on exit.

    `learn` is called with the size of the model's context once the endpoint has listed it; the endpoint's limits hold
    for all processes of `cluster`.

    Raises:
        SettingsError: A setting, or a package that it needs, is missing or wrong.
    """
    async with AsyncExitStack() as stack:
        is_on_azure = settings.provider == "azure"
        client, labels = await _open_azure(stack, settings) if is_on_azure else _open_openai(settings)
        await stack.enter_async_context(client)
        options = Options(
            model=labels.model,
            is_openai=is_on_azure or client.base_url.host == "api.openai.com" or is_azure(client.base_url.host),
            reasoning_effort=settings.model_reasoning_effort,
            max_output_tokens=settings.model_max_output_tokens,
        )
        dialect = (Responses if settings.model_api == "responses" else ChatCompletions)(client, options)
        pacer = Pacer(
            requests_per_minute=settings.model_requests_per_minute,
            tokens_per_minute=settings.model_tokens_per_minute,
            cluster=cluster,
            name=blake2s(f"{client.base_url} {labels.model}".encode(), digest_size=12).hexdigest(),
        )
        if learn is not None and not is_on_azure:  # Azure lists base models, without the size
            await stack.enter_async_context(learning_context(client, labels.model, learn))
        yield EndpointModel(
            dialect,
            labels=labels,
            patience=patience,
            pacer=pacer,
            prices=prices_of(settings),
            extra_body=settings.extra_body,
        )


async def _open_azure(stack: AsyncExitStack, settings: Settings) -> tuple[AsyncOpenAI, Labels]:
    deployment = settings.azure_openai_deployment or ""
    endpoint = _checked_url(settings.azure_openai_endpoint or "", name="AZURE_OPENAI_ENDPOINT")
    place = read_place(endpoint, version=settings.azure_openai_api_version, deployment=deployment)
    secret = settings.azure_openai_api_key.get_secret_value() if settings.azure_openai_api_key else ""
    key = secret or await _open_entra_id(stack, cloud_of(urlsplit(endpoint).hostname or ""))
    if place.has_deployments:
        client = _make_azure_client(place, key, deployment=deployment, headers=settings.extra_headers)
    else:
        client = _make_client(place.base_url, key, headers=settings.extra_headers, query=place.query)
    access = "AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT"
    if not secret:
        access = "the identity's role on the Azure resource (Cognitive Services OpenAI User) and AZURE_OPENAI_ENDPOINT"
    return client, _labels(
        settings,
        model=deployment,
        access_settings=access,
        model_settings="AZURE_OPENAI_DEPLOYMENT, AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_VERSION",
        address_setting="AZURE_OPENAI_ENDPOINT",
        version_setting="AZURE_OPENAI_API_VERSION",
        secret=secret,
    )


def _open_openai(settings: Settings) -> tuple[AsyncOpenAI, Labels]:
    base_url = _checked_url(settings.openai_base_url or _OPENAI_URL, name="OPENAI_BASE_URL")
    secret = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    parts = urlsplit(base_url)
    query = dict(parse_qsl(parts.query))
    address = _OPERATION.sub("", f"{parts.scheme}://{parts.netloc}{parts.path}")
    return _make_client(address, secret or "not-needed", headers=settings.extra_headers, query=query), _labels(
        settings,
        model=settings.openai_model or "",
        access_settings="OPENAI_API_KEY and OPENAI_BASE_URL",
        model_settings="OPENAI_MODEL and OPENAI_BASE_URL",
        address_setting="OPENAI_BASE_URL",
        secret=secret,
    )


def _labels(settings: Settings, *, secret: str, **names: str) -> Labels:
    return Labels(
        **names,  # pyright: ignore[reportArgumentType]  (all of them are texts)
        secrets=(secret, *settings.extra_headers.values()),
        extra_parameters=frozenset(settings.extra_body),
        has_effort=settings.model_reasoning_effort is not None,
        has_output_limit=settings.model_max_output_tokens is not None,
    )


def _make_client(base_url: str, key: _Key, *, headers: Mapping[str, str], query: Mapping[str, str]) -> AsyncOpenAI:
    # Azure's gateways in front of `/openai/v1` look for the key in `api-key`, which the SDK sends only in its older
    # client: https://learn.microsoft.com/azure/api-management/api-management-authenticate-authorize-azure-openai
    is_of_azure = urlsplit(base_url).path.rstrip("/").endswith(("/openai/v1", "/models"))
    own = {"api-key": key} if is_of_azure and isinstance(key, str) else {}
    # The endpoint model retries by itself: there the chat sees it, and the deadline is known.
    return AsyncOpenAI(
        base_url=base_url,
        api_key=key,
        max_retries=0,
        timeout=_timeout(),
        http_client=_http_client(base_url),
        default_headers={**own, **headers},
        default_query=dict(query),
    )


def _make_azure_client(
    place: AzurePlace, key: _Key, *, deployment: str, headers: Mapping[str, str]
) -> AsyncAzureOpenAI:
    return AsyncAzureOpenAI(
        azure_endpoint=place.resource,
        azure_deployment=deployment,
        api_version=place.version,
        api_key=key if isinstance(key, str) else None,
        azure_ad_token_provider=None if isinstance(key, str) else key,
        max_retries=0,
        timeout=_timeout(),
        http_client=_http_client(place.resource),
        default_headers=dict(headers),
    )


def _timeout() -> httpx2.Timeout:
    # No limit on reading, nor on the request as a whole: patience and the turn's deadline set those.
    return httpx2.Timeout(None, connect=_CONNECT_TIMEOUT_S, write=_WRITE_TIMEOUT_S)


def _http_client(url: str) -> httpx2.AsyncClient | None:
    # A proxy that the environment names cannot reach servers on this machine.
    return DefaultAsyncHttpxClient(trust_env=False, verify=_trusted_roots()) if _is_loopback(url) else None


@functools.cache  # loading takes longer than an answer of such a server
def _trusted_roots() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_url(url: str, *, name: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise SettingsError(f"{name} is not a URL of the form https://host/path. Correct it.")
    return url.rstrip("/")


async def _open_entra_id(stack: AsyncExitStack, cloud: Cloud) -> Callable[[], Awaitable[str]]:
    """Return a function that fetches a token of the identity signed in to the cloud; `stack` closes the credential."""
    try:
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

        # In the public cloud azure-identity's own AZURE_AUTHORITY_HOST decides.
        authority = {"authority": cloud.authority} if cloud.authority else {}
        credential = await stack.enter_async_context(DefaultAzureCredential(**authority))
    except ImportError:
        raise SettingsError(
            "AZURE_OPENAI_API_KEY is not set, and signing in with Entra ID needs another package. Set the key, or run "
            "pip install 'toolbridge[azure]'."
        ) from None
    fetch = get_bearer_token_provider(credential, cloud.scope)

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
