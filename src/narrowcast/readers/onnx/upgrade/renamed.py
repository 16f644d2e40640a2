"""Operators that were renamed, or whose old form has no counterpart."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder, attributes_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import ir
from narrowcast.readers.onnx.upgrade.registry import changed, replace, take_over

MOST_SCANS = 64
"""Sequences of a batch."""


@changed(11, "Scatter")
def scatter(node: ir.Node, build: Builder) -> None:
    """Scatter became ScatterElements."""
    axis = node.attributes.get_int("axis", 0)
    replace(node, build, "ScatterElements", *node.inputs, axis=axis)


@changed(9, "Scan")
def scan_over_batches(node: ir.Node, build: Builder) -> None:
    """Scan ran over a batch of sequences: now once for each of them."""
    lengths, *inputs = node.inputs
    shape = inputs[-1].shape if inputs and inputs[-1] is not None else None
    batch = shape[0] if shape else None
    if lengths is not None or not isinstance(batch, int) or not 1 <= batch <= MOST_SCANS:
        raise UnsupportedOpError(
            f"is a Scan of opset 8 over sequences of different lengths, or more than {MOST_SCANS}",
            hint="export the model with opset 9 or newer",
        )
    attributes = attributes_of(node, "body", "directions")
    if "directions" in node.attributes:
        attributes["scan_input_directions"] = node.attributes["directions"].as_ints()
    first = build.constant(np.array([0]), "axes")
    rows: list[list[ir.Value]] = [[] for _ in node.outputs]
    for number in range(batch):
        place = build.constant(np.array(number), "number")
        parts = [None if value is None else build("Gather", value, place, axis=0) for value in inputs]
        body = node.attributes["body"].as_graph().clone()
        made = build("Scan", *parts, outputs=len(rows), body=body, **attributes)
        for row, value in zip(rows, made if len(rows) > 1 else (made,), strict=True):
            row.append(build("Unsqueeze", value, first))
    for output, row in zip(node.outputs, rows, strict=True):
        take_over(output, build("Concat", *row, axis=0, name=f"{output.name}/batch"), build)
    build.graph.remove(node, safe=True)
