"""Operators that were renamed, or whose old form has no counterpart."""

from __future__ import annotations

from narrowcast.dialect.build import Builder
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import ir
from narrowcast.readers.onnx.upgrade.registry import changed, replace


@changed(11, "Scatter")
def scatter(node: ir.Node, build: Builder) -> None:
    """Scatter became ScatterElements."""
    axis = node.attributes.get_int("axis", 0)
    replace(node, build, "ScatterElements", *node.inputs, axis=axis)


@changed(9, "Scan")
def scan_over_batches(node: ir.Node, build: Builder) -> None:
    """Scan ran over a batch of sequences of different lengths."""
    raise UnsupportedOpError("is a Scan of opset 8, over batches", hint="export the model with opset 9 or newer")
