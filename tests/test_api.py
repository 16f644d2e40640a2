"""The verbs on small networks, made here: what they wire, what they leave on the disk, what they refuse."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import narrowcast
from narrowcast.api import comparing, proof
from narrowcast.dialect.build import Builder
from narrowcast.evaluation import parity
from narrowcast.model import Model, ir

SAMPLES = 24


@pytest.fixture(scope="session")
def classifier(tmp_path_factory) -> Path:
    """A convolution and a dense layer over 8x8 images, as .onnx; its five classes are random but decided."""
    random = np.random.default_rng(3)
    build = Builder.new("classifier")
    x = build.input("image", (1, 3, 8, 8))
    kernel = build.constant(random.normal(size=(6, 3, 3, 3)).astype(np.float32), "kernel")
    bias = build.constant(random.normal(size=6).astype(np.float32), "bias")
    shape = {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "group": 1}
    y = build("Conv", x, kernel, bias, pads=[1, 1, 1, 1], shape=(1, 6, 8, 8), **shape)
    y = build("Relu", y, shape=(1, 6, 8, 8))
    flat = build("Reshape", y, build.constant([1, 384], "flat", np.int64), shape=(1, 384))
    weights = build.constant(random.normal(size=(7, 384)).astype(np.float32) * 0.2, "weights")
    y = build("Gemm", flat, weights, transB=1, shape=(1, 7))
    y = build("Softmax", y, axis=-1, name="scores", shape=(1, 7))
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    ir.save(build.finish([y], producer="hand"), path)
    return path


@pytest.fixture(scope="session")
def data(classifier, tmp_path_factory) -> Path:
    """Samples in the source's layout, labelled with what the source itself says."""
    images = np.random.default_rng(5).normal(size=(SAMPLES, 3, 8, 8)).astype(np.float32)
    source = parity.open_source(narrowcast.load(classifier))
    labels = [int(source.run({"image": image[None]})["scores"].argmax()) for image in images]
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x=images, y=np.array(labels))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_load_reads_a_canonical_model(classifier, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffcat\n dog \n\n")
    model = narrowcast.load(classifier, labels=labels)
    assert [node.op_type for node in model.graph] == ["Conv", "Relu", "Reshape", "Gemm", "Softmax"]
    assert model.labels == ("cat", "dog")
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
    def broken(model, path, *, fmt, io_layout):
        written = proof.targets.Written((), ())
        path.write_bytes(b"\0\0\0\0TFL3 and then nothing")
        return written

    monkeypatch.setattr(proof.targets, "write", broken)
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
    open_source = parity.open_source

    def refusing(given, *, original="auto", threads=2):
        if original == "auto":
            raise narrowcast.ModelFileError("the runtime refuses it")
        return open_source(given, original=original, threads=threads)

    monkeypatch.setattr(parity, "open_source", refusing)
    file = narrowcast.save(model, tmp_path / "m.tflite")
    assert "canonical graph" in file.parity.reference
    assert file.notes[-1].endswith("the runtime refuses it")


SCHEMES = ("float32", "float16", "dynamic_range", "int8", "full_int8", "int16x8")


@pytest.fixture(scope="session")
def comparison(classifier, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "out"
    return out, narrowcast.compare(classifier, data, out=out, threads=(1,), samples=8)


def test_compare_writes_and_measures_every_scheme(comparison):
    out, result = comparison
    assert names(out) == sorted(f"small_{scheme}.tflite" for scheme in SCHEMES)
    assert names(out.parent) == ["out"]
    assert [row.name for row in result.rows] == ["source", *SCHEMES]
    source, *rows = result.rows
    assert source.accuracy.top1 == 1.0
    assert source.operators.total == 5
    for row in rows:
        assert row.failure == ""
        assert row.path == row.written.path == out / f"small_{row.name}.tflite"
        assert row.bytes == row.path.stat().st_size
        assert row.accuracy.samples == SAMPLES - 8
        assert row.latencies[0].threads == 1
        assert row.latencies[0].median_s > 0
        assert row.operators.total >= 4
        assert row.peak_memory_bytes > 0
        assert row.written.parity.sqnr_db > 20
    assert rows[0].accuracy.agreement == 1.0
    assert result.recommended in SCHEMES
    assert result.calibration.startswith("8 of")
    assert result.data.startswith(f"the other {SAMPLES - 8} of")


def test_compare_calibrates_once(classifier, data, tmp_path, monkeypatch):
    calls = []
    calibrate = comparing.quantization.calibrate
    monkeypatch.setattr(
        comparing.quantization, "calibrate", lambda *args, **kwargs: calls.append(1) or calibrate(*args, **kwargs)
    )
    result = narrowcast.compare(
        classifier, data, out=tmp_path, calibrate=data, schemes=("int8", "full_int8", "int16x8"), threads=(1,)
    )
    assert len(calls) == 1
    assert len(result.rows) == 4
    assert result.rows[0].accuracy.samples == SAMPLES


def failing(monkeypatch, *schemes):
    quantize = comparing.quantization.quantize

    def sometimes(model, scheme, **options):
        if scheme in schemes:
            raise narrowcast.UnsupportedOpError("no kernel", where="conv")
        return quantize(model, scheme, **options)

    monkeypatch.setattr(comparing.quantization, "quantize", sometimes)


def test_a_scheme_that_fails_is_a_row_and_the_others_go_on(classifier, data, tmp_path, monkeypatch):
    failing(monkeypatch, "int8")
    result = narrowcast.compare(classifier, data, out=tmp_path, schemes=("int8", "float32"), threads=(1,))
    assert result.rows[1].failure == "conv: no kernel"
    assert result.rows[1].accuracy is None
    assert result.rows[2].accuracy.agreement == 1.0
    assert names(tmp_path) == ["small_float32.tflite"]


def test_when_every_scheme_fails_the_first_error_is_raised(classifier, data, tmp_path, monkeypatch):
    failing(monkeypatch, "int8", "float32")
    with pytest.raises(narrowcast.UnsupportedOpError, match="no kernel"):
        narrowcast.compare(classifier, data, out=tmp_path / "out", schemes=("int8", "float32"), threads=(1,))
    assert names(tmp_path) == []


def test_a_file_that_fails_its_verification_is_a_row_and_kept(classifier, data, tmp_path, monkeypatch):
    monkeypatch.setitem(parity.LIMITS, "int8", parity.Limits(200.0, None))
    result = narrowcast.compare(classifier, data, out=tmp_path, schemes=("int8", "float32"), threads=(1,))
    row = result.rows[1]
    assert "does not reproduce" in row.failure
    assert row.written.path == row.path == tmp_path / "small_int8.tflite.unverified"
    assert names(tmp_path) == ["small_float32.tflite", "small_int8.tflite.unverified"]
    assert result.recommended == "float32"


@pytest.mark.parametrize("stage", ["calibrating", "writing int8", "measuring accuracy", "measuring memory"])
def test_an_interrupted_comparison_leaves_nothing(stage, classifier, data, tmp_path):
    def interrupt(now, _done, _total):
        if now == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        narrowcast.compare(
            classifier, data, out=tmp_path / "out", schemes=("float32", "int8"), threads=(1,), progress=interrupt
        )
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"schemes": ("int7",)}, narrowcast.UsageError),
        ({"schemes": ()}, narrowcast.UsageError),
        ({"threads": ()}, narrowcast.UsageError),
        ({"threads": (0,)}, narrowcast.UsageError),
        ({"out": "a/b/c"}, narrowcast.OutputError),
        ({"calibrate": "nowhere"}, narrowcast.DataError),
        ({"preprocess": "pytorch"}, narrowcast.UsageError),
    ],
)
def test_compare_refuses_and_leaves_nothing(options, error, classifier, data, tmp_path):
    given = {"out": "out", "threads": (1,), **options}
    given["out"] = tmp_path / given["out"]
    with pytest.raises(error):
        narrowcast.compare(classifier, data, **given)
    assert names(tmp_path) == []


