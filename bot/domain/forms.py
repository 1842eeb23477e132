"""Forms, without any platform: fields made from a JSON schema, and what people filled in.

A form is reached by its target, a text that platforms carry in buttons (at most 80 characters): `edit:ASK` changes the
arguments of an approval, `answer:ASK` answers a server's form, `run:NAME` makes the call of the tool of that namespaced
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# "json": a field in which people write JSON: nested values, and what a platform has no room for.
FieldKind = Literal["text", "long_text", "number", "integer", "checkbox", "choice", "choices", "date", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One choice of a field."""

    value: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field; its texts come from schemas and are untrusted. Values are texts, as of `FormSubmitted`."""

    name: str
    label: str
    kind: FieldKind
    hint: str = ""
    is_required: bool = False
    value: str = ""  # what it is filled in with at first
    options: tuple[Option, ...] = ()
    min_length: int | None = None  # of texts, in characters
    max_length: int | None = None
    min_choices: int = 0
    max_choices: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form to show; `fields` may be empty, then there is only something to confirm."""

    target: str
    title: str
    fields: tuple[Field, ...]
    message: str = ""  # above the fields; untrusted where a server asks
    submit: str = "Send"
    may_decline: bool = False  # a server's form can be declined as well as closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """What was filled in cannot be taken: a sentence for each field at fault, to be shown in the form."""

    errors: Mapping[str, str] = field(default_factory=dict[str, str])
    notice: str = ""  # of the form as a whole
