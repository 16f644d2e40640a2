"""Every builtin operator that is read: its numbers on ONNX Runtime beside LiteRT's own kernels'."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from narrowcast.readers.tflite.registry import READERS, load_operators
from narrowcast.readers.tflite.unread import UNREAD
from narrowcast.schemas.tflite import TFLITE
from tests.readers.tflite import cases
from tests.readers.tflite.single import build, compare, feeds, read, run_graph, run_litert

MODULES = [importlib.import_module(f"{cases.__name__}.{info.name}") for info in pkgutil.iter_modules(cases.__path__)]
CASES = [case for module in MODULES for case in module.CASES]
ELSEWHERE = ("recurrent", "control", "variables")
"""Modules of the reader with tests of their own."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(case, tmp_path):
    content, arrays = build(case), feeds(case)
    expected = run_litert(content, arrays) if case.reference is None else [case.reference(*arrays)]
    compare(case, expected, run_graph(read(content, tmp_path), arrays))


def test_every_operator_is_read_or_says_why_not():
    load_operators()
    assert not READERS.keys() & UNREAD.keys()
    assert TFLITE.enums["BuiltinOperator"].numbers.keys() == READERS.keys() | UNREAD.keys() | {"CUSTOM"}


def test_every_operator_has_a_case():
    load_operators()
    own = {name for name, function in READERS.items() if function.__module__.rpartition(".")[2] not in ELSEWHERE}
    assert own - {row.name for case in CASES for row in (case, *case.then)} == set()


@pytest.mark.parametrize("case", [case for case in CASES if case.title.startswith("around")], ids=str)
def test_old_dilation_becomes_one_convolution(case, tmp_path):
    graph = read(build(case), tmp_path).graph
    (convolution,) = [node for node in graph if node.op_type == "Conv"]
    assert list(convolution.attributes.get_ints("dilations")) == [2, 3]
    assert "Reshape" not in {node.op_type for node in graph}
