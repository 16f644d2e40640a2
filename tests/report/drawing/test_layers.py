"""Layers and their order, held against what any drawing in layers must be, and crossings against all pairs of edges."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.report.drawing import layers


@st.composite
def networks(draw, most=14):
    """Boxes, and connections from lower to higher numbers."""
    count = draw(st.integers(1, most))
    nets = []
    for source in range(count):
        targets = draw(st.lists(st.integers(source + 1, count), max_size=4)) if source + 1 < count else []
        nets.append((source, [target for target in targets if target < count]))
    return count, nets


@given(networks())
def test_every_connection_leads_down(network):
    count, nets = network
    ranks = layers.ranks(count, nets)
    assert all(ranks[source] < ranks[target] for source, targets in nets for target in targets)
    assert sorted(set(ranks)) == list(range(max(ranks) + 1))


@given(networks())
def test_everything_is_in_one_layer_and_edges_join_neighbours(network):
    count, nets = network
    order = layers.ordered(count, nets)
    rank = {at: number for number, layer in enumerate(order.layers) for at in layer}
    assert len(rank) == sum(map(len, order.layers))
    assert set(range(count)) <= set(rank)
    assert all(rank[lower] == rank[upper] + 1 for upper, lower in order.edges)


def crossings(order):
    """Of all pairs of edges between two layers those that cross."""
    place = {at: position for layer in order.layers for position, at in enumerate(layer)}
    rank = {at: number for number, layer in enumerate(order.layers) for at in layer}
    return sum(
        rank[a] == rank[c] and (place[a] - place[c]) * (place[b] - place[d]) < 0
        for (a, b), (c, d) in combinations(order.edges, 2)
    )


@given(networks())
def test_crossings_are_counted_right(network):
    order = layers.ordered(*network)
    below = [[] for _ in range(sum(map(len, order.layers)))]
    for upper, lower in order.edges:
        below[upper].append(lower)
    place = [0] * len(below)
    for layer in order.layers:
        for position, at in enumerate(layer):
            place[at] = position
    assert layers._crossings(order.layers, below, place) == crossings(order)


CASES = {
    "two that were crossed": (4, [(0, [3]), (1, [2])]),
    "a ladder of branches": (9, [(0, [1, 2, 3]), (1, [4]), (2, [5]), (3, [6]), (4, [7]), (5, [7]), (6, [7]), (7, [8])]),
    "a connection past a block": (6, [(0, [1, 2, 4]), (1, [3]), (2, [3]), (3, [4]), (4, [5])]),
    "residual blocks": (9, [(n, [n + 1, n + 2] if n % 2 == 0 else [n + 1]) for n in range(7)] + [(7, [8])]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_can_be_drawn_without_crossings_is(name):
    assert crossings(layers.ordered(*CASES[name])) == 0


def test_targets_of_one_connection_share_its_bends():
    count = 50
    nets = [(0, list(range(1, count)))] + [(n, [n + 1]) for n in range(1, count - 1)]
    order = layers.ordered(count, nets)
    assert sum(map(len, order.layers)) - count == count - 2


def test_an_input_stands_where_it_is_first_read():
    nets = [(0, [2]), (1, [5]), (2, [3]), (3, [4]), (4, [5])]
    assert layers.ranks(6, nets) == [0, 3, 1, 2, 3, 4]


def test_connections_that_would_take_too_many_bends_have_none():
    count = 400
    nets = [(n, [n + 1]) for n in range(count - 1)] + [(n, [count - 1]) for n in range(count - 2)]
    order = layers.ordered(count, nets)
    assert sum(map(len, order.layers)) <= count * (1 + layers.BENDS) + 1000
    assert sum(not chain for chain in order.chains) > 0


@pytest.mark.parametrize("nets", [[(0, [0])], [(1, [0])], [(0, [1]), (1, [0])]])
def test_connections_back_do_no_harm(nets):
    order = layers.ordered(2, nets)
    assert sorted(at for layer in order.layers for at in layer) == [0, 1]
