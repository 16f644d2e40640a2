"""What is told of a quantised network's losses."""

from __future__ import annotations

from dataclasses import dataclass

from narrowcast.evaluation.results import Score

__all__ = ["BlockLoss", "Cause", "Diagnosis", "Histogram", "OutputLoss", "TensorLoss"]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a block loses, and what can be done.

    Attributes:
        name: of the kind, as scripts look for it.
        why: in words that follow the block's name.
        action: what to do, by the names of options.
        part: the share of the block's own error that it may account for, roughly, in 0..1.
    """

    name: str
    why: str
    action: str
    part: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many of a tensor's values fall into bins of one width, before and after it is quantised.

    Attributes:
        low: where the first bin begins.
        width: of a bin: as many steps for each.
        before: counts of the float values.
        after: counts of the quantised ones.
        grid: the lowest and the highest number that the integers stand for.
    """

    low: float
    width: float
    before: tuple[int, ...]
    after: tuple[int, ...]
    grid: tuple[float, float]


@dataclass(frozen=True, slots=True)
class TensorLoss:
    """A tensor of a block.

    Attributes:
        name: in the float graph.
        sqnr_db: of the quantised network's values, with all that came from above; None where it was not computed.
        dtype: that it is stored by, "float32" where it is not quantised.
        scale: the step; 0 for floats.
        zero_point: that stands for 0.
        low, high: the lowest and the highest float value that was seen, of the worst blocks' tensors alone.
        rounding_db: of the float values, rounded as this tensor is, likewise.
        histogram: likewise.
    """

    name: str
    sqnr_db: float | None
    dtype: str = "float32"
    scale: float = 0.0
    zero_point: int = 0
    low: float | None = None
    high: float | None = None
    rounding_db: float | None = None
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True)
class BlockLoss:
    """A block: what a runtime runs as one operator, with the activation that follows.

    Ratios are in dB, signal by noise; infinite where there is no noise, None where a number was none.

    Attributes:
        name: of the tensor that leaves it.
        nodes: the names of its nodes, as `--keep-float` takes them.
        kind: its operators.
        sqnr_db: with all that came from above.
        weights_db: by its quantised weights alone, from float inputs.
        rounding_db: by the rounding and clipping of what is computed in it alone, likewise.
        above_db: by what came from above alone.
        share: of the noise of the network's outputs that arises here, in 0..1.
        tensors: what leaves it, then what is computed within.
        causes: the likeliest first; of the worst blocks alone.
        only_db: of the network's outputs where only this block is quantised, if that was measured.
        without_db: where all but it is.
    """

    name: str
    nodes: tuple[str, ...]
    kind: str
    sqnr_db: float | None
    weights_db: float | None
    rounding_db: float | None
    above_db: float | None
    share: float
    tensors: tuple[TensorLoss, ...]
    causes: tuple[Cause, ...] = ()
    only_db: float | None = None
    without_db: float | None = None


@dataclass(frozen=True, slots=True)
class OutputLoss:
    """An output of the network, and its ratio in dB."""

    name: str
    sqnr_db: float | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Where a quantised network loses what the float one says.

    Attributes:
        first: the float network, in words.
        second: the quantised one.
        scheme: how it is quantised.
        samples: on how many both were run.
        data: what they are.
        outputs: of the network.
        blocks: in the order in which they are computed.
        worst: indices of blocks, that with the largest share first.
        unmatched: blocks of the float network that the quantised one has no counterpart of.
        notes: what the user should know.
        scores: of the first and of the second, by the metric that was asked for.
    """

    first: str
    second: str
    scheme: str
    samples: int
    data: str
    outputs: tuple[OutputLoss, ...]
    blocks: tuple[BlockLoss, ...]
    worst: tuple[int, ...]
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
