"""Runs of canonical graphs: what ONNX Runtime may do to them."""

import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.reference import Reference
from narrowcast.targets.spelling import Parameters, Speller

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("integers", [True, False])
def test_float_weights_beside_what_was_dequantised_stay_floats(integers):
    """A layer that is kept in float between quantised ones is no integer layer when it is optimised."""
    build = Builder.new("m")
    image = build.input("x", (1, 4, 6, 6))
    read = Speller(build.graph).pair(image, Parameters(2.0**-5, 0, "int8"))
    weights = RANDOM.normal(size=(4, 4, 1, 1)) * np.array([1, 10, 100, 1000]).reshape(4, 1, 1, 1)
    operands = [build.constant(weights.astype(np.float32)), build.constant(np.ones(4, np.float32))]
    made = build("Conv", read, *operands, name="y", shape=(1, 4, 6, 6), dtype=np.float32, kernel_shape=[1, 1])
    made = Speller(build.graph).pair(made, Parameters(0.1, 0, "int16"))
    model = Model(build.finish([made]))
    feed = {"x": RANDOM.normal(size=(1, 4, 6, 6)).astype(np.float32)}
    (wanted,) = Reference(model, optimize=False).run(feed).values()
    (found,) = Reference(model, integers=integers).run(feed).values()
    np.testing.assert_allclose(found, wanted, atol=0.11)
