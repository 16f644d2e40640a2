import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.pixels import normalized
from narrowcast.evaluation.preprocessing import PRESETS, make_preprocessing
from narrowcast.model import Layout, Preprocessing

VALUES = st.floats(0.5, 300) | st.floats(-300, -0.5)


def mapped(made, pixels):
    """(x - mean) / std in float64."""
    return (np.asarray(pixels, np.float64) - made.mean) / made.std


@given(scale=VALUES, mean=st.lists(VALUES, min_size=3, max_size=3), std=st.lists(VALUES, min_size=3, max_size=3))
def test_scale_mean_and_std_are_applied_in_this_order(scale, mean, std):
    made = make_preprocessing(scale=scale, mean=tuple(mean), std=tuple(std))
    pixels = np.array([[0, 127, 255], [3, 1, 254]])
    expected = (pixels * scale - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(mapped(made, pixels), expected, rtol=1e-9, atol=1e-6)


@given(a=VALUES, b=st.floats(-500, 500))
def test_an_expression_becomes_the_same_map(a, b):
    made = make_preprocessing(normalize=f"x * {a!r} + {b!r}".replace("+ -", "- "))
    np.testing.assert_allclose(mapped(made, [0.0, 1, 255]), np.array([0.0, 1, 255]) * a + b, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("name", ["tf", "torch", "caffe"])
def test_the_presets_are_those_of_keras(name, monkeypatch):
    if "KERAS_BACKEND" not in os.environ:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
    from keras.applications.imagenet_utils import preprocess_input

    pixels = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    expected = preprocess_input(pixels.astype(np.float32), data_format="channels_last", mode=name)
    ours = normalized(pixels, PRESETS[name], Layout.CHANNELS_LAST)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_fractions_and_their_scale_are_the_torch_preset():
    made = make_preprocessing(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    np.testing.assert_allclose(made.mean, PRESETS["torch"].mean)
    np.testing.assert_allclose(made.std, PRESETS["torch"].std)


def test_means_stay_with_their_colours():
    assert make_preprocessing(preprocess="caffe", channel_order="rgb").mean == (123.68, 116.779, 103.939)
    assert make_preprocessing(mean=(1, 2, 3), channel_order="bgr").mean == (1, 2, 3)


def test_options_stand_over_what_is_known():
    base = Preprocessing((1.0,), (2.0,), "bgr", (8, 8), 0.5)
    assert make_preprocessing(base=base) == base
    assert make_preprocessing(base=base, preprocess="tf") == Preprocessing((127.5,), (127.5,), "rgb", (8, 8), 0.5)
    assert make_preprocessing(base=base, std=(4.0,)) == Preprocessing((1.0,), (4.0,), "bgr", (8, 8), 0.5)
    assert make_preprocessing(base=base, crop=1.0, resize=9).resize == (9, 9)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"preprocess": "keras"}, "unknown preprocessing 'keras'"),
        ({"channel_order": "hsv"}, "unknown order of channels"),
        ({"preprocess": "tf", "mean": (1.0,)}, "exclude one another"),
        ({"preprocess": "tf", "normalize": "x"}, "exclude one another"),
        ({"normalize": "x", "scale": 2.0}, "exclude one another"),
        ({"std": (0.0,)}, "not zero"),
        ({"scale": 0.0}, "not zero"),
        ({"mean": (float("nan"),)}, "finite"),
        ({"mean": (1.0, 2.0)}, "one for each channel"),
        ({"mean": (0.485,), "std": (0.229,)}, "std is below 1"),
        ({"resize": 0}, "cannot resize to 0"),
        ({"resize": 10**6}, "cannot resize"),
        ({"crop": 0.0}, "cannot crop to 0"),
        ({"crop": 1.5}, "cannot crop"),
        ({"crop": float("nan")}, "cannot crop"),
    ],
)
def test_contradictions_are_refused(options, reason):
    with pytest.raises(UsageError, match=reason):
        make_preprocessing(**options)


def test_an_expression_without_x_is_refused():
    with pytest.raises(DataError, match="does not depend on x"):
        make_preprocessing(normalize="3")


def test_a_small_std_can_be_insisted_on():
    assert make_preprocessing(scale=1.0, std=(0.229,)).std == (0.229,)
