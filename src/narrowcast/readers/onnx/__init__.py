"""Reads ONNX files of any opset, external data memory-mapped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from narrowcast.model import OPSET, Model, Provenance, ir
from narrowcast.passes.fold.shapes import lift_constants
from narrowcast.passes.infer import infer_shapes, shapes_missing
from narrowcast.readers.check.structure import all_graphs, check_graph, check_nodes
from narrowcast.readers.formats import ReadOptions
from narrowcast.readers.onnx.functions import inline, opset_of
from narrowcast.readers.onnx.parse import BESIDE, load
from narrowcast.readers.onnx.shapes import pin
from narrowcast.readers.onnx.slices import check_slices
from narrowcast.readers.onnx.upgrade import upgrade, upgrade_early, write_out
from narrowcast.readers.onnx.upgrade.sampling import round_sizes
from narrowcast.readers.onnx.upgrade.windows import leave_out_windows
from narrowcast.schemas import onnx_file

if TYPE_CHECKING:
    import onnx

__all__ = ["check_file", "read", "read_proto"]

IR_VERSION = 10


def read(path: Path, options: ReadOptions) -> Model:
    """Reads a model and brings it to the canonical opset, its symbolic dimensions pinned.

    Raises:
        ModelFileError: the file is damaged or contradicts itself.
        UnsupportedError: its opset is newer than any known, or it uses something that the canonical opset cannot say.
        UsageError: a dimension is left open, or `options` contradict the file.
    """
    return read_proto(onnx_file.parse(path), path, options)


def check_file(path: Path) -> None:
    """Whether a file is whole, as far as that can be told without reading what its operators mean.

    Raises:
        ModelFileError: it is damaged or contradicts itself.
        UnsupportedError: it uses something that is not known here.
    """
    loaded = load(onnx_file.parse(path), path.parent)
    opset = opset_of(loaded.graph)
    check_graph(loaded.graph)
    check_nodes(loaded.graph, inline(loaded, opset) if loaded.functions else opset)


def read_proto(proto: onnx.ModelProto, path: Path, options: ReadOptions, fmt: str = "onnx") -> Model:
    """Reads a model from the protocol buffer of a file; see `read`.

    Args:
        proto: changed on the way.
        path: the file, which external data lie beside.
        options: what is pinned.
        fmt: the file's format.
    """
    loaded = load(proto, path.parent)
    graph = loaded.graph
    for value in [value for value in graph.inputs if value.name in graph.initializers]:
        graph.inputs.remove(value)
    opset = opset_of(graph)
    check_graph(graph)
    if loaded.functions:
        opset = inline(loaded, opset)
    check_nodes(graph, opset)
    for inner in all_graphs(graph):
        lift_constants(inner)
    opset = upgrade_early(graph, opset)
    pin(graph, options)
    _name_nodes(graph)
    check_slices(graph, opset)

    producer = " ".join(part for part in (loaded.producer_name, loaded.producer_version) if part)
    model = Model(loaded, provenance=Provenance(path, fmt, producer, beside=loaded.meta[BESIDE]))
    infer_shapes(model)
    leave_out_windows(model, opset)
    if opset > OPSET and write_out(loaded, opset):
        for inner in all_graphs(graph):
            lift_constants(inner)
        infer_shapes(model)
    upgrade(graph, opset)
    graph.opset_imports.pop("ai.onnx", None)
    graph.opset_imports[""] = OPSET
    loaded.ir_version = IR_VERSION
    if shapes_missing(model):
        infer_shapes(model)
    round_sizes(model)
    return model


def _name_nodes(graph: ir.Graph) -> None:
    """Gives every node of the main graph a name of its own, for errors to name it by."""
    names: set[str] = set()
    for node in graph:
        if not node.name or node.name in names:
            node.name = f"{node.outputs[0].name if node.outputs else ''}/{node.op_type}"
        while node.name in names:
            node.name += "_"
        names.add(node.name)
