"""Every scheme of one network side by side, and what is left when something fails."""

from __future__ import annotations

import json

import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.api import comparing
from narrowcast.evaluation import parity
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.trials import Trial
from tests.api import SAMPLES, SCHEMES, names


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


def test_a_tflite_source_has_its_own_operators(comparison, data, tmp_path):
    source = comparison[0] / "small_full_int8.tflite"
    row = narrowcast.compare(source, data, out=tmp_path / "o", schemes=["float32"], threads=(1,), samples=8).rows[0]
    assert row.operators == narrowcast.inspect(source).operators


def test_compare_calibrates_once(classifier, data, tmp_path, monkeypatch):
    calls = []
    watch = comparing.quantization.Watch
    monkeypatch.setattr(
        comparing.quantization, "Watch", lambda *args, **kwargs: calls.append(1) or watch(*args, **kwargs)
    )
    result = narrowcast.compare(
        classifier, data, out=tmp_path, calibrate=data, schemes=("int8", "full_int8", "int16x8"), threads=(1,)
    )
    assert len(calls) == 1
    assert len(result.rows) == 4
    assert result.rows[0].accuracy.samples == SAMPLES


def failing(monkeypatch, *schemes):
    quantize = comparing.quantization.quantize

    def sometimes(model, scheme, target, **options):
        if scheme in schemes:
            raise narrowcast.UnsupportedOpError("no kernel", where="conv")
        return quantize(model, scheme, target, **options)

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
    monkeypatch.setitem(parity.LIMITS, "int8", parity.Limits(30.0, 200.0, None))
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


def test_several_formats(classifier, data, tmp_path):
    result = narrowcast.compare(
        classifier, data, out=tmp_path, to=("tflite", "onnx"), schemes=("float32", "int8"), threads=(1,), samples=8
    )
    rows = result.rows[1:]
    assert [row.name for row in rows] == ["float32 tflite", "int8 tflite", "float32 onnx", "int8 onnx"]
    assert [row.trial for row in rows] == [
        Trial(classifier, fmt, scheme, {"samples": 8}) for fmt in ("tflite", "onnx") for scheme in ("float32", "int8")
    ]
    assert names(tmp_path) == sorted(row.path.name for row in rows)
    assert {row.path.suffix for row in rows} == {".tflite", ".onnx"}
    assert [row.runtime.split()[0] for row in rows] == ["LiteRT", "LiteRT", "ONNX", "ONNX"]
    assert all(row.accuracy.agreement > 0.8 and row.latencies for row in rows)
    assert [row.operators.undelegated is None for row in rows] == [False, False, True, True]
    assert dict(rows[2].operators.by_type)["Conv"] == dict(rows[0].operators.by_type)["CONV_2D"] == 1


def test_a_format_is_asked_for_the_schemes_that_it_has(classifier, data, tmp_path):
    result = narrowcast.compare(classifier, data, out=tmp_path, to=("tensorrt",), threads=(1,), samples=8)
    schemes = [row.name for row in result.rows[1:]]
    assert "int16x8" not in schemes
    assert [row.path.name for row in result.rows[1:]] == [f"small_{name}_tensorrt.onnx" for name in schemes]
    result = narrowcast.compare(
        classifier, data, out=tmp_path, to=("tensorrt",), schemes=("float32", "int16x8"), threads=(1,), samples=8
    )
    assert "has no scheme int16x8" in result.rows[2].failure


def test_trials_are_carried_out_again_from_their_json(classifier, data, tmp_path):
    first = narrowcast.compare(
        classifier, data, out=tmp_path / "a", schemes=("int8",), threads=(1,), samples=8, observer="mse", seed=3
    )
    trial = Trial.from_json(first.rows[1].trial.to_json())
    assert trial.overrides == {"samples": 8, "observer": "mse"}
    again = narrowcast.carry_out([trial], data, out=tmp_path / "b", threads=(1,))
    assert again.rows[1].trial == trial
    assert again.rows[1].accuracy == first.rows[1].accuracy
    one, two = (tmp_path / folder / "small_int8.tflite" for folder in "ab")
    assert one.read_bytes() == two.read_bytes()


def test_trials_that_differ_in_overrides_alone(classifier, data, tmp_path):
    trials = [Trial(classifier, "tflite", "int8", {"samples": 8, "observer": name}) for name in ("minmax", "mse")]
    rows = narrowcast.carry_out(trials, data, out=tmp_path, threads=(1,)).rows[1:]
    assert [row.name for row in rows] == ["int8", "int8 2"]
    assert names(tmp_path) == ["small_int8.tflite", "small_int8_2.tflite"]


