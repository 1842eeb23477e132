"""Arithmetic on two 64-bit floating point numbers, without evaluating any text."""

import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.answer import Answer
from mcp_server.phrases import listed, quoted


class Calculation(Answer):
    """One finished calculation."""

    operation: str
    a: float
    b: float
    result: float

    def sentence(self) -> str:
        """`Result: 15.0 multiply 8.0 = 120.0`."""
        return f"Result: {self.a} {self.operation} {self.b} = {self.result}"


def calculate(operation: str, a: float, b: float) -> Calculation:
    """Return `a operation b`, a finite number.

    Raises:
        ToolError: The operation is unknown, an argument or the result is not a finite
            number, or the operation has no real result for these arguments.
    """
    apply = OPERATIONS.get(operation)
    if apply is None:
        raise ToolError(f"unknown operation {quoted(operation)}; use one of: {listed(OPERATIONS)}")
    if not (math.isfinite(a) and math.isfinite(b)):
        raise ToolError("both a and b must be finite numbers, not NaN or infinity")
    return Calculation(operation=operation, a=a, b=b, result=_finite(apply, a, b))


def _finite(apply: Callable[[float, float], float], a: float, b: float) -> float:
    try:
        result = apply(a, b)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ToolError("the result is too large: it must stay below 1.8e308")
    return result


def _divide(a: float, b: float) -> float:
    _refuse_zero(b, "divide")
    return a / b


def _modulo(a: float, b: float) -> float:
    _refuse_zero(b, "take a remainder")
    return a % b


def _refuse_zero(divisor: float, verb: str) -> None:
    if divisor == 0:
        raise ToolError(f"cannot {verb} by zero; give a b that is not 0")


def _power(a: float, b: float) -> float:
    try:
        return math.pow(a, b)  # stays in floats: no huge integers, no complex numbers
    except ValueError as error:
        raise ToolError(f"{a} to the power of {b} is not a real number") from error


def _percent(a: float, b: float) -> float:
    return float(Fraction(a) * Fraction(b) / 100)  # rounded once: 7 percent of 100 is 7.0


OPERATIONS: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {
        "add": operator.add,
        "subtract": operator.sub,
        "multiply": operator.mul,
        "divide": _divide,
        "power": _power,
        "modulo": _modulo,
        "percent": _percent,
    }
)
"""What `calculate` can do, by the name that a caller gives."""
