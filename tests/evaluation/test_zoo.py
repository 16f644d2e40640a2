"""Real photographs and networks."""

from itertools import islice

import numpy as np
import pytest

from narrowcast import runtimes
from narrowcast.errors import DataError
from narrowcast.evaluation.accuracy import Answer, evaluate
from narrowcast.evaluation.data import open_data
from narrowcast.evaluation.preprocessing import make_preprocessing

IMAGENET = make_preprocessing(preprocess="tf", crop=0.875)


def only(found):
    (array,) = found.values()
    return array


@pytest.fixture
def network(zoo):
    """Opens a network of the zoo on its runtime."""
    runners = []

    def open_(name):
        runners.append(runtimes.open(zoo / "models" / name, "keras" if name.endswith(".keras") else "onnxruntime"))
        return runners[-1]

    yield open_
    for runner in runners:
        runner.close()


def accuracy(data, runner):
    answers = (Answer(sample, [{"scores": only(runner.run(sample.feed))}]) for sample in data)
    return evaluate(answers, 1, "scores")[0][0]


def test_the_zoos_accuracy_of_mobilenet_v2_is_reproduced(zoo, network):
    """0.860 with another rounding of the crop."""
    runner = network("mobilenet_v2_pytorch.onnx")
    found = accuracy(open_data(zoo / "data/imagenet_even", runner.inputs, IMAGENET, label_offset=1), runner)
    assert found.samples == 500
    assert found.top1 in (0.860, 0.862)
    assert found.top5 > 0.96


def test_channel_first_and_last_see_the_same_photographs(zoo, network):
    feeds = [
        next(open_data(zoo / "data/imagenet_even", network(name).inputs, IMAGENET).feeds())
        for name in ("mobilenet_v2_pytorch.onnx", "mobilenet_v2_tf2onnx.onnx")
    ]
    np.testing.assert_array_equal(only(feeds[0]).transpose(0, 2, 3, 1), only(feeds[1]))


def test_a_channel_order_and_an_offset_matter(zoo, network):
    runner = network("squeezenet1.1_float.onnx") if (zoo / "models/squeezenet1.1_float.onnx").exists() else None
    if runner is None:
        pytest.skip("this zoo has no squeezenet1.1_float.onnx")
    top1 = []
    for order in ("bgr", "rgb"):
        how = make_preprocessing(mean=(104.0, 117.0, 123.0), channel_order=order, crop=0.875)
        top1.append(accuracy(open_data(zoo / "data/imagenet_even", runner.inputs, how, samples=100), runner).top1)
    assert top1[0] > top1[1] + 0.1


@pytest.mark.parametrize(
    ("options", "least"), [({"preprocess": "torch"}, 0.99), ({"scale": 1 / 255, "mean": (0.485, 0.456, 0.406),
                            "std": (0.229, 0.224, 0.225)}, 0.99)]
)  # fmt: skip
def test_arrays_of_pixels(zoo, network, options, least):
    runner = network("cifar10_resnet20.onnx")
    path = zoo / "data/cifar10/cifar10_train_0000_0999.npz"
    found = accuracy(open_data(path, runner.inputs, make_preprocessing(**options), samples=200), runner)
    assert found.top1 >= least


def test_labels_beyond_the_network_are_refused(zoo, network):
    runner = network("mobilenet_v2_pytorch.onnx")
    data = open_data(zoo / "data/imagenet_even", runner.inputs, IMAGENET, label_offset=800)
    with pytest.raises(DataError, match=r"the model knows the classes 0 to 1000 \(--label-offset"):
        accuracy(islice(data, 200, 240), runner)


def test_words_are_no_labels(zoo, network):
    with pytest.raises(DataError, match=r"labels\.csv: line 2 is not filename,class_index: 'face\.jpg,person"):
        open_data(zoo / "data/images_ccby", network("mobilenet_v2_pytorch.onnx").inputs)
