"""Recordings beside Python's own reader of .wav files, and files that are none."""

from __future__ import annotations

import struct
import wave

import numpy as np
import pytest

from narrowcast.errors import DataError
from narrowcast.evaluation.data import MOST_SAMPLES, open_data
from narrowcast.evaluation.recordings import MOST_CHUNKS, open_recording
from narrowcast.model import TensorSpec

RANDOM = np.random.default_rng(4)
SPEC = TensorSpec("audio", (1, 100), np.dtype(np.float32))


def pcm(path, samples, rate=16000, width=2, channels=1):
    """Writes integers of `width` bytes by Python's own writer."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 3:
            content = np.asarray(samples, "<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        else:
            content = np.asarray(samples, np.uint8 if width == 1 else f"<i{width}").tobytes()
        file.writeframes(content)
    return path


def chunk(kind, content):
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def form(tag=1, channels=1, rate=16000, bits=16):
    block = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block % 2**32, block % 2**16, bits)


def riff(path, *chunks):
    content = b"WAVE" + b"".join(chunks)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)
    return path


@pytest.mark.parametrize(("width", "bits"), [(1, 8), (2, 16), (3, 24), (4, 32)])
def test_integers_of_every_width(width, bits, tmp_path):
    low, high = (0, 256) if bits == 8 else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    samples = RANDOM.integers(low, high, 50)
    recording = open_recording(pcm(tmp_path / "a.wav", samples, width=width))
    expected = (samples - 128) / 128 if bits == 8 else samples / 2 ** (bits - 1)
    assert (recording.rate, recording.length, recording.channels) == (16000, 50, 1)
    assert recording.window(0, 50) == pytest.approx(expected, abs=1e-7)
    assert recording.window(10, 7) == pytest.approx(expected[10:17], abs=1e-7)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("extensible", [False, True])
def test_floats(dtype, extensible, tmp_path):
    samples = RANDOM.uniform(-1, 1, 20).astype(dtype)
    bits = 8 * samples.itemsize
    head = form(3, bits=bits)
    if extensible:
        head = form(0xFFFE, bits=bits) + struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", 3) + bytes(14)
    path = riff(tmp_path / "a.wav", chunk(b"LIST", b"odd"), chunk(b"fmt ", head), chunk(b"data", samples.tobytes()))
    assert open_recording(path).window(0, 20) == pytest.approx(samples.astype(np.float32))


def test_channels_become_one(tmp_path):
    left, right = RANDOM.integers(-1000, 1000, (2, 40))
    recording = open_recording(pcm(tmp_path / "a.wav", np.stack([left, right], 1), channels=2))
    assert recording.length == 40
    assert recording.window(0, 40) == pytest.approx((left + right) / 2 / 2**15, abs=1e-7)


def test_what_a_program_could_not_tell_the_size_of_reaches_to_the_end(tmp_path):
    path = riff(tmp_path / "a.wav", chunk(b"fmt ", form()), b"data\xff\xff\xff\xff", bytes(60))
    assert open_recording(path).length == 30


def test_a_folder_is_cut_into_windows(tmp_path):
    one, other = RANDOM.integers(-(2**15), 2**15, 250), RANDOM.integers(-(2**15), 2**15, 60)
    pcm(tmp_path / "a.wav", one)
    pcm(tmp_path / "b.WAV", other)
    (tmp_path / "notes.txt").write_text("")
    data = open_data(tmp_path, [SPEC])
    found = [sample.feed["audio"] for sample in data]
    assert [array.shape for array in found] == [(1, 100)] * 3
    assert np.concatenate(found, 1)[0, :200] == pytest.approx(one[:200] / 2**15)
    assert found[2][0] == pytest.approx(np.pad(other, (0, 40)) / 2**15)
    assert data.description.startswith("3 windows of 100 samples from 2 recordings")
    assert data.remarks[0].endswith("being none of .wav .wave: notes.txt")
    assert [sample.label for sample in data] == [None] * 3


def test_labels_are_those_of_the_files(tmp_path):
    for name, length in (("no/a.wav", 210), ("yes/a.wav", 10), ("yes/b.wav", 100)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pcm(tmp_path / name, np.zeros(length))
    data = open_data(tmp_path, [SPEC])
    assert [sample.label for sample in data] == [0, 0, 1, 1]
    assert data.class_names == ("no", "yes")
    (tmp_path / "labels.csv").write_text("yes/b.wav,7\nno/a.wav,3\n")
    assert [sample.label for sample in open_data(tmp_path, [SPEC])] == [7, 3, 3]


@pytest.mark.parametrize("shape", [(1, 1, 100), (1, 100, 1), (100,)])
def test_inputs_of_any_rank(shape, tmp_path):
    path = pcm(tmp_path / "a.wav", np.arange(100))
    (sample,) = open_data(path, [TensorSpec("audio", shape, np.dtype(np.float32))])
    assert sample.feed["audio"].shape == shape
    assert sample.feed["audio"].reshape(-1) == pytest.approx(np.arange(100) / 2**15)


def test_inputs_of_16_bits_get_the_numbers_as_they_are(tmp_path):
    path = pcm(tmp_path / "a.wav", np.arange(-50, 50))
    (sample,) = open_data(path, [TensorSpec("audio", (1, 100), np.dtype(np.int16))])
    assert np.array_equal(sample.feed["audio"][0], np.arange(-50, 50))


def test_sample_rates_have_to_be_one(tmp_path):
    pcm(tmp_path / "a.wav", np.zeros(100))
    assert len(open_data(tmp_path, [SPEC], sample_rate=16000)) == 1
    with pytest.raises(DataError, match="16000 samples a second, where 8000 is asked for"):
        open_data(tmp_path, [SPEC], sample_rate=8000)
    pcm(tmp_path / "b.wav", np.zeros(100), rate=44100)
    with pytest.raises(DataError, match=r"44100 samples a second, where 16000 has a\.wav") as told:
        open_data(tmp_path, [SPEC])
    assert told.value.where == str(tmp_path / "b.wav")


@pytest.mark.parametrize("shape", [(1, 98, 40), (1, None)])
def test_inputs_that_are_no_recording(shape, tmp_path):
    pcm(tmp_path / "a.wav", np.zeros(100))
    with pytest.raises(DataError, match="no number of samples of a recording"):
        open_data(tmp_path, [TensorSpec("x", shape, np.dtype(np.float32))])


DATA = chunk(b"data", bytes(200))
HOSTILE = {
    "nothing": (b"", "not a RIFF WAVE"),
    "another RIFF": (b"RIFF\x04\0\0\0AVI ", "not a RIFF WAVE"),
    "no samples": ([chunk(b"fmt ", form())], "no samples"),
    "an empty chunk": ([chunk(b"fmt ", form()), chunk(b"data", b"")], "no samples"),
    "less than a sample": ([chunk(b"fmt ", form()), chunk(b"data", b"\1")], "no samples"),
    "no format": ([DATA], "does not say"),
    "a short format": ([chunk(b"fmt ", b"\1\0\1\0"), DATA], "does not say"),
    "another coding": ([chunk(b"fmt ", form(tag=6, bits=8)), DATA], "format 6 with 8 bits"),
    "no bits": ([chunk(b"fmt ", form(bits=0)), DATA], "with 0 bits"),
    "no channels": ([chunk(b"fmt ", form(channels=0)), DATA], "0 channels"),
    "too many channels": ([chunk(b"fmt ", form(channels=60000)), DATA], "60000 channels"),
    "no rate": ([chunk(b"fmt ", form(rate=0)), DATA], "at 0 samples"),
    "more than there is": ([chunk(b"fmt ", form()), b"data\0\0\0\x7f"], "claims 2130706432 bytes"),
    "chunks without end": ([chunk(b"junk", b"")] * (MOST_CHUNKS + 1), "no samples"),
    "a chunk beyond the file": ([b"junk\xfe\xff\xff\xff"], "no samples"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_files_that_are_none(content, tmp_path):
    made, words = content
    path = tmp_path / "a.wav"
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        riff(path, *made)
    with pytest.raises(DataError, match=words) as told:
        open_data(path, [SPEC])
    assert told.value.where == str(path)


def test_more_windows_than_can_be_drawn_from(tmp_path):
    """A sparse file takes no room, and its windows would take all memory."""
    path = riff(tmp_path / "a.wav", chunk(b"fmt ", form()), b"data\xff\xff\xff\xff")
    with path.open("r+b") as file:
        file.truncate(2 * SPEC.shape[1] * (MOST_SAMPLES + 2))
    with pytest.raises(DataError, match="too many to draw from"):
        open_data(path, [SPEC], samples=8)


@pytest.mark.parametrize(
    ("bits", "content"),
    [(32, b"\xff" * 400), (64, np.full(50, 1e300).tobytes()), (64, np.full(50, -np.inf).tobytes())],
)
def test_floats_that_are_none_are_refused(tmp_path, bits, content):
    path = riff(tmp_path / "a.wav", chunk(b"fmt ", form(3, bits=bits)), chunk(b"data", content))
    with pytest.raises(DataError, match="NaN or infinite") as told:
        list(open_data(path, [SPEC]))
    assert told.value.where == str(path)


def test_a_file_that_became_shorter(tmp_path):
    path = pcm(tmp_path / "a.wav", np.zeros(200))
    data = open_data(path, [SPEC])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match="shorter"):
        list(data)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        list(data)
