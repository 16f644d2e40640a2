"""The two networks side by side over a data set: what each block loses, and why the worst do."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, takewhile

from narrowcast.errors import DataError
from narrowcast.evaluation.diagnosis.branches import Branches, Key, branches_of, segment
from narrowcast.evaluation.diagnosis.causes import causes_of
from narrowcast.evaluation.diagnosis.evidence import Evidence, Values, evidence_of
from narrowcast.evaluation.diagnosis.pairing import Pairing, paired
from narrowcast.evaluation.diagnosis.plain import plain_of
from narrowcast.evaluation.diagnosis.records import BlockLoss, OutputLoss, TensorLoss
from narrowcast.evaluation.diagnosis.sensitivity import Sensitivity, sensitivity_of
from narrowcast.evaluation.diagnosis.shares import shares_of
from narrowcast.evaluation.metrics import decibels
from narrowcast.evaluation.real import THREADS
from narrowcast.model import Feeds, Model, ir
from narrowcast.reference import Reference
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import Parameters

__all__ = ["COMPARING", "Losses", "losses_of", "noise_of"]

COMPARING = "comparing block by block"
"""The stage that takes its time by samples."""

WORST = 10
"""Blocks whose causes are looked for."""

MEASURED_ON = 4
"""Samples on which single blocks are measured, where that is asked for: as many runs for each."""

LOOKED_AT = 8
"""Samples on which they are."""

Opened = Callable[[int | None], Feeds]
"""Opens so many of the samples, or all, from the first on."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What was found.

    Attributes:
        pairing: of the two networks.
        blocks: one for each pair that is no lossless input.
        outputs: of the networks.
        worst: indices of blocks, the worst first.
        samples: how many there were.
        left_out: how many blocks there was no time to measure.
    """

    pairing: Pairing
    blocks: tuple[BlockLoss, ...]
    outputs: tuple[OutputLoss, ...]
    worst: tuple[int, ...]
    samples: int
    left_out: int


def losses_of(
    floats: Model,
    quantized: Model,
    target: Target,
    opened: Opened,
    progress: Callable[[str, int], None],
    seconds: float = 0.0,
) -> Losses:
    """Compares a quantised network with its float one.

    Args:
        floats: canonical, in the operators of the target; it is not changed.
        quantized: likewise, perhaps as it was read.
        target: whose groups are the least that a block holds.
        opened: gives the samples, as the float model takes them; asked twice.
        progress: is told the stage, and the samples done.
        seconds: for measuring what single blocks cost the outputs; by these figures they are ranked then.

    Raises:
        DataError: there are no samples, or one does not fit.
        UsageError: the two have other inputs or outputs.
    """
    pairing = paired(floats, plain_of(quantized), target)
    branches = branches_of(pairing)
    sums, samples = _summed(branches, opened(None), lambda done: progress(COMPARING, done))
    last = len(pairing.pairs)
    shares = shares_of(sums, _told(pairing, sums), branches.sources, last)
    ranked = [at for at in sorted(range(last), key=lambda at: -shares[at]) if shares[at] > 0]
    measured = Sensitivity({}, {}, 0)
    if seconds > 0 and ranked:
        tally = partial(progress, "measuring block by block")
        measured = sensitivity_of(pairing, ranked, opened(MEASURED_ON), seconds, tally)
        ranked.sort(key=lambda at: measured.only.get(at, math.inf))
    powers = [(_of(sums, at, "weights"), _of(sums, at, "rounding")) for at in ranked[:WORST]]
    progress("looking at the worst", 0)
    evidence = dict(zip(ranked, evidence_of(pairing, ranked[:WORST], powers, opened(LOOKED_AT)), strict=False))
    blocks = tuple(
        replace(
            _loss(pairing, at, sums, shares[at], evidence.get(at)),
            only_db=measured.only.get(at),
            without_db=measured.without.get(at),
        )
        for at in range(last)
    )
    outputs = tuple(
        OutputLoss(
            here.name or "", _ratio(sums.get((last, "signal", place), 0.0), sums.get((last, "error", place), 0.0))
        )
        for place, (here, _) in enumerate(pairing.outputs)
        if here.dtype is ir.DataType.FLOAT
    )
    return Losses(pairing, blocks, outputs, tuple(ranked), samples, measured.left_out)


def noise_of(floats: Model, quantized: Model, target: Target, feeds: Feeds) -> dict[str, float]:
    """Where the noise of a quantised network's outputs arises: shares in 0..1, by the name of each block's first node.

    Args:
        floats: as for `losses_of`.
        quantized: likewise.
        target: likewise.
        feeds: a few samples.

    Raises:
        DataError, UsageError: as `losses_of` raises.
    """
    pairing = paired(floats, plain_of(quantized), target)
    branches = branches_of(pairing)
    sums, _ = _summed(branches, feeds, lambda _done: None)
    shares = shares_of(sums, _told(pairing, sums), branches.sources, len(pairing.pairs))
    return {pair.nodes[0]: shares[at] for at, pair in enumerate(pairing.pairs) if pair.nodes}


def _summed(branches: Branches, feeds: Feeds, tally: Callable[[int], None]) -> tuple[Mapping[Key, float], int]:
    """The sums over all samples."""
    reference = Reference(branches.model, threads=THREADS, integers=False)
    totals: dict[str, float] = defaultdict(float)
    samples = 0
    for feed in feeds:
        for name, array in reference.run(feed).items():
            totals[name] += float(array)
        samples += 1
        tally(samples)
    if not samples:
        raise DataError("there are no samples", hint="check the path given by --data")
    return {key: totals[name] for key, name in branches.sums.items()}, samples


def _told(pairing: Pairing, sums: Mapping[Key, float]) -> dict[int, float]:
    """How much each output counts for the blocks that make it: by its noise as a share of the signal, 1 at most.

    Of an output that is no float, an index say, it is the noise of what that is made of.
    """
    last = len(pairing.pairs)
    homes = {there: at for at, pair in enumerate(pairing.pairs) for _, there in pair.outputs}
    order = {node: at for at, node in enumerate(pairing.plain.model.graph)}
    told: dict[int, float] = defaultdict(float)
    for place, (_, there) in enumerate(pairing.outputs):
        makers = {homes[value] for value in ([there] if there in homes else segment([there], homes, order)[1])}
        for maker in makers:
            noise = _noise(sums, last, place) if (last, "signal", place) in sums else _noise(sums, maker, 0)
            told[maker] += noise / len(makers)
    total = sum(told.values())
    return {at: noise / total for at, noise in told.items()} if total > 0 else {}


def _noise(sums: Mapping[Key, float], at: int, place: int) -> float:
    signal, error = (sums.get((at, name, place), 0.0) for name in ("signal", "error"))
    share = error / signal if signal > 0 else float(error > 0)
    return min(share, 1.0) if math.isfinite(share) else 1.0


def _of(sums: Mapping[Key, float], at: int, name: str) -> float:
    """A sum over all places of a pair."""
    return sum(sums.get((at, name, place), 0.0) for place in _places(sums, at))


def _places(sums: Mapping[Key, float], at: int) -> Iterator[int]:
    return takewhile(lambda place: (at, "signal", place) in sums, count())


def _ratio(signal: float, noise: float) -> float | None:
    """Decibels; None where a number was none."""
    return decibels(signal, noise) if math.isfinite(signal) and math.isfinite(noise) else None


def _loss(pairing: Pairing, at: int, sums: Mapping[Key, float], share: float, evidence: Evidence | None) -> BlockLoss:
    pair = pairing.pairs[at]

    def ratio(name: str) -> float | None:
        return _ratio(_of(sums, at, "signal"), _of(sums, at, name))

    seen = evidence.values if evidence is not None else [None] * (len(pair.outputs) + len(pair.inner))
    both = [(here, there, "", place) for place, (here, there) in enumerate(pair.outputs)]
    both += [(here, there, " inside", place) for place, (here, there) in enumerate(pair.inner)]
    tensors = tuple(
        _tensor(
            here,
            pairing.plain.stored.get(there),
            _ratio(sums[at, f"signal{where}", place], sums.get((at, f"error{where}", place), 0.0))
            if where or len(pair.outputs) > 1
            else ratio("error"),
            values,
        )
        for (here, there, where, place), values in zip(both, seen, strict=True)
    )
    return BlockLoss(
        name=pair.name,
        nodes=pair.nodes,
        kind=pair.kind,
        sqnr_db=ratio("error"),
        weights_db=ratio("weights"),
        rounding_db=ratio("rounding"),
        above_db=ratio("above"),
        share=share,
        tensors=tensors,
        causes=causes_of(evidence) if evidence is not None else (),
    )


def _tensor(value: ir.Value, how: Parameters | None, ratio: float | None, values: Values | None) -> TensorLoss:
    made = TensorLoss(value.name or "", ratio)
    if how is not None:
        made = replace(made, dtype=how.dtype, scale=how.scale, zero_point=how.zero_point)
    if values is None or values.low > values.high:
        return made
    own = None if values.how is None else _ratio(values.signal, values.noise)
    return replace(made, low=values.low, high=values.high, rounding_db=own, histogram=values.histogram)
