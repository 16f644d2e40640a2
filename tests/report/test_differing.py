# ruff: noqa: RUF001 - typographic signs are meant
"""Differences as tables."""

from __future__ import annotations

from dataclasses import replace

from narrowcast.report import differing, tables

from . import samples


def told(result):
    return [line.split() for line in tables.plain(differing.view(result)).splitlines()]


def test_everything_is_told_and_an_operator_named_once():
    lines = told(samples.differences())
    bounds = ["absolute", "values", "up", "to", "1.5", "12", "elements", "by", "up", "to", "0.25"]
    for wanted in (
        ["x", "input", "shape", "1×3×?", "2×3×8"],
        ["Neg", "0", "1", "+1"],
        ["stem/conv", "Conv", "attribute", "kernel_shape", "[3,", "3]", "–"],
        ["quantisation", "–", "0.5,", "3"],
        ["inside", "in", "graph", "1", "Gemm", "B", "elements", *bounds],
        ["negate", "Neg"],
        ["7", "operators", "matched"],
    ):
        assert [word.rstrip() for word in wanted] in lines
    assert not any(line[:4] == ["only", "in", "the", "first"] for line in lines)


def test_nothing():
    alike = replace(samples.differences(), ports=(), types=(), operators=(), only_second=(), notes=())
    assert told(alike)[-1] == ["nothing", "differs:", "7", "operators"]


def test_long_tables_are_cut_and_counted():
    result = samples.differences()
    many = replace(result, operators=result.operators * 40)
    assert ["and", "80", "more,", "which", "--json", "has"] in told(many)
