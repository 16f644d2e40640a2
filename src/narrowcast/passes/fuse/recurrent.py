"""Recurrent layers have the steps first: runtimes take no other order."""

from __future__ import annotations

from narrowcast.dialect.build import attributes_of, dims, input_of
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, is_read, require, static_shape

RULES = RuleSet()


@RULES.rule("LSTM", "GRU", "RNN")
def steps_first(node: ir.Node, rewriter: Rewriter) -> bool:
    """The batch as the first axis (layout 1) -> the steps first, between transposes."""
    shapes = [dims(output) for output in node.outputs]
    require(node.attributes.get_int("layout", 0) and static_shape(node.inputs[0]))
    f = Formula(node, rewriter)
    inputs = list(node.inputs)
    for index in (0, 5, 6):
        value = input_of(node, index)
        if value is not None:
            inputs[index] = f.transpose(value, (1, 0, 2))
    attributes = attributes_of(node, "layout")
    count = max(len(node.outputs), 2)
    made = rewriter.ops(node.op_type, *inputs, outputs=count, **attributes)
    perms = ((2, 0, 1, 3), (1, 0, 2), (1, 0, 2))
    for value, shape, perm in zip(made, shapes, perms, strict=False):
        if shape is not None:
            value.shape = ir.Shape([shape[perm.index(axis)] for axis in range(len(perm))])
        value.dtype = ir.DataType.FLOAT
    for output, value, perm in zip(tuple(node.outputs), made, perms, strict=False):
        if is_read(output):
            rewriter.replace(output, f.transpose(value, perm))
    return True
