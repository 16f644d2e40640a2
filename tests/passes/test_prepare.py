"""A model made ready for a writer: in the target's operators, in the target's order or the source's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import narrowcast
from narrowcast import targets
from narrowcast.dialect.control import all_graphs
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.prepare import prepare
from narrowcast.reference import Reference
from narrowcast.targets.litert import LITERT
from narrowcast.targets.rules import Kernel, lacks
from tests.cases import CASES

ROOT = Path(narrowcast.__file__).parent
CASE = next(case for case in CASES if case.name.startswith("Conv"))


def made(case=CASE):
    model = case.model()
    canonicalize(model)
    return model


def test_a_target_without_a_layout_leaves_the_order_alone():
    prepared = prepare(made(), targets.find("onnxruntime"))
    assert prepared.stored is prepared.model
    assert set(prepared.inputs) == set(prepared.outputs) == {None}
    assert all(not node.domain for node in prepared.stored.graph)


def test_a_channel_last_target_stores_images_channels_last_unless_asked_otherwise():
    model = made()
    assert prepare(model, LITERT).inputs == ((0, 2, 3, 1),)
    assert prepare(model, LITERT, "source").inputs == (None,)
    assert [node.op_type for node in model.graph] == [node.op_type for node in made().graph]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_that_is_left_is_lacking(case):
    """After `prepare`, whether by ONNX's order of axes or the stored one."""
    prepared = prepare(made(case), LITERT)
    for graph in (prepared.model.graph, prepared.stored.graph):
        for node in (node for inner in all_graphs(graph) for node in inner):
            assert not lacks(node, LITERT), node


def test_a_rule_is_tried_on_what_the_target_lacks():
    """A target like another, but for one kernel: the node goes there, and nothing else changes."""
    case = next(case for case in CASES if case.name.startswith("HardSigmoid"))
    kernels = {**LITERT.kernels, "HardSigmoid": Kernel()}
    kept = prepare(made(case), replace(LITERT, kernels=kernels)).model.graph
    assert [node.op_type for node in kept] == ["HardSigmoid"]
    gone = prepare(made(case), LITERT).model
    assert "HardSigmoid" not in {node.op_type for node in gone.graph}
    feed = case.feed()
    wanted, found = Reference(made(case)).run(feed), Reference(gone).run(feed)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def test_only_prepare_decomposes_and_lays_out():
    callers = re.compile(r"passes\.(decompose|layout) import|passes import .*\b(decompose|layout)\b")
    inside = [ROOT / "passes" / name for name in ("decompose", "layout", "prepare.py")]
    found = [
        path
        for path in ROOT.rglob("*.py")
        if callers.search(path.read_text()) and not any(path.is_relative_to(room) for room in inside)
    ]
    assert found == []
