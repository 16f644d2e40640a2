"""Layouts: any network computes the same after it, and none could move fewer bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from narrowcast.dialect.build import Builder
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import CHANNELS_LAST, Model
from narrowcast.passes import layout
from narrowcast.passes.layout.tags import find_tags, shape_of
from narrowcast.targets.litert import LITERT
from narrowcast.targets.spelling import is_weight
from tests.passes.layout.physical_graphs import run, runnable
from tests.passes.layout.random_graphs import STEPS, network, quantised

choice = st.integers(0, len(STEPS) - 1)
steps = st.lists(choice, min_size=1, max_size=14)


def feed_of(model: Model, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {spec.name: random.normal(size=spec.shape).astype(np.float32) for spec in model.inputs}


def stored(array: np.ndarray, permutation: tuple[int, ...] | None) -> np.ndarray:
    return array if permutation is None else array.transpose(permutation)


def assert_same(model: Model, io_layout: str) -> layout.LaidOut:
    laid = layout.lay_out(model, LITERT, io_layout)
    feed = feed_of(model)
    expected = run(model.ir, feed)
    moved = {name: stored(array, p) for (name, array), p in zip(feed.items(), laid.inputs, strict=True)}
    found = run(runnable(laid.model), moved)
    for want, got, permutation in zip(expected, found, laid.outputs, strict=True):
        np.testing.assert_allclose(got, stored(want, permutation), rtol=1e-4, atol=1e-5)
    return laid


@settings(max_examples=150)
@given(seed=st.integers(0, 2**16), choices=steps, io_layout=st.sampled_from(["target", "source"]))
def test_random_networks_compute_the_same(seed, choices, io_layout):
    laid = assert_same(network(seed, choices), io_layout)
    for node in laid.model.graph:
        if node.op_type in ("Conv", "MaxPool"):
            assert node.domain == CHANNELS_LAST
    if io_layout == "source":
        assert set(laid.inputs) == {None}
        assert set(laid.outputs) == {None}


def price_of(labels, nodes, inputs, outputs, plans, tags, ports):
    """What a labelling costs: each node's own cost, and each tensor once for each form that it is wanted in."""
    total = 0
    for node in nodes:
        chosen = plans[node][labels[node]]
        if chosen is None:
            return None
        total += chosen.cost
    for owner in (*inputs, *nodes):
        for value in owner.outputs if hasattr(owner, "outputs") else (owner,):
            forms = tags.forms(value)
            have = forms[labels[owner]]
            wanted = set()
            if value in outputs:
                wanted.add(forms[ports[value]])
            foreign = 0
            for use in value.uses():
                chosen = plans[use.node][labels[use.node]]
                need = chosen.needs[use.idx] if use.idx < len(chosen.needs) else None
                if need is None or forms[0] == forms[1]:
                    continue
                if need in forms:
                    wanted.add(need)
                else:
                    foreign += 1
            total += layout._price(value, forms, LITERT) * (len(wanted - {have}) + foreign)
    return total


@settings(max_examples=100)
@given(seed=st.integers(0, 2**16), choices=st.lists(choice, min_size=1, max_size=9))
def test_no_labelling_moves_fewer_bytes(seed, choices):
    """The cut against every labelling of up to twelve nodes."""
    model = network(seed, choices)
    graph = model.graph
    nodes = list(graph)
    assume(len(nodes) <= 12)
    tags = find_tags(graph, LITERT)
    plans = layout._plans(nodes, tags)
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    ports = {value: layout._port_label(value, tags, "target") for value in (*inputs, *outputs)}
    arguments = (nodes, inputs, outputs, plans, tags, ports)
    found = layout._labels(*arguments)
    best = None
    for combination in itertools.product((0, 1), repeat=len(nodes)):
        labels = {**dict(zip(nodes, combination, strict=True)), **{value: ports[value] for value in inputs}}
        price = price_of(labels, *arguments)
        if price is not None and (best is None or price < best):
            best = price
    assert price_of(found, *arguments) == best


