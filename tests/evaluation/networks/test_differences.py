"""Two networks, one made of the other by a known change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.evaluation.networks.differences import Difference, _common, differences, matched
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
    assert first.count == 16


MATCHES = {
    "renamed": ("ABCABC", "ABCABC", [(at, at) for at in range(6)]),
    "one more in front": ("ABCABC", "XABCABC", [(at, at + 1) for at in range(6)]),
    "one less inside": ("ABCABC", "ABABC", [(0, 0), (1, 1), (3, 2), (4, 3), (5, 4)]),
    "another order": ("AB", "BA", [(0, 1), (1, 0)]),
    "nothing alike": ("AAA", "BB", []),
}


@pytest.mark.parametrize("name", MATCHES)
def test_operators_without_names_in_common_are_matched_by_place(name):
    first, second, wanted = MATCHES[name]
    one, other = (
        described(types, named=named, arrays=KERNELS * 2).network.graphs[0]
        for types, named in ((first, True), (second, False))
    )
    assert matched(one, other) == wanted


def test_names_go_before_places():
    def rename(tensors, operators):
        for at in range(6):
            swap(tensors, at + 1, name=f"t{6 - at}")
            swap(operators, at, name="")

    one, other = (item.network.graphs[0] for item in (described("AAAAAA"), described("AAAAAA", changed=rename)))
    assert matched(one, other) == [(at, 5 - at) for at in range(6)]


def test_ten_thousand_alike_operators_are_matched_in_no_time():
    tensors = tuple(Tensor("", (1,), "float32") for _ in range(10_001))
    operators = tuple(Operator("", "Relu", (at,), (at + 1,)) for at in range(10_000))
    graph = Subgraph("g", (0,), (10_000,), tensors, operators)
    assert len(matched(graph, replace(graph, operators=operators[1:]))) == 9_999


def test_graphs_that_only_one_has():
    one = described()
    graphs = (*one.network.graphs, Subgraph("body", (), (), (), (Operator("inside", "Add", (), ()),)))
    found = differences(one, Described(replace(one.network, graphs=graphs), one.values))
    assert found.only_second == (("inside", "Add"),)
    assert found.types == (("Add", 0, 1),)


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_common_order_is_a_longest_one(a, b):
    pairs = sorted(_common(a, b))
    assert all(a[at] == b[to] for at, to in pairs)
    assert all(x < z and y < w for (x, y), (z, w) in pairwise(pairs))
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for at, one in enumerate(a):
        for to, other in enumerate(b):
            longest = max(table[at, to + 1], table[at + 1, to])
            table[at + 1, to + 1] = table[at, to] + 1 if one == other else longest
    assert len(pairs) == table[-1, -1]
