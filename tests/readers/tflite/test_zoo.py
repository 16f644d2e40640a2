"""Real float networks, written again and as ONNX: the same numbers, and no more operators than before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import narrowcast
from narrowcast import runtimes
from narrowcast.errors import NarrowcastError
from narrowcast.evaluation.samples import random_feeds
from narrowcast.model import Model

FLOATS = (
    "cifar10/resnet8_float",
    "detection/blazeface_short_range_float16",
    "detection/ultraface_rfb320_raw_float",
    "detection/yolox_nano_float16",
    "imagenet/mobilenet_v1_0.25_224_float",
    "kws/kwt1_float",
    "mediapipe_face_detection_back",
    "mediapipe_face_detection_full_range_sparse",
    "mediapipe_face_landmark",
    "pose/hourglass_float",
    "segmentation/deeplabv3_257_float",
    "segmentation/hair_segmentation_custom_ops",
    "segmentation/selfie_segmentation_custom_op",
    "text/movie_review_sentiment",
    "vww/vww_96_float",
)


def samples(model: Model, zoo: Path):
    """A photograph for what takes images, as other ones drive some outputs to nothing; random numbers otherwise."""
    (spec,) = model.inputs
    shape = tuple(int(dim or 1) for dim in spec.shape)
    if len(shape) < 4 or max(shape) < 32:
        yield from random_feeds(model, 2)
        return
    height, width = sorted(shape)[-2:] if shape[1] in (1, 3, 4) else shape[1:3]
    photo = Image.open(zoo / "data/images/grace_hopper.jpg").convert("RGBA").resize((width, height))
    pixels = np.asarray(photo, np.float32)[None] / 255
    if shape[1] in (1, 3, 4):
        pixels = pixels.transpose(0, 3, 1, 2)[:, : shape[1]]
    yield {spec.name: np.ascontiguousarray(pixels[..., : shape[-1]])}


def decibels(expected: np.ndarray, found: np.ndarray) -> float:
    noise = np.square(expected.astype(np.float64) - found).sum()
    return np.inf if noise == 0 else 10 * np.log10(np.square(expected.astype(np.float64)).sum() / noise)


@pytest.mark.parametrize("name", FLOATS)
def test_written_again(name, zoo, tmp_path):
    source, written = zoo / f"models/{name}.tflite", tmp_path / "again.tflite"
    model = narrowcast.load(source, keep_custom=True)
    narrowcast.save(model, written, io_layout="source", verify=False)
    before, after = (runtimes.open(path, "litert") for path in (source, written))
    assert sum(after.operators()[0].values()) <= sum(before.operators()[0].values())
    assert "DENSIFY" not in after.operators()[0]
    for feed in samples(model, zoo):
        found = after.run(feed)
        for port, expected in before.run(feed).items():
            assert decibels(expected, found[port]) >= 90


@pytest.mark.parametrize("name", FLOATS)
def test_becomes_onnx(name, zoo, tmp_path):
    file = narrowcast.save(narrowcast.load(zoo / f"models/{name}.tflite"), tmp_path / "network.onnx")
    assert file.parity.sqnr_db >= 60


@pytest.mark.parametrize(
    ("name", "shape", "output"),
    [
        ("cifar10/resnet8_float", (4, 32, 32, 3), (4, 10)),
        ("cifar10/resnet8_int8", (None, 32, 32, 3), (None, 10)),
        ("detection/blazeface_short_range_float16", (2, 128, 128, 3), (2, 896, 16)),
        ("detection/blazeface_short_range_float16", (None, 128, 128, 3), (None, 896, 16)),
        ("imagenet/mobilenet_v1_0.25_224_float", (1, 192, 192, 3), (1, 1001)),
        ("pose/hourglass_float", (1, 256, 256, 3), (1, 64, 64, 14)),
    ],
)
def test_another_batch_or_size(name, shape, output, zoo, tmp_path):
    source = zoo / f"models/{name}.tflite"
    port = narrowcast.load(source).inputs[0].name
    model = narrowcast.load(source, input_shapes={port: shape})
    assert (model.inputs[0].shape, model.outputs[0].shape) == (shape, output)
    assert narrowcast.save(model, tmp_path / "other.tflite").parity.sqnr_db >= 60
    if shape[0] != 4:
        return
    feed = next(random_feeds(model, 1))
    whole = runtimes.open(tmp_path / "other.tflite", "litert").run(feed)
    rows = [runtimes.open(source, "litert").run({port: feed[port][row : row + 1]}) for row in range(4)]
    for key, array in whole.items():
        assert decibels(np.concatenate([row[key] for row in rows]), array) >= 90


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("kws/kwt1_float", (2, 16000), "of a batch of 1 whatever the inputs are"),
        ("segmentation/deeplabv3_257_float", (1, 129, 129, 3), "cannot be joined"),
        ("detection/yolox_nano_float16", (1, 3, 320, 320), "cannot be reshaped"),
    ],
)
def test_a_batch_or_size_that_the_file_fixes_is_refused(name, shape, words, zoo):
    source = zoo / f"models/{name}.tflite"
    port = narrowcast.load(source).inputs[0].name
    with pytest.raises(NarrowcastError, match=words):
        narrowcast.load(source, input_shapes={port: shape})


@pytest.mark.parametrize("scheme", ["float16", "dynamic_range"])
def test_custom_operators_are_kept_in_smaller_files(scheme, zoo, tmp_path):
    model = narrowcast.load(zoo / "models/segmentation/hair_segmentation_custom_ops.tflite", keep_custom=True)
    file = narrowcast.save(narrowcast.quantize(model, scheme), tmp_path / "smaller.tflite")
    assert file.parity.passed
    operators = runtimes.open(file.path, "litert").operators()[0]
    assert operators["MaxUnpooling2D"] == operators["MaxPoolingWithArgmax2D"] == 3


def test_transpositions_of_other_converters_vanish(zoo, tmp_path):
    source, written = zoo / "models/detection/yolox_nano_float16.tflite", tmp_path / "again.tflite"
    assert runtimes.open(source, "litert").operators()[0]["TRANSPOSE"] == 218
    file = narrowcast.save(narrowcast.load(source), written)
    assert file.parity.sqnr_db >= 90
    assert runtimes.open(written, "litert").operators()[0]["TRANSPOSE"] == 0