HABITS = {
    "residuals": lambda nodes: any(node.op_type == "Add" and is_computed(*node.inputs) for node in nodes),
    **{
        f"concats along axis {axis}": lambda nodes, axis=axis: any(
            node.op_type == "Concat" and node.attributes["axis"].value == axis and len(node.outputs[0].shape) == 4
            for node in nodes
        )
        for axis in range(4)
    },
    "splits": lambda nodes: any(node.op_type == "Split" for node in nodes),
    "pads": lambda nodes: any(node.op_type == "Pad" for node in nodes),
    "reductions over the image": lambda nodes: any(
        node.op_type.startswith("Reduce") and node.inputs[1].const_value.numpy().tolist() == [2, 3] for node in nodes
    ),
    "squeezes": lambda nodes: any(node.op_type == "Reshape" and added_axes(node) < 0 for node in nodes),
    "unsqueezes": lambda nodes: any(node.op_type == "Reshape" and added_axes(node) > 0 for node in nodes),
    "channel shuffles": lambda nodes: any(
        node.op_type == "Transpose" and list(node.attributes["perm"].value) == [0, 2, 1, 3, 4] for node in nodes
    ),
    "flatten to dense": lambda nodes: any(
        node.op_type == "Gemm" and (before := node.inputs[0].producer()) is not None and before.op_type == "Reshape"
        for node in nodes
    ),
    "channels last in between": lambda nodes: any(
        node.op_type == "Transpose" and list(node.attributes["perm"].value) == [0, 2, 3, 1] for node in nodes
    ),
}


def is_computed(*values) -> bool:
    return all(value.producer() is not None for value in values)


def added_axes(reshape) -> int:
    """How many axes of size 1 a reshape adds; 0 where it does anything else."""
    before, after = shape_of(reshape.inputs[0]), shape_of(reshape.outputs[0])
    rest = [dim for dim in before if dim != 1] == [dim for dim in after if dim != 1]
    return len(after) - len(before) if rest else 0


@pytest.mark.parametrize("habit", HABITS)
def test_random_networks_have_every_habit(habit):
    """One in twelve at least, when they are long; and some that are short enough for brute force."""
    random = np.random.default_rng(0)
    for length, most, share in ((14, 10**6, 1 / 12), (4, 12, 0.01)):
        networks = [network(seed, random.integers(len(STEPS), size=length).tolist()) for seed in range(150)]
        fitting = [list(model.graph) for model in networks if len(model.graph) <= most]
        assert sum(map(HABITS[habit], fitting)) >= share * len(fitting)


def test_flatten_to_dense_permutes_the_weights_and_moves_nothing():
    build = Builder.new("flatten")
    random = np.random.default_rng(0)
    x = build.input("image", (1, 3, 4, 4))
    y = build(
        "Conv", x, build.constant(random.normal(size=(5, 3, 3, 3)).astype(np.float32)), shape=(1, 5, 2, 2), pads=[0] * 4
    )
    y = build("Reshape", y, build.constant(np.array([1, 20])), shape=(1, 20))
    y = build("Relu", y, shape=(1, 20))
    y = build(
        "Gemm",
        y,
        build.constant(random.normal(size=(6, 20)).astype(np.float32)),
        build.constant(random.normal(size=6).astype(np.float32)),
        shape=(1, 6),
        transB=1,
    )
    laid = assert_same(Model(build.finish([y])), "target")
    assert laid.moved_bytes == 0
    assert [node.op_type for node in laid.model.graph] == ["Conv", "Reshape", "Relu", "Gemm"]


def test_dense_to_image_permutes_the_weights_rows():
    """A decoder: Gemm -> Reshape to an image -> ConvTranspose."""
    build = Builder.new("decoder")
    random = np.random.default_rng(0)
    x = build.input("code", (1, 7))
    y = build("Gemm", x, build.constant(random.normal(size=(24, 7)).astype(np.float32)), shape=(1, 24), transB=1)
    y = build("Reshape", y, build.constant(np.array([1, 6, 2, 2])), shape=(1, 6, 2, 2))
    weights = build.constant(random.normal(size=(6, 3, 2, 2)).astype(np.float32))
    y = build("ConvTranspose", y, weights, shape=(1, 3, 4, 4), strides=[2, 2])
    laid = assert_same(Model(build.finish([y])), "target")
    assert laid.moved_bytes == 0
    assert "Transpose" not in {node.op_type for node in laid.model.graph}


def test_quantised_tensors_are_transposed_as_integers():
    build = Builder.new("quantised")
    scale, zero = build.constant(np.float32(0.1)), build.constant(np.int8(3))
    x = build.input("image", (1, 2, 4, 4))

    def quantised(value):
        integers = build("QuantizeLinear", value, scale, zero, shape=value.shape, dtype=np.int8)
        return build("DequantizeLinear", integers, scale, zero, shape=value.shape, dtype=np.float32)

    weights = build.constant(np.random.default_rng(0).normal(size=(3, 2, 1, 1)).astype(np.float32))
    y = quantised(build("Conv", quantised(x), weights, shape=(1, 3, 4, 4), pads=[0] * 4))
    y = quantised(build("MatMul", y, build.constant(np.eye(4, dtype=np.float32)), shape=(1, 3, 4, 4)))
    laid = assert_same(Model(build.finish([y])), "target")
    transposes = [node for node in laid.model.graph if node.op_type == "Transpose"]
    assert transposes
    assert all(node.inputs[0].dtype.name == "INT8" for node in transposes)


