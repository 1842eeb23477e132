"""What the groups of settings share: their base, types of values, and the reading of values as people write them."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, SecretStr
from pydantic_settings import BaseSettings


class Group(BaseSettings, defer_build=True):
    """Settings that belong together. Only `Settings`, which inherits all groups, is built and read.

    Checks need names of their own: of two groups' checks with one name, pydantic would run only one.
    """


def json_object(text: str) -> dict[str, Any]:
    """Return what the text has as JSON. Raises ValueError where it is no object."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(  # noqa: TRY004  (pydantic reports only a ValueError)
            'it is no JSON object: write {"name": "value"}, in straight quotes'
        )
    return cast("dict[str, Any]", value)


def listed(text: str) -> list[str]:
    """Return the items of a list that is separated by commas or white space."""
    return [item for item in re.split(r"[\s,]+", text) if item]


def _checked(value: SecretStr | None) -> SecretStr | None:
    """Refuse what no HTTP header can carry, without showing it."""
    if value is None:
        return None
    secret = value.get_secret_value().strip()
    if wrong := next((char for char in secret if not "!" <= char <= "~"), None):
        raise ValueError(
            f"it contains {_called(wrong)}, which no key or token has. Copy it again, without quotation marks around it"
        )
    return SecretStr(secret)


def _expanded(value: Path | None) -> Path | None:
    """Return the path with the home folder for `~`."""
    return value.expanduser() if value is not None else None


def _called(char: str) -> str:
    """Return what a character is called that is not to be shown with what surrounds it."""
    return f"the character {unicodedata.name(char, f'U+{ord(char):04X}')}"


HeaderSecret = Annotated[SecretStr | None, AfterValidator(_checked)]  # a key or token that goes in a header
HomePath = Annotated[Path | None, AfterValidator(_expanded)]  # a path that may begin with `~`
