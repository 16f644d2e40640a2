# ruff: noqa: RUF001, RUF002 - typographic signs are meant
"""Numbers and names as a reader wants them: three significant digits, a unit, nothing that could drive a terminal."""

from __future__ import annotations

import math

__all__ = [
    "DASH",
    "amount",
    "byte_size",
    "decibels",
    "duration",
    "percent",
    "plural",
    "points",
    "printable",
    "ratio",
    "signed",
    "spread",
]

DASH = "–"
"""Stands for "not measured"."""

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")
_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def printable(text: object) -> str:
    """`text` with every control, format and separator character but the space written as an escape.

    Names come out of files, and files come from anywhere: a tensor may be called by the escape sequence that
    clears a screen, or by the mark that turns the reading direction.
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in plain)


def digits(value: float) -> str:
    """Three significant digits without an exponent: 0.123, 1.23, 12.3, 123, 1234."""
    return f"{value:.{_places(value)}f}"


def _places(value: float) -> int:
    magnitude = abs(value)
    return 0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2 if magnitude >= 0.9995 else 3


def byte_size(count: int | None) -> str:
    """Bytes in decimal units, as disks and flash memories count them: 13.9 MB."""
    if count is None:
        return DASH
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_BYTE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{digits(value) if unit else count} {_BYTE_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits them: 12.3 ms."""
    if seconds is None:
        return DASH
    scale, unit = _time_unit(seconds)
    return f"{digits(seconds / scale)} {unit}"


def spread(seconds: float, low: float, high: float) -> str:
    """A median and half the range around it, in one unit: 12.3 ±0.4 ms."""
    scale, unit = _time_unit(seconds)
    half = (high - low) / 2 / scale
    return f"{digits(seconds / scale)} ±{half:.{_places(seconds / scale)}f} {unit}"


def _time_unit(seconds: float) -> tuple[float, str]:
    return next((row for row in _TIME_UNITS if abs(seconds) >= row[0] * 0.9995), _TIME_UNITS[-1])


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with one decimal: 86.2 %."""
    return DASH if fraction is None else f"{fraction * 100:.1f} %"


def points(difference: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign: −1.4 pp."""
    if difference is None:
        return DASH
    text = f"{abs(difference) * 100:.1f}"
    sign = "±" if text == "0.0" else "+" if difference > 0 else "−"
    return f"{sign}{text} pp"


def ratio(value: float | None, base: float | None) -> str:
    """How much smaller (or larger) than `base`: 3.9× smaller is "÷3.9", twice as large "×2.0"."""
    if not value or not base:
        return DASH
    quotient = value / base
    factor, sign = (quotient, "×") if quotient >= 1 else (1 / quotient, "÷")
    return f"{sign}{factor:.1f}" if factor < 99.95 else f"{sign}{factor:.0f}"


def decibels(value: float) -> str:
    """A signal-to-noise ratio: 62.1 dB, or ∞ for equal arrays."""
    return ("∞" if value > 0 else "−∞") if math.isinf(value) else f"{value:.1f} dB"


def amount(value: float, unit: str) -> str:
    """A metric's figure in its unit: 92.1 % of a share, 31.4 dB, or a number."""
    return percent(value) if unit == "share" else decibels(value) if unit == "dB" else f"{value:.4g}"


def signed(difference: float, unit: str) -> str:
    """A difference of two figures, with its sign: −1.4 pp, +0.3 dB."""
    if unit == "share":
        return points(difference)
    sign = "+" if difference > 0 else "−" if difference < 0 else "±"
    return f"{sign}{amount(abs(difference), unit)}"


def plural(count: int, noun: str) -> str:
    """1 file, 2 files."""
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"
