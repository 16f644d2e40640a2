"""Every operator case through the writer: LiteRT against ONNX Runtime, in float, in integers, in 16x8."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from narrowcast import runtimes
from narrowcast.evaluation.parity import verify
from narrowcast.evaluation.ports import feed_for, outputs_as_source
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.quantization import quantize
from narrowcast.reference import Reference
from narrowcast.targets.decide import decide
from narrowcast.targets.groups import activation_of, groups_of
from narrowcast.targets.litert import LITERT
from narrowcast.writers.formats import write
from tests.cases import CASES
from tests.passes.layout.physical_graphs import run


def written(model, path, io_layout="target"):
    """Writes, opens, and returns a function from a feed to the outputs as the source has them."""
    found = write(model, path, io_layout=io_layout)
    runner = runtimes.open(path, "litert")
    return lambda feed: outputs_as_source(found.outputs, runner.run(feed_for(found, feed))), runner


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("io_layout", ["target", "source"])
def test_float(case, io_layout, tmp_path):
    model = case.model()
    feed = case.feed()
    expected = run(model.ir, feed)
    canonicalize(model)
    decompose(model, "litert")
    predict, _ = written(model, tmp_path / "case.tflite", io_layout)
    found = predict(feed)
    for spec, want in zip(model.outputs, expected, strict=True):
        np.testing.assert_allclose(found[spec.name], want, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decomposition_is_exact_and_idempotent(case):
    model = case.model()
    feed = case.feed()
    expected = run(model.ir, feed)
    canonicalize(model)
    decompose(model, "litert")
    found = Reference(model).run(feed)
    for want, got in zip(expected, (found[spec.name] for spec in model.outputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    before = [(node.op_type, node.name) for node in model.graph]
    canonicalize(model)
    decompose(model, "litert")
    assert [(node.op_type, node.name) for node in model.graph] == before


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8"])
@pytest.mark.parametrize("case", [case for case in CASES if case.smooth], ids=lambda case: case.name)
def test_integers(case, scheme, tmp_path):
    """LiteRT's integers, layer by layer, are those of the quantised graph in ONNX Runtime but for roundings.

    What the scheme itself costs is bounded too.
    """
    model = case.model()
    canonicalize(model)
    decompose(model, "litert", keep_recurrent=True)
    feeds = [case.feed(seed) for seed in range(4)]
    quantised = quantize(model, scheme, LITERT, feeds=feeds)
    path = tmp_path / "case.tflite"
    proof = verify(model, path, write(quantised, path), feeds=feeds)
    assert not proof.wrong_layers
    assert proof.translated
    assert proof.sqnr_db > (35 if scheme == "int16x8" else 20)
    assert not proof.needs
    names, _ = runtimes.open(path, "litert").operators()
    if case.integer and scheme == "full_int8":
        assert "DEQUANTIZE" not in names, f"a float island: {dict(names)}"


@cache
def computed(scheme):
    """The rows of LiteRT's integers that some case above computes by."""
    found = set()
    for case in CASES:
        model = case.model()
        canonicalize(model)
        decompose(model, "litert", keep_recurrent=True)
        quantised = quantize(model, scheme, LITERT, feeds=[case.feed()])
        for grouped in groups_of(quantised.graph, LITERT):
            verdict = decide(grouped, LITERT)
            if verdict.integer:
                found |= {name for name, rule in LITERT.integers.items() if rule is verdict.rule} & names_of(
                    grouped.anchor
                )
    return found


def names_of(node):
    return {activation_of(node), node.op_type, f"{node.domain}::{node.op_type}"}


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        (name, scheme)
        for name, rule in LITERT.integers.items()
        for scheme, has in (("full_int8", rule.int8), ("int16x8", rule.int16))
        if has and not name.startswith("narrowcast::")  # LSTM and SVDF: tests/readers/tflite/test_recurrent.py
    ],
)
def test_every_integer_kernel_has_a_case(name, scheme):
    """So that `test_integers` shows of each that it is within a step of the graph."""
    assert name in computed(scheme)
