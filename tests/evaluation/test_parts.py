import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.evaluation.metrics import WHOLE, Parts
from narrowcast.evaluation.parts import parts_of
from narrowcast.model import Model
from narrowcast.passes.infer import infer_shapes


def output(make, *shapes):
    build = Builder.new("parts")
    model = Model(build.finish([make(build, *(build.input(f"x{i}", shape) for i, shape in enumerate(shapes)))]))
    infer_shapes(model)
    return model.graph.outputs[0]


def concat(axis):
    return lambda build, *inputs: build("Concat", *inputs, axis=axis)


def reshaped(shape, axis):
    return lambda build, *inputs: build("Reshape", build("Concat", *inputs, axis=axis), build.constant(np.array(shape)))


def levels(build, *inputs):
    """Boxes and scores beside one another on each of two levels, the levels after one another."""
    sides = [build("Concat", *inputs[i : i + 2], axis=1) for i in (0, 2)]
    flat = [build("Reshape", side, build.constant(np.array([1, 12, -1]))) for side in sides]
    return build("Transpose", build("Concat", *flat, axis=2), perm=[0, 2, 1])


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        (output(concat(1), (1, 4, 50), (1, 8, 50)), Parts(1, (0, 4), 12, branches=True)),
        (output(reshaped([1, 12, 5, 10], 1), (1, 4, 50), (1, 8, 50)), Parts(1, (0, 4), 12, branches=True)),
        (
            output(levels, (1, 4, 6, 6), (1, 8, 6, 6), (1, 4, 3, 3), (1, 8, 3, 3)),
            Parts(2, (0, 4), 12, branches=True),
        ),
        (output(concat(2), (1, 3, 50), (1, 3, 20)), Parts(1, (0, 1, 2), 3, branches=False)),
        (output(lambda build, x: build("Relu", x), (1, 30, 30, 3)), Parts(3, (0, 1, 2), 3, branches=False)),
        (output(lambda build, x: build("Relu", x), (1, 1000)), WHOLE),
        (output(lambda build, x: build("Relu", x), (1, 2, 2)), WHOLE),
        (output(lambda build, x: build("Relu", x), (7,)), WHOLE),
        (output(lambda build, x: build("Relu", x), ("N", 3, 40)), Parts(1, (0, 1, 2), 3, branches=False)),
    ],
)
def test_where_an_output_falls_apart(found, parts):
    assert parts_of(found) == parts
