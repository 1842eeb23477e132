"""Values that are secrets by the name in front of them, and whether such a value is one or only looks like it."""

from __future__ import annotations

import re

# --- the grammar: patterns over UTF-8, case-insensitive --------------------------------------------------------

_KEYS = r"(?:api|access|private|secret|account|signing|encryption|master|storage|subscription|auth)"
_HARD = rf"(?:passw(?:or)?[dt]|passphrase|passcode|authorization|credential|secret|{_KEYS}[ _-]?key|token|cookie)s?"
_SOFT = r"(?:[_-]pass|(?:\b|_)pwd)"  # other things are called that too
_MORE = r"(?:_(?:base|value|prod|live|test|dev|staging|b64|base64|v?\d{1,2}))?"
_QUOTES = r"""\\{0,3}["'*_`]{0,3}"""
_SIGN = r"[ \t]{0,8}(?::=|=>|[:=])[ \t]{0,8}"
_MARKS = r"[*_]{0,3}[ \t]{0,4}"  # Markdown: **Password:** x

_DOUBLE = r'"(?:[^"\\\n]|\\[^\n])*'
_ESCAPED = r'\\{1,3}"[^"\\\n]*'
_SINGLE = r"'[^'\n]*"
_TICKED = r"`[^`\n]*"
_LIST = r"\[(?:[^\]\n]|\n[^\n\]])*"
_OBJECT = r"\{(?:[^}\n]|\n[^\n}])*"
_WORD = r"(?:\[hidden\]|[^\s,;&}\]])"
_SCHEME = r"(?:basic|bearer|token|apikey)[ ]{1,4}"
_FIELDS = r"(?:digest|negotiate|ntlm|hmac|aws4-hmac-sha256|sharedaccesssignature|signature)[ ][^\n\"'`]*"
_VALUE = (
    rf'{_DOUBLE}"?|{_ESCAPED}(?:\\{{1,3}}")?|{_SINGLE}\'?|{_TICKED}`?|\[hidden\]{_WORD}*|{_LIST}\]?{_WORD}*|{_OBJECT}\}}?{_WORD}*'
    rf"|{_FIELDS}|(?:{_SCHEME})?{_WORD}+"
)

# Each is what stays readable, and the value behind it.
NAMED = rf"{_HARD}{_MORE}{_QUOTES}{_SIGN}{_MARKS}", _VALUE
# Here a value counts only where it looks like a secret: in a table, after "is", as an option of a command.
HINTED = (
    rf"{_SOFT}{_MORE}{_QUOTES}{_SIGN}{_MARKS}"
    rf"|(?:{_HARD}|{_SOFT}){_MORE}{_QUOTES}[ \t]{{0,40}}\|[ \t]{{0,40}}"
    rf"|{_HARD}{_MORE}{_QUOTES}[ ](?:is|was)(?:[ ]now)?:?[ ]{_MARKS}"
    rf"|--[a-z0-9-]{{0,40}}(?:{_HARD}|pass)[ \t]{{1,4}}(?:(?::=|=>|[:=|]|is)[ \t]{{1,4}})?"
    rf"|(?:\B-u|--user)[ =]{{1,3}}[\"']?[^\s:\"'/\[]{{1,80}}:",
    _VALUE,
)
_CRUMB = r"[\w!#$%&*+.^|~-]"  # of a cookie's name
COOKIE = (
    r"(?:set-)?cookie[\"'*`]{0,3}[ \t]{0,8}:[ \t]{0,8}[*`]{0,3}",
    rf"\[hidden\]|{_CRUMB}{{1,100}}=[^\s;\"'`]*(?:;[ ]?{_CRUMB}+(?:=[^;\"'`\n]*)?)*",
)
_CONTENT = r"\s*[^<\s]+(?:\s+[^<\s]+){0,60}"  # words, or lines of base64: more of them are a text and no secret
ELEMENT = rf"<[\w:.-]{{0,40}}(?:{_HARD}|pwd)[\w.-]{{0,20}}(?:\s[^<>]{{0,200}})?>", _CONTENT
BEARER = r"\b(?:bearer|basic)\s{1,8}", r"[\w.~+/=-]{8,}"
URL = r"://[^\s:/@]{0,100}:", r"[^\s@/]{1,200}@"

