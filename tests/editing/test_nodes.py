"""Each action on operators and constants beside numpy's statement of the network as edited."""

import numpy as np
import pytest

from narrowcast.errors import DataError, UsageError
from tests.editing import CONV, HEAD, IMAGE, edited, network, outputs

BOTH = {
    "the factor of a Mul, by its node": (
        [{"do": "set_constant", "nodes": "m/Mul", "value": 3}],
        3 * CONV + 1,
    ),
    "a constant by its name": ([{"do": "set_constant", "tensors": "offset", "value": [0.5]}], 2 * CONV + 0.5),
    "constants by a regular expression": (
        [{"do": "set_constant", "tensors": {"regex": "factor|offset"}, "value": [5]}],
        5 * CONV + 5,
    ),
    "a weight": (
        [{"do": "set_constant", "nodes": {"type": "Conv"}, "input": 1, "value": np.ones((2, 3, 1, 1), np.float32)}],
        2 * np.repeat(IMAGE.sum(1, keepdims=True), 2, 1) + 1,
    ),
    "a bias where there was none": (
        [{"do": "set_constant", "nodes": "c/Conv", "input": 2, "value": [1, -1]}],
        2 * (CONV + np.array([1, -1], np.float32)[:, None, None]) + 1,
    ),
    "a tensor for an input that was left out": (
        [
            {"do": "swap", "nodes": "a/Add", "op": "Identity", "inputs": ["@0"]},
            {"do": "set_constant", "tensors": "offset", "value": [3, 4]},
            {"do": "connect", "nodes": "c/Conv", "input": 2, "tensor": "offset"},
        ],
        2 * (CONV + np.array([3, 4], np.float32)[:, None, None]),
    ),
    "two nodes that share one constant": (
        [{"do": "connect", "nodes": "a/Add", "input": 1, "tensor": "factor"}],
        2 * CONV + 2,
    ),
    "another operator": ([{"do": "swap", "nodes": "a/Add", "op": "Sub"}], 2 * CONV - 1),
    "another operator with its operands turned": (
        [{"do": "swap", "nodes": "a/Add", "op": "Sub", "inputs": ["@1", "@0"]}],
        1 - 2 * CONV,
    ),
    "one less": ([{"do": "remove", "nodes": {"type": "Mul"}}], CONV + 1),
    "one more": ([{"do": "insert", "after": "m", "op": "Neg"}], -2 * CONV + 1),
    "one more with a constant": ([{"do": "insert", "after": "c", "op": "Mul", "inputs": ["@", 10]}], 20 * CONV + 1),
    "one more by a constant in front": (
        [{"do": "insert", "after": "m", "op": "Sub", "inputs": [7, "@"]}],
        8 - 2 * CONV,
    ),
    "one more with two tensors": (
        [{"do": "insert", "after": "m", "op": "Add", "inputs": ["@", "c"]}],
        3 * CONV + 1,
    ),
    "one more for one reader alone": (
        [
            {"do": "swap", "nodes": "a/Add", "op": "Add", "inputs": ["@0", "c"]},
            {"do": "insert", "after": "c", "op": "Neg", "nodes": {"type": "Mul"}},
        ],
        -2 * CONV + CONV,
    ),
    "one edit on what another made": (
        [
            {"do": "insert", "after": "c", "op": "Mul", "inputs": ["@", 10], "name": "tenfold"},
            {"do": "set_constant", "nodes": "tenfold/Mul", "value": 3},
        ],
        6 * CONV + 1,
    ),
}


