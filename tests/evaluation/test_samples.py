from dataclasses import replace

import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.errors import UsageError
from narrowcast.evaluation.samples import random_feeds
from narrowcast.model import Model, Preprocessing, ir


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


def test_indices_stay_within_their_table():
    build = Builder.new("embedding")
    ids = build.input("ids", (1, 200), np.int32)
    wide = build("Cast", ids, to=ir.DataType.INT64.value, shape=(1, 200), dtype=np.int64)
    table = build.constant(np.zeros((7, 4), np.float32))
    model = Model(build.finish([build("Gather", table, wide, axis=0, shape=(1, 200, 4), dtype=np.float32)]))
    feed = next(random_feeds(model, 1))
    assert set(feed["ids"].ravel()) == set(range(7))
