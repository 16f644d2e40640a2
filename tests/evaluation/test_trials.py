"""Trials as values: both ways through JSON, and what no trial says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.errors import DataError
from narrowcast.evaluation.trials import OBSERVERS, Settings, Trial, unusual

PLAIN = {"source": "m.onnx", "target": "tflite", "scheme": "int8"}
EVERYTHING = {
    "source_format": "onnx",
    "batch": "dynamic",
    "input_shapes": {"x": [1, 3, 8, 8]},
    "freeze": {"sr": 16000},
    "shapes": [[128, 128]],
    "signature": "second",
    "edits": "edits.json",
    "cut_inputs": ["a"],
    "cut_outputs": ["b", "c"],
    "substitute": {"swish": "hard_swish"},
    "opset": 17,
    "inline_limit": 1024,
    "io_layout": "source",
    "samples": 64,
    "held": 8,
    "weights": "per-tensor",
    "observer": "mse",
    "io_type": "uint8",
    "overrides": {"head/*": "float32"},
    "repairs": ["bias"],
    "global_scale": 8.0,
    "weight_bits": 4,
    "block_size": 32,
}


def test_both_ways():
    trial = Trial(Path("m.onnx"), "tflite", "int8", EVERYTHING, 7)
    assert Trial.from_json(trial.to_json()) == trial
    assert json.loads(trial.to_json()) == {**PLAIN, "overrides": EVERYTHING, "seed": 7}
    assert Trial.from_data(PLAIN) == Trial(Path("m.onnx"), "tflite", "int8")


def test_settings_are_the_overrides_over_the_defaults():
    assert Trial.from_data(PLAIN).settings == Settings()
    settings = Trial(Path("m"), "onnx", "int8", EVERYTHING).settings
    assert set(EVERYTHING) == set(Settings.__slots__)
    assert settings.input_shapes == {"x": (1, 3, 8, 8)}
    assert (settings.batch, settings.samples, settings.opset) == ("dynamic", 64, 17)


def test_what_is_unusual_is_plain():
    chosen = {"samples": np.int64(9), "observer": "auto", "opset": None, "threads": 2}
    chosen["input_shapes"] = {"x": (np.int32(1), 3)}
    assert unusual(chosen) == {"samples": 9, "input_shapes": {"x": [1, 3]}}
    assert unusual({"source_format": Path("onnx")}) == {"source_format": "onnx"}
    edits = {"version": 1, "edits": [{"do": "set_constant", "value": np.array([1, 2])}]}
    assert unusual({"edits": edits})["edits"]["edits"][0]["value"] == [1, 2]


@given(
    st.builds(
        Trial,
        st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1).map(Path),
        st.sampled_from(["tflite", "onnx"]),
        st.sampled_from(["int8", "float16"]),
        st.fixed_dictionaries(
            {},
            optional={
                "samples": st.integers(1, 1000),
                "observer": st.sampled_from(OBSERVERS),
                "freeze": st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
                "input_shapes": st.dictionaries(st.text(), st.lists(st.integers(1, 99))),
            },
        ),
        st.integers(0, 2**63 - 1),
    )
)
def test_any_trial_comes_back(trial):
    assert Trial.from_json(trial.to_json()) == trial


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a JSON object"),
        ("[]", "a JSON object"),
        ("null", "a JSON object"),
        ("{", "a JSON object"),
        ("[" * 100_000, "a JSON object"),
        ('"' + "x" * (1 << 20) + '"', "a JSON object"),
        ("{}", "without 'source'"),
        ('{"source": "a", "target": "b"}', "without 'scheme'"),
    ],
)
def test_what_is_no_trial(text, reason):
    with pytest.raises(DataError, match=reason):
        Trial.from_json(text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source": 3}, "a trial's source is a text, not 3"),
        ({"source": "a\0b"}, "source is a text"),
        ({"seed": -1}, "seed is a whole number"),
        ({"seed": True}, "seed is a whole number"),
        ({"seed": 2**64}, "seed is a whole number"),
        ({"overrides": []}, "overrides is an object"),
        ({"shceme": "int8"}, "has no 'shceme'.*did you mean scheme"),
        ({"overrides": {"sampels": 3}}, "has no 'sampels'.*did you mean samples"),
        ({"overrides": {"samples": 0}}, "samples is a whole number from 1 up, not 0"),
        ({"overrides": {"samples": "many"}}, "samples is a whole number"),
        ({"overrides": {"samples": 1.5}}, "samples is a whole number"),
        ({"overrides": {"batch": "open"}}, "batch is a whole number"),
        ({"overrides": {"input_shapes": {"x": [0]}}}, "input_shapes is lists of sizes"),
        ({"overrides": {"input_shapes": [1]}}, "input_shapes is lists of sizes"),
        ({"overrides": {"freeze": {"x": float("nan")}}}, "freeze is numbers by input name"),
        ({"overrides": {"freeze": {"x": 10**400}}}, "freeze is numbers"),
        ({"overrides": {"observer": ["mse"]}}, "observer is one of auto, minmax"),
        ({"overrides": {"weights": "per-row"}}, "weights is one of per-channel, per-tensor"),
        ({"overrides": {"overrides": {"*": 3}}}, "overrides is names of schemes"),
        ({"overrides": {"opset": "17"}}, "opset is a whole number"),
    ],
)
def test_what_no_trial_says(change, reason):
    with pytest.raises(DataError, match=reason):
        Trial.from_json(json.dumps({**PLAIN, **change}))
