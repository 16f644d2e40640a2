"""What `diff` tells, beside the same worked out otherwise."""

import json

import numpy as np
import pytest

import narrowcast
from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.diagnosis.branches import Copier, Rounding, computing
from narrowcast.evaluation.diagnosis.diagnose import losses_of
from narrowcast.evaluation.diagnosis.plain import plain_of
from narrowcast.evaluation.diagnosis.shares import shares_of
from narrowcast.evaluation.judge import Judge
from narrowcast.evaluation.real import RealGraph
from narrowcast.model import Model, ir
from narrowcast.reference import Reference
from narrowcast.targets.spelling import Parameters
from tests.evaluation.diagnosis.planted import TARGET, Network, photographs

STEP = {"x": 2.0**-4, "first": 2.0**-3, "second": 2.0**-2}


def rounded(array, step, low=-128, high=127):
    return np.clip(np.rint(array / step), low, high) * step


def decibels(wanted, found):
    noise = sum(np.square(one - other).sum() for one, other in zip(wanted, found, strict=True))
    return np.inf if noise == 0 else 10 * np.log10(sum(np.square(one).sum() for one in wanted) / noise)


def test_the_parts_of_an_error_are_those_of_the_same_network_in_numpy():
    net = Network()
    first = net.conv(net.input(), 8, "first", relu=True)
    weights = [np.round(net.random.normal(size=(6, 8, 1, 1)) * 8) / 8 + 0.06, np.zeros(6)]
    floats = net.finish(net.conv(first, 6, "second", weights=weights[0]))
    net.stored = {name: Parameters(step, 0, "int8") for name, step in STEP.items()}
    feeds = photographs()
    quantized = net.quantized(floats, feeds)
    found = narrowcast.diff(floats, quantized, data=feeds)

    kernels = {
        name: floats.graph.initializers[f"{name}/w"].const_value.numpy()[:, :, 0, 0] for name in ("first", "second")
    }
    kernels = {name: kernel.astype(np.float64) for name, kernel in kernels.items()}
    scales = {name: np.abs(kernel).max(axis=1, keepdims=True) / 127 for name, kernel in kernels.items()}
    stored = {name: np.rint(kernels[name] / scales[name]) * scales[name] for name in kernels}

    def layer(array, kernel):
        return np.einsum("oi,nihw->nohw", kernel, array)

    x = [feed["x"].astype(np.float64) for feed in feeds]
    exact = [np.maximum(layer(array, kernels["first"]), 0) for array in x]
    seen = [rounded(np.maximum(layer(rounded(array, STEP["x"]), stored["first"]), 0), STEP["first"]) for array in x]
    wanted = [layer(array, kernels["second"]) for array in exact]
    by_weights = [layer(array, stored["second"]) for array in exact]
    own = [rounded(array, STEP["second"]) for array in by_weights]
    all_of_it = [rounded(layer(array, stored["second"]), STEP["second"]) for array in seen]
    block = next(block for block in found.blocks if block.name == "second")

    def noise(one, other):
        power = sum(np.square(array).sum() for array in wanted)
        return 10 * np.log10(power / sum(np.square(a - b).sum() for a, b in zip(one, other, strict=True)))

    assert block.weights_db == pytest.approx(noise(by_weights, wanted), abs=0.01)
    assert block.rounding_db == pytest.approx(noise(own, by_weights), abs=0.01)
    assert block.above_db == pytest.approx(noise(all_of_it, own), abs=0.05)
    assert block.sqnr_db == pytest.approx(noise(all_of_it, wanted), abs=0.05)
    assert found.outputs[0].sqnr_db == pytest.approx(block.sqnr_db)
    assert found.blocks[0].rounding_db == pytest.approx(
        decibels(x, [rounded(array, STEP["x"]) for array in x]), abs=0.01
    )


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8", "dynamic_range", "float16"])
def test_with_all_its_roundings_back_a_plain_graph_is_the_quantised_one(digits, scheme):
    model = narrowcast.load(digits / "model.keras")
    quantized = narrowcast.quantize(model, scheme, data=digits / "calibration.npz")
    (images,) = (array for array in np.load(digits / "calibration.npz").values() if array.ndim > 1)
    feed = {model.inputs[0].name: images[:1].reshape([dim or 1 for dim in model.inputs[0].shape]).astype(np.float32)}
    plain = plain_of(quantized)
    copy = Copier("again")
    known = {}
    for value in plain.model.graph.inputs:
        known[value] = copy.build.input(value.name, value.shape, np.float32)
        if value in plain.stored:
            known[value] = copy.rounded(known[value], plain.stored[value])
    copy.nodes(computing(plain.model.graph), known, Rounding(plain.stored, plain.edges))
    again = Model(copy.build.finish([known[value] for value in plain.model.graph.outputs]))
    (found,) = Reference(again, optimize=False).run(feed).values()
    (wanted,) = RealGraph(quantized).run(feed).values()
    rounds = any(node.op_type == "QuantizeLinear" for node in quantized.graph)
    np.testing.assert_allclose(found, wanted, rtol=0 if rounds else 1e-4)


