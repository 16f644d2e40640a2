"""Graphs of one operator, and a small network that can learn."""

from __future__ import annotations

import numpy as np
import torch

from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.passes.infer import infer_shapes
from narrowcast.reference import Reference
from narrowcast.training import to_torch


def one(key, fed, constants=(), outputs=1, **attributes):
    """A graph of one operator: what is fed first, then constants; None is left out."""
    domain, _, name = key.rpartition("::")
    build = Builder.new("one")
    given = [None if x is None else build.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(fed)]
    given += [None if c is None else build.constant(c, f"c{i}") for i, c in enumerate(constants)]
    made = build(name, *given, outputs=outputs, domain=domain, name="y", **attributes)
    model = Model(build.finish([made] if outputs == 1 else list(made)))
    infer_shapes(model)
    return model


def both(model, feed):
    """What ONNX Runtime and torch make of a feed, by output."""
    wanted = Reference(model, optimize=False).run(feed)
    network = to_torch(model)
    with torch.no_grad():
        found = network.run({name: torch.from_numpy(np.array(x)) for name, x in feed.items()}, list(wanted))
    return wanted, {name: value.numpy() for name, value in found.items()}


def convolutional(seed=0, width=12):
    """A float network for 8x8 images, of two convolutions, one of them over each channel, and ten classes."""
    random = np.random.default_rng(seed)
    build = Builder.new("small")

    def weights(*shape):
        spread = np.exp(random.normal(size=(shape[0],) + (1,) * (len(shape) - 1)))
        return build.constant((random.normal(size=shape) * spread / np.sqrt(np.prod(shape[1:]))).astype("f"), "w")

    x = build.input("x", (1, 3, 8, 8))
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1]}
    a = build("Conv", x, weights(width, 3, 3, 3), weights(width), name="a", group=1, **window)
    a = build("Relu", a, name="ra")
    b = build("Conv", a, weights(width, 1, 3, 3), weights(width), name="b", group=width, **window)
    b = build("Relu", b, name="rb")
    mean = build("ReduceMean", b, build.constant(np.array([2, 3]), "axes"), name="mean", keepdims=1)
    flat = build("Reshape", mean, build.constant(np.array([1, width]), "shape"), name="flat")
    y = build("Gemm", flat, weights(10, width), weights(10), name="y", transB=1)
    model = Model(build.finish([y]))
    infer_shapes(model)
    return model


def images(count, seed=1):
    random = np.random.default_rng(seed)
    return [{"x": random.normal(size=(1, 3, 8, 8)).astype("f")} for _ in range(count)]
