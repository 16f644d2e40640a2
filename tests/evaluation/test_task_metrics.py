"""Each metric beside a plain statement of it, the user's own among them, and what goes wrong in those."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.errors import DataError, ModelFileError, UsageError
from narrowcast.evaluation.accuracy import Answer, aligned, evaluate
from narrowcast.evaluation.data import Sample
from narrowcast.evaluation.intervals import paired, student
from narrowcast.evaluation.task_metrics import BLOCKS, METRICS, Tally, metric_of

RANDOM = np.random.default_rng(2)


def scores(metric, wanted, found, labels=None):
    """The scores of a source and of a file whose outputs are listed; labels where given."""
    answers = [
        Answer(Sample({}, None if labels is None else int(labels[index])), [{"y": want}, {"y": have}])
        for index, (want, have) in enumerate(zip(wanted, found, strict=True))
    ]
    return [score for _, score in evaluate(answers, 2, None, metric_of(metric))]


def macro_f1(labels, guesses, classes):
    """The mean over classes of 2 tp / (2 tp + fp + fn), of those that are there."""
    found = []
    for index in range(classes):
        hits = np.sum((labels == index) & (guesses == index))
        misses = np.sum((labels == index) ^ (guesses == index))
        if hits + misses:
            found.append(2 * hits / (2 * hits + misses))
    return np.mean(found)


LABELS = RANDOM.integers(0, 4, 60)
WANTED = RANDOM.normal(size=(60, 1, 4)) + 2 * np.eye(4)[LABELS][:, None]
FOUND = WANTED + RANDOM.normal(size=WANTED.shape)


def test_top1_and_its_change():
    source, file = scores("top1", WANTED, FOUND, LABELS)
    before, after = WANTED.argmax(-1)[:, 0] == LABELS, FOUND.argmax(-1)[:, 0] == LABELS
    assert (source.value, file.value) == (before.mean(), after.mean())
    assert source.change is None
    assert source.range is not None
    counted = paired(int((after & ~before).sum()), int((before & ~after).sum()), 60)
    assert (file.change.low, file.change.high) == pytest.approx((counted.low, counted.high))
    assert (file.samples, file.unit, file.range) == (60, "share", None)


def test_agreement_is_whole_for_the_source():
    source, file = scores("agree", WANTED, FOUND)
    assert source.value == 1.0
    assert file.value == (WANTED.argmax(-1) == FOUND.argmax(-1)).mean()
    assert file.change.low < file.value - 1 < file.change.high


def test_f1_of_classes_by_label():
    source, file = scores("f1", WANTED, FOUND, LABELS)
    assert source.value == pytest.approx(macro_f1(LABELS, WANTED.argmax(-1)[:, 0], 4))
    assert file.value == pytest.approx(macro_f1(LABELS, FOUND.argmax(-1)[:, 0], 4))


def test_f1_of_a_single_score_is_that_of_class_one():
    single, labels = 1 / (1 + np.exp(-WANTED[..., :1])), (LABELS == 0).astype(int)
    _, file = scores("f1", single, single, labels)
    told = single[:, 0, 0] > 0.5
    expected = 2 * (told & (labels == 1)).sum() / (told.sum() + (labels == 1).sum())
    assert file.value == pytest.approx(expected)


def test_f1_of_masks_by_the_sources():
    wanted, found = RANDOM.uniform(size=(2, 9, 1, 5, 5))
    _, file = scores("f1", wanted, found)
    one, other = wanted > 0.5, found > 0.5
    assert file.value == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("axis", [1, 3])
def test_miou_of_classes_of_pixels(axis):
    wanted, found = RANDOM.normal(size=(2, 6, 1, 3, 8, 8))
    maps = wanted.argmax(2), found.argmax(2)
    ious = [np.sum((maps[0] == k) & (maps[1] == k)) / np.sum((maps[0] == k) | (maps[1] == k)) for k in range(3)]
    turned = [np.moveaxis(array, 2, axis + 1) for array in (wanted, found)]
    assert scores("miou", *turned)[1].value == pytest.approx(np.mean(ious))


@pytest.mark.parametrize("channel", [(), (1,)])
def test_miou_of_one_channel_and_of_class_maps(channel):
    wanted, found = RANDOM.uniform(size=(2, 6, 1, *channel, 8, 8))
    maps = wanted > 0.5, found > 0.5
    ious = [np.sum((maps[0] == k) & (maps[1] == k)) / np.sum((maps[0] == k) | (maps[1] == k)) for k in (0, 1)]
    assert scores("miou", wanted, found)[1].value == pytest.approx(np.mean(ious))
    whole = scores("miou", maps[0].astype(np.int32), maps[1].astype(np.int32))[1]
    assert whole.value == pytest.approx(np.mean(ious))


def test_psnr_and_sqnr():
    wanted = RANDOM.uniform(size=(7, 1, 3, 8, 8))
    found = wanted + 0.01 * RANDOM.normal(size=wanted.shape)
    noise = np.square(wanted - found)
    peaks = np.mean([np.ptp(want) ** 2 for want in wanted])
    source, file = scores("psnr", wanted, found)
    assert file.value == pytest.approx(10 * np.log10(peaks / noise.mean()))
    assert source.value == float("inf")
    assert file.range.low < file.value < file.range.high
    assert file.change is None
    assert scores("sqnr", wanted, found)[1].value == pytest.approx(10 * np.log10(np.square(wanted).sum() / noise.sum()))


def test_sqnr_is_the_mean_of_the_float_outputs():
    one, other, counts = RANDOM.normal(size=(4, 1, 5)), RANDOM.normal(size=(4, 1, 2)), np.arange(4)
    tally = Tally(METRICS["sqnr"])
    for a, b, c in zip(one, other, counts, strict=True):
        tally.update({"a": a, "b": b, "c": c}, {"a": 0.9 * a, "b": 1.01 * b, "c": c}, None, {})
    assert tally.result().value == pytest.approx((20 + 40) / 2)


def test_infinite_noise_and_none():
    assert scores("sqnr", [np.ones((1, 3))] * 2, [np.full((1, 3), np.nan)] * 2)[1].value == float("-inf")
    assert scores("sqnr", [np.ones((1, 3))] * 2, [np.ones((1, 3))] * 2)[1].value == float("inf")


def test_many_samples_are_summed_in_blocks():
    count = 3 * BLOCKS + 5
    wanted, right = np.eye(2)[np.zeros(count, int)], RANDOM.uniform(size=count) < 0.9
    found = np.eye(2)[(~right).astype(int)]
    _, file = scores("agree", wanted[:, None], found[:, None])
    counted = paired(0, int((~right).sum()), count)
    assert file.value == right.mean()
    assert (file.change.low, file.change.high) == pytest.approx((counted.low, counted.high), abs=2e-3)


@pytest.mark.parametrize(
    ("metric", "output", "words"),
    [
        ("top1", np.zeros((1, 4)), "'top1' needs labels"),
        ("agree", np.zeros((1, 4, 4, 3)), "'agree' is of class scores"),
        ("miou", np.zeros((1, 4)), "'miou' is of pixels"),
    ],
)
def test_what_a_metric_is_not_for(metric, output, words):
    with pytest.raises(DataError, match=words):
        scores(metric, [output], [output])


@pytest.mark.parametrize("metric", ["f1", "top1"])
def test_a_label_beyond_the_classes(metric):
    with pytest.raises(DataError, match="a label is 9"):
        scores(metric, np.zeros((1, 1, 4)), np.zeros((1, 1, 4)), [9])


def test_outputs_are_put_in_the_sources_order_and_shape():
    source = {"a": np.zeros((1, 2)), "b": np.zeros((1, 1, 3))}
    found = aligned(source, {"b": np.zeros((3, 1)), "a": np.zeros(2)})
    assert [(name, array.shape) for name, array in found.items()] == [("a", (1, 2)), ("b", (1, 1, 3))]
    for wrong in ({"a": np.zeros(2)}, {"a": np.zeros(2), "b": np.zeros(4)}):
        with pytest.raises(ModelFileError, match="the output 'b'"):
            aligned(source, wrong)


OWN = """
from helper import HALF
from dataclasses import dataclass

