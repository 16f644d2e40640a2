"""What a file says of its use, read back by the schema's field numbers, as other tools read it."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.table import Table

import narrowcast
from narrowcast import runtimes
from narrowcast.dialect.build import Builder
from narrowcast.model import Model, Preprocessing

NAMES = ("tench, Tinca tinca", "goldfish", "great\nwhite shark")
TORCH = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), crop=0.875)


@pytest.fixture
def classifier():
    build = Builder.new("classifier")
    x = build.input("image", (1, 3, 4, 4))
    weights = build.constant(np.random.default_rng(0).normal(size=(3, 3, 4, 4)).astype(np.float32))
    window = {"kernel_shape": [4, 4], "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], "group": 1}
    y = build("Conv", x, weights, name="scores", shape=(1, 3, 1, 1), dtype=np.float32, **window)
    return Model(build.finish([y]))


def saved(model, tmp_path):
    path = narrowcast.save(model, tmp_path / "model.tflite").path
    read = schema.Model.GetRootAs(path.read_bytes(), 0)
    entries = {read.Metadata(i).Name().decode(): read.Metadata(i).Buffer() for i in range(read.MetadataLength())}
    buffers = {name: read.Buffers(index).DataAsNumpy().tobytes() for name, index in entries.items()}
    return path, buffers


class Fields:
    """A flatbuffer table without a schema: its fields by number."""

    def __init__(self, data, position=None):
        self.data = data
        self.table = Table(data, struct.unpack_from("<I", data, 0)[0] if position is None else position)

    def offset(self, number):
        return self.table.Offset(4 + 2 * number)

    def inner(self, number):
        return Fields(self.data, self.table.Indirect(self.table.Pos + self.offset(number)))

    def byte(self, number):
        return self.data[self.table.Pos + self.offset(number)]

    def text(self, number):
        return self.table.String(self.table.Pos + self.offset(number)).decode()

    def tables(self, number):
        start = self.table.Vector(self.offset(number))
        count = self.table.VectorLen(self.offset(number))
        return [Fields(self.data, self.table.Indirect(start + 4 * index)) for index in range(count)]

    def floats(self, number):
        start = self.table.Vector(self.offset(number))
        return np.frombuffer(self.data, np.float32, self.table.VectorLen(self.offset(number)), start)


def test_an_unknown_use_is_left_out(classifier, tmp_path):
    path, buffers = saved(classifier, tmp_path)
    assert set(buffers) == {"min_runtime_version", "narrowcast"}
    assert not zipfile.is_zipfile(path)


def test_images_and_labels_are_described(classifier, tmp_path):
    path, buffers = saved(replace(classifier, preprocessing=TORCH, labels=NAMES), tmp_path)
    data = buffers["TFLITE_METADATA"]
    assert data[4:8] == b"M001"
    (graph,) = Fields(data).tables(3)
    (image,), (scores,) = graph.tables(2), graph.tables(3)
    assert (image.text(0), scores.text(0)) == ("image", "scores")
    assert image.inner(3).byte(0) == 2, "image properties"
    assert image.inner(3).inner(1).byte(0) == 1, "RGB"
    (unit,) = image.tables(4)
    assert unit.byte(0) == 1, "normalisation"
    np.testing.assert_allclose(unit.inner(1).floats(0), TORCH.mean, rtol=1e-6)
    np.testing.assert_allclose(unit.inner(1).floats(1), TORCH.std, rtol=1e-6)
    mean, std = np.array(TORCH.mean), np.array(TORCH.std)
    np.testing.assert_allclose(image.inner(5).floats(0), (255 - mean) / std, rtol=1e-6)
    np.testing.assert_allclose(image.inner(5).floats(1), -mean / std, rtol=1e-6)
    (labels,) = scores.tables(6)
    assert (labels.text(0), labels.byte(2)) == ("labels.txt", 2)
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("labels.txt").decode().splitlines()
    assert lines == ["tench, Tinca tinca", "goldfish", "great white shark"]


def test_the_file_still_runs_and_knows_its_use(classifier, tmp_path):
    path, _ = saved(replace(classifier, preprocessing=TORCH, labels=NAMES), tmp_path)
    assert runtimes.open(path, "litert").run({"image": np.zeros((1, 4, 4, 3), np.float32)})["scores"].size == 3
    from PIL import Image

    Image.new("RGB", (8, 8), (10, 200, 30)).save(tmp_path / "green.png")
    found = narrowcast.run(path, tmp_path / "green.png")
    assert {guess.label for guess in found.guesses} <= set(NAMES)
    assert "123.675" in found.preprocessing
    assert "centre 0.875" in found.preprocessing


def test_writing_twice_gives_the_same_bytes(classifier, tmp_path):
    model = replace(classifier, preprocessing=TORCH, labels=NAMES)
    (first, _), (second, _) = (saved(model, tmp_path) for _ in range(2))
    assert first.read_bytes() == second.read_bytes()
