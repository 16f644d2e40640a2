"""The minimum cut against brute force."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.passes.layout.cut import INFINITE, minimum_cut

arcs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 20)), max_size=24)


def price(labels, network):
    return sum(capacity for u, v, capacity in network if labels[u] == 0 and labels[v] == 1)


@given(network=arcs)
def test_no_cut_is_cheaper(network):
    found = minimum_cut(8, network, [0], [7])
    assert (found[0], found[7]) == (0, 1)
    best = min(price((0, *free, 1), network) for free in itertools.product((0, 1), repeat=6))
    assert price(found, network) == best


@given(network=arcs)
def test_ties_go_to_channels_last(network):
    """Of all cheapest labellings the one with the fewest zeros is returned."""
    found = minimum_cut(8, network, [0], [7])
    best = [
        labels
        for free in itertools.product((0, 1), repeat=6)
        if price(labels := (0, *free, 1), network) == price(found, network)
    ]
    assert sum(found) == max(sum(labels) for labels in best)


def test_infinite_arcs_spread_labels():
    assert minimum_cut(4, [(0, 1, INFINITE), (1, 2, 5), (2, 3, INFINITE)], [0], [3]) == [0, 0, 1, 1]


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="contradict"):
        minimum_cut(2, [(0, 1, INFINITE)], [0], [1])


def test_a_long_chain_is_no_recursion():
    size = 30_000
    network = [(i, i + 1, 10 if i != 17 else 3) for i in range(size - 1)]
    labels = minimum_cut(size, network, [0], [size - 1])
    assert labels.index(1) == 18
