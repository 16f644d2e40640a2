"""The journal: a search goes on where it was cut short, and nothing in a file can mislead it."""

from __future__ import annotations

import json
import math

import pytest

from narrowcast.tuning.journal import Journal
from narrowcast.tuning.records import Figures, Goal
from narrowcast.tuning.search import Limits, Search
from narrowcast.tuning.steps import changed
from tests.tuning.bench import START, Bench

HEAD = {"source": "0" * 64, "metric": ""}
WORTH = {"mse": 3.0, "gptq": 2.0, "bias": 1.0}
GAINS = {f"block{index}": 4.0 * (index == 5) for index in range(16)}


def run(path, limits=Limits()):  # noqa: B008
    bench = Bench(WORTH, GAINS)
    search = Search(START, bench, Goal(), limits, Journal(path, HEAD))
    search.run()
    return search, bench


def test_a_search_goes_on_where_it_was_cut_short(tmp_path):
    whole, everything = run(None)
    path = tmp_path / "j.jsonl"
    cut = Bench(WORTH, GAINS)
    limits = Limits(interrupted=lambda: len(cut.measured) >= 4)
    Search(START, cut, Goal(), limits, Journal(path, HEAD)).run()
    resumed, rest = run(path)
    assert [one.trial for one in resumed.path] == [one.trial for one in whole.path]
    assert len(cut.measured) + len(rest.measured) == len(everything.measured)
    again, nothing = run(path)
    assert not nothing.measured
    assert not nothing.looked
    assert [one.trial for one in again.tried] == [one.trial for one in whole.tried]


def test_figures_come_back_as_they_were(tmp_path):
    found = Figures({"y": math.inf, "z": -3.25}, 38.4, 0.975, 123, 0.5, (1.5, math.inf))
    journal = Journal(tmp_path / "j", HEAD)
    journal.remember(START, found)
    journal.remember_look(changed(START, observer="mse"), -math.inf)
    again = Journal(tmp_path / "j", HEAD)
    assert again.restored == 1
    assert again.figures(START) == found
    assert again.figures(changed(START, io_layout="source")) == found
    assert again.look(changed(START, observer="mse")) == -math.inf
    assert again.figures(changed(START, observer="mse")) is None


def test_a_journal_of_something_else_is_begun_anew(tmp_path):
    path = tmp_path / "j"
    Journal(path, HEAD).remember(START, Figures({}, 1.0))
    other = Journal(path, {**HEAD, "source": "1" * 64})
    assert other.figures(START) is None
    other.remember(START, Figures({}, 2.0))
    assert path.read_text().count("\n") == 2


def test_a_search_that_finds_nothing_leaves_no_journal(tmp_path):
    Journal(tmp_path / "j", HEAD)
    assert not list(tmp_path.iterdir())
    Journal(tmp_path / "j", HEAD).remember(START, Figures({}, 1.0))
    Journal(tmp_path / "j", {**HEAD, "source": "1" * 64})
    assert Journal(tmp_path / "j", HEAD).figures(START) == Figures({}, 1.0)


TRIAL = json.dumps(["tflite", "int8", {"held": 8}, 0])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "3",
        '"trial"',
        "\0" * 100,
        "[" * 100_000,
        json.dumps({"trial": 3, "figures": {}}),
        json.dumps({"trial": TRIAL}),
        json.dumps({"trial": TRIAL, "figures": []}),
        json.dumps({"trial": TRIAL, "figures": {"decibels": {"y": "many"}, "mean": 1, "bytes": 1, "floats": 0}}),
        json.dumps({"trial": TRIAL, "figures": {"decibels": {}, "mean": None, "bytes": 1, "floats": 0}}),
        json.dumps({"trial": TRIAL, "figures": {"decibels": {}, "mean": 1, "bytes": True, "floats": 0}}),
        json.dumps({"trial": TRIAL, "figures": {"decibels": {}, "mean": 1, "bytes": 1, "floats": 0, "metric": []}}),
        json.dumps({"trial": TRIAL, "figures": {"decibels": {}, "mean": math.nan, "bytes": 1, "floats": 0}}),
        json.dumps({"trial": TRIAL, "figures": {"decibels": {}, "mean": 1, "bytes": 1, "floats": 0, "each": [None]}}),
        json.dumps({"trial": TRIAL, "look": "nan"}),
    ],
)
def test_damaged_lines_are_passed_over(tmp_path, line):
    path = tmp_path / "j"
    Journal(path, HEAD).remember(changed(START, observer="mse"), Figures({}, 2.0))
    with path.open("ab") as file:
        file.write(line.encode())
    journal = Journal(path, HEAD)
    assert journal.figures(START) is None
    assert journal.look(START) is None
    journal.remember(START, Figures({}, 7.0))
    assert Journal(path, HEAD).figures(START) == Figures({}, 7.0)


def test_a_journal_beyond_all_bounds_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "j"
    Journal(path, HEAD).remember(START, Figures({}, 2.0))
    monkeypatch.setattr("narrowcast.tuning.journal.LARGEST", 64)
    assert Journal(path, HEAD).figures(START) is None
