"""Redaction: what is hidden, what stays, and that text of any shape and length is read in linear time."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text.redaction import HIDDEN, redact, redact_prose

# Put together here, so that no scanner takes this file for a leak.
TOKENS = {
    "slack bot": "xoxb" + "-1111111111-2222222222-abcDEFghiJKL",
    "slack app": "xapp" + "-1-A111-222-abcdef0123456789",
    "discord": "M" + "TA0" * 8 + ".GabcdE." + "x_Y-9" * 6,
    "openai": "sk" + "-proj-abcdefghijklmnop1234",
    "github": "ghp" + "_abcdefghijklmnopqrstuvwxyz0123456789",
    "github fine-grained": "github" + "_pat_11ABCDEFG0123456789_abcdefghij",
    "gitlab": "glpat" + "-abcdefghij0123456789",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "bearer": "Bearer " + "abcDEF123456789",
    "private key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEow\nAAAA\n-----END RSA PRIVATE " + "KEY-----",
    "torn private key": "-----BEGIN PRIVATE " + "KEY-----\nMIIEow\nAAAA\n",
}


@pytest.mark.parametrize("kind", TOKENS)
def test_a_known_token_is_hidden_wherever_it_is(kind: str) -> None:
    token = TOKENS[kind]
    secret = token.split()[-1] if kind == "bearer" else token
    for text in (token, f"before {token}\nafter", json.dumps({"note": f"use {token}"}), f"<{token}>"):
        hidden = redact(text)
        assert secret not in hidden and HIDDEN in hidden
        assert "MIIEow" not in hidden
    if not kind.startswith("torn"):
        assert redact(f"before {token}\nafter").startswith("before ")
        assert redact(f"before {token}\nafter").endswith("\nafter")


NAMES = [
    *("password", "passwd", "db_password", "passphrase", "secret", "client_secret", "SECRET_KEY", "api_key", "apiKey"),
    *("API-Key", "access_key", "SecretAccessKey", "private-key", "token", "auth_token", "X-Api-Key", "Authorization"),
    *("credentials", "AZURE_OPENAI_API_KEY"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_value_that_is_named_as_a_secret_is_hidden_in_json(name: str) -> None:
    for value in ('hunter2, "quoted" \\ and } more', "12345", "", "ü"):
        arguments = json.dumps({"user": "ann", name: value, "city": "Paris"}, ensure_ascii=False)
        assert json.loads(redact(arguments)) == {"user": "ann", name: HIDDEN, "city": "Paris"}


@pytest.mark.parametrize("name", NAMES)
def test_a_value_that_is_named_as_a_secret_is_hidden_in_other_text(name: str) -> None:
    for text in (
        f"{name}=hunter2",
        f"{name}: hunter2",
        f"{name} = 'hunter2'",
        f"a=1&{name}=hunter2&b=2",
        f"({name}: hunter2)",
    ):
        assert "hunter2" not in redact(text)
        assert name in redact(text)
    assert redact(f"a=1&{name}=hunter2&b=2") == f"a=1&{name}={HIDDEN}&b=2"


def test_lists_and_objects_of_secrets_are_hidden_whole() -> None:
    arguments = {"tokens": ["one two", "three"], "credentials": {"user": "four", "pin": 5}, "city": "Paris"}
    for text in (json.dumps(arguments), json.dumps(arguments, indent=2)):
        hidden = redact(text)
        assert not [word for word in ("one", "two", "three", "four", "5") if word in hidden]
        assert "Paris" in hidden


def test_json_inside_a_json_string_is_redacted_too() -> None:
    hidden = redact(json.dumps({"body": json.dumps({"password": "hunter2 and more", "city": "Paris"})}))
    assert "hunter2" not in hidden and "and more" not in hidden and "Paris" in hidden


@pytest.mark.parametrize("text", ['{"password": "hunter2 and', '{"tokens": ["hunter2", "and', "password: 'hunter2 and"])
def test_a_secret_that_was_cut_off_is_hidden(text: str) -> None:
    assert "hunter2" not in redact(text)


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "Token"])
def test_an_authorization_header_is_hidden_with_its_scheme(scheme: str) -> None:
    assert redact(f"Authorization: {scheme} abc\nHost: example.org") == f"Authorization: {HIDDEN}\nHost: example.org"


def test_the_password_of_a_url_is_hidden_and_the_rest_stays() -> None:
    assert (
        redact("see postgresql://ann:hunter2@db.example.org:5432/x?y=1 and http://example.org:80/@me")
        == f"see postgresql://ann:{HIDDEN}@db.example.org:5432/x?y=1 and http://example.org:80/@me"
    )


@pytest.mark.parametrize(
    "text",
    [
        "What is the basic understanding of programming? Visual Basic applications, and a bearer certificate.",
        "Here is how you get a token:\n1. Open the page.\n2. Press the button.",
        "The secretary keeps the keyboard, the password manager and the tokenizer.",
        '{"max_tokens": 100, "input_tokens": 20, "operation": "multiply", "a": 15, "b": 8}',
        "tokens: 1200 in, 300 out",
        "risk-free task-oriented-and-rather-long-words, disk-image-of-the-machine",
        "Result: 15.0 multiply 8.0 = 120.0",
        "http://example.org:8080/a:b@c",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


SIGNS = r"""= : ' " \ \" [ ] { } , & @ :// - https://a: abc123 tokens bearer basic"""
apart = [f" {token} " for token in TOKENS.values()]  # glued to one another they are no tokens
words = st.sampled_from([*apart, *NAMES, *SIGNS.split(), HIDDEN, " ", "\n"])


