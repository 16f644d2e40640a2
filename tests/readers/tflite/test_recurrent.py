"""Recurrent operators read from .tflite files, beside LiteRT: the first inference, and those that go on from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter

import narrowcast
from narrowcast import runtimes
from narrowcast.errors import NarrowcastError, UnsupportedOpError
from narrowcast.quantization import weights
from narrowcast.reference import Reference
from narrowcast.writers.tflite import container
from narrowcast.writers.tflite.container import Container
from narrowcast.writers.tflite.tables import Operator, Quantization, Tensor, options
from tests.writers.test_recurrent import feeds as onnx_feeds
from tests.writers.test_recurrent import layer as onnx_layer

STEPS, FEATURES, HIDDEN, PROJECTED, MEMORY = 6, 3, 4, 2, 3
FLOAT = np.dtype(np.float32)


@dataclass
class Layer:
    """A file of one recurrent operator in the making."""

    operator: str
    kind: str
    shape: tuple[int, ...]
    output: tuple[int, ...]
    values: dict = field(default_factory=dict)
    container: Container = field(default_factory=Container)
    inputs: list[int] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    hybrid: bool = False

    def __post_init__(self) -> None:
        self.inputs.append(self.container.tensor(Tensor("x", self.shape, FLOAT)))
        self.container.inputs.append(("x", self.inputs[0]))

    def integers(self, array: np.ndarray, kind: type, scale: float) -> int:
        """A constant in integers of a type, without a zero point."""
        stored = np.rint(array / scale).astype(kind)
        step = Quantization(np.array([scale], np.float32), np.zeros(1, np.int64))
        name = f"w{len(self.container.tensors)}"
        return self.container.tensor(Tensor(name, stored.shape, stored.dtype, self.container.buffer(stored), step))

    def weights(self, *shapes: tuple[int, ...] | None) -> Layer:
        for shape in shapes:
            if shape is None:
                self.inputs.append(-1)
                continue
            array = self.random.normal(0, 0.7, shape).astype(np.float32)
            if self.hybrid and len(shape) == 2:
                self.inputs.append(self.integers(array, np.int8, float(np.abs(array).max() / 127)))
                continue
            buffer = self.container.buffer(array)
            self.inputs.append(self.container.tensor(Tensor(f"w{len(self.inputs)}", shape, FLOAT, buffer)))
        return self

    def states(self, *sizes: int) -> Layer:
        for size in sizes:
            shape = (1, size)
            self.inputs.append(self.container.tensor(Tensor(f"state{len(self.inputs)}", shape, FLOAT, variable=True)))
        return self

    def write(self, path: Path, outputs: int = 1) -> Path:
        made = [self.container.tensor(Tensor(f"y{index}", self.output, FLOAT)) for index in range(outputs)]
        found = options(self.kind, **self.values)
        if self.operator in ("LSTM", "RNN"):  # which we never write
            self.container.operators.append(Operator(self.operator, 1, tuple(self.inputs), tuple(made), found))
        else:
            self.container.operator(self.operator, self.inputs, made, found)
        self.container.outputs.extend((f"y{place}", index) for place, index in enumerate(made))
        with path.open("wb") as file, patch.object(container, "minimum_runtime", return_value="1.5.0"):
            self.container.write(file)
        return path


def lstm(
    outputs: int = HIDDEN, peepholes: bool = False, projection: str = "", norms: bool = False, coupled: bool = False,
    diagonal: bool = False, steps: int = STEPS, hybrid: bool = False, **values: object,
) -> Layer:  # fmt: skip
    """UNIDIRECTIONAL_SEQUENCE_LSTM, or one step of LSTM where `steps` is 0."""
    kind = "UnidirectionalSequenceLSTMOptions" if steps else "LSTMOptions"
    first = (steps, 1) if values.get("timeMajor") else (1, steps)
    shape, size = ((*first, FEATURES), (*first, outputs)) if steps else ((1, FEATURES), (1, outputs))
    if diagonal:
        values["diagonalRecurrentTensors"] = True
    named = {"fusedActivationFunction": 4, **values}
    made = Layer("UNIDIRECTIONAL_SEQUENCE_LSTM" if steps else "LSTM", kind, shape, size, named, hybrid=hybrid)
    enter = None if coupled else (HIDDEN, FEATURES)
    recurrent, bias = (HIDDEN,) if diagonal else (HIDDEN, outputs), (HIDDEN,)
    made.weights(enter, *[(HIDDEN, FEATURES)] * 3, None if coupled else recurrent, *[recurrent] * 3)
    made.weights(*([None if coupled else bias, bias, bias] if peepholes else [None] * 3))
    made.weights(None if coupled else bias, bias, bias, bias)
    made.weights((outputs, HIDDEN) if projection else None, (outputs,) if projection == "bias" else None)
    made.states(outputs, HIDDEN)
    return made.weights(*[bias] * 4) if norms else made


def both_lstm(hybrid: bool = False, **values: object) -> Layer:
    size = HIDDEN * (2 if values.get("mergeOutputs") else 1)
    first = (STEPS, 1) if values.get("timeMajor") else (1, STEPS)
    named = {"fusedActivationFunction": 4, "timeMajor": False, **values}
    shapes = (*first, FEATURES), (*first, size)
    made = Layer("BIDIRECTIONAL_SEQUENCE_LSTM", "BidirectionalSequenceLSTMOptions", *shapes, named, hybrid=hybrid)
    for _ in range(2):
        made.weights(*[(HIDDEN, FEATURES)] * 4, *[(HIDDEN, HIDDEN)] * 4)
        made.weights(*[None if hybrid else (HIDDEN,)] * 3, *[(HIDDEN,)] * 4, None, None)
    return made.states(*[HIDDEN] * 4).weights(*[None] * 9)


def rnn(operator: str, kind: str, hybrid: bool = False, **values: object) -> Layer:
    both, one = operator.startswith("BI"), operator == "RNN"
    first = (STEPS, 1) if values.get("timeMajor") else (1, STEPS)
    size = HIDDEN * (2 if values.get("mergeOutputs") else 1)
    shapes = ((1, FEATURES), (1, HIDDEN)) if one else ((*first, FEATURES), (*first, size))
    made = Layer(operator, kind, *shapes, {"fusedActivationFunction": 4, **values}, hybrid=hybrid)
    for _ in range(1 + both):
        made.weights((HIDDEN, FEATURES), (HIDDEN, HIDDEN), (HIDDEN,)).states(HIDDEN)
    return made.weights(*[None] * 3) if both else made


def svdf(rank: int = 1, bias: bool = True, hybrid: bool = False, **values: object) -> Layer:
    units, filters = HIDDEN, HIDDEN * rank
    named = {"rank": rank, "fusedActivationFunction": 0, **values}
    made = Layer("SVDF", "SVDFOptions", (1, FEATURES), (1, units), named, hybrid=hybrid)
    made.weights((filters, FEATURES), (filters, MEMORY), (units,) if bias else None)
    return made.states(filters * MEMORY)


SEQUENCE, BOTH = "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN"
LAYERS = {
    "lstm": lstm,
    "lstm, steps first": lambda: lstm(timeMajor=True),
    "lstm, clipped": lambda: lstm(cellClip=0.4),
    "lstm, relu": lambda: lstm(fusedActivationFunction=1),
    "lstm, relu6": lambda: lstm(fusedActivationFunction=3),
    "lstm, peepholes": lambda: lstm(peepholes=True),
    "lstm, coupled": lambda: lstm(coupled=True, peepholes=True),
    "lstm, projected": lambda: lstm(PROJECTED, projection="plain", projClip=0.3),
    "lstm, projected with a bias": lambda: lstm(PROJECTED, projection="bias", cellClip=0.5),
    "lstm, normalised": lambda: lstm(norms=True, peepholes=True),
    "lstm, all": lambda: lstm(PROJECTED, projection="bias", norms=True, peepholes=True, cellClip=0.6, projClip=0.4),
    "lstm, diagonal": lambda: lstm(diagonal=True),
    "lstm, one step": lambda: lstm(steps=0, cellClip=0.4),
    "lstm, one step of all": lambda: lstm(PROJECTED, projection="bias", norms=True, peepholes=True, steps=0),
    "both lstm": lambda: both_lstm(mergeOutputs=True, cellClip=0.5),
    "both lstm, steps first": lambda: both_lstm(mergeOutputs=True, timeMajor=True),
    "both lstm, apart": lambda: both_lstm(mergeOutputs=False),
    "rnn": lambda: rnn(SEQUENCE, "SequenceRNNOptions"),
    "rnn, steps first": lambda: rnn(SEQUENCE, "SequenceRNNOptions", timeMajor=True, fusedActivationFunction=2),
    "rnn, no activation": lambda: rnn(SEQUENCE, "SequenceRNNOptions", fusedActivationFunction=0),
    "rnn, one step": lambda: rnn("RNN", "RNNOptions"),
    "both rnn": lambda: rnn(BOTH, "BidirectionalSequenceRNNOptions", mergeOutputs=True),
    "svdf": svdf,
    "svdf, of rank 2": lambda: svdf(rank=2, fusedActivationFunction=1),
    "svdf, without a bias": lambda: svdf(bias=False),
    "both rnn, apart": lambda: rnn(BOTH, "BidirectionalSequenceRNNOptions", mergeOutputs=False, timeMajor=True),
}


def inferences(path: Path, feeds: list[np.ndarray]) -> list[list[np.ndarray]]:
    """The outputs of inferences one after the other, on one interpreter, states as they come."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    found = []
    for feed in feeds:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], feed)
        interpreter.invoke()
        found.append([interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()])
    return found


