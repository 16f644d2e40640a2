"""The smallest part that fails: of numbers by their predicate, of networks by what they compute."""

import random

import numpy as np
import pytest

from narrowcast.editing.reduction import anonymous, part, smallest
from narrowcast.model import ir
from narrowcast.readers.check import check
from narrowcast.reference import Reference
from tests.editing import CONV, HEAD, IMAGE, network, operators, outputs


def search(count, fails, most=10_000):
    runs = []

    def asked(nodes):
        runs.append(nodes)
        return fails(set(nodes))

    found, is_minimal = smallest(count, asked, most)
    assert len(set(runs)) == len(runs) <= most
    assert tuple(range(count)) not in runs
    return found, is_minimal, len(runs)


@pytest.mark.parametrize("wanted", [{0}, {999}, {500}, {3, 17}, {0, 999}, {5, 6, 7, 400}, {1, 250, 600, 998}])
def test_what_must_be_there_is_found(wanted):
    found, is_minimal, runs = search(1000, lambda nodes: nodes >= wanted)
    assert (set(found), is_minimal) == (wanted, True)
    assert runs < 150


def test_no_node_of_what_is_found_can_go():
    draw = random.Random(0)
    for _ in range(100):
        count = draw.randrange(1, 30)
        causes = [set(draw.sample(range(count), draw.randrange(1, min(count, 5) + 1))) for _ in range(3)]

        def fails(nodes, causes=causes):
            return any(nodes >= cause for cause in causes)

        found, is_minimal, _ = search(count, fails)
        assert is_minimal
        assert fails(set(found))
        assert not any(fails(set(found) - {node}) for node in found)


def test_failures_that_come_and_go():
    found, is_minimal, _ = search(64, lambda nodes: 9 in nodes and len(nodes) % 2 == 0)
    assert is_minimal
    assert 9 in found
    assert len(found) == 2 or len(found) % 2 == 0


def test_runs_are_bounded():
    found, is_minimal, runs = search(1000, lambda nodes: nodes >= {0, 500, 999}, most=7)
    assert not is_minimal
    assert runs == 7
    assert {0, 500, 999} <= set(found)


def test_a_part_computes_what_it_did(tmp_path):
    model = network(tmp_path)
    middle = part(model, (1, 2))
    assert operators(middle) == ["Mul", "Add"]
    assert [(spec.name, spec.shape) for spec in middle.inputs] == [("c", (1, 2, 4, 4))]
    np.testing.assert_allclose(outputs(middle, c=CONV)["a"], 2 * CONV + 1, rtol=1e-6)
    assert operators(model) == ["Conv", "Mul", "Add", "Relu", "ReduceMean"]


def test_what_is_taken_out_of_the_middle_is_cut_on_both_sides(tmp_path):
    ends = part(network(tmp_path), (0, 4))
    assert operators(ends) == ["Conv", "ReduceMean"]
    assert [spec.name for spec in ends.inputs] == ["y", "x"]
    assert [spec.name for spec in ends.outputs] == ["c", "scores"]
    found = outputs(ends, x=IMAGE, y=CONV)
    np.testing.assert_allclose(found["c"], CONV, rtol=1e-5)
    np.testing.assert_allclose(found["scores"], CONV.mean((2, 3)), rtol=1e-5)


BRANCHES = f"""{HEAD}branches (float[2] x, bool b) => (float[2] z) {{
    p = Relu (x)
    q = Neg (x)
    y = If (b) <
        then_branch = then () => (float[2] t) {{ t = Add (p, p) }},
        else_branch = else () => (float[2] e) {{ e = Abs (q) }}
    >
    z = Exp (y)
}}"""


def test_what_graphs_within_read_is_an_input(tmp_path):
    model = network(tmp_path, BRANCHES)
    place = operators(model).index("If")
    alone = part(model, (place,))
    assert {spec.name for spec in alone.inputs} == {"p", "q", "b"}
    one = np.ones(2, np.float32)
    assert Reference(alone).run({"p": one, "q": one, "b": np.array(True)})["y"].tolist() == [2, 2]
    others = part(model, [number for number in range(4) if number != place])
    assert {spec.name for spec in others.inputs} == {"x", "y"}
    assert {spec.name for spec in others.outputs} == {"p", "q", "z"}


def test_every_part_of_a_network_is_sound(tmp_path):
    for text in (None, BRANCHES):
        model = network(tmp_path) if text is None else network(tmp_path, text)
        count = len(model.graph)
        for choice in range(1, 2**count):
            made = part(model, [number for number in range(count) if choice >> number & 1])
            check(made)
            Reference(made)


def test_random_weights_keep_range_and_type(tmp_path):
    text = f"""{HEAD}secret (float[1, 8] private) => (float[1, 8] result)
        <float[8, 8] weights = {{{", ".join(str(number / 7) for number in range(64))}}}, float[1] factor = {{3}},
         int64[2] shape = {{1, 8}}> {{
        a = MatMul (private, weights)
        b = Mul (a, factor)
        result = Reshape (b, shape)
    }}"""
    model = network(tmp_path, text)
    made = anonymous(model)
    weights, *before = (value.const_value.numpy() for value in model.graph.initializers.values())
    drawn, *after = (value.const_value.numpy() for value in made.graph.initializers.values())
    assert weights.min() <= drawn.min() < drawn.max() <= weights.max()
    assert not np.isclose(weights, drawn).any(axis=0).all()
    assert (drawn.shape, drawn.dtype) == (weights.shape, weights.dtype)
    assert [array.tolist() for array in after] == [array.tolist() for array in before] == [[3], [1, 8]]
    stored = ir.to_proto(made.ir).SerializeToString()
    assert not any(word in stored for word in (b"private", b"result", b"weights", b"factor", b"secret"))
    assert b"private" in ir.to_proto(model.ir).SerializeToString()
    assert {value.name for value in model.graph.initializers.values()} == {"weights", "factor", "shape"}
    Reference(made)


def test_graphs_within_are_anonymous_too(tmp_path):
    made = anonymous(network(tmp_path, BRANCHES))
    one = np.ones(2, np.float32)
    names = [spec.name for spec in made.inputs]
    found = Reference(made).run(dict(zip(names, (one, np.array(True)), strict=True)))
    np.testing.assert_allclose(next(iter(found.values())), np.exp(2 * one), rtol=1e-6)
