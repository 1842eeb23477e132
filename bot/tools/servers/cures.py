"""What an operator can do about a tool server that cannot be reached: each failure has its own cure."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx2
from mcp import MCPError
from pydantic import ValidationError

from bot.tools.config import Endpoint, StdioEndpoint
from bot.tools.servers.errors import root_cause
from bot.tools.servers.faults import cure_of, words_of

_SIGN_IN = "The server wants a sign-in: put its token into `headers` (Authorization) of its entry in mcp.json."
_NO_MCP = "Check the path of the URL: it is often /mcp, and /sse for the legacy transport (type: sse)."
_BY_STATUS = {
    400: "The server does not understand the request: check that the URL is that of its MCP endpoint.",
    401: _SIGN_IN,
    403: "The server knows who asks and refuses: check the rights of the token in `headers`, or its allowed hosts.",
    404: _NO_MCP,
    405: _NO_MCP,
    406: _NO_MCP,
    407: "A proxy wants a sign-in: put user and password into HTTPS_PROXY.",
    421: "The server takes no request for this host name: use the name that it allows, or allow this one there.",
    429: "The server asks for a pause: it is tried again later.",
}
_SERVER_FAULT = "The fault is at the server: look into its log, or ask its operator."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a connection failed, as a phrase that may still hold secrets of the endpoint, and what to do about it."""

    reason: str
    cure: str = ""


def http_cure(status: int, headers: Mapping[str, str]) -> str:
    """Return what to do about an answer with this status that is no MCP."""
    if status == 401 and "resource_metadata" in headers.get("www-authenticate", ""):
        # https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization
        return "The server wants a sign-in by OAuth, which is not supported yet: use a token in `headers`."
    if status >= 500:
        return _SERVER_FAULT
    return _BY_STATUS.get(status, _NO_MCP)


def network_trouble(error: httpx2.RequestError) -> tuple[str, str]:
    """Return why there was no answer, as a phrase, and the cure."""
    cause = next((each for each in _causes(error) if isinstance(each, ssl.SSLError)), None)
    if cause is not None or "SSL" in str(error):
        return _tls_trouble(cause, str(error))
    if isinstance(error, httpx2.ConnectTimeout):
        return "no connection (nothing answers at that address)", "Check host and port of the URL, and the network."
    if isinstance(error, httpx2.ConnectError):
        said = f"no connection ({error})" if str(error) else "no connection"
        if "name" in str(error).lower() or "nodename" in str(error).lower():
            return said, "Check the host name of the URL."
        return said, "Start that server, or correct host and port of its URL."
    return f"the connection broke ({type(error).__name__})", "Check that the URL is that of an MCP server over HTTP."


def ended(endpoint: Endpoint, *, has_ended: bool) -> Trouble:
    """Return what a connection that ended without an error means."""
    if not has_ended:
        return Trouble(reason="the connection broke")
    if isinstance(endpoint, StdioEndpoint):
        return Trouble(reason="its process ended", cure="Run its command by hand, and correct what it complains about.")
    return Trouble(reason="its stream of events ended", cure=_SERVER_FAULT)


def trouble_of(error: BaseException, *, endpoint: Endpoint) -> Trouble:
    """Return why a connection failed."""
    match root_cause(error):
        case TimeoutError():
            where = "its error output" if isinstance(endpoint, StdioEndpoint) else "its URL"
            cure = f"Check {where}; if it only needs more time, raise connect_timeout_s of its entry in mcp.json."
            return Trouble(reason="it did not answer in time", cure=cure)
        case OSError() as cause:
            return Trouble(
                reason=f"its command cannot be started ({cause.strerror}): correct command or cwd, or install it",
                cure="Correct command or cwd of its entry in mcp.json, or install the program.",
            )
        case MCPError() as cause:
            return Trouble(reason=words_of(cause), cure=cure_of(cause))
        case ValidationError():
            return Trouble(reason="it does not keep to the protocol", cure="Update the server, or report it there.")
        case cause:
            return Trouble(reason=f"it could not be spoken to ({type(cause).__name__})")


def _tls_trouble(cause: ssl.SSLError | None, said: str) -> tuple[str, str]:
    text = f"{cause} {said}".lower()
    if "wrong_version_number" in text or "record layer" in text:
        return "no TLS at that port", "Write http:// if the server speaks plain HTTP, or correct the port."
    if "hostname" in text or "ip address mismatch" in text:
        return "its TLS certificate is for another host name", "Use the host name that the certificate names."
    if "expired" in text:
        return "its TLS certificate has expired", "Renew the certificate of that server."
    if "verify" in text:
        return "its TLS certificate is not trusted", "Set SSL_CERT_FILE to a file with the authority that signed it."
    return "the TLS handshake failed", "Check that the URL's port speaks TLS, and the proxy in between."


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
