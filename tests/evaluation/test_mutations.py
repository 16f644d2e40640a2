"""The proof, put to the proof: twelve faults that a writer could have are planted in it, and each must be seen.

A fault is planted in the tables of a file about to be written, where a lowering would have made it. Where it changes
nothing that the file computes it is none; `NONE` lists those places, so that no fault is passed over unseen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import narrowcast
from narrowcast.cli.app import cli
from narrowcast.dialect.build import Builder
from narrowcast.errors import VerificationError
from narrowcast.model import Model, Provenance
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization import SCHEMES
from narrowcast.writers.tflite.elements import Elements
from narrowcast.writers.tflite.lowering import Lowering

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass
class File:
    """The tables of a file about to be written."""

    container: object

    def operators(self, *names):
        return [(i, item) for i, item in enumerate(self.container.operators) if not names or item.name in names]

    def constant(self, index):
        """A constant tensor's array; None for an activation. An array may be stored behind a DEQUANTIZE."""
        makers = {output: item for item in self.container.operators for output in item.outputs}
        while index in makers and makers[index].name == "DEQUANTIZE":
            index = makers[index].inputs[0]
        buffer = self.container._buffers[self.container.tensors[index].buffer]
        array = buffer.array() if isinstance(buffer, Elements) else buffer
        return index, (array if array.size else None)

    def store(self, index, array):
        self.container._buffers.append(np.ascontiguousarray(array))
        self.container.tensors[index] = replace(self.container.tensors[index], buffer=len(self.container._buffers) - 1)

    def change(self, operand, how, names=WEIGHTED):
        """Stores what `how` makes of a constant operand of such operators; whether it changed any."""
        changed = set()
        for _, item in self.operators(*names):
            if len(item.inputs) <= operand or item.inputs[operand] < 0:
                continue
            index, array = self.constant(item.inputs[operand])
            made = None if array is None or index in changed else how(array)
            if made is not None and not np.array_equal(made, array):
                self.store(index, made)
                changed.add(index)
        return bool(changed)

    def options(self, how, *names):
        """Lets `how` change the options of such operators; whether it changed any."""
        changed = [how(item.options) for _, item in self.operators(*names) if item.options is not None]
        return any(changed)


def plus_one(array):
    top = np.iinfo(array.dtype).max if array.dtype.kind == "i" else None
    return np.where(array == top, array, array + np.ones((), array.dtype)).astype(array.dtype)


def a_zero_point(file):
    """Of what the first convolution writes."""
    for _, item in file.operators("CONV_2D"):
        tensor = file.container.tensors[item.outputs[0]]
        if tensor.quantization is not None and tensor.dtype == np.int8:
            step = replace(tensor.quantization, zero_point=tensor.quantization.zero_point + 1)
            file.container.tensors[item.outputs[0]] = replace(tensor, quantization=step)
            return True
    return False


def rotated_scales(file):
    changed = False
    for _, item in file.operators(*WEIGHTED):
        index, array = file.constant(item.inputs[1])
        step = file.container.tensors[index].quantization
        if array is not None and step is not None and step.scale.size > 1:
            rolled = replace(step, scale=np.roll(step.scale, 1))
            file.container.tensors[index] = replace(file.container.tensors[index], quantization=rolled)
            changed = True
    return changed


def turned(array):
    square = array.ndim == 4 and array.shape[1] == array.shape[2] > 1
    return array.transpose(0, 2, 1, 3) if square else None


def no_activation(options):
    lost = getattr(options, "fusedActivationFunction", 0) != 0
    if lost:
        options.fusedActivationFunction = 0
    return lost


def strides_for_dilations(options):
    stride, dilation = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor) = dilation, stride
    return stride != dilation


def half_pixels(options):
    options.halfPixelCenters = not options.halfPixelCenters
    return True


def other_order(file):
    found = file.operators("CONCATENATION")
    for place, item in found:
        file.container.operators[place] = replace(item, inputs=item.inputs[::-1])
    return bool(found)


FAULTS = {
    "weights negated": lambda file: file.change(1, lambda array: -np.maximum(array, -127)),
    "weights plus one": lambda file: file.change(1, plus_one),
    "a zero point plus one": a_zero_point,
    "scales rotated by a channel": rotated_scales,
    "biases dropped": lambda file: file.change(2, np.zeros_like),
    "the neighbour's bias": lambda file: file.change(2, lambda array: np.roll(array, 1)),
    "height for width": lambda file: file.change(1, turned, ("CONV_2D", "DEPTHWISE_CONV_2D")),
    "pads at the other end": lambda file: file.change(1, lambda array: array[:, ::-1], ("PAD",)),
    "an activation lost": lambda file: file.options(no_activation, *WEIGHTED, "ADD"),
    "branches in another order": other_order,
    "half pixels": lambda file: file.options(half_pixels, "RESIZE_BILINEAR"),
    "strides for dilations": lambda file: file.options(strides_for_dilations, "CONV_2D"),
}

NONE = {
    "a zero point plus one": {("float32",), ("float16",), ("dynamic_range",), ("weight_only",), ("int16x8",)},
    "scales rotated by a channel": {("float32",), ("float16",)},
    "pads at the other end": {("digits",)},
    "branches in another order": {("digits",)},
    "half pixels": {("digits",)},
    "strides for dilations": {("digits",)},
    "an activation lost": {("digits", "int8"), ("digits", "full_int8")},
}
"""Where a fault has no place: schemes without zero points or scales, a network without the operator, and a RELU below
which its integers end."""


