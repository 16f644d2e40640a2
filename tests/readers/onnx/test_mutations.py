"""Sound networks, changed a little where it hurts: each becomes a right file, or one of narrowcast's own errors."""

from __future__ import annotations

import random

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper, parser

import narrowcast

FLOAT = TensorProto.FLOAT
INTEGERS = (-(2**63), -(2**31), -100, -2, -1, 0, 1, 2, 3, 7, 64, 2**31, 2**40, 2**62, 2**63 - 1)
REALS = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e38, 1e-45, 3.5)
WORDS = (
    "",
    "linear",
    "cubic",
    "SAME_LOWER",
    "VALID",
    "reflect",
    "wrap",
    "reverse",
    "\0",
    "é",
    "ab,bc->ac",
    "...i->i...",
)
OPERATORS = ("Add", "Concat", "Gather", "MatMul", "MaxPool", "Reshape", "Resize", "Softmax", "Squeeze", "Transpose")


def values(*shape, seed=0):
    return np.abs(np.random.default_rng(seed).normal(size=shape)).astype(np.float32) + 0.1


def model(text, shape, outputs, constants, opset=17):
    """A network of lines `outputs = Operator(inputs) attribute=value ...`."""
    nodes = []
    for line in text.strip().splitlines():
        made, call = line.split(" = ")
        head, _, words = call.partition(") ")
        op_type, _, given = head.partition("(")
        attributes = dict(word.split("=", 1) for word in words.split())
        read = {name: _value(word) for name, word in attributes.items()}
        nodes.append(helper.make_node(op_type.strip(), given.rstrip(")").split(","), made.strip().split(","), **read))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _value(word):
    if word.startswith("["):
        return [int(item) for item in word[1:-1].split(",")]
    return int(word) if word.lstrip("-").isdigit() else float(word) if word[0].isdigit() else word


NETWORKS = {
    "convolutions": model(
        """
        c = Conv(x,w,b) pads=[1,1,1,1] strides=[2,2]
        n = BatchNormalization(c,s,s,s,s) epsilon=0.001
        r = Relu(n)
        p = MaxPool(r) kernel_shape=[2,2] strides=[2,2]
        f = Flatten(p) axis=1
        y = Gemm(f,g,h) transB=1
        z = Softmax(y) axis=1
        """,
        ["N", 3, 8, 8],
        {"z": FLOAT},
        {"w": values(4, 3, 3, 3), "b": values(4), "s": values(4), "g": values(5, 16), "h": values(5)},
    ),
    "recurrent": model(
        """
        y,last,cell = LSTM(x,w,r,b) hidden_size=4 direction=forward
        z = Squeeze(y,axis)
        """,
        [3, 1, 3],
        {"z": FLOAT, "last": FLOAT},
        {"w": values(1, 16, 3), "r": values(1, 16, 4), "b": values(1, 32), "axis": np.array([1])},
    ),
    "moves": model(
        """
        r = Resize(x,,scales) mode=linear coordinate_transformation_mode=half_pixel
        s = Slice(r,start,end,axes,steps)
        p = Pad(s,amounts,number) mode=constant
        t = Transpose(p) perm=[0,2,3,1]
        a,b = Split(t,sizes) axis=3
        c = Concat(b,a) axis=3
        m = ReduceMean(c) axes=[1,2] keepdims=0
        y = Clip(m,low,high)
        """,
        [1, 4, 4, 4],
        {"y": FLOAT},
        {
            "scales": np.array([1, 1, 2, 2], np.float32),
            "start": np.array([0, 0]),
            "end": np.array([4, 5]),
            "axes": np.array([2, 3]),
            "steps": np.array([1, 2]),
            "amounts": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "number": np.float32(0),
            "sizes": np.array([1, 3]),
            "low": np.float32(-1),
            "high": np.float32(1),
        },
    ),
    "old and odd": model(
        """
        u = Upsample(x,scales) mode=nearest
        s = Softmax(u) axis=1
        e = Expand(s,shape)
        w = Where(mask,e,u)
        o = Cast(w) to=1
        p = PRelu(o,slope)
        i = InstanceNormalization(u,norm,norm) epsilon=0.1
        l = LRN(i) size=3
        t,k = TopK(l) axis=-1 k=2
        """,
        [1, 2, 2, 2],
        {"p": FLOAT, "t": FLOAT, "k": TensorProto.INT64},
        {
            "scales": np.array([1, 1, 2, 2], np.float32),
            "shape": np.array([1, 2, 4, 4]),
            "mask": np.array([True, False, True, True]),
            "slope": values(4),
            "norm": values(2),
        },
        opset=9,
    ),
}


def change_attribute(proto, chance):
    attributes = [attribute for node in proto.graph.node for attribute in node.attribute]
    attribute = chance.choice(attributes)
    if attribute.type == AttributeProto.INT:
        attribute.i = chance.choice(INTEGERS)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = chance.choice(REALS)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = chance.choice(WORDS).encode()
    elif attribute.ints and chance.random() < 0.3:
        attribute.ints.pop()
    elif attribute.ints:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(INTEGERS)


def change_kind(proto, chance):
    chance.choice([item for node in proto.graph.node for item in node.attribute]).type = chance.randrange(15)


def drop_attribute(proto, chance):
    node = chance.choice([node for node in proto.graph.node if node.attribute])
    del node.attribute[chance.randrange(len(node.attribute))]


