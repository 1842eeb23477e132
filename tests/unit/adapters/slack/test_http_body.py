"""What Slack delivers over HTTP: the signature first, then what the bytes say."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from adapters.slack.http_body import NotSignedError, NotValidError, parse_body, verified

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
VERIFIER = SignatureVerifier("signing-test")


def headers(body: bytes, *, at: str | None = None) -> Mapping[str, str]:
    at = str(int(time.time())) if at is None else at
    signature = VERIFIER.generate_signature(timestamp=at, body=body) or ""
    return {"x-slack-request-timestamp": at, "x-slack-signature": signature}


def test_what_slack_has_signed_is_its_text() -> None:
    body = '{"text": "ü"}'.encode()
    assert verified(body, headers(body), VERIFIER) == '{"text": "ü"}'


@pytest.mark.parametrize("at", ["now", "", "-1", "1e9", "1_0", "²", "9" * 12, "9" * 5_000, "0"])
def test_a_time_that_is_none_or_far_from_now_is_not_signed_though_the_signature_fits(at: str) -> None:
    with pytest.raises(NotSignedError):
        verified(b"{}", headers(b"{}", at=at), VERIFIER)


@pytest.mark.parametrize("signature", ["", "v0=", "v0=é", "v1=abc"])
def test_another_signature_is_none(signature: str) -> None:
    with pytest.raises(NotSignedError):
        verified(b"{}", {**headers(b"{}"), "x-slack-signature": signature}, VERIFIER)
    with pytest.raises(NotSignedError):
        verified(b"{}", {}, VERIFIER)


def test_bytes_that_are_no_text_are_not_valid() -> None:
    with pytest.raises(NotValidError):
        verified(b"\xff{}", headers(b"{}"), VERIFIER)


def test_events_are_json_commands_are_forms_and_presses_are_json_in_a_form() -> None:
    assert parse_body('{"team_id": "T1"}', content_type=JSON) == {"team_id": "T1"}
    command = parse_body("command=%2Fhelp&team_id=T1&text=payload", content_type=f"{FORM}; charset=x-none")
    assert command == {"command": "/help", "team_id": "T1", "text": "payload"}
    assert parse_body("payload=%7B%22type%22%3A%22x%22%7D", content_type=FORM) == {"type": "x"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "5", '"x"', "{", "[" * 100_000, '{"a":' * 100_000, '{"a":' + "1" * 100_000 + "}"],
    ids=["nothing", "a list", "null", "a number", "a text", "cut", "deep lists", "deep objects", "100,000 digits"],
)
@pytest.mark.parametrize("content_type", [JSON, "text/plain; charset=x-none", FORM])
def test_what_is_no_object_is_not_valid(text: str, content_type: str) -> None:
    with pytest.raises(NotValidError):
        parse_body(f"payload={text}" if content_type == FORM else text, content_type=content_type)


def test_a_form_of_very_many_fields_is_not_valid() -> None:
    with pytest.raises(NotValidError):
        parse_body("&".join(f"a{number}=1" for number in range(101)), content_type=FORM)


@given(st.text(), st.sampled_from([JSON, FORM]) | st.text(max_size=30))
def test_any_text_of_any_type_is_an_object_or_not_valid(text: str, content_type: str) -> None:
    with suppress(NotValidError):
        assert isinstance(parse_body(text, content_type=content_type), dict)
