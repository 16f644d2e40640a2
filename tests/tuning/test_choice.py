"""Which file is taken: within the goal by latency or size, without one by accuracy."""

from __future__ import annotations

import pytest

from narrowcast.evaluation.results import Latency
from narrowcast.tuning.choice import ordered, thinned
from narrowcast.tuning.records import Figures, Finalist, Goal, Tried
from tests.tuning.bench import START


def final(label, decibels, size, milliseconds):
    latency = Latency(1, milliseconds / 1e3, milliseconds / 1e3, milliseconds / 1e3, 7)
    return Finalist(label, START, Figures({"y": decibels}, decibels), size, latency)


FILES = (final("start", 10, 100, 1.0), final("good", 20, 101, 1.2), final("best", 30, 150, 3.0))


@pytest.mark.parametrize(
    ("goal", "prefer", "label"),
    [
        (Goal(), "latency", "best"),
        (Goal(min_sqnr=15), "latency", "good"),
        (Goal(min_sqnr=5), "latency", "start"),
        (Goal(min_sqnr=5), "size", "good"),  # 1 % larger is as small, and more accurate
        (Goal(min_sqnr=25), "size", "best"),
        (Goal(min_sqnr=99), "latency", "best"),
    ],
)
def test_the_file_to_take(goal, prefer, label):
    assert ordered(FILES, goal, prefer)[0].label == label
    assert sorted(one.label for one in ordered(FILES, goal, prefer)) == ["best", "good", "start"]


def test_a_step_that_the_file_does_not_confirm_is_not_taken():
    files = (final("start", 20, 100, 1.0), final("worse as a file", 18, 100, 1.0))
    assert ordered(files, Goal(), "latency")[0].label == "start"


def test_a_long_path_is_thinned():
    path = [Tried(str(index), START, "kept") for index in range(12)]
    labels = [one.label for one in thinned(path)]
    assert len(labels) == 5
    assert labels[0] == "0"
    assert labels[-1] == "11"
    assert thinned(path[:3]) == path[:3]