_TAIL = r"[!-~\x80-\xff]*"
_OPEN = (
    rf"(?:{_DOUBLE}\\?|{_ESCAPED}\\{{0,3}}|{_SINGLE}|{_TICKED}|{_LIST}\n?|{_OBJECT}\n?|{_FIELDS}|(?:{_SCHEME})?{_TAIL})"
)
# How what may still grow begins; and what it is from there on, if it reaches the end of the text.
HEADS = rf"{_HARD}|{_SOFT}|{_KEYS}[ ]|cookie|--[a-z]|\B-u|<\w|\b(?:bearer|basic)\s"
GROWING = "|".join(
    (
        rf"{_HARD}{_MORE}{_QUOTES}[ \t]{{0,8}}(?:(?::=?|=>?)[ \t]{{0,8}}{_MARKS}{_OPEN})?",
        rf"{_SOFT}{_MORE}{_QUOTES}[ \t]{{0,8}}(?:(?::=?|=>?)[ \t]{{0,8}}{_MARKS}{_OPEN})?",
        rf"(?:{_HARD}|{_SOFT}){_MORE}{_QUOTES}[ \t]{{0,40}}(?:\|[ \t]{{0,40}}{_OPEN})?",
        rf"{_HARD}{_MORE}{_QUOTES}[ ](?:i|is|w|wa|was)?",
        rf"{_HARD}{_MORE}{_QUOTES}[ ](?:is|was)(?:[ ](?:n|no|now))?:?(?:[ ]{_MARKS}{_OPEN})?",
        rf"--[a-z0-9-]{{0,40}}(?:{_HARD}|pass)[ \t]{{1,4}}(?:(?::=|=>|[:=|]|is)[ \t]{{1,4}})?{_OPEN}",
        rf"(?:\B-u|--user)[ =]{{1,3}}[\"']?(?:[^\s:\"'/\[]{{1,80}}:{_OPEN}|{_TAIL})",
        rf"{_KEYS}[ ]{_TAIL}",
        rf"cookie[\"'*`]{{0,3}}[ \t]{{0,8}}(?::[ \t]{{0,8}}[*`]{{0,3}}{_CRUMB}{{0,100}}(?:=[^\n\"'`]*)?)?",
        rf"<[\w:.-]{{0,40}}(?:{_HARD}|pwd)[\w.-]{{0,20}}(?:\s[^<>]{{0,200}})?(?:>(?:{_CONTENT})?\s*)?",
        rf"\b(?:bearer|basic)\s{{1,8}}{_TAIL}",
    )
)

# --- what is no secret -----------------------------------------------------------------------------------------