def feeds_of(layer: Layer, count: int) -> list[np.ndarray]:
    return [layer.random.normal(size=layer.shape).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_reads_and_goes_on_as_it_did(name, tmp_path):
    layer = LAYERS[name]()
    source = layer.write(tmp_path / "source.tflite", 2 if name.endswith("apart") else 1)
    feeds = feeds_of(layer, 4)
    expected = inferences(source, feeds)
    model = narrowcast.load(source)
    for array, wanted in zip(Reference(model).run({"x": feeds[0]}).values(), expected[0], strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=2e-6)
    written = narrowcast.save(model, tmp_path / "written.tflite")
    assert written.parity.sqnr_db > 90
    for found, wanted in zip(inferences(written.path, feeds), expected, strict=True):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)
    assert not np.allclose(expected[1][0], inferences(source, feeds[1:2])[0][0])
    assert narrowcast.save(model, tmp_path / "written.onnx").parity.sqnr_db > 90


@pytest.mark.parametrize("name", [name for name in LAYERS if "one step" not in name and "apart" not in name])
def test_a_layer_stays_one_operator(name, tmp_path):
    model = narrowcast.load(LAYERS[name]().write(tmp_path / "source.tflite"))
    written = narrowcast.save(model, tmp_path / "written.tflite")
    kinds, _ = runtimes.open(written.path, "litert").operators()
    assert sum(kinds.values()) == 1, kinds


