"""Removes secrets from the text of tool calls that people and logs see."""

from __future__ import annotations

import re

HIDDEN = "[hidden]"

# No pattern can begin again within what it has read, so results of any length take linear time. The set of first
# characters at the front makes that four times as fast.
_SHAPES = re.compile(
    r"""
    (?=[AMNOegsx-])
    (?:
      xox[a-z]-[\w-]{8,} | xapp-[\w-]{8,}                          # Slack
    | [MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}                     # Discord
    | \bsk-[\w-]{16,}                                              # OpenAI and look-alikes
    | \bgh[pousr]_\w{20,} | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}                                  # AWS key ids
    | (?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+                   # JSON web tokens
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    )
    """,
    re.VERBOSE,
)
# In ordinary text words follow "basic" and "bearer"; a token has a digit or padding in it.
_BEARER = re.compile(r"\b(bearer|basic)\s+(?=[\w.~+/-]*[\d=])[\w.~+/=-]{8,}", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@/]+(@)")
# "password": "..." in JSON (also inside a JSON string), password=... elsewhere
_NAMED = re.compile(
    r"""
    (
      (?=[acpst])
      (?: passw(?:or)?d | passphrase | authorization | credential | secret
        | (?: api | access | private | secret )[ _-]?key
        | token(?!s\W{1,6}\d+\b)                                  # "max_tokens": 100 is no secret
      )s?
      \\?["']?[^\S\n]*[:=][^\S\n]*
    )
    (
      "(?:[^"\\]|\\[\s\S])*(?:"|\Z) | \\"[^"]*" | '[^'\n]*'
      | \[[^\]]*(?:\]|\Z) | \{[^}]*(?:\}|\Z)
      | (?: (?:basic|bearer|digest|token)[ ]+ )? (?: \[hidden\] | [^\s,;&}\]] )+
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return the text with everything that looks like a secret replaced: known tokens, and values named as secrets."""
    text = _SHAPES.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _URL_PASSWORD.sub(rf"\1{HIDDEN}\2", text)
    return _NAMED.sub(_hide_value, text)


def _hide_value(match: re.Match[str]) -> str:
    name, value = match.groups()
    quote = value[0] if value[:1] in "\"'" else ""
    return f"{name}{quote}{HIDDEN}{quote}"
