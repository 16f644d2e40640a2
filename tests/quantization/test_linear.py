"""The work of quantising grows as the network does: counted in lines that are run, not in seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.quantization import Ranges, quantize
from narrowcast.targets.litert import LITERT

ROOMS = tuple(str(Path(narrowcast.__file__).parent / room) for room in ("quantization", "targets"))
SHAPE = (1, 4, 4, 4)


def chain(blocks: int) -> Model:
    """Convolutions, scales that are prescribed, scales that are shared, and an input for each block."""
    build = Builder.new("chain")
    kernel = np.random.default_rng(0).normal(size=(4, 4, 1, 1)).astype(np.float32)
    value = build.input("x", SHAPE)
    for block in range(blocks):
        fed = build.input(f"x{block}", SHAPE)
        value = build("Conv", value, build.constant(kernel), shape=SHAPE)
        wide = build("Concat", build("Sigmoid", value, shape=SHAPE), fed, axis=1, shape=(1, 8, 4, 4))
        ends = [build.constant(np.array([number])) for number in (0, 4, 1, 1)]
        value = build("Add", build("Slice", wide, *ends, shape=SHAPE), value, shape=SHAPE)
    return Model(build.finish([value]))


def lines_run(model: Model) -> int:
    """How many lines, each round of a comprehension counted, quantising runs in the rooms concerned."""
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    ranges = Ranges({value.name or "": (-1.0, 1.0) for value in values}, 1, "minmax")
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if not frame.f_code.co_filename.startswith(ROOMS):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        quantize(model, "full_int8", LITERT, ranges=ranges)
    finally:
        sys.settrace(before)
    return count


def test_twice_the_nodes_are_twice_the_work():
    small, large = (lines_run(chain(blocks)) for blocks in (80, 160))
    assert large < 2.1 * small
