"""The proof of a written file, in two legs: it does what its graph says, and its graph does what the source does.

1. Translation: the file beside the very graph that it was written from, quantised or not, on ONNX Runtime without
   optimisations. Nothing but roundings may differ, whatever the scheme; so the bar is hard. Once the file also runs on
   its runtime's own kernels, without what speeds them up, and there every layer is looked at by itself.
2. Quantisation: that graph beside the source. What the scheme costs is the user's to judge: it is reported, and warned
   of with the layer that loses most.

A third comparison stands behind the second: the graph before it was quantised reproduces the source, or what was read
wrongly would pass for a loss of quantisation. Where the source itself is quantised, nothing is lost by a scheme, and
the second leg is the file beside the source: on one runtime, the same integers give the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from narrowcast import runtimes
from narrowcast.errors import BadInputError, ModelFileError, UnsupportedError
from narrowcast.evaluation.bars import SAMPLES, Bars
from narrowcast.evaluation.comparison import Comparison
from narrowcast.evaluation.layers import Layers
from narrowcast.evaluation.loss import weakest_layer
from narrowcast.evaluation.ports import feed_for, graph_ports, outputs_as_source
from narrowcast.evaluation.readback import ReadBack
from narrowcast.evaluation.real import RealGraph
from narrowcast.evaluation.resolution import THROW, TIMES, shaken
from narrowcast.evaluation.results import LayerParity, Leg, Parity
from narrowcast.evaluation.samples import random_feeds
from narrowcast.evaluation.source import THREADS, Source, open_source, run_or_replace
from narrowcast.model import Array, Feed, Model
from narrowcast.passes.prepare import adapt
from narrowcast.quantization.scheme import scheme_of
from narrowcast.runtimes.protocol import Runner
from narrowcast.targets.rules import Target
from narrowcast.writers.formats import Written

__all__ = ["LIMITS", "SAMPLES", "Bars", "Limits", "runs_here", "verify"]
THROWS = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """SQNR in dB by which the legs of a scheme are judged.

    Attributes:
        translation: that the file must reach beside its graph; below it, integer layers decide one by one, and for
            floats what the graph's operators resolve.
        source: that the graph must reach beside the source; None where its loss is only reported.
        usual: below which that loss is warned of.
    """

    translation: float
    source: float | None
    usual: float | None


LIMITS: dict[str, Limits] = {
    "float32": Limits(60.0, 60.0, None),
    "float16": Limits(60.0, 40.0, None),
    "dynamic_range": Limits(60.0, None, 20.0),
    "weight_only": Limits(60.0, None, 20.0),
    "int8": Limits(30.0, None, 15.0),
    "full_int8": Limits(30.0, None, 15.0),
    "uint8": Limits(30.0, None, 15.0),
    "int16x8": Limits(60.0, None, 20.0),
    "int8_pow2": Limits(30.0, None, 15.0),
}
"""Measured on 16 networks and 150 operators beside their graphs: float32 109 dB and up, float16 107, int16x8 50 (one in
four under 60), int8 38 where it is not exact, but 17 for a network that amplifies every rounding. dynamic_range, whose
kernels quantise activations while they run, 29 to 78, always within `resolution.TIMES` of what that makes."""

EXACT = 60.0
"""dB that a graph reaches beside another in floats, where both compute the same."""


def verify(
    model: Model,
    path: Path,
    written: Written,
    *,
    feeds: Iterable[Feed] | None = None,
    seed: int = 0,
    source: Source | None = None,
    bars: Bars = Bars(),  # noqa: B008 - frozen
) -> Parity:
    """Proves a written file.

    Args:
        model: the float model as read.
        path: the file.
        written: what its writer said of it, and what it was written from.
        feeds: samples in the source's layout, of which `bars.samples` are taken at most; random ones if None.
        seed: of random samples.
        source: of `open_source`, to open it once for several files.
        bars: what the user asks for.

    Raises:
        ModelFileError: the runtime refuses the file, or its outputs are not the source's.
        DataError: nothing runs on the samples.
    """
    assert written.prepared is not None
    graph = written.prepared.model
    limits = _limits(graph)
    as_it_was = graph.source is None and graph.scheme != "float32"
    source = source or open_source(model)
    meant = _opened(graph)
    runner = _run_by(path, written)
    translation, quantization = Comparison(model), Comparison(model)
    taken: list[Feed] = []
    first: dict[str, Array] | None = None
    try:
        for feed in islice(random_feeds(model, bars.samples, seed) if feeds is None else feeds, bars.samples):
            source, wanted = run_or_replace(source, model, feed)
            through = _run(meant, feed)
            if through is None:
                meant, through = None, wanted
            first = first or through
            stored = feed_for(written, feed)
            if as_it_was or len(taken) < SAMPLES:
                found = outputs_as_source(written.outputs, runner.run(stored))
            quantization.update(wanted, found if as_it_was else through, str(path))
            if len(taken) < SAMPLES:
                translation.update(through, found, str(path))
                taken.append(feed)
    finally:
        runner.close()
    case = _Case(model, graph, path, written, taken[:SAMPLES], first)
    identical = as_it_was and source.name.startswith(runner.name) and quantization.exact
    leg, plain, wrong, needs = _translated(case, translation, limits.translation, possible=meant is not None)
    parity = Parity(
        reference=source.name,
        runtime=runner.name,
        samples=quantization.samples,
        random_samples=feeds is None,
        translation=leg,
        quantization=_judged(case, quantization, graph, limits, bars),
        plain=plain,
        wrong_layers=wrong,
        needs=needs,
        max_drop=bars.max_drop,
        identical=identical,
    )
    if model.unedited is not None and taken:
        parity = replace(parity, substitution=_substitution(model, model.unedited, source, taken))
    if graph.source is None or not taken:
        return parity
    floats = _unquantized(graph.source, written.prepared.target, graph)
    return _traced(parity, case, floats, source, limits)


def _substitution(model: Model, unedited: Model, source: Source, feeds: Sequence[Feed]) -> Leg:
    """What the substitution of operators leaves of the network that was read."""
    before, cost = open_source(unedited), Comparison(model)
    for feed in feeds:
        before, wanted = run_or_replace(before, unedited, feed)
        cost.update(wanted, source.run(feed))
    return cost.leg(None)


def _traced(parity: Parity, case: _Case, floats: Model, source: Source, limits: Limits) -> Parity:
    """The proof with what stands behind its second leg: the graph before it was quantised, and where it lost most."""
    opened, feed = _opened(floats), case.feeds[0]
    before = _run(opened, feed)
    if before is None:
        return parity
    reading = Comparison(case.model)
    reading.update(source.run(feed), before)
    parity = replace(parity, reading=reading.leg(EXACT, None, _resolved(case, reading, floats, EXACT)))
    low = limits.usual is not None and parity.sqnr_db < limits.usual
    weak = weakest_layer(floats, case.graph, feed) if low or not parity.kept else ""
    return replace(parity, weakest_layer=weak)


def _run_by(path: Path, written: Written) -> Runner | ReadBack:
    """The file on its runtime, or read again where that is not on this machine."""
    again = None if written.signature or runs_here(written) else ReadBack.open(path, written)
    return again or runtimes.open(path, written.runtime, THREADS, written.signature)


def runs_here(written: Written) -> bool:
    """Whether the file's own runtime is on this machine."""
    return isinstance(runtimes.find(written.runtime), runtimes.Runtime)


