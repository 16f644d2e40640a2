"""Operators that stand for one another, by name or by place."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.evaluation.networks.matching import common, matched
from narrowcast.evaluation.networks.records import Operator, Subgraph, Tensor

from .test_differences import KERNELS, described, swap

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


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_common_order_is_a_longest_one(a, b):
    pairs = sorted(common(a, b))
    assert all(a[at] == b[to] for at, to in pairs)
    assert all(x < z and y < w for (x, y), (z, w) in pairwise(pairs))
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for at, one in enumerate(a):
        for to, other in enumerate(b):
            longest = max(table[at, to + 1], table[at + 1, to])
            table[at + 1, to + 1] = table[at, to] + 1 if one == other else longest
    assert len(pairs) == table[-1, -1]