@dataclass
class Box:
    side: "float"

def score(source, file, label, sample):
    return float(file["y"].sum()) * HALF

def ratio(source, file, label, sample):
    return file["y"].sum(), source["y"].sum()

def wrong(source, file, label, sample):
    x = 1
    return x / 0

def silent(source, file, label, sample):
    return None

def few(source):
    return 0.0

def endless(source, file, label, sample):
    return 10**5000

def talks(source, file, label, sample):
    print("noise")
    return 1.0

def share(source, file, label, sample):
    return 1.0 + label

share.unit = "share"

number = 3
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "helper.py").write_text("HALF = 0.5\n")
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_function_of_the_users_own(own):
    source, file = scores(f"{own}:score", [np.full((1, 2), 1.0), np.full((1, 2), 2.0)], [np.zeros((1, 2))] * 2)
    assert (source.value, file.value, file.metric, file.unit) == (1.5, 0.0, "score", "")
    half = student(1) * np.std([1.0, 2.0], ddof=1) / np.sqrt(2)
    assert (file.change.low, file.change.high) == pytest.approx((-1.5 - half, -1.5 + half))


def test_a_pair_is_a_ratio_of_sums(own):
    for metric in (f"{own}:ratio", lambda source, file, *_: (file["y"].sum(), source["y"].sum())):
        _, file = scores(metric, [np.ones((1, 2)), np.ones((1, 6))], [np.ones((1, 2)), np.zeros((1, 6))])
        assert file.value == pytest.approx(2 / 8)


