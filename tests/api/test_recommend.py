from dataclasses import replace
from pathlib import Path

import pytest

from narrowcast.api.recommend import recommend
from narrowcast.evaluation.results import (
    Accuracy,
    Interval,
    Latency,
    Leg,
    OutputParity,
    Parity,
    Row,
    Score,
    WrittenFile,
)


def row(
    name, size=100, top1=0.9, milliseconds=10.0, *, agreement=1.0, one_thread=None, failure="", spread=0.0, change=None
):
    latencies = ()
    if milliseconds is not None:
        latencies = (_latency(1, one_thread or 2 * milliseconds), _latency(2, milliseconds, spread))
    accuracy = Accuracy(100, top1, None, agreement, change)
    return Row(name, Path(name), size, "LiteRT", accuracy, latencies, failure=failure)


def _latency(threads, milliseconds, spread=0.0):
    return Latency(threads, milliseconds / 1e3, (milliseconds - spread) / 1e3, (milliseconds + spread) / 1e3, 10)


SOURCE = row("source", 400, 0.9, 30)

CASES = {
    "the fastest within the budget": (
        [
            row("a", top1=0.9, milliseconds=20),
            row("b", top1=0.895, milliseconds=10),
            row("c", top1=0.8, milliseconds=5),
        ],
        {},
        "b",
        "the fastest on 2 threads among the 2 files that lose at most 1 point of top-1; it loses 0.5 points",
    ),
    "the smallest when asked for": (
        [row("a", 90, milliseconds=5), row("b", 50, milliseconds=9)],
        {"prefer": "size"},
        "b",
        "the smallest among the 2 files that lose at most 1 point of top-1; it loses nothing",
    ),
    "a tie in latency goes by size": (
        [row("a", 90, milliseconds=10.0), row("b", 50, milliseconds=10.4), row("c", 10, milliseconds=11)],
        {},
        "b",
        "the smallest of the 2 fastest on 2 threads (within 5 %) among the 3 files that lose at most 1 point of top-1; "
        "it loses nothing",
    ),
    "what the noise hides is a tie": (
        [
            row("a", 90, milliseconds=10.0, spread=3.0),
            row("b", 50, milliseconds=14.0, spread=2.0),
            row("c", 10, milliseconds=20, spread=2.0),
        ],
        {},
        "b",
        "the smallest of the 2 fastest on 2 threads (within their spread) among the 3 files that lose at most 1 point "
        "of top-1; it loses nothing",
    ),
    "a tie in size goes by latency": (
        [row("a", 100, milliseconds=10), row("b", 104, milliseconds=5)],
        {"prefer": "size"},
        "b",
        "the fastest on 2 threads of the 2 smallest (within 5 %) among the 2 files that lose at most 1 point of top-1; "
        "it loses nothing",
    ),
    "a loss of exactly the budget is within it": (
        [row("a", top1=0.89)],
        {},
        "a",
        "the only file that loses at most 1 point of top-1; it loses 1 point",
    ),
    "a gain is no loss": (
        [row("a", top1=0.95)],
        {"max_drop": 0.0},
        "a",
        "the only file that loses at most 0 points of top-1; it loses nothing",
    ),
    "none is within the budget": (
        [row("a", top1=0.8), row("b", top1=0.85)],
        {},
        None,
        "no file loses at most 1 point of top-1; the closest is b with 5 points",
    ),
    "failures are passed over": (
        [row("a", milliseconds=1, failure="broken"), row("b")],
        {},
        "b",
        "the only file that loses at most 1 point of top-1; it loses nothing",
    ),
    "a loss that may be beyond the budget is told": (
        [row("a", top1=0.896, milliseconds=10, change=Interval(-0.017, 0.009)), row("b", milliseconds=20)],
        {},
        "a",
        "the fastest on 2 threads among the 2 files that lose at most 1 point of top-1; it loses 0.4 points, which 100 "
        "samples cannot tell from 1.7 points",
    ),
    "where samples cannot tell, a file that disagrees is passed over": (
        [
            row("a", milliseconds=10, agreement=0.375, change=Interval(-0.2, 0.2)),
            row("b", milliseconds=20, agreement=0.9, change=Interval(-0.2, 0.2)),
        ],
        {},
        "b",
        "the only file that loses at most 1 point of top-1; it loses nothing, which 100 samples cannot tell from 20 "
        "points",
    ),
    "where samples can tell, agreement does not matter": (
        [row("a", agreement=0.5, change=Interval(-0.005, 0.01))],
        {},
        "a",
        "the only file that loses at most 1 point of top-1; it loses nothing",
    ),
    "samples that tell nothing": (
        [row("a", agreement=0.375, change=Interval(-0.2, 0.2))],
        {},
        None,
        "100 samples cannot tell whether a file loses at most 1 point of top-1, and none agrees with the source on 90 "
        "% of them; more samples can",
    ),
    "nothing stands": ([row("a", failure="broken")], {}, None, "no file was written and verified"),
    "without latencies the smallest": (
        [row("a", 90, milliseconds=None), row("b", 50, milliseconds=None)],
        {},
        "b",
        "the smallest among the 2 files that lose at most 1 point of top-1; it loses nothing",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_recommend(case):
    files, options, chosen, reason = CASES[case]
    assert recommend([SOURCE, *files], **{"max_drop": 0.01, **options}) == (chosen, reason)


def test_without_labels_agreement_decides():
    def unlabelled(item):
        return replace(item, accuracy=replace(item.accuracy, top1=None))

    files = [row("a", milliseconds=1, agreement=0.9), row("b", agreement=0.995)]
    chosen, reason = recommend([unlabelled(item) for item in (SOURCE, *files)], 0.01)
    assert chosen == "b"
    assert reason == "the only file that loses at most 1 point of agreement with the source; it loses 0.5 points"


def test_without_accuracy_there_is_no_recommendation():
    chosen, reason = recommend([replace(item, accuracy=None) for item in (SOURCE, row("a"))], 0.01)
    assert chosen is None
    assert "accuracy was not measured" in reason


def test_a_file_that_failed_its_verification_is_never_recommended():
    leg = Leg((OutputParity("y", 1.0, 20.0, 0.5, 20.0),), 60.0)
    parity = Parity("reference", "LiteRT", 8, False, leg, leg)
    written = WrittenFile(Path("a"), 1, "tflite", "float32", parity)
    chosen, _reason = recommend([SOURCE, replace(row("a", milliseconds=1), written=written), row("b")], 0.01)
    assert chosen == "b"


def judged(name, value, change=None, held=None, unit="share", size=100, agreement=1.0):
    return replace(row(name, size, None, agreement=agreement), score=Score("f1", value, 69, change, held, unit))


def by_score(rows, **options):
    return recommend(rows, options.pop("max_drop", 0.01), "size", **options)


def test_a_metric_takes_the_place_of_top1():
    rows = [
        judged("source", 1.0),
        judged("a", 0.97, Interval(-0.06, 0.01), size=50),
        judged("b", 0.999, Interval(-0.009, 0.004)),
    ]
    assert by_score(rows) == ("b", "the only file that loses at most 1 point of f1; it loses 0.1 points")
    chosen, reason = by_score(rows, max_drop=0.05)
    assert chosen == "a"
    assert reason.endswith("it loses 3 points, which 69 samples cannot tell from 6 points")
    assert by_score(rows[:2])[1] == "no file loses at most 1 point of f1; the closest is a with 3 points"


def test_what_the_samples_cannot_tell_has_to_agree():
    rows = [judged("source", 1.0), judged("a", 0.995, Interval(-0.06, 0.01), agreement=0.8)]
    assert by_score(rows)[1].startswith("69 samples cannot tell whether a file loses at most 1 point of f1, and none")


def test_a_least_figure():
    rows = [judged("source", float("inf"), unit="dB"), judged("a", 31.2, held=Interval(28.0, 33.0), unit="dB")]
    assert by_score(rows)[0] is None
    assert by_score(rows, min_metric=20.0) == ("a", "the only file that keeps at least 20.0 dB of f1; it keeps 31.2 dB")
    told = by_score(rows, min_metric=30.0)[1]
    assert told.endswith("it keeps 31.2 dB, which 69 samples cannot tell from 28.0 dB")
    assert by_score(rows, min_metric=32.0)[1] == "no file keeps at least 32.0 dB of f1; the closest is a with 31.2 dB"
