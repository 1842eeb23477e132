"""Secrets of published shapes, made of random characters when they are needed.

This file contains no secret, so no scanner takes it for a leak: each is put together from its parts.
`bot/text/secret_shapes.py` names the page that documents each format; the lines around a secret are as programs write
them.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

_ALNUM = string.ascii_letters + string.digits
_WORD = _ALNUM + "_-"
HEX = "0123456789abcdef"
BASE64 = _ALNUM + "+/"


class Leak(NamedTuple):
    """A line with a secret in it."""

    text: str
    secret: str


def some(rnd: random.Random, count: int, chars: str = _ALNUM) -> str:
    return "".join(rnd.choice(chars) for _ in range(count))


def _password(rnd: random.Random) -> str:
    return some(rnd, rnd.randint(8, 20), _ALNUM + "!#%^*_-+.") + rnd.choice(string.digits) + rnd.choice("aZqX")


def _key_block(rnd: random.Random, kind: str) -> str:
    lines = "\n".join(some(rnd, 64, BASE64) for _ in range(6))
    return f"-----BEGIN {kind}-----\n{lines}\n{some(rnd, 22, BASE64)}==\n-----END {kind}-----"


def _jwt(rnd: random.Random) -> str:
    part = base64.urlsafe_b64encode(json.dumps({"sub": some(rnd, 12), "iat": rnd.randrange(10**9)}).encode()).decode()
    return f"eyJ{some(rnd, 33, _WORD)}.{part.rstrip('=')}.{some(rnd, 43, _WORD)}"


def _plain(make: Callable[[random.Random], str], *frames: str) -> Callable[[random.Random], Leak]:
    """Return a maker of lines with such a secret, in one of these frames or in prose, code or a list."""

    def leak(rnd: random.Random) -> Leak:
        secret = make(rnd)
        return Leak(rnd.choice(frames or _FRAMES).replace("@", secret), secret)

    return leak


_FRAMES = (
    "The value is @, as you asked.",
    "```\nexport VALUE=@\n```",
    "- `@`",
    '{"value": "@", "ok": true}',
    "I found it in the file:\n\n    @\n\nDo you want the rest?",
    "value: @",
)
_NAMED_FRAMES = (
    "NAME=@",
    "NAME: @",
    'NAME = "@"',
    "export NAME='@'",
    '{"NAME": "@"}',
    "| NAME | `@` |",
    "**NAME:** `@`",
)


def _named(*names: str, make: Callable[[random.Random], str] = _password) -> Callable[[random.Random], Leak]:
    def leak(rnd: random.Random) -> Leak:
        secret = make(rnd)
        return Leak(rnd.choice(_NAMED_FRAMES).replace("NAME", rnd.choice(names)).replace("@", secret), secret)

    return leak


def _block(kind: str) -> Callable[[random.Random], Leak]:
    def leak(rnd: random.Random) -> Leak:
        block = _key_block(rnd, kind)
        secret = block.splitlines()[3]
        frames = ("@", "```\n@\n```", "The key:\n\n@\n\nKeep it.", "private_key: |\n@", 'KEY="@"')
        return Leak(rnd.choice(frames).replace("@", block), secret)

    return leak


def _service_account(rnd: random.Random) -> Leak:
    block = _key_block(rnd, "PRIVATE " + "KEY")
    fields = {"type": "service_account", "project_id": "demo", "private_key": block + "\n", "client_id": "1234"}
    return Leak(json.dumps(fields, indent=rnd.choice((None, 2))), block.splitlines()[2])


SHAPES: Mapping[str, Callable[[random.Random], Leak]] = {
    "azure AccountKey": _plain(
        lambda rnd: some(rnd, 86, BASE64) + "==",
        "DefaultEndpointsProtocol=https;AccountName=demo;AccountKey=@;EndpointSuffix=core.windows.net",
        "AccountKey=@",
        'az storage blob list --account-name demo --account-key "@"',
    ),
    "azure SAS": _plain(
        lambda rnd: some(rnd, 43).replace("a", "%2B") + "%3D",
        "https://demo.blob.core.windows.net/c/f.txt?sv=2022-11-02&sr=b&sp=r&se=2030-01-01&sig=@",
        "sr=x.servicebus.windows.net&sig=@&se=1700000000",
    ),
    "google AIza": _plain(lambda rnd: "AIza" + some(rnd, 35, _WORD)),
    "stripe": _plain(lambda rnd: rnd.choice(("sk_", "rk_")) + rnd.choice(("live_", "test_")) + some(rnd, 24)),
    "npm": _plain(lambda rnd: "npm_" + some(rnd, 36)),
    "hugging face": _plain(lambda rnd: "hf_" + some(rnd, 34)),
    "vault": _plain(lambda rnd: "hvs." + some(rnd, 90, _WORD)),
    "sendgrid": _plain(lambda rnd: "SG." + some(rnd, 22, _WORD) + "." + some(rnd, 43, _WORD)),
    "cookie": _plain(
        lambda rnd: some(rnd, 40),
        "Cookie: theme=dark; session=@",
        "Set-Cookie: sid=@; Path=/; HttpOnly; Secure",
        'curl -H "Cookie: session_id=@" https://example.org/',
    ),
    "slack webhook": _plain(
        lambda rnd: f"T{some(rnd, 8, string.ascii_uppercase)}/B{some(rnd, 8, string.ascii_uppercase)}/{some(rnd, 24)}",
        "https://hooks.slack.com/services/@",
    ),
    "discord webhook": _plain(
        lambda rnd: some(rnd, 68, _WORD), "https://discord.com/api/webhooks/123456789012345678/@"
    ),
    "DB_PASS=": _named("DB_PASS", "SMTP_PASS", "MYSQL_PWD"),
    "<password>": _plain(
        _password, "<password>@</password>", "<server><username>ci</username>\n<password>@</password></server>"
    ),
    "PGP": _block("PGP PRIVATE " + "KEY BLOCK"),
    "slack token": _plain(
        lambda rnd: f"xox{rnd.choice('bp')}-{rnd.randrange(10**11)}-{rnd.randrange(10**12)}-{some(rnd, 24)}"
    ),
    "github": _plain(lambda rnd: "gh" + rnd.choice("pousr") + "_" + some(rnd, 36)),
    "aws id": _plain(lambda rnd: "AKIA" + some(rnd, 16, string.ascii_uppercase + string.digits)),
    "jwt": _plain(_jwt),
    "aws secret": _named(
        "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", make=lambda rnd: some(rnd, 40, BASE64)
    ),
    "azure client secret": _plain(lambda rnd: f"{some(rnd, 3)}8Q~{some(rnd, 34, _WORD + '~.')}"),
    "google service account": _service_account,
    "pypi": _plain(lambda rnd: "pypi-AgEIcHlwaS5vcmc" + some(rnd, 120, _WORD)),
    "gitlab": _plain(lambda rnd: "glpat-" + some(rnd, 20, _WORD)),
    "openai": _plain(lambda rnd: "sk-proj-" + some(rnd, 48, _WORD)),
    "anthropic": _plain(lambda rnd: "sk-ant-api03-" + some(rnd, 93, _WORD)),
    "twilio": _plain(lambda rnd: "SK" + some(rnd, 32, HEX)),
    "discord token": _plain(lambda rnd: f"M{some(rnd, 25)}.{some(rnd, 6)}.{some(rnd, 38, _WORD)}"),
    "1password": _plain(lambda rnd: "ops_eyJ" + some(rnd, 200)),
    "databricks": _plain(lambda rnd: "dapi" + some(rnd, 32, HEX)),
    "digitalocean": _plain(lambda rnd: "dop_v1_" + some(rnd, 64, HEX)),
    "telegram": _plain(lambda rnd: f"{rnd.randrange(10**9, 10**10)}:AA{some(rnd, 33, _WORD)}"),
    "pem": _block("RSA PRIVATE " + "KEY"),
    "openssh": _block("OPENSSH PRIVATE " + "KEY"),
    "authorization": _plain(
        lambda rnd: some(rnd, 40) + "==",
        "Authorization: Bearer @",
        "Authorization: Basic @",
        'curl -H "Authorization: token @"',
    ),
    "url password": _plain(
        _password,
        "postgresql://app:@@@db.example.org:5432/app".replace("@@@", "@\x00"),
        "redis://:@\x00cache.example.org/0",
    ),
    "connection string": _plain(
        _password,
        "Server=db;Database=app;User Id=app;Password=@;Encrypt=true",
        "host=db user=app password=@ dbname=app",
    ),
    "*_PASSWORD": _named("POSTGRES_PASSWORD", "spring.datasource.password", "redis_password"),
    "*_SECRET": _named("CLIENT_SECRET", "JWT_SECRET", "app.secret"),
    "*_TOKEN": _named("SLACK_TOKEN", "GRAFANA_TOKEN", "auth_token"),
    "api key": _named("api_key", "X-Api-Key", "OPENWEATHER_API_KEY", make=lambda rnd: some(rnd, 32, HEX)),
    "json password": _plain(_password, '{"user": "ci", "password": "@"}', '{\\"password\\": \\"@\\"}'),
    "yaml password": _plain(_password, "database:\n  user: app\n  password: @\n  port: 5432", "password: '@'"),
    "in words": _plain(_password, "The password is `@`.", "Password: @", "Its new password is now: **@**"),
    "command line": _plain(
        _password, "mysql --user=app --password @ app", "tool login --token @ --yes", "curl -u ci:@ https://example.org"
    ),
}


def leaks(shape: str, count: int, *, seed: int) -> Iterator[Leak]:
    """Yield lines with secrets of that shape; the same ones for the same seed."""
    rnd = random.Random(f"{seed} {shape}")
    for _ in range(count):
        text, secret = SHAPES[shape](rnd)
        yield Leak(text.replace("\x00", "@"), secret)
