import numpy as np
import onnx
import onnx.helper as helper
import pytest
from onnx import TensorProto

from narrowcast import runtimes
from narrowcast.errors import DataError, ModelFileError, UnsupportedError
from narrowcast.runtimes import onnxruntime


def save(path, nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def double(tmp_path):
    """y = x + x, batch and length open."""
    return save(
        tmp_path / "double.onnx",
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length"])],
    )


def test_open_dimensions_are_as_they_are_fed(double):
    runner = runtimes.open(double, "onnxruntime", 2)
    assert runner.name.startswith("ONNX Runtime 1.")
    assert [(spec.name, spec.shape, spec.dtype) for spec in runner.inputs] == [("x", (None, None), np.float32)]
    for shape in ((1, 3), (2, 5)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(runner.run({"x": x, "more": x})["y"], 2 * x)
    runner.close()


def test_values_are_cast_to_the_input(double):
    assert runtimes.open(double, "onnxruntime").run({"x": np.array([[3]])})["y"].tolist() == [[6.0]]


def test_the_stopwatch_runs(double):
    runner = onnxruntime.open(double)
    runner.stopwatch({"x": np.ones((1, 1))})()


def test_initialisers_that_are_listed_as_inputs_need_no_data(tmp_path):
    value = helper.make_tensor_value_info
    path = save(
        tmp_path / "a.onnx",
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [value("x", TensorProto.FLOAT, [1]), value("w", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
        [helper.make_tensor("w", TensorProto.FLOAT, [1], [4.0])],
    )
    runner = onnxruntime.open(path)
    assert [spec.name for spec in runner.inputs] == ["x"]
    assert runner.run({"x": np.ones(1)})["y"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.UINT8, "uint8"),
        (TensorProto.INT64, "int64"),
        (TensorProto.UINT32, "uint32"),
        (TensorProto.BOOL, "bool"),
    ],
)
def test_types(tmp_path, kind, dtype):
    port = [helper.make_tensor_value_info(name, kind, [2]) for name in "xy"]
    path = save(tmp_path / "a.onnx", [helper.make_node("Identity", ["x"], ["y"])], port[:1], port[1:])
    runner = onnxruntime.open(path)
    assert runner.inputs[0].dtype == dtype
    assert runner.run({"x": np.array([0, 1])})["y"].dtype == dtype


def test_types_that_are_no_numbers(tmp_path):
    port = [helper.make_tensor_value_info(name, TensorProto.STRING, [2]) for name in "xy"]
    path = save(tmp_path / "a.onnx", [helper.make_node("Identity", ["x"], ["y"])], port[:1], port[1:])
    with pytest.raises(UnsupportedError, match=r"'x' is a tensor\(string\)"):
        onnxruntime.open(path)


@pytest.mark.parametrize(
    ("feed", "reason"),
    [
        ({}, "no data for the input 'x'"),
        ({"y": np.ones((1, 1))}, r"no data for the input 'x' \(the data has 'y'\)"),
        ({"x": np.ones(3)}, "ONNX Runtime cannot run the data: .*rank"),
    ],
)
def test_feeds_that_do_not_fit(double, feed, reason):
    with pytest.raises(DataError, match=reason):
        onnxruntime.open(double).run(feed)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"nonsense", "ONNX Runtime refuses the file")]
)
def test_damaged_files(tmp_path, content, reason):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"a\.onnx: {reason}"):
        onnxruntime.open(tmp_path / "a.onnx")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        onnxruntime.open(tmp_path / "a.onnx")


def test_an_operator_that_does_not_exist(tmp_path):
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    path = save(tmp_path / "a.onnx", [helper.make_node("Nonsense", ["x"], ["y"])], port[:1], port[1:])
    with pytest.raises(ModelFileError, match=r"ONNX Runtime refuses the file: .*Nonsense"):
        onnxruntime.open(path)
