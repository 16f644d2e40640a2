"""Quantisation after training: ranges are calibrated, integers assigned, and the graph says so in one spelling.

What calibrates and quantises is imported on its first use: a conversion asks for the name of a scheme alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from narrowcast._extras import on_first_use
from narrowcast.quantization.scheme import NOTES, SCHEMES, Scheme, add_note, notes_of, scheme_named, scheme_of

if TYPE_CHECKING:
    from narrowcast.quantization.assign import Island
    from narrowcast.quantization.calibration import Observed, Ranges, Watch, calibrate, covers, everywhere, recorded
    from narrowcast.quantization.dequantize import dequantize
    from narrowcast.quantization.overrides import Overrides, needs_ranges
    from narrowcast.quantization.pipeline import islands, quantize
    from narrowcast.quantization.weights import IntegerWeights

__all__ = [
    "NOTES",
    "SCHEMES",
    "IntegerWeights",
    "Island",
    "Observed",
    "Overrides",
    "Ranges",
    "Scheme",
    "Watch",
    "add_note",
    "calibrate",
    "covers",
    "dequantize",
    "everywhere",
    "islands",
    "needs_ranges",
    "notes_of",
    "quantize",
    "recorded",
    "scheme_named",
    "scheme_of",
]

__getattr__ = on_first_use(
    globals(),
    {
        "narrowcast.quantization.assign": ("Island",),
        "narrowcast.quantization.calibration": (
            "Observed",
            "Ranges",
            "Watch",
            "calibrate",
            "covers",
            "everywhere",
            "recorded",
        ),
        "narrowcast.quantization.dequantize": ("dequantize",),
        "narrowcast.quantization.overrides": ("Overrides", "needs_ranges"),
        "narrowcast.quantization.pipeline": ("islands", "quantize"),
        "narrowcast.quantization.weights": ("IntegerWeights",),
    },
)