@pytest.mark.parametrize(("scheme", "suffix"), [("int8", "tflite"), ("full_int8", "tflite"), ("int8", "onnx")])
def test_a_file_loses_what_its_model_does(digits, scheme, suffix, tmp_path):
    model = narrowcast.load(digits / "model.keras")
    data = digits / "calibration.npz"
    quantized = narrowcast.quantize(model, scheme, fmt=suffix, data=data)
    narrowcast.save(quantized, tmp_path / f"m.{suffix}")
    wanted = narrowcast.diff(model, quantized, data=data, compared=8)
    found = narrowcast.diff(digits / "model.keras", tmp_path / f"m.{suffix}", data=data, compared=8)
    assert found.unmatched == ()
    assert found.outputs[0].sqnr_db == pytest.approx(wanted.outputs[0].sqnr_db, abs=0.01)
    named = {block.name: block for block in wanted.blocks}
    for block in found.blocks:
        assert block.sqnr_db == pytest.approx(named[block.name].sqnr_db, abs=0.01)
    assert found.blocks[found.worst[0]].name == wanted.blocks[wanted.worst[0]].name


def test_it_quantises_by_itself_on_other_samples(digits):
    found = narrowcast.diff(digits / "model.keras", scheme="int8", data=digits / "calibration.npz", samples=64)
    assert (found.scheme, found.samples) == ("int8", 32)
    assert sum(block.share for block in found.blocks) == pytest.approx(1, abs=1e-6)


def test_only_one_block_quantised_and_all_but_it():
    def network(floats=frozenset()):
        net = Network()
        first = net.conv(net.input(), 8, "first", relu=True)
        model = net.finish(net.conv(net.conv(first, 8, "second", relu=True), 4, "third"))
        net.floats |= set(floats)
        net.exact |= {f"{name}/w" for name in floats}
        return model, net.quantized(model, photographs())

    floats, quantized = network()
    feeds = photographs()[:4]
    found = narrowcast.diff(floats, quantized, data=feeds, sensitivity=True)
    judge = Judge(floats, feeds)
    measured = {block.name: block for block in found.blocks}
    for name in ("first", "second", "third"):
        others = {"x", "first", "second", "third"} - {name}
        assert measured[name].without_db == pytest.approx(judge.of(network({name})[1]).mean, abs=0.05)
        assert measured[name].only_db == pytest.approx(judge.of(network(others)[1]).mean, abs=0.05)
    ratios = [found.blocks[at].only_db for at in found.worst]
    assert ratios == sorted(ratios)


