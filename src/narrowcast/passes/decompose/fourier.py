"""Discrete Fourier transforms as products with matrices of cosines and sines.

DFT (https://onnx.ai/onnx/operators/onnx__DFT.html): real or complex, forward or inverse, one- or two-sided, along any
axis, of any length; complex numbers are pairs along the last axis.
"""

from __future__ import annotations

import numpy as np

from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, scalar_of

RULES = RuleSet()

LARGEST = 4096
"""Longer transforms would need matrices of more than 2^24 numbers."""


@RULES.rule("DFT")
def transform(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """All of it."""
    source, shape = node.inputs[0], dims(node.inputs[0])
    if source is None or shape is None or source.dtype is not ir.DataType.FLOAT:
        return False
    inputs = [*node.inputs, None, None]
    length, axis = inputs[1], inputs[2]
    place = node.attributes.get_int("axis", -2) if axis is None else scalar_of(axis)
    size = None if length is None else scalar_of(length)
    if place is None or (length is not None and size is None):
        return "its axis or length is computed"
    rank = len(shape)
    along = int(place) % rank
    inverse = node.attributes.get_int("inverse", 0) != 0
    onesided = node.attributes.get_int("onesided", 0) != 0
    count = _points(shape[along], size, inverse=inverse, onesided=onesided)
    if count > LARGEST:
        return f"{count} points are too many"
    cosines, sines = _matrices(count, inverse=inverse, onesided=onesided)
    f = Formula(node, rewriter)
    parts = [f.reshape(f.slice(source, rank - 1, i, i + 1), shape[:-1]) for i in range(shape[-1])]
    perm = [i for i in range(rank - 1) if i != along] + [along]
    turned = [_fitted(f, f.transpose(part, perm), cosines.shape[0]) for part in parts]
    real = _product(f, turned[0], cosines)
    imaginary = _product(f, turned[0], sines)
    if len(turned) > 1:
        real = f("Sub", real, _product(f, turned[1], sines))
        imaginary = f("Add", imaginary, _product(f, turned[1], cosines))
    back = [perm.index(i) for i in range(rank - 1)]
    wanted = (dims(node.outputs[0]) or (2,))[-1]
    made = [f.transpose(value, back) for value in (real, imaginary)[:wanted]]
    columns = [f.reshape(value, [*(dims(value) or ()), 1]) for value in made]
    return f.becomes(f.concat(columns, rank - 1))


def _points(size: int, length: float | None, *, inverse: bool, onesided: bool) -> int:
    if length is not None:
        return int(length)
    return 2 * (size - 1) if inverse and onesided else size


def _matrices(count: int, *, inverse: bool, onesided: bool) -> tuple[Array, Array]:
    """Real and imaginary part of exp(-+2 pi i k t / count), float64 [in, out]."""
    half = count // 2 + 1 if onesided else count
    angles = 2 * np.pi / count * np.outer(np.arange(count), np.arange(half))
    if not inverse:
        return np.cos(angles), -np.sin(angles)
    weights = np.ones(half)
    if onesided:  # the other half is the conjugate of this one
        weights[1 : (count + 1) // 2] = 2.0
    scaled = weights[:, None] / count
    return np.cos(angles.T) * scaled, np.sin(angles.T) * scaled


def _fitted(f: Formula, value: ir.Value, size: int) -> ir.Value:
    """The last axis cut or padded with zeros."""
    shape = dims(value) or ()
    last = len(shape) - 1
    value = f.slice(value, last, 0, min(size, shape[last]))
    return f.pad(value, [0] * len(shape), [*[0] * last, max(size - shape[last], 0)])


def _product(f: Formula, value: ir.Value, matrix: Array) -> ir.Value:
    shape = dims(value) or ()
    flat = f.reshape(value, [-1 if len(shape) == 1 else int(np.prod(shape[:-1])), shape[-1]])
    made = f.product(flat, f.constant(matrix, np.float32, "fourier"))
    return f.reshape(made, [*shape[:-1], matrix.shape[1]])
