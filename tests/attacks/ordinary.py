"""Ordinary answers without any secret, with all that looks like one: hashes, code, schemas, talk about passwords."""

# ruff: noqa: E501, RUF001  (one sentence or block is one line)

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Iterator

from tests.attacks.corpus import BASE64, HEX, some

_WHAT = (
    "deployment",
    "pipeline",
    "invoice",
    "dashboard",
    "cluster",
    "backup",
    "ticket",
    "release",
    "query",
    "certificate",
)
_DID = (
    "finished",
    "failed at the second step",
    "is healthy again",
    "was moved to Friday",
    "takes 3.2 s",
    "needs a review",
)


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
            '```sh\nexport API_KEY=your-api-key\nexport DB_PASSWORD=$DB_PASSWORD\ncurl -H "Authorization: Bearer $TOKEN" https://api.example.org\n```',
            "```yaml\nenv:\n  - name: DB_PASSWORD\n    valueFrom:\n      secretKeyRef: {name: db, key: password}\nsecret: ${{ secrets.DEPLOY_TOKEN }}\n```",
            "```sql\nSELECT id, token, password FROM users WHERE token = :token AND password = crypt(:password, password);\n```",
            '```json\n{"type": "object", "properties": {"password": {"type": "string"}, "token": {"type": "string"}}, "required": ["password"]}\n```',
            '```json\n{"username": "<your name>", "password": "<your password>", "apiKey": "YOUR_API_KEY", "token": "..."}\n```',
            "```go\nfunc Login(ctx context.Context, password string, token Token) error { token = NewToken(password); return nil }\n```",
            "```\npostgresql://user:password@localhost:5432/app\nhttps://<token>@github.com/org/repo.git\n```",
            "```env\nSECRET_KEY=changeme\nSLACK_BOT_TOKEN=xoxb-...\nOPENAI_API_KEY=sk-...\nGITHUB_TOKEN=<token>\n```",
            '```html\n<input type="password" name="password" placeholder="Password"><label>Token: <b>none</b></label>\n```',
            "```js\nconst { password, token } = req.body; user.password = hash(password); res.cookie('theme', 'dark')\n```",
            "```py\nif token != expected_token: raise ValueError('Invalid token: ' + token[:4])\napi_key = self._api_key or config[\"api_key\"]\n```",
            "```\nThe key begins with `-----BEGIN PRIVATE"
            + " KEY-----` and ends with `-----END PRIVATE"
            + " KEY-----`.\n```",
        )
    )


def _data(rnd: random.Random) -> str:
    return rnd.choice(
        (
            f"commit {some(rnd, 40, HEX)}\nAuthor: Ann <ann@example.org>\nDate: 2026-01-0{rnd.randint(1, 9)}",
            f"id: {uuid.UUID(int=rnd.getrandbits(128))}, sha256: {some(rnd, 64, HEX)}",
            f"![plot](data:image/png;base64,{some(rnd, rnd.randint(200, 900), BASE64)}==)",
            f'integrity="sha512-{some(rnd, 86, BASE64)}==" crossorigin="anonymous"',
            f"| name | version | sha |\n|---|---|---|\n| app | 1.{rnd.randrange(99)}.0 | {some(rnd, 7, HEX)} |",
            "| field | type | description |\n|---|---|---|\n| token | string | the access token |\n| password | string | at least 8 characters |",
            f"docker pull registry.example.org/app@sha256:{some(rnd, 64, HEX)}",
            f"trace_id={some(rnd, 32, HEX)} span_id={some(rnd, 16, HEX)} status=ok duration_ms={rnd.randrange(999)}",
            f"https://cdn.example.org/assets/app.{some(rnd, 20)}.js?v={some(rnd, 12)}",
            f'ETag: "{some(rnd, 32, HEX)}"\nContent-Type: application/json\nX-Request-Id: {uuid.UUID(int=rnd.getrandbits(128))}',
            f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{some(rnd, 43, BASE64)} ann@host",
            f"arn:aws:iam::{rnd.randrange(10**11, 10**12)}:role/deploy, i-0{some(rnd, 16, HEX)}, vol-0{some(rnd, 16, HEX)}",
            f"input_tokens: {rnd.randrange(9999)}, output_tokens: {rnd.randrange(999)}, total tokens = {rnd.randrange(9999)}",
            f"U{some(rnd, 10, string.ascii_uppercase)} wrote in C{some(rnd, 10, string.ascii_uppercase)} at 1700000000.{rnd.randrange(10**6):06}",
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
