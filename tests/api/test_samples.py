"""Data for an integer input: images by what the file says, stored by its scale; arrays of integers or real numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import narrowcast
from narrowcast.api.samples import open_samples, stored_pixels
from narrowcast.evaluation.ports import StoredSpec, feed_for, graph_ports
from narrowcast.model import Preprocessing

HOW = Preprocessing((127.5,), (127.5,))


@pytest.fixture
def stored(classifier, data, tmp_path):
    """An int8 file of which the input is int8 too, read again."""
    model = replace(narrowcast.load(classifier), preprocessing=HOW)
    small = narrowcast.quantize(model, "full_int8", data=data)
    return narrowcast.load(narrowcast.save(small, tmp_path / "m.tflite", verify=False).path)


def test_images_are_stored_by_the_scale_of_the_input(stored, tmp_path):
    (spec,), (port,) = stored.inputs, graph_ports(stored).inputs
    assert (stored.preprocessing, spec.dtype, port.scale > 0) == (HOW, np.int8, True)
    _, height, width, channels = spec.shape
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    (real,) = open_samples(tmp_path / "images", stored, {}).feeds()
    feed = feed_for(graph_ports(stored), real)
    assert channels == 3
    wanted = np.clip(np.rint((pixels / 127.5 - 1) / port.scale) + port.zero_point, -128, 127)
    assert feed[spec.name].dtype == np.int8
    assert np.abs(feed[spec.name][0] - wanted).max() <= 1, "but for float32's own roundings"


def test_arrays_are_taken_as_they_are_stored(stored):
    (spec,) = stored.inputs
    array = np.random.default_rng(0).integers(-128, 128, (2, *spec.shape[1:]), np.int8)
    feeds = [feed_for(graph_ports(stored), feed)[spec.name][0] for feed in open_samples(array, stored, {}).feeds()]
    np.testing.assert_array_equal(np.stack(feeds), array)


def test_floats_are_real_numbers(stored):
    (spec,) = stored.inputs
    array = np.random.default_rng(0).normal(size=(2, *spec.shape[1:])).astype(np.float32)
    for how in (None, StoredSpec(spec.name, spec.shape, np.dtype(np.float32), graph_ports(stored).inputs[0]).pixels):
        feeds = list(open_samples(array, replace(stored, preprocessing=how), {}).feeds())
        np.testing.assert_array_equal(feeds[1][spec.name][0], array[1])
    (feed, _) = open_samples(array * 255, replace(stored, preprocessing=HOW), {}).feeds()
    np.testing.assert_allclose(feed[spec.name][0], array[0] * 2 - 1, atol=1e-5)


def test_pixels_of_an_input_are_what_its_scale_says(classifier, data, tmp_path):
    """Where the file tells nothing else, or the same within a step."""
    small = narrowcast.quantize(narrowcast.load(classifier), "full_int8", io_type="uint8", data=data)
    read = narrowcast.load(narrowcast.save(small, tmp_path / "m.tflite", verify=False).path)
    (port,) = graph_ports(read).inputs
    assert (read.preprocessing.mean, read.preprocessing.std) == ((port.zero_point,), (1 / port.scale,))
    near = Preprocessing((port.zero_point + 0.5,), (1 / port.scale,), crop=0.5)
    assert stored_pixels(replace(read, preprocessing=near)) == replace(read.preprocessing, crop=0.5)
    assert stored_pixels(replace(read, preprocessing=HOW)) == HOW
