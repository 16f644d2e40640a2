"""Measuring files, and classifying an image with them."""

from __future__ import annotations

import pytest

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.model import ir


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


def test_bench_refuses_a_signature_that_is_none(comparison):
    with pytest.raises(narrowcast.UsageError, match=r"small_int8.tflite: no signature 'nope'"):
        narrowcast.bench([comparison[0] / "small_int8.tflite"], signature="nope")


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


@pytest.mark.parametrize("fmt", ["tflite", "onnx"])
def test_run_feeds_integers_as_the_file_stores_them(fmt, classifier, data, photograph, tmp_path):
    model = narrowcast.load(classifier)
    source = narrowcast.run(classifier, photograph, preprocess="tf")
    for io_type in ("int8", "uint8"):
        small = narrowcast.quantize(model, "full_int8", fmt=fmt, data=data, io_type=io_type)
        file = narrowcast.save(small, tmp_path / f"m.{fmt}")
        found = narrowcast.run(file.path, photograph, preprocess="tf")
        assert found.guesses[0].index == source.guesses[0].index
        assert found.guesses[0].score == pytest.approx(source.guesses[0].score, abs=0.05)


def test_run_refuses_what_is_no_image(comparison, tmp_path):
    out, _result = comparison
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(narrowcast.DataError):
        narrowcast.run(out / "small_float32.tflite", tmp_path / "x.png")


def test_run_refuses_what_scores_no_classes(photograph, tmp_path):
    build = Builder.new("picture")
    x = build.input("image", (1, 3, 8, 8))
    ir.save(build.finish([build("Relu", x, name="picture", shape=(1, 3, 8, 8))]), tmp_path / "picture.onnx")
    with pytest.raises(narrowcast.DataError, match="'picture' has the shape 1x3x8x8, not one score for each class"):
        narrowcast.run(tmp_path / "picture.onnx", photograph)
