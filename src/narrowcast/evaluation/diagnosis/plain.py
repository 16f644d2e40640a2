"""A quantised graph with the roundings of its activations written beside it, not in it.

The graph that is left computes in floats, by the weights that the quantised one has. What it computes when each
rounding is put back is what the quantised graph computes; where only some are, each has a loss of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from narrowcast.dialect.build import Builder, attributes_of, constant_of
from narrowcast.model import Model, ir
from narrowcast.passes import tidy
from narrowcast.passes.fuse.clip import bounds_of
from narrowcast.targets.spelling import (
    Parameters,
    dequantizer,
    dequantizer_after,
    is_mover,
    is_quantizer,
    is_weight,
    parameters_of,
    quantizer_before,
)

__all__ = ["Plain", "clipped", "grid", "plain_of", "span"]

Edge = tuple[ir.Node, int]
"""A node and the place of one of its inputs."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A quantised graph without the roundings of its activations.

    Attributes:
        model: computes in floats; weights stay behind their DequantizeLinear.
        stored: how an activation is stored, for all that read it.
        edges: how a node's input is stored anew, one after the other, on its way there.
    """

    model: Model
    stored: Mapping[ir.Value, Parameters]
    edges: Mapping[Edge, Sequence[Parameters]]


def plain_of(model: Model) -> Plain:
    """Takes the roundings of activations out of a graph.

    Args:
        model: canonical, quantised or not; it is not changed.
    """
    copy = model.clone()
    graph = copy.graph
    _real_outputs(graph)
    _move_floats(graph)
    chains = {edge: _behind(value) for edge, value in _edges(graph)}
    ends = [_behind(value) for value in graph.outputs]
    firsts: dict[ir.Value, set[Parameters | None]] = {}
    for base, chain in (*chains.values(), *ends):
        firsts.setdefault(base, set()).add(chain[0] if chain else None)
    stored = {base: how for base, found in firsts.items() if len(found) == 1 and (how := next(iter(found))) is not None}
    edges = {}
    for (node, place), (base, chain) in chains.items():
        if chain:
            node.replace_input_with(place, base)
        if left := chain[1:] if base in stored else chain:
            edges[node, place] = left
    for place, (base, chain) in enumerate(ends):
        source = base
        for how in chain[1:] if base in stored else chain:  # an output alone is stored so
            source = Builder(graph)("Identity", source, name=f"{base.name}/handed_out", shape=base.shape)
            stored[source] = how
        graph.outputs[place] = source
    for value in stored:
        value.type = ir.TensorType(ir.DataType.FLOAT)
    tidy.remove_unused(copy)
    left_over = set(graph)
    return Plain(copy, stored, {edge: chain for edge, chain in edges.items() if edge[0] in left_over})


def clipped(plain: Plain, value: ir.Value, activation: ir.Node) -> ir.Value | None:
    """Puts a clip behind a value that the range of its integers cuts likewise; None where it does not.

    Some quantisers leave a Relu out whose bounds are those of the integers behind it.
    """
    bounds, how = bounds_of(activation), plain.stored.get(value)
    if bounds is None or how is None or how.dtype not in ("int8", "uint8", "int16"):
        return None
    low, high = span(how)
    if low < bounds[0] - how.scale / 2 or high > bounds[1] + how.scale:
        return None
    graph = plain.model.graph
    uses = [(use.node, use.idx) for use in value.uses()]
    arrays = [constant_of(source) for source in activation.inputs[1:]]
    given = [None if array is None else Builder(graph).constant(array) for array in arrays]
    made: ir.Value = Builder(graph)(activation.op_type, value, *given, name=f"{value.name}/clipped", shape=value.shape)
    made.type = value.type
    for node, place in uses:
        node.replace_input_with(place, made)
    for place, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[place] = made
    plain.stored[made] = plain.stored.pop(value)  # type: ignore[attr-defined, index]
    graph.sort()
    return made


def span(how: Parameters) -> tuple[float, float]:
    """The lowest and the highest number that integers stand for."""
    _, low, high = grid(how)
    return low * how.scale, high * how.scale


def grid(how: Parameters) -> tuple[float, int, int]:
    """The step, and the lowest and the highest number of steps: what a signed and an unsigned type may have alike."""
    bits = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
    low, high = bits.get(how.dtype, (-(2**31), 2**31 - 1))
    return how.scale, low - how.zero_point, high - how.zero_point


def _edges(graph: ir.Graph) -> Iterator[tuple[Edge, ir.Value]]:
    for node in graph:
        if not is_quantizer(node):
            for place, value in enumerate(node.inputs):
                if value is not None:
                    yield (node, place), value


def _behind(value: ir.Value) -> tuple[ir.Value, tuple[Parameters, ...]]:
    """What a value was before it was rounded, and how it was stored, the first time first."""
    chain: list[Parameters] = []
    while (step := dequantizer(value)) is not None and not is_weight(value):
        how, integers = parameters_of(step), step.inputs[0]
        if how is None or integers is None:
            break
        before = integers.producer()
        if before is None and integers.is_graph_input():
            chain.append(how)
            value = integers
            break
        if before is None or before.op_type != "QuantizeLinear" or parameters_of(before) != how:
            break
        source = before.inputs[0]
        assert source is not None
        chain.append(how)
        value = source
    anew = [
        how
        for how, before in zip(reversed(chain), (None, *reversed(chain)), strict=False)
        if before is None or grid(how) != grid(before)
    ]
    return value, tuple(anew)


def _real_outputs(graph: ir.Graph) -> None:
    """Lets outputs that are integers of a scale be the real numbers."""
    for place, output in enumerate(graph.outputs):
        step = quantizer_before(output)
        if output.dtype is None or not output.dtype.is_integer() or parameters_of(step) is None or step is None:
            continue
        name, output.name = output.name or "output", f"{output.name}/integers"
        graph.outputs[place] = Builder(graph)(
            "DequantizeLinear", output, *step.inputs[1:], name=f"{name}/real", shape=output.shape, dtype="float32"
        )


def _move_floats(graph: ir.Graph) -> None:
    """What only moves integers behind a DequantizeLinear moves real numbers."""
    pending = [node for node in graph if node.op_type == "DequantizeLinear" and not node.domain]
    for node in pending:  # which grows
        mover = node.inputs[0].producer() if node.inputs[0] is not None else None
        if (
            mover is None
            or not is_mover(mover)
            or parameters_of(node) is None
            or dequantizer_after(mover.outputs[0]) is None
        ):
            continue
        source, output = mover.inputs[0], node.outputs[0]
        assert source is not None
        build = Builder(graph, anchor=node)
        real = build(
            "DequantizeLinear",
            source,
            *node.inputs[1:],
            name=f"{source.name}/real",
            shape=source.shape,
            dtype="float32",
        )
        moved = build(
            mover.op_type,
            real,
            *mover.inputs[1:],
            name=f"{output.name}/moved",
            shape=output.shape,
            dtype="float32",
            **attributes_of(mover),
        )
        for use in tuple(output.uses()):
            use.node.replace_input_with(use.idx, moved)
        for place, found in enumerate(graph.outputs):
            if found is output:
                graph.outputs[place] = moved
        pending.append(real.producer())
