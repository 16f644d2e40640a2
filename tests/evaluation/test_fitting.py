import numpy as np
import pytest

from narrowcast.errors import DataError
from narrowcast.evaluation.fitting import checked, fitter
from narrowcast.evaluation.preprocessing import PRESETS
from narrowcast.model import Preprocessing, TensorSpec

RANDOM = np.random.default_rng(0)
HALVED = Preprocessing((1.0,), (2.0,))


def spec(*shape, dtype=np.float32):
    return TensorSpec("x", shape, np.dtype(dtype))


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def pixels(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("sample", "wanted", "turn"),
    [
        ((5,), (1, 5), None),
        ((1, 5), (1, 5), None),
        ((5,), (None, 5), None),
        ((), (1,), None),
        ((), (), None),
        ((28, 28), (1, 28, 28), None),
        ((28, 27), (1, 28, 27, 1), None),
        ((28, 27), (1, 1, 28, 27), None),
        ((8, 9, 3), (1, 8, 9, 3), None),
        ((1, 8, 9, 3), (1, 8, 9, 3), None),
        ((8, 9, 3), (1, 3, 8, 9), (2, 0, 1)),
        ((3, 8, 9), (1, 8, 9, 3), (1, 2, 0)),
        ((1, 3, 8, 9), (1, 8, 9, 3), (1, 2, 0)),
        ((3, 3, 3), (1, 3, 3, 3), None),
        ((7, 7, 64), (1, 64, 7, 7), (2, 0, 1)),
        ((2, 1, 128), (2, 1, 128), None),
        ((4, 6), (None, None, 6), None),
    ],
)
def test_shapes(sample, wanted, turn):
    array = floats(*sample)
    found = fitter(array, spec(*wanted), None, "a.npz")(array)
    expected = array.reshape(sample[-3:]).transpose(turn)[None] if turn else array
    np.testing.assert_array_equal(found.ravel(), expected.ravel())
    assert len(found.shape) == len(wanted)
    assert all(want in (None, have) for want, have in zip(wanted, found.shape, strict=True))
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("sample", "wanted", "message"),
    [
        ((6,), (1, 5), "wants samples of shape 1x5, found 1x6"),
        ((8, 9, 2), (1, 8, 9, 3), "wants samples of shape 1x8x9x3, found 1x8x9x2"),
        ((5, 1), (1, 5), "found 1x5x1"),
        ((), (1, 5), "found 1"),
        ((8, 9, 3), (None, 8, 8, 3), r"wants samples of shape \?x8x8x3"),
    ],
)
def test_shapes_that_do_not_fit(sample, wanted, message):
    with pytest.raises(DataError, match=rf"a\.npz: the input 'x' .*{message}"):
        fitter(floats(*sample), spec(*wanted), None, "a.npz")


@pytest.mark.parametrize("wanted", [(1, 8, 9, 3), (1, 3, 8, 9)])
@pytest.mark.parametrize("sample", [(8, 9, 3), (3, 8, 9)])
def test_pixels_are_normalised_and_laid_out(sample, wanted):
    array = pixels(*sample)
    found = fitter(array, spec(*wanted), PRESETS["torch"], "a.npz")(array)
    last = array if sample[-1] == 3 else array.transpose(1, 2, 0)
    expected = (last - np.array(PRESETS["torch"].mean)) / PRESETS["torch"].std
    found = found[0] if wanted[-1] == 3 else found[0].transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_pixels_of_another_size_are_resized():
    array = np.full((20, 30, 3), 9, np.uint8)
    found = fitter(array, spec(1, 3, 8, 8), HALVED, "a.npz")(array)
    np.testing.assert_array_equal(found, np.full((1, 3, 8, 8), 4.0))


def test_pixels_without_channels_are_grey():
    array = pixels(28, 28)
    found = fitter(array, spec(1, 1, 28, 28), HALVED, "a.npz")(array)
    np.testing.assert_array_equal(found[0, 0], (array.astype(np.float32) - 1) / 2)


def test_pixels_keep_their_values_without_preprocessing():
    array = pixels(8, 9, 3)
    np.testing.assert_array_equal(fitter(array, spec(1, 8, 9, 3), None, "")(array)[0], array)


def test_pixels_for_an_input_of_bytes_are_left_alone():
    array = pixels(8, 9, 3)
    found = fitter(array, spec(1, 3, 8, 9, dtype=np.uint8), None, "")(array)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], array.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("sample", "wanted"), [((5, 6), (1, 5, 6)), ((5, 6), (1, 5, 6, 1)), ((8, 9, 3), (1, 3, 8, 9)), ((6,), (1, 6))]
)
def test_preprocessing_that_was_asked_for_reaches_every_float_input(sample, wanted):
    array = RANDOM.integers(-100, 100, sample).astype(np.int8)
    found = fitter(array, spec(*wanted), HALVED, "")(array)
    expected = (array.astype(np.float32) - 1) / 2
    expected = expected.transpose(2, 0, 1) if wanted == (1, 3, 8, 9) else expected
    np.testing.assert_array_equal(found.ravel(), expected.ravel())


def test_float_pixels_change_their_order_of_channels_too():
    array = RANDOM.uniform(0, 255, (3, 8, 9)).astype(np.float32)
    found = fitter(array, spec(1, 3, 8, 9), Preprocessing(channel_order="bgr"), "")(array)
    np.testing.assert_array_equal(found[0], array[::-1])


def test_means_for_channels_need_channels():
    with pytest.raises(DataError, match="has no channels of an image"):
        fitter(floats(10), spec(1, 10), PRESETS["torch"], "")


def test_values_that_are_ready_are_not_normalised_again():
    with pytest.raises(DataError, match=r"within -1\.\.1 already"):
        fitter(RANDOM.uniform(0, 1, (8, 9, 3)).astype(np.float32), spec(1, 8, 9, 3), PRESETS["tf"], "a.npz")


def test_a_black_image_is_plausible():
    fitter(np.zeros((8, 9, 3), np.float32), spec(1, 8, 9, 3), PRESETS["tf"], "a.npz")


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([1.5]), np.int32),
        (np.array([2**40]), np.int32),
        (np.array([-1]), np.uint8),
        (np.array([300.0]), np.uint8),
        (np.array([1e300]), np.float32),
        (np.array([70000.0]), np.float16),
    ],
)
def test_values_that_the_input_cannot_hold(array, dtype):
    with pytest.raises(DataError, match="cannot hold the data"):
        checked(array, spec(1, dtype=dtype))


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([7.0]), np.int32),
        (np.array([7], np.int64), np.int32),
        (np.array([0.1]), np.float32),
        (np.array([1]), np.bool_),
        (np.array([2**40]), np.float32),
    ],
)
def test_values_that_it_can(array, dtype):
    found = checked(array, spec(1, dtype=dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(np.float64), array, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("preprocessing", [None, HALVED])
def test_values_that_are_not_finite(value, preprocessing):
    array = floats(8, 9, 3) * 100
    fit = fitter(array, spec(1, 8, 9, 3), preprocessing, "a.npz")
    array[2, 2, 2] = value
    with pytest.raises(DataError, match=r"a\.npz: the data for 'x' holds NaN or infinite values"):
        fit(array)


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([1j]), np.zeros(1, [("a", "f4")])])
def test_only_numbers_are_data(array):
    with pytest.raises(DataError, match="not numbers"):
        fitter(array, spec(1), None, "a.npz")
