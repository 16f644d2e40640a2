"""Recipes: a trial as YAML and back, and what is no recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from narrowcast.errors import DataError
from narrowcast.evaluation.trials import Trial
from narrowcast.tuning.recipe import read_recipe, spelled
from narrowcast.tuning.steps import changed
from tests.tuning.bench import START

TRIAL = changed(
    START,
    observer="mse",
    repairs=["bias"],
    overrides={"stem/*": "float32", "yes": "int16x8", "a: b # c": "float32", "-": "float32", "1": "float32"},
    input_shapes={"x": [1, 3, 8, 8]},
)


def test_a_recipe_says_a_trial_and_why(tmp_path):
    path = tmp_path / "r.yaml"
    text = spelled(TRIAL, "how it was made\nand when", {"observer": "mse: 10 -> 13 dB"})
    path.write_text(text)
    found = read_recipe(path)
    assert (found.target, found.scheme, found.seed) == (TRIAL.target, TRIAL.scheme, TRIAL.seed)
    assert found.settings == TRIAL.settings
    assert list(found.overrides["overrides"]) == list(TRIAL.overrides["overrides"])
    assert "# how it was made\n# and when\n" in text
    assert "# mse: 10 -> 13 dB\nobserver: mse\n" in text


@pytest.mark.parametrize(
    "name", ["a\x1b[31m", "b\nscheme: float32", "c\u2028\x85d", "\udcff", "\ufffe", "é漢 # '\"", "\0"]
)
def test_names_of_any_characters_come_back(tmp_path, name):
    trial = changed(TRIAL, overrides={name: "float32"})
    text = spelled(
        replace(trial, source=Path(name.replace("\0", "0"))), f"of {name}", {"overrides": f"float32: {name}"}
    )
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    found = read_recipe(tmp_path / "r.yaml")
    assert found.overrides["overrides"] == {name: "float32"}
    assert found.scheme == trial.scheme


def test_a_recipe_by_hand(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("scheme: int8  # all of it\nrepairs: [bias]\noverrides:\n  'head/*': float32\n")
    found = read_recipe(path)
    assert found.scheme == "int8"
    assert found.overrides == {"repairs": ["bias"], "overrides": {"head/*": "float32"}}
    assert isinstance(found, Trial)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a recipe says a scheme"),
        ("- a", "a recipe says a scheme"),
        ("observer: mse", "without 'scheme'"),
        ("scheme: 8", "scheme is a text"),
        ("scheme: int8\nobserver: best", "observer is one of"),
        ("scheme: int8\nobservers: mse", "no 'observers'"),
        ("scheme: int8\nseed: -1", "seed is a whole number"),
        ("scheme: int8\nsamples: 1.5", "samples is a whole number"),
        ("scheme: int8\noverrides: {on: float32}", "overrides is names of schemes by pattern"),
        ("scheme: int8\nfreeze: {x: .nan}", "freeze is numbers"),
        ("scheme: int8\nscheme: int8", "line 2: 'scheme' is said twice"),
        ("scheme: int8\n1: 2", "no '1'"),
        ("scheme: [int8", "line 1: it is no YAML"),
        ("scheme: !!python/object/apply:os.system ['true']", "line 1: tags (tag:yaml.org,2002:python/object/apply"),
        ("scheme: int8\nsamples: !!int ''", "line 2: tags"),
        ("scheme: int8\nsamples: !!bool maybe", "line 2: tags"),
        ("scheme: int8\nsamples: !!timestamp today", "line 2: tags"),
        ("scheme: int8\noverrides: !mine {a: int8}", "line 2: tags"),
        ("scheme: int8\nsamples: " + "1:" * 2000 + "1.0", "it is no recipe"),
        ("scheme: &a int8\nobserver: *a", "line 2: references"),
        ("scheme: int8\n<<: {observer: mse}", None),
        ("scheme: " + "[" * 5000, "it is no"),
        ("scheme: " + "9" * 5000, "it is no recipe"),
        ("scheme: 2020-99-99", "it is no recipe"),
        ("scheme: \x00", "it is no YAML"),
        ("? {a: b}\n: c", "it is no YAML"),
    ],
)
def test_what_is_no_recipe(tmp_path, text, why):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    if why is None:
        assert read_recipe(path).scheme == "int8"
        return
    with pytest.raises(DataError) as caught:
        read_recipe(path)
    assert why in str(caught.value)
    assert caught.value.where == str(path)


def test_a_recipe_that_is_none_at_all(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_recipe(tmp_path)
    (tmp_path / "big").write_bytes(b"#" * (1 << 18) + b"\n")
    with pytest.raises(DataError, match="too large"):
        read_recipe(tmp_path / "big")
    (tmp_path / "bytes").write_bytes(b"scheme: \xff\xfe")
    with pytest.raises(DataError, match="no YAML"):
        read_recipe(tmp_path / "bytes")