@dataclass(frozen=True, slots=True)
class _Case:
    """A written file, what it was read and written from, the samples that it ran on, and what its graph gave on one."""

    model: Model
    graph: Model
    path: Path
    written: Written
    feeds: Sequence[Feed]
    meant: Mapping[str, Array] | None
    resolutions: dict[int, Comparison] = field(default_factory=dict)


def _limits(graph: Model) -> Limits:
    """The limits of what a graph holds, which overrides may have made another scheme than its own."""
    stored = scheme_of(graph)
    return LIMITS[graph.scheme if stored == "float32" or not _is_float(graph.scheme) else stored]


def _is_float(scheme: str) -> bool:
    return LIMITS[scheme].source is not None


def _unquantized(source: Model, target: Target, graph: Model) -> Model:
    """The graph that was quantised, as it was before: where it was calibrated, with its recurrent layers whole."""
    adapted = replace(source.clone(), scheme=graph.scheme)
    adapt(adapted, target, keep_recurrent=any(node.op_type == "QuantizeLinear" for node in graph.graph))
    return adapted


def _opened(graph: Model) -> RealGraph | None:
    """The graph on ONNX Runtime; None where that has no kernel for what the target's operators compute."""
    try:
        return RealGraph(graph)
    except (BadInputError, UnsupportedError):
        return None