def test_inspect_of_a_source_and_of_its_file(classifier, tmp_path):
    source = narrowcast.inspect(classifier, why=True)
    assert (source.format, source.producer, source.quantization) == ("onnx", "hand", "float32")
    assert source.operators.by_type[0][1] == 1
    assert source.parameters >= 6 * 27 + 6 + 7 * 384
    file = narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite")
    written = narrowcast.inspect(file.path)
    assert written.quantization == "float32"
    assert written.inputs[0].shape == (1, 8, 8, 3)
    assert dict(written.operators.by_type)["CONV_2D"] == 1


def test_inspect_of_an_integer_file(classifier, data, tmp_path):
    small = narrowcast.quantize(narrowcast.load(classifier), "full_int8", data=data, io_type="uint8")
    file = narrowcast.save(small, tmp_path / "m.tflite")
    found = narrowcast.inspect(file.path)
    assert found.quantization == "int8 weights, int8 activations, uint8 inputs"
    assert found.inputs[0].dtype == "uint8"
    assert found.inputs[0].scale > 0


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 64, b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_inspect_refuses_what_is_no_tflite(content, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(narrowcast.ModelFileError):
        narrowcast.inspect(path)


def test_inspect_survives_mutations_of_a_sound_file(classifier, tmp_path):
    content = (narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite", verify=False)).path.read_bytes()
    random = np.random.default_rng(1)
    path = tmp_path / "bad.tflite"
    refused = 0
    for _ in range(60):
        damaged = bytearray(content[: random.integers(64, len(content))] if random.random() < 0.3 else content)
        for _ in range(8):
            damaged[random.integers(8, len(damaged))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            narrowcast.inspect(path)
        except narrowcast.ModelFileError:
            refused += 1
    assert refused > 0


def test_bench_measures_files(comparison):
    out, _result = comparison
    told = []
    result = narrowcast.bench(
        [out / "small_float32.tflite", out / "small_int8.tflite"], threads=(1, 2), progress=lambda *r: told.append(r)
    )
    assert [row.name for row in result.rows] == ["small_float32.tflite", "small_int8.tflite"]
    assert [latency.threads for latency in result.rows[0].latencies] == [1, 2]
    assert result.rows[0].runtime.startswith("LiteRT")
    assert told


def test_bench_refuses_nothing_to_do(tmp_path):
    with pytest.raises(narrowcast.UsageError):
        narrowcast.bench([])
    with pytest.raises(narrowcast.ModelFileError, match="no such file"):
        narrowcast.bench([tmp_path / "m.tflite"])


@pytest.fixture(scope="session")
def photograph(tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("image") / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path)
    return path


def test_run_gives_the_same_classes_on_source_and_files(comparison, classifier, photograph, tmp_path):
    out, _result = comparison
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcdefg"))
    options = {"labels": labels, "preprocess": "tf", "top": 3}
    source = narrowcast.run(classifier, photograph, **options)
    assert len(source.guesses) == 3
    assert source.guesses[0].label == "abcdefg"[source.guesses[0].index]
    assert source.preprocessing == "RGB, (x - 127.5) / 127.5"
    scores = [guess.score for guess in source.guesses]
    assert scores == sorted(scores, reverse=True)
    for scheme in ("float32", "float16"):
        found = narrowcast.run(out / f"small_{scheme}.tflite", photograph, **options)
        assert [guess.index for guess in found.guesses] == [guess.index for guess in source.guesses]
        assert [guess.score for guess in found.guesses] == pytest.approx(scores, abs=5e-3)


def test_run_feeds_integers_as_the_file_stores_them(classifier, data, photograph, tmp_path):
    model = narrowcast.load(classifier)
    source = narrowcast.run(classifier, photograph, preprocess="tf")
    for io_type in ("int8", "uint8"):
        small = narrowcast.quantize(model, "full_int8", data=data, io_type=io_type)
        file = narrowcast.save(small, tmp_path / "m.tflite")
        found = narrowcast.run(file.path, photograph, preprocess="tf")
        assert found.guesses[0].index == source.guesses[0].index
        assert found.guesses[0].score == pytest.approx(source.guesses[0].score, abs=0.05)


def test_run_refuses_what_is_no_image(comparison, tmp_path):
    out, _result = comparison
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(narrowcast.DataError):
        narrowcast.run(out / "small_float32.tflite", tmp_path / "x.png")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xff", b"\n\n"])
def test_labels_that_are_no_names_are_refused(content, classifier, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(narrowcast.DataError, match="labels"):
        narrowcast.load(classifier, labels=path)


def test_results_are_json(comparison):
    from narrowcast.report import machine

    data = json.loads(machine.to_json(comparison[1]))
    assert [row["name"] for row in data["rows"]] == ["source", *SCHEMES]
