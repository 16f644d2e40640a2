"""ONNX's own node tests as ours: which take part, and in what form.

Shapes, axes and indices that a test passes as graph inputs are constants in real models: int64 inputs of rank 1 after
the first become initialisers. Left out, each for a reason that is given: types that no edge runtime has, values that
are not tensors, training, random numbers, other domains, and the `_expanded` twins, which repeat a case with its
function inlined.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LEFT_OUT_TYPES = ("FLOAT8", "FLOAT4", "INT4", "UINT4", "INT2", "UINT2", "BFLOAT16", "STRING")


@dataclass(frozen=True)
class Case:
    """One test: a model file, its inputs in order by name, and the expected outputs."""

    name: str
    model: Path
    inputs: dict[str, np.ndarray]
    outputs: list[np.ndarray]


def reason_to_leave_out(case) -> str:
    """Why a test takes no part; empty if it does."""
    import onnx

    if "_expanded" in case.name:
        return "expanded twin"
    graph = case.model.graph
    if any(entry.domain not in ("", "ai.onnx") for entry in case.model.opset_import):
        return "another domain"
    if "training" in case.name or case.name.startswith(("test_adagrad", "test_adam", "test_momentum")):
        return "training"
    values = (*graph.input, *graph.output)
    if any(not value.type.HasField("tensor_type") for value in values):
        return "not tensors"
    operators = {node.op_type for node in graph.node}
    if any(name.startswith("Optional") for name in operators):
        return "optional values"
    if "Bernoulli" in operators:
        return "random numbers"
    names = {onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in values}
    if any(name.startswith(LEFT_OUT_TYPES) for name in names):
        return "types"
    if any(array is None or isinstance(array, list) for data in case.data_sets for part in data for array in part):
        return "not tensors"
    return ""


def _array(value) -> np.ndarray:
    """Some tests hold tensors as protocol buffers."""
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def collect(folder: Path) -> list[str]:
    """Writes all cases that take part into `folder`, and returns their names."""
    import onnx
    from onnx import numpy_helper
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    names = []
    for case in found:
        if reason_to_leave_out(case):
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        inputs, outputs = case.data_sets[0]
        feeds = {}
        for index, (value, array) in enumerate(zip(list(model.graph.input), inputs, strict=False)):
            array = _array(array)
            if index > 0 and array.dtype == np.int64 and array.ndim == 1:
                model.graph.initializer.append(numpy_helper.from_array(array, value.name))
                model.graph.input.remove(value)
            else:
                feeds[value.name] = array
        onnx.save(model, folder / f"{case.name}.onnx")
        np.savez(
            folder / f"{case.name}.npz",
            **{f"in_{i}": array for i, array in enumerate(feeds.values())},
            **{f"out_{i}": _array(array) for i, array in enumerate(outputs)},
        )
        (folder / f"{case.name}.json").write_text(json.dumps(list(feeds)))
        names.append(case.name)
    return names


def load(folder: Path, name: str) -> Case:
    """One collected case."""
    inputs = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as arrays:
        feeds = {key: arrays[f"in_{i}"] for i, key in enumerate(inputs)}
        outputs = [arrays[f"out_{i}"] for i in range(sum(key.startswith("out_") for key in arrays.files))]
    return Case(name, folder / f"{name}.onnx", feeds, outputs)
