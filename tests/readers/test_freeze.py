"""Inputs made constant: an If on one of them becomes its branch, and the original file is still fed with it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
rates (float[1,4] x, int64 rate) => (float[1,4] y)
<int64 limit = {16000}>
{
    high = Equal (rate, limit)
    y = If (high) <
        then_branch = high_rate () => (float[1,4] a) { a = Mul (x, x) },
        else_branch = low_rate () => (float[1,4] b) { b = Neg (x) }
    >
}
"""


@pytest.fixture
def rates(tmp_path):
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "rates.onnx")
    return tmp_path / "rates.onnx"


@pytest.mark.parametrize(("rate", "operator"), [(16000, "Mul"), (8000, "Neg")])
def test_a_frozen_input_chooses_a_branch(rate, operator, rates, tmp_path):
    model = narrowcast.load(rates, freeze={"rate": rate})
    assert [node.op_type for node in model.graph] == [operator]
    written = narrowcast.save(model, tmp_path / "rates.tflite")
    assert written.parity.reference.endswith("original file")
    assert written.parity.sqnr_db > 100


def test_the_integer_keeps_its_type(rates):
    frozen = narrowcast.load(rates, freeze={"rate": 8000}).provenance.frozen["rate"]
    assert (frozen.dtype, frozen.shape, int(frozen)) == (np.int64, (), 8000)


@pytest.mark.parametrize(
    "freeze", [{"speed": 1}, {"x": 0, "rate": 1}, {"rate": 1.5}, {"rate": float("nan")}, {"rate": 1e30}, {"x": 1e39}]
)
def test_what_cannot_be_frozen_is_refused(freeze, rates):
    with pytest.raises(narrowcast.UsageError, match="cannot freeze"):
        narrowcast.load(rates, freeze=freeze)


def test_comparing_feeds_the_rest(rates, tmp_path):
    """The data have no array for the frozen input."""
    random = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=random.normal(size=(8, 4)).astype(np.float32), y=np.arange(8) % 4)
    made = narrowcast.compare(
        rates, tmp_path / "d.npz", out=tmp_path / "out", schemes=["float32"], threads=(1,), freeze={"rate": 8000}
    )
    assert not any(row.failure for row in made.rows)
    assert made.rows[1].accuracy.agreement == 1


def test_shapes_that_no_device_takes_are_refused(rates, tmp_path):
    text = TEXT.replace("float[1,4]", "float[1,n]")
    onnx.save(onnx.parser.parse_model(text), tmp_path / "open.onnx")
    with pytest.raises(narrowcast.UsageError, match="1,000,000,000 numbers"):
        narrowcast.load(tmp_path / "open.onnx", input_shapes={"x": (1, 10**9)}, freeze={"rate": 8000})
