"""One decision: of groups about to be quantised, of quantised graphs, of graphs that break a rule."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.model import ir
from narrowcast.targets.decide import decide
from narrowcast.targets.groups import activation_of, group, groups_of
from narrowcast.targets.litert import LITERT
from narrowcast.targets.onnxruntime import ONNXRUNTIME
from narrowcast.targets.rules import Storage
from narrowcast.targets.spelling import Parameters, Speller, hold_roundings, keep_in_float, parameters_of

SHAPE = (1, 4, 6, 6)
KERNEL = np.random.default_rng(0).normal(size=(4, 4, 1, 1)).astype(np.float32)
INT8, FINE = Parameters(0.1, 3, "int8"), Parameters(2**-10, 0, "int16")
UNIT = Parameters(1 / 256, -128, "int8")
BYTE = Parameters(0.1, 3, "uint8")


class Sketch:
    """A graph of one input, and what is put behind it."""

    def __init__(self):
        self.build = Builder.new("sketch")
        self.speller = Speller(self.build.graph)
        self.x = self.build.input("x", SHAPE)

    def __call__(self, op_type, *inputs, **attributes):
        return self.build(op_type, *inputs, shape=SHAPE, dtype=np.float32, **attributes)

    def constant(self, array):
        return self.build.constant(np.asarray(array, np.float32))

    def weights(self, scale=0.01, zero=0, dtype="int8"):
        integers = np.clip(np.rint(KERNEL / 0.05), -127, 127).astype(dtype)
        return self.speller.stored(ir.Tensor(integers), np.array([scale]), zero, None, "w")

    def bias(self, scale):
        return self.speller.stored(ir.Tensor(np.zeros(4, np.int32)), np.array([scale]), 0, None, "b")

    def pair(self, value, found=INT8):
        return self.speller.pair(value, found)

    def verdict(self, value, target=LITERT, storage=None):
        self.build.finish([value])
        anchor = next(node for node in self.build.graph if node.op_type not in ("QuantizeLinear", "DequantizeLinear"))
        return decide(group(anchor, target), target, storage)


FLOAT = {
    "": lambda s: s("Conv", s.x, s.constant(KERNEL)),
    "LiteRT has no integer kernel for it": lambda s: s("Sin", s.x),
    "LiteRT has no kernel for it in int16": lambda s: s("HardSwish", s.x),
    "its weights are computed": lambda s: s("Conv", s.x, s.build.input("w", KERNEL.shape)),
    "its bias is computed": lambda s: s("Conv", s.x, s.constant(KERNEL), s.build.input("b", (4,))),
    "all its operands are constants": lambda s: s("Add", s.constant(KERNEL), s.constant(KERNEL)),
    "its operands are no floats": lambda s: s("Relu", s.build.input("i", SHAPE, np.int32)),
    "LiteRT convolves volumes in floats only": lambda s: s(
        "Conv", s.build.input("v", (1, 4, 2, 6, 6)), s.constant(KERNEL[..., None])
    ),
}


@pytest.mark.parametrize("why", FLOAT)
def test_of_a_group_that_is_to_be_quantised(why):
    sketch = Sketch()
    assert sketch.verdict(FLOAT[why](sketch), storage=LITERT.storage["int16x8"]).why == why


def test_of_a_group_that_is_to_stay():
    sketch = Sketch()
    assert sketch.verdict(sketch("Relu", sketch.x), storage=Storage()).why == "it is to be kept in float"


def convolution(sketch, weights=None, bias=None, after=INT8, before=INT8):
    inputs = [sketch.pair(sketch.x, before), weights or sketch.weights(), *([] if bias is None else [bias])]
    return sketch.pair(sketch("Conv", *inputs), after)


def softmax(sketch):
    """By 16 bits: a kernel that only files of the target's own are left."""
    return sketch.pair(sketch("Softmax", sketch.pair(sketch.x, FINE)), Parameters(2**-15, 0, "int16"))


