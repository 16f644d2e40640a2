"""The detectors of the examples: boxes that are known come out of outputs made for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narrowcast.evaluation.task_metrics import Tally, metric_of
from narrowcast.evaluation.user_code import function_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "detectors.py"
BOXES = np.array([[40.0, 56, 104, 152], [200, 72, 264, 136]])
"""Two boxes of different classes, by their corners, in pixels."""


def yolox(boxes):
    out = np.zeros((1, 3549, 85), np.float32)
    for kind, (left, top, right, bottom) in enumerate(boxes):
        x, y = (left + right) / 2, (top + bottom) / 2
        out[0, int(y // 8) * 52 + int(x // 8)] = 0
        row = out[0, int(y // 8) * 52 + int(x // 8)]
        row[:4] = x / 8 - x // 8, y / 8 - y // 8, np.log((right - left) / 8), np.log((bottom - top) / 8)
        row[4], row[5 + kind] = 0.9, 0.8
    return {"output": out}


def fastestdet(boxes):
    out = np.zeros((1, 85, 22, 22), np.float32)
    for kind, (left, top, right, bottom) in enumerate(boxes):
        x, y = (left + right) / 32, (top + bottom) / 32
        cell = out[0, :, int(y), int(x)]
        cell[1:3] = np.arctanh([x - int(x), y - int(y)])
        cell[3:5] = [np.log(side / (352 - side)) for side in (right - left, bottom - top)]
        cell[0], cell[5 + kind] = 0.9, 0.9
    return {"output": out}


def ultraface(boxes):
    out = np.zeros((1, 4420, 4), np.float32), np.zeros((1, 4420, 2), np.float32)
    out[0][0, : len(boxes)] = boxes / [320, 240, 320, 240]
    out[1][0, : len(boxes), 1] = 0.9
    return {"boxes": out[0], "scores": out[1]}


@pytest.mark.parametrize("made", [yolox, fastestdet, ultraface])
@pytest.mark.parametrize(
    ("found", "f1"),
    [
        (BOXES, 1.0),
        (BOXES + np.array([4, 0, 4, 0]), 1.0),
        (BOXES + np.array([[0], [40]]) * [1, 0, 1, 0], 2 / 4),
        (BOXES[:1], 2 / 3),
        (BOXES[:0], 0.0),
    ],
)
def test_f1_of_known_boxes(made, found, f1):
    tally = Tally(metric_of(f"{EXAMPLE}:{made.__name__}"))
    tally.update(made(BOXES), made(np.asarray(found)), None, {})
    assert tally.result().value == pytest.approx(f1)
    assert tally.result().unit == "share"


def test_boxes_that_overlap_are_one():
    double = np.concatenate([BOXES[:1], BOXES[:1] + 2, BOXES[1:]])
    tally = Tally(metric_of(f"{EXAMPLE}:ultraface"))
    tally.update(ultraface(BOXES), ultraface(double), None, {})
    assert tally.result().value == 1.0


def test_raw_boxes_are_corrections_of_priors():
    outputs = {"boxes": np.zeros((1, 4420, 4), np.float32), "scores": np.zeros((1, 4420, 2), np.float32)}
    outputs["scores"][0, 3, 1] = 9.0  # by a softmax; the fourth prior: 10 pixels around the second cell
    corners, scores, _ = function_of(f"{EXAMPLE}:ultraface_raw").__wrapped__.__wrapped__(outputs)
    x, y = 1.5 / 40 * 320, 0.5 / 30 * 240
    assert corners[3] == pytest.approx([x - 5, y - 5, x + 5, y + 5])
    assert np.flatnonzero(scores > 0.5).tolist() == [3]
