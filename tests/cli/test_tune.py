"""`tune` and recipes on the command line: what they hand on, and what they leave behind."""

from __future__ import annotations

import json

import pytest


def test_tune_takes_every_option(run, calls, tmp_path):
    words = "--scheme int16x8 --max-drop 0.003 --min-metric 0.9 --min-sqnr 20 --prefer size --max-float 0.2"
    words += " --time-budget 1.5m --metric f1 --observer mse --repair bias --keep-float head/* --seed 3 --samples 64"
    result = run("tune", "m.onnx", "-o", tmp_path / "q.tflite", "--data", "d", *words.split(), "--batch", "2")
    assert result.exit_code == 0, result.output
    assert calls["load"][1]["batch"] == 2
    (_model, output), given = calls["tune"]
    assert output == tmp_path / "q.tflite"
    assert str(given["data"]) == "d"
    goal = {"max_drop": 0.003, "min_metric": 0.9, "min_sqnr": 20.0, "metric": "f1", "time_budget": 90.0}
    search = {"scheme": "int16x8", "fmt": "tflite", "prefer": "size", "max_float": 0.2, "seed": 3, "samples": 64}
    start = {"observer": "mse", "repairs": ("bias",), "overrides": {"head/*": "float32"}}
    assert {name: given[name] for name in (*goal, *search, *start)} == {**goal, **search, **start}
    assert (tmp_path / "q.tflite.tune.html").read_text().startswith("<!DOCTYPE html>")


def test_tune_as_json(run, calls, tmp_path):
    result = run("tune", "m.onnx", "-o", tmp_path / "q.tflite", "--data", "d", "--json")
    found = json.loads(result.stdout)
    assert found["schema"] == "narrowcast/tuning/1"
    assert found["tried"][1]["verdict"] == "kept"


@pytest.mark.parametrize("text", ["", "5x", "m", "-3s", "0", "inf", "nan", "1e999h"])
def test_what_is_no_time(run, calls, tmp_path, text):
    result = run("tune", "m.onnx", "-o", tmp_path / "q.tflite", "--data", "d", "--time-budget", text)
    assert result.exit_code == 2
    assert "such as 90s" in result.output


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "words",
    [
        "tune m.onnx -o q.tflite --data d --max-drop",
        "tune m.onnx -o q.tflite --data d --min-metric",
        "tune m.onnx -o q.tflite --data d --min-sqnr",
        "tune m.onnx -o q.tflite --data d --max-float",
        "quantize m.onnx -o q.tflite --scheme int8 --min-sqnr",
        "quantize m.onnx -o q.tflite --scheme int8 --max-drop",
        "quantize m.onnx -o q.tflite --scheme int8_pow2 --global-scale",
        "quantize m.onnx -o q.tflite --scheme int8 --mean",
        "compare m.onnx -o out --data d --min-metric",
        "compare m.onnx -o out --data d --max-drop",
        "diff m.onnx --scheme int8 --data d --seconds",
        "finetune m.onnx -o q.tflite --scheme int8 --data d --learning-rate",
        "convert m.onnx -o q.tflite --freeze x=1 --freeze",
    ],
)
def test_no_bound_is_beyond_all_numbers(run, calls, words, number):
    *words, option = words.split()
    result = run(*words, *([option, f"y={number}"] if option == "--freeze" else [f"{option}={number}"]))
    assert result.exit_code == 2, result.output
    assert f"Invalid value for '{option}'" in result.output


def test_names_become_overrides_in_their_order(run, calls):
    words = "--keep-float a --wide b --override c=float16 --keep-float d/* --wide a"
    assert run("quantize", "m.onnx", "-o", "q.tflite", "--scheme", "int8", *words.split()).exit_code == 0
    named = {"a": "int16x8", "b": "int16x8", "c": "float16", "d/*": "float32"}
    assert calls["quantize"][1]["overrides"] == named


def test_a_recipe_is_what_the_command_line_does_not_say(run, calls, tmp_path):
    recipe = tmp_path / "r.yaml"
    lines = ("scheme: int8", "seed: 5", "held: 8", "observer: mse", "samples: 9", "overrides: {a: float32, b: float32}")
    recipe.write_text("\n".join(lines))
    assert run("quantize", "m.onnx", "-o", "q.tflite", "--recipe", recipe).exit_code == 0
    (_model, scheme), given = calls["quantize"]
    assert scheme == "int8"
    told = {name: given[name] for name in ("seed", "observer", "samples", "overrides", "held")}
    assert told == {
        "seed": 5,
        "observer": "mse",
        "samples": 9,
        "overrides": {"a": "float32", "b": "float32"},
        "held": 8,
    }
    assert calls["save"][1]["seed"] == 5
    words = "--scheme int16x8 --observer minmax --seed 1 --wide b --wide c"
    assert run("quantize", "m.onnx", "-o", "q.tflite", "--recipe", recipe, *words.split()).exit_code == 0
    (_model, scheme), given = calls["quantize"]
    assert (scheme, given["seed"], given["observer"], given["samples"]) == ("int16x8", 1, "minmax", 9)
    assert given["overrides"] == {"a": "float32", "b": "int16x8", "c": "int16x8"}


@pytest.mark.parametrize(
    ("words", "fmt"),
    [("-o q.onnx", "tensorrt"), ("-o q.onnx --to onnx", "onnx"), ("-o q.tflite", "tflite"), ("-o q.ONNX", "tensorrt")],
)
def test_a_recipe_says_which_format_of_a_suffix(run, calls, tmp_path, words, fmt):
    (tmp_path / "r.yaml").write_text("scheme: int8\ntarget: tensorrt\n")
    result = run("quantize", "m.onnx", "--recipe", tmp_path / "r.yaml", *words.split())
    assert result.exit_code == 0, result.output
    assert calls["quantize"][1]["fmt"] == calls["save"][1]["fmt"] == fmt


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("tune m.onnx --data d", "q.tflite.tune.html"),
        ("quantize m.onnx --scheme int8", "q.tflite"),
        ("finetune m.onnx --scheme int8 --data d", "q.tflite"),
        ("diff m.onnx --scheme int8 --data d", "q.tflite"),
    ],
)
def test_a_place_that_is_taken_is_told_before_the_work(run, calls, tmp_path, words, taken):
    (tmp_path / taken).mkdir()
    result = run(*words.split(), "-o", tmp_path / "q.tflite")
    assert result.exit_code == 5
    assert f"{taken}: the destination is a folder" in result.output
    assert list(calls) == ["answer"]
    assert run(*words.split(), "-o", tmp_path / "none" / "q.tflite").exit_code == 5


def test_a_recipe_for_no_format(run, calls, tmp_path):
    (tmp_path / "r.yaml").write_text("scheme: int8\ntarget: paper\n")
    result = run("quantize", "m.onnx", "-o", "q.tflite", "--recipe", tmp_path / "r.yaml")
    assert result.exit_code == 2
    assert "no writer for 'paper'" in result.output


def test_a_scheme_is_needed_without_a_recipe(run, calls):
    result = run("quantize", "m.onnx", "-o", "q.tflite")
    assert result.exit_code == 2
    assert "--recipe" in result.output