def test_what_there_is_no_time_for_is_left_out():
    net = Network()
    model = net.finish(net.conv(net.conv(net.input(), 8, "first"), 4, "second"))
    found = narrowcast.diff(
        model, net.quantized(model, photographs()), data=photographs(), sensitivity=True, seconds=1e-9
    )
    assert sum(block.only_db is not None for block in found.blocks) == 1
    assert any("no time to measure 2 blocks" in note for note in found.notes)


DIAMOND = [(), (0,), (0,), (1, 2)]
"""An input, two blocks that read it, and one that joins them."""


@pytest.mark.parametrize(
    ("sums", "shares"),
    [
        ({}, [0, 0, 0, 0]),
        ({(3, "own", 0): 4.0}, [0, 0, 0, 1]),
        ({(0, "own", 0): 1.0, (3, "own", 0): 1.0,
          (3, "above", 0): 3.0, (3, "from 0", 0): 1.0, (3, "from 1", 0): 2.0, (1, "own", 0): 1.0,
          (2, "own", 0): 1.0, (2, "above", 0): 1.0}, [0.25, 0.25, 0.25, 0.25]),
        ({(3, "above", 0): 3.0, (1, "own", 0): 1.0, (2, "own", 0): 1.0}, [0, 0.5, 0.5, 0]),
        ({(3, "own", 0): np.nan, (3, "above", 0): 3.0, (1, "own", 0): 1.0, (2, "own", 0): 1.0}, [0, 0.5, 0.5, 0]),
    ],
)  # fmt: skip
def test_noise_is_told_backwards(sums, shares):
    signals = {(at, "signal", 0): 1.0 for at in range(4)}
    assert shares_of({**signals, **sums}, {3: 1.0}, DIAMOND, 4) == pytest.approx(shares)


def test_a_quiet_part_of_what_is_joined_counts_as_much_as_a_loud_one():
    """The join's own noise is in the loud part, where it is a millionth; that of the quiet part came from above."""
    loud, quiet = {(1, "signal", 0): 1e6, (1, "own", 0): 1.0}, {(1, "signal", 1): 1.0, (1, "above", 1): 1.0}
    sums = {(0, "signal", 0): 1.0, (0, "own", 0): 1.0, **loud, **quiet}
    assert shares_of(sums, {1: 1.0}, [(), (0,)], 2) == pytest.approx([1, 0], abs=2e-6)


def test_what_does_not_fit_is_refused(digits, tmp_path):
    model = digits / "model.keras"
    data = digits / "calibration.npz"
    with pytest.raises(UsageError, match="nothing to compare with"):
        narrowcast.diff(model, data=data)
    with pytest.raises(UsageError, match="a scheme too"):
        narrowcast.diff(model, model, scheme="int8", data=data)
    net = Network()
    other = net.finish(net.conv(net.input(), 4, "first"))
    with pytest.raises(UsageError, match="the inputs differ"):
        narrowcast.diff(model, other, data=data)
    with pytest.raises(DataError):
        narrowcast.diff(model, scheme="int8", data=tmp_path / "nowhere.npz")
    with pytest.raises(DataError, match="no samples"):
        losses_of(other, other, TARGET, lambda _: iter(()), lambda _stage, _done: None)


def test_two_float_networks(digits):
    found = narrowcast.diff(digits / "model.keras", digits / "model.keras", data=digits / "calibration.npz", compared=4)
    assert found.worst == ()
    assert "neither network is quantised" in found.notes


def test_a_relu_that_is_left_to_the_range_of_the_integers():
    """Some quantisers leave a Relu out where the integers end at 0."""
    net = Network()
    floats = net.finish(net.conv(net.conv(net.input(), 8, "first", relu=True), 4, "second"))
    feeds = photographs()
    quantized = net.quantized(floats, feeds)
    wanted = narrowcast.diff(floats, quantized, data=feeds)
    relu = next(node for node in quantized.graph if node.op_type == "Relu")
    source = relu.inputs[0]
    for use in tuple(relu.outputs[0].uses()):
        use.node.replace_input_with(use.idx, source)
    quantized.graph.remove(relu, safe=True)
    found = narrowcast.diff(floats, quantized, data=feeds)
    for one, other in zip(found.blocks, wanted.blocks, strict=True):
        assert one.weights_db == pytest.approx(other.weights_db)
        assert one.rounding_db == pytest.approx(other.rounding_db)
        assert one.share == pytest.approx(other.share)


