"""What Slack delivers over HTTP, read at the edge: its signature over the bytes first, then what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

from slack_sdk.signature import SignatureVerifier

MAX_FIELDS = 100  # a slash command has about fifteen
_SECONDS = re.compile(r"[0-9]{1,12}")
_FORM = "application/x-www-form-urlencoded"


class NotSignedError(Exception):
    """Slack has not signed it, or not just now."""


class NotValidError(Exception):
    """It is none of the payloads that Slack sends."""


def verified(body: bytes, headers: Mapping[str, str], verifier: SignatureVerifier) -> str:
    """Return the text that Slack has signed within the last five minutes; nothing of it is parsed.

    https://docs.slack.dev/authentication/verifying-requests-from-slack

    Raises:
        NotSignedError: The signature is missing, old or wrong.
        NotValidError: The bytes are no UTF-8, which Slack's always are.
    """
    timestamp, signature = headers.get("x-slack-request-timestamp", ""), headers.get("x-slack-signature", "")
    if not _SECONDS.fullmatch(timestamp) or not signature.isascii():  # on others the SDK raises
        raise NotSignedError
    try:
        is_valid = verifier.is_valid(body, timestamp, signature)
    except UnicodeDecodeError:
        raise NotValidError from None
    if not is_valid:
        raise NotSignedError
    return body.decode()


def parse_body(text: str, *, content_type: str) -> dict[str, Any]:
    """Return an event, which is JSON, or a command, which is a form; a form's `payload` is the JSON of a press.

    Raises:
        NotValidError: It is neither.
    """
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return _json_object(text)
    try:
        form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise NotValidError from None
    return _json_object(form["payload"]) if "payload" in form else form


def _json_object(text: str) -> dict[str, Any]:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):  # also a number of very many digits
        raise NotValidError from None
    if not isinstance(found, dict):
        raise NotValidError
    return cast("dict[str, Any]", found)
