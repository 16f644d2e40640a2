import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from narrowcast.errors import DataError
from narrowcast.evaluation import intervals
from narrowcast.evaluation.accuracy import Answer, evaluate
from narrowcast.evaluation.data import Sample
from narrowcast.evaluation.metrics import Noise, Parts, Steps, TopK, is_classifier, ranked
from narrowcast.evaluation.results import Accuracy

SCORES = hnp.arrays(np.float32, st.integers(2, 40), elements=st.floats(-100, 100, width=32))


@pytest.mark.parametrize(
    ("shape", "scores_classes"),
    [
        ((1, 1000), True),
        ((None, 10), True),
        ((1, 1, 1, 1001), True),
        ((1, 10, 1, 1), True),
        ((1, 1), True),
        ((1, 7, 7, 3), False),
        ((8, 10), False),
        ((1000,), False),
        ((), False),
    ],
)
def test_which_outputs_score_classes(shape, scores_classes):
    assert is_classifier(shape) is scores_classes


@given(SCORES)
def test_the_best_five_are_those_of_a_sort(scores):
    expected = sorted(range(scores.size), key=lambda index: (-float(scores[index]), index))[:5]
    assert ranked(scores).tolist() == expected


def test_ties_go_by_index_and_nan_comes_last():
    assert ranked(np.array([[1.0, 3, np.nan, 3, 2, 0]])).tolist() == [1, 3, 4, 0, 5]


def test_unsigned_integers_do_not_wrap():
    assert ranked(np.array([0, 5, 255], np.uint8)).tolist() == [2, 1, 0]


@pytest.mark.parametrize(("score", "best"), [(0.2, [0, 1]), (0.8, [1, 0]), (0.5, [0, 1])])
def test_a_single_score_is_the_probability_of_class_one(score, best):
    assert ranked(np.array([[score]])).tolist() == best


def test_probabilities_and_logits_give_the_same_figures():
    logits = np.random.default_rng(0).normal(size=(50, 20))
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    counters = TopK(), TopK()
    for index in range(50):
        for counter, scores in zip(counters, (logits, softmax), strict=True):
            counter.update(scores[index], index % 20, None)
    assert counters[0].result() == counters[1].result()


def test_top_one_top_five_and_agreement():
    counter = TopK()
    scores = np.array([0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.0])
    for label, source in ((1, [1, 6, 2, 3, 4]), (2, [0, 1, 3, 4, 6]), (6, [1, 0, 6, 3, 4]), (None, None)):
        assert counter.update(scores, label, None if source is None else np.array(source)).tolist() == [1, 5, 4, 3, 2]
    found = counter.result()
    assert (found.samples, found.top1, found.top5, found.agreement) == (4, 1 / 3, 2 / 3, 2 / 3)
    assert found.top1_change == intervals.paired(0, 0, 3)
    assert found.top5_change == intervals.paired(1, 1, 3)
    assert found.top1_range == intervals.share(1, 3)
    assert found.agreement_range == intervals.share(2, 3)


def test_top_five_says_nothing_of_five_classes():
    counter = TopK()
    counter.update(np.arange(5.0), 0, None)
    assert counter.result() == Accuracy(1, 0.0, None, None, top1_range=intervals.share(0, 1))


@pytest.mark.parametrize(("scores", "label"), [(np.zeros(10), 10), (np.zeros(10), -1), (np.zeros(1), 2)])
def test_labels_that_the_model_does_not_know(scores, label):
    with pytest.raises(DataError, match="--label-offset"):
        TopK().update(scores, label, None)


@given(hnp.arrays(np.float64, (3, 7), elements=st.floats(-10, 10)), st.floats(0.01, 1))
def test_noise_is_streamed_exactly(source, size):
    written = source + size * np.sign(source - 0.5)
    noise = Noise()
    for want, have in zip(source, written, strict=True):
        noise.update(want, have)
    error = source - written
    assert noise.largest == np.abs(error).max()
    assert noise.samples == 3
    if np.square(source).sum() > 0 and error.any():
        expected = 10 * np.log10(np.square(source).sum() / np.square(error).sum())
        assert noise.decibels == pytest.approx(expected)


def test_known_decibels():
    noise = Noise()
    noise.update(np.array([1.0, 0.0]), np.array([1.0, 0.001]))
    assert noise.decibels == pytest.approx(60.0)


def test_equal_outputs_have_no_noise():
    noise = Noise()
    noise.update(np.ones(3, np.float32), np.ones(3, np.float32))
    assert noise.decibels == float("inf")


@pytest.mark.parametrize(
    ("source", "written", "decibels"),
    [
        (0.0, 0.0, float("inf")),
        (0.0, 1e-8, float("-inf")),  # a silent source, and an error
        (1e-3, 1e-3 * (1 + 1e-4), 80.0),
        (1e-9, 1e-9 * (1 + 1e-4), 80.0),
        (1e-9, 2e-9, 0.0),
    ],
)
def test_no_output_is_too_quiet_to_be_judged(source, written, decibels):
    noise = Noise()
    noise.update(np.full(100, source), np.full(100, written))
    assert noise.decibels == pytest.approx(decibels)


