"""What single blocks cost the outputs, measured: only one of them quantised, and all but it.

One graph has every block twice, as the float network and as the quantised one has it, with a switch behind the two that
says which is read. It is opened once, and run once for each setting of the switches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import dims
from narrowcast.errors import UsageError
from narrowcast.evaluation.diagnosis.branches import Copier, Rounding, aligned, ports, segment
from narrowcast.evaluation.diagnosis.pairing import Pairing
from narrowcast.evaluation.judge import SPAN
from narrowcast.evaluation.metrics import Noise
from narrowcast.evaluation.real import THREADS
from narrowcast.model import Array, Feeds, Model, ir
from narrowcast.reference import Reference

__all__ = ["Sensitivity", "sensitivity_of"]

SWITCHES = "narrowcast.switches"
"""The input that says for each pair whether it is quantised."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What was measured, in dB: the mean of the outputs' ratios.

    Attributes:
        only: by pair, where only it is quantised.
        without: by pair, where all but it are.
        left_out: how many pairs there was no time for.
    """

    only: Mapping[int, float]
    without: Mapping[int, float]
    left_out: int


def sensitivity_of(
    pairing: Pairing, ranked: Sequence[int], feeds: Feeds, seconds: float, progress: Callable[[int], None]
) -> Sensitivity:
    """Measures pairs one by one, until the time is over.

    Args:
        pairing: both networks.
        ranked: which pairs, in the order in which they are measured.
        feeds: few samples, all of which are kept.
        seconds: for all of it; the first pair is measured in any case.
        progress: is told how many pairs are done.

    Raises:
        UsageError: no output is of real numbers.
    """
    end = time.monotonic() + seconds
    model, names = _switchable(pairing)
    if not names:
        raise UsageError(
            "no output is of real numbers, by which single blocks could be measured",
            hint="--cut-outputs takes what the outputs are made of",
        )
    reference = Reference(model, threads=THREADS, integers=False)
    every = np.ones(len(pairing.pairs), bool)
    samples = [(feed, reference.run({**feed, SWITCHES: ~every})) for feed in feeds]

    def measured(switches: Array) -> float:
        noises = {name: Noise() for name in names}
        for feed, wanted in samples:
            found = reference.run({**feed, SWITCHES: switches})
            for name, noise in noises.items():
                noise.update(wanted[name], found[name])
        ratios = [min(max(noise.decibels, SPAN[0]), SPAN[1]) for noise in noises.values()]
        return sum(ratios) / len(ratios)

    only, without = {}, {}
    for done, at in enumerate(ranked):
        if done and time.monotonic() > end:
            break
        one = np.arange(len(every)) == at
        only[at], without[at] = measured(one), measured(~one)
        progress(done + 1)
    return Sensitivity(only, without, len(ranked) - len(only))


def _switchable(pairing: Pairing) -> tuple[Model, list[str]]:
    """The graph with its switches, and the names of its float outputs."""
    copy, plain = Copier("switches"), pairing.plain
    given, real, found = ports(copy, pairing)
    switches = copy.build.input(SWITCHES, (len(pairing.pairs),), bool)
    ours, theirs = pairing.floats.graph, plain.model.graph
    orders = [{node: at for at, node in enumerate(graph)} for graph in (ours, theirs)]
    rounding = Rounding(plain.stored, plain.edges)

    def chosen(at: int, quantized: ir.Value, exact: ir.Value) -> ir.Value:
        place = copy.build.constant(np.array(at), "place")
        switch = copy.build("Gather", switches, place, name="switch", axis=0)
        made: ir.Value = copy.build("Where", switch, quantized, exact, name="chosen")
        return made

    for at, pair in enumerate(pairing.pairs):
        if not pair.floats.nodes:
            for here, there in pair.outputs:
                found[there] = chosen(at, found[there], given[there])
                real[here] = found[there] if dims(here) == dims(there) else real[here]
            continue
        exact, quantized = ([values[side] for values in pair.outputs] for side in (0, 1))
        before, after = dict(real), dict(found)
        copy.nodes(segment(exact, real, orders[0])[0], before)
        copy.nodes(segment(quantized, found, orders[1])[0], after, rounding)
        for here, there in pair.outputs:
            real[here] = found[there] = chosen(at, after[there], before[here])
    outputs = {}
    for here, there in pairing.outputs:
        if here.dtype is ir.DataType.FLOAT:
            copy.nodes(segment([] if there in found else [there], found, orders[1])[0], found, rounding)
            outputs[here.name or ""] = aligned(copy.build, found[there], dims(there), dims(here))
    handed = [copy.build("Identity", value, name="handed_out") for value in outputs.values()]
    model = copy.build.finish(handed)
    model.graph.opset_imports.update(ours.opset_imports)
    return Model(model), [value.name or "" for value in handed]
