import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.calculator import OPERATIONS, calculate

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("operation", "a", "b", "result"),
    [
        ("add", 2, 3, 5),
        ("subtract", 2, 3, -1),
        ("multiply", 15, 8, 120),
        ("divide", 50, 2, 25),
        ("power", 2, 10, 1024),
        ("power", -2, 3, -8),
        ("power", 4, 0.5, 2),
        ("modulo", 7, 3, 1),
        ("modulo", -7, 3, 2),
        ("percent", 15, 80, 12),
        ("percent", 7, 100, 7),
    ],
)
def test_each_operation_gives_its_result(operation: str, a: float, b: float, result: float) -> None:
    assert calculate(operation, a, b).result == result


def test_the_sentence_has_the_agreed_form() -> None:
    assert calculate("multiply", 15.0, 8.0).sentence() == "Result: 15.0 multiply 8.0 = 120.0"


@pytest.mark.parametrize(
    ("operation", "a", "b", "said"),
    [
        ("divide", 1, 0, "cannot divide by zero"),
        ("divide", 1, -0.0, "cannot divide by zero"),
        ("modulo", 1, 0, "by zero"),
        ("power", 0, -1, "not a real number"),
        ("power", -8, 1 / 3, "not a real number"),
        ("power", 10, 309, "too large"),
        ("power", 9e99, 9e99, "too large"),
        ("multiply", 1e200, 1e200, "too large"),
        ("add", 1.7e308, 1.7e308, "too large"),
        ("percent", 1e300, 1e300, "too large"),
        ("add", math.nan, 1, "finite"),
        ("add", 1, math.inf, "finite"),
    ],
)
def test_what_has_no_finite_result_is_an_error_that_says_why(operation: str, a: float, b: float, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        calculate(operation, a, b)


@pytest.mark.parametrize("operation", ["", "plus", "ADD", "__import__('os')", "x" * 10_000])
def test_an_unknown_operation_is_an_error_that_lists_the_known_ones(operation: str) -> None:
    with pytest.raises(
        ToolError, match="use one of: add, subtract, multiply, divide, power, modulo, percent"
    ) as caught:
        calculate(operation, 1, 2)
    assert len(str(caught.value)) < 200


@given(st.sampled_from(sorted(OPERATIONS)), finite, finite)
def test_any_finite_arguments_give_a_finite_float_or_a_tool_error(operation: str, a: float, b: float) -> None:
    try:
        result = calculate(operation, a, b).result
    except ToolError:
        return
    assert type(result) is float
    assert math.isfinite(result)
