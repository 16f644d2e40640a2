"""F1 of detectors at an overlap of a half, against the source's own boxes: `--metric examples/detectors.py:yolox`.

Each function decodes the outputs of one network into boxes (x1, y1, x2, y2, in pixels of the input), scores and
classes. What remains is the same for all: a threshold, suppression within each class, and matching in the order of the
source's scores. A function of this kind gives a pair for each sample, twice the matched boxes and all boxes of both
sides, whose sums' ratio is F1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps

import numpy as np

Array = np.ndarray
Outputs = Mapping[str, Array]
Boxes = tuple[Array, Array, Array]
"""Corners [n, 4], scores [n], classes [n]."""

OVERLAP = 0.5
SUPPRESSED = 0.45
MOST = 300


def detector(threshold: float) -> Callable[[Callable[[Outputs], Boxes]], Callable[..., tuple[float, float]]]:
    """Makes a metric of a decoder: boxes count above a score."""

    def made(decode: Callable[[Outputs], Boxes]) -> Callable[..., tuple[float, float]]:
        @wraps(decode)
        def metric(source: Outputs, file: Outputs, _label: int | None, _sample: Outputs) -> tuple[float, float]:
            wanted, found = (suppressed(decode(outputs), threshold) for outputs in (source, file))
            return 2.0 * matched(wanted, found), float(len(wanted[1]) + len(found[1]))

        metric.unit = "share"
        return metric

    return made


def overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of one box with each of the others."""
    size = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    shared = size.prod(1)
    union = np.prod(box[2:] - box[:2]) + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppressed(boxes: Boxes, threshold: float) -> Boxes:
    """Those above the threshold, best first, without any that overlaps a better one of its class."""
    corners, scores, classes = boxes
    order = np.flatnonzero(scores > threshold)
    order = order[np.argsort(-scores[order])][:MOST]
    kept: list[int] = []
    for index in order:
        rivals = [other for other in kept if classes[other] == classes[index]]
        if not rivals or overlaps(corners[index], corners[rivals]).max() < SUPPRESSED:
            kept.append(int(index))
    return corners[kept], scores[kept], classes[kept]


def matched(wanted: Boxes, found: Boxes) -> int:
    """How many boxes have a partner of their class, each the nearest that is left."""
    free = np.ones(len(found[1]), bool)
    pairs = 0
    for corners, kind in zip(wanted[0], wanted[2], strict=True):
        near = np.where(free & (found[2] == kind), overlaps(corners, found[0]), 0.0)
        if near.size and near.max() >= OVERLAP:
            free[near.argmax()] = False
            pairs += 1
    return pairs


def first(outputs: Outputs) -> Array:
    """The first output without its batch axis."""
    return next(iter(outputs.values()))[0].astype(np.float64)


def corners_of(centre: Array, size: Array) -> Array:
    """Boxes by their corners."""
    return np.concatenate([centre - size / 2, centre + size / 2], -1)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


@detector(0.3)
def yolox(outputs: Outputs) -> Boxes:
    """YOLOX of 416 pixels, raw: [boxes, (x, y, log w, log h, objectness, a score for each class)]."""
    rows = first(outputs)
    cells = [(x, y, stride) for stride in (8, 16, 32) for y in range(416 // stride) for x in range(416 // stride)]
    grid = np.array(cells, np.float64)
    stride = grid[:, 2:]
    corners = corners_of((rows[:, :2] + grid[:, :2]) * stride, np.exp(np.clip(rows[:, 2:4], -20, 20)) * stride)
    scores = rows[:, 4:5] * rows[:, 5:]
    return corners, scores.max(1), scores.argmax(1)


@detector(0.5)
def fastestdet(outputs: Outputs) -> Boxes:
    """FastestDet of 352 pixels: [objectness, x, y, w, h, a score for each class] at each of 22 x 22 cells."""
    maps = first(outputs)
    y, x = np.mgrid[:22, :22]
    scores = maps[0] ** 0.6 * maps[5:].max(0) ** 0.4
    centre = np.stack([np.tanh(maps[1]) + x, np.tanh(maps[2]) + y], -1) / 22
    corners = corners_of(centre, np.stack([sigmoid(maps[3]), sigmoid(maps[4])], -1)) * 352
    return corners.reshape(-1, 4), scores.reshape(-1), maps[5:].argmax(0).reshape(-1)


def _ultraface_priors() -> Array:
    """Centres and sizes, as fractions, of the boxes that UltraFace of 320 x 240 pixels corrects."""
    levels = (
        (40, 30, (10, 16, 24)),
        (20, 15, (32, 48)),
        (10, 8, (64, 96)),
        (5, 4, (128, 192, 256)),
    )
    rows = [
        ((x + 0.5) / width, (y + 0.5) / height, side / 320, side / 240)
        for width, height, sides in levels
        for y in range(height)
        for x in range(width)
        for side in sides
    ]
    return np.array(rows)


@detector(0.5)
def ultraface(outputs: Outputs) -> Boxes:
    """UltraFace whose boxes are decoded in the network: `boxes` in fractions, `scores` of background and face."""
    boxes, scores = (outputs[name][0].astype(np.float64) for name in ("boxes", "scores"))
    return boxes * [320, 240, 320, 240], scores[:, 1], np.zeros(len(boxes), int)


@detector(0.5)
def ultraface_raw(outputs: Outputs) -> Boxes:
    """UltraFace whose boxes are corrections of priors, by variances of 0.1 and 0.2; scores may lack their softmax."""
    boxes, scores = (outputs[name][0].astype(np.float64) for name in ("boxes", "scores"))
    priors = _ultraface_priors()
    corners = corners_of(boxes[:, :2] * 0.1 * priors[:, 2:] + priors[:, :2], np.exp(boxes[:, 2:] * 0.2) * priors[:, 2:])
    if scores.min() < 0 or np.abs(scores.sum(1) - 1).max() > 0.1:
        scores = np.exp(scores - scores.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
    return corners * [320, 240, 320, 240], scores[:, 1], np.zeros(len(boxes), int)
