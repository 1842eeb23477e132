"""Secrets of published shapes, made of random characters when they are needed, and ordinary answers without any.

No secret stands in this file, so no scanner takes it for a leak: each is put together from its parts. The formats are
those of `bot/text/secret_shapes.py`, where the page that states each is named, and of the programs that write the
lines around them.
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

_ALNUM = string.ascii_letters + string.digits
_WORD = _ALNUM + "_-"
_HEX = "0123456789abcdef"
_BASE64 = _ALNUM + "+/"


class Leak(NamedTuple):
    """A line with a secret in it."""

    text: str
    secret: str


def _some(rnd: random.Random, count: int, chars: str = _ALNUM) -> str:
    return "".join(rnd.choice(chars) for _ in range(count))


def _password(rnd: random.Random) -> str:
    return _some(rnd, rnd.randint(8, 20), _ALNUM + "!#%^*_-+.") + rnd.choice(string.digits) + rnd.choice("aZqX")


def _key_block(rnd: random.Random, kind: str) -> str:
    lines = "\n".join(_some(rnd, 64, _BASE64) for _ in range(6))
    return f"-----BEGIN {kind}-----\n{lines}\n{_some(rnd, 22, _BASE64)}==\n-----END {kind}-----"


def _jwt(rnd: random.Random) -> str:
    part = base64.urlsafe_b64encode(json.dumps({"sub": _some(rnd, 12), "iat": rnd.randrange(10**9)}).encode()).decode()
    return f"eyJ{_some(rnd, 33, _WORD)}.{part.rstrip('=')}.{_some(rnd, 43, _WORD)}"


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
_NAMED_FRAMES = ("NAME=@", "NAME: @", 'NAME = "@"', "export NAME='@'", '{"NAME": "@"}', "| NAME | `@` |", "**NAME:** `@`")


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


# The 18 of the audit first, then others.
SHAPES: Mapping[str, Callable[[random.Random], Leak]] = {
    "azure AccountKey": _plain(
        lambda rnd: _some(rnd, 86, _BASE64) + "==",
        "DefaultEndpointsProtocol=https;AccountName=demo;AccountKey=@;EndpointSuffix=core.windows.net",
        "AccountKey=@",
        'az storage blob list --account-name demo --account-key "@"',
    ),
    "azure SAS": _plain(
        lambda rnd: _some(rnd, 43).replace("a", "%2B") + "%3D",
        "https://demo.blob.core.windows.net/c/f.txt?sv=2022-11-02&sr=b&sp=r&se=2030-01-01&sig=@",
        "sr=x.servicebus.windows.net&sig=@&se=1700000000",
    ),
    "google AIza": _plain(lambda rnd: "AIza" + _some(rnd, 35, _WORD)),
    "stripe": _plain(lambda rnd: rnd.choice(("sk_", "rk_")) + rnd.choice(("live_", "test_")) + _some(rnd, 24)),
    "npm": _plain(lambda rnd: "npm_" + _some(rnd, 36)),
    "hugging face": _plain(lambda rnd: "hf_" + _some(rnd, 34)),
    "vault": _plain(lambda rnd: "hvs." + _some(rnd, 90, _WORD)),
    "sendgrid": _plain(lambda rnd: "SG." + _some(rnd, 22, _WORD) + "." + _some(rnd, 43, _WORD)),
    "cookie": _plain(
        lambda rnd: _some(rnd, 40),
        "Cookie: theme=dark; session=@",
        "Set-Cookie: sid=@; Path=/; HttpOnly; Secure",
        'curl -H "Cookie: session_id=@" https://example.org/',
    ),
    "slack webhook": _plain(
        lambda rnd: f"T{_some(rnd, 8, string.ascii_uppercase)}/B{_some(rnd, 8, string.ascii_uppercase)}/{_some(rnd, 24)}",
        "https://hooks.slack.com/services/@",
    ),
    "discord webhook": _plain(
        lambda rnd: _some(rnd, 68, _WORD), "https://discord.com/api/webhooks/123456789012345678/@"
    ),
    "DB_PASS=": _named("DB_PASS", "SMTP_PASS", "MYSQL_PWD"),
    "<password>": _plain(
        _password, "<password>@</password>", "<server><username>ci</username>\n<password>@</password></server>"
    ),
    "PGP": _block("PGP PRIVATE " + "KEY BLOCK"),
    "slack token": _plain(lambda rnd: f"xox{rnd.choice('bp')}-{rnd.randrange(10**11)}-{rnd.randrange(10**12)}-{_some(rnd, 24)}"),
    "github": _plain(lambda rnd: "gh" + rnd.choice("pousr") + "_" + _some(rnd, 36)),
    "aws id": _plain(lambda rnd: "AKIA" + _some(rnd, 16, string.ascii_uppercase + string.digits)),
    "jwt": _plain(_jwt),
    "aws secret": _named("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", make=lambda rnd: _some(rnd, 40, _BASE64)),
    "azure client secret": _plain(lambda rnd: f"{_some(rnd, 3)}8Q~{_some(rnd, 34, _WORD + '~.')}"),
    "google service account": _service_account,
    "pypi": _plain(lambda rnd: "pypi-AgEIcHlwaS5vcmc" + _some(rnd, 120, _WORD)),
    "gitlab": _plain(lambda rnd: "glpat-" + _some(rnd, 20, _WORD)),
    "openai": _plain(lambda rnd: "sk-proj-" + _some(rnd, 48, _WORD)),
    "anthropic": _plain(lambda rnd: "sk-ant-api03-" + _some(rnd, 93, _WORD)),
    "twilio": _plain(lambda rnd: "SK" + _some(rnd, 32, _HEX)),
    "discord token": _plain(lambda rnd: f"M{_some(rnd, 25)}.{_some(rnd, 6)}.{_some(rnd, 38, _WORD)}"),
    "1password": _plain(lambda rnd: "ops_eyJ" + _some(rnd, 200)),
    "databricks": _plain(lambda rnd: "dapi" + _some(rnd, 32, _HEX)),
    "digitalocean": _plain(lambda rnd: "dop_v1_" + _some(rnd, 64, _HEX)),
    "telegram": _plain(lambda rnd: f"{rnd.randrange(10**9, 10**10)}:AA{_some(rnd, 33, _WORD)}"),
    "pem": _block("RSA PRIVATE " + "KEY"),
    "openssh": _block("OPENSSH PRIVATE " + "KEY"),
    "authorization": _plain(
        lambda rnd: _some(rnd, 40) + "==", "Authorization: Bearer @", "Authorization: Basic @", 'curl -H "Authorization: token @"'
    ),
    "url password": _plain(
        _password, "postgresql://app:@@@db.example.org:5432/app".replace("@@@", "@\x00"), "redis://:@\x00cache.example.org/0"
    ),
    "connection string": _plain(
        _password, "Server=db;Database=app;User Id=app;Password=@;Encrypt=true", "host=db user=app password=@ dbname=app"
    ),
    "*_PASSWORD": _named("POSTGRES_PASSWORD", "spring.datasource.password", "redis_password"),
    "*_SECRET": _named("CLIENT_SECRET", "JWT_SECRET", "app.secret"),
    "*_TOKEN": _named("SLACK_TOKEN", "GRAFANA_TOKEN", "auth_token"),
    "api key": _named("api_key", "X-Api-Key", "OPENWEATHER_API_KEY", make=lambda rnd: _some(rnd, 32, _HEX)),
    "json password": _plain(_password, '{"user": "ci", "password": "@"}', "{\\\"password\\\": \\\"@\\\"}"),
    "yaml password": _plain(_password, "database:\n  user: app\n  password: @\n  port: 5432", "password: '@'"),
    "in words": _plain(_password, "The password is `@`.", "Password: @", "Its new password is now: **@**"),
    "command line": _plain(_password, "mysql --user=app --password @ app", "tool login --token @ --yes", "curl -u ci:@ https://example.org"),
}


def leaks(shape: str, count: int, *, seed: int) -> Iterator[Leak]:
    """Yield lines with secrets of that shape; the same ones for the same seed."""
    rnd = random.Random(f"{seed} {shape}")
    for _ in range(count):
        text, secret = SHAPES[shape](rnd)
        yield Leak(text.replace("\x00", "@"), secret)


# --- ordinary answers ------------------------------------------------------------------------------------------

_WHAT = ("deployment", "pipeline", "invoice", "dashboard", "cluster", "backup", "ticket", "release", "query", "certificate")
_DID = ("finished", "failed at the second step", "is healthy again", "was moved to Friday", "takes 3.2 s", "needs a review")


def _sentence(rnd: random.Random) -> str:
    return rnd.choice(
        (
            f"The {rnd.choice(_WHAT)} {rnd.choice(_DID)}, and the {rnd.choice(_WHAT)} {rnd.choice(_DID)}.",
            f"It used {rnd.randrange(9000)} tokens in {rnd.randrange(60)} requests; max_tokens: {rnd.randrange(4096)}.",
            "Your password is required to continue, so have it ready; the token is valid for 3600 seconds.",
            "The secret is to keep the API simple. A bearer certificate is not a bearer token, and basic understanding helps.",
            f"Here is what I know about the {rnd.choice(_WHAT)}: it {rnd.choice(_DID)} at {rnd.randrange(24)}:{rnd.randrange(60):02}.",
            "A password must have at least 12 characters, a passphrase is better, and the secret key is stored in the vault.",
            "The password: choose one that nobody else knows. The token: ask your admin. Cookies: they are small files.",
            f"Use token-based authentication (OAuth2) for the {rnd.choice(_WHAT)}; the access key is base64-encoded.",
            "Das Passwort ist abgelaufen; bitte setzen Sie ein neues. Le mot de passe est obligatoire.",
            "トークンの有効期限が切れました。パスワードを変更してください。密码不正确，请重试。",
            f"Contact ann{rnd.randrange(99)}@example.org or see https://example.org:8443/docs/auth?tab={rnd.randrange(9)}#token.",
        )
    )


def _code(rnd: random.Random) -> str:
    return rnd.choice(
        (
            "```python\npassword = getpass()\nclient = Client(token=os.environ['API_TOKEN'], secret=settings.secret)\n```",
            "```python\ndef login(user: str, password: str, token: str | None = None) -> Session: ...\n```",
            "```python\n@dataclass\nclass Config:\n    api_key: SecretStr\n    token: Optional[str] = None\n    password: str = ''\n```",
            "```ts\nconst token = await auth.getToken();\nif (!token) { throw new Error('token: missing') }\nfetch(url, { headers: { Authorization: `Bearer ${token}` } })\n```",
            "```sh\nexport API_KEY=your-api-key\nexport DB_PASSWORD=$DB_PASSWORD\ncurl -H \"Authorization: Bearer $TOKEN\" https://api.example.org\n```",
            "```yaml\nenv:\n  - name: DB_PASSWORD\n    valueFrom:\n      secretKeyRef: {name: db, key: password}\nsecret: ${{ secrets.DEPLOY_TOKEN }}\n```",
            "```sql\nSELECT id, token, password FROM users WHERE token = :token AND password = crypt(:password, password);\n```",
            '```json\n{"type": "object", "properties": {"password": {"type": "string"}, "token": {"type": "string"}}, "required": ["password"]}\n```',
            '```json\n{"username": "<your name>", "password": "<your password>", "apiKey": "YOUR_API_KEY", "token": "..."}\n```',
            "```go\nfunc Login(ctx context.Context, password string, token Token) error { token = NewToken(password); return nil }\n```",
            "```\npostgresql://user:password@localhost:5432/app\nhttps://<token>@github.com/org/repo.git\n```",
            "```env\nSECRET_KEY=changeme\nSLACK_BOT_TOKEN=xoxb-...\nOPENAI_API_KEY=sk-...\nGITHUB_TOKEN=<token>\n```",
            "```html\n<input type=\"password\" name=\"password\" placeholder=\"Password\"><label>Token: <b>none</b></label>\n```",
            "```js\nconst { password, token } = req.body; user.password = hash(password); res.cookie('theme', 'dark')\n```",
            "```py\nif token != expected_token: raise ValueError('Invalid token: ' + token[:4])\napi_key = self._api_key or config[\"api_key\"]\n```",
            "```\nThe key begins with `-----BEGIN PRIVATE" + " KEY-----` and ends with `-----END PRIVATE" + " KEY-----`.\n```",
        )
    )


def _data(rnd: random.Random) -> str:
    return rnd.choice(
        (
            f"commit {_some(rnd, 40, _HEX)}\nAuthor: Ann <ann@example.org>\nDate: 2026-01-0{rnd.randint(1, 9)}",
            f"id: {uuid.UUID(int=rnd.getrandbits(128))}, sha256: {_some(rnd, 64, _HEX)}",
            f"![plot](data:image/png;base64,{_some(rnd, rnd.randint(200, 900), _BASE64)}==)",
            f'integrity="sha512-{_some(rnd, 86, _BASE64)}==" crossorigin="anonymous"',
            f"| name | version | sha |\n|---|---|---|\n| app | 1.{rnd.randrange(99)}.0 | {_some(rnd, 7, _HEX)} |",
            f"| field | type | description |\n|---|---|---|\n| token | string | the access token |\n| password | string | at least 8 characters |",
            f"docker pull registry.example.org/app@sha256:{_some(rnd, 64, _HEX)}",
            f"trace_id={_some(rnd, 32, _HEX)} span_id={_some(rnd, 16, _HEX)} status=ok duration_ms={rnd.randrange(999)}",
            f"https://cdn.example.org/assets/app.{_some(rnd, 20)}.js?v={_some(rnd, 12)}",
            f"ETag: \"{_some(rnd, 32, _HEX)}\"\nContent-Type: application/json\nX-Request-Id: {uuid.UUID(int=rnd.getrandbits(128))}",
            f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_some(rnd, 43, _BASE64)} ann@host",
            f"arn:aws:iam::{rnd.randrange(10**11, 10**12)}:role/deploy, i-0{_some(rnd, 16, _HEX)}, vol-0{_some(rnd, 16, _HEX)}",
            f"input_tokens: {rnd.randrange(9999)}, output_tokens: {rnd.randrange(999)}, total tokens = {rnd.randrange(9999)}",
            f"U{_some(rnd, 10, string.ascii_uppercase)} wrote in C{_some(rnd, 10, string.ascii_uppercase)} at 1700000000.{rnd.randrange(10**6):06}",
        )
    )


def ordinary_answers(count: int, *, seed: int) -> Iterator[str]:
    """Yield answers as models give them, with prose, lists, code and data, and no secret in any."""
    rnd = random.Random(seed)
    for _ in range(count):
        parts = [" ".join(_sentence(rnd) for _ in range(rnd.randint(1, 4)))]
        parts += [rnd.choice((_sentence, _code, _data))(rnd) for _ in range(rnd.randint(1, 4))]
        if rnd.random() < 0.3:
            parts.append("\n".join(f"- {_sentence(rnd)}" for _ in range(rnd.randint(2, 5))))
        yield "\n\n".join(parts)
