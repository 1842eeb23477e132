"""Two signs that mark the core's own lines in what a model reads: the words of others never contain them."""

from __future__ import annotations

import re

from bot.text.cleaning import strip_surrogates
from bot.text.lines import flat
from bot.text.split import cut

OPEN, CLOSE = "⟦", "⟧"

_MAX_NAME_CHARS = 80
_MAX_ID_CHARS = 64
# The two signs, and those that look like them (white, quilled, underbarred and ticked square brackets)
_SIGNS = re.compile("[⟦⟧〚〛⁅⁆⦋⦌⦍⦎⦏⦐]")
_OPENING = frozenset("⟦〚⁅⦋⦍⦏")
# Endpoints that run open models take these for the ends and beginnings of messages, wherever they find them:
# https://github.com/ggml-org/llama.cpp/issues/26273, https://github.com/ollama/ollama/pull/17262
_INNER = r"[^\s|\uff5c<>]{1,60}"
_CONTROL_TOKEN = re.compile(
    rf"<(?=[|\uff5c]{_INNER}[|\uff5c]?>|{_INNER}[|\uff5c]>|(?:start|end)_of_turn>)|\[(?=/?INST\])"
)
_UNSEEN_IN_NAMES = re.compile("[\u115f\u1160\u2800\u3164\uffa0\ufe00-\ufe0f]")  # blank letters; variation selectors
_INVALID_IN_IDS = re.compile(r"[^\w.-]")


def unmarked(text: str) -> str:
    """Return untrusted text as a model may read it: without our signs, and with no token that begins a message.

    A sign becomes a plain bracket; a token gets a space after its first character. The rest stays as it is.
    """
    text = strip_surrogates(text)
    if not text.isascii():
        text = _SIGNS.sub(lambda sign: "[" if sign[0] in _OPENING else "]", text)
    return _CONTROL_TOKEN.sub(r"\g<0> ", text)


def marked(line: str) -> str:
    """Return a line of ours, between the signs; names and the like inside of it may be untrusted."""
    return f"{OPEN}{flat(unmarked(line))}{CLOSE}"


def speaker_line(name: str, speaker_id: str) -> str:
    """Return the line that a message of several people's conversation begins with: `⟦from ID: NAME⟧`.

    The id comes first, so no name can pose as one. Messages that were stored without an id have a question mark.
    """
    return marked(f"from {plain_id(speaker_id)}: {plain_name(name) or 'someone'}")


def plain_name(name: str) -> str:
    """Return a display name on one short line: nothing in it is unseen, changes the order of text or ends a bracket."""
    line = flat(_UNSEEN_IN_NAMES.sub(" ", unmarked(name)))
    return cut(line.replace("[", "(").replace("]", ")"), _MAX_NAME_CHARS)


def plain_id(speaker_id: str) -> str:
    """Return a platform's id of a person as one word; a question mark where it is not known."""
    return _INVALID_IN_IDS.sub("_", speaker_id)[:_MAX_ID_CHARS] or "?"
