"""Whether a group of nodes computes in integers on a target, or why not.

One question for graphs that are about to be quantised, where it is asked with the storage that a scheme would give the
group, and for graphs that are quantised already, here or elsewhere, where the spelling says how the group is stored: a
group computes in integers when all its activations come from DequantizeLinear and its outputs go into QuantizeLinear
only, by scales that the target's rules allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import tensor_of
from narrowcast.model import ir
from narrowcast.targets.groups import Group, rule_of
from narrowcast.targets.rules import FixedScale, OpRule, Sharing, Storage, Target
from narrowcast.targets.spelling import (
    Parameters,
    block_of,
    dequantizer,
    holds_roundings,
    is_symmetric,
    is_weight,
    kept_in_float,
    parameters_of,
    scales_of,
    weights_behind,
)

__all__ = ["Verdict", "bias_of", "decide", "fixed_parameters"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision on a group.

    Attributes:
        why: why it computes in floats, in words that follow "as"; "" where it computes in integers.
        rule: the target's rule of quantisation, None where it has none.
        data: the inputs of the anchor that are activations, or constants that are stored like activations.
    """

    why: str
    rule: OpRule | None = None
    data: tuple[int, ...] = ()

    @property
    def integer(self) -> bool:
        """Whether it computes in integers."""
        return not self.why


def decide(found: Group, target: Target, storage: Storage | None = None) -> Verdict:
    """Whether a group computes in integers.

    Args:
        found: of `groups.group`.
        target: whose rules hold.
        storage: how a group of a float graph would be stored; None asks of a quantised graph how it is.
    """
    rule = rule_of(found.anchor, target)
    if rule is None:
        return Verdict(f"{target.title} has no integer kernel for it")
    data = _data(found.anchor, rule)
    why = kept_in_float(found.anchor) or _operands(found, rule, data) or rule.fits(found.anchor)
    if not why and storage is not None:
        why = _storable(rule, storage, target)
    elif not why:
        why = _spelled(found, rule, data, target)
    return Verdict(why, rule, data)


def bias_of(found: Group, rule: OpRule) -> tuple[ir.Node, int] | None:
    """The node of a group that reads its bias, and the index of that input; None for a group without."""
    if found.bias is not None:
        return found.bias, next(index for index, value in enumerate(found.bias.inputs) if is_weight(value))
    if rule.bias is None or len(found.anchor.inputs) <= rule.bias or found.anchor.inputs[rule.bias] is None:
        return None
    return found.anchor, rule.bias


def fixed_parameters(fixed: FixedScale, dtype: str) -> Parameters:
    """The parameters that a target prescribes, in the type of activations; uint8's are int8's, moved by 128."""
    scale, zero_point = fixed.int16 if dtype == "int16" else fixed.int8
    return Parameters(scale, zero_point + (128 if dtype == "uint8" else 0), dtype)


def _data(anchor: ir.Node, rule: OpRule) -> tuple[int, ...]:
    """The inputs that are stored as activations; weights are none, nor a product's constant matrix."""
    data = rule.data if rule.data is not None else tuple(range(len(anchor.inputs)))
    if rule.weights is None:
        return data
    behind = weights_behind(anchor.inputs[rule.weights[0]])
    is_operand = behind is None or (rule.weights[0] in data and len(_shape(behind)) != 2)
    return data if is_operand else tuple(index for index in data if index != rule.weights[0])


def _operands(found: Group, rule: OpRule, data: tuple[int, ...]) -> str:
    anchor = found.anchor
    if rule.weights is not None and rule.weights[0] not in data and not is_weight(anchor.inputs[rule.weights[0]]):
        return "its weights are computed"
    bias = bias_of(found, rule)
    if bias is not None and not is_weight(bias[0].inputs[bias[1]]):
        return "its bias is computed"
    inputs = [anchor.inputs[index] for index in data]
    if any(value is None or value.dtype is not ir.DataType.FLOAT for value in inputs):
        return "its operands are no floats"
    return "all its operands are constants" if all(map(is_weight, inputs)) else ""


def _storable(rule: OpRule, storage: Storage, target: Target) -> str:
    if storage.activations == "float32":
        return "it is to be kept in float"
    if storage.activations in rule.only_read:
        return f"{target.title}'s kernel for it in {storage.activations} is no better than floats"
    return "" if _has(rule, storage.activations) else _no_kernel(storage.activations, target)


def _has(rule: OpRule, dtype: str) -> bool:
    """Whether a kernel computes in a type that the quantiser may choose."""
    return rule.int16 if dtype == "int16" else rule.int8 and (rule.uint8 or dtype != "uint8")


def _no_kernel(dtype: str, target: Target) -> str:
    return f"{target.title} has no kernel for it in {dtype}"


