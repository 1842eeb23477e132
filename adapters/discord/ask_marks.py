"""The custom ids below what is asked, and those of forms: all that a press needs, also after a restart. Pure.

A custom id has at most 100 characters: https://docs.discord.com/developers/components/reference#custom-id
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bot.domain.events import Choice

DIGEST_CHARS = 64
KEY_CHARS = 16
# Short words, so that a digest of full length fits beside the longest id.
_WORDS: Mapping[Choice, str] = {
    "run": "run",
    "run_for_an_hour": "hour",
    "decline": "no",
    "withdraw": "back",
    "suggest_rule": "rule",
}
_CHOICES: Mapping[str, Choice] = {word: choice for choice, word in _WORDS.items()}

# "open": show it; "again": show it with what was filled in; "decline": close it for good; "send": it has no fields, and
# this sends it.
FormStep = Literal["open", "again", "decline", "send"]
_STEPS: Mapping[str, FormStep] = {"open": "open", "again": "again", "decline": "decline", "send": "send"}
_TARGET = r"(?:(?:edit|answer):\d{1,18}|run:[\w-]{1,64})"
_MODAL = "tb:form:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """A choice; `digest` is that of what the message showed."""

    ask_id: int
    choice: Choice
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Someone wants to see all of what is asked; `key` names the message, "" where that does not matter."""

    ask_id: int
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormPress:
    """A button of a form."""

    step: FormStep
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """It looks like one of these and is not: no one was ever shown such a button."""


AskPress = Decide | About | FormPress | Malformed


def decide_id(ask_id: int, choice: Choice, digest: str) -> str:
    """Return the custom id of a choice's button."""
    return f"tb:decide:{ask_id}:{_WORDS[choice]}:{digest[:DIGEST_CHARS]}"


def about_id(ask_id: int, key: str) -> str:
    """Return the custom id of the Details button of the ask's message of that key; it marks the message."""
    return f"tb:about:{ask_id}:{key_mark(key)}"


def link_id(ask_id: int) -> str:
    """Return the custom id of the button that shows a link to the asker."""
    return f"tb:about:{ask_id}:"


def form_id(step: FormStep, target: str) -> str:
    """Return the custom id of a form's button."""
    return f"tb:fill:{step}:{target}"


def modal_id(target: str) -> str:
    """Return the custom id of the form itself."""
    return f"{_MODAL}{target}"


def key_mark(key: str) -> str:
    """Return a short word that is always the same for the same key."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()[:KEY_CHARS]


def parse_ask_press(custom_id: str) -> AskPress | None:
    """Return what a button says; None for one that is about something else."""
    if not re.match(r"tb:(?:decide|about|fill):", custom_id):
        return None
    return _decide(custom_id) or _about(custom_id) or _form_press(custom_id) or Malformed()


def parse_modal(custom_id: str) -> str | None:
    """Return the target of a form that was sent; "" for a malformed one, None for another kind of form."""
    if not custom_id.startswith(_MODAL):
        return None
    target = custom_id.removeprefix(_MODAL)
    return target if is_target(target) else ""


def is_target(text: str) -> bool:
    """Return whether it is the target of a form (`bot/domain/forms.py`)."""
    return re.fullmatch(_TARGET, text, re.ASCII) is not None


def _decide(custom_id: str) -> Decide | None:
    words = "|".join(_CHOICES)
    found = re.fullmatch(rf"tb:decide:(\d{{1,18}}):({words}):([\w.-]{{0,{DIGEST_CHARS}}})", custom_id, re.ASCII)
    return Decide(ask_id=int(found[1]), choice=_CHOICES[found[2]], digest=found[3]) if found else None


def _about(custom_id: str) -> About | None:
    found = re.fullmatch(rf"tb:about:(\d{{1,18}}):([0-9a-f]{{0,{KEY_CHARS}}})", custom_id, re.ASCII)
    return About(ask_id=int(found[1]), key=found[2]) if found else None


def _form_press(custom_id: str) -> FormPress | None:
    found = re.fullmatch(rf"tb:fill:({'|'.join(_STEPS)}):({_TARGET})", custom_id, re.ASCII)
    return FormPress(step=_STEPS[found[1]], target=found[2]) if found else None