def test_an_unknown_operator_is_named():
    build = Builder.new("unknown")
    x = build.input("x", (1, 3))
    model = Model(build.finish([build("Frobnicate", x, domain="com.example", shape=(1, 3))]))
    with pytest.raises(UnsupportedOpError, match=r"com\.example::Frobnicate"):
        layout.lay_out(model, LITERT)


def test_ports_are_reported():
    build = Builder.new("ports")
    x = build.input("image", (1, 3, 5, 7))
    weights = build.constant(np.ones((2, 3, 1, 1), np.float32))
    model = Model(build.finish([build("Conv", x, weights, name="map", shape=(1, 2, 5, 7), pads=[0] * 4)]))
    laid = layout.lay_out(model, LITERT)
    assert laid.inputs == ((0, 2, 3, 1),)
    assert laid.outputs == ((0, 2, 3, 1),)
    assert [(spec.name, spec.shape) for spec in laid.model.inputs] == [("image", (1, 5, 7, 3))]
    assert [(spec.name, spec.shape) for spec in laid.model.outputs] == [("map", (1, 5, 7, 2))]
    assert shape_of(model.graph.inputs[0]) == (1, 3, 5, 7), "the source graph is left alone"
    assert not is_weight(model.graph.inputs[0])


@settings(max_examples=100)
@given(seed=st.integers(0, 2**16), choices=steps, io_layout=st.sampled_from(["target", "source"]))
@example(seed=16384, choices=[20, 0, 6, 0], io_layout="target")
def test_integer_operators_stay_integer(seed, choices, io_layout):
    """No conversion comes between an operator and its quantisation, and the integers come out right."""
    model = quantised(network(seed, choices))
    laid = layout.lay_out(model, LITERT, io_layout)
    feed = feed_of(model)
    expected = run(model.ir, feed)
    moved = {name: stored(array, p) for (name, array), p in zip(feed.items(), laid.inputs, strict=True)}
    found = run(runnable(laid.model), moved)
    for want, got, permutation in zip(expected, found, laid.outputs, strict=True):
        steps_apart = np.abs(stored(want, permutation) - got) / 0.05
        tied = steps_apart.mean() < 0.5 or steps_apart.max() < 1.5
        assert tied, "a rounding tie may fall either way; values are tens of steps apart"
    for node in laid.model.graph:
        if node.op_type in ("Transpose", "Reshape"):
            assert node.inputs[0].dtype.name == "INT8" or is_wrapped(node)
        if node.op_type == "QuantizeLinear":
            source = node.inputs[0]
            assert source.is_graph_input() or source.producer().op_type != "Transpose" or is_softmax(source.producer())


def is_softmax(transpose) -> bool:
    producer = transpose.inputs[0].producer()
    return producer is not None and producer.op_type == "Softmax"


def is_wrapped(node) -> bool:
    """The transposes around a Softmax over another axis than the last: decompose makes them, and quantises them."""
    return is_softmax(node) or any(use.node.op_type == "Softmax" for use in node.outputs[0].uses())


def test_a_dynamic_batch_stays_dynamic():
    build = Builder.new("dynamic")
    random = np.random.default_rng(0)
    x = build.input("image", ("batch", 3, 4, 4))
    weights = build.constant(random.normal(size=(5, 3, 1, 1)).astype(np.float32))
    y = build("Conv", x, weights, shape=("batch", 5, 4, 4), pads=[0] * 4)
    y = build("Reshape", y, build.constant(np.array([-1, 80])), shape=("batch", 80))
    dense = build.constant(random.normal(size=(6, 80)).astype(np.float32))
    y = build("Gemm", y, dense, name="y", shape=("batch", 6), transB=1)
    model = Model(build.finish([y]))
    laid = layout.lay_out(model, LITERT)
    assert laid.moved_bytes == 0
    assert [spec.shape for spec in (*laid.model.inputs, *laid.model.outputs)] == [(None, 4, 4, 3), (None, 6)]
    image = random.normal(size=(7, 3, 4, 4)).astype(np.float32)
    (want,) = run(model.ir, {"image": image})
    (got,) = run(runnable(laid.model), {"image": image.transpose(0, 2, 3, 1)})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
