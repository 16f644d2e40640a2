"""Files that are damaged, contradict themselves, or reach for what is not theirs: one clear error each."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import AttributeProto, TensorProto, helper, numpy_helper

import narrowcast
from narrowcast.cli.app import cli

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
MODEL, UNSUPPORTED = narrowcast.ModelFileError, narrowcast.UnsupportedOpError


def network(nodes, *weights, opset=17, dtype=TensorProto.FLOAT, outputs=("y",), functions=(), domains=()):
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", dtype, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
        list(weights),
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


def node(op_type, inputs, outputs, **attributes):
    return helper.make_node(op_type, inputs.split(" ") if inputs else [], outputs.split(), **attributes)


def weights(array=WEIGHTS):
    return numpy_helper.from_array(array, "w")


def raw(dims, data=b"1234"):
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=data)


def external(location, offset="0", length="432"):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHTS.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    return tensor


def vector(size, name="w"):
    return numpy_helper.from_array(np.full(abs(size), np.sign(size), np.float32), name)


CONV = node("Conv", "x w", "y")
PARAMETER = node("LeakyRelu", "x", "y")
PARAMETER.attribute.add(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT)
SPARSE = node(
    "Constant",
    "",
    "s",
    sparse_value=helper.make_sparse_tensor(vector(1), numpy_helper.from_array(np.array([0]), "i"), [8]),
)
RECURRENT = network(
    [node("Reshape", "x s", "r"), node("LSTM", "r w u", "y", hidden_size=4)],
    numpy_helper.from_array(np.array([64, 1, 3]), "s"),
    numpy_helper.from_array(np.zeros((1, 12, 3), np.float32), "w"),
    numpy_helper.from_array(np.zeros((1, 16, 4), np.float32), "u"),
)
ONE_HOT = (
    numpy_helper.from_array(np.array([1]), "i"),
    numpy_helper.from_array(np.array(1 << 40), "d"),
    numpy_helper.from_array(np.array([0, 1], np.float32), "v"),
)
CASES = {
    "cycle": (network([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")]), MODEL, "cycle"),
    "missing initialiser": (network([CONV]), MODEL, "'w'"),
    "no such output": (network([node("Relu", "x", "z")]), MODEL, "'y'"),
    "names twice": (network([node("Relu", "x", "a"), node("Neg", "x", "a"), node("Relu", "a", "y")]), MODEL, "'a'"),
    "NaN": (network([CONV], weights(np.full_like(WEIGHTS, np.nan))), MODEL, "NaN"),
    "infinity": (network([CONV], weights(np.full_like(WEIGHTS, np.inf))), MODEL, "infinity"),
    "another domain": (network([helper.make_node("Frob", ["x"], ["y"], domain="com.acme")]), UNSUPPORTED, "com.acme"),
    "no such operator": (network([node("Frob", "x", "y")]), UNSUPPORTED, "Frob"),
    "old": (network([node("Relu", "x", "y")], opset=0), narrowcast.UnsupportedError, "opset 0"),
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
    "a negative offset": (network([CONV], external("short.bin", offset="-8")), MODEL, "offset '-8'"),
    "a negative length": (network([CONV], external("short.bin", length="-432")), MODEL, "length '-432'"),
    "a length beyond 64 bits": (network([CONV], external("short.bin", length="9" * 30)), MODEL, "no number of bytes"),
    "a name that no system has": (network([CONV], external("a" * 5000)), MODEL, "missing"),
    "a zero byte in a path": (network([CONV], external("short.bin\0")), MODEL, "missing"),
    "a folder as data": (network([CONV], external(".")), MODEL, "no file"),
    "a dimension of 2^62": (network([CONV], raw([0, 1 << 62], b"")), MODEL, "impossible shape"),
    "newer than any": (network([node("Relu", "x", "y")], opset=999), narrowcast.UnsupportedError, "opset 999"),
    "opset beyond 32 bits": (network([node("Relu", "x", "y")], opset=2**40), narrowcast.UnsupportedError, "opset"),
    "a parameter of no function": (network([PARAMETER]), MODEL, "outside of a function"),
    "sparse": (network([SPARSE, node("Add", "x s", "y")]), narrowcast.UnsupportedError, "sparse"),
    "complex": (
        network([node("Identity", "x", "y")], dtype=TensorProto.COMPLEX64),
        narrowcast.UnsupportedError,
        "complex",
    ),
    "a zero byte in a name": (network([node("Relu", "x", "y")], outputs=("y\0",)), MODEL, "zero byte"),
    "lines in a name": (network([node("Relu", "a\nb", "y")]), MODEL, r"a\nb"),
    "a name without end": (network([node("Relu", "a" * 100_000, "y")]), MODEL, "aaa..."),
    "group 0": (network([node("Conv", "x w", "y", group=0)], weights()), MODEL, "'group' is 0"),
    "group 2": (network([node("Conv", "x w", "y", group=2)], weights()), MODEL, "a multiple of 2"),
    "a bias for others": (network([node("Conv", "x w b", "y")], weights(), vector(5, "b")), MODEL, "[5], where [4]"),
    "a window too large": (
        network([node("MaxPool", "x", "y", kernel_shape=[9, 9])]),
        MODEL,
        "its window is larger than its input",
    ),
    "another word": (network([node("Conv", "x w", "y", auto_pad="SAME")], weights()), MODEL, "SAME_UPPER"),
    "a flag of 2": (network([node("ReduceMean", "x", "y", axes=[2], keepdims=2)]), MODEL, "neither 0 nor 1"),
    "a negative variance": (
        network([node("BatchNormalization", "x w w w v", "y")], vector(3), vector(-3, "v")),
        MODEL,
        "variance",
    ),
    "scales for others": (
        network([node("QuantizeLinear", "x s", "q"), node("DequantizeLinear", "q s", "y")], vector(5, "s")),
        MODEL,
        "5 scales",
    ),
    "an element that is not there": (
        network([node("Gather", "x i", "y", axis=1)], numpy_helper.from_array(np.array([3]), "i")),
        MODEL,
        "element 3 of an axis of 3",
    ),
    "a cut from a negative size": (
        network(
            [node("MaxPool", "x", "p", kernel_shape=[99, 1]), node("Slice", "p n o n o", "y")],
            *(numpy_helper.from_array(np.array([number]), name) for name, number in (("n", 0), ("o", 1))),
        ),
        MODEL,
        "would have the shape",
    ),
    "a cut after a cut": (
        network(
            [
                node("Slice", "x n o n o", "s"),
                node("MaxPool", "s", "p", kernel_shape=[1, 99]),
                node("Slice", "p n o n o", "y"),
            ],
            *(numpy_helper.from_array(np.array([number]), name) for name, number in (("n", 0), ("o", 1))),
        ),
        MODEL,
        "would have the shape",
    ),
    "a recurrent layer of other weights": (RECURRENT, MODEL, "[1, 16, 3]"),
    "an axis of 2^40": (
        network([node("OneHot", "i d v", "h"), node("ReduceSum", "h", "r"), node("Add", "x r", "y")], *ONE_HOT),
        MODEL,
        "no memory holds",
    ),
    "an image of 2^40 rows": (
        network([node("Tile", "x t", "y")], numpy_helper.from_array(np.array([1, 1, 1 << 27, 1]), "t")),
        narrowcast.UnsupportedOpError,
        "32-bit",
    ),
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


def function(name, *nodes):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", name, ["a"], ["o"], list(nodes), imports)


def called(name, source, target):
    return helper.make_node(name, [source], [target], domain="mine")


DOUBLING = [function("F0", node("Relu", "a", "o"))] + [
    function(f"F{i}", called(f"F{i - 1}", "a", "t"), called(f"F{i - 1}", "t", "o")) for i in range(1, 50)
]
DEEP = [DOUBLING[0]] + [function(f"F{i}", called(f"F{i - 1}", "a", "o")) for i in range(1, 3000)]
STANDARD = helper.make_function("", "Relu", ["a"], ["o"], [node("Neg", "a", "o")], [helper.make_opsetid("", 17)])


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ([function("F", called("F", "a", "o"))], "calls itself"),
        ([function("F", called("G", "a", "o")), function("G", called("F", "a", "o"))], "calls itself"),
        ([function("G", called("G", "a", "o")), function("F", node("Relu", "a", "o"))], "calls itself"),
        ([*DOUBLING, function("F", called("F49", "a", "o"))], "more than 1000000 nodes"),
        ([function("F", called("F2999", "a", "o")), *DEEP[::-1]], "too deeply"),
        ([function("F", called("missing", "a", "o"))], "mine::missing"),
        ([function("F", node("Relu", "b", "o"))], "'b'"),
        ([STANDARD], "standard operator"),
    ],
    ids=["itself", "in a circle", "unused", "doubling", "deep", "missing", "undefined", "standard"],
)
def test_functions(functions, words, tmp_path):
    proto = network([called("F", "x", "y")], functions=functions, domains=("mine",))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(narrowcast.NarrowcastError, match=words):
        narrowcast.load(tmp_path / "m.onnx")


def test_functions_within_functions_are_inlined(tmp_path):
    proto = network([called("F3", "x", "y")], functions=DOUBLING[:4], domains=("mine",))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert {node.op_type for node in narrowcast.load(tmp_path / "m.onnx").graph} == {"Relu"}


SOUND = network([node("Conv", "x w", "c"), node("Relu", "c", "y")], weights()).SerializeToString()


def test_truncated_bytes(tmp_path):
    for size in [*range(60), *range(60, len(SOUND), 7), len(SOUND) - 1]:
        (tmp_path / "m.onnx").write_bytes(SOUND[:size])
        with pytest.raises(MODEL):
            narrowcast.load(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (SOUND[:-9], 5),
        (b"<!DOCTYPE html><html>" * 20, 5),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", 5),
        (CASES["cycle"][0].SerializeToString(), 5),
        (CASES["no such operator"][0].SerializeToString(), 4),
    ],
    ids=["truncated", "a web page", "a pointer of git-lfs", "cycle", "unknown operator"],
)
def test_the_command_line_says_it_in_one_paragraph(content, code, tmp_path):
    (tmp_path / "m.onnx").write_bytes(content)
    done = CliRunner().invoke(cli, ["convert", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.tflite")])
    assert done.exit_code == code
    assert done.stdout == ""
    assert "\n\n" not in done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


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
