import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from narrowcast.errors import DataError
from narrowcast.evaluation import pixels
from narrowcast.evaluation.pixels import as_input, image_input, image_layout, load_image
from narrowcast.evaluation.preprocessing import PRESETS
from narrowcast.model import Layout, Preprocessing


@pytest.fixture
def photo(tmp_path):
    """A folder and a function that saves random pixels in it."""

    def save(name, size=(40, 30), mode="RGB", **options):
        random = np.random.default_rng(0)
        bands = len(Image.new(mode, (1, 1)).getbands())
        shape = (size[1], size[0], bands) if bands > 1 else (size[1], size[0])
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels, mode=None).save(tmp_path / name, **options)
        return tmp_path / name, pixels

    return save


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 3, 224, 224), Layout.CHANNELS_FIRST),
        ((None, 224, 224, 3), Layout.CHANNELS_LAST),
        ((1, 49, 10, 1), Layout.CHANNELS_LAST),
        ((1, 1, 28, 28), Layout.CHANNELS_FIRST),
        ((1, 4, 4, 3), Layout.CHANNELS_LAST),
        ((1, 3, 4, 4), Layout.CHANNELS_FIRST),
        ((1, 3, 3, 3), Layout.CHANNELS_FIRST),
        ((1, 3, None, None), Layout.CHANNELS_FIRST),
        ((1, 64, 7, 7), None),
        ((1, 128), None),
        ((), None),
    ],
)
def test_the_layout_is_told_by_the_channels(shape, layout):
    assert image_layout(shape) is layout


@pytest.mark.parametrize(
    ("shape", "made", "reason"),
    [
        ((1, 128), Preprocessing(), "1x128 takes no images"),
        ((8, 3, 4, 4), Preprocessing(), "takes 8 images at a time"),
        ((1, 3, None, None), Preprocessing(), "height and width are open"),
        ((1, 3, 8, 8), Preprocessing(resize=(9, 9)), "--resize 9 does not fit the input's 8x8"),
        ((1, 1, 8, 8), PRESETS["torch"], "for 3 channels, the input has 1"),
    ],
)
def test_inputs_that_take_no_such_image(shape, made, reason):
    with pytest.raises(DataError, match=reason):
        image_input(shape, made)


@pytest.mark.parametrize("shape", [(1, 3, 30, 40), (1, 30, 40, 3), (None, None, None, 3)])
def test_pixels_arrive_in_their_places(photo, shape):
    path, pixels = photo("a.png")
    made = Preprocessing((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), resize=(30, 40))
    expected = (pixels.astype(np.float64) - (1, 2, 3)) / (4, 5, 6)
    array = load_image(path, made, shape)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    found = array[0].transpose(1, 2, 0) if shape[1] == 3 else array[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_bgr_is_the_reverse(photo):
    path, pixels = photo("a.png")
    made = Preprocessing((10.0, 20.0, 30.0), channel_order="bgr")
    np.testing.assert_allclose(load_image(path, made, (1, 30, 40, 3))[0], pixels[..., ::-1] - np.array([10.0, 20, 30]))


def test_the_centre_of_the_short_side_is_cut_out_before_the_resize(photo):
    path, pixels = photo("a.png", (40, 30))
    cropped = load_image(path, Preprocessing(crop=0.5), (1, 15, 15, 3))
    np.testing.assert_array_equal(cropped[0], pixels[7:22, 12:27])
    small = load_image(path, Preprocessing(crop=0.5), (1, 6, 6, 3))
    expected = Image.fromarray(pixels[7:22, 12:27]).resize((6, 6), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small[0], np.asarray(expected))


@pytest.mark.parametrize(
    ("mode", "channels", "order"),
    [
        ("L", 3, "rgb"),
        ("RGB", 1, "rgb"),
        ("RGB", 3, "gray"),
        ("RGBA", 3, "rgb"),
        ("RGBA", 4, "rgb"),
        ("LA", 3, "rgb"),
        ("RGB", 4, "bgr"),
    ],
)
def test_channels_are_converted_as_pillow_does(photo, mode, channels, order):
    path, pixels = photo("a.png", mode=mode)
    image = Image.fromarray(pixels)
    image = image.convert("L") if order == "gray" else image
    expected = np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])).reshape(30, 40, channels)
    expected = expected[..., [2, 1, 0, 3]] if order == "bgr" else expected
    found = load_image(path, Preprocessing(channel_order=order), (1, 30, 40, channels))
    np.testing.assert_array_equal(found[0], expected)


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 270 degrees to display
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    found = load_image(tmp_path / "a.png", Preprocessing(), (1, 40, 30, 3))
    np.testing.assert_array_equal(found[0], np.rot90(pixels, 3))


def test_sixteen_bits_keep_their_brightness(tmp_path):
    values = np.linspace(0, 65535, 12 * 9).astype(np.uint16).reshape(12, 9)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = load_image(tmp_path / "a.png", Preprocessing(), (1, 12, 9, 1))
    np.testing.assert_array_equal(found[0, ..., 0], values >> 8)


def test_a_palette_with_transparency_is_no_surprise(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)).quantize(16)
    image.save(tmp_path / "a.png", transparency=bytes(range(0, 160, 10)))
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", Preprocessing(), (1, 9, 9, 3))[0], expected)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "a.gif", Preprocessing(), (1, 6, 6, 3))[0, 0, 0].tolist() == [255, 0, 0]


def png_of(width, height):
    """A PNG that claims a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("size", [(9_000, 9_990), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_by_their_header(tmp_path, size):
    (tmp_path / "a.png").write_bytes(png_of(*size))
    with pytest.raises(DataError, match=r"a\.png: .*(too large|not a readable image)"):
        load_image(tmp_path / "a.png", Preprocessing(), (1, 8, 8, 3))


def test_the_largest_image_is_below_pillows_warning():
    assert Image.MAX_IMAGE_PIXELS > pixels.LARGEST_IMAGE


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xff\xd8\xff\xe0" + bytes(40), b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_named(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: not a readable image"):
        load_image(tmp_path / "a.jpg", Preprocessing(), (1, 8, 8, 3))


@given(data=st.data())
def test_damaged_images_are_refused_or_read(data, tmp_path_factory):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]))
    buffer = io.BytesIO()
    Image.fromarray(np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("images") / "a.img"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        array = load_image(path, Preprocessing(), (1, 8, 8, 3))
    except DataError:
        return
    assert array.shape == (1, 8, 8, 3)


def test_arrays_of_pixels_take_the_same_way(photo):
    path, pixels = photo("a.png")
    target = image_input((1, 3, 12, 12), PRESETS["caffe"])
    expected = load_image(path, PRESETS["caffe"], (1, 3, 12, 12))
    np.testing.assert_array_equal(as_input(pixels, PRESETS["caffe"], target), expected)


def test_arrays_of_the_right_size_are_not_cropped(photo):
    _, pixels = photo("a.png", (20, 20))
    target = image_input((1, 20, 20, 3), Preprocessing(crop=0.5))
    np.testing.assert_array_equal(as_input(pixels, Preprocessing(crop=0.5), target)[0], pixels)


def test_grey_arrays_fill_coloured_inputs():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 1), dtype=np.uint8)
    target = image_input((1, 20, 20, 3), Preprocessing())
    np.testing.assert_array_equal(as_input(pixels, Preprocessing(), target)[0], np.repeat(pixels, 3, -1))
