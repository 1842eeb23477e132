"""Whether a server's form asks for a secret: those are never asked for in a chat.

https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation: servers must not use forms for passwords,
keys, tokens and payment credentials; for these there are links.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from bot.forms.schemas import Property, read_schema
from bot.text.words import words

_SECRETS = frozenset(
    {"password", "passwords", "passwd", "passphrase", "passcode", "passwort", "kennwort", "pwd", "secret", "secrets"}
    | {"credential", "credentials", "apikey", "apitoken", "cvv", "cvc", "otp", "totp", "pin", "mnemonic"}
)
_TOKENS = frozenset({"token", "tokens"})
_COUNTED = frozenset({"max", "min", "count", "limit", "budget", "number", "total", "per", "used"})  # beside "tokens"
_PAIRS = frozenset(
    {(kind, noun) for kind in ("api", "access", "private", "secret", "signing", "encryption", "ssh", "master")
     for noun in ("key", "keys")}
    | {(kind, "code") for kind in ("security", "verification", "authentication", "recovery", "time", "backup", "pin")}
    | {("card", "number"), ("recovery", "phrase"), ("seed", "phrase"), ("pass", "word")}
)  # fmt: skip
_MAX_CHARS = 2_000  # of a text that is looked at


def asks_for_secret(message: str, schema: object) -> bool:
    """Return whether the form asks people to write what looks like a secret, by the words that describe it."""
    written = [prop for prop in read_schema(schema).properties.values() if _is_written(prop)]
    return any(_names_secret(text) for prop in written for text in _texts(prop)) or (
        bool(written) and _names_secret(message)
    )


def _is_written(prop: Property) -> bool:
    return prop.kind in ("string", "integer", "number", "json")


def _texts(prop: Property) -> Iterator[str]:
    yield from (prop.name, prop.title, prop.description)


def _names_secret(text: str) -> bool:
    found = words(text[:_MAX_CHARS])
    if _SECRETS.intersection(found) or _PAIRS.intersection(pairwise(found)):
        return True
    return bool(_TOKENS.intersection(found)) and not _COUNTED.intersection(found)
