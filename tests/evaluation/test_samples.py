from dataclasses import replace

import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.errors import UsageError
from narrowcast.evaluation.samples import random_feeds
from narrowcast.model import Model, Preprocessing, ir
from narrowcast.passes.infer import infer_shapes


def ports(**kinds):
    build = Builder.new("inputs")
    values = [build.input(name, shape, dtype) for name, (shape, dtype) in kinds.items()]
    return Model(build.finish([build("Identity", value, shape=value.shape) for value in values]))


def test_random_samples_are_the_same_for_a_seed():
    model = ports(a=((1, 3, 4, 4), np.float32), b=((1, 5), np.int64))
    first, again, other = (list(random_feeds(model, 3, seed)) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["a"], two["a"])
    assert not np.array_equal(first[0]["a"], other[0]["a"])
    assert not np.array_equal(first[0]["a"], first[1]["a"])


def test_random_samples_are_plausible():
    model = ports(
        image=((1, 3, 16, 16), np.float32),
        vector=((1, 500), np.float16),
        flag=((1, 9), np.bool_),
        pixels=((1, 16, 16, 3), np.uint8),
        count=((2,), np.int64),
    )
    feed = next(random_feeds(model, 1))
    assert {name: array.dtype.name for name, array in feed.items()} == {
        "image": "float32", "vector": "float16", "flag": "bool", "pixels": "uint8", "count": "int64"
    }  # fmt: skip
    assert -1 <= feed["image"].min() < -0.9
    assert 0.9 < feed["image"].max() <= 1
    assert feed["vector"].max() > 1.5
    assert feed["pixels"].max() > 200
    assert set(feed["count"]) <= {0, 1}


def test_random_samples_fit_into_memory():
    with pytest.raises(UsageError, match="does not fit"):
        next(random_feeds(ports(vast=((1, 2**29), np.float32)), 1))
    assert next(random_feeds(ports(empty=((2, 0), np.float32)), 1))["empty"].shape == (2, 0)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 16, 16, 3)])
def test_random_images_are_preprocessed(shape):
    model = replace(ports(image=(shape, np.float32)), preprocessing=Preprocessing((0.0, 100, 200), (1.0, 10, 100)))
    image = next(random_feeds(model, 1))["image"]
    channels = image[0] if shape[1] == 3 else image[0].transpose(2, 0, 1)
    for channel, low, high in zip(channels, (0, -10, -2), (255, 15.5, 0.55), strict=True):
        assert low <= channel.min() < channel.max() <= high


def used(op_type, *operands, dtype=np.int64, shape=(1, 6), before=None, out=None, **attributes):
    """A model whose one input is the operand `None` of an operator, perhaps behind others."""
    build = Builder.new("used")
    x = build.input("x", shape, dtype)
    value = x if before is None else before(build, x)
    inputs = [value if operand is None else build.constant(operand) for operand in operands]
    made = build(op_type, *inputs, **attributes)
    model = Model(build.finish([made]))
    infer_shapes(model)
    if out is not None:
        made.shape = ir.Shape(out)
    return model


def drawn(model, count=20):
    return np.concatenate([feed["x"].reshape(1, -1) for feed in random_feeds(model, count)])


TABLE = np.zeros((7, 4), np.float32)


