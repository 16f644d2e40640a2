"""The law finds what it says it finds."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.dialect.check import violations
from narrowcast.model import Model


def model_of(op_type, *constants, shape=(1, 2, 4, 4), out=None, **attributes):
    build = Builder.new("law")
    x = build.input("x", shape)
    inputs = [x, *(build.constant(array) for array in constants)]
    return Model(build.finish([build(op_type, *inputs, shape=out or shape, **attributes)]))


WINDOW = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
LAWFUL = [
    ("Relu", (), {}),
    ("Conv", (np.zeros((2, 2, 1, 1), np.float32),), WINDOW),
    ("Add", (np.zeros(4, np.float32),), {}),
    ("Clip", (np.float32(0), np.float32(6)), {}),
]
UNLAWFUL = [
    ("Dropout", (), {}, "replaced"),
    ("Conv", (np.zeros((2, 2, 1, 1), np.float32),), {"auto_pad": "SAME_UPPER", **WINDOW}, "window"),
    ("MaxPool", (), {"kernel_shape": [1, 1]}, "window"),
    ("Frobnicate", (), {}, "dialect"),
    ("Slice", (np.array([0]), np.array([1])), {}, "all there"),
]


@pytest.mark.parametrize(("op_type", "constants", "attributes"), LAWFUL, ids=[row[0] for row in LAWFUL])
def test_lawful(op_type, constants, attributes):
    assert violations(model_of(op_type, *constants, **attributes)) == []


@pytest.mark.parametrize(("op_type", "constants", "attributes", "demand"), UNLAWFUL, ids=[row[0] for row in UNLAWFUL])
def test_unlawful(op_type, constants, attributes, demand):
    assert any(demand in violation for violation in violations(model_of(op_type, *constants, **attributes)))


@pytest.mark.parametrize("lawful", [True, False])
def test_an_identity_is_lawful_as_an_output(lawful):
    build = Builder.new("law")
    y = build("Identity", build.input("x", (1, 8)), shape=(1, 8))
    z = build("Relu", y, shape=(1, 8))
    assert (violations(Model(build.finish([y, z] if lawful else [z]))) == []) == lawful


def test_a_reshape_by_a_computed_shape():
    build = Builder.new("law")
    x, shape = build.input("x", (1, 8)), build.input("shape", (2,), np.int64)
    model = Model(build.finish([build("Reshape", x, shape, shape=(2, 4))]))
    assert violations(model) == ["reshape/Reshape (Reshape): the shape is not constant"]


def test_ranks():
    build = Builder.new("law")
    x, y = build.input("x", (1, 2, 3)), build.input("y", (2, 3))
    model = Model(build.finish([build("Add", x, y, shape=(1, 2, 3))]))
    assert any("ranks" in violation for violation in violations(model))
