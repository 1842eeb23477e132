"""The bearer token of the server over HTTP: read from a file, compared in constant time, never shown."""

import hmac
import json
import os
import stat
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

MIN_TOKEN_CHARS: Final = 16

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class TokenError(Exception):
    """The token cannot be used; the sentence says what to do and shows nothing of it."""


def read_token(file: Path) -> str:
    """Return the token in the file, without the white space around it.

    Raises:
        TokenError: The file cannot be read, others can read it, or the token is too short or cannot be a header.
    """
    try:
        with file.open("rb") as opened:
            is_shared = os.name != "nt" and bool(os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO))
            token = opened.read(4096).decode("ascii", "replace").strip()
    except OSError as error:
        raise TokenError(f"{file} cannot be read ({error.strerror}): write a long random token into it") from error
    if is_shared:
        raise TokenError(f"others can read {file}: run `chmod 600 {file}`, and use a new token where they may have")
    if len(token) < MIN_TOKEN_CHARS or not all("!" <= char <= "~" for char in token):
        raise TokenError(
            f"{file} must hold one token of at least {MIN_TOKEN_CHARS} letters, digits and signs, without spaces: "
            f"`openssl rand -hex 32 > {file}` makes one"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; of names only localhost, because others may lead anywhere."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class BearerGate:
    """An ASGI app that passes on only requests with the token; the others get 401 (RFC 6750, section 3)."""

    def __init__(self, app: _App, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        body = json.dumps({"error": "This server wants a bearer token (--token-file)."}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"www-authenticate", b'Bearer realm="toolbridge"'),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _is_allowed(self, scope: _Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)
