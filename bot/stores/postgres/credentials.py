"""Tokens of Entra ID as passwords of PostgreSQL (DATABASE_AUTH=entra).

https://learn.microsoft.com/azure/postgresql/flexible-server/security-entra-configure: the role is the identity's name,
the password is a token for the resource of Azure's open-source databases.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from bot.domain.errors import SettingsError, StoreError

Passwords = Callable[[], str]

# What tokens are for, and where the identities of a cloud sign in. The resources are those that `az cloud show --query
# endpoints.ossrdbmsResourceId` prints. In the public cloud azure-identity's own AZURE_AUTHORITY_HOST decides.
_PUBLIC = ("https://ossrdbms-aad.database.windows.net/.default", "")
_CLOUDS = {
    ".usgovcloudapi.net": ("https://ossrdbms-aad.database.usgovcloudapi.net/.default", "login.microsoftonline.us"),
    ".chinacloudapi.cn": ("https://ossrdbms-aad.database.chinacloudapi.cn/.default", "login.chinacloudapi.cn"),
}


@contextmanager
def entra_passwords(host: str) -> Generator[Passwords]:
    """Yield a function that returns the password of a new connection to the host; it may block, so no loop calls it.

    A token is used again until five minutes before it expires; connections that are open outlive theirs. The function
    raises StoreError where the identity gets no token.

    Raises:
        SettingsError: The package for it is missing.
    """
    scope, authority = next((cloud for suffix, cloud in _CLOUDS.items() if host.endswith(suffix)), _PUBLIC)
    try:
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity import DefaultAzureCredential, get_bearer_token_provider
    except ImportError:
        raise SettingsError(
            "DATABASE_AUTH=entra needs another package. Run pip install 'toolbridge[azure]', or set "
            "DATABASE_AUTH=password."
        ) from None
    one_at_a_time = threading.Lock()

    with DefaultAzureCredential(**({"authority": authority} if authority else {})) as credential:
        fetch = get_bearer_token_provider(credential, scope)

        def password() -> str:
            try:
                with one_at_a_time:
                    return fetch()
            except ClientAuthenticationError as error:
                raise StoreError(
                    "Entra ID gave no token for the database. Sign in with `az login`, give the machine a managed "
                    "identity, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET."
                ) from error
            except AzureError as error:
                raise StoreError(
                    f"Entra ID could not be reached for a token of the database ({type(error).__name__}). "
                    f"Check the network, and try again."
                ) from error

        yield password