QUANTISED = {
    "": [
        convolution,
        lambda s: convolution(s, bias=s.bias(0.001)),
        lambda s: s.pair(s("MaxPool", s.pair(s.x))),
        lambda s: s.pair(s("Sigmoid", s.pair(s.x)), UNIT),
        lambda s: s.pair(s("Clip", s.pair(s.x), s.constant(0.0), s.constant(6.0)), UNIT),
        lambda s: s.pair(s("Add", s.pair(s.x), s.pair(s.x, UNIT)), FINE),
        lambda s: convolution(s, after=FINE),
        lambda s: convolution(s, s.weights(zero=120, dtype="uint8"), before=BYTE, after=BYTE),
        lambda s: s.pair(s("Concat", s.pair(s.x, BYTE), s.pair(s.x, Parameters(0.2, 3, "uint8")), axis=0), BYTE),
    ],
    "an operand is not quantised": [lambda s: s.pair(s("Add", s.pair(s.x), s.x))],
    "its output is read in float": [
        lambda s: s("Relu", s.pair(s.x)),
        lambda s: s("Exp", s("Relu", s.pair(s.x))),
    ],
    "LiteRT stores no activations in uint16": [
        lambda s: s.pair(s("Relu", s.pair(s.x, Parameters(0.1, 3, "uint16"))), Parameters(0.1, 3, "uint16"))
    ],
    "LiteRT has no kernel for it in uint8": [lambda s: s.pair(s("Gelu", s.pair(s.x, BYTE)), BYTE)],
    "LiteRT has no kernel for it in int16": [
        lambda s: s.pair(s("HardSwish", s.pair(s.x, FINE)), FINE),
        softmax,
    ],
    "LiteRT wants one scale for what goes in and out": [
        lambda s: s.pair(s("MaxPool", s.pair(s.x)), UNIT),
        lambda s: s.pair(s("Concat", s.pair(s.x), s.pair(s.x, UNIT), axis=0)),
    ],
    "LiteRT wants another scale for its output": [lambda s: s.pair(s("Sigmoid", s.pair(s.x)))],
    "LiteRT cannot enlarge it so much": [
        lambda s: convolution(s, after=Parameters(2.0**-30, 3, "int8")),
        lambda s: s.pair(s("HardSwish", s.pair(s.x)), Parameters(2.0**-20, 3, "int8")),
    ],
    "its weights are not quantised": [lambda s: convolution(s, s.constant(KERNEL))],
    "its weights have a zero point": [
        lambda s: convolution(s, s.weights(zero=1)),
        lambda s: convolution(s, s.weights(zero=120, dtype="uint8")),
        lambda s: convolution(s, s.weights(zero=1), before=BYTE, after=BYTE),
    ],
    "its bias has another scale than the products": [
        lambda s: convolution(s, bias=s.bias(0.002)),
        lambda s: convolution(s, bias=s.constant(np.zeros(4))),
    ],
}


@pytest.mark.parametrize(("why", "build"), [(why, build) for why, builds in QUANTISED.items() for build in builds])
def test_of_a_quantised_group(why, build):
    sketch = Sketch()
    assert sketch.verdict(build(sketch)).why == why


def test_of_a_kernel_that_only_the_targets_own_files_keep():
    sketch = Sketch()
    made = softmax(sketch)
    hold_roundings(sketch.build.graph)
    assert sketch.verdict(made).integer


def test_of_a_group_with_a_note():
    sketch = Sketch()
    output = sketch.pair(sketch("Relu", sketch.pair(sketch.x)))
    (relu,) = (node for node in sketch.build.graph if node.op_type == "Relu")
    keep_in_float(relu, "somebody wants it so")
    assert sketch.verdict(output).why == "somebody wants it so"


def test_another_target_has_other_rules():
    sketch = Sketch()
    rows = Parameters(0.1, 131, "uint8")
    output = sketch.pair(sketch("Sigmoid", sketch.pair(sketch.x, rows)), rows)
    assert sketch.verdict(output, ONNXRUNTIME).integer


@pytest.mark.parametrize(
    ("bounds", "name"),
    [
        ((0, 6), "Clip(0,6)"),
        ((-1, 1), "Clip(-1,1)"),
        ((0,), "Relu"),
        ((None, 1), "Clip(,1)"),
        ((0.5,), "Clip(0.5,)"),
    ],
)
def test_clips_have_canonical_names(bounds, name):
    sketch = Sketch()
    sketch("Clip", sketch.x, *(None if bound is None else sketch.constant(bound) for bound in bounds))
    assert activation_of(sketch.build.graph[0]) == name


def test_each_node_is_in_one_group():
    sketch = Sketch()
    product = sketch("MatMul", sketch.x, sketch.constant(np.ones((6, 6))))
    biased = sketch("Add", product, sketch.constant(np.ones(6)))
    clipped = sketch("Relu", biased)
    sketch.build.finish([sketch("Exp", clipped)])
    found = list(groups_of(sketch.build.graph, LITERT))
    assert [[node.op_type for node in one.nodes] for one in found] == [["MatMul", "Add", "Relu"], ["Exp"]]
    assert (found[0].bias, found[0].activation, found[0].output) == (biased.producer(), "Relu", clipped)


def test_what_is_written_is_read_again():
    sketch = Sketch()
    back = sketch.pair(sketch.x, FINE)
    assert parameters_of(back.producer()) == FINE
    assert parameters_of(back.producer().inputs[0].producer()) == FINE
    assert parameters_of(sketch("Relu", back).producer()) is None
