"""Networks cut and renamed: what is left computes what it computed before."""

import numpy as np
import pytest

from narrowcast import editing
from narrowcast.errors import DataError, UsageError
from tests.editing import CONV, HEAD, IMAGE, edited, network, operators, outputs


def test_cut_outputs(tmp_path):
    model = edited(network(tmp_path), {"do": "cut", "outputs": ["m"]})
    assert operators(model) == ["Conv", "Mul"]
    assert set(model.graph.initializers) == {"kernel", "factor"}
    np.testing.assert_allclose(outputs(model, x=IMAGE)["m"], 2 * CONV, rtol=1e-5)


def test_cut_inputs(tmp_path):
    model = edited(network(tmp_path), {"do": "cut", "inputs": ["m"]})
    assert operators(model) == ["Add", "Relu", "ReduceMean"]
    assert [(spec.name, spec.shape) for spec in model.inputs] == [("m", (1, 2, 4, 4))]
    np.testing.assert_allclose(outputs(model, m=CONV)["y"], np.maximum(CONV + 1, 0), rtol=1e-5)


def test_cut_on_both_sides(tmp_path):
    model = edited(network(tmp_path), {"do": "cut", "inputs": ["c"], "outputs": ["a"]})
    assert operators(model) == ["Mul", "Add"]
    assert [spec.name for spec in (*model.inputs, *model.outputs)] == ["c", "a"]


def test_an_input_that_is_still_needed_stays(tmp_path):
    text = f"""{HEAD}two (float[2] p, float[2] q) => (float[2] z) {{
        a = Relu (p)
        b = Neg (q)
        z = Add (a, b)
    }}"""
    model = edited(network(tmp_path, text), {"do": "cut", "inputs": ["b"]})
    assert [spec.name for spec in model.inputs] == ["b", "p"]
    found = outputs(model, p=np.array([1, -1], np.float32), b=np.array([2, 3], np.float32))
    np.testing.assert_array_equal(found["z"], [3, 3])


def test_options_cut_like_the_document(tmp_path):
    model = editing.apply(network(tmp_path), editing.cuts(["c"], ["a"]))
    assert operators(model) == ["Mul", "Add"]
    assert model.provenance.edits == ({"do": "cut", "inputs": ["c"], "outputs": ["a"]},)
    assert editing.cuts([], []) == ()
    with pytest.raises(DataError, match="twice"):
        editing.cuts(["c", "c"], [])


def test_rename(tmp_path):
    model = edited(network(tmp_path), {"do": "rename", "ports": {"x": "image", "y": "features"}})
    assert [spec.name for spec in model.inputs] == ["image"]
    assert [spec.name for spec in model.outputs] == ["features", "scores"]
    assert set(outputs(model, image=IMAGE)) == {"features", "scores"}


def test_names_can_be_exchanged(tmp_path):
    model = edited(network(tmp_path), {"do": "rename", "ports": {"scores": "y", "y": "scores"}})
    assert [spec.shape for spec in model.outputs] == [(1, 2, 4, 4), (1, 2)]
    assert [spec.name for spec in model.outputs] == ["scores", "y"]


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        ({"do": "cut"}, "nothing says where to cut"),
        ({"do": "cut", "outputs": ["mm"]}, "outputs[0]: no tensor fits 'mm'"),
        ({"do": "cut", "inputs": ["x"]}, "'x' is an input already"),
        ({"do": "cut", "outputs": ["kernel"]}, "'kernel' is a constant"),
        ({"do": "cut", "inputs": ["scores"]}, "'scores' would be an input and an output at once"),
        ({"do": "cut", "inputs": ["a"], "outputs": ["a"]}, "'a' would be an input and an output at once"),
        ({"do": "cut", "inputs": ["a"], "outputs": ["m"]}, "no output needs 'a'"),
        ({"do": "rename", "ports": {"z": "image"}}, "no input or output fits 'z'"),
        ({"do": "rename", "ports": {"x": "c"}}, "ports.x: there is a tensor 'c' already"),
    ],
)
def test_what_does_not_fit(edit, what, tmp_path):
    with pytest.raises(UsageError) as caught:
        edited(network(tmp_path), edit)
    assert what in str(caught.value)
    assert str(caught.value).startswith("edits[0]")