@pytest.mark.parametrize("edits", BOTH)
def test_what_it_computes(edits, tmp_path):
    given, before_relu = BOTH[edits]
    found = outputs(edited(network(tmp_path), *given), x=IMAGE)
    np.testing.assert_allclose(found["y"], np.maximum(before_relu, 0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["scores"], np.maximum(before_relu, 0).mean((2, 3)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "perm"), [((1, 2, 3, 4), [0, 3, 1, 2]), ((1, 2, 3, 4, 5), [0, 4, 1, 2, 3]), ((2, 3), [1, 0])]
)
def test_the_permutation_of_a_transpose(shape, perm, tmp_path):
    text = f"""{HEAD}turn (float[{", ".join(map(str, shape))}] x) => (float y) {{
        t = Transpose (x)
        y = Relu (t)
    }}"""
    text = text.replace("(float y)", f"(float[{', '.join('abcde'[: len(shape)])}] y)")
    model = edited(
        network(tmp_path, text), {"do": "set_attributes", "nodes": "t/Transpose", "attributes": {"perm": perm}}
    )
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(outputs(model, x=x)["y"], x.transpose(perm))
    assert model.outputs[0].shape == x.transpose(perm).shape


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_weight_from_a_file(dtype, order, tmp_path):
    from narrowcast import editing

    np.save(tmp_path / "kernel.npy", np.array(np.full((2, 3, 1, 1), 2), dtype, order=order))
    document = tmp_path / "edits.json"
    document.write_text(
        '{"version": 1, "edits": [{"do": "set_constant", "tensors": "kernel", "value": {"file": "kernel.npy"}}]}'
    )
    model = editing.apply(network(tmp_path), editing.edits_of(document))
    wanted = np.maximum(4 * np.repeat(IMAGE.sum(1, keepdims=True), 2, 1) + 1, 0)
    np.testing.assert_allclose(outputs(model, x=IMAGE)["y"], wanted, rtol=1e-5)
    assert set(model.provenance.edits[0]["value"]) == {"file", "sha256"}


def test_a_shared_constant_changes_for_one_node_alone(tmp_path):
    text = f"""{HEAD}twice (float[2] x) => (float[2] y) <float[1] k = {{2}}> {{
        a = Mul (x, k)
        y = Mul (a, k)
    }}"""
    model = edited(network(tmp_path, text), {"do": "set_constant", "nodes": "a/Mul", "value": 5})
    np.testing.assert_array_equal(outputs(model, x=np.ones(2, np.float32))["y"], [10, 10])


def test_the_type_and_shape_of_what_follows_are_new(tmp_path):
    cast = {"do": "insert", "after": "m", "op": "Cast", "attributes": {"to": "float16"}}
    with pytest.raises(UsageError, match="a/Add"):
        edited(network(tmp_path), cast)
    model = edited(network(tmp_path), {"do": "insert", "after": "scores", "op": "Cast", "attributes": {"to": "int32"}})
    assert model.outputs[1].dtype == np.int32
    flat = {"do": "insert", "after": "y", "op": "Reshape", "inputs": ["@", [1, 32]]}
    with pytest.raises(UsageError, match="scores/ReduceMean"):
        edited(network(tmp_path), flat)


def test_an_attribute_goes_back_to_its_default(tmp_path):
    text = f"""{HEAD}leak (float[2] x) => (float[2] y) {{ y = LeakyRelu <alpha = 0.5> (x) }}"""
    model = edited(
        network(tmp_path, text), {"do": "set_attributes", "nodes": "y/LeakyRelu", "attributes": {"alpha": None}}
    )
    np.testing.assert_allclose(outputs(model, x=np.array([-1, 1], np.float32))["y"], [-0.01, 1])


def test_names_of_ports_stay(tmp_path):
    model = edited(
        network(tmp_path), {"do": "remove", "nodes": {"type": "Relu"}}, {"do": "insert", "after": "y", "op": "Neg"}
    )
    assert [spec.name for spec in model.outputs] == ["y", "scores"]
    found = outputs(model, x=IMAGE)
    np.testing.assert_allclose(found["y"], -(2 * CONV + 1), rtol=1e-5, atol=1e-5)


REFUSED = {
    "a node that there is not": (
        {"do": "remove", "nodes": "m/Mull"},
        "edits[0].nodes: no node fits 'm/Mull'",
        "did you mean 'm/Mul'? there are 'm/Mul', 'c/Conv'",
    ),
    "a type that there is not": (
        {"do": "remove", "nodes": {"type": "Mull"}},
        "no operator fits 'Mull'",
        "there are 'Mul', 'Add', 'Conv', 'ReduceMean', 'Relu'",
    ),
    "a regular expression that fits nothing": (
        {"do": "remove", "nodes": {"type": "Conv", "regex": "x.*"}},
        "no node of type Conv fits 'x.*'",
        "there is 'c/Conv'",
    ),
    "a constant that there is not": (
        {"do": "set_constant", "tensors": "kernle", "value": 1},
        "no tensor fits 'kernle'",
        "did you mean 'kernel'?",
    ),
    "an input that is computed": (
        {"do": "set_constant", "nodes": "y/Relu", "input": 0, "value": 1},
        "edits[0].input: input 0 of y/Relu (Relu) is computed",
        "use connect",
    ),
    "no constant among the inputs": ({"do": "set_constant", "nodes": "y/Relu", "value": 1}, "has no constants", ""),
    "an input that there is not": (
        {"do": "connect", "nodes": "m/Mul", "input": 2, "tensor": "c"},
        "m/Mul (Mul) has no input 2",
        "it has 0 ('c'), 1 ('factor')",
    ),
    "a cycle": ({"do": "connect", "nodes": "m/Mul", "input": 0, "tensor": "y"}, "the graph has a cycle", ""),
    "an operator that there is not": (
        {"do": "swap", "nodes": "y/Relu", "op": "Rleu"},
        "has no operator 'Rleu'",
        "did you mean 'Relu'",
    ),
    "an operator with other inputs": ({"do": "swap", "nodes": "a/Add", "op": "Relu"}, "a/Add (Relu): ", ""),
    "a weight of another shape": (
        {"do": "set_constant", "tensors": "kernel", "value": np.ones((2, 4, 1, 1), np.float32)},
        "c/Conv",
        "",
    ),
    "an attribute without which there is none": (
        {"do": "swap", "nodes": "y/Relu", "op": "Cast"},
        "y/Relu (Cast): the edited network is not sound: lacks the attribute 'to'",
        "",
    ),
    "a node with several outputs": (
        {"do": "insert", "after": "y", "op": "Relu", "inputs": ["@3"]},
        "there is no input @3",
        "",
    ),
    "a node that does not read the tensor": (
        {"do": "insert", "after": "c", "op": "Neg", "nodes": {"type": "Add"}},
        "edits[0].nodes: none of these nodes reads 'c'",
        "",
    ),
    "neither nodes nor tensors": ({"do": "set_constant", "value": 1}, "either by 'tensors' or by 'nodes'", ""),
    "a tensor by an operator": ({"do": "insert", "after": {"type": "Relu"}, "op": "Relu"}, "no type of operator", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_told_with_its_place(case, tmp_path):
    edit, what, hint = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        edited(network(tmp_path), edit)
    assert what in str(caught.value)
    assert str(caught.value).startswith("edits[0]")
    assert hint in caught.value.hint


WRONG = {
    "an attribute that there is not": (
        {"do": "set_attributes", "nodes": "c/Conv", "attributes": {"kernel": [1]}},
        "edits[0].attributes.kernel: Conv has no attribute 'kernel' (did you mean kernel_shape?)",
    ),
    "an attribute of another type": (
        {"do": "set_attributes", "nodes": "c/Conv", "attributes": {"kernel_shape": [1, "2"]}},
        "edits[0].attributes.kernel_shape[1]: expected a whole number, not '2'",
    ),
    "an attribute beyond its type": (
        {"do": "swap", "nodes": "y/Relu", "op": "LeakyRelu", "attributes": {"alpha": 1e39}},
        "edits[0].attributes.alpha: it is beyond float32",
    ),
    "a constant of another type": (
        {"do": "set_constant", "tensors": "factor", "value": np.ones(1)},
        "edits[0].value: the array is float64, the constant float32",
    ),
    "numbers beyond the type": (
        {"do": "set_constant", "tensors": "factor", "value": {"value": 300, "dtype": "uint8"}},
        "edits[0].value.value: uint8 does not hold these numbers",
    ),
    "a float beyond the type": (
        {"do": "set_constant", "tensors": "factor", "value": 1e300},
        "edits[0].value: a number is beyond float32",
    ),
    "NaN": ({"do": "set_constant", "tensors": "factor", "value": np.full(1, np.nan, np.float32)}, "it holds NaN"),
}


@pytest.mark.parametrize("case", WRONG)
def test_values_of_a_wrong_kind_are_told_with_their_path(case, tmp_path):
    edit, what = WRONG[case]
    with pytest.raises(DataError) as caught:
        edited(network(tmp_path), edit)
    assert what in str(caught.value)