def test_a_function_says_its_unit():
    def f1(source, file, _label, _sample):
        return 2.0 * np.array_equal(source["y"], file["y"]), 2.0

    f1.unit = "share"
    _, file = scores(f1, np.ones((8, 1, 2)), np.ones((8, 1, 2)))
    assert (file.value, file.unit) == (1.0, "share")
    assert file.change.low == pytest.approx(paired(0, 0, 8).low)
    f1.unit = "points"
    with pytest.raises(UsageError, match="the unit 'points'"):
        metric_of(f1)


def test_shares_are_shares(own):
    assert scores(f"{own}:share", [np.ones((1, 2))], [np.ones((1, 2))], [0])[1].value == 1.0
    for label in (1, -2):
        with pytest.raises(DataError, match="which is no share"):
            scores(f"{own}:share", [np.ones((1, 2))], [np.ones((1, 2))], [label])


def test_what_the_users_own_prints_is_no_result(own, capsys):
    own.write_text(f"print('hello')\n{own.read_text()}")
    scores(f"{own}:talks", [np.ones((1, 2))], [np.ones((1, 2))])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hello\nnoise\n")


@pytest.mark.parametrize(
    ("function", "line", "words"),
    [
        ("endless", "", "gives a int"),
        ("wrong", 17, "ZeroDivisionError"),
        ("few", None, "TypeError"),
        ("silent", "", "gives None"),
    ],
)
def test_errors_of_the_users_own_are_told_with_their_line(own, function, line, words):
    with pytest.raises(DataError, match=words) as told:
        scores(f"{own}:{function}", [np.ones((1, 2))], [np.ones((1, 2))])
    assert told.value.where == ("" if line == "" else str(own) if line is None else f"{own}:{line}")


@pytest.mark.parametrize(
    ("text", "named", "where", "words"),
    [
        ("def f(:\n", "own.py:f", "own.py:1", "SyntaxError"),
        ("import none_such_module\n", "own.py:f", "own.py:1", "none_such_module"),
        ("import sys\nsys.exit(3)\n", "own.py:f", "own.py:2", "SystemExit"),
        ("\0", "own.py:f", "own.py", "null"),
        ("def score(): ...\n", "own.py:scor", "own.py", "no function 'scor'"),
        ("score = 3\n", "own.py:score", "own.py", "no function 'score'"),
        ("", "none.py:score", "none.py", "cannot be read"),
        ("", "own.py:", "", "names no function"),
        ("", "topp1", "", "no metric 'topp1'"),
    ],
)
def test_what_names_no_metric(text, named, where, words, tmp_path):
    (tmp_path / "own.py").write_text(text)
    given = f"{tmp_path / named}" if ":" in named else named
    with pytest.raises(UsageError, match=words) as told:
        metric_of(given)
    assert told.value.where == (str(tmp_path / where) if where else "")


def test_a_mistyped_metric_is_guessed():
    with pytest.raises(UsageError) as told:
        metric_of("topp1")
    assert told.value.hint == "did you mean top1?"