def change_edge(proto, chance):
    names = [name for node in proto.graph.node for name in (*node.input, *node.output)]
    node = chance.choice(proto.graph.node)
    edges = chance.choice([node.input, node.input, node.output])
    if edges:
        edges[chance.randrange(len(edges))] = chance.choice([*names, "", "nothing"])


def change_number_of_edges(proto, chance):
    node = chance.choice(proto.graph.node)
    edges = chance.choice([node.input, node.output])
    if edges and chance.random() < 0.5:
        edges.pop()
    else:
        edges.append(chance.choice(["x", "", "more"]))


def change_constant(proto, chance):
    tensor = chance.choice(proto.graph.initializer)
    array = numpy_helper.to_array(tensor).copy()
    how = chance.randrange(4)
    if how == 0 and array.dtype != bool:
        array.flat[chance.randrange(array.size)] = chance.choice(REALS if array.dtype.kind == "f" else INTEGERS)
    elif how == 1:
        array = array.reshape([1] * chance.randrange(3) + list(array.shape))
    elif how == 2:
        array = array.reshape(-1)[: chance.randrange(array.size + 1)]
    else:
        array = np.zeros(
            array.shape, chance.choice([np.float64, np.float16, np.int32, np.uint8, np.bool_, np.complex64])
        )
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def change_shape(proto, chance):
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    if dims and chance.random() < 0.3:
        dims.pop()
    elif dims:
        dims[chance.randrange(len(dims))].dim_value = chance.choice([-1, 0, 1, 2, 5, 2**31, 2**62])


def change_operator(proto, chance):
    chance.choice(proto.graph.node).op_type = chance.choice(OPERATORS)


def change_opset(proto, chance):
    proto.opset_import[0].version = chance.choice([-1, 1, 7, 9, 11, 13, 18, 21, 24, 99, 2**40])


CHANGES = (
    *(change_attribute, change_attribute, change_kind, drop_attribute, change_edge, change_number_of_edges),
    *(change_constant, change_constant, change_shape, change_operator, change_opset),
)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_are_sound(name, tmp_path):
    (tmp_path / "m.onnx").write_bytes(NETWORKS[name].SerializeToString())
    assert narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite").parity.passed


def outcome(folder):
    """What is said of `m.onnx` in a folder: an error's text, nothing for a file that was written."""
    try:
        narrowcast.save(narrowcast.load(folder / "m.onnx"), folder / "m.tflite")
    except narrowcast.NarrowcastError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", NETWORKS)
def test_a_right_file_or_a_clear_error(name, seed, tmp_path):
    """Unverified files (exit code 3) are right answers too: a weight of 1e38 overflows in different ways."""
    chance = random.Random(f"{name} {seed}")
    for _ in range(8):
        proto = ModelProto()
        proto.CopyFrom(NETWORKS[name])
        for change in chance.sample(CHANGES, chance.randint(1, 2)):
            change(proto, chance)
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        said = outcome(tmp_path)
        assert "\n" not in said
        assert len(said) < 2000
        assert {path.name for path in tmp_path.iterdir()} <= {"m.onnx", "m.tflite", "m.tflite.unverified"}


FUNCTION = """
<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
network (float[1,4] x) => (float[1,4] y) { a = local.scaled <k = 2.0> (x) y = Add (a, x) }
<opset_import: ["" : 17], domain: "local">
scaled <k> (u) => (v) { c = Constant <value_float: float = @k> () w = Mul (u, c) v = Relu (w) }
"""


def commented(proto):
    """The network with a comment wherever ONNX allows one."""
    proto.producer_name = "SAID of the model"
    holders = [proto, proto.graph, *proto.graph.input, *proto.graph.initializer, *proto.graph.node]
    holders += [attribute for node in proto.graph.node for attribute in node.attribute]
    for function in proto.functions:
        holders += [function, *function.node]
    for number, holder in enumerate(holders):
        holder.doc_string = f"SAID {number}"
        if hasattr(holder, "metadata_props"):
            holder.metadata_props.add(key=f"SAID{number}", value="SAID")
    proto.graph.quantization_annotation.add(tensor_name="SAID")
    return proto


@pytest.mark.parametrize("name", [*NETWORKS, "function"])
def test_comments_need_not_be_text(name, tmp_path):
    proto = ModelProto()
    proto.CopyFrom(parser.parse_model(FUNCTION) if name == "function" else NETWORKS[name])
    (tmp_path / "m.onnx").write_bytes(commented(proto).SerializeToString().replace(b"SAID", b"\xff\xfe\0\x80"))
    assert outcome(tmp_path) == ""


@pytest.mark.parametrize("seed", range(8))
def test_any_byte_may_be_wrong(seed, tmp_path):
    chance = random.Random(f"bytes {seed}")
    files = [proto.SerializeToString() for proto in (*NETWORKS.values(), parser.parse_model(FUNCTION))]
    for _ in range(60):
        content = bytearray(chance.choice(files))
        for _ in range(chance.choice([1, 1, 2, 4])):
            content[chance.randrange(len(content))] = chance.choice([0, 0xFF, chance.randrange(256)])
        (tmp_path / "m.onnx").write_bytes(content)
        try:
            model = narrowcast.load(tmp_path / "m.onnx")
        except narrowcast.NarrowcastError:
            continue
        if all(np.prod(value.shape.numpy()) < 1e6 for node in model.graph for value in node.outputs if value.shape):
            outcome(tmp_path)
