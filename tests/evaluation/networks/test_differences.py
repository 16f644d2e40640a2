"""Two networks, one made of the other by a known change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from narrowcast.evaluation.networks import differences as module
from narrowcast.evaluation.networks.differences import Difference, differences
from narrowcast.evaluation.networks.records import Described, Network, Operator, Quantization, Subgraph, Tensor

KERNELS = [np.random.default_rng(at).normal(size=(4, 4)).astype(np.float32) for at in range(6)]


def described(types="ABCABC", *, named=True, arrays=KERNELS, changed=None):
    """A chain of operators with a kernel each; `changed` is a function of its tensors and operators."""
    count = len(types)
    tensors = [
        Tensor(f"t{at}" if named else f"x{at}", (1, 4), "float32", "activation" if at else "input")
        for at in range(count + 1)
    ]
    tensors += [Tensor(f"w{at}", (4, 4), "float32", "constant", bytes=64) for at in range(count)]
    operators = [
        Operator(f"op{at}" if named else "", kind, (at, count + 1 + at), (at + 1,), ("X", "W"), {"axis": 1})
        for at, kind in enumerate(types)
    ]
    if changed is not None:
        changed(tensors, operators)
    graph = Subgraph("g", (0,), (count,), tuple(tensors), tuple(operators))
    network = Network(Path("m"), 100, "onnx", "", "as read", (graph,))
    return Described(network, lambda _, at: arrays[at - count - 1])


def swap(sequence, at, **fields):
    sequence[at] = replace(sequence[at], **fields)


def test_nothing_differs():
    found = differences(described(), described())
    assert found.alike
    assert (len(found.pairs), found.first.operators, found.second.constants) == (6, 6, 384)


SCALE = Quantization((0.5,), (3,))
CHANGES = {
    "attribute": (
        lambda tensors, operators: swap(operators, 2, attributes={"axis": 2, "new": "x"}),
        [("op2", "C", "attribute axis", 1, 2), ("op2", "C", "attribute new", None, "x")],
    ),
    "type": (lambda tensors, operators: swap(operators, 1, type="Z"), [("op1", "B", "type", "B", "Z")]),
    "shape": (lambda tensors, operators: swap(tensors, 2, shape=(1, None)), [("op1", "B", "shape", (1, 4), (1, None))]),
    "quantisation": (
        lambda tensors, operators: swap(tensors, 2, quantization=SCALE, dtype="int8"),
        [("op1", "B", "dtype", "float32", "int8"), ("op1", "B", "quantisation", None, SCALE)],
    ),
    "constant": (lambda tensors, operators: swap(tensors, 7, shape=(2, 8)), [("op0", "A", "W shape", (4, 4), (2, 8))]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_told_and_nothing_else(name):
    change, wanted = CHANGES[name]
    found = differences(described(), described(changed=change))
    assert [(item.owner, item.type, item.what, item.first, item.second) for item in found.operators] == wanted
    assert (len(found.pairs), found.only_first, found.only_second) == (6, (), ())
    assert not found.alike


def test_ports_are_compared_in_their_order():
    def change(tensors, operators):
        swap(tensors, 0, name="image", shape=(2, 4))

    found = differences(described(), described(changed=change))
    assert found.ports == (
        Difference(0, "t0", "input", "name", "t0", "image"),
        Difference(0, "t0", "input", "shape", (1, 4), (2, 4)),
    )


def test_weights_differ_by_so_much():
    arrays = [array.copy() for array in KERNELS]
    arrays[3][1, 2] += 0.25
    arrays[3][0, 0] -= 0.125
    (item,) = differences(described(), described(arrays=arrays)).operators
    assert (item.owner, item.what, item.count) == ("op3", "W elements", 2)
    assert item.largest == pytest.approx(0.25)
    assert item.reach == pytest.approx(np.abs(KERNELS[3]).max())


def test_integers_are_compared_as_the_numbers_that_they_stand_for():
    scales = Quantization((0.5, 1.0, 0.25, 2.0), (0, 1, 0, 0), 0)
    stored = [np.arange(16, dtype=np.int8).reshape(4, 4)] * 6
    real = [
        ((array - np.array([[0], [1], [0], [0]])) * np.array([[0.5], [1], [0.25], [2]])).astype(np.float32)
        for array in stored
    ]

    def quantize(tensors, operators):
        for at in range(7, 13):
            swap(tensors, at, quantization=scales, dtype="int8")

    found = differences(described(arrays=real), described(arrays=stored, changed=quantize))
    assert {item.what for item in found.operators} == {"W dtype", "W quantisation"}


def test_what_is_not_a_number_is_like_itself():
    arrays = [np.full((4, 4), np.nan, np.float32)] * 6
    assert differences(described(arrays=arrays), described(arrays=arrays)).alike
    (first, *_) = differences(described(arrays=arrays), described()).operators
    assert (first.count, first.largest) == (16, np.inf)


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_elements_are_compared_by_parts(axis, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    random = np.random.default_rng(5)
    stored = random.integers(-128, 128, (5, 4, 3)).astype(np.int8)
    count = 1 if axis is None else stored.shape[axis]
    scales, points = random.uniform(0.1, 1, count), random.integers(-9, 9, count)
    shape = [-1 if place == axis else 1 for place in range(3)]
    real = (stored - points.reshape(shape)) * scales.reshape(shape)
    moved = real.copy()
    moved[4, 3, 2] += 2.5
    quantization = Quantization(tuple(scales), tuple(map(int, points)), axis)
    assert module._apart(stored, quantization, real, None) is None
    largest, differing, reach = module._apart(stored, quantization, moved, None)
    assert (differing, largest, reach) == (1, pytest.approx(2.5), pytest.approx(np.abs(real).max()))


def test_graphs_that_only_one_has():
    one = described()
    graphs = (*one.network.graphs, Subgraph("body", (), (), (), (Operator("inside", "Add", (), ()),)))
    found = differences(one, Described(replace(one.network, graphs=graphs), one.values))
    assert found.only_second == (("inside", "Add"),)
    assert found.types == (("Add", 0, 1),)
