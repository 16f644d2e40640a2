"""Every builtin operator that is read: its numbers on ONNX Runtime beside LiteRT's own kernels'."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from dataclasses import replace

import numpy as np
import pytest

from narrowcast.errors import NarrowcastError
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.readers.tflite.registry import READERS, load_operators
from narrowcast.readers.tflite.unread import UNREAD
from narrowcast.schemas.tflite import TFLITE
from tests.readers.tflite import cases
from tests.readers.tflite.single import T, build, compare, feeds, read, run_graph, run_litert

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


BYTES = (
    *("fusedActivationFunction", "padding", "mode"),
    *("outputType", "outType", "idxOutType", "comparisonDirection"),
)
"""Options that the schema has in a byte."""
EXTREMES = (0, 1, -1, 2, -2, 7, -128, 1000, 65536, 2**31 - 1, -(2**31))


def _crafted(case, random):
    """The operator with one number of its arguments or options that no converter would write; None without any."""
    places = [
        place
        for place, item in enumerate(case.inputs)
        if isinstance(item, T) and not item.fed and item.scale is None and item.array.dtype.kind == "i"
    ]
    fields = (
        [] if isinstance(case.options, bytes) else [name for name, value in case.options.items() if type(value) is int]
    )
    if not places and not fields:
        return None
    number = int(random.choice(EXTREMES))
    if fields and (not places or random.random() < 0.4):
        name = random.choice(fields)
        small = name in BYTES
        return replace(case, options={**case.options, name: number % 8 if small else number})
    inputs, place = list(case.inputs), random.choice(places)
    array = inputs[place].array.copy()
    array.reshape(-1)[random.integers(0, array.size)] = np.array(number).astype(array.dtype)
    inputs[place] = replace(inputs[place], array=array)
    return replace(case, inputs=inputs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_crafted_arguments_end_in_an_error_or_a_graph(case, tmp_path):
    random = np.random.default_rng(len(str(case)))
    for _ in range(4):
        crafted = _crafted(case, random)
        if crafted is None:
            return
        with contextlib.suppress(NarrowcastError):
            canonicalize(read(build(crafted), tmp_path))