def test_trials_are_of_one_source(classifier, data, tmp_path):
    trials = [Trial(classifier, "tflite", "int8", {"freeze": freeze}) for freeze in ({}, {"x": 1})]
    with pytest.raises(narrowcast.UsageError, match="not of one source"):
        narrowcast.carry_out(trials, data, out=tmp_path / "out")
    with pytest.raises(narrowcast.UsageError, match="nothing to compare"):
        narrowcast.carry_out([], data, out=tmp_path / "out")
    assert names(tmp_path) == []


def test_files_that_nothing_here_runs_are_rows_without_figures(classifier, data, tmp_path, monkeypatch):
    monkeypatch.setitem(runtimes.RUNTIMES, "litert", runtimes.NoRuntime("needs an NPU"))
    result = narrowcast.compare(classifier, data, out=tmp_path, schemes=("float32",), threads=(1,))
    row = result.rows[1]
    assert (row.failure, row.latencies, row.accuracy, row.written.verified) == ("", (), None, None)
    assert row.written.unverified_because == "needs an NPU"
    assert row.bytes == (tmp_path / "small_float32.tflite").stat().st_size
    assert result.recommended is None


def test_failures_are_told_in_words_that_last(classifier, data, tmp_path, monkeypatch):
    monkeypatch.setitem(parity.LIMITS, "int8", parity.Limits(30.0, 200.0, None))
    result = narrowcast.compare(classifier, data, out=tmp_path, schemes=("int8", "float32"), threads=(1,))
    assert ".narrowcast-" not in result.rows[1].failure
    assert "kept as *.unverified" in result.rows[1].failure


def test_results_are_json(comparison):
    from narrowcast.report import machine

    data = json.loads(machine.to_json(comparison[1]))
    assert [row["name"] for row in data["rows"]] == ["source", *SCHEMES]


@pytest.mark.parametrize(("folders", "told"), [((), False), (tuple("abcdefg"), False), (tuple("abc"), True)])
def test_folders_that_cannot_be_the_classes_are_told_of(folders, told, classifier):
    test = DataSet(lambda index: {}, range(3), None, "3 images", folders)
    remarks = comparing._class_remark(test, narrowcast.load(classifier))
    assert bool(remarks) is told
    assert all("3 folders and the model 7 classes" in text for text in remarks)


METRIC = """
def near(source, file, label, sample):
    assert sample["image"].shape == (1, 3, 8, 8) and 0 <= label < 7
    return -float(abs(source["scores"] - file["scores"]).max())
"""


def test_a_metric_judges_and_is_told_with_its_interval(classifier, data, tmp_path):
    (tmp_path / "own.py").write_text(METRIC)
    result = narrowcast.compare(
        classifier,
        data,
        out=tmp_path / "out",
        schemes=("float32", "int8"),
        threads=(1,),
        metric=f"{tmp_path / 'own.py'}:near",
        max_drop=0.5,
    )
    source, exact, int8 = (row.score for row in result.rows)
    assert (source.value, source.change) == (0.0, None)
    assert -1e-5 < exact.value <= 0
    assert int8.change.low < int8.value < min(int8.change.high, 0)
    assert int8.metric == "near"
    assert "lose at most 0.5 of near" in result.reason
    assert result.rows[2].accuracy.top1 is not None


def test_a_ratio_to_noise_asks_for_a_least_figure(classifier, data, tmp_path):
    options = {"out": tmp_path / "out", "schemes": ("float32", "int8"), "threads": (1,), "metric": "sqnr"}
    result = narrowcast.compare(classifier, data, **options)
    assert result.recommended is None
    assert result.reason.startswith("the source's own sqnr is infinite")
    again = narrowcast.compare(classifier, data, min_metric=80.0, **options)
    assert again.recommended == "float32"
    assert again.reason.startswith("the only file that keeps at least 80.0 dB of sqnr; it keeps ")


@pytest.mark.parametrize(("drop", "metric"), [(-0.1, "sqnr"), (1.5, None), (1.5, "agree"), (float("nan"), "sqnr")])
def test_drops_of_shares_are_fractions(drop, metric, classifier, data, tmp_path):
    with pytest.raises(narrowcast.UsageError, match="no fraction"):
        narrowcast.compare(classifier, data, out=tmp_path / "out", max_drop=drop, metric=metric)


def test_a_least_figure_is_of_a_metric(classifier, data, tmp_path):
    with pytest.raises(narrowcast.UsageError, match="least figure"):
        narrowcast.compare(classifier, data, out=tmp_path / "out", min_metric=1.0)