@given(st.lists(words | st.text(max_size=6), max_size=14).map("".join))
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text(st.sampled_from(string.ascii_letters + string.digits), min_size=1, max_size=40), st.sampled_from(NAMES))
def test_no_named_secret_of_any_kind_is_left(value: str, name: str) -> None:
    secret = f"~{value}~"
    for text in (json.dumps({name: secret}), f"{name}={secret}", f"{name}: {secret}, more"):
        assert secret not in redact(text)


PIECES = r"""a - : / " \ = eyJ -eyJ eyJaaaaaaaaa. sk- -sk-a xoxb- token token: token:" token="\ token:' token:[ token:{
token:\" tokens=1 passwordpassword: http:// ://a ://a:b a:b@ -----END [hidden]"""
ADVERSARIAL = [
    *PIECES.split(),
    *(" ", "token ", "bearer ", "basic\t", "-----BEGIN ", "-----BEGIN A PRIVATE KEY-----", "authorization: basic "),
    "M" + "a" * 25 + ".",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_long_text_made_to_be_slow_is_read_in_linear_time(piece: str) -> None:
    """Each of these took minutes or hours with a pattern that begins again within what it has read."""
    redact((piece * 100_000)[:100_000])
    redact("token: " + (piece * 100_000)[:100_000])


@pytest.mark.parametrize("end", ["</code>", "<br>user: ann", "<br/>", "。", "\uff0c请妥善保管", "\uff1b", "</b></td>"])
@pytest.mark.parametrize("said", ["password: hX7ptR2wQ9z", "DB_PASS=hX7ptR2wQ9z", f"api_key={'hX7ptR2wQ9z' * 4}"])
def test_what_follows_a_secret_without_a_space_does_not_make_it_look_like_a_stand_in(said: str, end: str) -> None:
    assert "hX7ptR2wQ9z" not in redact_prose(f"It is {said}{end} now.")


@pytest.mark.parametrize(
    "said", ["password: <your password>", "token=<b>TOKEN</b>", "token: <token>。", "password: 密码。"]
)
def test_stand_ins_stay_whatever_follows_them(said: str) -> None:
    assert redact_prose(said) == said
