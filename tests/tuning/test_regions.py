"""Blocks of a graph, and how much of its arithmetic is done in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast import quantization, targets
from narrowcast.passes.prepare import adapt
from narrowcast.tuning.regions import blocks_of, share_in_floats


@pytest.fixture(scope="module")
def network(digits):
    model = narrowcast.load(next(digits.glob("*.keras")))
    adapt(model, targets.find("litert"))
    return model


def test_each_block_has_one_layer_with_weights(network):
    blocks = blocks_of(network.graph)
    names = [name for block in blocks for name in block.nodes]
    assert names == [node.name for node in network.graph]
    kinds = {node.name: node.op_type for node in network.graph}
    weighed = [sum(kinds[name] in ("Conv", "Gemm") for name in block.nodes) for block in blocks]
    assert weighed == [1] * len(blocks)
    assert all(block.products > 0 for block in blocks)


def test_the_share_of_the_arithmetic(network):
    blocks, target = blocks_of(network.graph), targets.find("litert")
    total = sum(block.products for block in blocks)
    spec = network.inputs[0]
    feeds = [{spec.name: np.random.default_rng(0).uniform(size=(1, *spec.shape[1:])).astype(np.float32)}]
    assert share_in_floats(network.graph) == 1.0
    assert share_in_floats(quantization.quantize(network, "int8", target, feeds=feeds).graph) == 0.0
    for scheme in ("float32", "int16x8"):
        overrides = dict.fromkeys(blocks[0].nodes, scheme)
        mixed = quantization.quantize(network, "int8", target, feeds=feeds, overrides=overrides)
        assert share_in_floats(mixed.graph) == pytest.approx(blocks[0].products / total)