_COUNT = re.compile(r"[\W_]*\d{1,9}(?:\.\d+)?[km]?", re.IGNORECASE)
# What documentation, schemas and code have in the place of a secret.
_STAND_IN = re.compile(
    r"""
    [<{\[].* | \$(?:\w+|\{.*|\(.*) | %(?:\w|\(.*|\w+%)? | .*(?:\.\.\.|…|\*\*\*|•••|<[^>]*>|\{\{|\$\{).* | (.)\1*
    | .*(?:your|example|placeholder|redacted|hidden|replace|change[-_]?me|dummy|sample|insert|todo).* | x{3,}.*
    | (?:my|the|a|an|some|new|old|db|user|test|api|auth|access|current|raw|plain|hashed?|encrypted)?[ _-]?
      (?:passw(?:or)?[dt]|pass|pwd|passphrase|secret|token|key|credential|cookie)s?
      [ _-]?(?:here|value|name|id|hash|type|\d)?
    | null|none|nil|undefined|true|false|yes|no|on|off|empty|unset|missing|required|optional|default|unknown|n/?a|tbd
    | str(?:ing)?|text|int(?:eger)?|bool(?:ean)?|bytes?|object|array|number|any|secretstr|varchar(?:\(\d+\))?
    | bearer|basic|digest|jwt|oauth2?|base64(?:url)?|sha-?\d+|md5|hs\d+|rs\d+|es\d+|aes-?\d+|ed25519|x509|utf-?8
    | rsa-?\d*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_CALL = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*)*[(\[{].*", re.DOTALL)
_PART = r"[A-Za-z_$]+\d{0,2}(?:_[A-Za-z]+\d{0,2})*"  # an identifier as people write it: digits come last
_NAME = re.compile(
    rf"{_PART}(?:(?:\.|::|->|\?\.){_PART})*\.?|[\w$]+(?:\.[\w$]+)*(?:\.|::|->)(?:[a-z]+(?:[A-Z][a-z]+)*|[a-z_]+)"
)
_CONSTANT = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_PATH = re.compile(
    r"(?:~|\.{1,2})?/[\w.@-]+(?:/[\w.@{}-]*)+|[\w+.-]+://.*|(?:[\w.-]+/){1,6}[\w.-]+\.\w{1,5}", re.DOTALL
)
_WORDS = re.compile(r"[^\W\d]+(?:['\u2019/-][^\W\d]+)*|[a-z]+\d{1,3}(?:-[a-z]+)+")
_RANDOM = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+/=]{32,}")
_SCHEMES = re.compile(r"(?:basic|bearer|token|apikey|digest) +", re.IGNORECASE)
_ASSIGNED = re.compile(rb"(?:PASS(?:WORD|WD|PHRASE)?|PWD|SECRETS?|TOKENS?|KEYS?|CREDENTIALS?)(?:_[A-Z0-9]+)?=$")
# Markup and punctuation that follow a value without a space; a value that is not ASCII itself keeps them.
_FOLLOWS = re.compile(
    r"(?<=[!-~])(?:</|<br\b|[\u3001\u3002\uff0c\uff1b\uff01\uff1f\uff09\u3011\u300d\u300f\u300b\u00a0\u3000])"
)
_QUOTES_OF_VALUES = ('"', "'", "`", '\\"', '\\\\"')
_LEAST_CHARS = 4
_LOOKED_AT = 400  # characters of a value: what is longer is no word of an answer


def is_count(name: bytes, value: bytes) -> bool:
    """Return whether it is a number of tokens, as in `"max_tokens": 100`."""
    return b"tokens" in name.lower() and bool(_COUNT.fullmatch(_text(value).strip("\"'")))


def is_likely(name: bytes, value: bytes) -> bool:
    """Return whether a named value in prose or code looks like a secret, and not like words, code or a stand-in."""
    text = _FOLLOWS.split(_text(value[:_LOOKED_AT]), maxsplit=1)[0]
    bare = text.strip("\"'`\\*_ \t")
    bare = _SCHEMES.sub("", bare, count=1)
    plain = bare.strip("\"'`\\*_.,:!?) \t")
    if len(plain) < _LEAST_CHARS or _STAND_IN.fullmatch(plain) or _STAND_IN.fullmatch(bare):
        return False
    if text.startswith(("[", "{")):
        return bool(re.search(r"[\"'][^\"'\s]*\d[^\"'\s]*[\"']", text))
    if text.startswith(_QUOTES_OF_VALUES):
        return _is_likely_quoted(plain, is_closed=text[-1:] in "\"'`")
    if _ASSIGNED.search(name):
        return not (_CONSTANT.fullmatch(plain) or _is_path(plain))
    return _is_likely_word(plain, name)


def _is_likely_quoted(plain: str, *, is_closed: bool) -> bool:
    if _is_path(plain) or _CONSTANT.fullmatch(plain):
        return False
    if not any(char.isspace() for char in plain):
        return True
    return is_closed and any(map(str.isdigit, plain)) and len(plain.split()) < 6


def _is_likely_word(plain: str, name: bytes) -> bool:
    if _WORDS.fullmatch(plain) or _CONSTANT.fullmatch(plain) or _is_path(plain):
        return False
    if any(ord(char) > 0x7F for char in plain) and len(plain) > 40:  # a sentence of a script without spaces
        return False
    if _COUNT.fullmatch(plain):
        return b"pass" in name.lower()
    if plain.isalnum() and b"pass" in name.lower():  # hunter2: the name of a variable seldom has a digit
        return True
    return not (_CALL.fullmatch(plain) or _NAME.fullmatch(plain))


def _is_path(plain: str) -> bool:
    return bool(_PATH.fullmatch(plain)) and not _RANDOM.fullmatch(plain)


def is_placeholder(value: bytes) -> bool:
    """Return whether documentation has this in the place of a password, as in `user:password@host`."""
    return bool(_STAND_IN.fullmatch(_text(value[:_LOOKED_AT])))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
