"""Substituted operators beside numpy's statement of them, and what is told of those that compute something else."""

import numpy as np
import pytest

from narrowcast.editing.substitutions import SUBSTITUTIONS, substitute
from narrowcast.errors import UsageError
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.reference import Reference
from tests.editing import HEAD, network, operators

X = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32) * 3
PORTS = "(float[1, 2, 4, 4] x) => (float[1, 2, h, w] y)"
SLOPE = np.array([0.25, -0.5], np.float32)[:, None, None]


def _resize(mode, sizes=(7, 5), **words):
    said = "".join(f', {name} = "{word}"' for name, word in words.items())
    numbers = ", ".join(map(str, (1, 2, *sizes)))
    return f'<int64[4] s = {{{numbers}}}> {{ y = Resize <mode = "{mode}"{said}> (x, , , s) }}'


def _lines(places, x, axis):
    """Linear interpolation along one axis at real places, clamped."""
    places = np.clip(places, 0, x.shape[axis] - 1)
    low = np.floor(places).astype(int)
    high, share = np.minimum(low + 1, x.shape[axis] - 1), places - low
    share = share.reshape([-1 if place == axis else 1 for place in range(4)])
    return x.take(low, axis) * (1 - share) + x.take(high, axis) * share


def _aligned(x):
    for axis, size in ((2, 7), (3, 5)):
        x = _lines(np.arange(size) * (x.shape[axis] - 1) / (size - 1), x, axis)
    return x


CASES = {
    "prelu=minmax": (
        "<float[2, 1, 1] a = {0.25, -0.5}> { y = PRelu (x, a) }",
        ["Add", "Min", "Mul", "Relu"],
        lambda x: np.where(x > 0, x, SLOPE * x),
    ),
    "leaky_relu=minmax": (
        "{ y = LeakyRelu <alpha = 0.25> (x) }",
        ["Add", "Min", "Mul", "Relu"],
        lambda x: np.where(x > 0, x, 0.25 * x),
    ),
    "swish=hard_swish": (
        "{ s = Sigmoid (x) y = Mul (s, x) }",
        ["HardSwish"],
        lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    ),
    "hard_swish=swish": ("{ y = HardSwish (x) }", ["Mul", "Sigmoid"], lambda x: x / (1 + np.exp(-x))),
    "resize=nearest": (
        _resize("linear", (8, 8)),
        ["Resize"],
        lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    "resize=linear": (
        _resize("cubic", coordinate_transformation_mode="align_corners"),
        ["Resize"],
        _aligned,
    ),
    "resize=align_corners": (_resize("linear"), ["Resize"], _aligned),
    "resize=half_pixel": (
        _resize("linear", (8, 4), coordinate_transformation_mode="asymmetric"),
        ["Resize"],
        lambda x: _lines((np.arange(8) + 0.5) / 2 - 0.5, x, 2),
    ),
    "resize=asymmetric": (
        _resize("linear", (8, 4)),
        ["Resize"],
        lambda x: _lines(np.arange(8) / 2, x, 2),
    ),
}


def canonical(folder, body):
    model = network(folder, f"{HEAD}net {PORTS} {body}")
    canonicalize(model)
    return model


def test_every_row_has_a_case():
    assert set(CASES) == {f"{row.operator}={row.by}" for row in SUBSTITUTIONS}


@pytest.mark.parametrize("row", SUBSTITUTIONS, ids=lambda row: f"{row.operator}={row.by}")
def test_what_it_computes(row, tmp_path):
    body, wanted_operators, function = CASES[f"{row.operator}={row.by}"]
    model = canonical(tmp_path, body)
    before = Reference(model).run({"x": X})["y"]
    done = substitute(model, {row.operator: row.by})
    assert sorted(operators(done)) == wanted_operators
    np.testing.assert_allclose(Reference(done).run({"x": X})["y"], function(X), rtol=1e-5, atol=1e-5)
    record = {"do": "substitute", "operator": row.operator, "by": row.by, "nodes": 1}
    assert done.provenance.edits == (record,)
    assert (done.unedited is None) == (done.edited is None) == row.exact
    if done.unedited is not None:
        np.testing.assert_array_equal(Reference(done.unedited).run({"x": X})["y"], before)


def test_several(tmp_path):
    model = canonical(tmp_path, "{ s = Sigmoid (x) a = Mul (x, s) y = LeakyRelu (a) }")
    done = substitute(model, {"swish": "hard_swish", "leaky_relu": "minmax"})
    assert sorted(operators(done)) == ["Add", "HardSwish", "Min", "Mul", "Relu"]


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ({"swish": "hardswish"}, "did you mean swish=hard_swish?"),
        ({"gelu": "x"}, "known: prelu=minmax"),
        ({"swish": "hard_swish"}, "the network has HardSwish"),
        ({"resize": "nearest"}, "changes nothing"),
    ],
)
def test_what_cannot_be_substituted(wanted, what, tmp_path):
    with pytest.raises(UsageError) as caught:
        substitute(canonical(tmp_path, "{ y = HardSwish (x) }"), wanted)
    assert what in str(caught.value)
