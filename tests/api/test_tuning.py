"""`tune` on the committed example: the file, the recipe that makes it again, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast.errors import DataError, OutputError, UsageError
from narrowcast.tuning.journal import Journal


@pytest.fixture
def model(digits):
    return narrowcast.load(next(digits.glob("*.keras")))


def tuned(model, digits, path, **options):
    return narrowcast.tune(model, path, data=digits / "calibration.npz", **options)


def test_the_recipe_makes_the_same_file_again(model, digits, tmp_path):
    found = tuned(model, digits, tmp_path / "a.tflite")
    trial = narrowcast.read_recipe(found.recipe)
    data = digits / "calibration.npz"
    again = narrowcast.quantize(model, trial.scheme, data=data, seed=trial.seed, **trial.overrides)
    narrowcast.save(again, tmp_path / "b.tflite", data=data)
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()
    assert found.written.verified
    start, chosen = found.finalists[0], next(one for one in found.finalists if one.label == found.chosen)
    assert chosen.figures.mean >= start.figures.mean
    assert len(found.tried) > 5


def test_the_same_seed_gives_the_same_search_and_a_journal_spares_it(model, digits, tmp_path, monkeypatch):
    first = tuned(model, digits, tmp_path / "a.tflite", seed=3)
    other = tuned(model, digits, tmp_path / "b.tflite", seed=3)
    trials = [one.trial for one in first.tried]
    assert trials == [one.trial for one in other.tried]
    assert first.recipe.read_text() == other.recipe.read_text().replace("b.tflite", "a.tflite")
    monkeypatch.setattr(Journal, "remember", lambda *_: pytest.fail("its figures were known"))
    again = tuned(model, digits, tmp_path / "a.tflite", seed=3)
    assert [one.trial for one in again.tried] == trials
    assert all(one.seconds == 0 for one in again.tried)


def test_a_goal_that_the_first_file_reaches(model, digits, tmp_path):
    found = tuned(model, digits, tmp_path / "a.tflite", min_sqnr=5.0)
    assert found.reached
    assert len(found.tried) == 1
    assert found.chosen == "as asked for"


def test_where_no_step_is_taken_the_file_is_that_of_quantize(model, digits, tmp_path):
    found = tuned(model, digits, tmp_path / "a.tflite", time_budget=1e-6)
    data = digits / "calibration.npz"
    narrowcast.save(narrowcast.quantize(model, "int8", data=data), tmp_path / "b.tflite", data=data)
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()
    assert "held" not in narrowcast.read_recipe(found.recipe).overrides
    assert any("no step was taken" in note for note in found.notes)


def test_a_budget_and_an_interrupt_leave_a_file(model, digits, tmp_path):
    found = tuned(model, digits, tmp_path / "a.tflite", time_budget=1e-6)
    assert found.written.verified
    assert "time budget" in found.reason
    found = tuned(model, digits, tmp_path / "b.tflite", interrupted=lambda: True)
    assert found.written.verified
    assert found.reason == "it was interrupted"


@pytest.mark.parametrize("suffix", ["", ".recipe.yaml", ".tune.jsonl"])
def test_places_that_are_taken_are_told_before_the_search(model, digits, tmp_path, suffix):
    (tmp_path / f"a.tflite{suffix}").mkdir()
    with pytest.raises(OutputError, match="the destination is a folder"):
        tuned(model, digits, tmp_path / "a.tflite", told=lambda _: pytest.fail("it was searched"))
    assert [path.name for path in tmp_path.iterdir()] == [f"a.tflite{suffix}"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_float": 2.0}, UsageError, "a share is in 0..1"),
        ({"time_budget": 0.0}, UsageError, "above 0 s"),
        ({"metric": "best"}, UsageError, "no metric 'best'"),
        ({"metric": "psnr", "max_drop": 1.0}, UsageError, "is infinite"),
        ({"max_drop": float("nan")}, UsageError, "a goal is a number"),
        ({"max_drop": -0.5}, UsageError, "a goal is a number"),
        ({"min_sqnr": float("nan")}, UsageError, "a goal is a number"),
        ({"min_metric": float("nan")}, UsageError, "a goal is a number"),
        ({"overrides": {"nonsense": "float32"}}, UsageError, "no node is named like"),
        ({"scheme": "int3"}, UsageError, "int3"),
        ({"observers": "mse"}, UsageError, "unknown option 'observers'"),
        ({"data": np.zeros((1, 24, 24, 1), np.float32)}, DataError, "there is one sample"),
    ],
)
def test_what_cannot_be_searched(model, digits, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        narrowcast.tune(model, tmp_path / "a.tflite", **{"data": digits / "calibration.npz", **options})
    assert not list(tmp_path.iterdir())
