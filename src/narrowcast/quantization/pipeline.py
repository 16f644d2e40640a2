"""A float graph, calibrated, to one that says who computes in integers; and what would stay in float."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from narrowcast.dialect.control import all_graphs
from narrowcast.dialect.recurrent import GATES
from narrowcast.errors import UsageError
from narrowcast.model import Feeds, Model, ir
from narrowcast.passes import tidy
from narrowcast.passes.prepare import adapt
from narrowcast.quantization.apply import Spelling, apply
from narrowcast.quantization.assign import Island, assign
from narrowcast.quantization.calibration import Ranges, Tally, calibrate
from narrowcast.quantization.halves import float16_weights, without_overflowing
from narrowcast.quantization.notes import notes_on
from narrowcast.quantization.overrides import Choice, Overrides, choose, needs_ranges
from narrowcast.quantization.scheme import NOTES, Scheme, by_bits, scheme_named
from narrowcast.quantization.weights import IntegerWeights, hybrid_weights, recurrent_weights
from narrowcast.targets.decide import decide
from narrowcast.targets.groups import groups_of
from narrowcast.targets.rules import Storage, Target, lacks
from narrowcast.targets.spelling import is_quantizer, is_weight

__all__ = ["islands", "quantize"]


def quantize(
    model: Model,
    scheme: str,
    target: Target,
    *,
    ranges: Ranges | None = None,
    feeds: Feeds | None = None,
    observer: str = "minmax",
    weights: str = "per-channel",
    weight_bits: int | None = None,
    block_size: int | None = None,
    io_type: str | None = None,
    overrides: Overrides | None = None,
    integer_weights: Mapping[str, IntegerWeights] | None = None,
    progress: Tally | None = None,
) -> Model:
    """A quantised copy of a canonical model that is decomposed for a target.

    Args:
        model: float; it is not changed.
        scheme: a name or alias of `SCHEMES`, one of those that the target stores.
        target: whose rules hold and whose storage is taken.
        ranges: of `calibrate` on the same model; calibrated from `feeds` where they are not given. Learned ranges are
            given likewise.
        feeds: calibration samples; of float16, those on which activations are looked at.
        observer: for the calibration.
        weights: "per-channel" or "per-tensor" scales.
        weight_bits: 4 or 8, of integer weights; None for the scheme's own. Where the target has kernels for 8 alone,
            weights have 8.
        block_size: how many weights of 4 bits along the inputs share a scale; None for the scheme's own, mostly all of
            a channel.
        io_type: type of inputs and outputs: "int8", "uint8" or "float32"; None for the scheme's own.
        overrides: other storage for nodes of some names, as `{"head/*": "float32"}`.
        integer_weights: ready-made integers for weights of integer groups, by the name of the constant in `model`.
        progress: is told the number of calibration samples done.

    Raises:
        UsageError: the scheme, an option or their combination is unknown, or ranges and feeds are both missing.
        DataError: the feeds do not fit the model.
    """
    row = by_bits(scheme_named(scheme), weight_bits, block_size)
    if weights not in ("per-channel", "per-tensor"):
        raise UsageError(f"unknown granularity of weights {weights!r}", hint="per-channel or per-tensor")
    copy = model.clone()
    copy.scheme = row.name
    choice = choose(copy, target, row, overrides)
    port_type, per_channel = _port_type(row, choice.default, io_type), weights == "per-channel"
    notes: list[str] = []
    if needs_ranges(target, row.name, overrides):
        if ranges is None:
            if feeds is None:
                raise UsageError(f"the scheme {row.name} needs calibration data", hint="give --data PATH")
            ranges = calibrate(model, feeds, target, overrides=overrides, observer=observer, progress=progress)
        notes += ranges.notes
        assignment = assign(copy, target, choice, ranges.ranges, integer_ports=port_type is not None)
        how = Spelling(choice.default, per_channel, model.unedited is not None, port_type, integer_weights or {})
        notes += apply(copy, assignment, ranges.ranges, how)
        notes += assignment.notes + _island_notes(assignment.islands)
        rows = dict.fromkeys(assignment.rows, _hybrid(choice))
        hybrid_weights(copy, target, Choice(Storage(), rows), {}, per_channel=per_channel)
        tidy.remove_unused(copy)
        _spell_recurrent(copy, target, choice, per_channel=per_channel)
    if row.weights == "float16" and feeds is not None:
        choice, found = without_overflowing(copy, choice, feeds)
        notes += found
    notes += _store_smaller(copy, target, choice, per_channel=per_channel)
    for graph in list(all_graphs(copy.graph)):
        recurrent_weights(replace(copy, ir=ir.Model(graph, ir_version=copy.ir.ir_version)), target, choice)
    tidy.remove_unused(copy)
    copy.ir.metadata_props[NOTES] = json.dumps(notes)
    return copy


def _store_smaller(model: Model, target: Target, choice: Choice, *, per_channel: bool) -> list[str]:
    """Stores the weights beside float activations smaller, in bodies of loops and branches too; returns notes."""
    notes, wider = list[str](), dict[str, list[ir.Node]]()
    if any(storage.activations == "float32" != storage.weights for storage in choice.kinds):
        for graph in list(all_graphs(model.graph)):
            inner = replace(model, ir=ir.Model(graph, ir_version=model.ir.ir_version))
            notes += float16_weights(inner, choice)
            hybrid_weights(inner, target, choice, wider, per_channel=per_channel)
            tidy.remove_unused(inner)
    return notes + notes_on(wider)


def islands(
    model: Model, target: Target, scheme: str | None = None, overrides: Overrides | None = None
) -> list[Island]:
    """The nodes of a prepared model that stay in float, and why.

    Args:
        model: canonical and decomposed for the target.
        target: whose rules hold.
        scheme: that a float model is asked about; None for a quantised one, as it is stored.
        overrides: as for `quantize`.

    Raises:
        UsageError: the target lacks the scheme, or a pattern fits nothing.
    """
    if scheme is not None:
        return assign(model, target, choose(model, target, scheme, overrides)).islands
    verdicts = [(grouped, decide(grouped, target)) for grouped in groups_of(model.graph, target)]
    return [
        Island(grouped.anchor, verdict.why, verdict.rule is not None)
        for grouped, verdict in verdicts
        if not verdict.integer and not is_quantizer(grouped.anchor) and not all(map(is_weight, grouped.anchor.inputs))
    ]


def _spell_recurrent(model: Model, target: Target, choice: Choice, *, per_channel: bool) -> None:
    """Recurrent layers, calibrated as one operator each, become what the target runs: products by integer weights.

    Their gates and states stay in float, as in 8 bits they lose what they add up from step to step.
    """
    layers = [node for node in model.graph if node.op_type in GATES and not node.domain]
    before = {node for graph in all_graphs(model.graph) for node in graph}
    stored = {choice.of((node,)) for node in layers}
    if not layers or any(lacks(node, target) == "" for node in layers):
        return
    adapt(model, target)
    if any(storage.weights in ("float32", "float16") for storage in stored):
        return
    for graph in list(all_graphs(model.graph)):
        named = {node: _hybrid(choice) for node in graph if node not in before}
        inner = replace(model, ir=ir.Model(graph, ir_version=model.ir.ir_version))
        hybrid_weights(inner, target, Choice(Storage(), named), {}, per_channel=per_channel)
        tidy.remove_unused(inner)


def _hybrid(choice: Choice) -> Storage:
    """How a product is stored whose activations are quantised as they come."""
    return replace(choice.default, activations="float32", bias=None)


def _port_type(row: Scheme, storage: Storage, io_type: str | None) -> str | None:
    if io_type not in (None, "int8", "uint8", "float32"):
        raise UsageError(f"unknown type of inputs and outputs {io_type!r}", hint="int8, uint8 or float32")
    if io_type == "float32" or (io_type is None and not row.integer_ports):
        return None
    if storage.activations not in ("int8", "uint8"):
        raise UsageError(f"the scheme {row.name} has float inputs and outputs", hint="integer ones: --scheme full_int8")
    return io_type or storage.activations


def _island_notes(islands: list[Island]) -> list[str]:
    """What is computed in float, a note for each reason."""
    reasons: dict[str, list[ir.Node]] = {}
    for island in islands:
        reasons.setdefault(f"computed in float, as {island.why}", []).append(island.node)
    return notes_on(reasons)
