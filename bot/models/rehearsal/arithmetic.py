"""Parses arithmetic in words and symbols into operations of the `calculate` tool; computes nothing itself."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LastResult:
    """The last result of the conversation ("it", "that", or the implied operand of "times 3")."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One calculation; its operands come first."""

    name: str  # add, subtract, multiply, divide, power, modulo, percent
    a: Operand
    b: Operand

    @property
    def uses_last_result(self) -> bool:
        return any(
            one.uses_last_result if isinstance(one, Operation) else isinstance(one, LastResult)
            for one in (self.a, self.b)
        )


Operand = Operation | LastResult | int | float

_MAX_CHARS = 300
_MAX_TOKENS = 80  # limits the recursion: five calls per parenthesis


def read_arithmetic(clause: str) -> Operation | None:
    """Return the calculation that the clause asks for, with the usual precedence; None if it asks for none."""
    if len(clause) > _MAX_CHARS:
        return None
    text = re.sub(r"\s*(?:=|equals?)?\s*$", "", _QUESTION.sub("", clause.lower(), count=1))
    symbols = _infix(_NUMBER_WORDS.sub(_in_digits, text))
    for pattern, symbol in _SYMBOLS:
        symbols = re.sub(pattern, symbol, symbols)
    tree = _tree(symbols)
    if not isinstance(tree, Operation) and symbols.strip()[:1] in {*"+-*/^%"}:
        tree = _tree(f"$ {symbols}")
    return tree if isinstance(tree, Operation) else None


# --- words to symbols --------------------------------------------------------------------------------------------

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {word: value for value, word in enumerate(_UNITS.split())} | {
    word: 10 * tens for tens, word in enumerate(_TENS.split(), start=2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_WORD = "|".join(sorted((*_VALUES, *_SCALES), key=len, reverse=True))  # "seventeen" before "seven"
_NUMBER_WORDS = re.compile(rf"\b(?:{_WORD})(?:(?:[\s-]+|\s+and\s+)(?:{_WORD}))*\b")
_QUESTION = re.compile(
    r"(?:(?:calculate|compute|evaluate|solve|work out|what(?:['\u2019]s| is| are)?|how much (?:is|are)"
    r"|tell me|give me|the (?:result|value|answer) of)\s+)+"
)
_FORMS = {  # clauses that name the operation first
    r"(?:add|the sum of|sum) (.+?) (?:and|with|plus) (.+)": "{}+{}",
    r"add (.+?) to (.+)": "{1}+{0}",
    r"(?:subtract|take) (.+?) (?:away )?from (.+)": "{1}-{0}",
    r"the difference (?:between|of) (.+?) and (.+)": "{}-{}",
    r"multiply (.+) by (.+)": "{}*{}",
    r"(?:multiply|the product of) (.+?) (?:with|and|times) (.+)": "{}*{}",
    r"divide (.+) by (.+)": "{}/{}",
    r"raise (.+) to (?:the power (?:of )?)?(.+)": "{}^{}",
    r"(?:the )?square root of (.+)": "{}^.5",
    r"(?:the )?square(?: of)? (.+)": "{}^2",
    r"double (.+)": "{}*2",
    r"(?:halve|half of|half) (.+)": "{}/2",
    r"add (.+)": "$+{}",
    r"subtract (.+)": "$-{}",
    r"multiply by (.+)": "$*{}",
    r"divide by (.+)": "$/{}",
}
_SYMBOLS = (  # applied in this order; $ is the last result, @ means "percent of"
    (r"\*\*|(?:raised )?to the power(?: of)?|raised to", "^"),
    (r"\bmultiplied by\b|\btimes\b|\u00d7|\u00b7|(?<![a-z])x(?![a-z])", "*"),
    (r"\bdivided by\b|\bover\b|\u00f7", "/"),
    (r"\bplus\b", "+"),
    (r"\bminus\b|\bnegative\b|\u2212|\u2013", "-"),
    (r"(?:%|\bper ?cent) of\b", "@"),
    (r"\bmod(?:ulo)?\b", "%"),
    (r"\bsquared\b", "^2"),
    (r"\b(?:(?:the|this|that) )?(?:last |previous )?(?:result|answer|number|total|sum)\b|\b(?:it|that|this)\b", "$"),
)


def _in_digits(words: re.Match[str]) -> str:
    total = group = 0
    for word in re.findall(_WORD, words[0]):
        scale = _SCALES.get(word, 1)
        group = group * scale if scale > 1 and group else group + _VALUES.get(word, scale)
        if scale >= _SCALES["thousand"]:
            total, group = total + group, 0
    return str(total + group)


def _infix(text: str) -> str:
    for pattern, template in _FORMS.items():
        if match := re.fullmatch(pattern, text):
            return template.format(*(f"({_infix(operand)})" for operand in match.groups()))
    return text


# --- symbols to operations ---------------------------------------------------------------------------------------

_LEVELS = ({"+": "add", "-": "subtract"}, {"*": "multiply", "/": "divide", "%": "modulo", "@": "percent"})
# A number has no leading zero: 2024-01-02 is a date.
_TOKEN = re.compile(r"\s*((?!0\d)(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)|[-+*/^%@()$])\s*")


def _tree(symbols: str) -> Operand | None:
    tokens: list[str] = []
    at = 0
    while at < len(symbols):
        if not (found := _TOKEN.match(symbols, at)):
            return None
        tokens.append(found[1])
        at = found.end()
    if len(tokens) > _MAX_TOKENS:
        return None
    try:
        tree = _joined(tokens, 0)
    except ValueError:
        return None
    return None if tokens else tree


def _joined(tokens: list[str], level: int) -> Operand:
    """Consume operands joined by operators of this level or tighter. Raises ValueError where an operand is missing."""
    if level == len(_LEVELS):
        return _power(tokens)
    left = _joined(tokens, level + 1)
    while tokens and tokens[0] in _LEVELS[level]:
        left = Operation(_LEVELS[level][tokens.pop(0)], left, _joined(tokens, level + 1))
    return left


def _power(tokens: list[str]) -> Operand:
    if tokens[:1] == ["-"]:
        tokens.pop(0)
        operand = _power(tokens)
        return -operand if isinstance(operand, int | float) else Operation("multiply", -1, operand)
    base = _atom(tokens)
    if tokens[:1] == ["^"]:
        tokens.pop(0)
        return Operation("power", base, _power(tokens))
    return base


def _atom(tokens: list[str]) -> Operand:
    match tokens.pop(0) if tokens else "":
        case "(":
            inner = _joined(tokens, 0)
            if tokens[:1] != [")"]:
                raise ValueError("a parenthesis is not closed")
            tokens.pop(0)
            return inner
        case "$":
            return LastResult()
        case number:
            digits = number.replace(",", "")
            return int(digits) if digits.isdecimal() else float(digits)
