"""Operators that only move or scale what is there: what they become, and that they compute the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from narrowcast.model import ir
from narrowcast.passes.canonicalize import canonicalize
from tests.cases import OpCase
from tests.passes.layout.physical_graphs import run


@dataclass(frozen=True)
class Spelling:
    """A small graph, and the operators that it comes down to, in order."""

    name: str
    build: Callable[..., ir.Value | tuple[ir.Value, ...]]
    operators: str
    shape: tuple[int, ...] = (2, 8, 4, 6)


def sliced(build, x, start, end, axis, step=1):
    return build("Slice", x, *(build.constant(np.array([n], np.int64)) for n in (start, end, axis, step)))


def reshaped(build, x, *shape):
    return build("Reshape", x, build.constant(np.array(shape, np.int64)))


def turned(build, x, *perm):
    return build("Transpose", x, perm=list(perm))


def rolled(build, x):
    return build("Concat", sliced(build, x, 3, 8, 1), sliced(build, x, 0, 3, 1), axis=1)


def halves(build, x, *ends):
    return tuple(
        build("Relu", sliced(build, x, start, end, 1)) for start, end in zip((0, *ends), (*ends, 8), strict=True)
    )


def attention(build, x, *, twice=True):
    query = reshaped(build, x, 2, 8, 3, 8)
    key = build("Transpose", build("Tanh", query), perm=[0, 1, 3, 2])
    query = build("Mul", query, build.constant(np.float32(0.5)))
    key = build("Mul", key, build.constant(np.float32(0.25))) if twice else key
    return build("MatMul", query, key)


def picked(build, x, axis, *positions):
    return [build("Gather", x, build.constant(np.array(position)), axis=axis) for position in positions]


def heads(build, x, *, picking):
    """Queries, keys and values, one behind the other."""
    y = turned(build, reshaped(build, x, 2, 8, 3, 2, 4), 2, 0, 3, 1, 4)
    if picking:
        parts = picked(build, y, 0, 0, 1, 2)
    else:
        cuts = build("Split", y, build.constant(np.array([1, 1, 1])), axis=0, outputs=3)
        parts = [reshaped(build, cut, 2, 2, 8, 4) for cut in cuts]
    query, key, value = parts
    return build("Add", build("Mul", query, key), value)


def rotary(build, x):
    """A transposed tensor that one reader cannot take as it was."""
    y = turned(build, x, 0, 2, 1, 3)
    left, right = build("Split", y, build.constant(np.array([2, 4])), axis=3, outputs=2)
    swapped = build("Concat", right, left, axis=3)
    factors = build.constant(np.linspace(1, 2, 6, dtype=np.float32))
    return build("Add", build("Mul", y, factors), swapped)


def read_twice(build, x):
    once = sliced(build, x, 1, 8, 1)
    return sliced(build, once, 2, 6, 1), build("Relu", once)


HEADS = "Reshape Transpose Reshape Split Mul Add"
SPELLINGS = (
    Spelling("slices of one axis after another", lambda b, x: sliced(b, sliced(b, x, 1, 8, 1), 2, 6, 1), "Slice"),
    Spelling("slices of two axes", lambda b, x: sliced(b, sliced(b, x, 1, 8, 1), 0, 6, 3, 2), "Slice"),
    Spelling("slices by steps", lambda b, x: sliced(b, sliced(b, x, 1, 8, 1, 2), 1, 4, 1, 2), "Slice"),
    Spelling("a slice that is read twice", read_twice, "Slice Slice Relu"),
    Spelling("a slice backwards", lambda b, x: sliced(b, sliced(b, x, 1, 8, 1), -1, -9, 1, -1), "Slice Slice"),
    Spelling("two halves", lambda b, x: halves(b, x, 4), "Split Relu Relu"),
    Spelling("three parts", lambda b, x: halves(b, x, 1, 5), "Split Relu Relu Relu"),
    Spelling("a roll", rolled, "Split Concat"),
    Spelling("parts with a gap", lambda b, x: (sliced(b, x, 0, 3, 1), sliced(b, x, 4, 8, 1)), "Slice Slice"),
    Spelling("parts that overlap", lambda b, x: (sliced(b, x, 0, 5, 1), sliced(b, x, 4, 8, 1)), "Slice Slice"),
    Spelling("parts of two axes", lambda b, x: (sliced(b, x, 0, 4, 1), sliced(b, x, 2, 4, 2)), "Slice Slice"),
    Spelling(
        "concatenations within one another",
        lambda b, x: b("Concat", b("Relu", x), b("Concat", x, b("Tanh", x), axis=1), axis=1),
        "Relu Tanh Concat",
    ),
    Spelling(
        "concatenations along two axes",
        lambda b, x: b("Concat", b("Concat", x, x, axis=1), b("Concat", x, x, axis=1), axis=2),
        "Concat Concat",
    ),
    Spelling(
        "a concatenation that is read twice",
        lambda b, x: b("Concat", y := b("Concat", x, b("Relu", x), axis=1), b("Tanh", y), axis=1),
        "Relu Concat Tanh Concat",
    ),
    Spelling(
        "a transposition between reshapes that keeps the axes",
        lambda b, x: reshaped(b, turned(b, reshaped(b, x, 16, 4, 6), 0, 2, 1), 2, 8, 6, 4),
        "Transpose",
    ),
    Spelling(
        "a transposition between reshapes that split an axis",
        lambda b, x: reshaped(b, turned(b, reshaped(b, x, 2, 32, 6), 0, 2, 1), 2, 6, 8, 4),
        "Transpose",
    ),
    Spelling(
        "a transposition between reshapes that join axes",
        lambda b, x: reshaped(b, turned(b, reshaped(b, x, 2, 2, 4, 4, 6), 0, 2, 1, 3, 4), 2, 8, 4, 6),
        "Reshape Transpose Reshape",
    ),
    Spelling(
        "a transposition of axes of size 1",
        lambda b, x: reshaped(b, turned(b, reshaped(b, x, 16, 1, 24), 0, 2, 1), 16, 24),
        "Reshape",
    ),
    Spelling("products scaled on both sides", attention, "Reshape Tanh Mul Transpose MatMul", (2, 8, 24)),
    Spelling(
        "products scaled on one side",
        lambda b, x: attention(b, x, twice=False),
        "Reshape Tanh Mul Transpose MatMul",
        (2, 8, 24),
    ),
    Spelling("a pick of each position", lambda b, x: heads(b, x, picking=True), HEADS, (2, 8, 24)),
    Spelling("parts reshaped alike", lambda b, x: heads(b, x, picking=False), HEADS, (2, 8, 24)),
    Spelling("positions left out", lambda b, x: tuple(picked(b, x, 0, 1, 2)), "Gather Gather", (3, 4, 5)),
    Spelling("positions of an inner axis", lambda b, x: tuple(picked(b, x, 1, 0, 1)), "Gather Gather", (3, 2, 5)),
    Spelling("positions below axes of size 1", lambda b, x: tuple(picked(b, x, 1, 0, 1)), "Reshape Split", (1, 2, 5)),
    Spelling("a transposition that one reader keeps", rotary, "Transpose Split Mul Concat Add"),
    Spelling(
        "a transposition that no reader keeps",
        lambda b, x: b("Add", b("Relu", y := turned(b, x, 0, 2, 1, 3)), b("Tanh", y)),
        "Relu Tanh Add Transpose",
    ),
)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
def test_moves(spelling):
    case = OpCase(spelling.name, spelling.build, (spelling.shape,))
    model, feed = case.model(), case.feed()
    expected = run(model.ir, feed)
    canonicalize(model)
    assert sorted(node.op_type for node in model.graph) == sorted(spelling.operators.split())
    for found, wanted in zip(run(model.ir, feed), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    before = [(node.op_type, node.name) for node in model.graph]
    canonicalize(model)
    assert [(node.op_type, node.name) for node in model.graph] == before