def test_a_run_begins_anew(tmp_path):
    """A runner's inferences have nothing to do with one another."""
    layer = lstm()
    runner = runtimes.open(layer.write(tmp_path / "source.tflite"), "litert")
    feeds = [{"x": feed} for feed in feeds_of(layer, 2)]
    first = runner.run(feeds[0])
    runner.run(feeds[1])
    np.testing.assert_array_equal(runner.run(feeds[0])["y0"], first["y0"])


def test_states_that_the_graph_writes_are_given(tmp_path):
    """Each inference begins with what our own files say."""
    layer = lstm()
    container, begin = layer.container, np.full((2, 1, HIDDEN), 0.5, np.float32)
    given = container.tensor(Tensor("given", begin.shape, FLOAT, container.buffer(begin)))
    container.operator("UNPACK", [given], layer.inputs[-2:], options("UnpackOptions", num=2, axis=0))
    source = layer.write(tmp_path / "source.tflite")
    feeds = feeds_of(layer, 3)
    expected = inferences(source, feeds)
    written = narrowcast.save(narrowcast.load(source), tmp_path / "written.tflite")
    for found, wanted in zip(inferences(written.path, feeds), expected, strict=True):
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(inferences(source, feeds[1:2])[0][0], expected[1][0], atol=2e-6)


