"""Loading, quantising and saving: what the verbs wire, what they leave on the disk, what they refuse."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest

import narrowcast
from narrowcast.api import proof
from narrowcast.api.labels import classes_of
from narrowcast.errors import UsageError
from narrowcast.evaluation import parity, source
from narrowcast.model import Model, TensorSpec, ir
from tests.api import names


def test_load_reads_a_canonical_model(classifier, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffcat\n dog \nc\nd\ne\nf\ng\n\n")
    model = narrowcast.load(classifier, labels=labels)
    assert [node.op_type for node in model.graph] == ["Conv", "Relu", "Reshape", "Gemm", "Softmax"]
    assert model.labels == ("cat", "dog", *"cdefg")
    assert model.source is None


def test_save_writes_a_verified_file(classifier, tmp_path):
    told = []
    file = narrowcast.save(
        narrowcast.load(classifier), tmp_path / "m.tflite", progress=lambda *report: told.append(report)
    )
    assert names(tmp_path) == ["m.tflite"]
    assert file.bytes == (tmp_path / "m.tflite").stat().st_size
    assert file.scheme == "float32"
    assert file.parity.passed
    assert file.parity.sqnr_db > 60
    assert "original file" in file.parity.reference
    assert file.notes == ("input 'image' is 1x8x8x3 in the file, 1x3x8x8 in the source",)
    assert [stage for stage, _, _ in told] == ["opening the source", "writing m.tflite"]


def test_source_layout_is_kept_on_request(classifier, tmp_path):
    file = narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite", io_layout="source")
    assert file.notes == ()
    assert narrowcast.inspect(file.path).inputs[0].shape == (1, 3, 8, 8)


def test_without_verification_the_file_says_so(classifier, tmp_path):
    file = narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite", verify=False)
    assert file.parity is None
    assert file.unverified_because == "not asked for"


def test_the_format_can_be_named(classifier, tmp_path):
    file = narrowcast.save(narrowcast.load(classifier), tmp_path / "m.bin", fmt="tflite")
    assert file.parity.passed
    assert names(tmp_path) == ["m.bin"]


@pytest.mark.parametrize("scheme", ["float16", "dynamic_range", "int8", "full_int8", "int16x8"])
def test_every_scheme_is_quantised_saved_and_verified(scheme, classifier, data, tmp_path):
    model = narrowcast.load(classifier)
    small = narrowcast.quantize(model, scheme, data=data)
    file = narrowcast.save(small, tmp_path / "m.tflite", data=data)
    assert (small.scheme, model.scheme) == (scheme, "float32")
    assert file.parity.samples == parity.SAMPLES
    assert not file.parity.random_samples
    assert file.parity.sqnr_db > 20
    assert file.bytes < classifier.stat().st_size


def test_data_may_be_arrays_or_a_generator_taken_once(classifier, data):
    model = narrowcast.load(classifier)
    images = np.load(data)["x"]
    feeds = ({"image": image[None]} for image in images)
    ranges = []
    for given in (images, {"image": images}, feeds, str(data)):
        quantized = narrowcast.quantize(model, "full_int8", data=given)
        ranges.append([float(value.const_value.numpy()) for value in _scales(quantized)])
    assert all(found == ranges[0] for found in ranges[1:])


def _scales(model):
    return [node.inputs[1] for node in model.graph if node.op_type == "QuantizeLinear"]


def test_quantize_tells_its_progress(classifier, data):
    told = []
    model = narrowcast.load(classifier)
    narrowcast.quantize(model, "int8", data=data, samples=5, progress=lambda *report: told.append(report))
    assert ("calibrating", 5, 5) in told


@pytest.mark.parametrize(
    ("scheme", "options", "what"),
    [
        ("int7", {}, "unknown scheme 'int7'"),
        ("int8", {}, "needs data"),
        ("int8", {"data": "DATA", "observer": "guess"}, "guess"),
        ("int8", {"data": "DATA", "weights": "per-row"}, "per-row"),
        ("int16x8", {"data": "DATA", "io_type": "int8"}, "float inputs"),
    ],
)
def test_quantize_refuses(scheme, options, what, classifier, data):
    given = {key: data if value == "DATA" else value for key, value in options.items()}
    with pytest.raises(narrowcast.UsageError, match=what):
        narrowcast.quantize(narrowcast.load(classifier), scheme, **given)


def test_a_quantised_model_is_not_quantised_again(classifier):
    half = narrowcast.quantize(narrowcast.load(classifier), "float16")
    with pytest.raises(narrowcast.UsageError, match="quantised already"):
        narrowcast.quantize(half, "dynamic_range")


@pytest.mark.parametrize(
    ("destination", "options", "error"),
    [
        ("missing/m.tflite", {}, narrowcast.OutputError),
        (".", {}, narrowcast.UsageError),
        ("m.xyz", {}, narrowcast.UsageError),
        ("m.tflite", {"fmt": "floppy"}, narrowcast.UsageError),
        ("m.tflite", {"io_layout": "sideways"}, narrowcast.UsageError),
        ("m.tflite", {"data": "nowhere"}, narrowcast.DataError),
    ],
)
def test_save_refuses_and_leaves_nothing(destination, options, error, classifier, tmp_path):
    with pytest.raises(error):
        narrowcast.save(narrowcast.load(classifier), tmp_path / destination, **options)
    assert names(tmp_path) == []


def wrong(model: Model) -> Model:
    """A copy whose convolution has other weights, standing for a writer that errs."""
    copy = model.clone()
    value = copy.graph.initializers["kernel"]
    value.const_value = ir.tensor(-value.const_value.numpy())
    return replace(copy, source=model)


def test_a_file_that_fails_its_verification_is_kept_aside(classifier, tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"an older file")
    with pytest.raises(narrowcast.VerificationError, match="does not reproduce") as caught:
        narrowcast.save(wrong(narrowcast.load(classifier)), tmp_path / "m.tflite")
    assert names(tmp_path) == ["m.tflite", "m.tflite.unverified"]
    assert (tmp_path / "m.tflite").read_bytes() == b"an older file"
    written = caught.value.written
    assert written.path == tmp_path / "m.tflite.unverified"
    assert not written.parity.passed
    assert written.path.stat().st_mode & 0o444 == 0o444
    assert narrowcast.inspect(written.path.rename(tmp_path / "kept.tflite")).operators.total > 0


def test_a_file_that_its_runtime_refuses_is_kept_aside(classifier, tmp_path, monkeypatch):
    write = proof.destinations.write

    def broken(model, path, **options):
        written = write(model, path, **options)
        path.write_bytes(b"\0\0\0\0TFL3 and then nothing")
        return written

    monkeypatch.setattr(proof.destinations, "write", broken)
    with pytest.raises(narrowcast.VerificationError, match="cannot be run"):
        narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite")
    assert names(tmp_path) == ["m.tflite.unverified"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing(error, classifier, tmp_path, monkeypatch):
    def interrupted(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(parity, "verify", interrupted)
    with pytest.raises((KeyboardInterrupt, MemoryError, narrowcast.OutputError)):
        narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite")
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_an_output_error(classifier, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(narrowcast.OutputError, match="cannot write"):
        narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite")


def test_an_original_that_cannot_be_run_is_replaced_by_the_canonical_graph(classifier, tmp_path, monkeypatch):
    model = narrowcast.load(classifier)
    open_source = source.open_source

    def refusing(given, *, original="auto", threads=2):
        if original == "auto":
            raise narrowcast.ModelFileError("the runtime refuses it")
        return open_source(given, original=original, threads=threads)

    monkeypatch.setattr(source, "open_source", refusing)
    file = narrowcast.save(model, tmp_path / "m.tflite")
    assert "canonical graph" in file.parity.reference
    assert file.notes[-1].endswith("the runtime refuses it")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xff", b"\n\n"])
def test_labels_that_are_no_names_are_refused(content, classifier, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(narrowcast.DataError, match="labels"):
        narrowcast.load(classifier, labels=path)


def test_a_model_quantised_for_one_target_is_no_file_of_another(digits, tmp_path):
    model = narrowcast.load(digits / "model.keras")
    quantized = narrowcast.quantize(model, "float16", fmt="onnx")
    with pytest.raises(UsageError, match="quantised for onnxruntime"):
        narrowcast.save(quantized, tmp_path / "x.tflite")
    assert narrowcast.save(quantized, tmp_path / "x.onnx").parity.passed


@pytest.mark.parametrize("count", [1, 2, 6, 8, 1000])
def test_labels_of_another_model_are_refused(count, classifier, photograph, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(f"class {number}" for number in range(count)))
    for use in (
        lambda: narrowcast.load(classifier, labels=path),
        lambda: narrowcast.run(classifier, photograph, labels=path),
    ):
        with pytest.raises(narrowcast.DataError, match=f"{count} lines?, and the model 7 classes"):
            use()


def shaped(*shapes):
    return [TensorSpec("y", shape, np.dtype(np.float32)) for shape in shapes]


@pytest.mark.parametrize(
    ("shapes", "classes"),
    [
        (((1, 7),), 7),
        (((1, 7, 1, 1),), 7),
        (((None, 7),), 7),
        (((1, 1),), 2),
        (((1, 100, 7),), None),
        (((1, 7), (1, 4)), None),
        (((1, None),), None),
        ((), None),
    ],
)
def test_only_a_clear_classifier_has_a_number_of_classes(shapes, classes):
    assert classes_of(shaped(*shapes)) == classes


@pytest.mark.parametrize(
    ("verb", "option", "hint"),
    [
        ("quantize", {"preproces": "tf"}, "did you mean preprocess"),
        ("quantize", {"threads": (1,)}, "weights"),
        ("save", {"io_layuot": "source"}, "did you mean io_layout"),
        ("compare", {"thread": (1,)}, "did you mean threads"),
        ("run", {"mena": (1.0,)}, "did you mean mean"),
    ],
)
def test_a_mistyped_option_is_not_passed_over(verb, option, hint, classifier, data, tmp_path):
    model = narrowcast.load(classifier)
    arguments = {
        "quantize": (model, "float16"),
        "save": (model, tmp_path / "m.tflite"),
        "compare": (classifier, data),
        "run": (classifier, tmp_path / "a.png"),
    }
    more = {"out": tmp_path / "out"} if verb == "compare" else {}
    with pytest.raises(narrowcast.UsageError, match=f"unknown option .*{hint}"):
        getattr(narrowcast, verb)(*arguments[verb], **more, **option)


def test_an_output_that_is_silent_is_told_of(tmp_path):
    graph = "g (float[1,4] x) => (float[1,4] y) { a = Abs(x)\n n = Neg(a)\n y = Relu(n) }"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {graph}'), tmp_path / "m.onnx")
    file = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert [output.silent for output in file.parity.outputs] == [True]
    assert "0 throughout on all samples, which proves little of it: 'y'" in file.notes


def test_a_destination_within_the_source_is_refused(classifier, tmp_path):
    (tmp_path / "source").mkdir()
    model = narrowcast.load(classifier)
    model = replace(model, provenance=replace(model.provenance, path=tmp_path / "source"))
    with pytest.raises(UsageError, match="lies in the source"):
        narrowcast.save(model, tmp_path / "source" / "weights.tflite")
