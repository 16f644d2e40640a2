import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.errors import DataError
from narrowcast.evaluation.expression import LONGEST, affine

NUMBERS = st.integers(1, 300).map(str) | st.sampled_from(["0.5", "127.5", "2e2", ".25", "1.", "1E-3"])


def grow(inner):
    """Larger expressions, kept affine: products and quotients have a number on one side."""
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, NUMBERS).map(lambda p: f"({p[0]} * {p[1]})"),
        st.tuples(NUMBERS, inner).map(lambda p: f"{p[0]}*({p[1]})"),
        st.tuples(inner, NUMBERS).map(lambda p: f"(({p[0]}) / {p[1]})"),
        inner.map(lambda text: f"-({text})"),
        inner.map(lambda text: f"+{text}"),
    )


EXPRESSIONS = st.recursive(st.just("x") | NUMBERS, grow, max_leaves=8).filter(lambda text: len(text) <= LONGEST)


@given(EXPRESSIONS, st.floats(-300, 300))
def test_every_affine_expression_is_read_as_python_would(text, x):
    a, b = affine(text)
    expected = eval(text, {"__builtins__": {}}, {"x": x})
    assert math.isclose(a * x + b, expected, rel_tol=1e-9, abs_tol=1e-6 * (1 + abs(a) * 300 + abs(b)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", (1, 0)),
        ("x/127.5 - 1", (1 / 127.5, -1)),
        ("(x - 127.5) / 127.5", (1 / 127.5, -1)),
        ("  -x ", (-1, 0)),
        ("(x+x)*2", (4, 0)),
        ("x*0 + 3", (0, 3)),
    ],
)
def test_examples(text, expected):
    assert affine(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x * x", "column 5: it is not of the form a x + b"),
        ("1 + 1 / x", "column 9: it is not of the form a x + b"),
        ("x / x", "not of the form"),
        ("x ** 2", "column 6: it is not of the form"),
        ("x // 2", "not of the form"),
        ("x / (2 - 2)", "divides by zero"),
        ("__import__('os')", "column 1: '_' has no place"),
        ("x; y", "';' has no place"),
        ("x if 1 else 2", "column 3: 'i' has no place"),
        ("xe", "only x, numbers"),
        ("x(1)", "column 1: only x, numbers"),
        ("", "cannot be read"),
        ("(x", "cannot be read"),
        ("2x", "cannot be read"),
        ("x\x00", "has no place"),
        ("x +\n1", "has no place"),
        ("1e999 * x", "overflows"),
        ("x * 1e300 * 1e300", "overflows"),
        ("(" * 150 + "x" + ")" * 150, "longer than 200"),
        ("(" * 99 + "x" + ")" * 98, "cannot be read"),
    ],
)
def test_everything_else_is_refused_with_its_place(text, reason):
    with pytest.raises(DataError, match=re.escape(reason)):
        affine(text)


@given(st.text(alphabet="0123456789.eE+-*/()x ", max_size=LONGEST))
def test_no_text_does_anything_but_answer_or_refuse(text):
    try:
        a, b = affine(text)
    except DataError:
        return
    assert math.isfinite(a)
    assert math.isfinite(b)
