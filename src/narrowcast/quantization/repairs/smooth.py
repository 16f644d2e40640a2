"""SmoothQuant: channels that are large in an activation are made smaller, and the weights that read them larger.

Transformers have a few channels that are far larger than the others behind a normalisation, and one scale for all of
them. Its gain and offset, divided by s[c], and the rows of the matrices that read it, multiplied by s[c], compute the
same; s[c] = max|x[c]|^a / max|w[c]|^(1 - a) shares the difficulty between the two (G. Xiao et al., SmoothQuant,
https://arxiv.org/abs/2211.10438, equation 4, with a = 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import Builder, constant_of, dims
from narrowcast.model import Array, Model, ir
from narrowcast.quantization.repairs import Evidence
from narrowcast.quantization.repairs.peaks import channel_peaks

__all__ = ["repair"]

ALPHA = 0.5
LARGEST = 1e4
"""Of a factor, either way."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A value whose channels, along its last axis, can be scaled by constants around it.

    Attributes:
        value: the activation.
        before: the nodes with constants that make it, and at which input.
        after: the products that read it, and the axis of its channels in their weights.
    """

    value: ir.Value
    before: tuple[tuple[ir.Node, int], ...]
    after: tuple[tuple[ir.Node, int], ...]


def repair(model: Model, evidence: Evidence) -> Model:
    """A copy of a float model with smoother activations; see `repairs.repaired`."""
    copy = model.clone()
    places = [place for node in copy.graph for value in node.outputs[:1] if (place := _place(value)) is not None]
    if places:
        peaks = channel_peaks(copy, {place.value.name or "": -1 for place in places}, evidence)
        for place in places:
            _smooth(Builder(copy.graph), place, peaks[place.value.name or ""].astype(np.float64))
    return copy


def _place(value: ir.Value) -> _Place | None:
    """What is around a value, if all of it can be scaled."""
    before, after = _gains(value), _products(value)
    return _Place(value, tuple(before), tuple(after)) if before and after else None


def _gains(value: ir.Value) -> list[tuple[ir.Node, int]]:
    """The constants along the last axis that a value is proportional to together."""
    node, channels = value.producer(), (dims(value) or (0,))[-1]
    if node is None or node.domain:
        return []
    if node.op_type in ("LayerNormalization", "RMSNormalization"):
        places = [index for index in (1, 2) if index < len(node.inputs) and node.inputs[index] is not None]
        return [(node, index) for index in places] if all(_along(node, index, channels) for index in places) else []
    if node.op_type not in ("Add", "Mul"):
        return []
    index = next((index for index in (1, 0) if _along(node, index, channels)), None)
    other = None if index is None else node.inputs[1 - index]
    if index is None or other is None:
        return []
    if node.op_type == "Mul":
        return [(node, index)]
    only = len(other.uses()) == 1 and not other.is_graph_output()
    inner = _gains(other) if only else []
    return [*inner, (node, index)] if inner else []


def _along(node: ir.Node, index: int, channels: int) -> bool:
    """Whether an input is a float constant with one number for each channel."""
    array = constant_of(node.inputs[index])
    fits = array is not None and array.dtype == np.float32 and array.ndim > 0
    return fits and array is not None and array.size == array.shape[-1] == channels > 1


def _products(value: ir.Value) -> list[tuple[ir.Node, int]]:
    """The products that alone read a value's channels as their inputs, through reshapes that leave these last."""
    found: list[tuple[ir.Node, int]] = []
    pending = [value]
    while pending:
        read = pending.pop()
        if read.is_graph_output():
            return []
        for use in read.uses():
            node = use.node
            weights = constant_of(node.inputs[1]) if node.op_type in ("Gemm", "MatMul") and not node.domain else None
            if node.op_type == "Reshape" and not node.domain and _last(node.outputs[0]) == _last(value):
                pending.append(node.outputs[0])
            elif use.idx == 0 and weights is not None and weights.ndim == 2:
                found.append((node, 1 if node.op_type == "Gemm" else 0))
            else:
                return []
    return found


def _last(value: ir.Value) -> int | None:
    shape = dims(value)
    return shape[-1] if shape else None


def _smooth(build: Builder, place: _Place, peaks: Array) -> None:
    """Divides a value's channels, and multiplies the weights that read them."""
    weights = [(node, axis, constant_of(node.inputs[1])) for node, axis in place.after]
    rows = [np.abs(array).max(axis=1 - axis) for _, axis, array in weights if array is not None]
    reach = np.maximum.reduce(rows).astype(np.float64)
    alive = (peaks > 0) & (reach > 0)
    factor = np.ones(peaks.shape)
    factor[alive] = peaks[alive] ** ALPHA / reach[alive] ** (1 - ALPHA)
    factor = np.clip(factor / np.exp(np.log(factor).mean()), 1 / LARGEST, LARGEST)
    for node, index in place.before:
        old = constant_of(node.inputs[index])
        assert old is not None
        node.replace_input_with(index, build.constant((old / factor).astype(np.float32), "gain"))
    for node, axis, array in weights:
        assert array is not None
        scaled = (array * (factor if axis else factor[:, None])).astype(np.float32)
        node.replace_input_with(1, build.constant(scaled, f"{node.name}/smooth"))
