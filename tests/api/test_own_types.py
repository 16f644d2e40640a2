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
    "deeplabv3_mnv2_dm05_pascal_quant.tflite",
    "detection/yolox_nano_int8.tflite",
    "detection/ssd_mobilenet_v1_coco_uint8.tflite",
    "keras_lstm_mnist_ptq.tflite",
    "tiny_kws_float32.tflite",
    "audio/yamnet.tflite",
    "audio/dtln_1_dynamic_range.tflite",
    "audio/dtln_2_dynamic_range.tflite",
    "detection/blazeface_short_range_float16.tflite",
    "detection/yolox_nano_float16.tflite",
    "mediapipe_face_detection_back.tflite",
    "mediapipe_face_detection_full_range_sparse.tflite",
)
"""`tiny_kws_float32` has int8 weights in its convolutions, in spite of its name."""


def differences(source, path, model):
    """The largest difference of each output over random inputs, in integers where they are stored so."""
    runners = [runtimes.open(file, "litert", threads=2) for file in (source, path)]
    largest = [0.0] * len(model.outputs)
    for feed in random_feeds(model, INFERENCES, seed=1):
        before, after = (in_order(runner.run(feed), model) for runner in runners)
        for index, (want, have) in enumerate(zip(before, after, strict=True)):
            assert (want.dtype, want.shape) == (have.dtype, have.shape)
            if not np.array_equal(want, have, equal_nan=True):
                largest[index] = max(largest[index], float(np.abs(want.astype(float) - have.astype(float)).max()))
    return largest


def in_order(found, model):
    """Outputs in the model's order, which a runtime changes where a file has a signature."""
    names = [spec.name for spec in model.outputs]
    return [found[name] for name in names] if set(names) == set(found) else list(found.values())


@pytest.mark.parametrize("name", ZOO)
def test_a_file_of_the_zoo(name, zoo, tmp_path):
    source = zoo / "models" / name
    model = narrowcast.load(source, keep_custom=True)
    written = narrowcast.save(model, tmp_path / "again.tflite", io_layout="source")
    assert not any(differences(source, written.path, model))
    assert written.parity.identical


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8", "dynamic_range", "float16"])
def test_a_file_that_is_made_here(scheme, classifier, data, tmp_path):
    made = narrowcast.quantize(narrowcast.load(classifier), scheme, data=data)
    source = narrowcast.save(made, tmp_path / "made.tflite").path
    model = narrowcast.load(source)
    written = narrowcast.save(model, tmp_path / "again.tflite", io_layout="source")
    assert not any(differences(source, written.path, model))
    assert written.parity.identical
    assert written.parity.sqnr_db == np.inf


@pytest.mark.parametrize(
    ("name", "samples", "options"),
    [
        ("cifar10/resnet8_int8.tflite", "cifar10/cifar10_train_0000_0999.npz", {}),
        ("tiny_kws_int8.tflite", "kws/mlperf_tiny_kws01_mfcc_int8_even.npz", {}),
        ("imagenet/mobilenet_v1_0.25_224_uint8.tflite", "imagenet_even", {"crop": 0.875, "label_offset": 1}),
    ],
)
def test_files_made_of_a_quantised_one_keep_its_accuracy(name, samples, options, zoo, tmp_path):
    data = zoo / "data" / samples
    schemes, seen = ("float32", "float16", "int8"), {"threads": (1,), "verify": False, "calibrate": data, **options}
    seen["observer"] = "minmax"  # the file's own ranges come from there, and its biases stay as they are
    found = narrowcast.compare(zoo / "models" / name, data, out=tmp_path / "out", schemes=schemes, **seen)
    source, *rows = (row.accuracy.top1 for row in found.rows)
    assert found.rows[0].runtime
    assert dict(zip(schemes, rows, strict=True)) == pytest.approx(dict.fromkeys(schemes, source), abs=0.004)


def test_a_file_that_only_tflite_micro_runs(zoo, tmp_path):
    """LiteRT refuses it; what is written runs on both, and on the same kernels gives the same bits."""
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    source = zoo / "models/tflm_person_detect.tflite"
    written = narrowcast.save(narrowcast.load(source), tmp_path / "again.tflite", io_layout="source")
    interpreters = [runtime.Interpreter.from_file(str(file)) for file in (source, written.path)]
    random = np.random.default_rng(0)
    for _ in range(INFERENCES):
        image = random.integers(-128, 128, (1, 96, 96, 1)).astype(np.int8)
        for interpreter in interpreters:
            interpreter.set_input(image, 0)
            interpreter.invoke()
        before, after = (interpreter.get_output(0) for interpreter in interpreters)
        np.testing.assert_array_equal(before, after)


def test_by_way_of_onnx_a_kernel_that_loses_much_is_not_chosen(zoo, tmp_path):
    """The file's 16-bit SOFTMAX is its own affair: of an ONNX file, which has the same scales, it is float."""
    source = zoo / "models" / "kws/ds_cnn_small_int16x8.tflite"
    between = narrowcast.save(narrowcast.load(source), tmp_path / "between.onnx").path
    written = narrowcast.save(narrowcast.load(between), tmp_path / "again.tflite")
    assert written.parity.passed
    assert written.parity.sqnr_db > 80
