"""Pools that round up, beside ONNX Runtime."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import narrowcast
from tests.readers.onnx.run import close, random_feed, run_file, run_model, tidied, write_text


@pytest.mark.parametrize("opset", [11, 18, 22])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "AveragePool<count_include_pad=1>"])
def test_sizes(operator, opset, tmp_path):
    """Sizes, windows, strides and paddings, the same along both axes; what follows has the size that is left."""
    kind, _, more = operator.removesuffix(">").partition("<")
    for size, kernel, stride, pad in itertools.product((4, 5, 7, 8), (2, 3), (2, 3), (0, 1)):
        window = f"kernel_shape=[{kernel},{kernel}],strides=[{stride},{stride}],pads=[{pad},{pad},{pad},{pad}]"
        path = write_text(
            tmp_path / "m.onnx",
            f'<ir_version: 8, opset_import: ["": {opset}]> g (float[1,2,{size},{size}] x) => (float[?,?] y) '
            f"{{ p = {kind}<{window},ceil_mode=1{',' + more if more else ''}>(x) y = Flatten(p) }}",
        )
        model = tidied(path)
        feed = random_feed(model)
        (expected,) = run_file(path, feed)
        assert model.outputs[0].shape == expected.shape, window
        assert close(run_model(model, feed)[0], expected), window


def test_one_axis_alone(tmp_path):
    """What no pool of another kind says is refused, unless the opset says it right."""
    window = "kernel_shape=[2,2],strides=[3,3],pads=[1,0,1,0],ceil_mode=1"
    graph = f"g (float[1,1,5,7] x) => (float[?,?,?,?] y) {{ y = MaxPool<{window}>(x) }}"
    path = write_text(tmp_path / "m.onnx", f'<ir_version: 8, opset_import: ["": 12]> {graph}')
    with pytest.raises(narrowcast.UnsupportedOpError, match="one axis alone"):
        narrowcast.load(path)
    path = write_text(tmp_path / "n.onnx", f'<ir_version: 8, opset_import: ["": 22]> {graph}')
    file = narrowcast.save(narrowcast.load(path), tmp_path / "n.tflite")
    assert np.isinf(file.parity.sqnr_db) or file.parity.sqnr_db > 100


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "AveragePool<count_include_pad=1>"])
def test_one_axis_of_two(operator, tmp_path):
    """Less padding leaves the window out along the one and keeps it along the other."""
    kind, _, more = operator.removesuffix(">").partition("<")
    window = f"kernel_shape=[3,3],strides=[3,3],pads=[2,2,2,0],ceil_mode=1{',' + more if more else ''}"
    graph = f"g (float[1,2,4,6] x) => (float[?,?,?,?] y) {{ y = {kind}<{window}>(x) }}"
    path = write_text(tmp_path / "m.onnx", f'<ir_version: 8, opset_import: ["": 12]> {graph}')
    model = tidied(path)
    feed = random_feed(model)
    assert close(run_model(model, feed)[0], run_file(path, feed)[0])


def test_windows_beyond_their_input_are_refused(tmp_path):
    """ONNX's division rounds towards zero, and so finds a place for the window."""
    graph = "g (float[1,1,1,4] x) => (float[?,?,?,?] y) { y = AveragePool<kernel_shape=[2,2],strides=[3,2]>(x) }"
    path = write_text(tmp_path / "m.onnx", f'<ir_version: 8, opset_import: ["": 12]> {graph}')
    with pytest.raises(narrowcast.ModelFileError, match="window of 2 is larger than its input of 1"):
        narrowcast.load(path)


def test_bounds_of_one_number_keep_a_scalar_a_scalar(tmp_path):
    graph = (
        "g (float[1,4] x) => (float y) <float[1] a = {-1}, float[1] b = {2}> "
        "{ s = ReduceSum<keepdims=0>(x) y = Clip(s, a, b) }"
    )
    path = write_text(tmp_path / "m.onnx", f'<ir_version: 8, opset_import: ["": 13]> {graph}')
    model = tidied(path)
    feed = random_feed(model)
    assert model.outputs[0].shape == ()
    assert close(run_model(model, feed)[0], run_file(path, feed)[0])
