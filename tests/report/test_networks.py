# ruff: noqa: RUF001 - typographic signs are meant
"""Operators as trees and tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowcast.evaluation.networks.records import Network, Operator, Quantization, Subgraph, Tensor
from narrowcast.report import networks, tables


def network(*graphs):
    return Network(Path("m.onnx"), 10, "onnx", "hand", "as read", graphs)


def graph(*operators, name="main"):
    """Each operator reads the tensor before it and a constant of 8 bytes."""
    activations = [Tensor(f"t{i}", (1, None, 3), "int8", quantization=Quantization((0.5,), (3,))) for i in range(9)]
    constants = [Tensor(f"w{i}", (2, 4), "int8", "constant", Quantization((0.5, 1.0), (0, 0), 0), 8) for i in range(8)]
    made = tuple(
        Operator(label, kind, (i, 9 + i), (i + 1,), ("X", "W"), {"axis": 1, "pads": (1, 2)}, tuple(subgraphs))
        for i, (label, kind, *subgraphs) in enumerate(operators)
    )
    return Subgraph(name, (0,), (len(made),), (*activations, *constants), made)


def drawn(blocks):
    return tables.plain(blocks).splitlines()


def first_column(lines):
    return [line.split("  ")[0].rstrip() for line in lines[3:]]


def test_a_tree_follows_the_scopes_of_names():
    names = ("/a/b/conv", "/a/b/relu", "/a/add", "stem/conv", "pool")
    lines = drawn(networks.tree(network(graph(*((name, "Op") for name in names)))))
    assert lines[0] == "operators, as read"
    assert [line[:14].rstrip() for line in lines[3:]] == [
        "├─ a",
        "│  ├─ b",
        "│  │  ├─ conv",
        "│  │  └─ relu",
        "│  └─ add",
        "├─ stem/conv",
        "└─ pool",
    ]
    assert "3 operators" in lines[3]
    assert lines[3].split()[-2:] == ["24", "B"]
    assert "1×?×3 int8" in lines[5]
    assert "0.5, 3" in lines[5]


def test_bodies_stand_below_their_operator_once():
    inside = graph(("x", "Add"), name="body of it")
    lines = drawn(networks.tree(network(graph(("loop", "Loop", ("body", 1)), ("again", "Loop", ("body", 1))), inside)))
    assert [line.split("  ")[0].rstrip() if line[0] != " " else line[:22].rstrip() for line in lines[3:]] == [
        "├─ loop",
        "│",
        "│",
        "└─ again",
        "   └─ body: body of it",
    ]
    assert "body: body of it" in lines[4]
    assert "shown above" in lines[7]


def test_a_graph_that_holds_itself_ends():
    lines = drawn(networks.tree(network(graph(("loop", "Loop", ("body", 0))))))
    assert sum("loop" in line for line in lines) == 1


def test_graphs_that_are_deep_inside_others_stand_on_their_own():
    graphs = [graph((f"loop{at}", "Loop", ("body", at + 1)), name=f"g{at}") for at in range(999)]
    lines = drawn(networks.tree(network(*graphs, graph(("last", "Add")))))
    assert sum("loop" in line for line in lines) == 999
    assert "shown below" in "".join(lines)


def test_a_table_tells_all():
    lines = drawn(networks.table(network(graph(("a", "Conv"), ("b", "Add"))), attributes=True))
    head, row = lines[1], lines[3]
    assert head.split("  ")[0] == "operator"
    for text in ("0 a", "Conv", "1×?×3 int8", "2×4 int8 (2 scales, 0.5 to 1)", "0.5, 3", "axis=1, pads=[1, 2]"):
        assert text in row


@pytest.mark.parametrize("show", [networks.tree, networks.table])
@pytest.mark.parametrize("name", ["\x1b[2Jclear", "a\n/b", "‮evil", "", "/", "//", "/".join("x" * 5000)])
def test_hostile_names_stay_on_their_line(show, name):
    hostile = network(graph((name, name or "\x07"), ("b", "Add")))
    text = tables.plain(show(hostile, attributes=True))
    assert not set(text) & set("\x1b\x07‮\r\t")
    assert 5 <= len(text.splitlines()) <= 30


def test_columns_in_which_nothing_stands_are_left_out():
    bare = Subgraph("g", (0,), (1,), (Tensor("a", (1,), "float32"),) * 2, (Operator("n", "Relu", (0,), (1,)),))
    assert drawn(networks.table(network(bare)))[1].split() == ["operator", "type", "inputs", "outputs"]