@pytest.mark.parametrize(
    ("place", "shape"), [(1, (HIDDEN, FEATURES + 1)), (6, (HIDDEN, 1)), (13, (HIDDEN + 1,)), (19, (1, HIDDEN + 1))]
)
def test_sizes_that_do_not_fit_are_told(place, shape, tmp_path):
    layer = lstm()
    tensors = layer.container.tensors
    old = tensors[layer.inputs[place]]
    buffer = 0 if old.variable else layer.container.buffer(np.zeros(shape, np.float32))
    tensors[layer.inputs[place]] = Tensor(old.name, shape, FLOAT, buffer, variable=old.variable)
    with pytest.raises(NarrowcastError, match="shape"):
        narrowcast.load(layer.write(tmp_path / "source.tflite"))


def test_an_activation_that_the_kernel_does_not_apply_is_refused(tmp_path):
    with pytest.raises(UnsupportedOpError, match="activation NONE"):
        narrowcast.load(lstm(fusedActivationFunction=0).write(tmp_path / "source.tflite"))


HYBRIDS = {
    "lstm": lambda: lstm(hybrid=True),
    "lstm, with zero points": lambda: lstm(hybrid=True, asymmetricQuantizeInputs=True),
    "lstm, all": lambda: lstm(PROJECTED, projection="bias", norms=True, hybrid=True, cellClip=0.6, projClip=0.4),
    "lstm, coupled": lambda: lstm(coupled=True, hybrid=True),
    "both lstm": lambda: both_lstm(hybrid=True, mergeOutputs=True),
    "rnn": lambda: rnn(SEQUENCE, "SequenceRNNOptions", hybrid=True),
    "both rnn": lambda: rnn(BOTH, "BidirectionalSequenceRNNOptions", mergeOutputs=True, hybrid=True),
    "svdf": lambda: svdf(hybrid=True),
    "svdf, of rank 2, with zero points": lambda: svdf(rank=2, hybrid=True, asymmetricQuantizeInputs=True),
}


@pytest.mark.parametrize("name", HYBRIDS)
def test_integer_weights_beside_floats_stay_so(name, tmp_path):
    """Bit for bit, one inference after the other; as real numbers, within what the kernel rounds its inputs to."""
    layer = HYBRIDS[name]()
    source = layer.write(tmp_path / "source.tflite")
    feeds = feeds_of(layer, 32)
    model = narrowcast.load(source)
    written = narrowcast.save(model, tmp_path / "written.tflite")
    expected = inferences(source, feeds)
    np.testing.assert_array_equal(inferences(written.path, feeds), expected)
    assert Interpreter(str(written.path))._get_ops_details()[0]["op_name"] == layer.operator
    found = Reference(model).run({"x": feeds[0]})
    assert np.abs(found["y0"] - expected[0][0]).max() < 0.03


X, Y = Quantization(np.float32([0.02]), np.array([-3])), Quantization(np.float32([1 / 128]), np.array([2]))
PROJECTED_Y, CELL = Quantization(np.float32([0.02]), np.array([5])), Quantization(np.float32([2.0**-11]), np.array([0]))


