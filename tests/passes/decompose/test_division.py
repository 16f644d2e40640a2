"""Division of whole numbers in LiteRT, against Python's own of any size."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.passes.infer import infer_shapes
from tests.passes.cases import Case, check, decomposed

COUNT = 4096


def pairs(dtype):
    """Numbers of all sizes, those beside the ends of the type, and divisors of the same; none is zero."""
    random, info = np.random.default_rng(0), np.iinfo(dtype)
    sides = []
    for _ in range(2):
        wide = random.integers(info.min + 1, info.max, COUNT, dtype=dtype, endpoint=True)
        numbers = wide >> random.integers(0, info.bits - 1, COUNT).astype(dtype)
        edges = np.array([info.max, info.max - 1, info.min + 1, 1, 2, info.max // 2, 3, info.max], dtype)
        numbers[: edges.size] = random.permutation(edges)
        sides.append(np.where(numbers == 0, 1, numbers).astype(dtype))
    return sides


def run(op_type, dtype, feed, folder, **attributes):
    build = Builder.new("division")
    x, y = (build.input(name, (COUNT,), dtype) for name in "xy")
    model = Model(build.finish([build(op_type, x, y, name="z", **attributes)]))
    infer_shapes(model)
    path = narrowcast.save(model, folder / "m.tflite", verify=False).path
    return runtimes.open(path, "litert").run(feed)["z"]


@pytest.mark.parametrize("dtype", ["int64", "uint64", "uint32", "int32"])
def test_quotients(dtype, tmp_path):
    a, b = pairs(dtype)
    found = run("Div", dtype, {"x": a, "y": b}, tmp_path)
    expected = [
        abs(p) // abs(q) * (-1 if (p < 0) != (q < 0) else 1) for p, q in zip(a.tolist(), b.tolist(), strict=True)
    ]
    np.testing.assert_array_equal(found, np.array(expected, dtype))


def test_quotients_by_a_constant(tmp_path):
    """As detectors divide an index by the number of classes."""
    a, _ = pairs("int64")
    found = run("Div", "int64", {"x": a, "y": np.full(COUNT, 80)}, tmp_path)
    np.testing.assert_array_equal(found, np.sign(a) * (np.abs(a) // 80))


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", ["int64", "uint64", "uint32", "int32", "int8"])
def test_remainders(dtype, fmod, tmp_path):
    a, b = pairs(dtype)
    found = run("Mod", dtype, {"x": a, "y": b}, tmp_path, fmod=fmod)
    np.testing.assert_array_equal(found, np.fmod(a, b) if fmod else np.mod(a, b))


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_powers(dtype, tmp_path):
    """Of any base, as far as they fit the type."""
    a, _ = pairs(dtype)
    room = np.array([64 if abs(base) < 2 else np.iinfo(dtype).bits // abs(base).bit_length() for base in a.tolist()])
    exponents = np.where(room > 1, np.arange(a.size) % np.maximum(room - 1, 1), 0).astype(dtype)
    found = run("Pow", dtype, {"x": a, "y": exponents}, tmp_path)
    expected = [base**exponent for base, exponent in zip(a.tolist(), exponents.tolist(), strict=True)]
    np.testing.assert_array_equal(found, np.array(expected, dtype))


def test_negative_powers(tmp_path):
    """One over a whole number is less than one, and rounds to zero."""
    base, exponent = np.resize([-1, 1, 2, -3], COUNT), np.resize([-1, -2, -3, -64, -63], COUNT)
    found = run("Pow", "int64", {"x": base, "y": exponent}, tmp_path)
    np.testing.assert_array_equal(found, np.where(np.abs(base) == 1, base ** (exponent % 2), 0))


CASES = (
    Case("long division", "(int64[2,3] x) => (y) <int64[3] d={3, -7, 2}> { y = Div(x, d) }", "..."),
    Case(
        "a remainder of whole numbers",
        "(int32[2,3] x) => (y) <int32[3] d={3, -7, 2}> { y = Mod<fmod=1>(x, d) }",
        "Mod Equal Not Less Or And Not And*2 Sub Where",
    ),
    Case("an unsigned quotient", "(uint64[2,3] x) => (y) <uint64[3] d={3, 7, 2}> { y = Div(x, d) }", "..."),
    Case("an unsigned remainder", "(uint64[2,3] x) => (y) <uint64[3] d={3, 7, 2}> { y = Mod(x, d) }", "..."),
    Case("a power", "(int64[2,3] x, int64[2,3] n) => (y) { y = Pow(x, n) }", "..."),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
