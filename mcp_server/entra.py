"""Tokens of Entra ID as passwords of Azure Database for PostgreSQL.

https://learn.microsoft.com/azure/postgresql/flexible-server/security-entra-configure
"""

from collections.abc import Callable
from typing import Final

from psycopg.conninfo import conninfo_to_dict

from mcp_server.connection import LoginError

# What tokens are for, and where the identities of a cloud sign in. The resources are those that `az cloud show --query
# endpoints.ossrdbmsResourceId` prints. In the public cloud azure-identity's own AZURE_AUTHORITY_HOST decides.
_PUBLIC: Final = ("https://ossrdbms-aad.database.windows.net/.default", "")
_CLOUDS: Final = {
    ".usgovcloudapi.net": ("https://ossrdbms-aad.database.usgovcloudapi.net/.default", "login.microsoftonline.us"),
    ".chinacloudapi.cn": ("https://ossrdbms-aad.database.chinacloudapi.cn/.default", "login.chinacloudapi.cn"),
}


def entra_passwords(url: str) -> Callable[[], str]:
    """Return a function that gives the password of a new connection to the URL's host.

    The function blocks, and raises LoginError where the identity gets no token.

    Raises:
        LoginError: The package for it is missing.
    """
    try:
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential, get_bearer_token_provider
    except ImportError:
        raise LoginError("tokens of Entra ID need another package: pip install 'toolbridge[azure]'") from None
    host = str(conninfo_to_dict(url).get("host") or "")
    scope, authority = next((cloud for suffix, cloud in _CLOUDS.items() if host.endswith(suffix)), _PUBLIC)
    credential = DefaultAzureCredential(**({"authority": authority} if authority else {}))
    fetch = get_bearer_token_provider(credential, scope)

    def password() -> str:
        try:
            return fetch()
        except AzureError as error:
            raise LoginError(f"Entra ID gave no token for the database ({type(error).__name__})") from None

    return password