def network(seed, size, channels, clipped, classes):
    """Two branches beside one another, enlarged: all that the faults need."""
    random = np.random.default_rng(seed)

    def conv(x, out, into, kernel, **attributes):
        weights = random.normal(size=(out, into, kernel, kernel)) * np.exp(random.normal(size=(out, 1, 1, 1)) * 0.5)
        bias = build.constant(random.normal(size=out).astype(np.float32), "bias")
        return build("Conv", x, build.constant(weights.astype(np.float32) * 0.5, "weights"), bias, **attributes)

    build = Builder.new("network")
    x = build.input("image", (1, 3, size, size))
    x = conv(x, channels, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    bounds = (build.constant(np.float32(0), "low"), build.constant(np.float32(6), "high"))
    x = build("Clip", x, *bounds) if clipped else build("Relu", x)
    one = build("Relu", conv(x, channels, 1, 3, pads=[1, 1, 1, 1], group=channels))
    other = conv(x, channels - 2, channels, 1)
    x = build("Concat", one, other, axis=1)
    scales = build.constant(np.array([1, 1, 2, 2], np.float32), "scales")
    x = build("Resize", x, None, scales, mode="linear", coordinate_transformation_mode="half_pixel")
    x = conv(x, 5, 2 * channels - 2, 3, pads=[1, 1, 1, 1])
    if classes:
        flat = build("Reshape", x, build.constant(np.array([1, 5 * size * size], np.int64), "flat"))
        weights = random.normal(size=(classes, 5 * size * size)).astype(np.float32) * 0.05
        x = build("Gemm", flat, build.constant(weights), build.constant(random.normal(size=classes).astype(np.float32)),
                  transB=1)  # fmt: skip
    model = Model(build.finish([x]), provenance=Provenance())
    infer_shapes(model)
    canonicalize(model)
    return model, [{"image": random.uniform(-1, 1, (1, 3, size, size)).astype(np.float32)} for _ in range(4)]


def digits():
    folder = Path(__file__).parents[2] / "examples" / "digits"
    model = narrowcast.load(folder / "model.keras")
    spec = model.inputs[0]
    with np.load(folder / "calibration.npz") as data:
        images = data[data.files[0]][:4].astype(np.float32)
    return model, [{spec.name: image.reshape(spec.shape)} for image in images]


NETWORKS = {
    "map": lambda: network(0, 12, 16, clipped=True, classes=0),
    "classes": lambda: network(1, 8, 8, clipped=False, classes=7),
    "wide": lambda: network(2, 16, 20, clipped=False, classes=0),
    "digits": digits,
}
CASES = [pytest.param(name, scheme, id=f"{name}-{scheme}") for name in NETWORKS for scheme in SCHEMES]


@pytest.fixture(scope="module")
def made():
    """Networks and their quantised graphs, each made once."""
    models, quantized = {}, {}

    def make(name, scheme):
        if name not in models:
            models[name] = NETWORKS[name]()
        model, feeds = models[name]
        if (name, scheme) not in quantized:
            quantized[name, scheme] = model if scheme == "float32" else narrowcast.quantize(model, scheme, data=feeds)
        return quantized[name, scheme], feeds

    return make


def planted(monkeypatch, fault):
    """Plants a fault in the writer; what it returns is filled with whether there was anything to spoil."""
    told = []
    run = Lowering.run

    def spoilt(self):
        container = run(self)
        told.append(fault(File(container)))
        return container

    monkeypatch.setattr(Lowering, "run", spoilt)
    return told


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_a_sound_writer_passes(name, scheme, made, tmp_path):
    model, feeds = made(name, scheme)
    assert narrowcast.save(model, tmp_path / "m.tflite", data=feeds).parity.translated


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_every_fault_is_seen(name, scheme, fault, made, tmp_path, monkeypatch):
    exists = not NONE.get(fault, set()) & {(name,), (scheme,), (name, scheme)}
    model, feeds = made(name, scheme)
    told = planted(monkeypatch, FAULTS[fault])
    if not exists:
        assert narrowcast.save(model, tmp_path / "m.tflite", data=feeds).parity.translated
        assert told == [False] or fault == "an activation lost"
        return
    with pytest.raises(VerificationError) as caught:
        narrowcast.save(model, tmp_path / "m.tflite", data=feeds)
    assert told == [True]
    assert caught.value.exit_code == 3
    assert (tmp_path / "m.tflite.unverified").exists()
    written = caught.value.written
    assert written.parity is None or not written.parity.translated


def test_the_command_line_ends_with_3(made, tmp_path, monkeypatch):
    planted(monkeypatch, FAULTS["the neighbour's bias"])
    folder = Path(__file__).parents[2] / "examples" / "digits"
    words = ["--scheme", "int8", "--data", str(folder / "calibration.npz"), "-o", str(tmp_path / "m.tflite")]
    done = CliRunner().invoke(cli, ["quantize", str(folder / "model.keras"), *words], prog_name="narrowcast")
    assert done.exit_code == 3
    assert "the fault is the converter's" in done.output + done.stderr
