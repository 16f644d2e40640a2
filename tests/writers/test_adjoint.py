"""Products whose second factor is transposed: no TRANSPOSE is written, in floats and in integers."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast import runtimes
from narrowcast.evaluation.ports import feed_for, outputs_as_source
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.quantization import quantize
from narrowcast.reference import Reference
from narrowcast.targets.litert import LITERT
from narrowcast.writers.formats import write
from tests.cases import OpCase

SHAPES = ((2, 3, 5, 4), (2, 3, 6, 4))


def product(build, x, y, perm=(0, 1, 3, 2)):
    return build("MatMul", build("Tanh", x), build("Transpose", build("Sigmoid", y), perm=list(perm)))


def read_twice(build, x, y):
    turned = build("Transpose", build("Sigmoid", y), perm=[0, 1, 3, 2])
    return build("MatMul", build("Tanh", x), turned), build("Softmax", turned, axis=3)


@pytest.mark.parametrize("scheme", ["float32", "int8"])
@pytest.mark.parametrize(
    ("build", "shapes", "transposes"),
    [(product, SHAPES, 0), (read_twice, SHAPES, 1), (lambda b, x, y: product(b, x, y, (0, 3, 1, 2)), None, 1)],
    ids=["swapped", "read twice", "turned otherwise"],
)
def test_products_of_a_transposed_factor(build, shapes, transposes, scheme, tmp_path):
    case = OpCase("product", build, shapes or ((2, 3, 5, 4), (2, 4, 6, 3)))
    model, feeds = case.model(), [case.feed(seed) for seed in range(4)]
    canonicalize(model)
    decompose(model, "litert")
    if scheme == "int8":
        model = quantize(model, scheme, LITERT, feeds=feeds)
    file = write(model, tmp_path / "m.tflite", io_layout="source")
    runner = runtimes.open(tmp_path / "m.tflite", "litert")
    count = runner.operators()[0]
    assert (count["BATCH_MATMUL"], count["TRANSPOSE"]) == (1, transposes)
    found = outputs_as_source(file.outputs, runner.run(feed_for(file, feeds[0])))
    wanted = Reference(model).run(feeds[0])
    for spec in model.outputs:
        step = 0.05 if scheme == "int8" else 1e-5
        np.testing.assert_allclose(found[spec.name], wanted[spec.name], rtol=1e-4, atol=step)
