"""Bundles: their models are listed, and each is read by its path in the bundle."""

from __future__ import annotations

import zipfile

import pytest
from click.testing import CliRunner

import narrowcast
from narrowcast.cli.app import cli
from narrowcast.errors import ModelFileError, UnsupportedError, UsageError
from narrowcast.readers import formats
from narrowcast.readers.tflite import bundle
from tests.readers.tflite.craft import Craft, convolution


def packed(path, **entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def absolute():
    craft = Craft()
    craft.last.inputs, craft.last.outputs = [craft.tensor((1, 4))], [craft.tensor((1, 4))]
    craft.operator("ABS", craft.last.inputs, craft.last.outputs)
    return craft.content


@pytest.fixture
def task(tmp_path):
    inner = packed(tmp_path / "inner.task", deep__tflite=absolute(), words__txt=b"words").read_bytes()
    return packed(tmp_path / "b.task", net__tflite=convolution().content, more__task=inner, notes__binarypb=b"notes")


def test_members(task):
    assert formats.find(task).name == "task"
    assert list(bundle.members(task)) == ["net.tflite", "more.task/deep.tflite"]
    assert formats.find(task / "more.task").name == "task"
    assert list(bundle.members(task / "more.task")) == ["deep.tflite"]


def test_one_of_several_is_chosen(task, tmp_path):
    with pytest.raises(UsageError, match=r"holds 2 models .*--member NAME.*net.tflite \(.* bytes\), more.task/deep"):
        narrowcast.load(task)
    assert [port.name for port in narrowcast.load(task / "net.tflite").inputs] == ["image"]
    only = narrowcast.load(task / "more.task")
    assert only.provenance.path == task / "more.task" / "deep.tflite"
    written = narrowcast.save(narrowcast.load(task / "net.tflite"), tmp_path / "m.tflite")
    assert "LiteRT" in written.parity.reference


def test_many_are_not_all_told(tmp_path):
    path = packed(tmp_path / "b.task", **{f"{number}__tflite": absolute() for number in range(20)})
    with pytest.raises(UsageError, match=r"holds 20 models .*7\.tflite \([^)]*\), \.\.\.\)$"):
        narrowcast.load(path)


@pytest.mark.parametrize(
    "spoil", [lambda content: content[:-20], lambda content: content[:0] + b"PK\x05\x06" + bytes(18)]
)
def test_no_model_in_it(tmp_path, spoil):
    path = packed(tmp_path / "b.task", net__tflite=absolute())
    path.write_bytes(spoil(path.read_bytes()))
    for look in (narrowcast.load, narrowcast.inspect):
        with pytest.raises(ModelFileError, match=r"b.task: it is no bundle"):
            look(path)


def test_a_member_that_is_called_like_a_path_from_the_root(tmp_path):
    path = packed(tmp_path / "b.task", **{"/etc/net__tflite": absolute(), "two__tflite": absolute()})
    assert list(bundle.members(path)) == ["etc/net.tflite", "two.tflite"]
    assert len(narrowcast.inspect(path).members) == 2
    for member in ("/etc/net.tflite", "etc/net.tflite"):
        result = CliRunner().invoke(cli, ["inspect", str(path), "--member", member])
        assert (result.exit_code, "ABS" in result.output) == (0, True), result.output


def test_operators_are_those_of_one_model(task, tmp_path):
    graph = narrowcast.inspect(task / "more.task", operators=True).network.graphs[0]
    assert [operator.type for operator in graph.operators] == ["ABS"]
    assert narrowcast.compare_networks(task / "more.task", task / "more.task" / "deep.tflite").alike
    with pytest.raises(UsageError, match=r"holds 2 models .*--member"):
        narrowcast.inspect(task, operators=True)
    result = CliRunner().invoke(cli, ["inspect", str(task), "--graph", str(tmp_path / "page.html")])
    assert (result.exit_code, (tmp_path / "page.html").exists()) == (2, False)


def test_what_runs_is_one_model(task, tmp_path):
    assert narrowcast.bench([task / "more.task"], threads=(1,)).rows[0].operators.total == 1
    for words in (["bench", str(task)], ["run", str(task), "photo.png"]):
        result = CliRunner().invoke(cli, words)
        assert (result.exit_code, "holds 2 models" in result.output) == (2, True), result.output


def test_inspect_lists_the_models(task):
    found = narrowcast.inspect(task)
    assert [(member.path, member.operators.total) for member in found.members] == [
        (task / "net.tflite", 2),
        (task / "more.task" / "deep.tflite", 1),
    ]
    assert (found.format, found.operators.total) == ("task", 3)
    assert "more.task/deep.tflite" in CliRunner().invoke(cli, ["inspect", str(task)]).stdout


@pytest.mark.parametrize("command", ["inspect", "bench"])
def test_the_option_says_the_same(command, task):
    arguments = [command, str(task), "--member", "net.tflite", "--json"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "net.tflite" in done.stdout


def test_what_is_asked_of_the_whole_bundle(task, tmp_path):
    with pytest.raises(UsageError, match=r"holds 2 models .*--member NAME"):
        narrowcast.bench([task])
    with pytest.raises(UsageError, match="the destination is the source"):
        narrowcast.save(narrowcast.load(task / "net.tflite"), task, fmt="tflite")


def test_other_formats_are_not_read_from_archives(task, tmp_path):
    path = narrowcast.save(narrowcast.load(task / "net.tflite"), tmp_path / "m.onnx").path
    outer = packed(tmp_path / "o.zip", m__onnx=path.read_bytes(), net__tflite=convolution().content)
    with pytest.raises(UnsupportedError, match="onnx files are not read out of an archive"):
        narrowcast.load(outer / "m.onnx")


def test_archives_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "MOST_BUNDLES", 3)
    content = convolution().content
    for depth in range(4):
        path = packed(tmp_path / f"{depth}.task", **{("a__tflite" if depth == 0 else "a__task"): content})
        content = path.read_bytes()
    with pytest.raises(narrowcast.ModelFileError, match="more than 3 archives"):
        bundle.members(path)


def test_mediapipe_s_own(zoo):
    path = zoo / "models/bundle/face_landmarker_v2.task"
    assert list(bundle.members(path)) == ["face_detector.tflite", "face_landmarks_detector.tflite"]
    model = narrowcast.load(path / "face_detector.tflite")
    assert (model.preprocessing.mean, model.preprocessing.std) == ((127.5,), (127.5,))
