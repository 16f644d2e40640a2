"""Weights of 4 bits, in blocks too, and weights that become floats: who has them, and that the files compute so."""

from __future__ import annotations

import json

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

import narrowcast
from narrowcast import runtimes
from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError, UnsupportedError, UsageError
from narrowcast.evaluation.trials import Trial
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.quantization.parameters import block_scale, quantize_array, quantize_blocks, weight_scale
from narrowcast.quantization.scheme import NOTES, SCHEMES, by_bits, scheme_named
from narrowcast.readers.tflite.check import check
from narrowcast.readers.tflite.file import parse
from narrowcast.reference import Reference

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(size=(40, 64)).astype(np.float32)
BIAS = RANDOM.normal(size=64).astype(np.float32)


def dense(build, inputs=64, outputs=40, bias=True):
    x = build.input("x", (1, inputs))
    weights = build.constant(np.resize(WEIGHTS, (outputs, inputs)), "w")
    more = [build.constant(np.resize(BIAS, outputs), "b")] if bias else []
    return build("Gemm", x, weights, *more, transB=1, shape=(1, outputs), name="y")


def product(build):
    x = build.input("x", (2, 3, 64))
    return build("MatMul", x, build.constant(np.ascontiguousarray(WEIGHTS.T), "w"), shape=(2, 3, 40), name="y")


