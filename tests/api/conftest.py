"""A small network, made here, its data, and what comparing its schemes gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.evaluation import parity
from narrowcast.model import ir
from tests.api import SAMPLES


@pytest.fixture(scope="session")
def classifier(tmp_path_factory) -> Path:
    """A convolution and a dense layer over 8x8 images, as .onnx; its five classes are random but decided."""
    random = np.random.default_rng(3)
    build = Builder.new("classifier")
    x = build.input("image", (1, 3, 8, 8))
    kernel = build.constant(random.normal(size=(6, 3, 3, 3)).astype(np.float32), "kernel")
    bias = build.constant(random.normal(size=6).astype(np.float32), "bias")
    shape = {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "group": 1}
    y = build("Conv", x, kernel, bias, pads=[1, 1, 1, 1], shape=(1, 6, 8, 8), **shape)
    y = build("Relu", y, shape=(1, 6, 8, 8))
    flat = build("Reshape", y, build.constant([1, 384], "flat", np.int64), shape=(1, 384))
    weights = build.constant(random.normal(size=(7, 384)).astype(np.float32) * 0.2, "weights")
    y = build("Gemm", flat, weights, transB=1, shape=(1, 7))
    y = build("Softmax", y, axis=-1, name="scores", shape=(1, 7))
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    ir.save(build.finish([y], producer="hand"), path)
    return path


@pytest.fixture(scope="session")
def data(classifier, tmp_path_factory) -> Path:
    """Samples in the source's layout, labelled with what the source itself says."""
    images = np.random.default_rng(5).normal(size=(SAMPLES, 3, 8, 8)).astype(np.float32)
    source = parity.open_source(narrowcast.load(classifier))
    labels = [int(source.run({"image": image[None]})["scores"].argmax()) for image in images]
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x=images, y=np.array(labels))
    return path


@pytest.fixture(scope="session")
def comparison(classifier, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "out"
    return out, narrowcast.compare(classifier, data, out=out, threads=(1,), samples=8)


@pytest.fixture(scope="session")
def photograph(tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("image") / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path)
    return path