def test_numbers_that_are_none_hide_nothing():
    """A logarithm of 0 in one block leaves the others' figures."""
    net = Network()
    first = net.conv(net.input(), 8, "first", relu=True)
    log = net("Log", first, name="log", shape=first.shape, dtype=np.float32)
    net.floats.add("log")
    floats = net.finish(net.conv(first, 4, "second"), log)
    feeds = photographs()
    net.ranges["log"] = (-1.0, 1.0)
    found = narrowcast.diff(floats, net.quantized(floats, feeds), data=feeds)
    blocks = {block.name: block for block in found.blocks}
    assert blocks["log"].sqnr_db is None
    assert np.isfinite(blocks["second"].sqnr_db)
    json.dumps([block.share for block in found.blocks], allow_nan=False)


def test_an_output_that_is_an_index():
    net = Network()
    scores = net.conv(net.conv(net.input(), 8, "first", relu=True), 4, "second")
    floats = net.finish(net("ArgMax", scores, name="class", axis=1))
    found = narrowcast.diff(floats, net.quantized(floats, photographs()), data=photographs())
    assert found.outputs == ()
    assert sum(block.share for block in found.blocks) == pytest.approx(1)
    with pytest.raises(UsageError, match="no output is of real numbers"):
        narrowcast.diff(floats, net.quantized(floats, photographs()), data=photographs(), sensitivity=True)


def test_a_metric_of_both(digits, tmp_path):
    """By the file's own ports: an image with its channels last, integers in and out."""
    narrowcast.save(
        narrowcast.quantize(narrowcast.load(digits / "model.keras"), "full_int8", data=digits / "calibration.npz"),
        tmp_path / "m.tflite",
    )
    found = narrowcast.diff(
        digits / "model.keras", tmp_path / "m.tflite", data=digits / "test.npz", compared=40, metric="top1"
    )
    one, other = found.scores
    assert (one.metric, one.samples, other.samples) == ("top1", 40, 40)
    assert one.value > 0.9
    assert abs(one.value - other.value) < 0.1
    assert other.change is not None


def test_no_name_in_common():
    """Blocks are found by their order where names say nothing."""
    net = Network()
    x = net.conv(net.conv(net.input(), 8, "first", relu=True), 8, "second", relu=True)
    floats = net.finish(net.conv(x, 4, "third"))
    quantized = net.quantized(floats, photographs())
    for number, node in enumerate(quantized.graph):
        node.name = f"n{number}"
        for place, output in enumerate(node.outputs):
            output.name = f"v{number}_{place}"
    found = narrowcast.diff(floats, quantized, data=photographs())
    assert found.unmatched == ()
    assert [block.name for block in found.blocks] == ["x", "first", "second", "third"]
    assert isinstance(floats.graph, ir.Graph)


def test_two_files_whose_blocks_stand_in_another_order():
    """Pairs by name that contradict the order in which the two compute are measured all the same."""
    net = Network()
    x = net.input(8)
    one, other = net.conv(x, 8, "one"), net.conv(x, 8, "other")
    model = net.finish(net("Add", net.conv(one, 8, "third"), other, name="sum", shape=x.shape, dtype=np.float32))
    quantized = net.quantized(model, photographs(channels=8))
    swapped = {"one": "third", "third": "one"}
    for node in quantized.graph:
        for output in node.outputs:
            output.name = swapped.get(output.name, output.name)
    found = narrowcast.diff(model, quantized, data=photographs(channels=8), sensitivity=True)
    assert len(found.blocks) == 5
