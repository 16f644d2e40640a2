"""Drawings: boxes do not touch, connections join what they should and pass no box."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.report.drawing import placement

from .test_layers import networks

SIZES = st.tuples(st.floats(20, 300), st.floats(20, 120))


@st.composite
def sized(draw):
    count, nets = draw(networks())
    return [draw(SIZES) for _ in range(count)], nets


def pieces(route):
    numbers = iter(route.pieces)
    return list(zip(numbers, numbers, numbers, numbers, strict=True))


@given(sized())
def test_boxes_lie_on_the_sheet_and_apart(network):
    sizes, nets = network
    drawing = placement.draw(sizes, nets)
    frames = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(drawing.corners, sizes, strict=True)]
    assert all(x >= 0 and y >= 0 and r <= drawing.width and b <= drawing.height for x, y, r, b in frames)
    for (x1, y1, r1, b1), (x2, y2, r2, b2) in combinations(frames, 2):
        assert r1 <= x2 - 1 or r2 <= x1 - 1 or b1 <= y2 - 1 or b2 <= y1 - 1


@given(sized())
def test_routes_lead_from_their_source_to_each_target(network):
    sizes, nets = network
    drawing = placement.draw(sizes, nets)
    for (source, targets), route in zip(nets, drawing.routes, strict=True):
        (x, y), (width, height) = drawing.corners[source], sizes[source]
        assert x - 1e-6 <= route.start[0] <= x + width + 1e-6
        assert route.start[1] == y + height
        reached, upright = {route.start}, []
        for x1, y1, x2, y2 in pieces(route):
            assert (x1, y1) in reached or any(x == x1 and top < y1 < bottom for x, top, bottom in upright)
            assert y2 > y1
            reached.add((x2, y2))
            upright += [(x1, y1, y2)] if x1 == x2 else []
        heads = list(zip(route.heads[::2], route.heads[1::2], strict=True))
        assert set(heads) <= reached
        assert len(heads) == len(set(targets))
        for target in set(targets):
            left, top = drawing.corners[target]
            assert any(left - 1e-6 <= x <= left + sizes[target][0] + 1e-6 and y == top for x, y in heads)


@given(sized())
def test_no_connection_runs_through_a_box(network):
    sizes, nets = network
    drawing = placement.draw(sizes, nets)
    for route in drawing.routes:
        for x1, y1, x2, y2 in pieces(route):
            if x1 != x2:
                continue
            for (x, y), (width, height) in zip(drawing.corners, sizes, strict=True):
                assert not (x < x1 < x + width and y1 < y + height - 1e-6 and y2 > y + 1e-6)


def middle(drawing, sizes, box):
    return drawing.corners[box][0] + sizes[box][0] / 2


@pytest.mark.parametrize("blocks", [1, 40])
def test_the_longest_way_is_straight(blocks):
    nets, spine = [], [0]
    for block in range(blocks):  # three branches, the second is the longest, and a connection past them all
        at, rest = 6 * block, range(6 * block + 1, 6 * block + 7)
        a, b, c, d, e, join = rest
        nets += [(at, [a, b, d, join]), (a, [join]), (b, [c]), (c, [e]), (d, [join]), (e, [join])]
        spine += [b, c, e, join]
    nets.append((6 * blocks, []))
    sizes = [(60 + 7 * (box % 5), 40) for box in range(6 * blocks + 1)]
    drawing = placement.draw(sizes, nets)
    assert len({round(middle(drawing, sizes, box), 6) for box in spine}) == 1
    assert drawing.width < 500


def test_a_chain_is_one_straight_line():
    drawing = placement.draw([(50, 20), (90, 30), (70, 20)], [(0, [1]), (1, [2]), (2, [])])
    assert [len(pieces(route)) for route in drawing.routes] == [1, 1, 0]
    assert all(x1 == x2 for route in drawing.routes for x1, _, x2, _ in pieces(route))


def test_nothing_at_all():
    drawing = placement.draw([], [])
    assert drawing.corners == drawing.routes == ()


@pytest.mark.parametrize("nets", [[(0, [0])], [(1, [0]), (0, [1])]])
def test_connections_back_are_drawn_straight(nets):
    drawing = placement.draw([(50, 20)] * 2, nets)
    assert all(route.pieces for route in drawing.routes)
