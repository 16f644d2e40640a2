"""The flatbuffer, read back by the schema's bindings and run by LiteRT."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowcast import runtimes
from narrowcast.errors import UnsupportedOpError
from narrowcast.writers.tflite.container import Container
from narrowcast.writers.tflite.metadata import attach_labels
from narrowcast.writers.tflite.tables import Quantization, Tensor, options

FLOAT = np.dtype(np.float32)


def summing(*constants: np.ndarray, name: str = "x", shape: tuple[int, ...] = (2, 3), **fields) -> Container:
    """y = x + the first constant + the second ..."""
    made = Container(**fields)
    last = made.tensor(Tensor(name, shape, FLOAT))
    made.inputs.append((name, last))
    for index, constant in enumerate(constants):
        weight = made.tensor(Tensor(f"w{index}", constant.shape, FLOAT, made.buffer(constant)))
        total = made.tensor(Tensor(f"{name}+{index}", shape, FLOAT))
        made.operator("ADD", [last, weight], [total], options("AddOptions"))
        last = total
    made.outputs.append(("y", last))
    return made


def written(container: Container) -> bytes:
    file = io.BytesIO()
    container.write(file)
    return file.getvalue()


def read(container: Container) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(written(container), 0))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def places(data: bytes) -> list[tuple[int, int]]:
    """Where in the file each buffer's bytes begin, and how many there are."""
    model = schema.Model.GetRootAs(data, 0)
    found = []
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            table = buffer._tab
            found.append((table.Vector(table.Offset(4)), buffer.DataLength()))
        elif buffer.Size():
            found.append((buffer.Offset(), buffer.Size()))
    return found


def test_the_frame():
    data = written(summing(random(2, 3)))
    model = read(summing(random(2, 3)))
    assert data[4:8] == b"TFL3"
    assert model.version == 3
    assert model.buffers[0].data is None, "buffer 0 is the empty one of activations"
    (graph,) = model.subgraphs
    assert [tensor.name for tensor in graph.tensors] == [b"x", b"w0", b"x+0"]
    assert (list(graph.inputs), list(graph.outputs)) == ([0], [2])
    (signature,) = model.signatureDefs
    assert signature.signatureKey == b"serving_default"
    assert [(entry.name, entry.tensorIndex) for entry in signature.inputs] == [(b"x", 0)]
    assert [(entry.name, entry.tensorIndex) for entry in signature.outputs] == [(b"y", 2)]


def test_equal_arrays_are_stored_once():
    one, same, other = random(40, 30), random(40, 30), random(40, 30, seed=1)
    made = Container()
    assert made.buffer(one) == made.buffer(same)
    assert made.buffer(one) != made.buffer(other)
    assert made.buffer(one) == made.buffer(one.view(np.int32)), "types belong to tensors"
    assert made.buffer(one) == made.buffer(np.asfortranarray(one)), "the order of bytes is the array's, not memory's"


@given(st.integers(1, 4096), st.data())
@settings(max_examples=60, deadline=None)
def test_arrays_that_differ_in_one_byte_are_two(size, data):
    array = np.zeros(size, np.uint8)
    changed = array.copy()
    changed[data.draw(st.integers(0, size - 1))] = 1
    made = Container()
    assert made.buffer(array) != made.buffer(changed)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=6), st.sampled_from([0, 2**30]))
@settings(max_examples=40, deadline=None)
def test_weights_are_aligned(sizes, largest_inline):
    arrays = [random(size, seed=size) for size in sizes]
    made = Container(largest_inline=largest_inline)
    for index, array in enumerate(arrays):
        made.tensor(Tensor(f"w{index}", array.shape, FLOAT, made.buffer(array)))
    data = written(made)
    assert all(start % 16 == 0 for start, size in places(data) if size > 16)
    stored = {data[start : start + size] for start, size in places(data)}
    assert {array.tobytes() for array in arrays} <= stored


@pytest.mark.parametrize("largest_inline", [0, 100, 2**30])
def test_weights_behind_the_flatbuffer(largest_inline, tmp_path):
    """As in files of more than 2 GB: the same results, wherever the weights are."""
    constants = [random(2, 3), random(1, 3, seed=1), random(2, 3, seed=2)]
    data = written(summing(*constants, largest_inline=largest_inline))
    weights = [schema.Model.GetRootAs(data, 0).Buffers(index) for index in (1, 2, 3)]
    assert all((buffer.DataLength() == 0) == (largest_inline < 60) for buffer in weights)
    (tmp_path / "m.tflite").write_bytes(data)
    attach_labels(tmp_path / "m.tflite", ["one", "two"])
    feed = random(2, 3, seed=3)
    found = runtimes.open(tmp_path / "m.tflite", "litert").run({"x": feed})["y"]
    np.testing.assert_array_equal(found, feed + constants[0] + constants[1] + constants[2])
    with zipfile.ZipFile(tmp_path / "m.tflite") as archive:
        assert archive.read("labels.txt") == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("été/入力:0", "été/入力:0"),
        ("a\0b", "a\\x00b"),
        ("lone \ud800 surrogate", "lone \\ud800 surrogate"),
        ("", ""),
        ("a" * 10_000, "a" * 10_000),
    ],
    ids=["unicode", "zero byte", "surrogate", "empty", "long"],
)
def test_names(name, stored):
    data = written(summing(random(2, 3), name=name))
    assert read(summing(random(2, 3), name=name)).subgraphs[0].tensors[0].name.decode() == stored
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    assert interpreter.get_input_details()[0]["name"] == stored
    assert list(interpreter.get_signature_runner().get_input_details()) == [stored]


