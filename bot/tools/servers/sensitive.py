"""Whether a server's form asks for a secret: those are never asked for in a chat.

https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation: servers must not use forms for passwords,
keys, tokens and payment credentials; for these there are links.
"""

from __future__ import annotations

import re
from itertools import pairwise, product

from bot.forms.schemas import Property, read_schema
from bot.text.words import words

_SECRETS = frozenset(
    {"password", "passwords", "passwd", "passphrase", "passcode", "passwort", "kennwort", "wachtwoord", "senha", "pwd"}
    | {"secret", "secrets", "credential", "credentials", "apikey", "apitoken", "cvv", "cvc", "otp", "totp", "mnemonic"}
    | {"pin", "pins"}
)
_PAIRS = frozenset(
    {*product(("api", "access", "private", "secret", "signing", "encryption", "ssh", "master"), ("key", "keys"))}
    | {*product(("security", "verification", "authentication", "recovery", "backup", "time"), ("code", "codes"))}
    | {("card", "number"), ("security", "number"), ("recovery", "phrase"), ("seed", "phrase"), ("pass", "word")}
)
_TOKENS = frozenset({"token", "tokens"})
_COUNTED = frozenset({"max", "min", "maximum", "minimum", "count", "limit", "budget", "number", "total", "per", "of"})
_ELSEWHERE = ("contraseña", "mot de passe", "пароль", "密码", "密碼", "パスワード", "暗証番号", "비밀번호", "hasło")
_DENIALS = frozenset({"not", "never", "don", "without", "nicht", "keine", "kein", "nie"})  # "don" is of "don't"
_CLAUSE_END = re.compile(r"[.!?;()\n]")
_MAX_CHARS = 2_000  # of a text that is looked at


def asks_for_secret(message: str, schema: object) -> bool:
    """Return whether people are to write what looks like a secret, by the words that describe the form's fields.

    What can only be chosen is none. The message counts as well, where there is something to write.
    """
    written = [prop for prop in read_schema(schema).properties.values() if _is_written(prop)]
    return (bool(written) and _speaks_of_secret(message)) or any(map(_describes_secret, written))


def _is_written(prop: Property) -> bool:
    return prop.kind in ("string", "integer", "number", "json")


def _describes_secret(prop: Property) -> bool:
    return any(map(_names_secret, (prop.name, prop.title))) or _speaks_of_secret(prop.description)


def _speaks_of_secret(text: str) -> bool:
    """Return the same of sentences, in which a secret may be named to say that it is not wanted."""
    return any(_names_secret(clause) for clause in _CLAUSE_END.split(text[:_MAX_CHARS]) if not _denies(clause))


def _denies(clause: str) -> bool:
    return bool(_DENIALS.intersection(words(clause)))


def _names_secret(text: str) -> bool:
    looked_at = text[:_MAX_CHARS]
    found = words(looked_at)
    neighbours = list(pairwise(found))
    if _SECRETS.intersection(found) or _PAIRS.intersection(neighbours) or _is_secret_elsewhere(looked_at):
        return True
    is_counted = any(_TOKENS.intersection(pair) and _COUNTED.intersection(pair) for pair in neighbours)
    return bool(_TOKENS.intersection(found)) and not is_counted  # "max_tokens" is no secret


def _is_secret_elsewhere(text: str) -> bool:
    folded = text.casefold()
    return any(word in folded for word in _ELSEWHERE)
