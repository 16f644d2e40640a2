"""A quantised .tflite file, written again in its own types, gives the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.evaluation.samples import random_feeds

INFERENCES = 32
ZOO = (
    "cifar10/resnet8_int8.tflite",
    "tiny_kws_int8.tflite",
    "tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "tflm_micro_speech_int8.tflite",
    "mobilenet_v1_0.25_128_quant.tflite",
    "mobilenet_v2_1.0_224_quant.tflite",
    "imagenet/mobilenet_v1_0.25_224_uint8.tflite",
    "kws/ds_cnn_small_int16x8.tflite",
)


def differences(source, path, model):
    """The largest difference of each output over random inputs, in integers where they are stored so."""
    runners = [runtimes.open(file, "litert", threads=2) for file in (source, path)]
    largest = [0.0] * len(model.outputs)
    for feed in random_feeds(model, INFERENCES, seed=1):
        before, after = (list(runner.run(feed).values()) for runner in runners)
        for index, (want, have) in enumerate(zip(before, after, strict=True)):
            assert (want.dtype, want.shape) == (have.dtype, have.shape)
            if not np.array_equal(want, have, equal_nan=True):
                largest[index] = max(largest[index], float(np.abs(want.astype(float) - have.astype(float)).max()))
    return largest


@pytest.mark.parametrize("name", ZOO)
def test_a_file_of_the_zoo(name, zoo, tmp_path):
    source = zoo / "models" / name
    model = narrowcast.load(source)
    written = narrowcast.save(model, tmp_path / "again.tflite", io_layout="source")
    assert not any(differences(source, written.path, model))
    assert written.parity.identical


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8", "dynamic_range"])
def test_a_file_that_is_made_here(scheme, classifier, data, tmp_path):
    made = narrowcast.quantize(narrowcast.load(classifier), scheme, data=data)
    source = narrowcast.save(made, tmp_path / "made.tflite").path
    model = narrowcast.load(source)
    written = narrowcast.save(model, tmp_path / "again.tflite", io_layout="source")
    assert not any(differences(source, written.path, model))
    assert written.parity.identical
    assert written.parity.sqnr_db == np.inf
