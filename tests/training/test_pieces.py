"""A network is cut where least crosses; pieces are whole, in order, and of few layers."""

from __future__ import annotations

import numpy as np

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.passes.infer import infer_shapes
from narrowcast.training.pieces import MOST_LAYERS, Piece, pieces_of, whole
from tests.training.graphs import convolutional, images


def residual(blocks, narrow=4, wide=16):
    """Bottlenecks with a way around them: between two of them one narrow tensor crosses."""
    build, random = Builder.new("residual"), np.random.default_rng(0)
    x = value = build.input("x", (1, narrow, 6, 6))
    for block in range(blocks):
        inner = build(
            "Conv",
            value,
            build.constant(random.normal(size=(wide, narrow, 1, 1)).astype("f"), "w"),
            name=f"wide{block}",
        )
        inner = build(
            "Conv",
            inner,
            build.constant(random.normal(size=(narrow, wide, 1, 1)).astype("f"), "w"),
            name=f"narrow{block}",
        )
        value = build("Add", inner, value, name=f"sum{block}")
    model = Model(
        build.finish(
            [
                build(
                    "Softmax",
                    build("ReduceMean", value, build.constant([2, 3], "axes", np.int64), name="m", keepdims=0),
                    name="y",
                    axis=1,
                )
            ]
        )
    )
    infer_shapes(model)
    assert x.name == "x"
    return model


def test_cuts_are_where_least_crosses():
    model = residual(4)
    found = pieces_of(model, narrowcast.quantize(model, "int8", data=[{"x": np.ones((1, 4, 6, 6), "f")}]))
    assert found == [Piece(("x",), ("sum1",)), Piece(("sum1",), ("m",))]


def test_a_small_network_is_one_piece():
    model = convolutional()
    assert pieces_of(model, narrowcast.quantize(model, "int8", data=images(2))) == [Piece(("x",), ("y",))]


def test_what_crosses_may_be_several_values():
    build = Builder.new("two")
    ways = [build.input("x", (1, 3, 4, 4))] * 2
    for layer in range(2 * MOST_LAYERS):
        weights = build.constant(np.ones((3, 3, 1, 1), "f"), "w")
        ways = [build("Conv", way, weights, name=f"{side}{layer}") for side, way in zip("ab", ways, strict=True)]
    model = Model(build.finish([build("Add", *ways, name="y")]))
    infer_shapes(model)
    found = pieces_of(model, model)
    assert [piece.inputs for piece in found[1:]] == [piece.outputs for piece in found[:-1]]
    assert len(found) == 4
    assert all(len(piece.inputs) == 2 for piece in found[1:])


def test_scores_are_compared_before_the_softmax():
    assert whole(residual(1)) == Piece(("x",), ("m",))
