"""Discrete Fourier transforms as products with matrices of cosines and sines; complex numbers are pairs, last axis.

1. DFT (https://onnx.ai/onnx/operators/onnx__DFT.html): real or complex, forward or inverse, one- or two-sided, along
   any axis, of any length; along a computed axis, that of those which give the output's shape.
2. narrowcast::Magnitude(x [..., points]) -> y [..., points // 2 + 1], of the half of a spectrum that says all.
3. STFT (https://onnx.ai/onnx/operators/onnx__STFT.html): the frames side by side, times the window, then as a DFT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.build import input_of
from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, need, operands, require, scalar_of, static_shape

RULES = RuleSet()

LARGEST = 4096
"""Longer transforms would need matrices of more than 2^24 numbers."""


@RULES.rule("DFT")
def transform(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    require(source.dtype is ir.DataType.FLOAT)
    length, axis = input_of(node, 1), input_of(node, 2)
    size = None if length is None else need(scalar_of(length), "its length is computed")
    place = node.attributes.get_int("axis", -2) if axis is None else scalar_of(axis)
    rank = len(shape)
    inverse, onesided = (node.attributes.get_int(name, 0) != 0 for name in ("inverse", "onesided"))
    f = Formula(node, rewriter)
    if place is not None:
        count = _points(shape[int(place) % rank], size, inverse=inverse, onesided=onesided)
        require(count <= LARGEST, f"{count} points are too many")
        return f.becomes(_along(f, source, int(place) % rank, count, inverse=inverse, onesided=onesided))
    out = need(dims(node.outputs[0]), "its axis is computed")
    counts = {along: _points(shape[along], size, inverse=inverse, onesided=onesided) for along in range(rank - 1)}
    lengths = {along: count // 2 + 1 if onesided and not inverse else count for along, count in counts.items()}
    fitting = [a for a, long in lengths.items() if out == (*shape[:a], long, *shape[a + 1 : -1], out[-1])]
    require(fitting and max(counts[along] for along in fitting) <= LARGEST, "its axis is computed")
    made = {along: _along(f, source, along, counts[along], inverse=inverse, onesided=onesided) for along in fitting}
    chosen, found = f.reshape(need(axis), []), made.pop(fitting[0])
    for along, value in made.items():
        found = f("Where", f("Or", f("Equal", chosen, along), f("Equal", chosen, along - rank)), value, found)
    return f.becomes(found)


def _along(f: Formula, source: ir.Value, along: int, count: int, *, inverse: bool, onesided: bool) -> ir.Value:
    """The transform of `count` points along one axis."""
    shape = static_shape(source)
    rank = len(shape)
    cosines, sines = _matrices(count, inverse=inverse, onesided=onesided)
    parts = [f.reshape(f.slice(source, rank - 1, i, i + 1), shape[:-1]) for i in range(shape[-1])]
    perm = [i for i in range(rank - 1) if i != along] + [along]
    turned = [_fitted(f, f.transpose(part, perm), cosines.shape[0]) for part in parts]
    real, imaginary = _spectrum(f, turned, cosines, sines)
    back = [perm.index(i) for i in range(rank - 1)]
    wanted = (dims(f.output) or (2,))[-1]
    made = [f.transpose(value, back) for value in (real, imaginary)[:wanted]]
    return f.concat([f.reshape(value, [*static_shape(value), 1]) for value in made], rank - 1)


@RULES.rule("STFT")
def short_time(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3: signal [batch, length, 1 or 2], step, window and frame length -> [batch, frames, points, 2]."""
    (signal, step), window, length = operands(node, 2), input_of(node, 2), input_of(node, 3)
    shape, frames = static_shape(signal), static_shape(node.outputs[0])[1]
    require(signal.dtype is ir.DataType.FLOAT)
    size = static_shape(window)[0] if length is None else need(scalar_of(length), "its length is computed")
    count, onesided = int(size), node.attributes.get_int("onesided", 1) != 0
    fits = count <= LARGEST and frames * count <= LARGEST**2
    require(fits, f"{frames} frames of {count} points are too many")
    f = Formula(node, rewriter)
    hop, firsts = scalar_of(step), np.arange(frames)[:, None]
    places: ir.Value | Array = firsts * int(hop or 0) + np.arange(count)
    if hop is None:
        places = f("Add", f("Mul", f.constant(firsts), f.cast(f.reshape(step, []), np.int64)), np.arange(count))
    parts = [f.reshape(f.slice(signal, 2, i, i + 1), shape[:2]) for i in range(shape[2] if len(shape) > 2 else 1)]
    framed = [f.gather(part, places, 1) for part in parts]
    if window is not None:
        framed = [f("Mul", part, window) for part in framed]
    values = _spectrum(f, framed, *_matrices(count, inverse=False, onesided=onesided))
    return f.becomes(f.concat([f.reshape(value, [*static_shape(value), 1]) for value in values], 3))


def _spectrum(f: Formula, parts: Sequence[ir.Value], cosines: Array, sines: Array) -> tuple[ir.Value, ir.Value]:
    """Real and imaginary part of the transform of a real part and, where there is one, an imaginary part."""
    real, imaginary = _product(f, parts[0], cosines), _product(f, parts[0], sines)
    if len(parts) > 1:
        real = f("Sub", real, _product(f, parts[1], sines))
        imaginary = f("Add", imaginary, _product(f, parts[1], cosines))
    return real, imaginary


@RULES.rule("narrowcast::Magnitude")
def magnitude(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    source, count = need(node.inputs[0]), static_shape(node.inputs[0])[-1]
    require(count <= LARGEST, f"{count} points are too many")
    f = Formula(node, rewriter)
    parts = [_product(f, source, matrix) for matrix in _matrices(count, inverse=False, onesided=True)]
    return f.becomes(f("Sqrt", f("Add", *(f("Mul", part, part) for part in parts))))


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
    shape = static_shape(value)
    last = len(shape) - 1
    value = f.slice(value, last, 0, min(size, shape[last]))
    return f.pad(value, [0] * len(shape), [*[0] * last, max(size - shape[last], 0)])


def _product(f: Formula, value: ir.Value, matrix: Array) -> ir.Value:
    shape = static_shape(value)
    flat = f.reshape(value, [-1 if len(shape) == 1 else int(np.prod(shape[:-1])), shape[-1]])
    made = f.product(flat, f.constant(matrix, np.float32, "fourier"))
    return f.reshape(made, [*shape[:-1], matrix.shape[1]])