HALVES = Parts(1, (0, 2), 5, branches=True)


def test_parts_have_ratios_of_their_own():
    noise = Noise(HALVES)
    want = np.array([[[100.0], [100], [1], [1], [1]]])
    noise.update(want, want + np.array([0, 0, 1, -1, 1])[None, :, None])
    assert noise.decibels == pytest.approx(10 * np.log10(20003 / 3))
    assert noise.worst() == pytest.approx(0.0)
    assert noise.lost(15.0) == (), "it varies no more than what is found"
    noise.update(want * 2, want * 2)
    assert [(part.name, round(part.sqnr_db, 2)) for part in noise.lost(15.0)] == [("2..4 of axis 1", 6.99)]


def test_channels_are_lost_when_they_vary_no_more():
    noise = Noise(Parts(1, tuple(range(4)), 4, branches=False))
    want = np.random.default_rng(0).normal(size=(1, 4, 50)) * np.array([100, 1, 1, 1])[None, :, None]
    noise.update(want, want * np.array([1, 0, 0, 0.5])[None, :, None])
    assert [part.name for part in noise.lost(15.0)] == ["1..2 of axis 1"]
    assert noise.lost(None) == ()


def test_noise_that_the_operators_make_is_allowed():
    noise, resolution = Noise(), Noise()
    noise.update(np.full(10, 1e-5), np.full(10, 1.01e-5))
    resolution.update(np.full(10, 1e-5), np.full(10, 1.005e-5))
    assert noise.worst() == pytest.approx(40.0)
    assert noise.worst(resolution, 10.0) == float("inf")
    assert noise.worst(resolution, 1.0) == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("found", "within", "largest", "mean", "right"),
    [
        ([0, 1, 2, 3], 1.0, 0, 0.0, True),
        ([1, 1, 2, 3], 1.0, 1, 0.25, True),
        ([1, 2, 3, 4], 1.0, 1, 1.0, False),  # a zero point that is one off
        ([3, 1, 2, 3], 0.75, 3, 0.75, False),
        ([0, 1, 0, 5], 0.5, 2, 0.0, False),
    ],
)
def test_integers_are_judged_in_steps(found, within, largest, mean, right):
    steps = Steps(1, 0.5)
    steps.update(np.array([0, 1, 2, 3], np.int8), np.array(found, np.int8))
    layer = steps.result("conv")
    assert (layer.name, layer.within, layer.largest, layer.mean) == ("conv", within, largest, mean)
    assert layer.is_right is right


def test_steps_do_not_wrap():
    steps = Steps(1, 0.5)
    steps.update(np.array([-128], np.int8), np.array([127], np.int8))
    assert steps.result("x").largest == 255


@pytest.mark.parametrize(
    ("source", "written", "same"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], True),
        ([np.inf, 1.0], [np.inf, 1.0], True),
        ([np.inf, 1.0], [-np.inf, 1.0], False),
        ([np.nan, 1.0], [0.0, 1.0], False),
        ([1.0, 1.0], [np.nan, 1.0], False),
        ([1.0, 1.0], [np.inf, 1.0], False),
    ],
)
def test_values_that_are_not_finite_must_be_the_same(source, written, same):
    noise = Noise()
    noise.update(np.array(source), np.array(written))
    noise.update(np.array([1.0]), np.array([1.0]))
    assert noise.decibels == (float("inf") if same else float("-inf"))


def test_half_precision_does_not_overflow():
    noise = Noise()
    noise.update(np.full(1000, 6e4, np.float16), np.full(1000, 6.1e4, np.float16))
    assert np.isfinite(noise.decibels)


def test_an_empty_output_agrees():
    noise = Noise(classes=True)
    noise.update(np.zeros((0, 4)), np.zeros((0, 4)))
    assert (noise.agreed, noise.decibels) == (1, float("inf"))


def test_models_are_evaluated_together_and_samples_read_once():
    read = []

    def samples():
        for index in range(6):
            read.append(index)
            yield Sample({"x": np.eye(7)[index]}, index)

    told = []
    answers = (
        Answer(sample, [{"y": sample.feed["x"]}, {"y": np.roll(sample.feed["x"], sample.feed["x"].argmax() % 2)}])
        for sample in samples()
    )
    (source, _), (shifted, none) = evaluate(answers, 2, "y", progress=told.append)
    assert none is None
    assert source == Accuracy(6, 1.0, 1.0, None, top1_range=intervals.share(6, 6))
    assert (shifted.top1, shifted.agreement) == (0.5, 0.5)
    assert read == list(range(6))
    assert told == list(range(1, 7))


def test_without_labels_there_is_agreement_alone():
    answers = [Answer(Sample({"x": scores}), [{"y": scores}, {"y": scores}]) for scores in np.eye(4)]
    (_, (other, _)) = evaluate(answers, 2, "y")
    assert (other.samples, other.top1, other.agreement, other.top1_change) == (4, None, 1.0, None)
