"""A written file read again: it proves the translation where nothing here runs the format."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.errors import UnsupportedError, VerificationError
from narrowcast.evaluation import readback
from narrowcast.evaluation.readback import ReadBack, has_reader
from narrowcast.model import ir
from narrowcast.report import tables, views
from narrowcast.runtimes import NoRuntime
from narrowcast.writers import formats
from narrowcast.writers import onnx as writer
from narrowcast.writers.formats import Written
from tests.cases import CASES

NEEDS = "needs an accelerator"


@pytest.fixture
def onnx_row(monkeypatch):
    """Changes the row of ONNX files."""
    monkeypatch.setitem(runtimes.RUNTIMES, "elsewhere", NoRuntime(NEEDS))

    def change(**changes):
        rows = [replace(row, **changes) if row.name == "onnx" else row for row in formats.FORMATS]
        monkeypatch.setattr(formats, "FORMATS", tuple(rows))

    return change


def enlarged(prepared, path, **options):
    """Another network's file: its largest weights are one and a half times as large."""
    written = writer.write(prepared, path, **options)
    proto = onnx.load(path)
    weights = max(proto.graph.initializer, key=lambda tensor: onnx.numpy_helper.to_array(tensor).size)
    array = onnx.numpy_helper.to_array(weights) * np.float32(1.5)
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    onnx.save(proto, path)
    return written


@pytest.mark.parametrize("scheme", ["float32", "int8"])
@pytest.mark.parametrize("case", CASES[::6], ids=lambda case: case.name)
def test_operators_read_back(case, scheme, onnx_row, tmp_path):
    onnx_row(runtime="elsewhere")
    ir.save(case.model().ir, tmp_path / "case.onnx")
    model = narrowcast.load(tmp_path / "case.onnx")
    model = narrowcast.quantize(model, scheme, fmt="onnx", data=[case.feed()])
    proof = narrowcast.save(model, tmp_path / "again.onnx").parity
    assert proof.runtime.endswith("file read back")
    assert proof.translated
    assert proof.translation.sqnr_db > 60


def test_what_is_read_back_is_proven_though_not_verified(classifier, onnx_row, tmp_path):
    onnx_row(runtime="elsewhere")
    written = narrowcast.save(narrowcast.load(classifier), tmp_path / "again.onnx")
    assert written.path.exists()
    assert (written.verified, written.unverified_because) == (None, NEEDS)
    assert written.parity.runtime.endswith("file read back")
    assert written.parity.translation.sqnr_db > 100
    assert "read back only: needs an accelerator" in tables.plain(views.written(written))


@pytest.mark.parametrize("runtime", ["onnxruntime", "elsewhere"])
def test_a_wrong_file_is_found_out(runtime, classifier, onnx_row, tmp_path, monkeypatch):
    module = ModuleType("wrong_writer")
    module.write = enlarged
    monkeypatch.setitem(sys.modules, "wrong_writer", module)
    onnx_row(runtime=runtime, module="wrong_writer")
    with pytest.raises(VerificationError, match="does not compute what its graph says"):
        narrowcast.save(narrowcast.load(classifier), tmp_path / "again.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx.unverified"]


def test_a_reader_that_misunderstands_is_found_out(classifier, onnx_row, tmp_path, monkeypatch):
    onnx_row(runtime="elsewhere")

    def halved(path, *rest, read=readback.sources.read):
        model = read(path, *rest)
        weights = max(model.graph.initializers.values(), key=lambda value: value.const_value.size)
        weights.const_value = ir.tensor(weights.const_value.numpy() / 2, name=weights.name)
        return model

    model = narrowcast.load(classifier)
    monkeypatch.setattr(readback.sources, "read", halved)
    with pytest.raises(VerificationError) as caught:
        narrowcast.save(model, tmp_path / "again.onnx")
    assert not caught.value.written.parity.translation.passed


def test_what_its_runtime_runs_is_not_read_again(classifier, tmp_path, monkeypatch):
    model = narrowcast.load(classifier)
    monkeypatch.setattr(readback.sources, "read", None)
    assert narrowcast.save(model, tmp_path / "again.onnx").parity.passed


def test_what_is_not_read_again_stays_unverified(classifier, onnx_row, tmp_path, monkeypatch):
    def refusing(*_args, **_options):
        raise UnsupportedError("no such operator")

    onnx_row(runtime="elsewhere")
    model = narrowcast.load(classifier)
    monkeypatch.setattr(readback.sources, "read", refusing)
    written = narrowcast.save(model, tmp_path / "again.onnx")
    assert (written.parity, written.unverified_because) == (None, NEEDS)


def test_files_without_a_reader(tmp_path):
    (tmp_path / "strange").write_bytes(b"strange")
    assert not has_reader(tmp_path / "strange")
    assert ReadBack.open(tmp_path / "strange", Written((), ())) is None
