"""What a file is: by its content, then by its suffix, or as the user says."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError, UnsupportedError, UsageError
from narrowcast.model import ir
from narrowcast.readers import formats
from narrowcast.readers.formats import FORMATS, find, read
from narrowcast.runtimes import RUNTIMES
from tests.readers.keras import craft


def onnx(path):
    build = Builder.new("network")
    x = build.input("x", (1, 4))
    ir.save(build.finish([build("Relu", x, name="y", shape=(1, 4))]), path)
    return path


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")


def hdf5(path):
    with h5py.File(path, "w") as file:
        file.attrs["anything"] = 1


def folder(path, *names):
    path.mkdir()
    for name in names:
        (path / name).write_bytes(b"x")


CONTENTS = {
    "keras": lambda path: zipped(path, "metadata.json", "config.json", "model.weights.h5"),
    "keras, HDF5": hdf5,
    "onnx": onnx,
    "onnx-json": lambda path: path.write_text('{"irVersion": "8", "graph": {}}'),
    "tflite-json": lambda path: path.write_text("{\n  version: 3,\n  operator_codes: [\n"),
    "tflite": lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64)),
    "task": lambda path: zipped(path, "detector.tflite", "labels.txt"),
    "task, nested": lambda path: zipped(path, "hand.task"),
    "savedmodel": lambda path: folder(path, "saved_model.pb", "variables"),
    "openvino": lambda path: path.write_text('<?xml version="1.0"?>\n<net name="n" version="11">'),
    "coreml": lambda path: folder(path, "Manifest.json", "Data"),
    "pytorch": lambda path: zipped(path, "model/data.pkl", "model/version"),
}


@pytest.mark.parametrize("suffix", ["", ".bin", ".h5", ".onnx"])
@pytest.mark.parametrize("name", CONTENTS)
def test_content_says_what_a_file_is_whatever_its_suffix(name, suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    CONTENTS[name](path)
    assert find(path).name == name.partition(",")[0]


@pytest.mark.parametrize(
    ("name", "fmt"), [("a.onnx", "onnx"), ("a.HDF5", "keras"), ("a.pth", "pytorch"), ("a.pb", "graphdef")]
)
def test_the_suffix_decides_where_the_content_is_silent(name, fmt, tmp_path):
    (tmp_path / name).write_bytes(b"nonsense")
    assert find(tmp_path / name).name == fmt


def test_every_format_has_a_reader_or_a_way_out_and_a_known_runtime():
    assert len({row.name for row in FORMATS}) == len(FORMATS)
    for row in FORMATS:
        assert bool(row.module) != bool(row.hint), row.name
        assert row.runtime in ("", *RUNTIMES)
        assert row.signs or row.suffixes
        assert not row.signs or row.name in {name.partition(",")[0] for name in CONTENTS}


def test_a_model_under_another_suffix_is_read(tmp_path):
    assert read(onnx(tmp_path / "model.keras")).provenance.format == "onnx"
    path = craft.dense(tmp_path / "m.h5")
    assert read(path.rename(tmp_path / "model.weights")).provenance.format == "keras"


def test_the_user_overrides_what_the_content_says(tmp_path):
    path = onnx(tmp_path / "model.onnx")
    with pytest.raises(ModelFileError):
        read(path, fmt="keras")
    assert read(path, fmt="onnx").provenance.format == "onnx"
    with pytest.raises(UsageError, match="did you mean onnx"):
        read(path, fmt="onxx")


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (lambda path: folder(path, "saved_model.pb"), UnsupportedError, "savedmodel files are not read.*tf2onnx"),
        (
            lambda path: folder(path, "a.txt", "b", "c", "d"),
            UsageError,
            r"a folder of no format .*'a\.txt', 'b', 'c', ",
        ),
        (lambda path: folder(path), UsageError, "it holds nothing"),
        (lambda path: path.write_bytes(b"GGUF"), UsageError, "its content shows no format: it starts with b'GGUF'"),
        (lambda path: zipped(path, "data.pkl"), UsageError, "--from FORMAT"),
        (lambda path: path.write_bytes(b""), ModelFileError, "the file is empty"),
        (lambda path: None, ModelFileError, "no such file"),
    ],
)
def test_what_is_not_read(make, error, reason, tmp_path):
    make(tmp_path / "model")
    with pytest.raises(error, match=reason):
        read(tmp_path / "model")


def test_a_folder_is_no_file(tmp_path):
    folder(tmp_path / "model", "a")
    with pytest.raises(ModelFileError, match="onnx is a format of files"):
        read(tmp_path / "model", fmt="onnx")


def test_a_package_that_a_reader_lacks_is_named(tmp_path, monkeypatch):
    row = replace(formats.named("onnx"), package="no_such_package", extra="some")
    monkeypatch.setattr(formats, "FORMATS", (row,))
    with pytest.raises(UnsupportedError, match=r"Reading onnx files needs .*pip install 'narrowcast\[some\]'"):
        read(onnx(tmp_path / "model.onnx"))


DATA = {"evaluation/data.py", "evaluation/idx.py", "evaluation/listing.py"}
"""Data sets go by suffixes."""
KERAS = {"runtimes/keras.py"}
"""Keras itself goes by suffixes."""


def test_only_the_two_tables_go_by_a_models_suffix():
    root = Path(formats.__file__).parents[1]
    going = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if ".suffix" in path.read_text()}
    going = {name for name in going if re.search(r"\.suffix(es)?\b", (root / name).read_text())}
    tables = {"readers/formats.py", "writers/formats.py"}
    by_table = {"api/comparing.py", "api/laboratory.py", "api/models.py"}  # which name files by the table
    assert going - DATA - KERAS <= tables | by_table