def convolution(build, inputs=16, outputs=24, group=1, window=3):
    x = build.input("x", (1, inputs, 9, 9))
    weights = build.constant(np.resize(WEIGHTS, (outputs, inputs // group, window, window)), "w")
    options = {"kernel_shape": [window] * 2, "strides": [1, 1], "pads": [window // 2] * 4, "dilations": [1, 1]}
    bias = build.constant(np.resize(BIAS, outputs), "b")
    return build("Conv", x, weights, bias, **options, group=group, shape=(1, outputs, 9, 9), name="y")


def transposed(build):
    x, weights = build.input("x", (1, 16, 9, 9)), build.constant(np.resize(WEIGHTS, (16, 24, 3, 3)), "w")
    options = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
    return build("ConvTranspose", x, weights, **options, shape=(1, 24, 11, 11), name="y")


def activated(build):
    return build("Relu", dense(build), shape=(1, 40))


NETWORKS = {
    "activated": activated,
    "dense": dense,
    "odd dense": lambda build: dense(build, 63, 41),
    "dense without bias": lambda build: dense(build, bias=False),
    "product": product,
    "convolution": convolution,
    "odd convolution": lambda build: convolution(build, 15, 25),
    "window of 1": lambda build: convolution(build, 64, 48, window=1),
    "groups": lambda build: convolution(build, 16, 32, group=2),
    "depthwise": lambda build: convolution(build, 128, 128, group=128),
    "odd depthwise": lambda build: convolution(build, 127, 127, group=127),
    "transposed": transposed,
}
IN_8_BITS = {
    ("depthwise", "dynamic_range"),
    ("odd depthwise", "dynamic_range"),
    ("depthwise", "int16x8"),
    ("odd depthwise", "int16x8"),
    ("transposed", "int8"),
    ("transposed", "int16x8"),
}
"""Networks and schemes for which LiteRT has no kernel."""


def made(name):
    build = Builder.new("network")
    model = Model(build.finish([NETWORKS[name](build)]))
    canonicalize(model)
    random = np.random.default_rng(1)
    return model, [{"x": random.normal(size=model.inputs[0].shape).astype(np.float32)} for _ in range(4)]


def written(name, scheme, folder, fmt="tflite", **options):
    """The file, which is proven: each integer layer within one step of the quantised graph."""
    model, feeds = made(name)
    small = narrowcast.quantize(model, scheme, data=feeds, fmt=fmt, **options)
    file = narrowcast.save(small, folder / f"m.{fmt}", data=feeds)
    return file, json.loads(small.ir.metadata_props[NOTES])


def stored(path):
    """The constants of a .tflite file that are stored in few bits."""
    tensors = parse(path.read_bytes()).subgraphs[0].tensors
    return [tensor for tensor in tensors if tensor.content is not None and tensor.type in ("INT4", "INT8")]


@pytest.mark.parametrize("scheme", ["dynamic_range", "weight_only", "int8", "full_int8", "int16x8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_in_4_bits(name, scheme, tmp_path):
    if (name, scheme) == ("transposed", "dynamic_range"):
        pytest.skip("it has no hybrid kernel at all")
    file, notes = written(name, scheme, tmp_path, weight_bits=4)
    wide = (name, scheme.removeprefix("full_")) in IN_8_BITS
    (weights,) = stored(file.path)
    assert weights.type == ("INT8" if wide else "INT4")
    assert weights.quantization.scale.size in weights.shape
    assert wide == any("weights in 8 bits, as" in note for note in notes)
    if not wide:
        assert np.abs(weights.array).max() == 7
        assert weights.content.size == -(-np.prod(weights.shape) // 2)
        assert 17 < file.parity.sqnr_db < 24


@pytest.mark.parametrize("block", [32, 64])
@pytest.mark.parametrize("name", ["activated", "dense", "dense without bias", "product"])
def test_blocks_of_litert(name, block, tmp_path):
    file, notes = written(name, "dynamic_range", tmp_path, weight_bits=4, block_size=block)
    assert not [note for note in notes if "scale for each channel" in note]
    content = file.path.read_bytes()
    scales = [tensor for tensor in parse(content).subgraphs[0].tensors if tensor.type == "FLOAT16"]
    assert [tensor.shape for tensor in scales] == [(40, 64 // block)]
    assert file.parity.sqnr_db > {32: 19.5, 64: 18.5}[block]
    assert "LiteRT" in file.parity.runtime


@pytest.mark.parametrize(
    ("name", "scheme", "reason"),
    [
        ("odd dense", "dynamic_range", "multiples of 32 that divide the inputs"),
        ("dense", "int8", "blocks in dynamic_range only"),
        ("dense", "weight_only", "blocks in dynamic_range only"),
        ("convolution", "dynamic_range", "one scale for each channel"),
    ],
)
def test_what_has_no_blocks_has_scales_of_channels(name, scheme, reason, tmp_path):
    file, notes = written(name, scheme, tmp_path, weight_bits=4, block_size=32)
    (note,) = [note for note in notes if "weights with a scale for each channel, as" in note]
    assert reason in note
    (weights,) = stored(file.path)
    assert (weights.type, weights.quantization.scale.size) == ("INT4", weights.shape[0])


@pytest.mark.parametrize(("given", "block"), [(None, 32), (16, 16), (64, 64)])
@pytest.mark.parametrize("name", ["dense", "dense without bias", "product"])
def test_blocks_of_onnx_runtime(name, given, block, tmp_path):
    """A MatMul, never a Gemm, by a matrix of which each run of inputs has a scale."""
    file, _ = written(name, "weight_only", tmp_path, "onnx", weight_bits=4, block_size=given)
    graph = onnx.load(file.path).graph
    nodes = {node.op_type: node for node in graph.node}
    assert set(nodes) <= {"DequantizeLinear", "MatMul", "Add", "Identity"}
    (integers,) = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT4 and tensor.dims]
    options = {item.name: item.i for item in nodes["DequantizeLinear"].attribute}
    scale = next(item for item in graph.initializer if item.name == nodes["DequantizeLinear"].input[1])
    assert list(integers.dims) == [64, 40]
    assert (options["axis"], options["block_size"], list(scale.dims)) == (0, block, [64 // block, 40])
    found = numpy_helper.to_array(integers).astype(np.float64)
    real = found * np.repeat(numpy_helper.to_array(scale), block, axis=0)
    matrix = WEIGHTS.T if name == "product" else np.resize(WEIGHTS, (40, 64)).T
    assert np.square(matrix - real).mean() < 0.02 * np.square(matrix).mean()


def test_other_weights_of_onnx_files_have_scales_of_channels(tmp_path):
    file, notes = written("convolution", "weight_only", tmp_path, "onnx", weight_bits=4)
    types = {tensor.data_type for tensor in onnx.load(file.path).graph.initializer if len(tensor.dims) == 4}
    assert types == {onnx.TensorProto.INT4}
    assert len(notes) == 1


def test_an_opset_before_blocks(tmp_path):
    model, _ = made("dense")
    small = narrowcast.quantize(model, "weight_only", fmt="onnx", opset=20, weight_bits=4)
    assert "weights in 8 bits, as ONNX has weights of 4 bits from opset 21 on" in small.ir.metadata_props[NOTES]
    narrowcast.save(small, tmp_path / "m.onnx", opset=20)


@pytest.mark.parametrize("fmt", ["tflite", "onnx"])
@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("name", ["dense", "convolution", "depthwise"])
def test_weights_that_become_floats(name, weights, fmt, tmp_path):
    """Nothing but the weights is rounded: the file computes what the network does with rounded weights."""
    file, _ = written(name, "weight_only", tmp_path, fmt, weights=weights)
    assert file.parity.translation.sqnr_db > 100
    assert file.parity.sqnr_db > 35
    if fmt == "tflite":
        graph = parse(file.path.read_bytes()).subgraphs[0]
        assert graph.operators[0].name == "DEQUANTIZE"
        (kernel,) = stored(file.path)
        assert (kernel.type, kernel.quantization.scale.size > 1) == ("INT8", weights == "per-channel")


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("dtype", ["int4", "int8"])
def test_integers_and_scales(dtype, narrow):
    top = {"int4": 7, "int8": 127}[dtype]
    scale = weight_scale(WEIGHTS, 0, dtype, narrow=narrow)
    low, high = WEIGHTS.min(1).astype(np.float64), WEIGHTS.max(1).astype(np.float64)
    wanted = np.maximum(high, -low * (1 if narrow else top / (top + 1))) / top
    np.testing.assert_allclose(scale, wanted, rtol=1e-6)
    found = quantize_array(WEIGHTS, scale, 0, dtype, 0, narrow=narrow).astype(np.int64)
    np.testing.assert_array_equal(found, np.clip(np.rint(WEIGHTS / scale[:, None]), -top if narrow else -top - 1, top))


@pytest.mark.parametrize("axis", [0, 1])
def test_integers_and_scales_of_blocks(axis):
    """Beside loops over the blocks."""
    weights = WEIGHTS[:32].copy()
    weights[:, 32:] *= 1e-3
    weights[3, :32] = 0.0
    scale = block_scale(weights, axis, 32)
    found = quantize_blocks(weights, scale, axis).astype(np.float64)
    assert scale.shape == ((1, 64) if axis == 0 else (32, 2))
    np.testing.assert_array_equal(scale, scale.astype(np.float16).astype(np.float32))
    rows, steps, integers = (array if axis == 1 else array.T for array in (weights, scale, found))
    for row, step, integer in zip(rows, steps, integers, strict=True):
        for start, one in zip(range(0, row.size, 32), step, strict=True):
            run = row[start : start + 32]
            assert one == pytest.approx(max(np.abs(run).max() / 7, 1e-7), rel=2**-7, abs=2e-7)
            np.testing.assert_array_equal(integer[start : start + 32], np.clip(np.rint(run / one), -7, 7))


@pytest.mark.parametrize(
    ("name", "scheme", "bits", "block"),
    [
        ("dynamic_wi8_afp32", "dynamic_range", "int8", 0),
        ("dynamic_wi4_afp32", "dynamic_range", "int4", 0),
        ("dynamic_wi4b32_afp32", "dynamic_range", "int4", 32),
        ("weight_only_wi8_afp32", "weight_only", "int8", 0),
        ("weight_only_wi4_afp32", "weight_only", "int4", 0),
        ("static_wi8_ai8", "int8", "int8", 0),
        ("static_wi4_ai8", "int8", "int4", 0),
        ("static_wi8_ai16", "int16x8", "int8", 0),
    ],
)
def test_recipes_of_ai_edge_quantizer(name, scheme, bits, block):
    row = scheme_named(name)
    assert (row.name, row.weights, row.block) == (scheme, bits, block)
    assert row.settings == ({"weight_bits": 4} if bits == "int4" else {}) | ({"block_size": block} if block else {})


def test_a_recipe_says_its_bits(tmp_path):
    """They are in the record of the file, as if they had been asked for."""
    file, _ = written("dense", "static_wi4_ai8", tmp_path)
    assert [weights.type for weights in stored(file.path)] == ["INT4"]
    record = json.loads(bytes(parse(file.path.read_bytes()).metadata["narrowcast"]))
    assert (record["scheme"], record["options"]["weight_bits"]) == ("int8", 4)
    again, _ = written("dense", "int8", tmp_path, weight_bits=4)
    assert [weights.array.tolist() for weights in stored(again.path)] == [
        weights.array.tolist() for weights in stored(file.path)
    ]
    wider, _ = written("dense", "static_wi4_ai8", tmp_path, weight_bits=8)
    assert [weights.type for weights in stored(wider.path)] == ["INT8"]


def test_an_override_may_be_a_recipe(tmp_path):
    file, _ = written("dense", "int8", tmp_path, overrides={"y*": "static_wi4_ai8"})
    assert [weights.type for weights in stored(file.path)] == ["INT4"]


@pytest.mark.parametrize(
    ("scheme", "bits", "block", "reason"),
    [
        ("int8", 3, None, "no weights of 3 bits"),
        ("float16", 4, None, "has no integer weights"),
        ("int8", None, 32, "blocks are of weights of 4 bits"),
        ("int8", 8, 32, "blocks are of weights of 4 bits"),
        ("int8", 4, 24, "no blocks of 24"),
        ("int8", 4, 8, "no blocks of 8"),
    ],
)
def test_what_is_refused(scheme, bits, block, reason):
    with pytest.raises(UsageError, match=reason):
        by_bits(SCHEMES[scheme], bits, block)
    model, feeds = made("dense")
    with pytest.raises(UsageError, match=reason):
        narrowcast.quantize(model, scheme, data=feeds, weight_bits=bits, block_size=block)


def test_trials_keep_bits_and_blocks():
    trial = Trial.from_data(
        {"source": "m.onnx", "target": "tflite", "scheme": "int8", "overrides": {"weight_bits": 4, "block_size": 32}}
    )
    assert (trial.settings.weight_bits, trial.settings.block_size) == (4, 32)
    assert Trial.from_json(trial.to_json()) == trial


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("scheme", ["dynamic_range", "int8", "weight_only"])
@pytest.mark.parametrize("name", ["dense", "convolution", "depthwise"])
def test_one_scale_in_all(name, scheme, bits, tmp_path):
    """LiteRT's hybrid depthwise kernel reads a scale for each channel, whether there are so many or not."""
    file, _ = written(name, scheme, tmp_path, weights="per-tensor", weight_bits=bits)
    (weights,) = stored(file.path)
    hybrid = (name, scheme) == ("depthwise", "dynamic_range")
    assert weights.quantization.scale.size == (128 if hybrid else 1)
    assert len(set(weights.quantization.scale.tolist())) == 1


def test_few_weights_have_8_bits(tmp_path):
    """The first convolution of an image has few, and they matter."""
    NETWORKS["few"] = lambda build: convolution(build, 3, 16)
    file, notes = written("few", "int8", tmp_path, weight_bits=4)
    del NETWORKS["few"]
    assert [weights.type for weights in stored(file.path)] == ["INT8"]
    assert any("weights in 8 bits, as fewer than 1024 are no gain" in note for note in notes)


@pytest.mark.parametrize("weights", ["per-tensor", "per-channel"])
@pytest.mark.parametrize("scheme", ["dynamic_range", "weight_only", "int8"])
def test_channels_that_one_scale_loses_have_a_note(scheme, weights):
    build = Builder.new("network")
    x = build.input("x", (1, 64))
    matrix = WEIGHTS * np.where(np.arange(40) == 7, 1e-3, 1).astype(np.float32)[:, None]
    model = Model(build.finish([build("Gemm", x, build.constant(matrix, "w"), transB=1, shape=(1, 40), name="y")]))
    data = RANDOM.normal(size=(4, 64)).astype(np.float32)
    small = narrowcast.quantize(model, scheme, data=data, weights=weights)
    notes = [note for note in json.loads(small.ir.metadata_props[NOTES]) if "some channels are lost" in note]
    assert len(notes) == (weights == "per-tensor")


def test_blocks_behind_an_image(tmp_path):
    """A dense layer after a flattened image keeps its order of inputs, and so its blocks."""
    build = Builder.new("network")
    x = build.input("x", (1, 8, 4, 4))
    options = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "group": 1}
    kernel = build.constant(np.resize(WEIGHTS, (16, 8, 3, 3)), "kernel")
    image = build("Conv", x, kernel, shape=(1, 16, 4, 4), **options)
    flat = build("Reshape", image, build.constant([1, 256], "flat", np.int64), shape=(1, 256))
    weights = build.constant(np.resize(WEIGHTS, (10, 256)), "w")
    model = Model(build.finish([build("Gemm", flat, weights, transB=1, shape=(1, 10), name="y")]))
    canonicalize(model)
    data = RANDOM.normal(size=(4, 8, 4, 4)).astype(np.float32)
    small = narrowcast.quantize(model, "dynamic_range", weight_bits=4, block_size=32)
    path = narrowcast.save(small, tmp_path / "m.tflite", data=data).path
    tensors = parse(path.read_bytes()).subgraphs[0].tensors
    assert [tensor.shape for tensor in tensors if tensor.type == "FLOAT16"] == [(10, 8)]
    assert sorted(tensor.shape for tensor in tensors if tensor.type == "INT4") == [(10, 256), (16, 3, 3, 8)]


@pytest.mark.parametrize("bits", [4, 8])
def test_matrices_of_a_recurrent_layer_become_floats_too(bits, tmp_path):
    build = Builder.new("network")
    x = build.input("x", (8, 1, 16))
    w, r = (build.constant(np.resize(WEIGHTS, (1, 64, 16)), name) for name in "wr")
    made, *_ = build("LSTM", x, w, r, outputs=3, hidden_size=16, shape=(8, 1, 1, 16), dtype=np.float32)
    model = Model(build.finish([made]))
    canonicalize(model)
    data = [{"x": RANDOM.normal(size=(8, 1, 16)).astype(np.float32)} for _ in range(4)]
    small = narrowcast.quantize(model, "weight_only", weight_bits=bits)
    file = narrowcast.save(small, tmp_path / "m.tflite", data=data)
    assert stored(file.path)
    assert file.parity.translation.sqnr_db > 90


def test_files_in_blocks_are_read(tmp_path):
    """As the numbers that they stand for."""
    file, _ = written("dense", "dynamic_range", tmp_path, weight_bits=4, block_size=32)
    model = narrowcast.load(file.path)
    random = np.random.default_rng(2).normal(size=(1, 64)).astype(np.float32)
    runner = runtimes.open(file.path, "litert")
    (wanted,), (found,) = runner.run({"x": random}).values(), Reference(model).run({"x": random}).values()
    assert np.square(wanted - found).mean() < 1e-3 * np.square(wanted).mean()


def blocks(**changes):
    """A dense layer's weights in blocks, of which something is wrong."""

    def spoil(model):
        graph = model.subgraphs[0]
        for tensor in graph.tensors:
            if tensor.type == schema.TensorType.INT4:
                for name, value in changes.items():
                    setattr(tensor.quantization.details, name, value)

    return spoil


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scales": 99}, "no constant in half precision"),
        ({"scales": -1}, "no constant in half precision"),
        ({"scales": 0}, "no constant in half precision"),
        ({"blockSize": 0}, "blocks of 0 do not divide"),
        ({"blockSize": 48}, "blocks of 48 do not divide"),
        ({"blockSize": 64}, "has the scales"),
        ({"zeroPoints": 1}, "blocks of another kind"),
    ],
)
def test_damaged_blocks_are_refused(changes, reason, tmp_path):
    file, _ = written("dense", "dynamic_range", tmp_path, weight_bits=4, block_size=32)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.path.read_bytes(), 0))
    blocks(**changes)(model)
    build = flatbuffers.Builder(1024)
    build.Finish(model.Pack(build), b"TFL3")
    with pytest.raises((ModelFileError, UnsupportedError), match=reason):
        check(parse(bytes(build.Output())))


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("int8", {"weight_bits": 4}),
        ("int16x8", {"weight_bits": 4}),
        ("dynamic_range", {"weight_bits": 4}),
        ("dynamic_range", {"weight_bits": 4, "block_size": 32}),
        ("weight_only", {"weight_bits": 4}),
        ("weight_only", {}),
    ],
)
@pytest.mark.parametrize("name", ["dense", "convolution"])
def test_a_file_is_written_again_as_it_is(name, scheme, options, tmp_path):
    """Its weights keep their bits, their scales and their way to the operator, and it gives the same numbers."""
    file, _ = written(name, scheme, tmp_path, **options)
    model = narrowcast.load(file.path)
    assert model.scheme == scheme
    again = narrowcast.save(model, tmp_path / "again.tflite")
    assert again.parity.identical
    (before,), (after,) = stored(file.path), stored(again.path)
    assert (before.type, before.blocks and before.blocks[1]) == (after.type, after.blocks and after.blocks[1])
    np.testing.assert_array_equal(before.array, after.array)


@pytest.mark.parametrize("repair", ["gptq", "bias"])
@pytest.mark.parametrize(("scheme", "block"), [("dynamic_range", None), ("dynamic_range", 32), ("int8", None)])
def test_repairs_change_integers_of_4_bits(scheme, block, repair, tmp_path):
    """They stay such, with their scales, and the file computes what the repaired graph says."""
    model, _ = made("dense")
    mix = np.random.default_rng(3).normal(size=(8, 64)).astype(np.float32)  # so that 32 samples tell it all
    data = [{"x": np.random.default_rng(seed).normal(size=(1, 8)).astype(np.float32) @ mix} for seed in range(64)]
    options = {"data": data, "weight_bits": 4, "block_size": block}
    plain, repaired = (
        narrowcast.save(
            narrowcast.quantize(model, scheme, repairs=repairs, **options), tmp_path / "m.tflite", data=data
        )
        for repairs in ((), (repair,))
    )
    (weights,) = stored(repaired.path)
    assert (weights.type, weights.blocks is not None) == ("INT4", block is not None)
    assert np.abs(weights.array).max() <= 7
    assert repaired.parity.sqnr_db > plain.parity.sqnr_db + {"gptq": 0.5, "bias": -0.5}[repair]


def test_onnx_runtime_multiplies_weights_of_8_bits_by_activations_as_they_come(tmp_path):
    """A MatMul of floats by such weights is one with integers there, and its noise is no fault of the file."""
    file, _ = written("product", "weight_only", tmp_path, "onnx")
    assert file.parity.translation.sqnr_db > 35
