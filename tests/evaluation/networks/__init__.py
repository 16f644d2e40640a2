"""A small network for tests of the proof."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import Model


def network(*, gain=1.0, shape=(1, 3, 8, 8), weight=None):
    """A 1x1 convolution and a pooled score of five classes; `gain` scales the weights."""
    random = np.random.default_rng(0)
    build = Builder.new("network")
    x = build.input("image", shape)
    weight = random.normal(size=(5, 3, 1, 1)).astype(np.float32) if weight is None else weight
    w = build.constant(weight * np.float32(gain), "w")
    y = build("Conv", x, w, kernel_shape=[1, 1], pads=[0, 0, 0, 0], strides=[1, 1], dilations=[1, 1],
              shape=(1, 5, 8, 8))  # fmt: skip
    scores = build("ReduceMean", y, build.constant(np.array([2, 3])), keepdims=0, name="scores", shape=(1, 5))
    return Model(build.finish([scores]))
