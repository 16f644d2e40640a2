"""The search: what helps is kept, what does not is refused, and what ends it."""

from __future__ import annotations

import pytest

from narrowcast.errors import NarrowcastError
from narrowcast.tuning.journal import Journal
from narrowcast.tuning.records import Figures, Goal
from narrowcast.tuning.search import Limits, Search
from narrowcast.tuning.steps import LONGEST, STEPS
from tests.tuning.bench import START, Bench


def searched(bench, goal=Goal(), limits=Limits(), journal=None, told=lambda tried: None):  # noqa: B008
    search = Search(START, bench, goal, limits, journal or Journal(), told)
    return search, search.run()


SOURCE = next(step for step in STEPS if step.name == "source")


def kept(search):
    return [tried.label for tried in search.path]


def test_the_best_of_each_kind_is_kept_and_what_worsens_is_refused():
    bench = Bench({"percentile": -9.0, "mse": 3.0, "bias": -1.0})
    search, reason = searched(bench)
    assert kept(search) == ["as asked for", "observer mse"]
    assert search.held.trial.settings.observer == "mse"
    assert not search.held.trial.settings.repairs
    verdicts = {tried.label: tried.verdict for tried in search.tried}
    assert verdicts["repair bias"] == "refused"
    assert verdicts["observer percentile"] == "refused"
    assert reason == "nothing more helps"


def test_a_repair_that_finds_nothing_to_do_is_not_tried_again():
    bench = Bench({"gptq": 3.0, "bias": 1.0})
    searched(bench)
    tried = [trial.settings.repairs for trial in bench.measured]
    assert [names for names in tried if "smooth" in names] == [["smooth"]]
    assert ["gptq", "bias"] in tried


def test_no_trial_is_made_twice():
    bench = Bench({"mse": 3.0, "bias": 1.0})
    searched(bench)
    made = [trial.to_json() for trial in bench.measured]
    assert len(made) == len(set(made))


def test_what_fails_is_told_and_passed_over():
    told = []
    search, _ = searched(Bench({"mse": 3.0}, broken=("percentile",)), told=told.append)
    assert kept(search)[-1] == "observer mse"
    assert next(one.error for one in told if one.label == "observer percentile") == "percentile cannot be made"


def test_a_start_that_fails_is_an_error():
    with pytest.raises(NarrowcastError, match="auto cannot be made"):
        searched(Bench(broken=("auto",)))


@pytest.mark.parametrize("guilty", range(16))
def test_the_guilty_block_is_found_alone(guilty):
    gains = {f"block{index}": 6.0 * (index == guilty) for index in range(16)}
    search, _ = searched(Bench(blocks_gain=gains))
    assert dict(search.held.trial.settings.overrides) == {f"block{guilty}": "float32"}


def test_the_source_of_the_noise_leaves_with_what_reads_it():
    bench = Bench(blocks_gain={"a": 0.2, "stem": 0.1, "next": 4.0, "third": 0.5, "fourth": 0.1, "z": 0.0})
    bench.shares = {"stem": 0.9, "a": 0.05}
    made = Search(START, bench, Goal(), Limits(most_floats=1.0), Journal(), steps=[SOURCE])
    made.run()
    assert kept(made) == ["as asked for", "float32: stem .. third"]
    assert len(bench.looked) == 1 + LONGEST  # what is left makes too little of the noise to be looked at


def test_noise_that_arises_everywhere_has_no_source():
    bench = Bench(blocks_gain=dict.fromkeys("abc", 3.0), shares=dict.fromkeys("abc", 0.09))
    made = Search(START, bench, Goal(), Limits(most_floats=1.0), Journal(), steps=[SOURCE])
    assert made.run() == "nothing more helps"
    assert len(made.path) == 1


def test_regions_stay_within_their_share_of_the_arithmetic():
    gains = {f"block{index}": 1.0 for index in range(20)}
    search, _ = searched(Bench(blocks_gain=gains), limits=Limits(most_floats=0.1))
    assert len(search.held.trial.settings.overrides) == 2
    search, _ = searched(Bench(blocks_gain=gains), limits=Limits(most_floats=0.0))
    assert not search.held.trial.settings.overrides


def test_names_of_nodes_are_no_patterns():
    search, _ = searched(Bench(blocks_gain={"a[0]*": 6.0, "b": 0.0}), limits=Limits(most_floats=0.5))
    assert dict(search.held.trial.settings.overrides) == {"a[[]0][*]": "float32"}


def test_a_reached_goal_ends_it():
    bench = Bench({"mse": 3.0, "bias": 2.0})
    search, reason = searched(bench, Goal(min_sqnr=12.5))
    assert kept(search) == ["as asked for", "observer mse"]
    assert reason == "the goal is reached"
    search, reason = searched(Bench(), Goal(min_sqnr=9.0))
    assert len(search.tried) == 1
    assert reason == "the goal is reached"


def test_a_spent_budget_keeps_the_best_so_far(monkeypatch):
    now = iter(range(0, 10_000, 5))
    monkeypatch.setattr("narrowcast.tuning.search.monotonic", lambda: next(now))
    search, reason = searched(Bench({"minmax": 3.0, "bias": 2.0}), limits=Limits(seconds=30))
    assert kept(search) == ["as asked for", "observer minmax"]
    assert reason == "the time budget of 30 s is spent"


def test_an_interrupt_keeps_the_best_so_far():
    bench = Bench({"minmax": 3.0, "mse": 9.0})
    search, reason = searched(bench, limits=Limits(interrupted=lambda: len(bench.measured) >= 3))
    assert kept(search) == ["as asked for", "observer minmax"]
    assert reason == "it was interrupted"

    class Pressed(Bench):
        def measure(self, trial):
            if trial.settings.observer == "mse":
                raise KeyboardInterrupt
            return super().measure(trial)

    search, reason = searched(Pressed({"minmax": 3.0}))
    assert kept(search) == ["as asked for", "observer minmax"]
    assert reason == "it was interrupted"


def test_the_metric_decides_where_samples_can_tell():
    goal = Goal(grain=0.02)
    old = Figures({}, 20.0, 0.90)
    assert goal.better(Figures({}, 15.0, 0.95), old, 0.1)
    assert not goal.better(Figures({}, 30.0, 0.85), old, 0.1)
    assert not goal.better(Figures({}, 30.0, 0.89), old, 0.1)
    assert goal.better(Figures({}, 21.0, 0.91), old, 0.1)
    assert not goal.better(Figures({}, 20.05, 0.91), old, 0.1)


def test_a_gain_of_one_sample_alone_is_chance():
    old = Figures({}, 20.0, each=(20.0,) * 16)
    assert not Goal().better(Figures({}, 22.0, each=(50.0, *[19.9] * 15)), old, 0.1)
    assert Goal().better(Figures({}, 22.0, each=(22.5, *[21.5] * 15)), old, 0.1)


def test_a_goal_is_held_against_every_output():
    assert not Goal(min_sqnr=20).met(Figures({"a": 50.0, "b": 19.0}, 34.5))
    assert Goal(min_sqnr=20).met(Figures({"a": 50.0, "b": 21.0}, 35.5))
    assert Goal(least=0.9).met(Figures({}, 0.0, 0.9))
    assert not Goal(least=0.9).met(Figures({}, 0.0))