def integer_lstm(
    peepholes: bool = False, projected: bool = False, norms: bool = False, coupled: bool = False, **values
):
    """UNIDIRECTIONAL_SEQUENCE_LSTM in int8, its cells in int16."""
    made = lstm(PROJECTED if projected else HIDDEN, **values)
    made.inputs = made.inputs[:1]
    tensors, outputs = made.container.tensors, PROJECTED if projected else HIDDEN
    tensors[made.inputs[0]] = Tensor("x", made.shape, np.dtype(np.int8), quantization=X)
    state = PROJECTED_Y if projected else Y

    def each(shape: tuple[int, ...], kind: type, scale: float, gates: tuple[int, ...] = (0, 1, 2, 3)) -> list[int]:
        arrays = [made.random.uniform(-0.9, 0.9, shape) for _ in range(4)]
        present = [gate in gates and not (coupled and gate == 0) for gate in range(4)]
        return [made.integers(array, kind, scale) if has else -1 for array, has in zip(arrays, present, strict=True)]

    weight, norm = 0.9 / 127, 1.0 / 32767
    places = [*each((HIDDEN, FEATURES), np.int8, weight), *each((HIDDEN, outputs), np.int8, weight)]
    looks = each((HIDDEN,), np.int16, norm)
    places += [looks[0], looks[1], looks[3]] if peepholes else [-1] * 3
    places += each((HIDDEN,), np.int32, norm * 2.0**-10 if norms else float(X.scale[0]) * weight)
    matrix = made.integers(made.random.uniform(-0.9, 0.9, (outputs, HIDDEN)), np.int8, weight) if projected else -1
    bias = made.integers(made.random.uniform(-0.5, 0.5, outputs), np.int32, weight / 128) if projected else -1
    for size, kind, step in ((outputs, np.int8, state), (HIDDEN, np.int16, CELL)):
        tensors.append(Tensor(f"state{size}", (1, size), np.dtype(kind), quantization=step, variable=True))
    made.inputs += [*places, matrix, bias, len(tensors) - 2, len(tensors) - 1]
    made.inputs += each((HIDDEN,), np.int16, norm) if norms else []
    gate = Quantization(np.float32([2.0**-11]), np.array([0]))
    kinds = [(np.int16, gate) if norms else (np.float32, None)] * 4 + [(np.int8, Y)]
    inner = [
        made.container.tensor(Tensor(f"i{n}", (0,), np.dtype(kind), quantization=q))
        for n, (kind, q) in enumerate(kinds)
    ]
    y = made.container.tensor(Tensor("y0", made.output, np.dtype(np.int8), quantization=state))
    made.container.operator(made.operator, made.inputs, [y], options(made.kind, **made.values), inner)
    made.container.outputs.append(("y0", y))
    return made


def integer_svdf(rank: int = 1, **values: object) -> Layer:
    """SVDF in int8, its memory in int16."""
    made = svdf(rank, **values)
    made.inputs, tensors, filters = made.inputs[:1], made.container.tensors, HIDDEN * rank
    tensors[made.inputs[0]] = Tensor("x", made.shape, np.dtype(np.int8), quantization=X)
    kept, time = 2.0**-13, 0.9 / 32767
    for shape, kind, scale in (
        ((filters, FEATURES), np.int8, 0.9 / 127),
        ((filters, MEMORY), np.int16, time),
        ((HIDDEN,), np.int32, kept * time),
    ):
        made.inputs.append(made.integers(made.random.uniform(-0.9, 0.9, shape), kind, scale))
    step = Quantization(np.float32([kept]), np.array([0]))
    tensors.append(Tensor("state", (1, filters * MEMORY), np.dtype(np.int16), quantization=step, variable=True))
    y = made.container.tensor(Tensor("y0", made.output, np.dtype(np.int8), quantization=PROJECTED_Y))
    found = options(made.kind, **made.values)
    made.container.operator("SVDF", [*made.inputs, len(tensors) - 2], [y], found)
    made.container.outputs.append(("y0", y))
    return made


