"""Fourier transforms and complex numbers, which ONNX has as pairs of real ones along another axis.

What a file mostly asks of a spectrum is its magnitude, so it is emitted where it is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import NARROWCAST
from narrowcast.readers.emit import Shape, Tensor
from narrowcast.readers.tflite.emit import Spectrum
from narrowcast.readers.tflite.registry import Site, reads

LONGEST = 1 << 16
"""Points of a transform."""


@reads("RFFT2D")
def rfft2d(site: Site) -> Tensor:
    """The half of the spectrum that says all, [..., height, width // 2 + 1]."""
    x, lengths = site.input(0), site.ints(1)
    if x.rank < 2 or len(lengths) != 2 or not 1 <= min(lengths) <= max(lengths) <= LONGEST:
        raise ModelFileError(f"it transforms a tensor of shape {x.shape} by {lengths} points")
    height, width = lengths
    shape = (*x.shape[:-2], height, width // 2 + 1)
    return Spectrum(shape, np.dtype(np.complex64), source=x, lengths=(height, width))


@reads("COMPLEX_ABS")
def magnitude(site: Site) -> Tensor:
    """The distance from zero."""
    x = _spectrum(site)
    height, width = x.lengths
    if height == 1 and x.source.shape[-2] == 1 and width == x.source.shape[-1]:
        made = site.g.op("Magnitude", x.source, shape=x.own_shape, domain=NARROWCAST)
    else:
        made = site.g.reduce("ReduceL2", _pair(site, x), [x.source.rank])
    return site.g.reshape(made, x.shape)


@reads("REAL", "IMAG")
def part(site: Site) -> Tensor:
    """One of both parts."""
    x = _spectrum(site)
    place = 0 if site.operator.name == "REAL" else 1
    return site.g.reshape(site.g.cut(_pair(site, x), {x.source.rank: range(place, place + 1)}), x.shape)


def _spectrum(site: Site) -> Spectrum:
    x = site.input(0)
    if not isinstance(x, Spectrum):
        raise UnsupportedOpError("its complex numbers come from no RFFT2D")
    return x


def _pair(site: Site, x: Spectrum) -> Tensor:
    """The parts of a spectrum along a new last axis, [..., height, width // 2 + 1, 2]."""
    g, (height, width), source = site.g, x.lengths, x.source
    if height < source.dim(-2):
        source = g.cut(source, {source.rank - 2: range(height)})
    value = g.reshape(source, (*source.shape, 1))
    value = _transform(site, value, width, -2, (*source.shape[:-1], width // 2 + 1, 2), onesided=1)
    return value if height == 1 else _transform(site, value, height, -3, (*x.own_shape, 2), onesided=0)


def _transform(site: Site, x: Tensor, count: int, axis: int, shape: Sequence[int | str], *, onesided: int) -> Tensor:
    g = site.g
    made: Shape = tuple(shape)
    points = [g.constant(np.int64(number), "transform") for number in (count, axis)]
    return g.op("DFT", x, *points, shape=made, onesided=onesided)