def _spelled(found: Group, rule: OpRule, data: tuple[int, ...], target: Target) -> str:
    """Why a group is not integer as its graph spells it, or spells it against the target's rules."""
    anchor = found.anchor
    operands = [anchor.inputs[index] for index in data]
    if any(dequantizer(value) is None for value in operands):
        return "an operand is not quantised"
    for output in found.outputs:
        readers = [use.node.op_type for use in output.uses()]
        if output.dtype is ir.DataType.FLOAT and (output.is_graph_output() or set(readers) != {"QuantizeLinear"}):
            return "its output is read in float"
    steps = [step for value in operands for step in _steps(dequantizer(value)) if not is_weight(value)]
    outputs = [step for value in found.outputs for use in value.uses() for step in _steps(use.node)]
    kinds = {step.dtype for step in (*steps, *outputs)}
    stored = (*target.storage.values(), *target.kept.values())
    types = {storage.activations for storage in stored}
    why = next((f"{target.title} stores no activations in {kind}" for kind in sorted(kinds - types)), "")
    read = rule.only_read if anchor.graph is not None and holds_roundings(anchor.graph) else frozenset[str]()
    lacking = (kind for kind in sorted(kinds) if not _has(rule, kind) and kind not in read)
    why = why or next((_no_kernel(kind, target) for kind in lacking), "")
    if why:
        return why
    if rule.sharing is Sharing.SAME and len({*steps, *outputs}) > 1 and not kinds <= rule.apart:
        return f"{target.title} wants one scale for what goes in and out"
    if rule.fixed is not None and any(step != fixed_parameters(rule.fixed, step.dtype) for step in outputs):
        return f"{target.title} wants another scale for its output"
    if not _leaves_room(found, rule, steps, outputs):
        return f"{target.title} cannot enlarge it so much"
    if rule.weights is None or rule.weights[0] in data:
        return ""
    if dequantizer(anchor.inputs[rule.weights[0]]) is None:
        return "its weights are not quantised"
    weights = anchor.inputs[rule.weights[0]]
    if why := _narrow(anchor, rule, kinds):
        return why
    if not is_symmetric(weights) and not _any_zero_point(weights, kinds, stored):
        return "its weights have a zero point"
    return "" if _bias_fits(found, rule) else "its bias has another scale than the products"


def _narrow(anchor: ir.Node, rule: OpRule, kinds: set[str]) -> str:
    """Why no integer kernel takes weights of so few bits, or of blocks; "" for others."""
    node = dequantizer(anchor.inputs[rule.weights[0]]) if rule.weights is not None else None
    stored = weights_behind(node.outputs[0]) if node is not None else None
    if node is None or stored is None or stored.dtype is not ir.DataType.INT4:
        return "its weights have scales of blocks" if node is not None and block_of(node) else ""
    storages = (Storage(kind, "int4", block=block_of(node)) for kind in sorted(kinds))
    return next((why for storage in storages if (why := rule.int4(anchor, storage))), "")


def _any_zero_point(weights: ir.Value | None, kinds: set[str], stored: Iterable[Storage]) -> bool:
    """Whether weights by one scale are stored as some scheme stores them that knows no symmetry: by uint8."""
    how = parameters_of(dequantizer(weights))
    return how is not None and any({row.activations} == kinds and how.dtype == row.weights == "uint8" for row in stored)


def _steps(node: ir.Node | None) -> Iterator[Parameters]:
    step = parameters_of(node)
    if step is not None:
        yield step


def _leaves_room(found: Group, rule: OpRule, inputs: list[Parameters], outputs: list[Parameters]) -> bool:
    """Whether the steps of the first operand, by those of weights, are less than `rule.rescale` times the output's."""
    weights = found.anchor.inputs[rule.weights[0]] if rule.weights is not None else None
    node = dequantizer(weights) if is_weight(weights) else None
    scales = scales_of(node) if node is not None else None
    factor = float(scales[0].max(initial=0.0)) if scales is not None else 1.0
    return all(inputs[0].scale * factor < rule.rescale * step.scale for step in outputs) if inputs else True


def _bias_fits(found: Group, rule: OpRule) -> bool:
    """A bias in integers has the scale of the products."""
    assert rule.weights is not None
    place = bias_of(found, rule)
    if place is None:
        return True
    operands = (found.anchor.inputs[index] for index in (0, rule.weights[0]))
    nodes = [dequantizer(value) for value in (place[0].inputs[place[1]], *operands)]
    scales = [scales_of(node) if node is not None else None for node in nodes]
    bias, source, weights = (scale[0] if scale is not None else None for scale in scales)
    if nodes[0] is None or bias is None or source is None or weights is None:
        return False
    stored = tensor_of(nodes[0].inputs[0])
    products = source * weights
    fits = bias.size in (1, products.size) and np.allclose(bias, products, rtol=1e-5, atol=0)
    return stored is not None and stored.dtype is ir.DataType.INT32 and bool(fits)


def _shape(value: ir.Value | None) -> tuple[object, ...]:
    return tuple(value.shape) if value is not None and value.shape is not None else ()