INTEGERS = {
    "filters": lambda: integer_svdf(fusedActivationFunction=1),
    "filters of rank 2": lambda: integer_svdf(2, fusedActivationFunction=1),
    "plain": integer_lstm,
    "clipped": lambda: integer_lstm(cellClip=0.4),
    "steps first": lambda: integer_lstm(timeMajor=True),
    "peepholes": lambda: integer_lstm(peepholes=True),
    "projected": lambda: integer_lstm(projected=True),
    "normalised": lambda: integer_lstm(norms=True),
    "coupled": lambda: integer_lstm(coupled=True),
    "all": lambda: integer_lstm(projected=True, norms=True, peepholes=True, projClip=0.5),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_layers_of_integers_stay_so(name, tmp_path):
    """Bit for bit, one inference after the other; as real numbers and in ONNX, within some steps of the output."""
    layer = INTEGERS[name]()
    source = tmp_path / "source.tflite"
    with source.open("wb") as file:
        layer.container.write(file)
    feeds = [layer.random.integers(-128, 128, layer.shape).astype(np.int8) for _ in range(32)]
    model = narrowcast.load(source)
    written = narrowcast.save(model, tmp_path / "written.tflite")
    expected = inferences(source, feeds)
    np.testing.assert_array_equal(inferences(written.path, feeds), expected)
    assert [row["op_name"] for row in Interpreter(str(written.path))._get_ops_details()] == [layer.operator]
    assert len(np.unique(expected)) > 20
    spelled = narrowcast.save(model, tmp_path / "written.onnx").path
    for runner in (Reference(model), runtimes.open(spelled, "onnxruntime")):
        found = runner.run({"x": feeds[0]})["y0"]
        assert np.abs(found.astype(int) - expected[0][0]).max() <= 1


@pytest.mark.parametrize("scheme", ["float16", "dynamic_range", "int8", "int16x8"])
@pytest.mark.parametrize(
    "name", ["lstm, all", "lstm, peepholes", "lstm, coupled", "both lstm", "rnn", "both rnn", "svdf"]
)
def test_a_float_layer_is_quantised_as_one_operator(name, scheme, tmp_path, monkeypatch):
    """Its matrices become integers beside floats, or halves; its states go on."""
    monkeypatch.setattr(weights, "SMALLEST", 4)
    layer = LAYERS[name]()
    source = layer.write(tmp_path / "source.tflite")
    feeds = feeds_of(layer, 8)
    np.savez(tmp_path / "data.npz", x=np.concatenate(feeds, axis=1 if layer.values.get("timeMajor") else 0))
    data = tmp_path / "data.npz" if scheme.startswith("int") else None
    model = narrowcast.quantize(narrowcast.load(source), scheme, data=data)
    written = narrowcast.save(model, tmp_path / "written.tflite").path
    kinds, _ = runtimes.open(written, "litert").operators()
    assert kinds[layer.operator] == 1
    found, expected = np.array(inferences(written, feeds)), np.array(inferences(source, feeds))
    assert np.abs(found - expected).max() < (0.01 if scheme == "float16" else 0.1)
    assert not np.array_equal(found, expected)


def test_a_layer_of_integers_becomes_one_of_floats(tmp_path):
    layer = integer_lstm(projected=True)
    source = tmp_path / "source.tflite"
    with source.open("wb") as file:
        layer.container.write(file)
    model = narrowcast.dequantize(narrowcast.load(source))
    written = narrowcast.save(model, tmp_path / "written.tflite")
    assert written.parity.sqnr_db > 90
    assert {tensor.dtype for tensor in model.inputs} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["keras_lstm_mnist_ptq", "tflm_mnist_lstm_float"])
def test_networks_with_states_go_on_as_they_did(name, zoo, tmp_path):
    """Bit for bit in 32 inferences one after the other, by as many operators."""
    source = zoo / "models" / f"{name}.tflite"
    written = narrowcast.save(narrowcast.load(source), tmp_path / "written.tflite").path
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (1, 28, 28)) * (random.random((1, 28, 28)) < 0.3) for _ in range(32)]
    feeds = [image.astype(np.uint8) if "ptq" in name else (image / 255).astype(np.float32) for image in pixels]
    np.testing.assert_array_equal(inferences(written, feeds), inferences(source, feeds))
    counts = [sum(runtimes.open(path, "litert").operators()[0].values()) for path in (source, written)]
    assert counts[1] <= counts[0]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("given", [("b",), ("b", "p", "h", "c")])
def test_our_own_layers_read_back(direction, given, tmp_path):
    """Their states are written before each inference, by the graph, and their last ones read after it."""
    proto = onnx_layer(direction, given)
    onnx.save(proto, tmp_path / "m.onnx")
    first = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "first.tflite").path
    model = narrowcast.load(first)
    second = narrowcast.save(model, tmp_path / "second.tflite").path
    kinds, _ = runtimes.open(second, "litert").operators()
    assert sum(count for kind, count in kinds.items() if kind.endswith("SEQUENCE_LSTM")) == 1
    runners = [runtimes.open(first, "litert"), runtimes.open(second, "litert"), Reference(model)]
    for seed in range(2):
        expected, *others = (runner.run(onnx_feeds(proto, seed)) for runner in runners)
        for found in others:
            for key, array in expected.items():
                np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-5)
