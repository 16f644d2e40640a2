# ruff: noqa: RUF001 - typographic signs are meant
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.report import text


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (13_900_000, "13.9 MB"),
        (2_300_000_000, "2.30 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_byte_size(count, shown):
    assert text.byte_size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (71.3, "71.3 s"),
        (1.0, "1.00 s"),
        (0.99999, "1.00 s"),
        (0.0123, "12.3 ms"),
        (0.000151, "151 µs"),
        (2e-7, "0.200 µs"),
    ],
)
def test_duration(seconds, shown):
    assert text.duration(seconds) == shown


def test_spread_is_in_the_median_s_unit():
    assert text.spread(0.0248, 0.0242, 0.0254) == "24.8 ±0.6 ms"
    assert text.spread(0.00602, 0.0059, 0.0062) == "6.02 ±0.15 ms"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.012, "+1.2 pp"), (-0.014, "−1.4 pp"), (0.0, "±0.0 pp"), (-0.0004, "±0.0 pp"), (None, "–")]
)
def test_points(value, shown):
    assert text.points(value) == shown


@pytest.mark.parametrize(
    ("value", "base", "shown"),
    [(25, 100, "÷4.0"), (200, 100, "×2.0"), (100, 100, "×1.0"), (0, 5, "–"), (5, None, "–"), (1, 1000, "÷1000")],
)
def test_ratio(value, base, shown):
    assert text.ratio(value, base) == shown


def test_decibels_of_equal_arrays():
    assert text.decibels(math.inf) == "∞"
    assert text.decibels(62.14) == "62.1 dB"


@pytest.mark.parametrize("char", ["\x1b", "\r", "\n", "\x07", "\u202e", "\u200b", "\x9b", "\ufeff", "\ud800"])
def test_printable_escapes_what_drives_a_terminal(char):
    shown = text.printable(f"a{char}b")
    assert char not in shown
    assert shown.startswith("a\\")


@given(st.text())
def test_printable_is_idempotent_and_printable(value):
    shown = text.printable(value)
    assert shown.isprintable()
    assert text.printable(shown) == shown


@given(st.floats(1e-3, 1e6))
def test_three_digits_are_within_half_a_percent(value):
    assert float(text.digits(value)) == pytest.approx(value, rel=0.006, abs=6e-4)


@pytest.mark.parametrize(
    ("value", "unit", "shown", "change"),
    [
        (0.9213, "share", "92.1 %", "+92.1 pp"),
        (31.44, "dB", "31.4 dB", "+31.4 dB"),
        (-2.5, "dB", "-2.5 dB", "−2.5 dB"),
        (0.012345, "", "0.01235", "+0.01235"),
        (0.0, "", "0", "±0"),
    ],
)
def test_figures_of_a_metric(value, unit, shown, change):
    assert text.amount(value, unit) == shown
    assert text.signed(value, unit) == change
