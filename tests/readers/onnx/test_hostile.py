"""Files that are damaged, contradict themselves, or reach for what is not theirs: one clear error each."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import narrowcast

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
MODEL, UNSUPPORTED = narrowcast.ModelFileError, narrowcast.UnsupportedOpError


def network(nodes, *weights, opset=17, dtype=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", dtype, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", dtype, None)],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op_type, inputs, outputs, **attributes):
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def weights(array=WEIGHTS):
    return numpy_helper.from_array(array, "w")


def raw(dims, data=b"1234"):
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=data)


def external(location, offset="0", length="432"):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHTS.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    return tensor


CONV = node("Conv", "x w", "y")
CASES = {
    "cycle": (network([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")]), MODEL, "cycle"),
    "missing initialiser": (network([CONV]), MODEL, "'w'"),
    "no such output": (network([node("Relu", "x", "z")]), MODEL, "'y'"),
    "names twice": (network([node("Relu", "x", "a"), node("Neg", "x", "a"), node("Relu", "a", "y")]), MODEL, "'a'"),
    "NaN": (network([CONV], weights(np.full_like(WEIGHTS, np.nan))), MODEL, "NaN"),
    "infinity": (network([CONV], weights(np.full_like(WEIGHTS, np.inf))), MODEL, "infinity"),
    "another domain": (network([helper.make_node("Frob", ["x"], ["y"], domain="com.acme")]), UNSUPPORTED, "com.acme"),
    "no such operator": (network([node("Frob", "x", "y")]), UNSUPPORTED, "Frob"),
    "old": (network([node("Relu", "x", "y")], opset=5), narrowcast.UnsupportedError, "opset 5"),
    "terabytes": (network([CONV], raw([1 << 20, 1 << 20, 3, 3])), MODEL, "needs 39582418599936 bytes"),
    "negative size": (network([CONV], raw([-4, 3, 3, 3])), MODEL, "impossible shape"),
    "kernel of rank 3": (network([node("Conv", "x w", "y", kernel_shape=[3, 3, 3])], weights()), MODEL, "kernel_shape"),
    "stride 0": (network([node("Conv", "x w", "y", strides=[0, 0])], weights()), MODEL, "strides"),
    "attribute of another type": (network([node("Conv", "x w", "y", strides="ab")], weights()), MODEL, "strides"),
    "reshape to another size": (
        network([node("Reshape", "x w", "y")], numpy_helper.from_array(np.array([7, 7]), "w")),
        MODEL,
        "different numbers of elements",
    ),
    "strings": (network([node("Relu", "x", "y")], dtype=TensorProto.STRING), narrowcast.NarrowcastError, "string"),
    "a folder above": (network([CONV], external("../../etc/hostname")), MODEL, "outside its folder"),
    "an absolute path": (network([CONV], external("/etc/hostname")), MODEL, "outside its folder"),
    "data that is gone": (network([CONV], external("gone.bin")), MODEL, "missing"),
    "data too short": (network([CONV], external("short.bin")), MODEL, "past the end"),
    "a negative offset": (network([CONV], external("short.bin", offset="-8")), MODEL, "short.bin"),
    "a huge offset": (network([CONV], external("short.bin", offset=str(2**62))), MODEL, "past the end"),
    "a length that is no number": (network([CONV], external("short.bin", length="many")), MODEL, "w"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_error(name, tmp_path):
    proto, error, words = CASES[name]
    (tmp_path / "short.bin").write_bytes(b"12")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(error) as caught:
        narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value).strip()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "short.bin"]


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "model").mkdir()
    (tmp_path / "model/w.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "model/m.onnx").write_bytes(network([CONV], external("w.bin")).SerializeToString())
    with pytest.raises(MODEL, match="outside its folder"):
        narrowcast.load(tmp_path / "model/m.onnx")


def test_external_data_in_the_folder_is_read(tmp_path):
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "m.onnx").write_bytes(network([CONV], external("w.bin")).SerializeToString())
    found = narrowcast.load(tmp_path / "m.onnx").graph.initializers["w"].const_value.numpy()
    np.testing.assert_array_equal(found, WEIGHTS)


SOUND = network([node("Conv", "x w", "c"), node("Relu", "c", "y")], weights()).SerializeToString()


@pytest.mark.parametrize("size", [0, 1, 10, 64, len(SOUND) // 2, len(SOUND) - 1])
def test_truncated_bytes(size, tmp_path):
    (tmp_path / "m.onnx").write_bytes(SOUND[:size])
    with pytest.raises(MODEL):
        narrowcast.load(tmp_path / "m.onnx")


def test_random_bytes(tmp_path):
    (tmp_path / "m.onnx").write_bytes(random.Random(0).randbytes(5000))
    with pytest.raises(MODEL):
        narrowcast.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("seed", range(20))
def test_mutations_are_read_or_refused(seed, tmp_path):
    """Bytes changed, left out or repeated, outside the weights: never a crash or a traceback."""
    chance = random.Random(seed)
    start = SOUND.index(WEIGHTS.tobytes())
    frame = [index for index in range(len(SOUND)) if not start <= index < start + WEIGHTS.nbytes]
    read = 0
    for _ in range(25):
        data = bytearray(SOUND)
        for _ in range(chance.randint(1, 3)):
            place = min(chance.choice(frame), len(data) - 1)
            how = chance.randrange(3)
            if how == 0:
                data[place] = chance.randrange(256)
            elif how == 1:
                del data[place : place + chance.randint(1, 4)]
            else:
                data[place:place] = data[place : place + chance.randint(1, 8)]
        (tmp_path / "m.onnx").write_bytes(bytes(data))
        with contextlib.suppress(narrowcast.NarrowcastError):
            narrowcast.load(tmp_path / "m.onnx")
            read += 1
    assert read < 25
