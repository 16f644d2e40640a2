"""Control flow read from .tflite files: subgraphs that are called, loops, branches, variables by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.errors import NarrowcastError
from narrowcast.reference import Reference
from narrowcast.writers.tflite.container import Container
from narrowcast.writers.tflite.tables import Tensor, options
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


def test_a_loop_that_counts_to_a_known_number_has_its_trips(tmp_path):
    main = Graph(Container(), ((2, 3), FLOAT))
    kinds = ((), INT32), ((2, 3), FLOAT)
    index_of_condition, container = main.container.graph("condition")
    condition = Graph(container, *kinds)
    condition.give(condition.op("LESS", [condition.inputs[0], condition.constant(5, INT32)], condition.inputs[0], BOOL))
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
    assert kinds["SIN"] == 5
    assert "WHILE" not in kinds


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
