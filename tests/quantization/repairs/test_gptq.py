"""GPTQ: weights rounded by what their layer computes, beside its definition, brute force and whole networks."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import narrowcast
from narrowcast import quantization, targets
from narrowcast.evaluation.judge import Judge
from narrowcast.model import ir
from narrowcast.passes.prepare import adapt
from narrowcast.quantization.repairs import Evidence, moments, repaired
from narrowcast.quantization.repairs.gptq import DAMPING, output_error, rounded
from narrowcast.quantization.repairs.layers import layers_of, range_of
from narrowcast.reference import Reference
from tests.quantization.repairs.networks import LAYERS, network

RANDOM = np.random.default_rng(0)


def drawn(random, groups=1, out=3, inner=4, count=20, dead=0):
    """Weights, their steps, and inputs that have much in common."""
    weights = random.normal(size=(groups, out, inner))
    steps = np.abs(weights).max(axis=2, keepdims=True) / 7
    source = random.normal(size=(groups, inner, count)) + 2 * random.normal(size=(groups, 1, count))
    source[:, inner - dead :] = 0
    return weights, steps, source @ source.swapaxes(1, 2) / count


def by_definition(weights, steps, bounds, moment):
    """Column by column, the rest solved anew for the least damped error each time."""
    damped = moment + DAMPING * np.diag(moment).mean() * np.eye(len(moment))
    order = np.argsort(-np.diag(moment), kind="stable")
    found = weights.copy()
    for done in range(len(order)):
        fixed, free = order[:done], order[done:]
        gap = weights[fixed] - found[fixed]
        best = weights[free] + np.linalg.solve(damped[np.ix_(free, free)], damped[np.ix_(free, fixed)] @ gap)
        found[order[done]] = np.clip(np.rint(best[0] / steps[order[done]]), *bounds) * steps[order[done]]
    return np.rint(found / steps)


@pytest.mark.parametrize("inner", [1, 5, 140])
def test_it_rounds_by_its_definition(inner):
    weights, steps, moment = drawn(RANDOM, inner=inner, count=4 * inner)
    found = rounded(weights, steps, (-7, 7), moment)[0]
    nearest = np.clip(np.rint(weights / steps), -7, 7)[0]
    wrong, moved = 0, 0
    for row, scale, whole, got in zip(weights[0], steps[0], nearest, found, strict=True):
        wanted = by_definition(row, np.broadcast_to(scale, row.shape), (-7, 7), moment[0])
        errors = [output_error((integers * scale - row)[None, None], moment) for integers in (wanted, whole)]
        wrong += not np.array_equal(got, wanted if errors[0] < errors[1] else whole)
        moved += not np.array_equal(got, whole)
    assert wrong == 0
    assert moved > 0 or inner == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 9), st.integers(0, 2), st.booleans())
def test_no_layer_computes_worse_than_by_the_nearest_integers(seed, groups, inner, dead, per_tensor):
    random = np.random.default_rng(seed)
    weights, steps, moment = drawn(random, groups, 4, inner, 5, min(dead, inner))
    steps = np.full_like(steps, steps.max()) if per_tensor else steps
    found = rounded(weights, steps, (-7, 7), moment)
    nearest = np.clip(np.rint(weights / steps), -7, 7)
    assert found.shape == weights.shape
    assert (found == np.rint(found)).all()
    assert np.abs(found).max() <= 7
    errors = [output_error(integers * steps - weights, moment) for integers in (found, nearest)]
    assert (errors[0] <= errors[1] * (1 + 1e-9)).all()


def test_it_is_near_the_best_of_all_roundings():
    ratios = []
    for _ in range(20):
        weights, steps, moment = drawn(RANDOM, out=1, inner=6)
        low = np.floor(weights / steps)
        choices = [low + np.array(up) for up in itertools.product((0, 1), repeat=6)]
        errors = [output_error(choice * steps - weights, moment).item() for choice in choices]
        nearest, found = (
            output_error(integers * steps - weights, moment).item()
            for integers in (np.rint(weights / steps), rounded(weights, steps, (-8, 8), moment))
        )
        ratios.append((found / min(errors), nearest / min(errors)))
    found, nearest = np.mean(ratios, axis=0)
    assert found < 1.7
    assert nearest > 1.5 * found


def test_columns_that_have_nothing_in_common_keep_the_nearest_integers():
    weights, steps, _ = drawn(RANDOM)
    for moment in (np.diag([4.0, 1.0, 2.0, 0.0])[None], np.zeros((1, 4, 4))):
        np.testing.assert_array_equal(rounded(weights, steps, (-7, 7), moment), np.rint(weights / steps))


def made(tmp_path, layer, scheme, weights="per-channel"):
    floats, feeds = network(tmp_path, layer, RANDOM)
    target = targets.find("litert")
    adapt(floats, target)
    quantized = quantization.quantize(floats, scheme, target, feeds=feeds[:16], weights=weights)
    return floats, feeds, quantized, Evidence(floats, target, lambda count: feeds[: min(count, 16)])


@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("scheme", ["int16x8", "dynamic_range"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_compute_better_on_other_samples(layer, scheme, weights, tmp_path):
    floats, feeds, before, evidence = made(tmp_path, layer, scheme, weights)
    stored = {node.name for node in before.graph}
    after = repaired(before, "gptq", evidence)
    judge = Judge(floats, feeds[16:])
    gained = judge.of(after).mean - judge.of(before).mean
    layers = layers_of(before, floats, evidence.target)
    assert gained > 0.3 if layers else gained == 0  # LiteRT has no ConvTranspose beside floats
    assert {node.name for node in after.graph} == stored


def test_the_range_of_the_integers_stays(tmp_path):
    floats, _, before, evidence = made(tmp_path, "Conv", "int16x8")
    weights = layers_of(before, floats, evidence.target)[0].weights
    assert range_of(weights) == (-127, 127, 0)
    integers = weights.inputs[0].const_value.numpy().copy()
    integers[0, 0, 0, 0] = -128
    weights.inputs[0].const_value = ir.Tensor(integers)
    assert range_of(weights) == (-128, 127, 0)


def test_moments_are_those_of_all_columns(tmp_path, monkeypatch):
    floats, feeds, _, evidence = made(tmp_path, "Conv", "int8")
    node = next(node for node in floats.graph if node.op_type == "Conv")
    monkeypatch.setattr(moments, "COLUMNS", 10**6)
    ((_, found),) = moments.input_moments({node: [node]}, evidence)
    patches = []
    for feed in feeds[:16]:
        padded = np.pad(feed["x"][0], [(0, 0), (1, 1), (1, 1)])
        patches += [padded[:, i : i + 3, j : j + 3].reshape(-1) for i in range(8) for j in range(8)]
    rows = np.array(patches, np.float64)
    np.testing.assert_allclose(found[0], rows.T @ rows / len(rows), rtol=1e-3)


def test_little_room_means_more_passes_and_the_same_moments(digits, monkeypatch):
    floats = narrowcast.load(next(digits.glob("*.keras")))
    adapt(floats, targets.find("litert"))
    spec = floats.inputs[0]
    feeds = [{spec.name: RANDOM.uniform(0, 1, (1, *spec.shape[1:])).astype(np.float32)} for _ in range(4)]
    opened = []

    def samples(count):
        opened.append(count)
        return feeds[:count]

    evidence = Evidence(floats, targets.find("litert"), samples)
    nodes = {node: [node] for node in floats.graph if node.op_type in ("Conv", "Gemm")}
    monkeypatch.setattr(moments, "COLUMNS", 10**6)
    whole = dict(moments.input_moments(nodes, evidence))
    monkeypatch.setattr(moments, "ROOM", 1)
    parts = dict(moments.input_moments(nodes, evidence))
    assert len(nodes) > 2
    assert len(opened) == 1 + len(nodes)
    for node in nodes:
        np.testing.assert_array_equal(whole[node], parts[node])


def test_weights_that_several_layers_share_are_rounded_for_all(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,160] x, float[1,160] z) => (float[1,12] y) {
        a = Gemm <transB = 1> (x, w)  b = Gemm <transB = 1> (z, w)  c = Sigmoid(b)  y = Add (a, c) }"""
    model = onnx.parser.parse_model(text)
    drawn_weights = RANDOM.normal(size=(12, 160)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(drawn_weights, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    floats, target = narrowcast.load(tmp_path / "m.onnx"), targets.find("litert")
    adapt(floats, target)
    before = quantization.quantize(floats, "dynamic_range", target)
    feeds = [{name: np.abs(RANDOM.normal(size=(1, 160))).astype(np.float32) for name in "xz"} for _ in range(24)]
    layers = layers_of(before, floats, target)
    assert len({layer.weights for layer in layers}) == 1 < len(layers)
    after = repaired(before, "gptq", Evidence(floats, target, lambda count: feeds[: min(count, 16)]))
    assert len({layer.weights for layer in layers_of(after, floats, target)}) == 1
    judge = Judge(floats, feeds[16:])
    assert judge.of(after).mean > judge.of(before).mean + 1


def test_a_batch_may_be_open(digits):
    floats = narrowcast.load(next(digits.glob("*.keras")), batch="dynamic")
    feeds = [{floats.inputs[0].name: RANDOM.uniform(0, 1, (1, *floats.inputs[0].shape[1:])).astype(np.float32)}] * 4
    plain, better = (
        narrowcast.quantize(floats, "dynamic_range", data=feeds, repairs=repairs) for repairs in ([], ["gptq"])
    )
    stored = [
        [layer.weights.inputs[0].const_value.numpy() for layer in layers_of(model, floats, targets.find("litert"))]
        for model in (plain, better)
    ]
    assert any(not np.array_equal(before, after) for before, after in zip(*stored, strict=True))


def test_repaired_files_pass_their_proof(tmp_path):
    floats, feeds = network(tmp_path, "Conv", RANDOM)
    plain = narrowcast.quantize(floats, "int16x8", data=feeds)
    better = narrowcast.quantize(floats, "int16x8", data=feeds, repairs=["gptq", "bias"])
    figures = [narrowcast.save(model, tmp_path / "m.tflite", data=feeds).parity.sqnr_db for model in (plain, better)]
    assert figures[1] > figures[0] + 1
    assert Reference(better).run(feeds[0])["y"].shape == (1, 12, 8, 8)


@pytest.mark.parametrize("block", [None, 32])
def test_weights_of_4_bits_are_rounded_within_their_range(block, tmp_path):
    floats, feeds = network(tmp_path, "Gemm", RANDOM)
    target = targets.find("litert")
    adapt(floats, target)
    before = quantization.quantize(floats, "dynamic_range", target, weight_bits=4, block_size=block)
    after = repaired(before, "gptq", Evidence(floats, target, lambda count: feeds[: min(count, 16)]))
    integers = [layers_of(model, floats, target)[0].weights.inputs[0].const_value for model in (before, after)]
    assert [tensor.dtype for tensor in integers] == [ir.DataType.INT4] * 2
    assert np.abs(integers[1].numpy().astype(int)).max() <= 7
    judge = Judge(floats, feeds[16:])
    assert judge.of(after).mean > judge.of(before).mean + 1
