"""Operators of a file's own making that are kept: see `schemas.custom`."""

from __future__ import annotations

from narrowcast.dialect.build import attributes_of
from narrowcast.model import NARROWCAST, ir
from narrowcast.schemas.custom import KEPT
from narrowcast.targets.spelling import dequantizer
from narrowcast.writers.tflite.ops.conv import weights
from narrowcast.writers.tflite.site import Site, lowers


@lowers(*KEPT, domain=NARROWCAST)
def kept(site: Site) -> None:
    """The operator itself; that of detection takes unsigned integers as they are stored, where all its inputs are."""
    row, values = KEPT[site.node.op_type], [site.value(index) for index in range(len(site.node.inputs))]
    sources = [dequantizer(value) for value in values]
    stored = [source.inputs[0].dtype for source in sources if source is not None and source.inputs[0] is not None]
    if site.node.op_type == "DetectionPostProcess" and stored == [ir.DataType.UINT8] * len(values):
        inputs = [site.lowering.integers(value) for value in values]
    else:
        inputs = [site.lowering.floating(value) for value in values]
    if site.node.op_type == "ConvTransposeBias":
        inputs[1] = weights(site, 1, (1, 2, 3, 0), hybrid=False)
    outputs = [site.output(index) for index in range(len(site.node.outputs))]
    site.custom(row.name, inputs, outputs, row.encode(attributes_of(site.node)))