def to_int(build, x):
    return build("Cast", x, to=ir.DataType.INT64.value)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (used("Gather", TABLE, None), range(7)),
        (used("Gather", TABLE, None, axis=1), range(4)),
        (used("Gather", TABLE, None, dtype=np.float32, before=to_int), range(7)),
        (
            used("Gather", TABLE, None, dtype=np.float32,
                 before=lambda b, x: to_int(b, b("Add", x, b.constant(np.float32(1))))),
            range(-1, 6),
        ),
        (
            used("Gather", TABLE, None, before=lambda b, x: b("Sub", b.constant(np.int64(6)), x)),
            range(7),
        ),
        (
            used("Gather", TABLE, None, before=lambda b, x: b("Mul", x, b.constant(np.int64(2)))),
            range(4),
        ),
        (used("GatherElements", np.zeros((3, 6), np.float32), None, axis=0), range(3)),
        (used("Mod", np.arange(6), None), range(1, 10)),
        (used("Div", np.arange(6), None), range(1, 10)),
        (used("Pow", np.arange(6), None), range(4)),
        (used("BitShift", np.arange(6, dtype=np.uint8), None, dtype=np.uint8, direction="LEFT"), range(8)),
        (used("CumSum", np.zeros((2, 3), np.float32), None, shape=()), range(2)),
        (used("OneHot", None, np.int64(5), np.zeros(2, np.float32)), range(5)),
        (used("Resize", np.zeros((1, 1, 4, 6), np.float32), np.zeros(0, np.float32), None, dtype=np.float32, shape=(4,),
              out=(1, 1, 8, 3)), (1, 2, 0.5)),
        (used("Reshape", np.zeros((2, 6), np.float32), None, shape=(2,), out=(3, 4)), (3, 4)),
    ],
    ids=lambda item: next(iter(item.graph)).op_type if isinstance(item, Model) else "",
)  # fmt: skip
def test_numbers_are_what_their_use_asks_for(model, values):
    found = set(drawn(model).ravel().tolist())
    assert found <= set(values)
    assert len(found) > len(values) / 2


def test_exponents_are_small_and_thresholds_fractions():
    found = drawn(used("Pow", np.ones(6, np.float32), None, dtype=np.float32))
    assert np.abs(found).max() <= 2


@pytest.mark.parametrize("axis", [0, 1])
def test_nothing_is_scattered_twice_to_one_place(axis):
    updates = np.zeros((3, 4), np.float32)
    model = used("ScatterElements", np.zeros((5, 6), np.float32), None, updates, shape=(3, 4), axis=axis)
    for feed in random_feeds(model, 10):
        lines = np.moveaxis(feed["x"], axis, -1).reshape(-1, (3, 4)[axis])
        assert all(len(set(line)) == len(line) for line in lines.tolist())
        assert 0 <= feed["x"].min() <= feed["x"].max() < (5, 6)[axis]


def test_no_row_is_scattered_twice():
    model = used("ScatterND", np.zeros((3, 4, 2), np.float32), None, np.zeros((5, 2), np.float32), shape=(5, 2))
    for feed in random_feeds(model, 10):
        assert len({tuple(row) for row in feed["x"].tolist()}) == 5
        assert feed["x"].max(0)[0] <= 2


def test_repetitions_that_cannot_be_avoided_stay_within_the_table():
    model = used("ScatterElements", np.zeros((2, 6), np.float32), None, np.zeros((5, 6), np.float32), shape=(5, 6))
    assert set(drawn(model).ravel()) == {0, 1}


def test_lengths_lie_within_the_sequence():
    build = Builder.new("lengths")
    x, lengths = build.input("x", (9, 2, 3)), build.input("lengths", (2,), np.int32)
    w, r = (build.constant(np.zeros((1, 4, size), np.float32)) for size in (3, 4))
    y, _ = build("RNN", x, w, r, None, lengths, hidden_size=4, outputs=2)
    found = [feed["lengths"] for feed in random_feeds(Model(build.finish([y])), 20)]
    assert set(np.concatenate(found)) <= set(range(1, 10))


def test_of_uses_that_contradict_one_another_one_holds():
    build = Builder.new("both")
    x = build.input("x", (1, 6), np.int64)
    far = build("Add", x, build.constant(np.int64(-100)))
    outputs = [build("Gather", build.constant(TABLE), value) for value in (x, far)]
    found = set(drawn(Model(build.finish(outputs))).ravel().tolist())
    assert found in (set(range(7)), set(range(100, 107)))
