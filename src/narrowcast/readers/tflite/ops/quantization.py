"""Operators between real numbers and what stores them."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.file import Quantization
from narrowcast.readers.tflite.registry import Site, reads


@reads("QUANTIZE", "DENSIFY")
def quantize(site: Site) -> Tensor:
    """Real numbers to integers, or integers to those of another scale; the network rounds."""
    x = site.input(0)
    return Tensor(x.shape, x.dtype, x.value, x.first)


@reads("DEQUANTIZE")
def dequantize(site: Site) -> Tensor:
    """Integers or half floats to real numbers."""
    x = site.input(0)
    return site.g.cast(Tensor(x.shape, x.dtype, x.value, x.first), np.float32)


@reads("FAKE_QUANT")
def fake_quant(site: Site) -> Tensor:
    """Real numbers as integers would have them: QuantizeLinear and DequantizeLinear.

    The range is moved so that 0 is one of the steps (NudgeQuantizationRange in
    tflite/kernels/internal/quantization_util.cc).
    """
    g, x, bits = site.g, site.input(0), site.option("num_bits")
    low, high = np.float32(site.option("min")), np.float32(site.option("max"))
    if not 2 <= bits <= 16 or not low <= 0 <= high or low == high:
        raise ModelFileError(f"it has {bits} bits between {low} and {high}")
    if site.flag("narrow_range"):
        raise UnsupportedOpError("its range is narrow, which LiteRT does not run either", hint="quantise the original")
    most = np.float32((1 << bits) - 1)
    scale = np.float32((high - low) / most)
    zero = int(np.clip(np.floor(-low / scale + np.float32(0.5)), 0, most))
    dtype = np.dtype(np.uint8 if bits <= 8 else np.uint16)
    if bits not in (8, 16):
        x = g.pointwise("Clip", x, float(-zero * scale), float((most - zero) * scale))
    made = g.quantised(x, Quantization(np.array([scale]), np.array([zero], np.int64)), dtype)
    return Tensor(made.shape, made.dtype, made.value, made.first)
