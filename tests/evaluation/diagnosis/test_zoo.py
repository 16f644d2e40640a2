"""Real networks: what is found is what was found by hand."""

import numpy as np
import pytest

import narrowcast
from narrowcast.evaluation.data import open_data


@pytest.fixture
def photographs(zoo):
    def opened(model, count, **how):
        data = open_data(zoo / "data" / "imagenet_even", model.inputs, model.preprocessing)
        return list(data.subset(count).feeds())

    return opened


def test_the_stem_of_a_detector_loses_the_negative_lobe_of_its_activation(zoo, photographs):
    model = narrowcast.load(zoo / "models" / "yolox_nano.onnx")
    feeds = photographs(model, 6)
    found = narrowcast.diff(model, narrowcast.quantize(model, "int8", data=feeds, observer="minmax"), data=feeds[:2])
    worst = found.blocks[found.worst[0]]
    assert (worst.name, worst.kind, worst.causes[0].name) == ("687", "Conv + Sigmoid + Mul", "negative lobe")
    assert worst.share > 0.5


def test_depthwise_weights_by_one_scale(zoo, photographs):
    model = narrowcast.load(zoo / "models" / "mobilenet_v2_pytorch.onnx")
    feeds = photographs(model, 6)
    coarse = narrowcast.quantize(model, "int8", data=feeds, weights="per-tensor")
    found = narrowcast.diff(model, coarse, data=feeds[:3])
    worst = found.blocks[found.worst[0]]
    assert worst.causes[0].name == "weight channels"
    assert worst.weights_db + 20 < worst.rounding_db
    fine = narrowcast.diff(model, narrowcast.quantize(model, "int8", data=feeds), data=feeds[:3])
    assert max(block.share for block in fine.blocks) < 0.3


def test_another_tools_file_of_the_same_network(zoo):
    """TensorFlow's converter made it of Keras' own MobileNetV2."""
    data, file = zoo / "data" / "imagenet_even", zoo / "models" / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
    found = narrowcast.diff(zoo / "models" / "mobilenet_v2.keras", file, data=data, preprocess="tf", compared=2)
    assert len(found.unmatched) <= 3
    assert 15 < found.outputs[0].sqnr_db < 60
    assert sum(block.share for block in found.blocks) == pytest.approx(1)
    assert found.blocks[0].rounding_db < 60 < found.blocks[1].rounding_db, "the input's bytes are signed, not rounded"
    assert np.median([block.sqnr_db for block in found.blocks]) > 15
