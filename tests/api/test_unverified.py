"""Files of formats that nothing here runs, and outputs of more than one file."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.model import ir
from narrowcast.report import machine
from narrowcast.runtimes import NoRuntime
from narrowcast.writers import formats
from narrowcast.writers import tflite as writer


@pytest.fixture
def rows(monkeypatch):
    """Adds a row to the writers' table, like tflite's but for what is given; `beside` also writes a second file."""

    def add(**changes):
        row = replace(formats.named("tflite"), **changes)
        monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, row))

    return add


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_nothing_here_runs_is_written_under_its_own_name(classifier, rows, tmp_path, monkeypatch):
    monkeypatch.setitem(runtimes.RUNTIMES, "elsewhere", NoRuntime("needs macOS"))
    rows(name="other", suffixes=(".other",), runtime="elsewhere")
    written = narrowcast.save(narrowcast.load(classifier), tmp_path / "m.other")
    assert written.path == tmp_path / "m.other"
    assert written.path.exists()
    assert (written.verified, written.unverified_because) == (None, "needs macOS")
    assert written.parity.runtime.endswith("file read back")
    data = json.loads(machine.to_json(written))
    assert (data["verified"], data["unverified_because"]) == (None, "needs macOS")


def paired(prepared, path, **options):
    written = writer.write(prepared, path, **options)
    path.with_name(f"{path.name}.data").write_bytes(b"weights")
    return written


def foldered(prepared, path, **options):
    path.mkdir()
    (path / "mark").write_bytes(b"x")
    return writer.write(prepared, path / "model.tflite", **options)


def by(name, write, monkeypatch):
    """Names a module whose `write` is the one given."""
    module = ModuleType(name)
    module.write = write
    monkeypatch.setitem(sys.modules, name, module)
    return name


def other(prepared, path, **options):
    """Another network's file."""
    stored = prepared.stored.clone()
    weights = next(value for value in stored.graph.initializers.values() if value.const_value.size > 100)
    weights.const_value = ir.tensor(weights.const_value.numpy() * np.float32(1.5), name=weights.name)
    return paired(replace(prepared, stored=stored), path, **options)


def test_a_pair_is_proven_and_counted_together(classifier, rows, tmp_path, monkeypatch):
    rows(name="other", suffixes=(".other",), module=by("paired", paired, monkeypatch))
    written = narrowcast.save(narrowcast.load(classifier), tmp_path / "out.other")
    assert written.verified
    files = [tmp_path / "out.other", tmp_path / "out.other.data"]
    assert written.bytes == sum(path.stat().st_size for path in files)


def test_a_pair_that_fails_is_kept_together_and_apart(classifier, rows, tmp_path, monkeypatch):
    rows(name="other", suffixes=(".other",), module=by("other", other, monkeypatch))
    (tmp_path / "out.other.data").write_bytes(b"of an older file")
    with pytest.raises(narrowcast.VerificationError) as caught:
        narrowcast.save(narrowcast.load(classifier), tmp_path / "out.other")
    kept = tmp_path / "out.other.unverified"
    assert caught.value.written.path == kept
    assert names(kept) == ["out.other", "out.other.data"]
    assert (tmp_path / "out.other.data").read_bytes() == b"of an older file"


def test_a_folder(classifier, rows, tmp_path, monkeypatch):
    monkeypatch.setitem(runtimes.RUNTIMES, "elsewhere", NoRuntime("needs macOS"))
    module = by("foldered", foldered, monkeypatch)
    rows(name="other", suffixes=(".other",), module=module, folder="mark", runtime="elsewhere")
    for _ in range(2):
        written = narrowcast.save(narrowcast.load(classifier), tmp_path / "out.other")
        assert names(written.path) == ["mark", "model.tflite"]
        assert written.bytes == (written.path / "model.tflite").stat().st_size + 1


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({"schemes": ("int8",)}, {}, "other files have no float32 .*int8"),
        ({}, {"opset": 17}, "other files have no opset"),
        ({"package": "no_such_package", "extra": "some"}, {}, r"Writing other files needs .*narrowcast\[some\]"),
    ],
)
def test_what_a_format_lacks(changes, options, reason, classifier, rows, tmp_path):
    rows(name="other", suffixes=(".other",), **changes)
    with pytest.raises(narrowcast.NarrowcastError, match=reason):
        narrowcast.save(narrowcast.load(classifier), tmp_path / "m.other", **options)
    assert names(tmp_path) in ([], [classifier.name])
