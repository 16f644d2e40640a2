"""Losses, as training graphs end in them: the score of each label is picked by comparing with a ramp of classes.

NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss (https://onnx.ai/onnx/operators/onnx__NegativeLogLikelihoodLoss.html)
with class weights, an ignored label, and all reductions.
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.dialect.build import input_of
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, is_read, operands, static_shape

RULES = RuleSet()


@RULES.rule("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(node: ir.Node, rewriter: Rewriter) -> bool:
    """Scores [batch, classes, ...], labels [batch, ...], weights [classes]."""
    (scores, labels), weights = operands(node, 2), input_of(node, 2)
    shape, f = static_shape(scores), Formula(node, rewriter)
    full, shape = shape, (*shape[:2], math.prod(shape[2:]))
    scores, labels = f.reshape(scores, shape), f.reshape(labels, [shape[0], shape[2]])
    if node.op_type == "SoftmaxCrossEntropyLoss":
        scores = rewriter.op("LogSoftmax", scores, shape=shape, dtype=f.dtype, axis=1)
        if len(node.outputs) > 1 and is_read(node.outputs[1]):
            rewriter.replace(node.outputs[1], f.reshape(scores, full))
    column = f.reshape(labels, [shape[0], 1, shape[2]])
    hit = f("Equal", column, np.arange(shape[1])[None, :, None])
    ignored = node.attributes.get("ignore_index")
    if ignored is not None:
        hit = f("And", hit, f("Not", f("Equal", column, ignored.as_int())))
    if weights is not None:
        each = f("Where", hit, f.reshape(weights, [1, shape[1], 1]), 0.0)
        each = f.reduce("ReduceSum", each, [1], keep=False)
    elif ignored is not None:
        each = f.reduce("ReduceSum", f.cast(hit, f.dtype), [1], keep=False)
    else:
        each = None
    losses = f("Neg", f.reduce("ReduceSum", f("Where", hit, scores, 0.0), [1], keep=False))
    if weights is not None and each is not None:
        losses = f("Mul", losses, each)
    reduction = node.attributes.get_string("reduction", "mean")
    if reduction == "none":
        return f.becomes(f.reshape(losses, [full[0], *full[2:]]))
    axes = [0, 1]
    if reduction == "mean" and each is None:
        return f.becomes(f.reduce("ReduceMean", losses, axes, keep=False))
    total = f.reduce("ReduceSum", losses, axes, keep=False)
    if reduction == "mean" and each is not None:
        total = f("Div", total, f.reduce("ReduceSum", each, axes, keep=False))
    return f.becomes(total)
