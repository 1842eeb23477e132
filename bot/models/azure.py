"""Azure's addresses: hosts, clouds and forms in which people paste them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from bot.domain.errors import SettingsError

# Hosts of resources in Azure, Azure Government and Azure in China: Azure OpenAI, AI services and Foundry.
# https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure#ai--machine-learning
# https://learn.microsoft.com/azure/china/resources-developer-guide
HOSTS = tuple(
    f".{service}.azure.{cloud}"
    for cloud in ("com", "us", "cn")
    for service in ("openai", "cognitiveservices", "services.ai")
)
# API versions of `/openai/v1/`, which needs none: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
_V1_VERSIONS = frozenset({"v1", "preview", "latest"})
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)")
# What follows the part that counts: an operation, or a project of Foundry.
_OPERATION = re.compile(r"/(?:chat/completions|completions|responses|embeddings|models)?/?$")
_PROJECT = re.compile(r"/api/projects/[^/]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Where a cloud's identities sign in, and what their tokens are for."""

    scope: str
    authority: str = ""  # empty: the default


_PUBLIC = Cloud(scope="https://cognitiveservices.azure.com/.default")
_CLOUDS = {
    "us": Cloud(scope="https://cognitiveservices.azure.us/.default", authority="login.microsoftonline.us"),
    "cn": Cloud(scope="https://cognitiveservices.azure.cn/.default", authority="login.chinacloudapi.cn"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AzurePlace:
    """An address of Azure. Without `version` it is of `/openai/v1/`, or, where `is_foundry_models`, of `/models`."""

    resource: str  # the URL without any of the paths
    version: str | None
    is_foundry_models: bool = False

    @property
    def base_url(self) -> str:
        """The URL in front of `/chat/completions`; not for an address with deployments in it."""
        return f"{self.resource}/models" if self.is_foundry_models else f"{self.resource}/openai/v1/"

    @property
    def has_deployments(self) -> bool:
        """Whether the deployment is part of the path: the older, versioned API."""
        return self.version is not None and not self.is_foundry_models and self.version not in _V1_VERSIONS

    @property
    def query(self) -> dict[str, str]:
        """What every request has to carry in its query."""
        if self.is_foundry_models:
            return {"api-version": self.version or "2024-05-01-preview"}
        return {"api-version": self.version} if self.version in ("preview", "latest") else {}


def read_place(endpoint: str, *, version: str | None, deployment: str) -> AzurePlace:
    """Return the address that an endpoint setting means: a resource, one of its paths, or a whole URL with its query.

    `version` wins over the one in the URL.

    Raises:
        SettingsError: The URL names another deployment than the setting.
    """
    parts = urlsplit(endpoint)
    named = _DEPLOYMENT.search(parts.path)
    if named and deployment and named[1] != deployment:
        raise SettingsError(
            f"AZURE_OPENAI_ENDPOINT names the deployment {named[1]}, AZURE_OPENAI_DEPLOYMENT the deployment "
            f"{deployment}. Set AZURE_OPENAI_ENDPOINT to https://{parts.hostname} alone."
        )
    is_foundry_models = re.search(r"(?<!/openai)(?<!/v1)/models(?:/|$)", parts.path) is not None
    path = _PROJECT.sub("", parts.path.partition("/models")[0] if is_foundry_models else parts.path)
    path = re.sub(r"/openai(?:/.*)?$", "", _OPERATION.sub("", path)).rstrip("/")
    versions = parse_qs(parts.query).get("api-version", [])
    return AzurePlace(
        resource=f"{parts.scheme}://{parts.netloc}{path.removesuffix('/v1')}",
        version=version or (versions[0] if versions else None),
        is_foundry_models=is_foundry_models,
    )


def is_azure(host: str) -> bool:
    """Return whether the host is a resource of Azure, in any of its clouds."""
    return host.lower().endswith(HOSTS)


def cloud_of(host: str) -> Cloud:
    """Return the cloud of a host; the public one for a host that is not Azure's (a gateway in front of it)."""
    return _CLOUDS.get(host.lower().rpartition(".azure.")[2], _PUBLIC)