def _run(graph: RealGraph | None, feed: Feed) -> dict[str, Array] | None:
    """What the graph gives; None where ONNX Runtime cannot run it, as some kernels say only now."""
    try:
        return None if graph is None else graph.run(feed)
    except BadInputError:
        return None


def _judged(case: _Case, comparison: Comparison, graph: Model, limits: Limits, bars: Bars) -> Leg:
    """The second leg: held against the user's bar, and in float schemes against what the operators resolve."""
    if bars.min_sqnr is not None:
        return comparison.leg(bars.min_sqnr, limits.usual)
    resolved = () if limits.source is None else _resolved(case, comparison, graph, limits.source)
    return comparison.leg(limits.source, limits.usual, resolved)


def _translated(
    case: _Case, comparison: Comparison, least: float, *, possible: bool
) -> tuple[Leg, Leg | None, tuple[LayerParity, ...], str]:
    """The first leg, the same on the runtime's own kernels, the layers that are wrong, and what the file needs.

    Where the graph cannot be run, the file was compared with the source, and that is all there is.
    """
    if not possible:
        return comparison.leg(least), None, (), ""
    plain: Leg | None = None
    wrong: tuple[LayerParity, ...] = ()
    needs = ""
    try:
        plain, wrong = _inside(case, own_kernels=True)
    except ModelFileError as error:
        needs = error.what
    low = comparison.below(least)
    if case.written.layers and (needs or low):
        inner, astray = _inside(case, own_kernels=False)
        wrong = wrong or astray
        right = inner is not None and inner.passed and not astray
        return comparison.leg(least, None, low if right else ()), plain, wrong, needs
    return comparison.leg(least, None, _resolved(case, comparison, case.graph, least)), plain, wrong, needs


def _inside(case: _Case, *, own_kernels: bool) -> tuple[Leg | None, tuple[LayerParity, ...]]:
    """The file on one sample, each layer by itself: its outputs beside the graph's, and the layers that are wrong.

    Raises:
        ModelFileError: the kernels refuse the file.
    """
    if not case.feeds:
        return None, ()
    runner = runtimes.open_layers(
        case.path, case.written.runtime, THREADS, case.written.signature, own_kernels=own_kernels
    )
    if runner is None:
        return None, ()
    comparison = Comparison(case.model)
    try:
        found = outputs_as_source(case.written.outputs, runner.run(feed_for(case.written, case.feeds[0])))
        if not case.written.layers and case.meant is not None:
            comparison.update(case.meant, found, str(case.path))
            return comparison.leg(EXACT, None, _resolved(case, comparison, case.graph, EXACT)), ()
        layers = Layers(case.graph, case.written.layers)
        fed = layers.feed(runner, feed_for(graph_ports(case.graph), case.feeds[0]))
    finally:
        runner.close()
    every, outputs = layers.compare(fed)
    comparison.update(outputs, found, str(case.path))
    steps = [port.name for port in case.written.outputs if port.scale]
    resolved = (*steps, *_resolved(case, comparison, layers.model, EXACT, fed))
    return comparison.leg(EXACT, None, resolved), tuple(layer for layer in every if not layer.is_right)


def _resolved(
    case: _Case, comparison: Comparison, graph: Model, least: float, fed: Feed | None = None
) -> tuple[str, ...]:
    """The outputs below a bar whose noise is that of roundings in the graph, on the same samples."""
    low = comparison.below(least)
    if not low:
        return ()
    resolution = case.resolutions.get(id(graph)) if fed is None else None
    if resolution is None:
        try:
            resolution = _resolution(case.model, graph, case.feeds if fed is None else [fed])
        except (BadInputError, UnsupportedError):
            return ()
        if fed is None:
            case.resolutions[id(graph)] = resolution
    noises = comparison.noises
    return tuple(name for name in low if noises[name].worst(resolution.noises[name], TIMES) >= least)


def _resolution(model: Model, graph: Model, feeds: Sequence[Feed]) -> Comparison:
    """The noise that roundings in a graph make: of `THROWS` at least, as a single one may cancel itself out."""
    exact, moved, found = RealGraph(graph), RealGraph(shaken(graph)), Comparison(model)
    for feed in feeds:
        wanted = exact.run(feed)
        for throw in range(-(-THROWS // len(feeds))):
            found.update(wanted, moved.run({**feed, THROW: np.array(throw + 1)}))
    return found
