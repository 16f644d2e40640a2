import numpy as np

import narrowcast
from narrowcast import targets
from narrowcast.dialect.build import Builder
from narrowcast.evaluation.loss import weakest_layer
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.infer import infer_shapes
from narrowcast.passes.prepare import adapt


def test_the_layer_that_loses_most_is_named():
    """The second of three dense layers has great weights for an input that is never anything but 0."""
    random = np.random.default_rng(0)
    build = Builder.new("m")
    y = build.input("x", (1, 32))
    weights = random.normal(size=(3, 32, 32)).astype(np.float32) * 0.2
    weights[0, :, 0] = -1
    weights[1, 0] *= 300
    for number in range(3):
        y = build("MatMul", y, build.constant(weights[number]), name=f"product{number}")
        y = build("Relu", y, name=f"dense{number}")
    model = Model(build.finish([y]))
    infer_shapes(model)
    canonicalize(model)
    feeds = [{"x": random.uniform(size=(1, 32)).astype(np.float32)} for _ in range(4)]
    quantized = narrowcast.quantize(model, "int8", data=feeds)
    adapt(model, targets.find("litert"))
    assert weakest_layer(model, quantized, feeds[0]).startswith(("dense1", "product1"))


def test_graphs_without_a_layer_in_common():
    def graph(name):
        build = Builder.new("m")
        return Model(build.finish([build("Relu", build.input("x", (1, 4)), name=name, shape=(1, 4))]))

    assert weakest_layer(graph("a"), graph("b"), {"x": np.ones((1, 4), np.float32)}) == ""
