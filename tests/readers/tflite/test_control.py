"""Control flow read from .tflite files: subgraphs that are called, loops, branches, variables by name."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.errors import NarrowcastError, UnsupportedOpError
from narrowcast.reference import Reference
from narrowcast.writers.tflite import container as containers
from narrowcast.writers.tflite import tables
from narrowcast.writers.tflite.container import Container
from narrowcast.writers.tflite.tables import Operator, Tensor, options
from tests.passes.control.test_control_flow import CASES, HEADER


@pytest.mark.parametrize("name", CASES)
def test_our_own_files_read_back(name, tmp_path):
    """What a loop or a branch of ONNX became computes the same when it is read, and when it is written again."""
    text, given, _ = CASES[name]
    onnx.save(onnx.parser.parse_model(f"{HEADER} {text}"), tmp_path / "m.onnx")
    first = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "first.tflite").path
    model = narrowcast.load(first)
    second = narrowcast.save(model, tmp_path / "second.tflite").path
    runners = [runtimes.open(first, "litert"), Reference(model), runtimes.open(second, "litert")]
    for feed in given:
        expected, *others = (runner.run(feed) for runner in runners)
        for found in others:
            for key, array in expected.items():
                np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-5)


FLOAT, BOOL, INT32 = np.dtype(np.float32), np.dtype(np.bool_), np.dtype(np.int32)


class Graph:
    """A subgraph in the making."""

    def __init__(self, container: Container, *inputs: tuple[tuple[int, ...], np.dtype]) -> None:
        self.container = container
        self.inputs = [self.tensor(*kind) for kind in inputs]
        container.inputs.extend((f"in{place}", index) for place, index in enumerate(self.inputs))

    def tensor(self, shape: tuple[int, ...], dtype: np.dtype) -> int:
        return self.container.tensor(Tensor(f"t{len(self.container.tensors)}", shape, dtype))

    def constant(self, array: object, dtype: np.dtype = FLOAT) -> int:
        array = np.asarray(array, dtype)
        name = f"c{len(self.container.tensors)}"
        return self.container.tensor(Tensor(name, array.shape, array.dtype, self.container.buffer(array)))

    def op(
        self, name: str, inputs: list[int], like: int, dtype: np.dtype | None = None, kind: str = "", **values
    ) -> int:
        model = self.container.tensors[like]
        made = self.tensor(model.shape, dtype or model.dtype)
        self.container.operator(name, inputs, [made], options(kind, **values) if kind else None)
        return made

    def give(self, *outputs: int) -> None:
        self.container.outputs.extend((f"out{place}", index) for place, index in enumerate(outputs))


def written(container: Container, path: Path) -> Path:
    with path.open("wb") as file:
        container.write(file)
    return path


def beside(path: Path, feeds: list[dict[str, np.ndarray]], folder: Path) -> None:
    """What was read, and what is written again, beside the file."""
    model = narrowcast.load(path)
    again = narrowcast.save(model, folder / "again.tflite").path
    spelled = narrowcast.save(model, folder / "again.onnx").path
    others = [Reference(model), runtimes.open(again, "litert"), runtimes.open(spelled, "onnxruntime")]
    runner = runtimes.open(path, "litert")
    for feed in feeds:
        expected = runner.run(feed)
        for other in others:
            found = other.run(feed)
            for key, array in expected.items():
                np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-6)


def test_a_loop_on_what_it_computes(tmp_path):
    """A condition with operators of its own: double x as long as its sum is below a bound that is handed on."""
    main = Graph(Container(), ((2, 3), FLOAT), ((1,), FLOAT))
    kinds = ((2, 3), FLOAT), ((1,), FLOAT), ((), INT32)
    index_of_condition, container = main.container.graph("condition")
    condition = Graph(container, *kinds)
    axes = condition.constant([0, 1], INT32)
    total = condition.op("SUM", [condition.inputs[0], axes], condition.constant(0.0), kind="ReducerOptions")
    condition.give(condition.op("LESS", [total, condition.inputs[1]], condition.inputs[1], BOOL, "LessOptions"))
    index_of_body, container = main.container.graph("body")
    body = Graph(container, *kinds)
    twice = body.op("MUL", [body.inputs[0], body.constant(2.0)], body.inputs[0], kind="MulOptions")
    count = body.op("ADD", [body.inputs[2], body.constant(1, INT32)], body.inputs[2], kind="AddOptions")
    body.give(twice, body.inputs[1], count)
    outputs = [main.tensor(*kind) for kind in kinds]
    indices = {"condSubgraphIndex": index_of_condition, "bodySubgraphIndex": index_of_body}
    operands = [*main.inputs, main.constant(0, INT32)]
    main.container.operator("WHILE", operands, outputs, options("WhileOptions", **indices))
    main.give(*outputs)
    path = written(main.container, tmp_path / "source.tflite")
    x = np.linspace(0.1, 0.7, 6, dtype=np.float32).reshape(2, 3)
    beside(path, [{"in0": x, "in1": np.float32([bound])} for bound in (0.5, 20, 3)], tmp_path)


@pytest.mark.parametrize(("steps", "loops"), [(5, 0), (50, 1)])
def test_a_loop_that_counts_to_a_known_number_has_its_trips(steps, loops, tmp_path):
    """It is unrolled where it is no larger then."""
    main = Graph(Container(), ((2, 3), FLOAT))
    kinds = ((), INT32), ((2, 3), FLOAT)
    index_of_condition, container = main.container.graph("condition")
    condition = Graph(container, *kinds)
    condition.give(
        condition.op("LESS", [condition.inputs[0], condition.constant(steps, INT32)], condition.inputs[0], BOOL)
    )
    index_of_body, container = main.container.graph("body")
    body = Graph(container, *kinds)
    count = body.op("ADD", [body.inputs[0], body.constant(1, INT32)], body.inputs[0], kind="AddOptions")
    body.give(count, body.op("SIN", [body.inputs[1]], body.inputs[1]))
    outputs = [main.tensor(*kind) for kind in kinds]
    indices = {"condSubgraphIndex": index_of_condition, "bodySubgraphIndex": index_of_body}
    operands = [main.constant(0, INT32), main.inputs[0]]
    main.container.operator("WHILE", operands, outputs, options("WhileOptions", **indices))
    main.give(outputs[1])
    path = written(main.container, tmp_path / "source.tflite")
    beside(path, [{"in0": np.float32([[1, 2, 3], [-1, 0, 2]])}], tmp_path)
    kinds, _ = runtimes.open(tmp_path / "again.tflite", "litert").operators()
    assert kinds["WHILE"] == loops
    assert kinds["SIN"] == (0 if loops else steps)


def doubling(depth: int) -> Container:
    """Each subgraph calls the next one in both branches of an IF."""
    main = Container()
    graph = Graph(main, ((), BOOL), ((2,), FLOAT))
    for level in range(depth):
        index, inner = main.graph(f"level {level}")
        kinds = ((), BOOL), ((2,), FLOAT)
        outputs = [graph.tensor(*kinds[1])]
        indices = {"thenSubgraphIndex": index, "elseSubgraphIndex": index}
        graph.container.operator("IF", graph.inputs, outputs, options("IfOptions", **indices))
        graph.give(*outputs)
        graph = Graph(inner, kinds[1])
        if level == depth - 1:
            graph.give(graph.op("NEG", graph.inputs, graph.inputs[0]))
        else:
            flag = graph.op("GREATER", [graph.constant(1.0), graph.constant(0.0)], graph.constant(1.0), BOOL)
            graph.inputs = [flag, *graph.inputs]
    return main


def test_branches_within_branches(tmp_path):
    path = written(doubling(4), tmp_path / "source.tflite")
    beside(path, [{"in0": np.bool_(flag), "in1": np.float32([1, 2])} for flag in (True, False)], tmp_path)


def test_calls_that_double_at_each_level_are_refused(tmp_path):
    with pytest.raises(NarrowcastError, match="when each call"):
        narrowcast.load(written(doubling(40), tmp_path / "source.tflite"))


RESOURCE = np.dtype("V4")


def unversioned(
    graph: Graph, name: str, inputs: list[int], outputs: list[int], kind: str = "", **values: object
) -> None:
    """An operator that we never write."""
    found = options(kind, **values) if kind else None
    graph.container.operators.append(Operator(name, 1, tuple(inputs), tuple(outputs), found))


def handle(graph: Graph, name: str) -> int:
    made = graph.tensor((), RESOURCE)
    unversioned(graph, "VAR_HANDLE", [], [made], "VarHandleOptions", sharedName=name, container="")
    return made


def read(graph: Graph, name: str) -> int:
    made = graph.tensor((2,), FLOAT)
    unversioned(graph, "READ_VARIABLE", [handle(graph, name)], [made])
    return made


def with_variables(computes) -> Container:
    """A graph on x [2] after variables `a` and `b` have been initialised."""
    main = Graph(Container(), ((2,), FLOAT))
    index, container = main.container.graph("first")
    first = Graph(container)
    for name, numbers in (("a", [1.5, -2.0]), ("b", [0.25, 8.0])):
        unversioned(first, "ASSIGN_VARIABLE", [handle(first, name), first.constant(numbers)], [])
    unversioned(main, "CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=index)
    main.give(computes(main))
    return main.container


def written_with_variables(container: Container, path: Path) -> Path:
    with (
        patch.dict(tables.INNER_TYPES, {RESOURCE: 13}),
        patch.object(containers, "minimum_runtime", return_value="2.6.0"),
    ):
        return written(container, path)


def test_variables_that_are_only_initialised_are_constants(tmp_path):
    def computes(graph: Graph) -> int:
        scaled = graph.op("MUL", [graph.inputs[0], read(graph, "a")], graph.inputs[0], kind="MulOptions")
        return graph.op("ADD", [scaled, read(graph, "b")], scaled, kind="AddOptions")

    path = written_with_variables(with_variables(computes), tmp_path / "source.tflite")
    beside(path, [{"in0": np.float32([1, 2])}, {"in0": np.float32([-3, 0.5])}], tmp_path)


def test_variables_that_are_written_before_they_are_read_are_values(tmp_path):
    def computes(graph: Graph) -> int:
        twice = graph.op("ADD", [graph.inputs[0], graph.inputs[0]], graph.inputs[0], kind="AddOptions")
        unversioned(graph, "ASSIGN_VARIABLE", [handle(graph, "a"), twice], [])
        return graph.op("MUL", [read(graph, "a"), read(graph, "b")], twice, kind="MulOptions")

    path = written_with_variables(with_variables(computes), tmp_path / "source.tflite")
    beside(path, [{"in0": np.float32([1, 2])}, {"in0": np.float32([-3, 0.5])}], tmp_path)


def test_variables_that_last_are_refused_by_name(tmp_path):
    def computes(graph: Graph) -> int:
        total = graph.op("ADD", [read(graph, "a"), graph.inputs[0]], graph.inputs[0], kind="AddOptions")
        unversioned(graph, "ASSIGN_VARIABLE", [handle(graph, "a"), total], [])
        return total

    with pytest.raises(UnsupportedOpError, match=r"the inference before.*'a'.*make it an input and an output"):
        narrowcast.load(written_with_variables(with_variables(computes), tmp_path / "source.tflite"))