def test_open_dimensions():
    made = summing(random(1, 3), shape=(-1, 3))
    tensor = read(made).subgraphs[0].tensors[0]
    assert list(tensor.shape) == [1, 3]
    assert list(tensor.shapeSignature) == [-1, 3]
    interpreter = Interpreter(model_content=written(made))
    interpreter.resize_tensor_input(0, [5, 3])
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, random(5, 3))
    interpreter.invoke()
    np.testing.assert_array_equal(interpreter.get_tensor(2), random(5, 3) + random(1, 3))


def test_closed_dimensions_have_no_signature():
    assert read(summing(random(2, 3))).subgraphs[0].tensors[0].shapeSignature is None


def test_quantisation_per_axis():
    made = Container()
    step = Quantization(np.array([0.5, 0.25], np.float32), np.array([0, 0], np.int64), 3)
    array = np.ones((1, 3, 3, 2), np.int8)
    made.tensor(Tensor("w", array.shape, array.dtype, made.buffer(array), step))
    (tensor,) = read(made).subgraphs[0].tensors
    assert (tensor.quantization.scale.tolist(), tensor.quantization.zeroPoint.tolist()) == ([0.5, 0.25], [0, 0])
    assert tensor.quantization.quantizedDimension == 3
    assert tensor.type == schema.TensorType.INT8


def test_metadata():
    model = read(summing(random(2, 3), metadata={"empty": b"", "bytes": b"\0\1\2", "é\0": b"x"}))
    entries = {entry.name.decode(): model.buffers[entry.buffer].data for entry in model.metadata}
    assert bytes(entries["bytes"]) == b"\0\1\2"
    assert bytes(entries["é\\x00"]) == b"x"
    assert entries["empty"] is None
    assert bytes(entries["min_runtime_version"]) == b"1.5.0".ljust(16, b"\0")


def test_codes_beyond_127_have_the_old_field_as_a_placeholder():
    made = Container()
    made.operator("GELU", [made.tensor(Tensor("x", (1,), FLOAT))], [made.tensor(Tensor("y", (1,), FLOAT))])
    made.operator("ABS", [1], [made.tensor(Tensor("z", (1,), FLOAT))])
    codes = {code.builtinCode: code.deprecatedBuiltinCode for code in read(made).operatorCodes}
    assert codes == {schema.BuiltinOperator.GELU: 127, schema.BuiltinOperator.ABS: schema.BuiltinOperator.ABS}


def test_operators_share_their_codes():
    model = read(summing(random(2, 3), random(2, 3, seed=1)))
    assert len(model.operatorCodes) == 1
    assert [operator.opcodeIndex for operator in model.subgraphs[0].operators] == [0, 0]


def test_several_graphs_share_codes_and_buffers():
    """y = x + w if c else x - w."""
    made = Container()
    condition, x = made.tensor(Tensor("c", (), np.dtype(np.bool_))), made.tensor(Tensor("x", (2, 3), FLOAT))
    y, array, indices = made.tensor(Tensor("y", (2, 3), FLOAT)), random(2, 3), []
    for name in ("ADD", "SUB"):
        index, branch = made.graph(name.lower())
        tensors = [branch.tensor(Tensor("x", (2, 3), FLOAT)), branch.tensor(Tensor("w", (2, 3), FLOAT, 1))]
        assert branch.buffer(array) == 1
        branch.inputs.append(("", tensors[0]))
        branch.outputs.append(("", branch.tensor(Tensor("y", (2, 3), FLOAT))))
        branch.operator(name, tensors, [2], options(f"{name.title()}Options"))
        indices.append(index)
    made.inputs += [("c", condition), ("x", x)]
    made.outputs.append(("y", y))
    chosen = options("IfOptions", thenSubgraphIndex=indices[0], elseSubgraphIndex=indices[1])
    made.operator("IF", [condition, x], [y], chosen)
    model = read(made)
    assert [graph.name for graph in model.subgraphs] == [b"main", b"add", b"sub"]
    assert len(model.operatorCodes) == 3
    assert [signature.subgraphIndex for signature in model.signatureDefs] == [0]
    interpreter = Interpreter(model_content=written(made))
    interpreter.allocate_tensors()
    for taken, wanted in ((True, random(2, 3, seed=1) + array), (False, random(2, 3, seed=1) - array)):
        interpreter.set_tensor(0, np.array(taken))
        interpreter.set_tensor(1, random(2, 3, seed=1))
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(2), wanted)


@pytest.mark.parametrize("shape", [(2**31,), (2**16, 2**16), (-1, 2**31), (2**40, 2**40)])
def test_sizes_that_tflite_cannot_count_are_refused(shape):
    with pytest.raises(UnsupportedOpError, match="32-bit"):
        Container().tensor(Tensor("x", shape, FLOAT))


def test_the_same_tables_make_the_same_bytes():
    assert written(summing(random(2, 3))) == written(summing(random(2, 3)))
